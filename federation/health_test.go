package federation

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/transport"
)

// site is a datacenter whose servers can be frozen. Pings are not counted as
// calls.
type site struct {
	mu        sync.Mutex
	frozen    map[string]bool
	calls     map[string]int
	pings     map[string]int
	bulk      int
	forgotten int
	delay     func(id string) time.Duration
	length    int // of a value
}

// Open implements Transport: no answer of these tests comes in parts.
func (*site) Open(context.Context, transport.Target, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

func newSite() *site {
	return &site{frozen: map[string]bool{}, calls: map[string]int{}, pings: map[string]int{}}
}

const siteTrip = 50 * time.Millisecond

func (s *site) freeze(yes bool, ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.frozen[id] = yes
	}
}

func (s *site) asked() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

func (s *site) RoundTrip(ctx context.Context, to transport.Target, protocol string, head, _ []byte) ([]byte, error) {
	ping := strings.Contains(string(head), "ping")
	s.mu.Lock()
	if ping {
		s.pings[to.NodeID]++
	} else {
		s.calls[to.NodeID]++
	}
	if protocol == rpc.BulkProtocol {
		s.bulk++
	}
	frozen, wait := s.frozen[to.NodeID], siteTrip
	if s.delay != nil && !ping {
		wait = s.delay(to.NodeID)
	}
	value := strings.Repeat("x", s.length)
	s.mu.Unlock()
	if frozen {
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", transport.ErrLost, ctx.Err())
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", transport.ErrLost, ctx.Err())
	case <-time.After(wait): // virtual time
	}
	if ping {
		return op.AppendReply(nil, op.NewReply(op.Meta{Datacenter: "dc2"}, nil))
	}
	return op.AppendReply(nil, op.NewReply(op.Meta{Datacenter: "dc2"}, &kv.Entry{Key: "k", Value: []byte(value)}))
}

func (s *site) Forget(transport.Target)                    { s.forgotten++ }
func (s *site) RTT(transport.Target, string) time.Duration { return siteTrip }
func (s *site) Path(to transport.Target, protocol string) transport.PathStats {
	return transport.PathStats{Target: to, Protocol: protocol, Connections: 2, RTT: siteTrip, Recent: 0.01, Duplicating: true}
}

var testPing = op.Direct[op.Empty, op.Empty]{Name: "test.ping"}

func watched(t *testing.T, s *site, ps []Peer, tune ...func(*Config)) *Router {
	t.Helper()
	cfg := Config{Datacenter: "dc1", Transport: s, Ping: &testPing, Log: logging.Discard(), Registerer: prometheus.NewRegistry()}
	for _, f := range tune {
		f(&cfg)
	}
	r := New(cfg)
	r.Update(nil, ps)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// wait lets virtual time pass.
func wait(d time.Duration) { <-time.After(d) }

func state(r *Router) Status { return r.Status()[0] }

func TestBreakerOpensWhenNoServerAnswersAndClosesWhenOneDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		all := []string{"id0", "id1", "id2"}
		var log bytes.Buffer // written by one goroutine
		r := watched(t, s, peers(3, gossip.Alive), func(c *Config) { c.Log = logging.New(&log, new(slog.LevelVar), false) })
		if _, err := get(t.Context(), r, "dc2"); err != nil || state(r).Breaker != Closed {
			t.Fatal(err, state(r))
		}
		s.freeze(true, all...)
		var hung atomic.Int64
		for range 50 { // as many callers, each with a second of patience
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				for ctx.Err() == nil && state(r).Breaker == Closed {
					try, cancel := context.WithTimeout(ctx, time.Second)
					if _, err := get(try, r, "dc2"); op.CodeOf(err) == op.CodeTimeout {
						hung.Add(1)
					}
					cancel()
				}
			}()
		}
		wait(3 * time.Second)
		if got := state(r); got.Breaker == Closed || got.Answering != 0 || got.Alive != 3 || got.LastError == "" {
			t.Fatalf("3 s after the servers froze: %+v", got)
		}
		before, start := s.asked(), time.Now()
		for range 100 {
			if _, err := get(t.Context(), r, "dc2"); op.CodeOf(err) != op.CodeUnreachableDatacenter {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 0 || !maps.Equal(before, s.asked()) {
			t.Errorf("calls with an open breaker took %s and asked %v", took, s.asked())
		}
		if waiting := r.table.Load().datacenters["dc2"].load.inFlight.Load(); waiting > 0 {
			t.Errorf("%d reads still wait for servers that answer nothing", waiting)
		}
		if n := testutil.ToFloat64(r.metrics.opened.WithLabelValues("dc2")); n != 1 {
			t.Errorf("opened %v times", n)
		}
		s.freeze(false, all...)
		wait(probeEvery + watchEvery + 2*siteTrip)
		if _, err := get(t.Context(), r, "dc2"); err != nil || state(r).Breaker != Closed {
			t.Errorf("after the servers were thawed: %v %+v", err, state(r))
		}
		synctest.Wait()
		if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `level=WARN msg="datacenter is cut off: none of its servers answers" component=federation peer_datacenter=dc2 servers=3 error=`) ||
			!strings.Contains(got, `msg="datacenter is reached again" component=federation peer_datacenter=dc2 servers=3 took=`) {
			t.Errorf("the log tells of the cut:\n%s", got)
		}
		if hung.Load() == 0 {
			t.Error("no call hung: the test shows nothing")
		}
	})
}

func TestOneFrozenServerIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		r := watched(t, s, peers(3, gossip.Alive))
		s.freeze(true, "id1")
		for range 30 {
			if _, err := get(t.Context(), r, "dc2"); err != nil {
				t.Fatal(err)
			}
			wait(100 * time.Millisecond)
		}
		if got := state(r); got.Breaker != Closed || got.Answering != 2 {
			t.Fatalf("%+v", got)
		}
		before := s.asked()["id1"]
		for range 30 {
			if _, err := get(t.Context(), r, "dc2"); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.asked()["id1"] - before; n > 0 {
			t.Errorf("a frozen server was asked %d times more", n)
		}
		s.freeze(false, "id1")
		wait(2 * time.Second)
		if got := state(r); got.Answering != 3 {
			t.Errorf("thawed: %+v", got)
		}
	})
}

// Slow work and impatient callers are no sign of a server that is gone.
func TestSlowAnswersAndShortPatienceDoNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		s.delay = func(string) time.Duration { return 8 * time.Second }
		r := watched(t, s, peers(2, gossip.Alive))
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if _, err := get(ctx, r, "dc2"); op.CodeOf(err) != op.CodeTimeout {
				t.Errorf("%v", err)
			}
			cancel()
			if got := state(r); got.Breaker != Closed {
				t.Fatalf("%+v", got)
			}
		}
	})
}

func TestFailedInGossipIsAskedOnceItAnswersAndTheReturnIsProbedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		s.freeze(true, "id0", "id1")
		r := watched(t, s, peers(2, gossip.Failed))
		wait(5 * time.Minute)
		if _, err := get(t.Context(), r, "dc2"); op.CodeOf(err) != op.CodeUnreachableDatacenter || len(s.asked()) > 0 {
			t.Fatalf("%v %v", err, s.asked())
		}
		if s.pings["id0"] > 20 {
			t.Errorf("a dead server was probed %d times in 5 minutes", s.pings["id0"])
		}
		s.freeze(false, "id0")
		r.Update(nil, peers(2, gossip.Alive))
		wait(2 * siteTrip)
		if _, err := get(t.Context(), r, "dc2"); err != nil {
			t.Errorf("right after gossip saw it return: %v", err)
		}
		r.Update(nil, peers(2, gossip.Failed))                                   // gossip has trouble, the server has none
		if _, err := get(t.Context(), r, "dc2"); err != nil || s.forgotten > 1 { // but for the frozen one
			t.Errorf("a server that answers is gone with gossip: %v, %d connections dropped", err, s.forgotten)
		}
		wait(freshFor + 2*siteTrip)
		if _, err := get(t.Context(), r, "dc2"); err != nil || state(r).Answering != 1 || state(r).Alive != 0 {
			t.Errorf("%v %+v", err, state(r))
		}
		r.Update(nil, peers(2, gossip.Alive))
		wait(time.Minute)
		r.Update(nil, peers(2, gossip.Failed))
		wait(2 * siteTrip) // nothing was heard for long: a probe is needed
		if _, err := get(t.Context(), r, "dc2"); err != nil || state(r).Answering != 1 || state(r).Alive != 0 {
			t.Errorf("%v %+v", err, state(r))
		}
	})
}

func TestHedgesAreBoundedToAShareOfReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		r := watched(t, s, peers(3, gossip.Alive))
		for range 200 {
			if _, err := get(t.Context(), r, "dc2"); err != nil {
				t.Fatal(err)
			}
		}
		if n := testutil.ToFloat64(r.metrics.hedges.WithLabelValues("dc2")); n != 0 {
			t.Fatalf("%v hedges of reads that all take the same time", n)
		}
		// One read in fifty takes ten times as long: each gets a second try soon
		// after the p95.
		n := 0
		s.delay = func(string) time.Duration {
			if n++; n%50 == 0 {
				return 10 * siteTrip
			}
			return siteTrip
		}
		var worst time.Duration
		for range 500 {
			start := time.Now()
			if _, err := get(t.Context(), r, "dc2"); err != nil {
				t.Fatal(err)
			}
			worst = max(worst, time.Since(start))
		}
		if worst > 3*siteTrip {
			t.Errorf("the slowest of 500 reads took %s", worst)
		}
		// All become slow: no more than the share is sent twice.
		n, before, reads := 0, testutil.ToFloat64(r.metrics.hedges.WithLabelValues("dc2")), 60
		s.delay = func(string) time.Duration { return time.Duration(4+n) * siteTrip }
		for range reads {
			n++
			if _, err := get(t.Context(), r, "dc2"); err != nil {
				t.Fatal(err)
			}
		}
		if got := testutil.ToFloat64(r.metrics.hedges.WithLabelValues("dc2")) - before; got > hedgeBurst+hedgeShare*float64(reads) {
			t.Errorf("%v of %d slow reads were hedged", got, reads)
		}
	})
}

func TestLongAnswersGetConnectionsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		s.length = 200_000
		r := watched(t, s, peers(2, gossip.Alive))
		for range 10 {
			if _, err := get(t.Context(), r, "dc2"); err != nil {
				t.Fatal(err)
			}
		}
		if s.bulk != 9 {
			t.Errorf("%d of 10 reads of a long value, want all that follow the first", s.bulk)
		}
		s.length = 10
		for range 10 {
			if _, err := get(t.Context(), r, "dc2"); err != nil {
				t.Fatal(err)
			}
		}
		if s.bulk != 10 {
			t.Errorf("%d, want one more after the value became short", s.bulk)
		}
		_, _, err := kv.Apply.Call(t.Context(), r, op.Header{Datacenter: "dc2"}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k", Value: make([]byte, 100_000)}})
		if s.bulk != 11 {
			t.Errorf("%d, a long write goes beside: %v", s.bulk, err)
		}
	})
}

func TestStatusSaysWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		ps := peers(3, gossip.Alive)
		ps[2].Status = gossip.Failed
		r := watched(t, s, ps)
		s.freeze(true, "id2")
		for range latencyLeast * 2 {
			if _, err := get(t.Context(), r, "dc2"); err != nil {
				t.Fatal(err)
			}
		}
		got, now := state(r), time.Now()
		if got.Datacenter != "dc2" || got.Servers != 3 || got.Alive != 2 || got.Answering != 2 || got.Breaker != Closed || got.RTT != siteTrip ||
			got.Connections != 12 || got.Loss != 0.01 || !got.Duplicating || got.P95 != siteTrip || !got.LastContact.Equal(now) {
			t.Errorf("%+v", got)
		}
	})
}

// A server that does not answer casts doubt on all of its datacenter: they are
// probed together, not one after the other as the call comes to them.
func TestFirstReadOfAFrozenDatacenterFailsAfterOneRoundOfProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		r := watched(t, s, peers(3, gossip.Alive))
		for range latencyLeast {
			if _, err := get(t.Context(), r, "dc2"); err != nil {
				t.Fatal(err)
			}
		}
		s.freeze(true, "id0", "id1", "id2")
		start := time.Now()
		_, err := get(t.Context(), r, "dc2")
		if took := time.Since(start); op.CodeOf(err) != op.CodeUnreachableDatacenter || took > lateLeast+probeLeast+2*watchEvery {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestACutSaysWhy(t *testing.T) {
	silent := &datacenter{members: []member{{health: &health{}}, {health: &health{}}}}
	if got := silent.cutReason(); got.Key != "why" || got.Value.String() == "" {
		t.Errorf("gossip found the cut: %v", got)
	}
	silent.members[1].err = op.ErrNoLeader
	if got := silent.cutReason(); got.Key != "error" || got.Value.Any() != op.ErrNoLeader {
		t.Errorf("a call failed: %v", got)
	}
}
