package tunnel

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/gateway"
)

// hidden is a server b that is reached through a gateway g alone, and another server a.
type hidden struct {
	a, b, g        *node
	ra, rb         *gateway.Relay
	answersA, came atomic.Int64 // datagrams that came to a and to b
}

const gossip = "test-gossip/1"

func newHidden(t *testing.T, fast, deaf bool) (*hidden, *Keeper) {
	h := &hidden{a: newNode(t, peer("a", true, false), fast), b: newNode(t, peer("b", true, false), fast), g: newNode(t, peer("g", false, true), fast)}
	h.b.conn.deaf.Store(deaf)
	_, port := h.g.serve(t)
	k := h.b.keep(t, port)
	k.cfg.Changed = func(string, bool) {
		for _, r := range h.b.Remotes(gateway.Protocol) {
			if r.Peer.Gateway {
				r.Link.Doubt()
			}
		}
		h.rb.Again()
	}
	relay := func(n *node, carries bool, more func(*gateway.Config)) *gateway.Relay {
		cfg := gateway.Config{Endpoint: n.Endpoint, Board: n.board, Carries: carries}
		if more != nil {
			more(&cfg)
		}
		r, err := gateway.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Stop(context.Background()) })
		return r
	}
	relay(h.g, true, nil)
	h.ra = relay(h.a, false, nil)
	h.rb = relay(h.b, false, func(c *gateway.Config) {
		c.Unreached = k.Doubt
		c.Silent = func(r transport.Remote) { k.DoubtAt(r.Addr.String()) }
	})
	k.Watch(h.g.Addr().String()) // from here on it may find another way, and tells rb
	h.a.route, h.b.route = h.ra, h.rb
	h.a.via, h.b.via = h.g.Addr().String(), h.g.Addr().String()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.b.Handle(gossip, transport.Protocol{PoolSize: 1, Datagram: func(_ transport.Remote, b []byte, _ time.Time) {
		h.came.Add(1)
		_ = h.b.SendDatagram(h.at("a", h.a), gossip, b)
	}}))
	must(h.a.Handle(gossip, transport.Protocol{PoolSize: 1, Datagram: func(transport.Remote, []byte, time.Time) { h.answersA.Add(1) }}))
	registered := make(chan struct{})
	must(h.rb.Keep(func() []string { return []string{h.b.via} }, func(now []gateway.Registered) {
		for _, g := range now {
			if g.Err == nil {
				select {
				case <-registered:
				default:
					close(registered)
				}
			}
		}
	}))
	select {
	case <-registered:
	case <-time.After(10 * time.Second):
		t.Fatal("b is not registered")
	}
	behind := map[string]struct{}{"id-b": {}, "b.dc": {}}
	h.a.Behind(behind)
	return h, k
}

func (h *hidden) at(name string, n *node) transport.Target {
	return transport.Target{Addr: n.Addr().String(), NodeID: "id-" + name, Name: name + ".dc"}
}

func call(from *node, to transport.Target) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := from.RoundTrip(ctx, to, echo, nil, []byte("hello"))
	return err
}

// works waits until calls and datagrams go both ways.
func (h *hidden) works(t *testing.T, what string) {
	t.Helper()
	began := time.Now()
	until(t, "a calls b "+what, func() bool { return call(h.a, h.at("b", h.b)) == nil })
	until(t, "b calls a "+what, func() bool { return call(h.b, h.at("a", h.a)) == nil })
	calls := time.Since(began)
	before := h.answersA.Load()
	until(t, "datagrams are answered "+what, func() bool {
		_ = h.a.SendDatagram(h.at("b", h.b), gossip, []byte("ping"))
		return h.answersA.Load() > before+20
	})
	t.Logf("%s: calls went on after %s, datagrams after %s", what, calls, time.Since(began))
}

// A server that is reached through a gateway goes on being so when its UDP fails, and when it
// works again: calls and datagrams, in both directions.
func TestAServerBehindAGatewayLosesUDP(t *testing.T) {
	t.Parallel()
	h, k := newHidden(t, false, false)
	h.works(t, "by UDP")
	h.b.conn.deaf.Store(true)
	h.works(t, "without UDP")
	if n := valueOf(t, k.metrics.open); n != 1 {
		t.Errorf("%v tunnels are in use", n)
	}
	h.b.conn.deaf.Store(false)
	until(t, "the tunnel is left", func() bool { return valueOf(t, k.metrics.open) == 0 })
	h.works(t, "by UDP again")
}

// A server that never had UDP is reached, and reaches others, through its gateway.
func TestAServerBehindAGatewayHasNoUDP(t *testing.T) {
	t.Parallel()
	for name, fast := range map[string]bool{"plain": false, "socket": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, k := newHidden(t, fast, true)
			h.works(t, "without UDP")
			if n := valueOf(t, k.metrics.open); n != 1 {
				t.Errorf("%v tunnels are in use", n)
			}
		})
	}
}
