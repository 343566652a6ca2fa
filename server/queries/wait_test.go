package queries_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server"
	"github.com/legate-project/legate/server/queries"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
)

// A query that waits is answered when its answer is another one, and not before.
func TestWaitingQuerySeesFailoverAndFailback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSites("dc2", "dc3")
		f.has("dc2", "m")
		f.has("dc3", "o")
		h := newHarness(t, nil)
		h.start(t, f)
		h.LeadershipChanged(true)
		h.web(t, catalog.Passing, "n1")
		h.prepared(t, query.Query{Name: "q", Service: query.Service{Failover: query.Failover{Datacenters: []string{"dc2", "dc3"}}}})
		a, meta, err := h.executed(t.Context(), op.Header{}, query.ExecuteRequest{})
		if got := outcomeOf(a, err); got != "dc1 [n1] 0" {
			t.Fatal(got)
		}
		type said struct {
			outcome string
			index   uint64
		}
		for i, step := range []struct {
			name   string
			change func()
			want   string
			within time.Duration
		}{
			{"fail-over", func() { h.web(t, catalog.Critical, "n1") }, "dc2 [m] 1", 0},
			{"another instance there", func() { f.has("dc2", "m", "m2") }, "dc2 [m m2] 1", 0},
			{"none there any more", func() { f.has("dc2") }, "dc3 [o] 2", 0},
			{"some there again", func() { f.has("dc2", "m") }, "dc2 [m] 1", 0},
			{"that one is lost", func() { f.set("dc2", func(s *site) { s.cut = true }) }, "dc3 [o] 2", 2 * queries.ReaskAfter},
			{"and comes back", func() { f.set("dc2", func(s *site) { s.cut = false }) }, "dc2 [m] 1", 2 * queries.ReaskAfter},
			{"none anywhere", func() { f.has("dc3"); f.has("dc2") }, "dc1 [] 2", 0},
			{"fail-back", func() { h.web(t, catalog.Passing, "n1") }, "dc1 [n1] 0", 0},
			{"another query of the name", func() {
				list, _, err := query.List.Call(t.Context(), h, op.Header{}, &op.Empty{})
				if err != nil {
					t.Error(err)
					return
				}
				q := (*list)[0]
				q.Service.Tags = []string{"none"}
				if _, _, err := query.Update.Call(t.Context(), h, op.Header{}, &query.SetRequest{Query: q}); err != nil {
					t.Error(err)
				}
			}, "dc1 [] 2", 0},
		} {
			done := make(chan said, 1)
			index := meta.Index
			go func() {
				a, m, err := h.executed(t.Context(), op.Header{MinIndex: index, MaxWait: 10 * time.Minute}, query.ExecuteRequest{})
				done <- said{outcomeOf(a, err), m.Index}
			}()
			synctest.Wait()
			<-time.After(time.Minute)
			h.register(t, &catalog.RegisterRequest{Node: fmt.Sprintf("other%d", i), Address: "10.0.0.9", Service: &catalog.Service{Service: "other"}})
			synctest.Wait()
			select {
			case got := <-done:
				t.Fatalf("%s: %v before anything changed", step.name, got)
			default:
			}
			begin := time.Now()
			step.change()
			got := <-done
			if got.outcome != step.want || got.index == index || time.Since(begin) > step.within {
				t.Fatalf("%s: %s with index %d after %s, want %s with another index than %d within %s",
					step.name, got.outcome, got.index, time.Since(begin), step.want, index, step.within)
			}
			meta.Index = got.index
		}
	})
}

// Time passes without a change: the same answer with the same index.
func TestWaitingQueryEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSites("dc2")
		f.has("dc2", "m")
		h := newHarness(t, nil)
		h.start(t, f)
		h.LeadershipChanged(true)
		h.prepared(t, query.Query{Name: "q", Service: query.Service{Failover: query.Failover{NearestN: 1}}})
		_, first, err := h.executed(t.Context(), op.Header{}, query.ExecuteRequest{})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		a, meta, err := h.executed(t.Context(), op.Header{MinIndex: first.Index, MaxWait: 16 * time.Second}, query.ExecuteRequest{})
		took := time.Since(begin)
		if got := outcomeOf(a, err); got != "dc2 [m] 1" || meta.Index != first.Index || took < 16*time.Second || took > 17*time.Second {
			t.Errorf("%s with index %d after %s, first it was %d", got, meta.Index, took, first.Index)
		}
		if n := h.waiting(t); n != 0 {
			t.Errorf("%v wait", n)
		}
	})
}

// One that was the leader does not answer for it when the time is over.
func TestWaitingQueryNeedsTheLeaderToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *server.Config) { c.HoldTimeout = time.Second })
		h.start(t, nil)
		h.LeadershipChanged(true)
		h.prepared(t, query.Query{Name: "q"})
		_, first, err := h.executed(t.Context(), op.Header{}, query.ExecuteRequest{})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { h.group.Leads.Store(false) }) // it has not noticed yet
		if _, _, err := h.executed(t.Context(), op.Header{MinIndex: first.Index, MaxWait: 5 * time.Second}, query.ExecuteRequest{}); op.CodeOf(err) != op.CodeNoLeader {
			t.Errorf("who takes only the leader's word is told %v", err)
		}
		if _, meta, err := h.executed(t.Context(), op.Header{MinIndex: first.Index, MaxWait: 5 * time.Second, Consistency: op.Stale}, query.ExecuteRequest{}); err != nil || meta.Index != first.Index {
			t.Errorf("who takes anybody's: %+v, %v", meta, err)
		}
	})
}

// A datacenter that comes to be known stands in from then on.
func TestWaitingQuerySeesANewDatacenter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSites("dc2")
		h := newHarness(t, nil)
		h.start(t, f)
		h.LeadershipChanged(true)
		h.prepared(t, query.Query{Name: "q", Service: query.Service{Failover: query.Failover{Datacenters: []string{"dc2", "dc3"}}}})
		_, first, err := h.executed(t.Context(), op.Header{}, query.ExecuteRequest{})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan string, 1)
		go func() {
			a, _, err := h.executed(t.Context(), op.Header{MinIndex: first.Index, MaxWait: time.Minute}, query.ExecuteRequest{})
			done <- outcomeOf(a, err)
		}()
		synctest.Wait()
		f.mu.Lock()
		f.order, f.by["dc3"] = append(f.order, "dc3"), &site{index: 1, nodes: []string{"o"}}
		f.mu.Unlock()
		begin := time.Now()
		if got := <-done; got != "dc3 [o] 2" || time.Since(begin) > queries.ReviewEvery {
			t.Errorf("%s after %s", got, time.Since(begin))
		}
	})
}
