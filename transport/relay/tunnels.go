package relay

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	// MaxPacket is the longest packet of a tunnel, in bytes: what a socket here reads.
	MaxPacket = packetSize
	// maxWaiting bounds the packets of all tunnels that wait for the socket's reader. When there are as
	// many, those of the tunnels that have more than their share make room for others.
	maxWaiting = 1024
	// tunnelPort is the port of all addresses that stand for the other end of a tunnel.
	tunnelPort = 2
	// glance is how long packets of UDP are waited for while those of tunnels wait.
	glance = time.Microsecond
)

// Tunnel carries packets to one address in place of UDP.
type Tunnel interface {
	// Send takes a packet, or drops it; it never blocks, and keeps nothing of b.
	Send(b []byte)
	// Seen is where the other end is seen, for people.
	Seen() string
}

// TunnelAddr is the address that stands for the other end of a tunnel where that has none
// of UDP: of the block that is there to discard, as those of flows.
func TunnelAddr(n uint64) *net.UDPAddr {
	ip := make(net.IP, net.IPv6len)
	ip[0] = 1
	binary.BigEndian.PutUint64(ip[net.IPv6len-Overhead:], n)
	return &net.UDPAddr{IP: ip, Port: tunnelPort}
}

// tunnels are the ways beside UDP under one socket.
type tunnels struct {
	mu    sync.Mutex
	to    atomic.Pointer[map[netip.AddrPort]Tunnel] // nil while there are none
	inbox inbox
}

// Divert has what is sent to an address go into a tunnel from now on; nil is UDP again.
// Packets come from it by Deliver, whether it is diverted or not.
func (b *Board) Divert(addr *net.UDPAddr, t Tunnel) {
	b.tunnels.mu.Lock()
	defer b.tunnels.mu.Unlock()
	next := map[netip.AddrPort]Tunnel{}
	if old := b.tunnels.to.Load(); old != nil {
		for k, v := range *old {
			next[k] = v
		}
	}
	if t == nil {
		delete(next, keyOf(addr))
	} else {
		next[keyOf(addr)] = t
	}
	if len(next) == 0 {
		b.tunnels.to.Store(nil)
		return
	}
	b.tunnels.to.Store(&next)
}

// Deliver has a packet come in as if it were from an address. It is copied; false if it was
// dropped because too many wait, or there is no socket yet.
func (b *Board) Deliver(from *net.UDPAddr, packet []byte) bool {
	return len(packet) <= MaxPacket && b.tunnels.inbox.put(from, packet)
}

// Seen is where who has an address is seen, for people: the other end of a tunnel is where
// that comes from.
func (b *Board) Seen(addr *net.UDPAddr) string {
	if t := b.tunnel(addr); t != nil {
		return t.Seen()
	}
	return addr.String()
}

// tunnel is the one to an address; nil if UDP goes there. What goes to the other end of a tunnel
// that has ended is lost, and no fault of the socket: another may come, and QUIC goes on over it.
func (b *Board) tunnel(addr *net.UDPAddr) Tunnel {
	if addr == nil {
		return nil
	}
	if to := b.tunnels.to.Load(); to != nil {
		if t := (*to)[keyOf(addr)]; t != nil {
			return t
		}
	}
	if ip := addr.IP; addr.Port == tunnelPort && len(ip) == net.IPv6len && binary.BigEndian.Uint64(ip) == 1<<56 {
		return ended{}
	}
	return nil
}

// ended is a tunnel that has ended.
type ended struct{}

func (ended) Send([]byte)  {}
func (ended) Seen() string { return "" }

// tunnelOf is the one to a neighbor, which is not asked where it is while there are none.
func (b *Board) tunnelOf(n *Neighbor) Tunnel {
	if b.tunnels.to.Load() == nil {
		return nil
	}
	return b.tunnel(n.addr())
}

