package federation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/serf/coordinate"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/wan"
)

// servers is a transport of which each server does what the test says.
type servers struct {
	mu        sync.Mutex
	asked     []string // node IDs, in order
	forgotten []string
	do        func(ctx context.Context, id string) ([]byte, error)
}

func (s *servers) RoundTrip(ctx context.Context, to transport.Target, _ string, _, _ []byte) ([]byte, error) {
	s.mu.Lock()
	s.asked = append(s.asked, to.NodeID)
	s.mu.Unlock()
	return s.do(ctx, to.NodeID)
}

func (*servers) Open(context.Context, transport.Target, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

func (s *servers) Forget(to transport.Target)                 { s.forgotten = append(s.forgotten, to.NodeID) }
func (s *servers) RTT(transport.Target, string) time.Duration { return 50 * time.Millisecond }

func (s *servers) Path(transport.Target, string) transport.PathStats {
	return transport.PathStats{RTT: 50 * time.Millisecond, Connections: 1}
}

func answer(t *testing.T, from string) []byte {
	t.Helper()
	b, err := op.AppendReply(nil, op.NewReply(op.Meta{Datacenter: "dc2"}, &kv.Entry{Key: "k", Value: []byte(from)}))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func peers(n int, status gossip.Status) []Peer {
	var out []Peer
	for i := range n {
		out = append(out, Peer{Server: wan.Server{Name: fmt.Sprintf("s%d", i), ID: fmt.Sprintf("id%d", i), Datacenter: "dc2", Addr: fmt.Sprintf("127.0.0.%d", i+1), WANPort: 8302, Status: status}})
	}
	return out
}

func router(t *testing.T, s *servers, ps []Peer) *Router {
	t.Helper()
	r := New(Config{Datacenter: "dc1", Transport: s, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
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

func get(ctx context.Context, r *Router, dc string) (*kv.Entry, error) {
	e, _, err := kv.Get.Call(ctx, r, op.Header{Datacenter: dc}, &kv.GetRequest{Key: "k"})
	return e, err
}

func TestUnknownAndUnreachableAreToldApart(t *testing.T) {
	s := &servers{do: func(context.Context, string) ([]byte, error) {
		return nil, fmt.Errorf("no route: %w", transport.ErrUnreachable)
	}}
	for name, c := range map[string]struct {
		peers []Peer
		dc    string
		want  op.Code
	}{
		"never heard of":      {peers(3, gossip.Alive), "dc9", op.CodeUnknownDatacenter},
		"all failed":          {peers(3, gossip.Failed), "dc2", op.CodeUnreachableDatacenter},
		"all left":            {peers(3, gossip.Left), "dc2", op.CodeLeftDatacenter},
		"alive but no answer": {peers(3, gossip.Alive), "dc2", op.CodeUnreachableDatacenter},
	} {
		_, err := get(t.Context(), router(t, s, c.peers), c.dc)
		var e *op.Error
		if !errors.As(err, &e) || e.Code != c.want || e.Text != "No path to datacenter" || e.Datacenter != c.dc {
			t.Errorf("%s: %#v, want code %d", name, err, c.want)
		}
	}
}

func TestSecondServerIsTried(t *testing.T) {
	var first string
	s := &servers{}
	s.do = func(_ context.Context, id string) ([]byte, error) {
		if first == "" {
			first = id
		}
		if id == first {
			return nil, fmt.Errorf("gone: %w", transport.ErrUnreachable)
		}
		return answer(t, id), nil
	}
	r := router(t, s, peers(3, gossip.Alive))
	for range 6 {
		e, err := get(t.Context(), r, "dc2")
		if err != nil || string(e.Value) == first {
			t.Fatalf("%v %v", e, err)
		}
	}
	// The one that failed is asked last from then on, so only once.
	n := 0
	for _, id := range s.asked {
		if id == first {
			n++
		}
	}
	if n != 1 {
		t.Errorf("a server that failed was asked %d times in 6 calls", n)
	}
}

func TestWriteThatMayHaveHappenedIsNotRepeated(t *testing.T) {
	s := &servers{do: func(context.Context, string) ([]byte, error) { return nil, fmt.Errorf("cut: %w", transport.ErrLost) }}
	r := router(t, s, peers(3, gossip.Alive))
	_, _, err := kv.Apply.Call(t.Context(), r, op.Header{Datacenter: "dc2"}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}})
	if op.CodeOf(err) != op.CodeLost || len(s.asked) != 1 {
		t.Errorf("write: %v after asking %v", err, s.asked)
	}
	s.asked = nil
	if _, err := get(t.Context(), r, "dc2"); op.CodeOf(err) != op.CodeUnreachableDatacenter || len(s.asked) != 3 {
		t.Errorf("read: %v after asking %v", err, s.asked)
	}
}

func TestLateReadAsksAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late string
		s := &servers{}
		s.do = func(ctx context.Context, id string) ([]byte, error) {
			s.mu.Lock()
			if late == "" {
				late = id
			}
			hang := id == late
			s.mu.Unlock()
			if hang {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return answer(t, id), nil
		}
		r := router(t, s, peers(2, gossip.Alive))
		start := time.Now()
		if _, err := get(t.Context(), r, "dc2"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 300*time.Millisecond || took > 400*time.Millisecond {
			t.Errorf("answered after %s, want three round trips and a little", took)
		}
		start = time.Now()
		if _, err := get(t.Context(), r, "dc2"); err != nil || time.Since(start) > 0 {
			t.Errorf("the late server was asked first again: %v after %s", err, time.Since(start))
		}
		synctest.Wait()
	})
}

func TestCallEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &servers{do: func(ctx context.Context, _ string) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }}
		r := router(t, s, peers(3, gossip.Alive))
		start := time.Now()
		_, err := get(t.Context(), r, "dc2")
		if op.CodeOf(err) != op.CodeTimeout || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		synctest.Wait()
	})
}

