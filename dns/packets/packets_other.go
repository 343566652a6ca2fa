//go:build !linux

package packets

import (
	"context"
	"net"
	"net/netip"

	mdns "github.com/miekg/dns"
)

// peer is who sent a packet, and where to.
type peer struct {
	at      netip.AddrPort
	session *mdns.SessionUDP // of a socket that has several addresses
}

func (p *peer) take(o *peer) { *p = *o }

func (p *peer) from() netip.Addr {
	if p.session != nil {
		if a, ok := p.session.RemoteAddr().(*net.UDPAddr); ok {
			return a.AddrPort().Addr().Unmap()
		}
		return netip.Addr{}
	}
	return p.at.Addr().Unmap()
}

// Conn is a socket.
type Conn struct {
	conn    *net.UDPConn
	several bool
}

// New returns a Conn for the socket, which stays the caller's.
func New(conn *net.UDPConn) (*Conn, error) {
	several, err := several(conn)
	return &Conn{conn, several}, err
}

// Batch is some packets that are read and written together, by one at a time.
type Batch struct {
	Packets []Packet
	conn    *Conn
}

// Batch returns room for a packet of at most size bytes; what is longer is cut.
func (c *Conn) Batch(_, size int) *Batch {
	b := &Batch{Packets: make([]Packet, 1), conn: c}
	b.Packets[0].buf = make([]byte, size)
	return b
}

// Read waits for packets and returns how many have come.
func (b *Batch) Read() (int, error) {
	p := &b.Packets[0]
	var n int
	var err error
	if b.conn.several {
		n, p.session, err = mdns.ReadFromSessionUDP(b.conn.conn, p.buf)
	} else {
		n, p.at, err = b.conn.conn.ReadFromUDPAddrPort(p.buf)
	}
	if err != nil {
		return 0, err
	}
	p.In, p.Out = p.buf[:n], nil
	return 1, nil
}

// Write sends the answers of the first n packets. It returns how many could not be sent.
func (b *Batch) Write(n int) (failed int) {
	p := &b.Packets[0]
	if n == 0 || len(p.Out) == 0 {
		return 0
	}
	var err error
	if p.session != nil {
		_, err = mdns.WriteToSessionUDP(b.conn.conn, p.Out, p.session)
	} else {
		_, err = b.conn.conn.WriteToUDPAddrPort(p.Out, p.at)
	}
	if err != nil {
		return 1
	}
	return 0
}

// Siblings opens no more sockets: what comes is not shared out among several here.
func Siblings(context.Context, *net.UDPConn, int) []*net.UDPConn { return nil }
