package wan

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"sync"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"
)

// Types of memberlist's messages that are looked at: the first byte of each,
// in the order of the constants in its net.go.
const (
	indirectMessage = 1
	suspectMessage  = 3
	aliveMessage    = 4
	deadMessage     = 5
	pushPullMessage = 6
	compoundMessage = 7
	compressMessage = 9
	crcMessage      = 12
	labelMessage    = 244
)

const (
	// rememberedClaims bounds of how many members the last suspicion is
	// remembered.
	rememberedClaims = 4096
	// doubt is how long a server must have been suspected here until another's
	// word that it is dead counts: longer than a suspicion and its refutation
	// need to spread, shorter than the shortest suspicion.
	doubt = 8 * time.Second
)

// observed looks at the packets of gossip.
//
// What goes out it counts: suspicions and refutations, of which memberlist
// tells nobody but its log.
//
// In what comes in, it turns "is dead" into "is suspected" if the server was
// not suspected here before. memberlist believes each member that another is
// dead, at once; so one that was cut off for a minute, and in that time saw
// nobody, has live servers fail everywhere when it comes back. As a suspicion
// the claim can be refuted before anybody acts on it. The death of a server
// that is dead is not delayed: everybody suspects it by then.
type observed struct {
	memberlist.NodeAwareTransport
	self    string
	metrics *poolMetrics

	mu       sync.Mutex
	suspects map[string]suspicion // by member
	own      uint32               // highest incarnation of this server that it announced
}

// suspicion is the newest incarnation of a member that was suspected.
type suspicion struct {
	incarnation uint32
	since       time.Time
	raised      bool // by this server
}

func newObserved(self string, m *poolMetrics) *observed {
	return &observed{self: self, metrics: m, suspects: map[string]suspicion{}}
}

// WriteTo implements memberlist.Transport.
func (o *observed) WriteTo(b []byte, addr string) (time.Time, error) {
	return o.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport. What asks others to
// probe a server that does not answer goes out twice: between two datacenters
// that cannot reach each other all depends on it, on four ways that may each
// lose a packet.
func (o *observed) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if messages(b, o.leaves) {
		if at, err := o.NodeAwareTransport.WriteToAddress(b, a); err != nil {
			return at, err
		}
	}
	return o.NodeAwareTransport.WriteToAddress(b, a)
}

// judge is shown each packet that comes in and may change it.
func (o *observed) judge(b []byte) {
	if messages(b, o.comes) {
		seal(b)
	}
}

// unlabelled is what follows the label.
func unlabelled(b []byte) []byte {
	if len(b) > 2 && b[0] == labelMessage {
		return b[min(len(b), 2+int(b[1])):]
	}
	return b
}

// seal writes a packet's checksum anew.
func seal(b []byte) {
	if b = unlabelled(b); len(b) > 5 && b[0] == crcMessage {
		binary.BigEndian.PutUint32(b[1:], crc32.ChecksumIEEE(b[5:]))
	}
}

// messages shows each message of a packet and tells whether show said yes to
// one.
// Packets that do not match their checksum have no messages.
func messages(b []byte, show func([]byte) bool) bool {
	b = unlabelled(b)
	if len(b) > 5 && b[0] == crcMessage {
		if crc32.ChecksumIEEE(b[5:]) != binary.BigEndian.Uint32(b[1:]) {
			return false
		}
		b = b[5:]
	}
	if len(b) < 2 {
		return false
	}
	if b[0] != compoundMessage {
		return show(b)
	}
	n := int(b[1])
	sizes := b[2:]
	if len(sizes) < 2*n {
		return false
	}
	body := sizes[2*n:]
	found := false
	for i := range n {
		size := int(binary.BigEndian.Uint16(sizes[2*i:]))
		if size == 0 || size > len(body) {
			break
		}
		found = show(body[:size]) || found
		body = body[size:]
	}
	return found
}

// claim is what messages about members have in common. "Is suspected" and "is
// dead" are the same but for their type.
type claim struct {
	Incarnation uint32
	Node        string
	From        string
}

func claimOf(b []byte, types ...byte) (claim, bool) {
	for _, t := range types {
		if len(b) > 1 && b[0] == t {
			var c claim
			err := codec.NewDecoderBytes(b[1:], &codec.MsgpackHandle{}).Decode(&c)
			return c, err == nil
		}
	}
	return claim{}, false
}

// leaves counts what this server claims, and finds what is sent twice.
func (o *observed) leaves(b []byte) bool {
	if b[0] == indirectMessage {
		return true
	}
	if b[0] == aliveMessage && !bytes.Contains(b, []byte(o.self)) {
		return false // most are, while many join: not worth a decoder
	}
	c, ok := claimOf(b, aliveMessage, suspectMessage)
	if !ok {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case b[0] == suspectMessage:
		o.suspect(c)
	case c.Node == o.self:
		// The first one announces the start.
		if o.own > 0 && c.Incarnation > o.own {
			o.metrics.refutations.Inc()
		}
		o.own = max(o.own, c.Incarnation)
	}
	return false
}

// comes tempers what others claim and tells whether it did.
func (o *observed) comes(b []byte) bool {
	c, ok := claimOf(b, suspectMessage, deadMessage)
	if !ok || c.Node == o.self || c.From == c.Node {
		return false // about this server: memberlist refutes it; or a goodbye
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.suspect(c)
	if b[0] == suspectMessage || time.Since(s.since) >= doubt {
		return false
	}
	o.metrics.tempered.Inc()
	b[0] = suspectMessage
	return true
}

// cameBack forgets the suspicion of a member that lives. It may have the incarnation that
// it had when it died: memberlist forgets the dead after a while, and who was forgotten
// has nothing to refute. Who was away meanwhile may claim the old death once more.
func (o *observed) cameBack(member string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.suspects, member)
}

// suspect notes a claim and returns since when there is one like it.
func (o *observed) suspect(c claim) suspicion {
	s, known := o.suspects[c.Node]
	if !known || c.Incarnation > s.incarnation {
		if !known && len(o.suspects) >= rememberedClaims {
			clear(o.suspects)
		}
		s = suspicion{incarnation: c.Incarnation, since: time.Now()}
	}
	if c.From == o.self && !s.raised && c.Incarnation == s.incarnation {
		s.raised = true
		o.metrics.suspected(datacenterOf(c.Node))
	}
	o.suspects[c.Node] = s
	return s
}
