// Package wanem emulates a WAN between UDP sockets of one machine.
//
// A Network knows sites (datacenters), which addresses belong to which site,
// and the links between the sites. A socket wrapped for a site sends each
// packet to another site late, or not at all, as the link says; packets
// within a site, and to addresses that nobody registered, pass untouched. The
// links may be changed while packets are under way.
//
// It delays what is sent and leaves what is received alone, so both ends must
// be wrapped. It keeps the order of packets on a link without jitter, drops
// from a seeded source, and bounds what is under way on a link. It limits no
// bandwidth and corrupts nothing.
package wanem

import (
	"container/heap"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/legate-project/legate/internal/lifecycle"
)

// linkQueue bounds the packets under way from one site to another: 8,192
// packets of 1,400 bytes in 160 ms one way are 570 Mbit/s. What is above it
// is dropped, as a full router does.
const linkQueue = 8192

// Network is a set of sites and links. Its methods are safe for concurrent
// use.
type Network struct {
	group *lifecycle.Group
	wake  chan struct{} // capacity 1: the head of the queue has changed

	mu       sync.Mutex
	model    *Model
	sites    map[netip.AddrPort]string // port 0: every port of the address
	queue    queue
	seq      uint64
	under    map[pair]int        // packets under way
	last     map[pair]time.Time  // when the last one of a link is due
	closedTo map[string]bool     // sites that nothing gets into but answers
	asked    map[asked]time.Time // by whom something was sent to whom last, of those sites
	counts   Counts
	closed   bool
}

// pair is a direction between two sites.
type pair struct{ from, to string }

// asked is an address of a site that is closed, and one outside.
type asked struct{ by, whom netip.AddrPort }

// A router remembers for remembers who was asked; it forgets all once there are maxRemembered.
const (
	remembers     = 30 * time.Second
	maxRemembered = 1 << 16
)

// Counts says what became of the packets between sites.
type Counts struct {
	Delivered uint64
	Lost      uint64 // by the dice
	Cut       uint64 // on a cut link, or into a site that lets nothing in
	Overflow  uint64 // above the bound of a link
}

// New returns a network without delays whose dice are seeded.
func New(seed uint64) (*Network, error) {
	n := &Network{
		group:    lifecycle.New("emulated WAN"),
		wake:     make(chan struct{}, 1),
		model:    NewModel(seed),
		sites:    map[netip.AddrPort]string{},
		under:    map[pair]int{},
		last:     map[pair]time.Time{},
		closedTo: map[string]bool{},
		asked:    map[asked]time.Time{},
	}
	if err := n.group.Go("deliver", n.deliver); err != nil {
		return nil, err
	}
	return n, nil
}

// Set changes the link between two sites, both directions.
func (n *Network) Set(a, b string, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.model.Set(a, b, l)
}

// SetDefault changes the link between sites for which Set was not called.
func (n *Network) SetDefault(l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.model.SetDefault(l)
}

// Cut parts a site from all others; packets under way are lost.
func (n *Network) Cut(site string) { n.setCut(site, true) }

// Heal undoes Cut. Links that are cut themselves stay cut.
func (n *Network) Heal(site string) { n.setCut(site, false) }

func (n *Network) setCut(site string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.model.SetCut(site, cut)
}

// Shut lets nothing into a site but answers to what it sent, as routers with address translation
// and most firewalls do. Addresses stay as they are.
func (n *Network) Shut(site string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closedTo[site] = true
}

// passes reports whether the routers between two sites let a packet through.
func (n *Network) passes(from *socket, way pair, to net.Addr) bool {
	if !n.closedTo[way.from] && !n.closedTo[way.to] {
		return true
	}
	sender, ok := from.LocalAddr().(*net.UDPAddr)
	receiver, isUDP := to.(*net.UDPAddr)
	if !ok || !isUDP {
		return false
	}
	by, whom, now := plain(sender.AddrPort()), plain(receiver.AddrPort()), time.Now()
	if n.closedTo[way.from] {
		if len(n.asked) >= maxRemembered {
			clear(n.asked)
		}
		n.asked[asked{by, whom}] = now
	}
	return !n.closedTo[way.to] || now.Sub(n.asked[asked{whom, by}]) < remembers
}

