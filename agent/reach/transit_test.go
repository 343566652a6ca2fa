package reach

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/agent/reach/links"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/relay"
	"github.com/legate-project/legate/wan"
)

const testProtocol = "legate-test/1"

// land is servers, one of each datacenter, on links that can be cut.
type land struct {
	t       *testing.T
	servers map[string]*server // by datacenter

	mu   sync.Mutex
	cuts map[[2]string]bool // pairs of addresses
}

type server struct {
	*Ways
	*transport.Endpoint
	srv wan.Server
	dc  string
}

// link is a socket of the land.
type link struct {
	*net.UDPConn
	l *land
}

func (l link) WriteTo(b []byte, to net.Addr) (int, error) {
	l.l.mu.Lock()
	cut := l.l.cuts[[2]string{l.LocalAddr().String(), to.String()}]
	l.l.mu.Unlock()
	if cut {
		return len(b), nil
	}
	return l.UDPConn.WriteTo(b, to)
}

// newLand opens a server of each datacenter; those whose names begin with t carry for others.
func newLand(t *testing.T, dcs ...string) *land {
	t.Helper()
	l := &land{t: t, servers: map[string]*server{}, cuts: map[[2]string]bool{}}
	for _, dc := range dcs {
		l.open(dc)
	}
	l.learn()
	return l
}

func (l *land) open(dc string) {
	l.t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		l.t.Fatal(err)
	}
	id, err := identity.NewDerived(bytes.Repeat([]byte{1}, 32), identity.Peer{Federation: "f", Datacenter: dc, NodeID: "id-" + dc, Name: "s", Server: true})
	if err != nil {
		l.t.Fatal(err)
	}
	s := &server{dc: dc, Ways: New(Config{Agent: &config.Config{Datacenter: dc, Federation: config.Federation{Transit: dc[0] == 't'}},
		Refuse: func(string) error { return nil }, Gateways: func() []gossip.Member { return nil }, Log: logging.Discard()})}
	cfg := transport.Config{Name: dc, Conn: link{conn, l}, Identity: id, Protocols: map[string]transport.Protocol{testProtocol: {
		PoolSize: 1, Answer: func(_ context.Context, from transport.Remote, b []byte) []byte {
			return fmt.Appendf(nil, "%s to %s", dc, from.Peer.Datacenter)
		}}}}
	s.Under(&cfg)
	if s.Endpoint, err = transport.New(cfg); err != nil {
		l.t.Fatal(err)
	}
	if err := s.Ways.Open(s.Endpoint); err != nil {
		l.t.Fatal(err)
	}
	s.srv = wan.Server{Name: "s", ID: "id-" + dc, Datacenter: dc, Addr: "127.0.0.1", WANPort: conn.LocalAddr().(*net.UDPAddr).Port,
		Status: gossip.Alive, Transit: dc[0] == 't'}
	l.servers[dc] = s
	l.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(s.Ways.Stop(ctx), s.Endpoint.Close(ctx)); err != nil && !errors.Is(err, net.ErrClosed) {
			l.t.Error(err)
		}
	})
}

// learn has all know of all.
func (l *land) learn() {
	var all []wan.Server
	for _, s := range l.servers {
		all = append(all, s.srv)
	}
	for _, s := range l.servers {
		s.Learn(all, func(wan.Server) time.Duration { return time.Millisecond })
	}
}

// cut cuts the link between two datacenters, or mends it.
func (l *land) cut(a, b string, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, other := l.servers[a].Addr().String(), l.servers[b].Addr().String()
	l.cuts[[2]string{one, other}], l.cuts[[2]string{other, one}] = cut, cut
}

func (s *server) Addr() net.Addr { return s.Endpoint.Addr() }

