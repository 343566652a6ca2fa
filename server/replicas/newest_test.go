package replicas

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/state/session"
)

// at writes or deletes at a time of the datacenter's clock.
func (s *site) at(t testing.TB, now int64, verb, key, value string) {
	t.Helper()
	s.apply(t, &kv.Apply, &kv.ApplyRequest{Verb: verb, Entry: kv.Entry{Key: key, Value: []byte(value)}, Now: now})
}

// deletedAt reports whether a deletion of a key at this time is remembered.
func (s *site) deletedAt(t testing.TB, key string, now int64) bool {
	t.Helper()
	v := s.cfg.State.View()
	defer v.Close()
	g, err := kv.FindGrave(v, key)
	if err != nil {
		t.Fatal(err)
	}
	return g != nil && g.Time == now
}

func all(t *testing.T, what string, sites []*site, want map[string]string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			for _, s := range sites {
				t.Logf("%s has %v, %+v", s.name, s.has("n/"), s.statuses(t))
			}
			t.Logf("want %v", want)
		}
	}()
	servertest.Eventually(t, what, func() bool {
		for _, s := range sites {
			if !maps.Equal(s.has("n/"), want) {
				return false
			}
		}
		return true
	})
}

// both makes rules of two datacenters for each other.
func both(t *testing.T) (dc1, dc2 *site) {
	t.Helper()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 = sites["dc1"], sites["dc2"]
	dc1.followIn(t, replication.Newest, "dc2", "n/", "n/")
	dc2.followIn(t, replication.Newest, "dc1", "n/", "n/")
	return dc1, dc2
}

func TestOfWritesAtBothSidesTheLastOneStays(t *testing.T) {
	t.Parallel()
	dc1, dc2 := both(t)
	pair := []*site{dc1, dc2}
	dc1.at(t, 10, kv.Set, "n/a", "1")
	dc1.at(t, 10, kv.Set, "n/b", "1")
	dc2.at(t, 10, kv.Set, "n/c", "1")
	all(t, "all have all", pair, map[string]string{"a": "0 1", "b": "0 1", "c": "0 1"})

	dc2.cut.Store(true)
	dc1.at(t, 30, kv.Set, "n/a", "later")
	dc2.at(t, 20, kv.Set, "n/a", "sooner")
	dc1.at(t, 20, kv.Delete, "n/b", "") // sooner than it is written there
	dc2.at(t, 30, kv.Set, "n/b", "written")
	dc1.at(t, 40, kv.Set, "n/c", "sooner")
	dc2.at(t, 50, kv.Delete, "n/c", "")
	dc1.at(t, 60, kv.Set, "n/d", "of dc1") // at the same time: the greater name wins
	dc2.at(t, 60, kv.Set, "n/d", "of dc2")
	dc2.cut.Store(false)
	all(t, "the last one stays", pair, map[string]string{"a": "0 later", "b": "0 written", "d": "0 of dc2"})

	// A clock that is behind: who has seen a write writes after it.
	dc2.at(t, 5, kv.Set, "n/a", "by a slow clock")
	all(t, "who overwrites wins", pair, map[string]string{"a": "0 by a slow clock", "b": "0 written", "d": "0 of dc2"})
	dc1.at(t, 5, kv.Delete, "n/a", "")
	all(t, "who deletes wins", pair, map[string]string{"b": "0 written", "d": "0 of dc2"})
	dc2.at(t, 5, kv.Set, "n/a", "again")
	all(t, "who writes again wins", pair, map[string]string{"a": "0 again", "b": "0 written", "d": "0 of dc2"})
	dc1.at(t, 6, kv.DeleteTree, "n", "")
	all(t, "nothing is left", pair, map[string]string{})
}

// A key that goes with its session goes at the other side, too.
func TestAKeyGoesWithItsSession(t *testing.T) {
	t.Parallel()
	dc1, dc2 := both(t)
	dc1.apply(t, &catalog.Register, &catalog.RegisterRequest{Node: "n1", Address: "10.0.0.1"})
	dc1.apply(t, &session.Create, &session.CreateRequest{Session: session.Session{ID: "s1", Node: "n1", Behavior: session.Delete}})
	dc1.apply(t, &kv.Apply, &kv.ApplyRequest{Verb: kv.Lock, Entry: kv.Entry{Key: "n/lock", Value: []byte("v"), Session: "s1"}, Now: 10})
	all(t, "both have it", []*site{dc1, dc2}, map[string]string{"lock": "0 v"})
	dc1.apply(t, &session.Destroy, &session.DestroyRequest{ID: "s1"})
	all(t, "it is gone", []*site{dc1, dc2}, map[string]string{})
}

