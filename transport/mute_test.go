package transport

import (
	"errors"
	"testing"
	"time"
)

// TestAPeerThatAnotherConnectionReachesIsNotGivenUp: a connection is given up while another
// one reaches the peer. When that has ended, too, the peer is dialled and waited for.
func TestAPeerThatAnotherConnectionReachesIsNotGivenUp(t *testing.T) {
	t.Parallel()
	a := endpoint(t, derived(t, testKey(1), server("a")))
	b := endpoint(t, derived(t, testKey(1), server("b")))
	if _, err := a.RoundTrip(within(t, 10*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	a.gaveUp(a.snapshot()[0]) // as for one that was there before
	for _, c := range a.snapshot() {
		c.close(codeIdle, "idle")
	}
	eventually(t, 10*time.Second, "the other is gone", func() bool { return len(a.snapshot()) == 0 })
	if _, err := a.RoundTrip(within(t, 10*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Errorf("the peer that was never away: %v", err)
	}
}

// TestAPeerThatEndedIsNotWaitedFor: it said so.
func TestAPeerThatEndedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	const handshake = 4 * time.Second
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) { c.HandshakeTimeout = handshake })
	b := endpoint(t, derived(t, testKey(1), server("b")))
	target := to(b)
	if _, err := a.RoundTrip(within(t, 5*time.Second), target, testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	closeEndpoint(t, b)
	eventually(t, 5*time.Second, "the connection is forgotten", func() bool { return len(a.snapshot()) == 0 })
	start := time.Now()
	if _, err := a.RoundTrip(within(t, 30*time.Second), target, testProtocol, nil, nil); !errors.Is(err, ErrUnreachable) || time.Since(start) > handshake/2 {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) { c.Conn = listenUDP(t, target.Addr) })
	eventually(t, 2*handshake, "the peer that is back answers", func() bool {
		_, err := a.RoundTrip(within(t, time.Second), target, testProtocol, nil, nil)
		return err == nil
	})
}

// TestAPeerThatWasGivenUpIsNotWaitedFor: whoever can ask another does so at once, and
// the peer is found again in the background.
func TestAPeerThatWasGivenUpIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	const handshake = 4 * time.Second
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) { c.PoolSize, c.HandshakeTimeout = 1, handshake })
	frozen := make(chan struct{})
	conn := listenUDP(t, "127.0.0.1:0")
	b := endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) { c.Conn = &deafConn{PacketConn: conn, deaf: frozen} })
	other := Target{Addr: b.Addr().String()} // a path of its own to the same peer
	for _, target := range []Target{to(b), other} {
		if _, err := a.RoundTrip(within(t, 5*time.Second), target, testProtocol, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	close(frozen)
	if _, err := a.RoundTrip(within(t, 30*time.Second), to(b), testProtocol, nil, nil); !errors.Is(err, ErrLost) {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the connection is forgotten", func() bool { return len(a.snapshot()) == 0 })
	for _, target := range []Target{to(b), other} {
		start := time.Now()
		if _, err := a.RoundTrip(within(t, 30*time.Second), target, testProtocol, nil, nil); !errors.Is(err, ErrUnreachable) || time.Since(start) > handshake/2 {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	}
	closeEndpoint(t, b)
	endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) { c.Conn = listenUDP(t, other.Addr) })
	for _, target := range []Target{to(b), other} {
		eventually(t, 2*handshake, "the peer that is back answers", func() bool {
			_, err := a.RoundTrip(within(t, time.Second), target, testProtocol, nil, nil)
			return err == nil
		})
	}
}