// call asks a server from another one, again when it has lost its connection, and returns how long it took.
func (l *land) call(from, to string) (time.Duration, error) {
	l.t.Helper()
	s := l.servers[to]
	target := transport.Target{Addr: s.Addr().String(), NodeID: s.srv.ID, Name: "s." + to}
	ctx, cancel := context.WithTimeout(l.t.Context(), 8*time.Second)
	defer cancel()
	began := time.Now()
	for {
		got, err := l.servers[from].RoundTrip(ctx, target, testProtocol, nil, []byte("x"))
		if err == nil && string(got) != to+" to "+from {
			l.t.Fatalf("%q was answered", got)
		}
		if err == nil || ctx.Err() != nil {
			return time.Since(began), err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (l *land) must(from, to string) time.Duration {
	l.t.Helper()
	took, err := l.call(from, to)
	if err != nil {
		l.t.Fatalf("%s asks %s: %v", from, to, err)
	}
	return took
}

func (l *land) eventually(what string, ok func() bool) {
	l.t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			l.t.Fatalf("not within 20 s: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// through is where calls from one datacenter to another go through.
func (l *land) through(from, to string) string {
	return fmt.Sprint(l.servers[from].Ways.Path(to).Through)
}

// Who does not reach a datacenter is carried there by one that does, and by another soon when the
// link to that dies, or its own; and goes directly again when it can.
func TestADatacenterIsReachedThroughAnother(t *testing.T) {
	t.Parallel()
	l := newLand(t, "b", "c", "t1", "t2")
	l.cut("b", "c", true)
	l.cut("t2", "c", true)
	first := l.must("b", "c")
	l.eventually("it is known that c is not reached", func() bool { return l.servers["b"].Ways.Path("c").Direct == links.Broken })
	if got := l.through("b", "c"); got != "[t1]" {
		t.Errorf("through %s", got)
	}
	l.cut("t2", "c", false)
	l.eventually("t2 reaches c", func() bool { return l.servers["t2"].Ways.Path("c").Direct == links.Whole })
	l.cut("t1", "c", true)
	second := l.must("b", "c")
	if got := l.through("b", "c"); got != "[t2]" {
		t.Errorf("through %s after t1 does not reach it any more", got)
	}
	l.cut("t1", "c", false)
	l.eventually("t1 reaches c", func() bool { return l.servers["t1"].Ways.Path("c").Direct == links.Whole })
	l.cut("b", "t2", true)
	third := l.must("b", "c")
	if got := l.through("b", "c"); got != "[t1]" {
		t.Errorf("through %s after t2 is not reached any more", got)
	}
	t.Logf("the first call took %v, one after the second link died %v, one after the first link died %v", first, second, third)
	if max(second, third) > 3*time.Second {
		t.Errorf("calls went on after %v and %v", second, third)
	}
	l.cut("b", "c", false)
	l.eventually("it goes directly again", func() bool {
		l.must("b", "c")
		carried := false
		for _, r := range l.servers["b"].Remotes("") {
			carried = carried || r.Peer.Datacenter == "c" && relay.Carried(r.Addr)
		}
		return !carried && l.servers["b"].Ways.Path("c").Direct == links.Whole
	})
}

// A flow that comes about while the direct link heals does not stay, nor is it shown as the way.
func TestALinkHealsWhileAFlowIsDialled(t *testing.T) {
	t.Parallel()
	l := newLand(t, "b", "c", "t1")
	l.cut("b", "c", true)
	l.must("b", "c")
	b := l.servers["b"]
	l.eventually("it is known that c is not reached", func() bool { return b.Ways.Path("c").Direct == links.Broken })
	l.cut("b", "c", false)
	b.works("c")
	way := b.table.Paths("c")[0]
	if err := b.over(t.Context(), b.known.Load().byName["s.t1"], way, "s.c", func(context.Context, *net.UDPAddr) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got := l.through("b", "c"); got != "[t1]" {
		t.Fatalf("through %s: the test shows nothing", got)
	}
	l.eventually("it is known that c is reached directly", func() bool { return b.Ways.Path("c").Direct == links.Whole && l.through("b", "c") == "[]" })
}

// Two that carry are enough to get there; three are not tried.
func TestTwoThatCarry(t *testing.T) {
	t.Parallel()
	l := newLand(t, "b", "c", "t1", "t2", "t3")
	for _, pair := range [][2]string{{"b", "c"}, {"b", "t2"}, {"b", "t3"}, {"t1", "c"}, {"t1", "t3"}, {"t3", "c"}} {
		l.cut(pair[0], pair[1], true)
	}
	took := l.must("b", "c")
	t.Logf("the first call took %v", took)
	if got := l.through("b", "c"); got != "[t1 t2]" {
		t.Errorf("through %s", got)
	}
	l.cut("t2", "c", true)
	l.cut("t3", "c", false) // b, t1, t2, t3, c
	if _, err := l.call("b", "c"); err == nil {
		t.Errorf("it is reached through %s", l.through("b", "c"))
	}
}

// A direct link that dies under calls is left soon where others carry, and nobody is carried
// where nobody does it.
func TestADirectLinkDies(t *testing.T) {
	t.Parallel()
	l := newLand(t, "b", "c", "t1")
	l.must("b", "c")
	if s := l.servers["b"].Ways.Path("c"); s.Direct != links.Whole || s.Through != nil {
		t.Errorf("%+v", s)
	}
	l.cut("b", "c", true)
	took := l.must("b", "c")
	t.Logf("calls went on after %v", took)
	if took > 3*time.Second {
		t.Errorf("calls went on after %v", took)
	}

	plain := newLand(t, "b", "c", "a")
	plain.must("b", "c")
	plain.cut("b", "c", true)
	if _, err := plain.call("b", "c"); err == nil {
		t.Error("it was carried by who does not carry")
	}
	plain.eventually("it is known who reaches it", func() bool { return fmt.Sprint(plain.servers["b"].Ways.Path("c").From) == "[a]" })
}

// Who says that it reaches a datacenter, and does not, costs a head start: because its link has just died,
// or because it lies.
func TestWhoSaysWhatIsNotSo(t *testing.T) {
	t.Parallel()
	l := newLand(t, "b", "c", "t1", "t2")
	l.cut("b", "c", true)
	l.must("t1", "c")
	l.cut("t1", "c", true)
	if got := l.servers["t1"].tell(t.Context(), []string{"c"}); len(got) != 1 || !got[0].Reached {
		t.Fatalf("t1 says %+v: it knows already, and the test shows nothing", got)
	}
	b := l.servers["b"]
	// It says that it is nearer than anybody can be.
	b.table.Heard("c", []links.Path{{Through: []string{"s.t1"}, RTT: 1}, {Through: []string{"s.t2"}, RTT: time.Second}}, nil)
	took := l.must("b", "c")
	t.Logf("the call took %v", took)
	if got := l.through("b", "c"); got != "[t2]" {
		t.Errorf("through %s", got)
	}
	if took > 3*time.Second {
		t.Errorf("the call took %v", took)
	}
}

// A server names only links that the configuration allows.
func TestLinksOfTheConfiguration(t *testing.T) {
	t.Parallel()
	l := newLand(t, "b", "c", "t1", "d")
	b := l.servers["b"]
	b.cfg.Agent.Federation.Links = []string{"t1"}
	l.learn()
	l.must("b", "c")
	if got := l.through("b", "c"); got != "[t1]" {
		t.Errorf("through %s", got)
	}
	if _, err := b.locate("s.c"); err == nil {
		t.Error("it carries to where it has no link")
	}
	b.cfg.Agent.Federation.Links = []string{"c"}
	l.servers["t1"].srv.Transit = false
	l.learn()
	if _, err := l.call("b", "d"); !errors.Is(err, errNotLinked) {
		t.Errorf("without link and without who carries: %v", err)
	}
}

// The next way is tried when one fails, or has had its head start, and the first that works
// ends the others.
func TestRace(t *testing.T) {
	t.Parallel()
	group := lifecycle.New("test")
	t.Cleanup(func() { _ = group.Stop(context.Background()) })
	bad := errors.New("no way")
	fails := func(context.Context) error { return bad }
	ended := make(chan struct{})
	hangs := func(ctx context.Context) error { <-ctx.Done(); close(ended); return ctx.Err() }
	works := func(context.Context) error { return nil }
	won, err := race(t.Context(), group, []try{{fails, time.Hour}, {hangs, time.Millisecond}, {works, time.Hour}, {hangs, 0}})
	if won != 2 || err != nil {
		t.Errorf("%d won, %v", won, err)
	}
	<-ended
	if _, err := race(t.Context(), group, []try{{fails, time.Hour}, {fails, 0}}); !errors.Is(err, bad) {
		t.Errorf("none works: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := race(ctx, group, []try{{func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, time.Hour}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it takes too long: %v", err)
	}
}
