package federation

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/transport"
)

// pipe is a stream in memory.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error        { return nil }
func (p pipe) Cancel()                  { _ = p.Close() }
func (p pipe) Remote() transport.Remote { return transport.Remote{} }

// piped is a transport whose servers do with a stream what the test says.
type piped struct {
	servers
	mu     sync.Mutex
	opened []string // node IDs, in order
	serve  func(id string, s transport.Stream) error
}

func (s *piped) Open(_ context.Context, to transport.Target, _ string) (transport.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, to.NodeID)
	near, far := net.Pipe()
	if err := s.serve(to.NodeID, pipe{far}); err != nil {
		return nil, err
	}
	return pipe{near}, nil
}

func longRead() *op.Call {
	c := op.NewCall(&kv.List, op.Header{Datacenter: "dc2"}, &kv.ListRequest{})
	c.Take = op.TakeParts
	return c.InParts()
}

func overPipes(t *testing.T, s *piped, n int) (*Router, *datacenter) {
	t.Helper()
	r := New(Config{Datacenter: "dc1", Transport: s, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
	r.Update(nil, peers(n, gossip.Alive))
	t.Cleanup(func() { _ = r.Stop(context.Background()) })
	return r, r.table.Load().datacenters["dc2"]
}

// A read that is known to be long is a call as others are: it is tried at as many
// servers, and what it shows of them counts.
func TestLongReadsAreBoundedAndNotedAsOthersAre(t *testing.T) {
	s := &piped{serve: func(string, transport.Stream) error { return transport.ErrUnreachable }}
	r, dc := overPipes(t, s, 5)
	if _, err := r.Do(t.Context(), longRead()); op.CodeOf(err) != op.CodeUnreachableDatacenter {
		t.Errorf("nobody can be reached: %v", err)
	}
	if len(s.opened) != maxAttempts {
		t.Errorf("%v were asked, not %d servers", s.opened, maxAttempts)
	}
	for _, id := range s.opened {
		if h := dc.load.of(id); !h.doubt.Load() || h.waiting.Load() != 0 {
			t.Errorf("%s: doubted %v, %d waiting", id, h.doubt.Load(), h.waiting.Load())
		}
	}

	s.opened = nil
	s.serve = func(_ string, far transport.Stream) error {
		go func() { // what was asked is read, then the stream breaks
			_, _ = transport.ReadFrame(far, transport.MaxRequest)
			_ = far.Close()
		}()
		return nil
	}
	if _, err := r.Do(t.Context(), longRead()); op.CodeOf(err) != op.CodeUnreachableDatacenter || len(s.opened) != maxAttempts {
		t.Errorf("nobody answers: %v after asking %v", err, s.opened)
	}

	s.serve = func(_ string, far transport.Stream) error {
		go func() {
			_, _ = transport.ReadFrame(far, transport.MaxRequest)
			first, err := op.AppendReply(nil, op.NewReply(op.Meta{Index: 7}, nil))
			if err == nil {
				_ = transport.WriteFrame(far, first)
			}
		}()
		return nil
	}
	s.opened = nil
	reply, err := r.Do(t.Context(), longRead())
	if err != nil || reply.Meta.Index != 7 {
		t.Fatal(reply, err)
	}
	defer reply.Parts().Close()
	if h := dc.load.of(s.opened[0]); h.doubt.Load() || h.lastAnswer.Load() == 0 || h.waiting.Load() != 0 || len(h.reads) != 0 {
		t.Errorf("a server that answers is doubted, or the call is counted still")
	}
}

// A long read that waits for a server that turns out to be frozen goes to the next.
func TestLongReadMovesOnWhenTheBreakerOpens(t *testing.T) {
	frozen := make(chan string, 10)
	s := &piped{}
	s.serve = func(id string, far transport.Stream) error {
		first := len(s.opened) == 1
		go func() {
			_, _ = transport.ReadFrame(far, transport.MaxRequest)
			if first {
				frozen <- id
				return
			}
			if b, err := op.AppendReply(nil, op.NewReply(op.Meta{Index: 7}, nil)); err == nil {
				_ = transport.WriteFrame(far, b)
			}
		}()
		return nil
	}
	r, dc := overPipes(t, s, 2)
	go func() { dc.load.of(<-frozen).openBreaker(time.Now()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	reply, err := r.Do(ctx, longRead())
	if err != nil {
		t.Fatal(err)
	}
	reply.Parts().Close()
}

// The series of a datacenter end with its place in the table, also when a call of
// then ends later.
func TestSeriesOfWhatWasRemovedEnd(t *testing.T) {
	s := &servers{do: func(_ context.Context, id string) ([]byte, error) { return answer(t, id), nil }}
	r := router(t, s, peers(2, gossip.Alive))
	if _, err := get(t.Context(), r, "dc2"); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		n := 0
		for _, name := range []string{"call_seconds", "call_errors_total", "hedges_total", "hedges_won_total", "probes_total", "breaker_opened_total", "live_servers", "state", "breaker_open"} {
			found, err := testutil.GatherAndCount(r.metrics.reg.(prometheus.Gatherer), "legate_federation_"+name)
			if err != nil {
				t.Fatal(err)
			}
			n += found
		}
		return n
	}
	if n := count(); n == 0 {
		t.Fatal("a datacenter that is asked has no series")
	}
	removed := true
	r.cfg.Removed = func(string) bool { return removed }
	r.Update(nil, peers(2, gossip.Alive))
	r.metrics.record(longRead(), "dc2", time.Second, op.Errorf(op.CodeTimeout, "late"))
	r.metrics.won("dc2")
	if n := count(); n != 0 {
		t.Errorf("%d series of a datacenter that was removed", n)
	}
	removed = false
	r.Update(nil, peers(2, gossip.Alive))
	if n := count(); n == 0 {
		t.Error("a datacenter that was allowed again has no series")
	}
}

// Whoever is a member of the WAN pool can say of any name that it is a datacenter.
func TestSeriesOfManyDatacentersAreBounded(t *testing.T) {
	s := &servers{do: func(_ context.Context, id string) ([]byte, error) { return answer(t, id), nil }}
	many := peers(maxDatacenters+50, gossip.Alive)
	for i := range many {
		many[i].Datacenter = fmt.Sprintf("dc%d", i+2)
	}
	r := router(t, s, many)
	for _, p := range many {
		r.metrics.record(longRead(), p.Datacenter, time.Second, op.Errorf(op.CodeTimeout, "late"))
	}
	for name, each := range map[string]int{"call_seconds": 1, "call_errors_total": 2, "live_servers": 1, "breaker_open": 1, "state": 4} {
		found, err := testutil.GatherAndCount(r.metrics.reg.(prometheus.Gatherer), "legate_federation_"+name)
		if err != nil || found != each*maxDatacenters {
			t.Errorf("%s: %d series: %v", name, found, err)
		}
	}
}
