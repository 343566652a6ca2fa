package state

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

// newer lists what is written or deleted below "tree/" after an index, as followers are
// told of it.
func newer(t *testing.T, s *storage.State, after uint64) (n int, known bool) {
	t.Helper()
	v := s.View()
	defer v.Close()
	known, err := kv.Remembers(v, "tree/", after)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range kv.Newer(v, "tree/", "", after) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n, known
}

// A tree of more than 1,024 keys is deleted at once. Servers of the first release, which are
// told of no time, delete each key; so does everybody what is smaller.
func TestWhichTreesAreDeletedAtOnce(t *testing.T) {
	for _, c := range []struct {
		keys   int
		now    int64
		atOnce bool
	}{{1024, 1, false}, {1025, 1, true}, {1025, 0, false}} {
		s, err := storage.OpenState(storage.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		fill(t, s, c.keys)
		tx := s.Begin()
		defer tx.Discard()
		tx.Next()
		if _, err := kv.ApplyEntry(tx, &kv.ApplyRequest{Verb: kv.DeleteTree, Entry: kv.Entry{Key: "tree/"}, Now: c.now}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		told, known := newer(t, s, uint64(c.keys))
		if known == c.atOnce || c.atOnce && told != 0 || !c.atOnce && told != c.keys {
			t.Errorf("%d keys at %d: followers are told of %d, all of them: %v", c.keys, c.now, told, known)
		}
	}
}

// What held a key of a tree that was deleted at once holds nothing of what is written there
// later.
func TestATreeThatIsDeletedTakesItsLocks(t *testing.T) {
	s := newScene(t)
	fill(t, s.state, 2000)
	id, held := s.session(session.Delete), "tree/0000007"
	if !s.kv(kv.Lock, held, id) || !s.kv(kv.Lock, "elsewhere", id) {
		t.Fatal("a free key was not locked")
	}
	before := s.state.Index()
	s.kv(kv.DeleteTree, "tree/", "")
	if n, known := newer(t, s.state, before); n != 0 || known {
		t.Fatal("the tree was not deleted at once")
	}
	s.kv(kv.Set, held, "")
	s.must(&session.Destroy, &session.DestroyRequest{ID: id})
	if s.entry(held) == nil {
		t.Error("a key that nobody holds went with the session")
	}
	if s.entry("elsewhere") != nil {
		t.Error("a key that it holds did not go with the session")
	}
}

// hold has a session hold n keys below "held/".
func hold(t *testing.T, s *scene, id string, n int) {
	t.Helper()
	for i := 0; i < n; {
		tx := s.state.Begin()
		for range min(4096, n-i) {
			tx.Next()
			r := &kv.ApplyRequest{Verb: kv.Lock, Entry: kv.Entry{Key: fmt.Sprintf("held/%07d", i), Session: id, Value: make([]byte, 100)}, Now: 1}
			if res, err := kv.ApplyEntry(tx, r); err != nil || !res.OK {
				t.Fatal(res, err)
			}
			i++
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// A session that holds very many keys lets all go at once, in the time that a few keys take.
// With LEGATE_LONG set it holds 100,000.
func TestASessionOfManyLocksEnds(t *testing.T) {
	for _, behavior := range []string{session.Release, session.Delete} {
		s, keys := newScene(t), 3000
		if os.Getenv("LEGATE_LONG") != "" {
			keys = 100_000
		}
		id := s.session(behavior)
		hold(t, s, id, keys)
		start := time.Now()
		s.must(&session.Destroy, &session.DestroyRequest{ID: id})
		ended, longest, commands := time.Since(start), time.Duration(0), 0
		want := keys
		if behavior == session.Delete {
			want = 0
		}
		free := func(when string, at uint64) {
			list, index := read(t, s.state, &kv.List, &kv.ListRequest{Prefix: "held/"})
			if len(*list) != want || index != at {
				t.Errorf("%s: %d keys are there at index %d, want %d at %d", when, len(*list), index, want, at)
			}
			for _, e := range *list {
				if e.Session != "" || e.ModifyIndex != index || e.LockIndex != 1 {
					t.Fatalf("%s: %+v", when, e)
				}
			}
		}
		at := s.state.Index()
		free("at once", at)
		other := s.session("")
		if s.kv(kv.Lock, "held/0000005", other) {
			t.Error("a key was locked before the lock-delay was over")
		}
		for left := true; left; commands++ {
			start := time.Now()
			s.must(&kv.Settle, &op.Empty{})
			longest = max(longest, time.Since(start))
			v := s.state.View()
			left, _ = kv.Unsettled(v)
			v.Close()
		}
		t.Logf("a session (%s) with %d locks ended in %v; its keys were written by %d commands of %v at most", behavior, keys, ended, commands, longest)
		free("later", at)
		if s.kv(kv.Lock, "held/0000005", other) {
			t.Error("a key was locked before the lock-delay was over, after it was written")
		}
		s.leader.Clock += 2 * session.DefaultLockDelay
		if !s.kv(kv.Lock, "held/0000005", other) {
			t.Error("a key that was let go cannot be locked")
		}
	}
}

// Who waits for a key of a session that ends is woken, and who follows keys is told which,
// though no row of theirs was written. Writing them later tells nobody anything.
func TestWhoWaitsForKeysThatAreLetGoIsWoken(t *testing.T) {
	s := newScene(t)
	id := s.session(session.Delete)
	hold(t, s, id, 1000)
	s.kv(kv.Set, "free", "")
	_, before := read(t, s.state, &kv.List, &kv.ListRequest{})
	woken := make(chan error, 2)
	watch := func(query func(v *storage.View) error) *storage.Watch {
		w, err := s.state.Watch(query)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Close)
		return w
	}
	of := func(key string) func(v *storage.View) error {
		return func(v *storage.View) error { _, err := kv.Lookup(v, key); return err }
	}
	one, prefix, free := watch(of("held/0000007")), watch(func(v *storage.View) error {
		_, err := kv.ListKeys.Query(v, &kv.KeysRequest{Prefix: "held/00009"})
		return err
	}), watch(of("free"))
	followed := s.state.Changes(2000, kv.Below("held/"))
	defer followed.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { woken <- s.state.Block(ctx, before, of("held/0000008")) }()
	s.must(&session.Destroy, &session.DestroyRequest{ID: id})
	if err := <-woken; err != nil || ctx.Err() != nil {
		t.Fatal(err, ctx.Err())
	}
	if !one.Stale() || !prefix.Stale() || free.Stale() {
		t.Errorf("who waits for a key was woken: %v, for a prefix: %v, for another key: %v", one.Stale(), prefix.Stale(), free.Stale())
	}
	if keys, whole := followed.Take(); len(keys) != 1000 || whole {
		t.Errorf("who follows was told of %d keys, or of anything: %v", len(keys), whole)
	}
	one = watch(of("held/0000007"))
	s.must(&kv.Settle, &op.Empty{})
	s.must(&kv.Settle, &op.Empty{})
	if keys, whole := followed.Take(); one.Stale() || len(keys) > 0 || whole {
		t.Errorf("keys that nobody changed were told of: %v, %d, %v", one.Stale(), len(keys), whole)
	}
}