// Without a rule there, nobody remembers there when a key was deleted: what came from there
// goes, and what was written here since stays.
func TestNewestInOneDirection(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	dc2.followIn(t, replication.Newest, "dc1", "n/", "n/")
	for _, key := range []string{"n/a", "n/b", "n/c"} {
		dc1.at(t, 10, kv.Set, key, "1")
	}
	all(t, "they are here", []*site{dc2}, map[string]string{"a": "0 1", "b": "0 1", "c": "0 1"})
	dc2.at(t, 20, kv.Set, "n/b", "own")
	dc2.at(t, 20, kv.Set, "n/own", "own")
	dc1.at(t, 15, kv.Set, "n/b", "older than what is there")
	servertest.Eventually(t, "the conflict is counted", func() bool { return dc2.status(t).Conflicts == 1 })
	dc1.remove(t, kv.DeleteTree, "n/")
	want := map[string]string{"b": "0 own", "own": "0 own"}
	all(t, "what came from there goes", []*site{dc2}, want)
	// The same by a comparison.
	dc2.ends()
	dc1.at(t, 30, kv.Set, "n/d", "1")
	dc2.lead(t)
	all(t, "it is here", []*site{dc2}, map[string]string{"b": "0 own", "own": "0 own", "d": "0 1"})
	dc2.ends()
	dc1.remove(t, kv.Delete, "n/d")
	dc1.put(t, "z", "")
	dc1.collect(t)
	dc2.lead(t)
	all(t, "it goes by a comparison", []*site{dc2}, want)
	if s := dc2.status(t); s.Comparisons != 1 {
		t.Errorf("%d comparisons", s.Comparisons)
	}
}

func TestOldDeletionsAreForgotten(t *testing.T) {
	t.Parallel()
	dc1, _ := both(t)
	for i := range 1500 { // more than one command forgets
		dc1.at(t, 10, kv.Set, fmt.Sprintf("n/%d", i), "")
	}
	dc1.at(t, 100, kv.DeleteTree, "n/", "")
	dc1.at(t, 10, kv.Set, "n/late", "")
	dc1.at(t, 200, kv.Delete, "n/late", "")
	if !dc1.deletedAt(t, "n/7", 100) || !dc1.deletedAt(t, "n/late", 200) {
		t.Fatal("deletions are not remembered")
	}
	if err := dc1.forget(t.Context(), time.Unix(0, 150)); err != nil {
		t.Fatal(err)
	}
	if dc1.deletedAt(t, "n/7", 100) || dc1.deletedAt(t, "n/1499", 100) || !dc1.deletedAt(t, "n/late", 200) {
		t.Error("others are forgotten than those that are old")
	}
}

// history is what was done to each key at last, wherever: what everybody must have.
type history struct {
	now  int64
	want map[string]string
}

// step does something somewhere.
func (h *history) step(t *testing.T, rng *rand.Rand, sites []*site) {
	t.Helper()
	h.now += 10
	s := sites[rng.IntN(len(sites))]
	key := func() string { return fmt.Sprintf("%d/%d", rng.IntN(3), rng.IntN(20)) }
	gone := func(prefix string) {
		for k := range h.want {
			if strings.HasPrefix(k, prefix) && s.deletedAt(t, "n/"+k, h.now) {
				delete(h.want, k)
			}
		}
	}
	switch n := rng.IntN(100); {
	case n < 55:
		k := key()
		value := fmt.Sprint(h.now)
		s.at(t, h.now, kv.Set, "n/"+k, value)
		h.want[k] = "0 " + value
	case n < 78:
		k := key()
		s.at(t, h.now, kv.Delete, "n/"+k, "")
		gone(k)
	case n < 80:
		prefix := fmt.Sprintf("%d/", rng.IntN(3))
		s.at(t, h.now, kv.DeleteTree, "n/"+prefix, "")
		gone(prefix)
	case n < 87:
		s.lead(t)
	case n < 93:
		s.cut.Store(!s.cut.Load())
	case n < 96:
		s.collect(t)
	default:
		s.faint.Store(rng.Int64N(25))
	}
}

// Random histories at both sides, and around a ring of three: whatever fails on the way, in
// the end all have what was written last, and nothing that was deleted.
func TestNewestOfRandomHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			names := []string{"dc1", "dc2", "dc3"}[:2+seed%2]
			byName := found(t, names...)
			var sites []*site
			for i, name := range names {
				s := byName[name]
				sites = append(sites, s)
				s.followIn(t, replication.Newest, names[(i+1)%len(names)], "n/", "n/")
			}
			h := &history{want: map[string]string{}}
			rng := rand.New(rand.NewPCG(seed, 11))
			for range 300 {
				h.step(t, rng, sites)
			}
			for _, s := range sites {
				s.faint.Store(0)
				s.cut.Store(false)
			}
			all(t, "all have what was written last", sites, h.want)
		})
	}
}