// Register says that an address belongs to a site; port 0 means every port
// of it that is not registered itself.
func (n *Network) Register(addr netip.AddrPort, site string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sites[plain(addr)] = site
}

// Counts returns what became of the packets so far.
func (n *Network) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts
}

// Close ends the network: what is under way is dropped, wrapped sockets
// stay open and send undelayed.
func (n *Network) Close(ctx context.Context) error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	return n.group.Stop(ctx)
}

// Wrap returns a socket of a site and registers its local address, if that
// is a specified one. Closing it closes conn.
func (n *Network) Wrap(conn net.PacketConn, site string) net.PacketConn {
	if addr, ok := conn.LocalAddr().(*net.UDPAddr); ok && !addr.IP.IsUnspecified() {
		n.Register(addr.AddrPort(), site)
	}
	return &socket{PacketConn: conn, n: n, site: site}
}

func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

func (n *Network) siteOf(addr net.Addr) (string, bool) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return "", false
	}
	ap := plain(udp.AddrPort())
	if site, ok := n.sites[ap]; ok {
		return site, true
	}
	site, ok := n.sites[netip.AddrPortFrom(ap.Addr(), 0)]
	return site, ok
}

// packet is one datagram under way.
type packet struct {
	due  time.Time
	seq  uint64
	way  pair
	conn net.PacketConn
	to   net.Addr
	data []byte
}

// send takes a packet if it is to be delayed or dropped; false: send it now.
func (n *Network) send(s *socket, b []byte, to net.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	site, known := n.siteOf(to)
	if n.closed || !known || site == s.site {
		return false
	}
	way := pair{s.site, site}
	if !n.passes(s, way, to) {
		n.counts.Cut++
		return true
	}
	l := n.model.Link(way.from, way.to)
	fate, wait := n.model.Throw(l)
	switch {
	case fate == Severed:
		n.counts.Cut++
		return true
	case fate == Lost:
		n.counts.Lost++
		return true
	case n.under[way] >= linkQueue:
		n.counts.Overflow++
		return true
	}
	if wait <= 0 && n.under[way] == 0 {
		n.counts.Delivered++
		return false
	}
	due := time.Now().Add(wait)
	if l.Jitter == 0 && due.Before(n.last[way]) {
		due = n.last[way] // the link became faster: what is ahead stays ahead
	}
	n.last[way] = due
	n.push(&packet{due: due, way: way, conn: s.PacketConn, to: to, data: append([]byte(nil), b...)})
	return true
}

func (n *Network) push(p *packet) {
	n.seq++
	p.seq = n.seq
	n.under[p.way]++
	heap.Push(&n.queue, p)
	if n.queue[0] == p {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
}

// deliver sends packets when they are due; it sleeps while none is under way.
func (n *Network) deliver(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, next := n.take(time.Now())
		for _, p := range due {
			// As on a real network, the sender learns nothing.
			_, _ = p.conn.WriteTo(p.data, p.to)
		}
		if len(due) > 0 {
			continue
		}
		if next <= exactly {
			pause(next)
			continue
		}
		timer.Reset(next - exactly/2)
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		case <-timer.C:
		}
	}
}

// exactly is from when on a wait is slept to the point: timers of the run time
// may be a millisecond late on an idle machine, which is much of a short way.
const exactly = 2 * time.Millisecond

// take removes what is due and says how long until the next packet is.
func (n *Network) take(now time.Time) (due []*packet, next time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.queue) > 0 && !n.queue[0].due.After(now) {
		p, ok := heap.Pop(&n.queue).(*packet)
		if !ok {
			break
		}
		n.under[p.way]--
		if n.model.Link(p.way.from, p.way.to).Cut {
			n.counts.Cut++
			continue
		}
		n.counts.Delivered++
		due = append(due, p)
	}
	if len(n.queue) == 0 {
		return due, time.Hour
	}
	return due, n.queue[0].due.Sub(now)
}

// queue is a heap of packets by due time, then by order of sending.
type queue []*packet

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].seq < q[j].seq
	}
	return q[i].due.Before(q[j].due)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	if p, ok := x.(*packet); ok {
		*q = append(*q, p)
	}
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return p
}
