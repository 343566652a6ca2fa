package wan

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"
)

// Types of memberlist's messages that are looked at: the first byte of each,
// in the order of the constants in its net.go.
const (
	aliveMessage    = 4
	suspectMessage  = 3
	compoundMessage = 7
	pushPullMessage = 6
	compressMessage = 9
	crcMessage      = 12
	labelMessage    = 244
)

// rememberedClaims bounds of how many members the last claim is remembered:
// claims are sent several times and are to be counted once.
const rememberedClaims = 4096

// observed counts what this server claims about others: memberlist tells
// nobody but its log. It looks at packets on their way out and changes none.
type observed struct {
	memberlist.NodeAwareTransport
	self    string
	metrics *poolMetrics

	mu       sync.Mutex
	suspects map[string]uint32 // by member: incarnation of the last suspicion
	own      uint32            // highest incarnation of this server that it announced
}

func newObserved(t memberlist.NodeAwareTransport, self string, m *poolMetrics) *observed {
	return &observed{NodeAwareTransport: t, self: self, metrics: m, suspects: map[string]uint32{}}
}

// WriteTo implements memberlist.Transport.
func (o *observed) WriteTo(b []byte, addr string) (time.Time, error) {
	o.packet(b)
	return o.NodeAwareTransport.WriteTo(b, addr)
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (o *observed) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	o.packet(b)
	return o.NodeAwareTransport.WriteToAddress(b, a)
}

// packet looks through the headers around messages.
func (o *observed) packet(b []byte) {
	if len(b) > 2 && b[0] == labelMessage {
		b = b[min(len(b), 2+int(b[1])):]
	}
	if len(b) > 5 && b[0] == crcMessage {
		b = b[5:]
	}
	if len(b) < 2 {
		return
	}
	if b[0] != compoundMessage {
		o.message(b)
		return
	}
	n := int(b[1])
	sizes := b[2:]
	if len(sizes) < 2*n {
		return
	}
	body := sizes[2*n:]
	for i := range n {
		size := int(binary.BigEndian.Uint16(sizes[2*i:]))
		if size > len(body) {
			return
		}
		o.message(body[:size])
		body = body[size:]
	}
}

// claim is what suspicions and announcements have in common.
type claim struct {
	Incarnation uint32
	Node        string
	From        string
}

func (o *observed) message(b []byte) {
	if len(b) < 2 || b[0] != aliveMessage && b[0] != suspectMessage {
		return
	}
	var c claim
	if codec.NewDecoderBytes(b[1:], &codec.MsgpackHandle{}).Decode(&c) != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case b[0] == aliveMessage && c.Node == o.self:
		// The first one announces the start.
		if o.own > 0 && c.Incarnation > o.own {
			o.metrics.refutations.Inc()
		}
		o.own = max(o.own, c.Incarnation)
	case b[0] == suspectMessage && c.From == o.self:
		last, known := o.suspects[c.Node]
		if known && last >= c.Incarnation {
			return
		}
		if !known && len(o.suspects) >= rememberedClaims {
			clear(o.suspects)
		}
		o.suspects[c.Node] = c.Incarnation
		o.metrics.suspected(datacenterOf(c.Node))
	}
}
