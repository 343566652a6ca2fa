package replicas

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

// chain is dc1, which has keys, dc2, which mirrors them, and dc3, which copies nothing yet.
func chain(t *testing.T) (dc1, dc2, dc3 *site) {
	t.Helper()
	sites := found(t, "dc1", "dc2", "dc3")
	dc1, dc2, dc3 = sites["dc1"], sites["dc2"], sites["dc3"]
	for i := range 20 {
		dc1.put(t, fmt.Sprintf("a/%02d", i), "v")
	}
	dc2.follow(t, "dc1", "a/", "a/")
	same(t, dc1, "a/", dc2, "a/")
	return dc1, dc2, dc3
}

// mirror is what makes a rule in spite of keys that are there.
func mirror(of string) *replication.CreateRequest {
	return &replication.CreateRequest{Datacenter: of, Prefix: "a/", Target: "a/", Mode: replication.Mirror, Force: true}
}

func refused(err error, because string) bool {
	return op.CodeOf(err) == op.CodeConflict && strings.Contains(err.Error(), because)
}

const aRing = `"a/" in dc1 would be copied from "a/" in dc3, from "a/" in dc2, from "a/" in dc1, which is a ring`

// The rule that would close a ring is not made, whatever its mode, and the error names the ring.
func TestARingOfMirrorsIsNotClosed(t *testing.T) {
	t.Parallel()
	dc1, dc2, dc3 := chain(t)
	dc3.follow(t, "dc2", "a/", "a/")
	same(t, dc2, "a/", dc3, "a/")
	for _, mode := range []string{replication.Mirror, replication.Newest} {
		req := mirror("dc3")
		req.Mode = mode
		if _, err := dc1.create(t.Context(), op.Header{}, req); !refused(err, aRing) {
			t.Errorf("%s: %v", mode, err)
		}
	}
	// What goes on from another place is no ring; nor is one that is paused none.
	if _, err := dc1.create(t.Context(), op.Header{}, &replication.CreateRequest{Datacenter: "dc3", Prefix: "a/", Target: "copy/"}); err != nil {
		t.Errorf("to another prefix: %v", err)
	}
	dc2.apply(t, &replication.Change, &replication.ChangeRequest{Target: "a/", Change: replication.Pause})
	if _, err := dc1.create(t.Context(), op.Header{}, mirror("dc3")); !refused(err, aRing) {
		t.Errorf("with a rule that is paused: %v", err)
	}
	dc2.apply(t, &replication.Change, &replication.ChangeRequest{Target: "a/", Change: replication.Remove})
	if _, err := dc1.create(t.Context(), op.Header{}, mirror("dc3")); err != nil {
		t.Errorf("without the rule between: %v", err)
	}
}

// Part of what a mirror has may go in a ring.
func TestARingBelowAPrefixIsNotClosed(t *testing.T) {
	t.Parallel()
	dc1, _, dc3 := chain(t)
	dc3.follow(t, "dc2", "a/1", "b/")
	want := `"a/" in dc1 would be copied from "b/" in dc3, from "a/1" in dc2, from "a/1" in dc1, which is a ring`
	if _, err := dc1.create(t.Context(), op.Header{}, &replication.CreateRequest{Datacenter: "dc3", Prefix: "b/", Target: "a/", Force: true}); !refused(err, want) {
		t.Error(err)
	}
	if _, err := dc1.create(t.Context(), op.Header{}, &replication.CreateRequest{Datacenter: "dc3", Prefix: "b/", Target: "c/"}); err != nil {
		t.Error(err)
	}
}

// Two rules that close a ring together both stop, and nothing is deleted.
func TestARingThatIsClosedInTwoPlacesAtOnce(t *testing.T) {
	t.Parallel()
	dc1, dc2, dc3 := chain(t)
	dc2.cut.Store(true) // so that neither finds the other one before both are there
	dc3.follow(t, "dc2", "a/", "a/")
	dc1.follow(t, "dc3", "a/", "a/")
	servertest.Eventually(t, "it is not known where the keys are from", func() bool {
		return strings.Contains(dc1.status(t).Error, `was asked where it has "a/" from`) && dc3.status(t).State == replication.StateFailing
	})
	dc2.cut.Store(false)
	for _, s := range []*site{dc1, dc3} {
		servertest.Eventually(t, s.name+" has found the ring", func() bool { return strings.Contains(s.status(t).Error, "which is a ring") })
	}
	if len(dc1.has("a/")) != 20 || len(dc2.has("a/")) != 20 || len(dc3.has("a/")) != 0 {
		t.Errorf("there are %d, %d and %d keys", len(dc1.has("a/")), len(dc2.has("a/")), len(dc3.has("a/")))
	}
	dc2.lead(t)
	servertest.Eventually(t, "the mirror that was there goes on", func() bool { return dc2.status(t).State == replication.StateFollowing })
	dc1.apply(t, &replication.Change, &replication.ChangeRequest{Target: "a/", Change: replication.Remove})
	same(t, dc1, "a/", dc3, "a/")
}

