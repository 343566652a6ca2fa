package state

import (
	"testing"

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
