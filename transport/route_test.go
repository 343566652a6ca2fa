package transport

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// nowhere is an address that nobody answers at.
const nowhere = "127.0.0.1:9"

// TestWhoDialledDoesNotMatter: who is behind others and cannot be dialled is called on the
// connection that it made, whatever the address that it is known by.
func TestWhoDialledDoesNotMatter(t *testing.T) {
	t.Parallel()
	quick := func(c *Config) { c.HandshakeTimeout = 200 * time.Millisecond }
	a := endpoint(t, derived(t, testKey(1), server("a")), quick)
	b := endpoint(t, derived(t, testKey(1), server("b")), quick)
	known := []Target{{Addr: nowhere, NodeID: "id-b", Name: "b"}, {Addr: nowhere, NodeID: "id-b"}, {Addr: nowhere, Name: "b.dc1"}}
	for _, target := range known {
		if _, err := a.RoundTrip(within(t, 10*time.Second), target, testProtocol, nil, nil); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("%s answers before it has dialled: %v", target, err)
		}
	}
	if _, err := b.RoundTrip(within(t, 10*time.Second), to(a), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the connection is known", func() bool { return len(a.snapshot()) == 1 })
	if _, err := a.RoundTrip(within(t, 10*time.Second), known[0], testProtocol, nil, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("who is not known to be behind others answers from another address: %v", err)
	}
	a.Behind(map[string]struct{}{"id-b": {}, "b.dc1": {}})
	for _, target := range known {
		if answer, err := a.RoundTrip(within(t, 10*time.Second), target, testProtocol, nil, []byte("x")); err != nil || string(answer) != "x" {
			t.Errorf("%s: %q, %v", target, answer, err)
		}
	}
	for _, other := range []Target{{Addr: b.Addr().String(), NodeID: "id-c"}, {Addr: b.Addr().String(), Name: "c.dc1"}, {Addr: nowhere, NodeID: "id-b", Name: "c"}, {Addr: nowhere}} {
		if _, err := a.RoundTrip(within(t, 10*time.Second), other, testProtocol, nil, nil); err == nil {
			t.Errorf("b answers as %s", other)
		}
	}
}

// TestATargetIsDialledByItsRoute: the route is asked for each dial, and its error is that
// of the call.
func TestATargetIsDialledByItsRoute(t *testing.T) {
	t.Parallel()
	b := endpoint(t, derived(t, testKey(1), server("b")))
	blocked := errors.New("no way there")
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) {
		c.Route = func(ctx context.Context, to Target, protocol string, dial func(context.Context, *net.UDPAddr) error) error {
			if to.Name != "b.dc1" || protocol != testProtocol {
				return blocked
			}
			addr, _ := b.Addr().(*net.UDPAddr)
			return dial(ctx, addr)
		}
	})
	if _, err := a.RoundTrip(within(t, 10*time.Second), Target{Addr: nowhere, Name: "b.dc1"}, testProtocol, nil, nil); err != nil {
		t.Error(err)
	}
	if _, err := a.RoundTrip(within(t, 10*time.Second), Target{Addr: nowhere, Name: "c.dc1"}, testProtocol, nil, nil); !errors.Is(err, blocked) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("without a route: %v", err)
	}
	remote, err := a.Reach(within(t, 10*time.Second), Target{Addr: nowhere, Name: "b.dc1"}, testProtocol)
	if err != nil || remote.Peer.Name != "b" || remote.Link.Addr().String() != b.Addr().String() {
		t.Fatalf("reached %+v, %v", remote, err)
	}
	closeEndpoint(t, b)
	select {
	case <-remote.Link.Done():
	case <-time.After(5 * time.Second):
		t.Error("the end of the connection is not told")
	}
}
