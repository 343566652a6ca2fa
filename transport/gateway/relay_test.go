package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/relay"
)

const (
	testProtocol = "legate-test/1"
	// nowhere is where servers say that they are: nobody answers there.
	nowhere = "127.0.0.1:9"
)

// node is an endpoint with its flows.
type node struct {
	*transport.Endpoint
	*Relay
	board *relay.Board
	conn  *net.UDPConn
	name  string
	way   atomic.Pointer[Way] // to all other servers
	cuts  sync.Map            // addresses that nothing gets to from here
	evil  *evil
}

// leaky is a socket from which nothing gets to some addresses.
type leaky struct {
	*net.UDPConn
	cuts *sync.Map
}

func (l leaky) WriteTo(b []byte, to net.Addr) (int, error) {
	if _, cut := l.cuts.Load(to.String()); cut {
		return len(b), nil
	}
	return l.UDPConn.WriteTo(b, to)
}

// under is the socket with the flows: as others have it, unless links of it are cut.
func (n *node) under() net.PacketConn {
	if strings.HasPrefix(n.name, "leaky") {
		return relay.Wrap(leaky{n.conn, &n.cuts}, n.board)
	}
	if strings.HasPrefix(n.name, "evil") {
		n.evil = newEvil(n.conn)
		return relay.Wrap(n.evil, n.board)
	}
	if strings.HasPrefix(n.name, "slow") {
		return relay.Wrap(slow{n.conn, slowBy}, n.board)
	}
	return relay.Listen(n.conn, n.board)
}

func (n *node) addr() string { return n.Endpoint.Addr().String() }

// open starts a node on loopback, a server unless it carries flows.
func open(t testing.TB, name string, change ...func(*Config)) *node {
	t.Helper()
	n := &node{board: relay.NewBoard(), name: name + ".dc-" + name}
	cfg := Config{Board: n.board}
	for _, f := range change {
		f(&cfg)
	}
	id, err := identity.NewDerived(bytes.Repeat([]byte{1}, 32), identity.Peer{Federation: "f", Datacenter: "dc-" + name, NodeID: "id-" + name, Name: name, Server: !cfg.Carries, Gateway: cfg.Carries})
	if err != nil {
		t.Fatal(err)
	}
	n.conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n.Endpoint, err = transport.New(transport.Config{
		Name: name, Conn: n.under(), Identity: id,
		Protocols: map[string]transport.Protocol{testProtocol: {Answer: func(_ context.Context, from transport.Remote, b []byte) []byte {
			return fmt.Appendf(nil, "%s to %s: %s", n.name, from.Peer.FullName(), b)
		}}},
		Route: func(ctx context.Context, to transport.Target, protocol string, dial func(context.Context, *net.UDPAddr) error) error {
			w := n.way.Load()
			if to.Name == "" || w.Gateways == nil || protocol == Protocol {
				return dial(ctx, nil)
			}
			addr, err := n.Route(ctx, *w.to(to.Name))
			if err != nil {
				return err
			}
			return dial(ctx, addr)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.way.Store(&Way{})
	cfg.Endpoint = n.Endpoint
	if n.Relay, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.end(t) })
	return n
}

func (n *node) end(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := errors.Join(n.Relay.Stop(ctx), n.Endpoint.Close(ctx)); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("end %s: %v", n.name, err)
	}
}

func carries(c *Config) { c.Carries = true }

// knows has the node take others for behind gateways.
func (n *node) knows(others ...*node) {
	behind := map[string]struct{}{}
	for _, o := range others {
		behind[o.name], behind["id-"+o.Peer().Name] = struct{}{}, struct{}{}
	}
	n.Behind(behind)
}

