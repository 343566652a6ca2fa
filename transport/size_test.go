package transport

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// sized is a socket that knows how many bytes its largest packet had.
type sized struct {
	net.PacketConn
	most *atomic.Int64
}

func (s sized) WriteTo(b []byte, to net.Addr) (int, error) {
	s.most.Store(max(s.most.Load(), int64(len(b))))
	return s.PacketConn.WriteTo(b, to)
}

// SyscallConn lets QUIC forbid that packets are cut: without that it never tries larger ones.
func (s sized) SyscallConn() (syscall.RawConn, error) {
	return s.PacketConn.(*net.UDPConn).SyscallConn()
}

// TestSmallPacketsDoNotGrow: those of other endpoints do.
func TestSmallPacketsDoNotGrow(t *testing.T) {
	t.Parallel()
	for _, small := range []bool{true, false} {
		var most atomic.Int64
		open := func(name string) *Endpoint {
			return endpoint(t, derived(t, testKey(1), server(name)), func(c *Config) {
				c.Conn, c.SmallPackets = sized{listenUDP(t, "127.0.0.1:0"), &most}, small
				c.Protocols = map[string]Protocol{testProtocol: {Answer: func(context.Context, Remote, []byte) []byte { return make([]byte, 200_000) }}}
			})
		}
		a, b := open("a"), open("b")
		for range 50 {
			if _, err := a.RoundTrip(within(t, 10*time.Second), to(b), testProtocol, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if grew := most.Load() > 1200; grew == small {
			t.Errorf("small packets: %t; the largest had %d bytes", small, most.Load())
		}
	}
}
