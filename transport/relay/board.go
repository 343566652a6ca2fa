// Package relay carries the packets of QUIC connections between endpoints that do not
// reach each other, by way of sockets that both reach. What is carried is ciphertext: who
// carries it sees how long packets are and when they come.
//
// A flow goes over links. On each link its packets have a label before them, which the
// receiver of that link has chosen; who is in the middle replaces one label by the next.
// A packet is carried only if it comes from where the neighbor is whose label it has. An
// end of a flow sees the other end as an address that stands for it, so QUIC's connections
// over flows are connections as others are.
//
// The package knows nothing of how flows are agreed on.
package relay

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/legate-project/legate/internal/admission"
)

// ErrFull is the error of a flow beyond the bound of a socket.
var ErrFull = errors.New("no more flows can be carried")

// errGone is the error of writing to a flow that was released: QUIC ends the connection.
var errGone = errors.New("the flow through the gateway has ended")

// Neighbor is the other end of one link.
type Neighbor struct {
	addr func() *net.UDPAddr
	from []byte // has the kernel send from the address that the neighbor knows
	// stands is who connections over its flows are counted as: an address of the block of flows.
	stands netip.Addr
}

// neighborWorth is how many addresses one neighbor is worth where connections are counted by them: many
// servers may be behind it.
const neighborWorth = 4

// NewNeighbor returns the neighbor whose packets come from addr, which is asked for each
// packet, since it may change, and must not block. What goes to it leaves from local; nil
// leaves that to the host, which may choose another of its addresses.
func NewNeighbor(addr func() *net.UDPAddr, local net.IP) *Neighbor {
	ip := [net.IPv6len]byte{0: 1}
	binary.BigEndian.PutUint64(ip[net.IPv6len-Overhead:], markNeighbor<<56|rand.Uint64()>>8)
	return &Neighbor{addr, sourceOf(local), netip.AddrFrom16(ip)}
}

// CountAs says as whom connections from an address are counted, and how many addresses that one is worth: all
// that comes over the flows of one neighbor is one, whatever stands for their ends.
func (b *Board) CountAs(addr net.Addr) (one netip.Addr, worth int) {
	if udp, ok := addr.(*net.UDPAddr); ok {
		if label, carried := flowOf(udp); carried {
			if f := b.flow(label); f != nil {
				return f.from.stands, neighborWorth
			}
		}
	}
	return admission.AddrOf(addr), 1
}

func (n *Neighbor) is(addr *net.UDPAddr) bool {
	now := n.addr()
	return now != nil && now.Port == addr.Port && now.IP.Equal(addr.IP)
}

// Hop is one link of a flow: what comes from the neighbor has the label In, what goes to
// it the label Out.
type Hop struct {
	Neighbor *Neighbor
	In, Out  Label
}

// Traffic counts what came in with a label, and the packets that its end sent.
type Traffic struct{ Packets, Bytes, Refused, Sent uint64 }

// Board says what becomes of packets by their labels. It is safe for concurrent use.
type Board struct {
	flows [maxFlows]atomic.Pointer[flow]
	// strange counts packets with labels that nobody has, or that do not come from the
	// neighbor that has it.
	strange atomic.Uint64

	tunnels tunnels

	mu   sync.Mutex
	used int
	next uint16
	past Traffic // of flows that were released
}

// flow is one label of incoming packets. It does not change, except for the counts.
type flow struct {
	in    Label
	from  *Neighbor
	to    *Neighbor     // where packets go: on, or of an end those that it sends
	out   Label         // with which label; 0 while it is not known
	local *net.UDPAddr  // the other end, if the flow ends here
	limit *rate.Limiter // in bytes; nil for none
	count *count
}

type count struct{ packets, bytes, refused, sent atomic.Uint64 }

// NewBoard returns a board without flows.
func NewBoard() *Board { return &Board{} }

// Reserve chooses the label that a neighbor is to send with. Its packets are dropped
// until End or Join says what becomes of them.
func (b *Board) Reserve(n *Neighbor) (Label, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used >= maxFlows-1 {
		return 0, ErrFull
	}
	for {
		b.next++ // what was released last is used again last
		slot := &b.flows[b.next]
		if slot.Load() == nil {
			in := newLabel(b.next, rand.Uint64())
			slot.Store(&flow{in: in, from: n, count: &count{}})
			b.used++
			return in, nil
		}
	}
}

// End has the flow end here, and returns the address that stands for its other end.
func (b *Board) End(h Hop) (*net.UDPAddr, error) {
	addr := h.In.addr()
	return addr, b.set(h.In, func(f *flow) { f.to, f.out, f.local = h.Neighbor, h.Out, addr })
}

// Join has what comes by one hop leave by the other, in both directions, no more than
// the limit allows of both together, in bytes; nil for no limit.
func (b *Board) Join(h, g Hop, limit *rate.Limiter) error {
	return errors.Join(
		b.set(h.In, func(f *flow) { f.to, f.out, f.limit = g.Neighbor, g.Out, limit }),
		b.set(g.In, func(f *flow) { f.to, f.out, f.limit = h.Neighbor, h.Out, limit }),
	)
}

// Release forgets a label. What comes with it is dropped, and a connection over it ends
// when it next sends.
func (b *Board) Release(in Label) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.flows[in.slot()].Load(); f != nil && f.in == in {
		b.past = b.past.plus(f.count)
		b.flows[in.slot()].Store(nil)
		b.used--
	}
}

// Traffic is what came with a label that is in use.
func (b *Board) Traffic(in Label) Traffic {
	if f := b.flow(in); f != nil {
		return Traffic{}.plus(f.count)
	}
	return Traffic{}
}

// All is what came with all labels that there are and were, and how many there are.
func (b *Board) All() (t Traffic, labels int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t = b.past
	if b.used == 0 {
		return t, 0
	}
	for i := range b.flows {
		if f := b.flows[i].Load(); f != nil {
			t = t.plus(f.count)
		}
	}
	return t, b.used
}

func (t Traffic) plus(c *count) Traffic {
	return Traffic{t.Packets + c.packets.Load(), t.Bytes + c.bytes.Load(), t.Refused + c.refused.Load(), t.Sent + c.sent.Load()}
}

// Strange is how many packets had no label of the board, or not from the right neighbor.
func (b *Board) Strange() uint64 { return b.strange.Load() }

func (b *Board) set(in Label, change func(*flow)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.flow(in)
	if f == nil {
		return errGone
	}
	changed := *f
	change(&changed)
	b.flows[in.slot()].Store(&changed)
	return nil
}

// flow is the flow of a label, nil if there is none.
func (b *Board) flow(in Label) *flow {
	if f := b.flows[in.slot()].Load(); f != nil && f.in == in {
		return f
	}
	return nil
}

// leaves finds the flow of a packet that its end here sends, and where that goes; nowhere,
// as if it was lost, while its neighbor has no address.
func (b *Board) leaves(in Label) (f *flow, to *net.UDPAddr, err error) {
	if f = b.flow(in); f == nil || f.local == nil {
		return nil, nil, errGone
	}
	f.count.sent.Add(1)
	return f, f.to.addr(), nil
}

// arrived finds the flow of a packet; nil if the packet is to be dropped.
func (b *Board) arrived(in Label, from *net.UDPAddr, size int, now time.Time) *flow {
	f := b.flow(in)
	if f == nil || !f.from.is(from) {
		b.strange.Add(1)
		return nil
	}
	if f.to == nil || f.limit != nil && !f.limit.AllowN(now, size) {
		f.count.refused.Add(1)
		return nil
	}
	f.count.packets.Add(1)
	f.count.bytes.Add(uint64(size))
	return f
}