// Whoever makes rules whenever, a ring is never closed, and no key goes.
func TestRacesToCloseARing(t *testing.T) {
	t.Parallel()
	for range 20 {
		dc1, dc2, dc3 := chain(t)
		keys := dc1.has("a/")
		dc3.follow(t, "dc2", "a/", "a/") // so that whoever is copied from has all keys
		same(t, dc2, "a/", dc3, "a/")
		dc3.apply(t, &replication.Change, &replication.ChangeRequest{Target: "a/", Change: replication.Remove})
		var races sync.WaitGroup
		for s, from := range map[*site]string{dc3: "dc2", dc1: "dc3"} {
			races.Go(func() {
				rule := replication.Rule{Datacenter: from, Prefix: "a/", Target: "a/", Mode: replication.Mirror}
				if _, err := s.commit(t.Context(), op.NewCall(&replication.Set, op.Header{}, &replication.SetRequest{Rule: rule})); err != nil {
					t.Error(err)
				}
			})
		}
		races.Wait()
		follow := 0
		servertest.Eventually(t, "each rule stands or has failed", func() bool {
			follow = 0
			for _, s := range []*site{dc1, dc3} {
				for _, st := range s.statuses(t) {
					switch {
					case st.State == replication.StateFollowing:
						follow++
					case !strings.Contains(st.Error, "which is a ring"):
						return false
					}
				}
			}
			return true
		})
		if follow > 1 {
			t.Error("both follow")
		}
		for _, s := range []*site{dc1, dc2, dc3} {
			if got := s.has("a/"); !maps.Equal(got, keys) {
				t.Errorf("%s has %d keys", s.name, len(got))
			}
			s.ends()
		}
	}
}

// A chain that cannot be asked to its end holds up a rule that has copied nothing yet, and no
// other.
func TestAChainThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	dc1, dc2, dc3 := chain(t)
	dc3.follow(t, "dc2", "a/", "a/")
	same(t, dc2, "a/", dc3, "a/")
	servertest.Eventually(t, "it follows", func() bool { return dc3.status(t).State == replication.StateFollowing })
	dc1.cut.Store(true)
	if _, err := dc3.create(t.Context(), op.Header{}, &replication.CreateRequest{Datacenter: "dc2", Prefix: "a/", Target: "b/"}); op.CodeOf(err) != op.CodeUnreachableDatacenter || !strings.Contains(err.Error(), `datacenter dc1 was asked where it has "a/" from`) {
		t.Errorf("made while nobody knows: %v", err)
	}
	dc3.lead(t)
	servertest.Eventually(t, "it follows again", func() bool { return dc3.status(t).State == replication.StateFollowing })
}

// A server that does not lead answers as well, a moment later, when it knows what its leader knew.
func TestAnotherServerSaysWhereKeysComeFrom(t *testing.T) {
	t.Parallel()
	dc1, dc2, dc3 := chain(t)
	dc1.ends()
	dc1.cfg.Leads = func() bool { return false }
	began := time.Now()
	made, err := dc3.create(t.Context(), op.Header{}, mirror("dc2"))
	if err != nil || made == nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < behindBy {
		t.Errorf("answered after %s", took)
	}
	same(t, dc2, "a/", dc3, "a/")
}

// However many copy from each other, few are asked.
func TestChainsAreBounded(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range maxChain + 3 {
		names = append(names, fmt.Sprint("dc", i))
	}
	sites := found(t, names...)
	for i := 1; i < len(names); i++ {
		sites[names[i]].apply(t, &replication.Set, &replication.SetRequest{Rule: replication.Rule{Datacenter: names[i-1], Prefix: "a/", Target: "a/", Mode: replication.Newest}})
	}
	last := sites[names[len(names)-1]]
	servertest.Eventually(t, "the chain is too long", func() bool {
		return strings.Contains(last.status(t).Error, "too many datacenters copy keys from each other")
	})
}

// What is on its way to the log while a state is restored is not taken for progress of what was
// restored, and who leads afterwards compares.
func TestWhatIsOnItsWayWhileAMirrorIsRestored(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{replication.Mirror, replication.Newest} {
		t.Run(mode, func(t *testing.T) {
			sites := found(t, "dc1", "dc2")
			dc1, dc2 := sites["dc1"], sites["dc2"]
			dc1.put(t, "config/a", "1")
			dc2.followIn(t, mode, "dc1", "config/", "config/")
			same(t, dc1, "config/", dc2, "config/")
			rows, n := dc2.archive(t)
			dc1.put(t, "config/b", "2")
			same(t, dc1, "config/", dc2, "config/")
			rule := dc2.status(t).Rule
			var progress replication.Progress
			servertest.Eventually(t, "it stands how far it has got", func() bool {
				err := dc2.look(func(v *storage.View) (err error) {
					progress, err = replication.FindProgress(v, &rule)
					return err
				})
				return err == nil && progress.Index > 0
			})
			dc2.ends()
			dc2.restore(t, rows, n, "r1")
			late := op.NewCall(&kv.Copy, op.Header{}, &kv.CopyRequest{Target: "config/", Rule: rule.CreateIndex, Index: progress.Index, Here: "dc2"})
			if _, err := dc2.commit(t.Context(), late); op.CodeOf(err) != op.CodeNotFound {
				t.Errorf("what was on its way: %v", err)
			}
			dc2.lead(t)
			same(t, dc1, "config/", dc2, "config/")
		})
	}
}
