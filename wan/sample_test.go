package wan

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/gossip"
)

// sampling runs keepSample of a member of a pool of so many, and says how many connections it has and how
// often it dialled.
func sampling(t *testing.T, members int, prepare func(*wire, *sparse), look func(w *wire, s *sparse, state func() (open, dials int))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, s := sparsePool(members)
		w.keeps = true
		prepare(w, s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.keepSample(ctx) }()
		look(w, s, func() (int, int) {
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			n := 0
			for _, times := range w.dialled {
				n += times
			}
			return len(w.connected), n
		})
		cancel()
		<-done
		if w.dialled["m0"] > 0 {
			t.Error("it dialled itself")
		}
	})
}

// reachAll has all members answer within 100 ms.
func reachAll(w *wire, _ *sparse) {
	for i := range 2 * sparseAbove {
		w.dials[fmt.Sprint("m", i)] = 100 * time.Millisecond
	}
}

// Who has just come, or lost its connections, has a sample of the pool soon, and dials no more while it has.
func TestASampleIsMadeAndKept(t *testing.T) {
	sampling(t, sparseAbove+1, reachAll, func(w *wire, _ *sparse, state func() (int, int)) {
		<-time.After(lookEvery + 150*time.Millisecond)
		if open, dials := state(); open != sampled || dials != sampled {
			t.Errorf("%d connections after %d dials", open, dials)
		}
		<-time.After(time.Hour)
		if _, dials := state(); dials != sampled {
			t.Errorf("%d dials in an hour in which none was needed", dials-sampled)
		}
		w.mu.Lock()
		for name := range w.connected {
			if len(w.connected) >= fewConnections {
				delete(w.connected, name)
			}
		}
		w.mu.Unlock()
		<-time.After(lookEvery + 150*time.Millisecond)
		if open, _ := state(); open < fewConnections {
			t.Errorf("%d connections a second after most were lost", open)
		}
	})
}

func TestASampleIsForLargePools(t *testing.T) {
	sampling(t, sparseAbove, reachAll, func(_ *wire, s *sparse, state func() (int, int)) {
		<-time.After(time.Minute)
		if _, dials := state(); dials > 0 {
			t.Errorf("%d dials in a pool that is not large", dials)
		}
		s.has(Member{Name: "m200", Status: gossip.Alive}, gossip.Join)
		<-time.After(lookEvery + 150*time.Millisecond)
		if open, _ := state(); open != sampled {
			t.Errorf("%d connections when it has become large", open)
		}
	})
}

// Where nobody answers that is tried ever more seldom, until somebody new is there; who failed is not tried.
func TestASampleOfASilentPool(t *testing.T) {
	failed := func(_ *wire, s *sparse) { s.has(Member{Name: "m1", Status: gossip.Failed}, gossip.Fail) }
	sampling(t, sparseAbove+1, failed, func(w *wire, s *sparse, state func() (int, int)) {
		<-time.After(10 * time.Minute)
		_, before := state()
		if most := 17 * sampled; before > most || before < 8*sampled {
			t.Errorf("%d dials in ten minutes in which nobody answers, %d at most", before, most)
		}
		reachAll(w, s)
		s.has(Member{Name: "m300", Status: gossip.Alive}, gossip.Join)
		<-time.After(2 * lookEvery)
		if open, _ := state(); open < fewConnections {
			t.Errorf("%d connections when they answer again", open)
		}
		if w.dialled["m1"] > 0 {
			t.Error("one that failed was dialled")
		}
	})
}
