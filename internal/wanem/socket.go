package wanem

import (
	"errors"
	"net"
	"syscall"
)

// errNoBuffer is returned when the wrapped socket has no buffers to set.
var errNoBuffer = errors.New("socket has no buffers to set")

// socket is one end: it hands what goes to another site to the network.
//
// It is no net.UDPConn on purpose: QUIC then sends packet by packet, without
// segmentation offload, so that each can be delayed on its own.
type socket struct {
	net.PacketConn
	n    *Network
	site string
}

// WriteTo implements net.PacketConn.
func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	if s.n.send(s, b, to) {
		return len(b), nil
	}
	return s.PacketConn.WriteTo(b, to)
}

// SetReadBuffer lets QUIC ask for room for bursts.
func (s *socket) SetReadBuffer(bytes int) error {
	if c, ok := s.PacketConn.(interface{ SetReadBuffer(int) error }); ok {
		return c.SetReadBuffer(bytes)
	}
	return errNoBuffer
}

// SetWriteBuffer is the same for sending.
func (s *socket) SetWriteBuffer(bytes int) error {
	if c, ok := s.PacketConn.(interface{ SetWriteBuffer(int) error }); ok {
		return c.SetWriteBuffer(bytes)
	}
	return errNoBuffer
}

// SyscallConn lets QUIC inspect the buffers and forbid fragments.
func (s *socket) SyscallConn() (syscall.RawConn, error) {
	if c, ok := s.PacketConn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errNoBuffer
}
