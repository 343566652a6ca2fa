package relay

import (
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	// batch is how many packets are read, and sent on, with one call of the kernel.
	batch = 32
	// packetSize is the room for one packet: what Ethernet carries, and some.
	packetSize = 2048
	// oobSize is the room for what the kernel says of a packet.
	oobSize = 128
)

// Socket is a UDP socket for quic-go that carries packets as its board says. Of what it
// reads, packets of flows that end here seem to come from the addresses that stand for
// their other ends; packets of others are sent on; all else is as without it.
//
// quic-go reads on one goroutine. That goroutine sends on, too, and takes what tunnels
// deliver.
type Socket struct {
	*net.UDPConn
	board *Board
	bell  *bell
	conn  *ipv4.PacketConn // of either family: what it reads and writes are whole messages
	gso   bool
	bufs  sync.Pool // of what is sent over flows from here

	// What was read last; the reader's alone.
	in   []ipv4.Message
	keep []bool // those that are for QUIC
	n    int    // how many were read
	more bool   // others wait that tunnels delivered
	next int    // the next to be looked at
	out  sendOn
}

// Listen has a socket carry what the board says. The socket is owned by the result.
func Listen(c *net.UDPConn, board *Board) *Socket {
	s := &Socket{UDPConn: c, board: board, bell: &bell{conn: c}, conn: ipv4.NewPacketConn(c), gso: segments(c),
		in: make([]ipv4.Message, batch), keep: make([]bool, batch)}
	for i := range s.in {
		s.in[i] = ipv4.Message{Buffers: [][]byte{make([]byte, packetSize)}, OOB: make([]byte, oobSize)}
	}
	board.hang(s.bell)
	return s
}

// SetReadDeadline implements net.PacketConn.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.bell.SetReadDeadline(t) }

// ReadBatch is what quic-go reads with, in place of ReadMsgUDP.
func (s *Socket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	for {
		filled := 0
		for ; s.next < s.n && filled < len(ms); s.next++ {
			if s.keep[s.next] {
				hand(&s.in[s.next], &ms[filled])
				filled++
			}
		}
		if filled > 0 {
			return filled, nil
		}
		if s.more {
			s.bell.soon()
		}
		n, err := s.conn.ReadBatch(s.in, flags)
		switch {
		case err == nil:
		case s.bell.rang(err):
			n, s.more = s.board.tunnels.inbox.take(s.in)
		default:
			return 0, err
		}
		s.n, s.next = n, 0
		s.sort(time.Now())
	}
}

// hand copies a packet to who reads.
func hand(from, to *ipv4.Message) {
	to.N = copy(to.Buffers[0], from.Buffers[0][:from.N])
	to.NN = copy(to.OOB, from.OOB[:from.NN])
	to.Addr, to.Flags = from.Addr, from.Flags
}

// sort decides for each packet that was read, and sends on what is for others.
func (s *Socket) sort(now time.Time) {
	for i := range s.in[:s.n] {
		m := &s.in[i]
		b := m.Buffers[0][:m.N]
		label, carried := labelOf(b)
		s.keep[i] = !carried
		if !carried {
			continue
		}
		from, ok := m.Addr.(*net.UDPAddr)
		if !ok {
			continue
		}
		f := s.board.arrived(label, from, len(b), now)
		switch {
		case f == nil:
		case f.local != nil:
			m.N, m.NN, m.Addr = copy(b, b[Overhead:]), 0, f.local
			s.keep[i] = true
		default:
			f.out.put(b)
			if t := s.board.tunnelOf(f.to); t != nil {
				t.Send(b)
				continue
			}
			s.out.add(f, b, s.gso)
		}
	}
	s.out.flush(s.conn)
}

// WriteMsgUDP is what quic-go sends with: to the other end of a flow with its label
// before each segment.
func (s *Socket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	label, carried := flowOf(addr)
	if !carried {
		if t := s.board.tunnel(addr); t != nil {
			intoTunnel(t, b, segmentSize(oob))
			return len(b), len(oob), nil
		}
		return s.UDPConn.WriteMsgUDP(b, oob, addr)
	}
	f, to, err := s.board.leaves(label)
	if err != nil || to == nil {
		return len(b), len(oob), err
	}
	p, ok := s.bufs.Get().(*[]byte)
	if !ok {
		p = new([]byte)
	}
	defer s.bufs.Put(p)
	buf, size := labelled((*p)[:0], b, segmentSize(oob), f.out)
	*p = buf[:0]
	if t := s.board.tunnel(to); t != nil {
		intoTunnel(t, buf, size)
		return len(b), len(oob), nil
	}
	if _, _, err := s.UDPConn.WriteMsgUDP(buf, withSegments(slices.Clone(f.to.from), size, len(buf)), to); err != nil {
		return 0, 0, err
	}
	return len(b), len(oob), nil
}

// labelled appends to buf the segments of b, each with the label before it, and returns
// how long one is.
func labelled(buf, b []byte, size int, label Label) ([]byte, int) {
	if size == 0 {
		size = len(b)
	}
	for len(b) > 0 {
		n := min(size, len(b))
		at := len(buf)
		buf = append(buf, make([]byte, Overhead)...)
		label.put(buf[at:])
		buf = append(buf, b[:n]...)
		b = b[n:]
	}
	return buf, size + Overhead
}

// WriteTo implements net.PacketConn.
func (s *Socket) WriteTo(b []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return s.UDPConn.WriteTo(b, addr)
	}
	n, _, err := s.WriteMsgUDP(b, nil, udp)
	return n, err
}
