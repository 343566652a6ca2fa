// Package packets reads and writes packets of UDP, several with one call to the kernel where
// that can be done (recvmmsg and sendmmsg of Linux), one by one elsewhere.
//
// It allocates nothing for a packet, and answers from the address that was asked where a
// socket has several. It knows nothing of what is in packets, and starts nothing.
package packets

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Packet is a question and its answer. It belongs to a batch.
type Packet struct {
	In  []byte // what came, until the next Read
	Out []byte // what is sent back; empty for nothing
	buf []byte // the room for what comes
	peer
}

// Take makes the packet that of another batch: what came is copied, what goes back is not.
func (p *Packet) Take(o *Packet) {
	p.In = append(p.buf[:0], o.In...)
	p.buf = p.In[:cap(p.In)]
	p.take(&o.peer)
}

// From is the address of who sent it, not valid if that is unknown.
func (p *Packet) From() netip.Addr { return p.from() }

// several has a socket that has several addresses tell which one a packet was sent to. It
// reports whether it is one.
func several(conn *net.UDPConn) (bool, error) {
	if a, ok := conn.LocalAddr().(*net.UDPAddr); !ok || !a.IP.IsUnspecified() {
		return false, nil
	}
	err4 := ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	err6 := ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	if err4 != nil && err6 != nil {
		return true, fmt.Errorf("learn the addresses that packets were sent to: %w", err4)
	}
	return true, nil
}
