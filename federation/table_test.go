package federation

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/gossip"
)

func TestDampedServerIsChosenWhenNoOtherCanBe(t *testing.T) {
	s := &servers{do: func(_ context.Context, id string) ([]byte, error) { return answer(t, id), nil }}
	ps := peers(3, gossip.Alive)
	ps[1].Damped = true
	r := router(t, s, ps)
	for range 30 {
		if _, err := get(t.Context(), r, "dc2"); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Contains(s.asked, "id1") || !slices.Contains(s.asked, "id0") || !slices.Contains(s.asked, "id2") {
		t.Errorf("asked %v, want all but the damped one", s.asked)
	}
	dc := r.table.Load().datacenters["dc2"]
	dc.load.suspect("id0")
	dc.load.suspect("id2")
	if order := dc.order(); len(order) != 3 || order[2].NodeID != "id1" {
		t.Errorf("order %v, want the damped one last, behind those that failed a call", order)
	}
	for i := range ps {
		ps[i].Damped = true
	}
	s.asked = nil
	r.Update(nil, ps)
	for range 30 {
		if _, err := get(t.Context(), r, "dc2"); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Contains(s.asked, "id1") {
		t.Errorf("asked %v: if all are damped they are asked in turn", s.asked)
	}
}

// A server that was given another name is known to gossip twice: failed and alive.
func TestServerWithANewNameIsOneServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		ps := peers(2, gossip.Alive)
		ps[0].Name, ps[0].Status, ps[1].ID = "old", gossip.Failed, ps[0].ID
		for range 2 { // in both orders
			r := watched(t, s, ps)
			wait(time.Minute)
			for range 3 { // as each event of gossip does
				r.Update(nil, ps)
				if got := state(r); got.Servers != 1 || got.Alive != 1 || got.Answering != 1 || got.Breaker != Closed {
					t.Fatalf("%+v", got)
				}
				if _, err := get(t.Context(), r, "dc2"); err != nil {
					t.Fatal(err)
				}
				wait(time.Minute)
			}
			if s.forgotten > 0 {
				t.Errorf("connections were dropped %d times", s.forgotten)
			}
			slices.Reverse(ps)
		}
	})
}