func keyOf(addr *net.UDPAddr) netip.AddrPort {
	a := addr.AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// intoTunnel sends the segments of b.
func intoTunnel(t Tunnel, b []byte, size int) {
	if size == 0 {
		size = len(b)
	}
	for len(b) > 0 {
		n := min(size, len(b))
		t.Send(b[:n])
		b = b[n:]
	}
}

// inbox has packets of tunnels that wait for the reader of the socket.
type inbox struct {
	mu      sync.Mutex
	bell    *bell
	waiting []parcel
	of      map[netip.Addr]int // how many of them are of a tunnel, by where it seems to come from
	spare   []*[MaxPacket]byte
}

type parcel struct {
	from *net.UDPAddr
	key  netip.Addr
	n    int
	b    *[MaxPacket]byte
}

func (i *inbox) put(from *net.UDPAddr, packet []byte) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := from.AddrPort().Addr()
	if i.bell == nil || len(i.waiting) >= maxWaiting && !i.makeRoom(key) {
		return false
	}
	var b *[MaxPacket]byte
	if last := len(i.spare) - 1; last >= 0 {
		b, i.spare = i.spare[last], i.spare[:last]
	} else {
		b = new([MaxPacket]byte)
	}
	i.waiting = append(i.waiting, parcel{from, key, copy(b[:], packet), b})
	i.count(key, 1)
	if len(i.waiting) == 1 {
		i.bell.ring()
	}
	return true
}

// makeRoom drops the newest packet of a tunnel that has more than its share for one of a tunnel that has
// less; false if that one has its share.
func (i *inbox) makeRoom(of netip.Addr) bool {
	tunnels := len(i.of)
	if i.of[of] == 0 {
		tunnels++
	}
	share := max(maxWaiting/tunnels, 1)
	if i.of[of] >= share {
		return false
	}
	for j := len(i.waiting) - 1; j >= 0; j-- {
		if p := i.waiting[j]; i.of[p.key] > share {
			i.count(p.key, -1)
			i.keepSpare(p.b)
			i.waiting = slices.Delete(i.waiting, j, j+1)
			return true
		}
	}
	return false
}

func (i *inbox) count(of netip.Addr, n int) {
	if i.of == nil {
		i.of = map[netip.Addr]int{}
	}
	if i.of[of] += n; i.of[of] == 0 {
		delete(i.of, of)
	}
}

func (i *inbox) keepSpare(b *[MaxPacket]byte) {
	if len(i.spare) < batch {
		i.spare = append(i.spare, b)
	}
}

// take hands as many packets over as ms has room for, and reports whether there are more: for
// those the bell does not ring, the reader has to look.
func (i *inbox) take(ms []ipv4.Message) (n int, more bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n = min(len(ms), len(i.waiting))
	for j, p := range i.waiting[:n] {
		m := &ms[j]
		m.N, m.NN, m.Flags, m.Addr = copy(m.Buffers[0], p.b[:p.n]), 0, 0, p.from
		i.count(p.key, -1)
		i.keepSpare(p.b)
	}
	rest := copy(i.waiting, i.waiting[n:])
	clear(i.waiting[rest:])
	i.waiting = i.waiting[:rest]
	return n, rest > 0
}

func (b *Board) hang(on *bell) {
	b.tunnels.inbox.mu.Lock()
	defer b.tunnels.inbox.mu.Unlock()
	b.tunnels.inbox.bell = on
}

// bell wakes who reads a socket, by a deadline that is over. Its owner's own deadlines are
// kept beside that: QUIC stops its reader by one, which must not be lost.
type bell struct {
	conn interface{ SetReadDeadline(time.Time) error }

	mu       sync.Mutex
	ringing  bool
	deadline time.Time // the owner's
}

// SetReadDeadline is that of the owner.
func (b *bell) SetReadDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	if b.ringing {
		return nil // set when it is answered
	}
	return b.conn.SetReadDeadline(t)
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ringing {
		b.ringing = true
		_ = b.conn.SetReadDeadline(time.Unix(1, 0)) // of a socket that is closed nobody reads
	}
}

// soon has the next read end when there is nothing in the socket: what tunnels delivered waits,
// and however much that is, what comes by UDP is read in turn. A deadline of the owner that is over
// counts more.
func (b *bell) soon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ringing = b.deadline.IsZero() || time.Now().Before(b.deadline)
	until := b.deadline
	if b.ringing {
		until = time.Now().Add(glance) // one that is over would have nothing read
	}
	_ = b.conn.SetReadDeadline(until) // of a socket that is closed nobody reads
}

// rang reports whether reading ended because the bell rang, and has it ring no more.
func (b *bell) rang(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ringing {
		return false
	}
	b.ringing = false
	return b.conn.SetReadDeadline(b.deadline) == nil
}
