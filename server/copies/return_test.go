package copies

import (
	"testing"
	"time"

	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl"
)

// meet has datacenters exchange their records in both directions.
func meet(t *testing.T, a, b *site) {
	t.Helper()
	for _, p := range [][2]*site{{a, b}, {b, a}} {
		if _, err := p[1].records.Merge(p[0].records.List(), time.Now()); err != nil {
			t.Fatal(err)
		}
		p[1].HomeChanged()
	}
}

// A datacenter that made itself the home while it was removed gives that up when it is
// allowed again: what the others have counts, whatever the clocks say.
func TestWhoComesBackGivesTheHomeUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		moved bool          // the home of the others is not the one that is configured
		ahead time.Duration // clock of the one that is removed
		knew  bool          // that it was removed, when it made itself the home
	}{
		{name: "configured home"}, {name: "clock ahead", ahead: time.Hour}, {name: "moved home, clock ahead", moved: true, ahead: time.Hour, knew: true},
	} {
		sites := found(t, "dc1", "dc2", "dc3")
		dc1, dc2, dc3 := sites["dc1"], sites["dc2"], sites["dc3"]
		ctx, home := t.Context(), dc1
		if err := dc1.token(ctx, "common"); err != nil {
			t.Fatal(err)
		}
		servertest.Eventually(t, "copies", func() bool { return dc2.has("common") && dc3.has("common") })
		if c.moved {
			if _, err := dc2.Move(ctx, op.Header{}, &acl.MoveRequest{}); err != nil {
				t.Fatal(err)
			}
			home = dc2
		}
		dc3.cut.Store(true)
		for _, s := range []*site{dc1, dc2, dc3} {
			if s == dc3 && !c.knew {
				continue
			}
			if _, err := s.records.Merge([]removal.Record{{Datacenter: "dc3", Removed: true, Version: 9, By: "s1.dc1"}}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		version := time.Now().Add(c.ahead).UnixMilli()
		if _, err := dc3.step(ctx, &acl.StepRequest{Step: acl.StepClaim, Version: version, Datacenter: "dc3", By: "s1.dc3", Since: dc3.since("dc3")}); err != nil {
			t.Fatal(err)
		}
		servertest.Eventually(t, c.name+": it is its own home", func() bool { rec, _ := dc3.records.Home(); return rec.Datacenter == "dc3" && dc3.home() == "dc3" })
		if err := dc3.token(ctx, "alone"); err != nil {
			t.Fatal(err)
		}
		if err := home.token(ctx, "meanwhile"); err != nil {
			t.Fatal(err)
		}
		if _, err := dc1.records.Set("dc3", false, "s1.dc1", time.Now()); err != nil {
			t.Fatal(err)
		}
		dc3.cut.Store(false)
		for _, pair := range [][2]*site{{dc3, dc2}, {dc1, dc3}, {dc3, dc2}, {dc1, dc2}, {dc2, dc3}} {
			meet(t, pair[0], pair[1])
		}
		servertest.Eventually(t, c.name+": it is what the others are", func() bool {
			return dc3.home() == home.cfg.Datacenter && dc3.has("meanwhile") && dc3.has("common") && !dc3.has("alone")
		})
		servertest.Eventually(t, c.name+": all agree", func() bool {
			return dc1.home() == home.cfg.Datacenter && dc2.home() == home.cfg.Datacenter && dc3.filters(t) == home.cfg.Datacenter
		})
		if err := home.token(ctx, "after"); err != nil {
			t.Error(c.name, "the home does not write:", err)
		}
		if _, err := dc3.Move(ctx, op.Header{}, &acl.MoveRequest{}); err != nil || dc1.home() != "dc3" || dc2.home() != "dc3" {
			t.Errorf("%s: it cannot become the home in order: %v, %s %s", c.name, err, dc1.home(), dc2.home())
		}
		for _, s := range sites {
			s.leads()
		}
	}
}
