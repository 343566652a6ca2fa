package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/relay"
)

// A flow that carries nothing ends, everywhere.
func TestIdleFlowsEnd(t *testing.T) {
	t.Parallel()
	a, b, g := open(t, "a"), open(t, "b"), open(t, "g", carries)
	b.reachedBy(t, g)
	if _, err := a.Route(t.Context(), Way{Server: b.name, Gateways: []string{g.addr()}}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if ends := g.idle(now.Add(idleAfter / 2)); ends != nil {
		t.Fatalf("%d ends too early", len(ends))
	}
	ends := g.idle(now.Add(2 * idleAfter))
	if len(ends) != 2 {
		t.Fatalf("%d ends, not 2", len(ends))
	}
	for _, e := range ends {
		g.tell(e)
	}
	for _, n := range []*node{a, b, g} {
		eventually(t, "no label is left at "+n.name, func() bool { _, labels := n.board.All(); return labels == 0 })
	}
	a.uses(g)
	a.mustCall(t, b)
}

// A server ends a flow that was offered and over which nothing comes: the gateway may not
// know of it, since who asked gave up, or the answer came too late.
func TestOffersThatNobodyTookUpEnd(t *testing.T) {
	t.Parallel()
	b, g := open(t, "b"), open(t, "g", carries)
	b.reachedBy(t, g)
	to := transport.Target{Addr: b.addr(), NodeID: "id-b", Name: b.name}
	for label := range relay.Label(3) {
		if _, err := g.ask(t.Context(), to, request{Do: doOffer, Server: b.name, Label: label + 1}); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	if ends := b.idle(now.Add(idleAfter / 2)); ends != nil {
		t.Fatalf("%d ends too early", len(ends))
	}
	b.idle(now.Add(2 * idleAfter))
	if _, labels := b.board.All(); labels != 0 {
		t.Errorf("%d labels are left", labels)
	}
}

// One peer cannot take the room of others at a gateway: neither that to a server, also not
// with requests that come all at once, nor sessions; and who has a flow keeps it.
func TestOnePeerLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	a, b, c, greedy, g := open(t, "a"), open(t, "b"), open(t, "c"), open(t, "m"), open(t, "g", carries)
	b.reachedBy(t, g)
	a.uses(g)
	a.mustCall(t, b)
	to := transport.Target{Addr: g.addr()}
	var all sync.WaitGroup
	var done, full atomic.Int64
	for i := range 2 * maxPair {
		all.Go(func() {
			switch _, err := greedy.ask(t.Context(), to, request{Do: doOpen, Server: b.name, Label: relay.Label(i + 1)}); {
			case err == nil:
				done.Add(1)
			case errors.Is(err, ErrTooMany):
				full.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if done.Load() != maxPair || full.Load() != maxPair {
		t.Errorf("one peer has %d flows to a server", done.Load())
	}
	for _, n := range []*node{a, c} {
		if _, err := n.Route(t.Context(), Way{Server: b.name, Gateways: []string{g.addr()}}); err != nil {
			t.Errorf("%s: %v", n.name, err)
		}
	}
	var err error
	for range maxOfPeer {
		if _, err = open(t, "m").ask(t.Context(), to, request{Do: doList}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrTooMany) {
		t.Errorf("one session too many: %v", err)
	}
	if _, err := open(t, "d").ask(t.Context(), to, request{Do: doList}); err != nil {
		t.Errorf("another peer: %v", err)
	}
}

// What is asked in a session goes over its connection, also when the peer has another one:
// a flow leads to the process that registered last.
func TestAFlowLeadsToTheProcessThatRegisteredLast(t *testing.T) {
	t.Parallel()
	a, before, g := open(t, "a"), open(t, "b"), open(t, "g", carries)
	a.uses(g)
	before.reachedBy(t, g)
	now := open(t, "b")
	now.reachedBy(t, g)
	a.mustCall(t, now)
	if _, labels := now.board.All(); labels != 1 {
		t.Errorf("the process that registered last has %d labels", labels)
	}
}

// A flow to the process that a server is now does not end with that which it was before.
func TestAFlowIsNotEndedByAnOlderOne(t *testing.T) {
	t.Parallel()
	a, before, g := open(t, "a"), open(t, "b"), open(t, "g", carries)
	registers := func(n *node) {
		t.Helper()
		if _, err := n.register(t.Context(), g.addr()); err != nil {
			t.Fatal(err)
		}
	}
	registers(before)
	route := func() string {
		t.Helper()
		addr, err := a.Route(t.Context(), Way{Server: before.name, Gateways: []string{g.addr()}})
		if err != nil {
			t.Fatal(err)
		}
		return addr.String()
	}
	first := route()
	now := open(t, "b")
	registers(now)
	if again := route(); again != first {
		t.Fatalf("a flow by %s, not %s", again, first)
	}
	before.Expel(func(identity.Peer) bool { return true }, "the end")
	eventually(t, "only the flow to the later process is left", func() bool { _, labels := g.board.All(); return labels == 2 })
	eventually(t, "the older process has none", func() bool { _, labels := before.board.All(); return labels == 0 })
	a.uses(g)
	a.mustCall(t, now)
	if _, labels := a.board.All(); labels != 1 {
		t.Errorf("%d labels", labels)
	}
	if again := route(); again != first {
		t.Errorf("the flow by %s was ended, it is %s now", first, again)
	}
}

// A gateway that says nonsense about where it sees a server is not one to show.
func TestWhereAServerIsSeenIsAnAddress(t *testing.T) {
	t.Parallel()
	b, g := open(t, "b"), open(t, "g", carries)
	g.Endpoint.Remove(Protocol)
	for _, seen := range []string{"nonsense", "127.0.0.1", string(bytes.Repeat([]byte("x"), 600))} {
		liar := transport.Protocol{Answer: func(context.Context, transport.Remote, []byte) []byte {
			return fmt.Appendf(nil, `{"Observed":%q}`, seen)
		}}
		if err := g.Handle(Protocol, liar); err != nil {
			t.Fatal(err)
		}
		if got, err := b.register(t.Context(), g.addr()); err == nil || got != "" {
			t.Errorf("it is seen at %q, %v", got, err)
		}
		g.Endpoint.Remove(Protocol)
		b.Expel(func(identity.Peer) bool { return true }, "again")
	}
}

// The connection of a session is in use while flows go over it.
func TestASessionIsKeptForItsFlows(t *testing.T) {
	t.Parallel()
	b, c, g := open(t, "b"), open(t, "c"), open(t, "g", carries)
	b.reachedBy(t, g)
	pings := func(n *node) int {
		var m dto.Metric
		if err := n.metrics.requests.WithLabelValues(doPing, "done").Write(&m); err != nil {
			t.Fatal(err)
		}
		return int(m.GetCounter().GetValue())
	}
	g.keep()
	if _, err := c.Route(t.Context(), Way{Server: b.name, Gateways: []string{g.addr()}}); err != nil {
		t.Fatal(err)
	}
	if n := pings(b); n != 0 {
		t.Errorf("%d pings before there was a flow", n)
	}
	g.keep()
	eventually(t, "both sessions are used", func() bool { return pings(b) == 1 && pings(c) == 1 })
}

// Who registers counts where it succeeds and where it does not.
func TestRegistrationsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	gateway, other := open(t, "g", carries), open(t, "o")
	server := open(t, "a", func(c *Config) { c.Registerer = reg })
	told := make(chan []Registered, 100)
	if err := server.Keep(func() []string { return []string{gateway.addr(), other.addr()} }, func(now []Registered) { told <- now }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came of it")
	}
	want := `
# HELP legate_gateway_registrations Gateways that this server is to be reached through: those where it is registered, and those where that fails. Worry: failing for long.
# TYPE legate_gateway_registrations gauge
legate_gateway_registrations{state="failing"} 1
legate_gateway_registrations{state="registered"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "legate_gateway_registrations"); err != nil {
		t.Error(err)
	}
}
