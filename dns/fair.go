package dns

import (
	"net"
	"net/netip"
	"sync"
)

// clientLimit bounds what clients occupy: together, and each of them, so that none can
// take all.
type clientLimit struct {
	all, each int // 0 in all: somebody else bounds that

	mu    sync.Mutex
	taken int
	by    map[netip.Addr]int // by client address
}

func newClientLimit(all, each int) *clientLimit {
	return &clientLimit{all: all, each: each, by: map[netip.Addr]int{}}
}

// tryAcquire takes a place, if there is one for the client.
func (p *clientLimit) tryAcquire(client netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all > 0 && p.taken >= p.all || p.by[client] >= p.each {
		return false
	}
	p.taken++
	p.by[client]++
	return true
}

// release gives a place back.
func (p *clientLimit) release(client netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.by[client]--; p.by[client] <= 0 {
		delete(p.by, client)
	}
}

// fairListener closes connections of a client that has its places already.
type fairListener struct {
	net.Listener
	places *clientLimit
}

// Accept implements net.Listener.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := addrOf(c.RemoteAddr())
		if l.places.tryAcquire(client) {
			return &fairConn{Conn: c, closed: func() { l.places.release(client) }}, nil
		}
		_ = c.Close() // the client sees the end
	}
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
