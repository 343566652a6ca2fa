package gossipsim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/legate-project/legate/internal/wanem"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/wan"
)

const (
	// overhead is what a packet weighs beside what gossip put into it, in
	// bytes: IPv4 and UDP 28, QUIC's header and frame 15, its seal 16.
	overhead = 59
	// segment is how much of a stream one packet carries.
	segment = 1100
	// window is with how many packets a stream may begin before it hears from
	// the other side.
	window = 32
	// handshake is how long a dial to where nothing comes back takes.
	handshake = 5 * time.Second

	// idleDrop is after how long without use a connection is closed in a large pool.
	idleDrop = time.Minute

	packetQueue = 1024
	streamQueue = 64
)

// Traffic is what one server sent.
type Traffic struct{ Packets, Bytes uint64 }

// network carries packets and streams in memory. Time is the clock's: in a
// bubble of testing/synctest it is virtual.
type network struct {
	mu    sync.Mutex
	model *wanem.Model
	ends  map[string]*end // by address
	large int             // packets that were refused for their size
	uses  *uses
}

func newNetwork(seed uint64) *network {
	return &network{model: wanem.NewModel(seed), ends: map[string]*end{}, uses: newUses()}
}

// end is memberlist's transport of one server.
type end struct {
	n       *network
	site    string
	addr    netip.AddrPort
	judge   func([]byte)
	packets chan *memberlist.Packet
	streams chan net.Conn

	// Of the network's mutex.
	sent   Traffic
	frozen bool // nothing comes in or goes out
	closed bool
	recent map[*end]time.Time // when something was last said to another one, or by it
}

var _ memberlist.NodeAwareTransport = (*end)(nil)

