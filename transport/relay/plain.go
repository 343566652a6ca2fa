package relay

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
)

// errNoUDP is returned for what only a UDP socket has.
var errNoUDP = errors.New("this is no UDP socket")

// plain is Socket on something that only reads and writes packets, one at a time: the
// sockets of an emulated network.
type plain struct {
	net.PacketConn
	board *Board
	bell  *bell
	one   [1]ipv4.Message // what a tunnel delivered; the reader's alone
	more  bool            // others wait that tunnels delivered; the reader's alone
}

// Wrap is Listen for any kind of socket. The socket is owned by the result.
func Wrap(c net.PacketConn, board *Board) net.PacketConn {
	if udp, ok := c.(*net.UDPConn); ok {
		return Listen(udp, board)
	}
	p := &plain{PacketConn: c, board: board, bell: &bell{conn: c}}
	board.hang(p.bell)
	return p
}

// SetReadDeadline implements net.PacketConn.
func (p *plain) SetReadDeadline(t time.Time) error { return p.bell.SetReadDeadline(t) }

// read reads a packet, or takes one that a tunnel delivered.
func (p *plain) read(b []byte) (int, net.Addr, error) {
	for {
		if p.more {
			p.bell.soon()
		}
		n, addr, err := p.PacketConn.ReadFrom(b)
		if err == nil || !p.bell.rang(err) {
			return n, addr, err
		}
		p.one[0].Buffers = [][]byte{b}
		if n, p.more = p.board.tunnels.inbox.take(p.one[:]); n > 0 {
			return p.one[0].N, p.one[0].Addr, nil
		}
	}
}

// write sends a packet by UDP, or into the tunnel that leads there.
func (p *plain) write(b []byte, to *net.UDPAddr) (int, error) {
	if t := p.board.tunnel(to); t != nil {
		t.Send(b)
		return len(b), nil
	}
	return p.PacketConn.WriteTo(b, to)
}

// ReadFrom implements net.PacketConn.
func (p *plain) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, addr, err := p.read(b)
		if err != nil {
			return n, addr, err
		}
		label, carried := labelOf(b[:n])
		from, udp := addr.(*net.UDPAddr)
		if !carried || !udp {
			return n, addr, nil
		}
		f := p.board.arrived(label, from, n, time.Now())
		switch {
		case f == nil:
		case f.local != nil:
			return copy(b, b[Overhead:n]), f.local, nil
		default:
			f.out.put(b)
			if to := f.to.addr(); to != nil {
				_, _ = p.write(b[:n], to) // what cannot be sent is lost
			}
		}
	}
}

// WriteTo implements net.PacketConn.
func (p *plain) WriteTo(b []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return p.PacketConn.WriteTo(b, addr)
	}
	label, carried := flowOf(udp)
	if !carried {
		return p.write(b, udp)
	}
	f, to, err := p.board.leaves(label)
	if err != nil || to == nil {
		return len(b), err
	}
	buf, _ := labelled(nil, b, 0, f.out)
	if _, err := p.write(buf, to); err != nil {
		return 0, err
	}
	return len(b), nil
}

// SetReadBuffer lets QUIC ask for room for bursts.
func (p *plain) SetReadBuffer(bytes int) error {
	if c, ok := p.PacketConn.(interface{ SetReadBuffer(int) error }); ok {
		return c.SetReadBuffer(bytes)
	}
	return errNoUDP
}

// SetWriteBuffer is the same for sending.
func (p *plain) SetWriteBuffer(bytes int) error {
	if c, ok := p.PacketConn.(interface{ SetWriteBuffer(int) error }); ok {
		return c.SetWriteBuffer(bytes)
	}
	return errNoUDP
}

// SyscallConn lets QUIC inspect the buffers and forbid fragments.
func (p *plain) SyscallConn() (syscall.RawConn, error) {
	if c, ok := p.PacketConn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errNoUDP
}
