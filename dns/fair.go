package dns

import (
	"net"
	"net/netip"
	"sync"
)

// fairListener closes connections of a client that has maxTCPEach of them
// already, so that none can take all.
type fairListener struct {
	net.Listener
	mu   sync.Mutex
	open map[netip.Addr]int // by client address
}

// Accept implements net.Listener.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := clientAddr(c)
		l.mu.Lock()
		over := l.open[addr] >= maxTCPEach
		if !over {
			l.open[addr]++
		}
		l.mu.Unlock()
		if !over {
			return &fairConn{Conn: c, closed: func() { l.closed(addr) }}, nil
		}
		_ = c.Close() // the client sees the end
	}
}

func (l *fairListener) closed(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[addr]--; l.open[addr] <= 0 {
		delete(l.open, addr)
	}
}

func clientAddr(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// fairConn tells its listener once that it is closed.
type fairConn struct {
	net.Conn
	once   sync.Once
	closed func()
}

// Close implements net.Conn.
func (c *fairConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}
