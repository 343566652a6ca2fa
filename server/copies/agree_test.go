package copies

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl"
)

// bootstrapped has a datacenter make its first management token.
func (s *site) bootstrapped(t *testing.T) {
	t.Helper()
	name := "first of " + s.cfg.Datacenter
	if _, _, err := acl.Bootstrap.Call(t.Context(), s.cfg.Self(), op.Header{}, &acl.BootstrapRequest{Token: acl.Token{AccessorID: name, SecretID: name}}); err != nil {
		t.Fatal(err)
	}
}

func (s *site) filters(t *testing.T) string {
	t.Helper()
	home, ok := s.Filters()
	if !ok {
		t.Fatalf("%s filters nothing", s.cfg.Datacenter)
	}
	return home
}

// later is as if what a datacenter named had lasted.
func (s *site) later(by time.Duration) {
	d := &s.disagree
	d.mu.Lock()
	defer d.mu.Unlock()
	for dc, e := range d.by {
		e.since, e.last, e.said = e.since.Add(-by), e.last.Add(-by), e.said.Add(-by)
		d.by[dc] = e
	}
}

func TestWhoFiltersByAnotherHomeIsRefused(t *testing.T) {
	sites := configured(t, func(dc string) string { return dc }, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	dc1.bootstrapped(t)
	dc2.bootstrapped(t)
	if dc1.filters(t) != "dc1" || dc2.filters(t) != "dc2" {
		t.Fatal("who is a home filters by another one's records")
	}
	for _, s := range []*site{dc1, dc2} {
		other := "dc1"
		if s == dc1 {
			other = "dc2"
		}
		for _, accepted := range []string{s.cfg.Datacenter, ""} { // earlier versions name none
			if err := s.Agrees(other, accepted); err != nil {
				t.Errorf("%s refuses who names %q: %v", s.cfg.Datacenter, accepted, err)
			}
		}
		err := s.Agrees(other, other)
		if op.CodeOf(err) != op.CodeUnsupported || !strings.Contains(err.Error(), "dc1") || !strings.Contains(err.Error(), "dc2") || !strings.Contains(err.Error(), "primary_datacenter") {
			t.Errorf("%s answers who names another home: %v", s.cfg.Datacenter, err)
		}
		if n := len(s.Disagreeing()); n != 0 || s.Status(s.home()).LastErrorMessage != "" {
			t.Errorf("what may be a move counts at once: %d", n)
		}
		s.later(movesIn)
		_ = s.Agrees(other, other) // it is asked again
		if got := s.Disagreeing()[other]; got != other {
			t.Errorf("%s says that %s takes %q for the home", s.cfg.Datacenter, other, got)
		}
		if r := s.Status(s.home()); r.Home != s.cfg.Datacenter || !strings.Contains(r.LastErrorMessage, "two homes") || r.LastError.IsZero() {
			t.Errorf("the status of %s: %+v", s.cfg.Datacenter, r)
		}
		s.later(disagreesFor + time.Second)
		if n := len(s.Disagreeing()); n != 0 {
			t.Error("what was long ago counts")
		}
	}
}

func TestADisagreementIsToldOfNowAndThen(t *testing.T) {
	d := disagreements{by: map[string]disagreement{}}
	at := time.Now()
	said := 0
	for range 3 * int(warnEvery/time.Second) {
		if d.note("dc2", "dc2", at) {
			said++
		}
		at = at.Add(time.Second)
	}
	if said != 3 {
		t.Errorf("in 30 minutes the log says it %d times", said)
	}
	for i := range 2 * maxDisagreeing {
		d.note(strings.Repeat("d", i), "dc2", at)
	}
	if len(d.by) > maxDisagreeing {
		t.Errorf("%d datacenters are remembered", len(d.by))
	}
}

// A home by mistake that is configured right filters by its own records until those of
// the home have come.
func TestAHomeByMistakeNamesItselfUntilItHasCopies(t *testing.T) {
	sites := configured(t, func(dc string) string { return dc }, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	dc1.bootstrapped(t)
	dc2.bootstrapped(t)
	dc1.cut.Store(true)
	dc2.leads()
	dc2.cfg.First = "dc1"
	if got := dc2.filters(t); got != "dc2" {
		t.Errorf("started anew it filters by the records of %s", got)
	}
	dc2.lead(t)
	servertest.Eventually(t, "its state says that dc1 is the home", func() bool { h, err := dc2.row(); return err == nil && h.Away })
	if got := dc2.filters(t); got != "dc2" {
		t.Errorf("with its own records it filters by those of %s", got)
	}
	if err := dc1.Agrees("dc2", dc2.filters(t)); op.CodeOf(err) != op.CodeUnsupported {
		t.Errorf("it is shown everything: %v", err)
	}
	dc1.cut.Store(false)
	servertest.Eventually(t, "it has the copies", func() bool { return dc2.has("first of dc1") && !dc2.has("first of dc2") && dc2.filters(t) == "dc1" })
	if err := dc1.Agrees("dc2", "dc1"); err != nil {
		t.Errorf("with the copies it is refused: %v", err)
	}
	if n := testutil.ToFloat64(dc1.metrics.disagree); n != 0 {
		t.Errorf("%v datacenters go on naming another home", n)
	}
}

// One that has no copies yet asks the home, and so does what the home says.
func TestANewDatacenterNamesTheHome(t *testing.T) {
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	dc1.cut.Store(true)
	if got := dc2.filters(t); got != "dc1" {
		t.Errorf("it names %s", got)
	}
	dc2.leads() // ends: the configuration is read by who leads
	dc2.cfg.Enabled = false
	if home, ok := dc2.Filters(); ok || home != "" {
		t.Errorf("without access control it names %s", home)
	}
}

// Over a move in order copies are copies of the same; over one by force the old home has
// records of its own.
func TestWhoMovesTheHomeNamesWhatItHas(t *testing.T) {
	for _, c := range []struct {
		name  string
		force bool
		want  string
	}{{"in order", false, "dc2"}, {"by force", true, "dc1"}} {
		sites := found(t, "dc1", "dc2", "dc3")
		dc1, dc2, dc3 := sites["dc1"], sites["dc2"], sites["dc3"]
		dc1.bootstrapped(t)
		servertest.Eventually(t, "copies", func() bool { return dc2.has("first of dc1") && dc3.has("first of dc1") })
		dc1.cut.Store(c.force)
		if _, err := dc2.Move(t.Context(), op.Header{}, &acl.MoveRequest{Force: c.force}); err != nil {
			t.Fatal(c.name, err)
		}
		dc2.cut.Store(true) // nothing comes from there
		if c.force {
			dc1.cut.Store(false)
			rec, _ := dc2.records.Home()
			if _, err := dc1.records.Merge([]removal.Record{rec}, time.Now()); err != nil {
				t.Fatal(err)
			}
			dc1.HomeChanged()
		}
		servertest.Eventually(t, c.name+": dc1 and dc3 know", func() bool { return dc1.home() == "dc2" && dc3.home() == "dc2" })
		servertest.Eventually(t, c.name+": the old home's state knows", func() bool { h, err := dc1.row(); return err == nil && h.Away })
		if got := dc1.filters(t); got != c.want {
			t.Errorf("%s: the old home filters by the records of %s", c.name, got)
		}
		if dc3.filters(t) != "dc2" || dc2.filters(t) != "dc2" {
			t.Errorf("%s: dc3 and dc2 filter by the records of %s and %s", c.name, dc3.filters(t), dc2.filters(t))
		}
		if err := dc3.Lost("dc1", "dc1"); op.CodeOf(err) != op.CodeLost {
			t.Errorf("%s: what the old home followed goes on: %v", c.name, err)
		}
		if err := dc3.Lost("dc2", "dc1"); err != nil {
			t.Errorf("%s: what another one followed ends: %v", c.name, err)
		}
		dc2.cut.Store(false)
		servertest.Eventually(t, c.name+": the old home has the copies", func() bool { return dc1.filters(t) == "dc2" })
	}
}