func TestCallsInProgressAreBounded(t *testing.T) {
	release := make(chan struct{})
	began := make(chan struct{}, maxInFlight)
	s := &servers{do: func(context.Context, string) ([]byte, error) {
		began <- struct{}{}
		<-release
		return answer(t, "x"), nil
	}}
	r := router(t, s, peers(1, gossip.Alive))
	var wg sync.WaitGroup
	for range maxInFlight {
		wg.Go(func() { get(t.Context(), r, "dc2") })
	}
	for range maxInFlight {
		<-began
	}
	if _, err := get(t.Context(), r, "dc2"); op.CodeOf(err) != op.CodeBusy {
		t.Errorf("call above the bound: %v", err)
	}
	close(release)
	wg.Wait()
	go func() { <-began }()
	if _, err := get(t.Context(), r, "dc2"); err != nil {
		t.Errorf("call after the others ended: %v", err)
	}
}

func TestTableFollowsGossip(t *testing.T) {
	s := &servers{do: func(context.Context, string) ([]byte, error) { return answer(t, "x"), nil }}
	all := peers(2, gossip.Alive)
	far := coordinate.NewCoordinate(coordinate.DefaultConfig())
	far.Height = 0.1
	near := coordinate.NewCoordinate(coordinate.DefaultConfig())
	near.Height = 0.01
	all = append(all, Peer{Server: wan.Server{Name: "a", ID: "a", Datacenter: "far", Status: gossip.Alive}, Coordinate: far},
		Peer{Server: wan.Server{Name: "b", ID: "b", Datacenter: "near", Status: gossip.Alive}, Coordinate: near},
		Peer{Server: wan.Server{Name: "c", ID: "c", Datacenter: "nearest-measured", Status: gossip.Failed}, Coordinate: far, Measured: time.Millisecond},
		Peer{Server: wan.Server{Name: "own", ID: "own", Datacenter: "dc1", Status: gossip.Alive}})
	r := router(t, s, nil)
	r.Update(coordinate.NewCoordinate(coordinate.DefaultConfig()), all)
	if want := []string{"nearest-measured", "near", "far", "dc2"}; !slices.Equal(r.Datacenters(), want) {
		t.Errorf("datacenters %v, want %v: nearest first, unknown distance last", r.Datacenters(), want)
	}
	all[0].Status = gossip.Failed
	r.Update(nil, all)
	if !slices.Equal(s.forgotten, []string{"id0"}) {
		t.Errorf("connections dropped to %v, want only the failed server's", s.forgotten)
	}
}

// late asks with a federation whose servers answer after the time that is
// waited before a second one is asked, and returns who was asked.
func late(t *testing.T, first error, ask func(context.Context, *Router)) []string {
	t.Helper()
	var asked []string
	synctest.Test(t, func(t *testing.T) {
		s := &servers{}
		s.do = func(ctx context.Context, id string) ([]byte, error) {
			s.mu.Lock()
			fail := first != nil && len(s.asked) == 1
			s.mu.Unlock()
			if fail {
				return nil, first
			}
			<-time.After(time.Second) // virtual time
			return answer(t, id), nil
		}
		ask(t.Context(), router(t, s, peers(2, gossip.Alive)))
		synctest.Wait()
		asked = s.asked
	})
	return asked
}

func TestSecondServerIsAskedOnce(t *testing.T) {
	asked := late(t, fmt.Errorf("no route: %w", transport.ErrUnreachable), func(ctx context.Context, r *Router) {
		if _, err := get(ctx, r, "dc2"); err != nil {
			t.Error(err)
		}
	})
	if len(asked) != 2 {
		t.Errorf("asked %v, want the one that failed and the other once", asked)
	}
}

