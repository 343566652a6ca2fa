package removal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/wan"
)

func open(t *testing.T, kept []byte, save func([]byte) error) *Records {
	t.Helper()
	r, err := Open("dc1", kept, save)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func set(t *testing.T, r *Records, dc string, removed bool, by string, at time.Time) {
	t.Helper()
	if _, err := r.Set(dc, removed, by, at); err != nil {
		t.Fatal(err)
	}
}

func TestServersThatExchangeInAnyOrderHoldTheSame(t *testing.T) {
	now := time.Now()
	a, b, c := open(t, nil, nil), open(t, nil, nil), open(t, nil, nil)
	set(t, a, "dc3", true, "a", now)
	set(t, b, "dc3", false, "b", now) // at the same time: who removes wins
	set(t, b, "dc4", true, "b", now)
	set(t, c, "dc4", true, "c", now)
	set(t, c, "dc4", false, "c", now) // later, whatever the clock says
	for _, pair := range [][2]*Records{{a, b}, {c, b}, {a, c}, {b, a}, {b, c}} {
		for _, p := range [][2]*Records{pair, {pair[1], pair[0]}} {
			if _, err := p[0].Merge(p[1].List(), now); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, r := range []*Records{a, b, c} {
		if !r.Removed("dc3") || r.Removed("dc4") || r.Digest() != a.Digest() || !slices.Equal(r.List(), a.List()) {
			t.Errorf("server %d holds %+v, digest %s", i, r.List(), r.Digest())
		}
	}
	if a.Digest() == "" || open(t, nil, nil).Digest() != "" {
		t.Error("the digest of nothing is not the empty one")
	}
}

func TestRecordsOutliveARestart(t *testing.T) {
	var disk []byte
	r := open(t, nil, func(b []byte) error { disk = slices.Clone(b); return nil })
	set(t, r, "dc3", true, "s1.dc1", time.Now())
	again := open(t, disk, nil)
	if !again.Removed("dc3") || again.Digest() != r.Digest() {
		t.Errorf("after the restart: %+v", again.List())
	}
	if err := again.Refuse("dc3"); !errors.Is(err, ErrRemoved) {
		t.Errorf("dc3 is refused with %v", err)
	}
	if err := again.Refuse("dc2"); err != nil {
		t.Errorf("dc2 is refused with %v", err)
	}
	if _, err := Open("dc1", []byte("[{"), nil); err == nil {
		t.Error("a damaged file was read")
	}
}

func TestWhatAPeerSendsIsBounded(t *testing.T) {
	now := time.Now()
	r := open(t, nil, nil)
	bad := []Record{{Datacenter: "dc3", Version: now.Add(2 * maxAhead).UnixMilli(), Removed: true}, {Datacenter: "", Version: 1}, {Datacenter: "dc4", Version: -1},
		{Datacenter: string(make([]byte, maxName+1)), Version: 1}}
	if changed, err := r.Merge(bad, now); err != nil || len(changed) > 0 {
		t.Errorf("took over %+v: %v", changed, err)
	}
	var many []Record
	for i := range maxRecords + 1 {
		many = append(many, Record{Datacenter: fmt.Sprint(i), Version: 1, Removed: true})
	}
	if changed, err := r.Merge(many, now); err == nil || len(changed) != maxRecords {
		t.Errorf("took over %d records: %v", len(changed), err)
	}
}

func TestWhatCannotBeSavedHoldsAndIsReported(t *testing.T) {
	full := errors.New("disk is full")
	r := open(t, nil, func([]byte) error { return full })
	if _, err := r.Set("dc3", true, "s1", time.Now()); !errors.Is(err, full) || !r.Removed("dc3") {
		t.Errorf("removed %t: %v", r.Removed("dc3"), err)
	}
}

// says answers every exchange with the same records.
type says []Record

func (s says) RoundTrip(context.Context, transport.Target, string, []byte, []byte) ([]byte, error) {
	return json.Marshal([]Record(s))
}

// Servers of a datacenter that was removed are told so. What they say of who belongs
// to the federation does not count, least of all about themselves.
func TestWhoWasRemovedDecidesNothing(t *testing.T) {
	later := time.Now().Add(time.Hour).UnixMilli()
	claims := says{{Datacenter: "dc3", Version: later, By: "s1.dc3"}, {Datacenter: "dc2", Version: later, Removed: true, By: "s1.dc3"}}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []struct {
		own, dc string // whose records, who speaks
		counts  bool
	}{{"dc1", "dc3", false}, {"dc1", "dc2", true}, {"dc3", "dc3", true}} {
		for _, way := range []string{"asks", "answers"} {
			r := open(t, nil, nil)
			set(t, r, "dc3", true, "s1.dc1", time.Now())
			s := New(Config{Datacenter: from.own, Name: "s1." + from.own, Records: r, Transport: claims, Servers: func() []wan.Server { return nil },
				Changed: func([]Record) {}, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
			told := body
			if way == "asks" {
				told = s.answer(t.Context(), transport.Remote{Peer: identity.Peer{Datacenter: from.dc, Name: "s2", Server: true}}, body)
			} else if err := s.exchange(t.Context(), wan.Server{Name: "s2", Datacenter: from.dc}); err != nil {
				t.Fatal(err)
			}
			if r.Removed("dc3") == from.counts || r.Removed("dc2") != from.counts {
				t.Errorf("a server of %s %s one of %s, which has: %+v", from.dc, way, from.own, r.List())
			}
			var list []Record
			if err := json.Unmarshal(told, &list); err != nil || len(list) == 0 {
				t.Errorf("it is told %s: %v", told, err)
			}
		}
	}
}

// Who is home is one record, whichever datacenter it names: the newest holds, beside what
// the same datacenters' removals say.
func TestTheHomeIsOneRecord(t *testing.T) {
	now := time.Now()
	var disk []byte
	a, b := open(t, nil, func(k []byte) error { disk = slices.Clone(k); return nil }), open(t, nil, nil)
	merge := func(r *Records, list ...Record) {
		t.Helper()
		if _, err := r.Merge(list, now); err != nil {
			t.Fatal(err)
		}
	}
	merge(a, Record{Datacenter: "dc2", Home: true, Version: 5, By: "s1.dc2"})
	set(t, a, "dc2", false, "s1.dc1", now)
	set(t, a, "dc3", true, "s1.dc1", now)
	merge(b, Record{Datacenter: "dc4", Home: true, Version: 6, By: "s1.dc4"}, Record{Datacenter: "dc5", Home: true, Removed: true, Version: 9})
	for _, way := range [][2]*Records{{a, b}, {b, a}} {
		merge(way[0], way[1].List()...)
	}
	for _, r := range []*Records{a, b, open(t, disk, nil)} {
		if rec, ok := r.Home(); !ok || rec.Datacenter != "dc4" || rec.Version != 6 {
			t.Errorf("the home is %+v", rec)
		}
		if r.Removed("dc4") || !r.Removed("dc3") || r.Digest() != a.Digest() || len(r.List()) != 3 {
			t.Errorf("records %+v", r.List())
		}
	}
	if _, ok := open(t, nil, nil).Home(); ok {
		t.Error("there is a home before anybody was")
	}
}

// What a datacenter says of the home while it is removed does not count, in whatever order
// it is heard, whatever its clock says, and whether it knew that it was removed.
func TestWhoWasRemovedIsNotHomeWhenItIsAllowedAgain(t *testing.T) {
	now := time.Now()
	stayed := Record{Home: true, Datacenter: "dc2", Version: now.UnixMilli() - 1000, By: "s1.dc2", Since: 1}
	for _, knew := range []bool{true, false} {
		in := open(t, nil, nil)
		var saved []byte
		out, err := Open("dc3", nil, func(b []byte) error { saved = b; return nil })
		if err != nil {
			t.Fatal(err)
		}
		exchange := func(from, to *Records) {
			t.Helper()
			if _, err := to.Merge(from.List(), now); err != nil {
				t.Fatal(err)
			}
		}
		home := func(r *Records, want string) {
			t.Helper()
			if rec, _ := r.Home(); rec.Datacenter != want {
				t.Errorf("knew %t: %s takes %q for the home, want %q", knew, r.own, rec.Datacenter, want)
			}
		}
		if _, err := in.Merge([]Record{stayed}, now); err != nil {
			t.Fatal(err)
		}
		exchange(in, out)
		set(t, in, "dc3", true, "s1.dc1", now)
		if knew {
			exchange(in, out)
		}
		alone := Record{Home: true, Datacenter: "dc3", Version: now.Add(time.Hour).UnixMilli(), By: "s1.dc3", Since: out.Since("dc3")}
		if _, err := out.Merge([]Record{alone}, now); err != nil {
			t.Fatal(err)
		}
		home(out, "dc3")
		exchange(in, out) // it learns that it is removed, and goes on
		home(out, "dc3")
		third := open(t, nil, nil) // heard of nothing
		exchange(out, third)
		set(t, in, "dc3", false, "s1.dc1", now.Add(time.Second))
		exchange(out, in)
		home(in, "dc2")
		exchange(in, third)
		home(third, "dc2")
		exchange(in, out)
		home(out, "dc2")
		exchange(out, in)
		if !slices.Equal(in.List(), out.List()) || in.Digest() != out.Digest() || third.Digest() != in.Digest() {
			t.Errorf("knew %t: they differ: %+v %+v", knew, in.List(), out.List())
		}
		again, err := Open("dc3", saved, nil)
		if err != nil {
			t.Fatal(err)
		}
		home(again, "dc2")
		next := Record{Home: true, Datacenter: "dc3", Version: now.UnixMilli(), By: "s1.dc3", Since: out.Since("dc3")}
		if _, err := out.Merge([]Record{next}, now); err != nil {
			t.Fatal(err)
		}
		exchange(out, in)
		home(in, "dc3") // made that when it was allowed
	}
}

// Records of earlier versions do not say what was known: clocks are compared.
func TestRecordsOfTheHomeFromEarlierVersions(t *testing.T) {
	r := open(t, nil, nil)
	now := time.Now()
	set(t, r, "dc3", true, "a", now)
	set(t, r, "dc3", false, "a", now)
	allowed, _ := r.Find("dc3")
	for by, want := range map[int64]bool{-1: false, 1: true} {
		if got := r.Counts(Record{Home: true, Datacenter: "dc3", Version: allowed.Version + by}); got != want {
			t.Errorf("%d ms after it was allowed: %t", by, got)
		}
	}
}

// Where the home before is not known nobody is said to be it.
func TestAHomeThatDoesNotCountIsForgotten(t *testing.T) {
	r := open(t, nil, nil)
	now := time.Now()
	if _, err := r.Merge([]Record{{Home: true, Datacenter: "dc3", Version: 5, By: "s1.dc3", Since: 1}}, now); err != nil {
		t.Fatal(err)
	}
	changed, err := r.Merge([]Record{{Datacenter: "dc3", Version: 7, By: "a"}}, now)
	if err != nil || len(changed) != 2 || !changed[1].Home || changed[1].Datacenter != "" {
		t.Errorf("%+v %v", changed, err)
	}
	if rec, known := r.Home(); known {
		t.Errorf("%+v is the home", rec)
	}
}

func TestTheRemovedOnesThatOthersAreToldOf(t *testing.T) {
	r := open(t, nil, nil)
	now := time.Now()
	for i, dc := range []string{"dc5", "dc4", "dc9", r.own} {
		set(t, r, dc, true, "s.dc4", now.Add(time.Duration(i)*time.Second))
	}
	set(t, r, "dc4", false, "s.dc5", now.Add(time.Minute))
	if got := r.RemovedOthers(); !slices.Equal(got, []string{"dc9", "dc5"}) {
		t.Errorf("%v", got)
	}
}