// reachedBy registers with gateways and waits until they know it.
func (n *node) reachedBy(t testing.TB, gateways ...*node) {
	t.Helper()
	var addrs []string
	for _, g := range gateways {
		addrs = append(addrs, g.addr())
	}
	told := make(chan []Registered, 100)
	if err := n.Keep(func() []string { return addrs }, func(now []Registered) { told <- now }); err != nil {
		t.Fatal(err)
	}
	select {
	case now := <-told:
		for _, g := range now {
			if g.Err != nil || g.Observed != n.addr() {
				t.Fatalf("registered: %+v", now)
			}
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no gateway answers")
	}
}

func (n *node) uses(gateways ...*node) {
	w := Way{}
	for _, g := range gateways {
		w.Gateways = append(w.Gateways, g.addr())
	}
	n.way.Store(&w)
}

// to is the way to a server.
func (w *Way) to(server string) *Way {
	out := *w
	out.Server = server
	return &out
}

// call has one node ask another, and returns how long it took.
func (n *node) call(t testing.TB, other *node) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	began := time.Now()
	to := transport.Target{Addr: nowhere, NodeID: "id-" + other.Peer().Name, Name: other.name}
	got, err := n.RoundTrip(ctx, to, testProtocol, nil, []byte("hello"))
	if want := other.name + " to " + n.name + ": hello"; err == nil && string(got) != want {
		t.Fatalf("%q was answered, not %q", got, want)
	}
	return time.Since(began), err
}

// Peer says who the node is.
func (n *node) Peer() identity.Peer {
	name, _, _ := strings.Cut(n.name, ".")
	return identity.Peer{Name: name}
}

func (n *node) mustCall(t testing.TB, other *node) {
	t.Helper()
	if _, err := n.call(t, other); err != nil {
		t.Fatalf("%s calls %s: %v", n.name, other.name, err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within 20 s: %s", what)
		case <-tick.C:
		}
	}
}

// Two servers of which nobody knows an address call each other through a gateway, in both
// directions over what one of them dialled, and the gateway has no part in it.
func TestServersCallEachOtherThroughAGateway(t *testing.T) {
	t.Parallel()
	a, b, g := open(t, "a"), open(t, "b"), open(t, "g", carries)
	b.reachedBy(t, g)
	a.uses(g)
	a.mustCall(t, b)
	b.knows(a)
	b.mustCall(t, a) // over the connection that a made
	if got, err := a.Servers(t.Context(), g.addr()); err != nil || !slices.Equal(got, []string{b.name}) {
		t.Errorf("the gateway reaches %v, %v", got, err)
	}
	if got, labels := g.board.All(); got.Packets == 0 || labels != 2 || g.board.Strange() != 0 {
		t.Errorf("the gateway carried %+v with %d labels, %d packets were strange", got, labels, g.board.Strange())
	}
	for _, s := range g.Stats() {
		if s.Protocol == testProtocol {
			t.Errorf("the gateway has connections of %s", s.Protocol)
		}
	}
}

