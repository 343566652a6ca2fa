package admission

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"
)

// Listen returns a listener that closes the connections that the gate does not let in.
// tell, if not nil, may say something to them before, as long as it does not wait: others
// are behind them.
func Listen(l net.Listener, g *Gate, tell func(net.Conn, error)) net.Listener {
	return &listener{l, g, tell}
}

type listener struct {
	net.Listener
	gate *Gate
	tell func(net.Conn, error)
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		place, err := l.gate.Enter(c.RemoteAddr())
		if err == nil {
			return &placed{c, place}, nil
		}
		if l.tell != nil {
			l.tell(c, err)
		}
		_ = c.Close() // the peer sees the end
	}
}

// placed gives its place back when it is closed.
type placed struct {
	net.Conn
	place *Place
}

// Close implements net.Conn.
func (c *placed) Close() error {
	c.place.Leave()
	return c.Conn.Close()
}

// ListenTLS is Listen for mutual TLS, whose handshake proves who is at the other end. It
// begins with the first Read or Write, and may take as long as timeout says then: Accept
// does not wait for it.
func ListenTLS(l net.Listener, g *Gate, conf *tls.Config, timeout func() time.Duration) net.Listener {
	return &secret{Listen(l, g, nil), conf, timeout}
}

type secret struct {
	net.Listener
	conf    *tls.Config
	timeout func() time.Duration
}

// Accept implements net.Listener.
func (l *secret) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &proving{Conn: tls.Server(c, l.conf), place: c.(*placed).place, timeout: l.timeout}, nil
}

// proving is a connection whose handshake is bounded in time.
type proving struct {
	*tls.Conn
	place   *Place
	timeout func() time.Duration
	once    sync.Once
	err     error
}

// prove carries the handshake out, if that is not done.
func (c *proving) prove() error {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), c.timeout())
		defer cancel()
		if err := c.HandshakeContext(ctx); err != nil {
			c.err = fmt.Errorf("handshake with %s: %w", c.RemoteAddr(), err)
			return
		}
		c.place.Proven()
	})
	return c.err
}

// Read implements net.Conn.
func (c *proving) Read(b []byte) (int, error) {
	if err := c.prove(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write implements net.Conn.
func (c *proving) Write(b []byte) (int, error) {
	if err := c.prove(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
