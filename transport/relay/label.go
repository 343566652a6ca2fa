package relay

import (
	"encoding/binary"
	"net"
)

// Label names a flow on one link. It stands before each packet of the flow, as it is on
// the wire; who receives the packets has chosen it.
type Label uint64

const (
	// Overhead is how many bytes longer a packet is while it is carried.
	Overhead = 8
	// mark is the first byte of a label, which no packet of QUIC begins with: there one of the two
	// upper bits is set.
	mark = 0x28
	// markNeighbor is it in the addresses that stand for neighbors, which no packet has.
	markNeighbor = 0x29
	// maxFlows bounds the flows of one socket. Their number stands in the label, beside 40
	// random bits.
	maxFlows = 1 << 16
)

func newLabel(slot uint16, random uint64) Label {
	return Label(mark<<56 | uint64(slot)<<40 | random&(1<<40-1))
}

func (l Label) slot() uint16 { return uint16(l >> 40) }

// put writes the label where a packet begins.
func (l Label) put(b []byte) { binary.BigEndian.PutUint64(b, uint64(l)) }

// labelOf reads the label of a packet that is carried; false if it is none.
func labelOf(b []byte) (Label, bool) {
	if len(b) <= Overhead || b[0] != mark {
		return 0, false
	}
	return Label(binary.BigEndian.Uint64(b)), true
}

// carriedPort is the port of all addresses that stand for the other end of a flow.
const carriedPort = 1

// addr is how QUIC sees the other end of a flow: an address of the block that is there to discard
// (100::/64, RFC 6666), so that none of a network is meant.
func (l Label) addr() *net.UDPAddr {
	ip := make(net.IP, net.IPv6len)
	ip[0] = 1
	l.put(ip[net.IPv6len-Overhead:])
	return &net.UDPAddr{IP: ip, Port: carriedPort}
}

// Carried reports whether an address stands for the other end of a flow.
func Carried(addr net.Addr) bool {
	udp, ok := addr.(*net.UDPAddr)
	if ok {
		_, ok = flowOf(udp)
	}
	return ok
}

// flowOf is the label of an address that stands for the other end of a flow.
func flowOf(addr *net.UDPAddr) (Label, bool) {
	ip := addr.IP
	if len(ip) != net.IPv6len || addr.Port != carriedPort || binary.BigEndian.Uint64(ip) != 1<<56 || ip[Overhead] != mark {
		return 0, false
	}
	return Label(binary.BigEndian.Uint64(ip[net.IPv6len-Overhead:])), true
}