// One flow serves all connections of two servers, and ends with the session of either.
func TestAFlowEndsWithItsSessions(t *testing.T) {
	t.Parallel()
	a, b, g := open(t, "a"), open(t, "b"), open(t, "g", carries)
	b.reachedBy(t, g)
	a.uses(g)
	a.mustCall(t, b)
	for range 3 {
		if _, err := a.Route(t.Context(), Way{Server: b.name, Gateways: []string{g.addr()}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []*node{a, b, g} {
		want := 1
		if n == g {
			want = 2
		}
		if _, labels := n.board.All(); labels != want {
			t.Errorf("%s has %d labels, not %d", n.name, labels, want)
		}
	}
	a.Expel(func(identity.Peer) bool { return true }, "the end")
	for _, n := range []*node{a, b, g} {
		eventually(t, "no label is left at "+n.name, func() bool { _, labels := n.board.All(); return labels == 0 })
	}
	a.mustCall(t, b)
}

// Who is not registered, or refused, is not reached, and the error says through which
// gateway it was not, and why.
func TestWhoIsNotReached(t *testing.T) {
	t.Parallel()
	var refuse atomic.Pointer[string]
	refused := errors.New("it is removed")
	a, b, server := open(t, "a"), open(t, "b"), open(t, "s")
	g := open(t, "g", carries, func(c *Config) {
		c.Refuse = func(dc string) error {
			if no := refuse.Load(); no != nil && *no == dc {
				return refused
			}
			return nil
		}
	})
	route := func(g *node) error {
		_, err := a.Route(t.Context(), Way{Server: b.name, Gateways: []string{g.addr()}})
		return err
	}
	if err := route(g); !errors.Is(err, ErrNotHere) {
		t.Errorf("who is not registered: %v", err)
	}
	if err := route(server); !errors.Is(err, ErrNotCarried) {
		t.Errorf("through who is no gateway: %v", err)
	}
	b.reachedBy(t, g)
	if err := route(g); err != nil {
		t.Errorf("who is registered: %v", err)
	}
	dc := "dc-b"
	refuse.Store(&dc)
	if err := route(g); !errors.Is(err, ErrNotAdmitted) {
		t.Errorf("who is refused: %v", err)
	}
	if _, err := a.Route(t.Context(), Way{Server: b.name}); err == nil {
		t.Error("a route without a gateway")
	}
	if _, labels := a.board.All(); labels != 0 {
		t.Errorf("%d labels are left", labels)
	}
}

// A server that is not registered is dialled by the gateway, or reached through a gateway
// that it has; through more than two it is not.
func TestFlowsGoOn(t *testing.T) {
	t.Parallel()
	a, b, c := open(t, "a"), open(t, "b"), open(t, "c")
	g, h := open(t, "g", carries), open(t, "h", carries)
	c.reachedBy(t, h)
	a.way.Store(&Way{Gateways: []string{g.addr()}, Addr: b.addr()})
	a.mustCall(t, b)
	b.knows(a)
	b.mustCall(t, a)
	dead := "127.0.0.1:9"
	a.way.Store(&Way{Gateways: []string{g.addr()}, Via: []string{dead, h.addr()}})
	a.mustCall(t, c)
	c.knows(a)
	c.mustCall(t, a)
	if _, err := a.ask(t.Context(), transport.Target{Addr: g.addr()}, request{Do: doOpen, Server: c.name, Via: []string{h.addr()}, Hops: maxHops, Label: 1}); !errors.Is(err, ErrNotHere) {
		t.Errorf("beyond two gateways: %v", err)
	}
	if _, err := a.ask(t.Context(), transport.Target{Addr: g.addr()}, request{Do: doOpen, Server: c.name, Addr: b.addr(), Label: 1}); !errors.Is(err, ErrNotConnected) {
		t.Errorf("another server at the address: %v", err)
	}
}

// What cannot be asked for.
func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	b, g, other := open(t, "b"), open(t, "g", carries), open(t, "o", carries)
	b.reachedBy(t, g)
	ctx := t.Context()
	if _, err := other.ask(ctx, transport.Target{Addr: g.addr()}, request{Do: doRegister}); !errors.Is(err, ErrNotAdmitted) {
		t.Errorf("who is no server registers: %v", err)
	}
	if _, err := b.ask(ctx, transport.Target{Addr: g.addr()}, request{Do: doOpen, Server: b.name, Label: 1}); !errors.Is(err, ErrNotHere) {
		t.Errorf("a flow to itself: %v", err)
	}
	for _, body := range []string{"", "{", `{"Do":"nonsense"}`, `{"Do":"open","Label":-1}`, string(make([]byte, maxMessage+1))} {
		got, err := b.RoundTrip(ctx, transport.Target{Addr: g.addr()}, Protocol, nil, []byte(body))
		if err != nil || !bytes.Contains(got, []byte(`"Code":"bad-request"`)) {
			t.Errorf("%.40q is answered %q, %v", body, got, err)
		}
	}
	if _, err := b.ask(ctx, transport.Target{Addr: g.addr()}, request{Do: doClose, Label: 99}); err != nil {
		t.Errorf("closing what is not there: %v", err)
	}
}

// No flow is made from or to a datacenter that is refused: not to one that is registered, not to one that is named.
func TestFlowsOfRefusedDatacenters(t *testing.T) {
	t.Parallel()
	var refused atomic.Pointer[string]
	none := ""
	refused.Store(&none)
	a, b, c, g := open(t, "a"), open(t, "b"), open(t, "c"), open(t, "g", carries, func(cfg *Config) {
		cfg.Refuse = func(dc string) error {
			if dc != "" && dc == *refused.Load() {
				return errors.New("removed")
			}
			return nil
		}
	})
	b.reachedBy(t, g)
	c.reachedBy(t, g)
	opens := func(from, to *node, label relay.Label) error {
		_, err := from.ask(t.Context(), transport.Target{Addr: g.addr()}, request{Do: doOpen, Server: to.name, Label: label})
		return err
	}
	if err := errors.Join(opens(a, b, 1), opens(a, c, 2), opens(b, c, 3)); err != nil {
		t.Fatal(err)
	}
	dc := "dc-b"
	refused.Store(&dc)
	if to, from, other := opens(a, b, 4), opens(b, c, 5), opens(a, c, 6); !errors.Is(to, ErrNotAdmitted) || !errors.Is(from, ErrNotAdmitted) || other != nil {
		t.Errorf("to it %v, from it %v, between others %v", to, from, other)
	}
}

// What goes through a gateway that dies goes through the next one soon, and nothing is
// asked of the dead one for it.
func TestAGatewayDies(t *testing.T) {
	t.Parallel()
	a, b, g, h := open(t, "a"), open(t, "b"), open(t, "g", carries), open(t, "h", carries)
	b.reachedBy(t, g, h)
	a.uses(g, h)
	a.mu.Lock() // which is nearer on loopback is chance
	a.measured[pair{g.addr(), b.name}], a.measured[pair{h.addr(), b.name}] = measured{1, time.Now()}, measured{time.Second, time.Now()}
	a.mu.Unlock()
	a.mustCall(t, b)
	if _, labels := h.board.All(); labels != 0 {
		t.Fatalf("the second gateway was used beside the first: %d labels", labels)
	}
	if err := g.conn.Close(); err != nil { // as kill -9 does: nobody is told
		t.Fatal(err)
	}
	began := time.Now()
	failed := 0
	for {
		_, err := a.call(t, b)
		if err == nil {
			break
		}
		t.Logf("after %s: %v", time.Since(began), err)
		if failed++; failed > 5 { // one, on a machine that is not busy
			t.Fatal("calls go on to fail")
		}
	}
	took := time.Since(began)
	t.Logf("after the death of the gateway %d calls failed, and one was answered after %s", failed, took)
	if took > 4*time.Second { // 0.83 s on a machine that is not busy
		t.Errorf("calls go on %s after the death of the gateway", took)
	}
	b.knows(a)
	for failed = 0; ; failed++ { // what was under way may be lost
		if _, err := b.call(t, a); err == nil {
			break
		} else if failed == 5 {
			t.Fatal("calls go on to fail: ", err)
		}
	}
	if _, labels := h.board.All(); labels != 2 {
		t.Errorf("the second gateway has %d labels", labels)
	}
}

// The next gateway is asked while the first one does not answer.
func TestAGatewayThatDoesNotAnswerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	a, b, g := open(t, "a"), open(t, "b"), open(t, "g", carries)
	b.reachedBy(t, g)
	silent, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	route := func() time.Duration {
		began := time.Now()
		if _, err := a.Route(t.Context(), Way{Server: b.name, Gateways: []string{silent.LocalAddr().String(), g.addr()}}); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	a.mu.Lock() // it was the nearest
	a.measured[pair{silent.LocalAddr().String(), b.name}] = measured{1, time.Now()}
	a.measured[pair{g.addr(), b.name}] = measured{time.Second, time.Now()}
	a.mu.Unlock()
	if took := route(); took < stagger || took > time.Second {
		t.Errorf("a route was found after %s", took)
	}
	a.mu.Lock() // nothing is known
	clear(a.measured)
	a.mu.Unlock()
	if took := route(); took > 2*stagger {
		t.Errorf("a route was found after %s where nothing was measured", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := a.Route(ctx, Way{Server: b.name, Gateways: []string{silent.LocalAddr().String()}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with no time left: %v", err)
	}
}