func (n *network) listen(site string, addr netip.AddrPort) *end {
	e := &end{n: n, site: site, addr: addr, packets: make(chan *memberlist.Packet, packetQueue), streams: make(chan net.Conn, streamQueue), recent: map[*end]time.Time{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends[addr.String()] = e
	return e
}

// reaches returns where packets go and how; nil if nobody is there.
func (e *end) reaches(addr string) (*end, wanem.Link) {
	to := e.n.ends[addr]
	if to == nil || e.frozen || to.frozen || e.closed || to.closed {
		return nil, wanem.Link{}
	}
	if to.site == e.site {
		return to, wanem.Link{RTT: sameSite}
	}
	return to, e.n.model.Link(e.site, to.site)
}

// sameSite is the round trip within a datacenter.
const sameSite = 500 * time.Microsecond

func (e *end) count(packets, bytes int) {
	e.sent.Packets += uint64(packets)
	e.sent.Bytes += uint64(bytes + packets*overhead)
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (e *end) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	now := time.Now()
	if e.closed || e.frozen {
		return now, nil
	}
	if len(b) > transport.MaxDatagram { // as the endpoint does
		e.n.large++
		return now, fmt.Errorf("send a packet of %d bytes, %d allowed: %w", len(b), transport.MaxDatagram, transport.ErrTooLarge)
	}
	e.count(1, len(b))
	to, link := e.reaches(a.Addr)
	if to == nil {
		return now, nil
	}
	if !link.Cut {
		e.n.uses.used(e, to, now)
	}
	fate, wait := e.n.model.Throw(link)
	if fate != wanem.Arrives {
		return now, nil
	}
	packet := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(e.addr)}
	time.AfterFunc(max(wait, 0), func() { to.receive(packet) })
	return now, nil
}

func (e *end) receive(p *memberlist.Packet) {
	e.n.mu.Lock()
	gone := e.closed || e.frozen
	e.n.mu.Unlock()
	if gone {
		return
	}
	e.judge(p.Buf)
	p.Timestamp = time.Now()
	select {
	case e.packets <- p:
	default:
	}
}

// transfer is how long a piece of a stream is on its way: what is lost is
// sent again a round trip later, and a long piece needs several turns while
// the window opens. False: nothing arrives.
func (e *end) transfer(addr string, size int) (time.Duration, bool) {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	to, link := e.reaches(addr)
	if to == nil || link.Cut {
		return 0, false
	}
	e.n.uses.used(e, to, time.Now())
	packets := (size + segment - 1) / segment
	e.count(packets, size)
	to.count(packets/2+1, 0) // acknowledgements
	total := link.RTT / 2
	for sent, turn := 0, window; sent < packets; turn *= 2 {
		again := false
		for range min(turn, packets-sent) {
			if fate, _ := e.n.model.Throw(link); fate == wanem.Lost {
				e.count(1, segment)
				again = true
			}
		}
		if sent += turn; again || sent < packets {
			total += link.RTT + link.Jitter
		}
	}
	return total, true
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (e *end) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	e.n.mu.Lock()
	to, link := e.reaches(a.Addr)
	e.n.mu.Unlock()
	if to == nil || link.Cut {
		<-time.After(min(timeout, handshake))
		return nil, fmt.Errorf("reach %s: nothing comes back", a.Addr)
	}
	near, far := newStream(e, to), newStream(to, e)
	near.other, far.other = far, near
	select {
	case to.streams <- far:
		return near, nil
	default:
		return nil, fmt.Errorf("reach %s: too many streams", a.Addr)
	}
}

var _ wan.Connections = (*end)(nil)

// connected reports whether QUIC would have a connection; the network's mutex is held.
func (e *end) connected(to *end) bool {
	at, ok := e.recent[to]
	return ok && time.Since(at) < idleDrop && !to.closed && (to.site == e.site || !e.n.model.Link(e.site, to.site).Cut)
}

// Connected implements wan.Connections.
func (e *end) Connected(a memberlist.Address) bool {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	to := e.n.ends[a.Addr]
	return to != nil && e.connected(to)
}

// Open implements wan.Connections.
func (e *end) Open() int {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	n := 0
	for to := range e.recent {
		if e.connected(to) {
			n++
		}
	}
	return n
}

// Anyone implements wan.Connections.
func (e *end) Anyone(but []string) (memberlist.Address, bool) {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	var all []*end
	for to, at := range e.recent {
		switch {
		case e.connected(to):
			all = append(all, to)
		case time.Since(at) > idleDrop:
			delete(e.recent, to)
		}
	}
	if len(all) == 0 {
		return memberlist.Address{}, false
	}
	if others := slices.DeleteFunc(slices.Clone(all), func(o *end) bool { return slices.Contains(but, o.addr.String()) }); len(others) > 0 {
		all = others
	}
	return memberlist.Address{Addr: all[rand.IntN(len(all))].addr.String()}, true
}

// Dial implements wan.Connections: a round trip, and another for each packet of its handshake that is
// lost.
func (e *end) Dial(ctx context.Context, a memberlist.Address) error {
	e.n.mu.Lock()
	to, link := e.reaches(a.Addr)
	wait, lost := link.RTT, true
	for to != nil && lost && !link.Cut {
		there, _ := e.n.model.Throw(link)
		back, _ := e.n.model.Throw(link)
		if lost = there != wanem.Arrives || back != wanem.Arrives; lost {
			wait += 2*link.RTT + time.Second/3
		}
	}
	e.n.mu.Unlock()
	if to == nil || link.Cut {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
	}
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	e.n.uses.used(e, to, time.Now())
	return nil
}

// WriteTo implements memberlist.Transport.
func (e *end) WriteTo(b []byte, addr string) (time.Time, error) {
	return e.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// DialTimeout implements memberlist.Transport.
func (e *end) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return e.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (e *end) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IP(e.addr.Addr().AsSlice()), int(e.addr.Port()), nil
}

// PacketCh implements memberlist.Transport.
func (e *end) PacketCh() <-chan *memberlist.Packet { return e.packets }

// StreamCh implements memberlist.Transport.
func (e *end) StreamCh() <-chan net.Conn { return e.streams }

// Shutdown implements memberlist.Transport.
func (e *end) Shutdown() error {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	e.closed = true
	if e.n.ends[e.addr.String()] == e {
		delete(e.n.ends, e.addr.String())
	}
	return nil
}