// What a server does by itself may have effects: only reads are asked twice.
func TestOnlyReadsAreAskedTwice(t *testing.T) {
	direct := op.Direct[kv.GetRequest, kv.Entry]{Name: "test.direct"}
	asked := late(t, nil, func(ctx context.Context, r *Router) {
		if _, _, err := direct.Call(ctx, r, op.Header{Datacenter: "dc2"}, &kv.GetRequest{Key: "k"}); err != nil {
			t.Error(err)
		}
	})
	if len(asked) != 1 {
		t.Errorf("asked %v for an operation that is no read", asked)
	}
}

// A server that failed and still answered calls has its connections until it is
// known to have left, or is forgotten.
func TestServersThatLeftAreDroppedWhateverTheyWereBefore(t *testing.T) {
	for name, gone := range map[string][]Peer{"left": peers(1, gossip.Left), "forgotten": nil} {
		s := &servers{do: func(_ context.Context, id string) ([]byte, error) { return answer(t, id), nil }}
		r := router(t, s, peers(1, gossip.Alive))
		if _, err := get(t.Context(), r, "dc2"); err != nil {
			t.Fatal(err)
		}
		r.Update(nil, peers(1, gossip.Failed))
		if len(s.forgotten) > 0 || len(r.Datacenters()) != 1 {
			t.Fatalf("%s: a server that answers was dropped: %v, %v", name, s.forgotten, r.Datacenters())
		}
		r.Update(nil, gone)
		if !slices.Equal(s.forgotten, []string{"id0"}) || len(r.Datacenters()) != 0 {
			t.Errorf("%s: dropped %v, still listed %v", name, s.forgotten, r.Datacenters())
		}
	}
}

func TestRemovedDatacenterIsNotRoutedTo(t *testing.T) {
	s := &servers{do: func(_ context.Context, id string) ([]byte, error) { return answer(t, id), nil }}
	removed := false
	r := New(Config{Datacenter: "dc1", Transport: s, Log: logging.Discard(), Registerer: prometheus.NewRegistry(), Removed: func(string) bool { return removed }})
	t.Cleanup(func() { _ = r.Stop(context.Background()) })
	r.Update(nil, peers(2, gossip.Alive))
	removed = true
	if _, err := get(t.Context(), r, "dc2"); op.CodeOf(err) != op.CodeRemovedDatacenter {
		t.Errorf("before the table is built anew: %v", err)
	}
	r.Update(nil, peers(2, gossip.Alive))
	if len(r.Datacenters()) != 0 || len(s.forgotten) != 2 || len(r.Status()) != 0 {
		t.Errorf("listed %v, dropped %v", r.Datacenters(), s.forgotten)
	}
}

func TestStateSaysWhatIsWrong(t *testing.T) {
	s := &servers{do: func(_ context.Context, id string) ([]byte, error) { return answer(t, id), nil }}
	half := append(peers(2, gossip.Alive)[:1], peers(2, gossip.Failed)[1])
	damped := peers(2, gossip.Alive)
	damped[0].Damped = true
	for name, c := range map[string]struct {
		peers  []Peer
		state  State
		reason string
	}{
		"all answer":  {peers(2, gossip.Alive), Up, ""},
		"one failed":  {half, Degraded, "1 of 2 servers do not answer"},
		"one damped":  {damped, Degraded, "1 of 2 servers failed again and again of late"},
		"all failed":  {peers(2, gossip.Failed), Unreachable, "none of its servers answers, and gossip holds them failed"},
		"all of them": {peers(2, gossip.Left), Left, "all of its servers left the federation, or this one did"},
	} {
		got := router(t, s, c.peers).Status()
		if len(got) != 1 || got[0].State != c.state || got[0].Reason != c.reason {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A server that is leaving finishes what it was asked and gets nothing new.
func TestLeavingServerGetsNothingNew(t *testing.T) {
	s := &servers{do: func(_ context.Context, id string) ([]byte, error) { return answer(t, id), nil }}
	r := router(t, s, peers(1, gossip.Alive))
	r.Update(nil, peers(1, gossip.Leaving))
	if _, err := get(t.Context(), r, "dc2"); op.CodeOf(err) != op.CodeLeftDatacenter || len(s.forgotten) > 0 {
		t.Errorf("%v, dropped %v", err, s.forgotten)
	}
	r.Update(nil, peers(1, gossip.Left))
	if !slices.Equal(s.forgotten, []string{"id0"}) {
		t.Errorf("once it left: dropped %v", s.forgotten)
	}
}
