package transport

import (
	"net"
)

// deafConn drops both directions once deaf is closed: a process that was
// stopped, or a crash of which the peer hears nothing.
type deafConn struct {
	net.PacketConn
	deaf <-chan struct{}
}

func (c *deafConn) isDeaf() bool {
	select {
	case <-c.deaf:
		return true
	default:
		return false
	}
}

func (c *deafConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if c.isDeaf() {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, addr)
}

func (c *deafConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.PacketConn.ReadFrom(b)
		if err != nil || !c.isDeaf() {
			return n, addr, err
		}
	}
}
