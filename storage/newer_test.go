package storage

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// newer lists what is newer than an index below a prefix: deletions with a minus.
func newer(t *testing.T, s *State, prefix string, after uint64) (found []string) {
	t.Helper()
	v := s.View()
	defer v.Close()
	for n, err := range things.Newer(v, []byte(prefix), []byte(prefix), after) {
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%s@%d", n.Key, n.Index)
		if n.Record == nil {
			text = "-" + text
		} else if n.Record.Key != string(n.Key) {
			t.Errorf("the record of %s is that of %s", n.Key, n.Record.Key)
		}
		found = append(found, text)
	}
	if n, err := things.CountNewer(v, []byte(prefix), after); err != nil || n != len(found) {
		t.Errorf("counts %d, %v, and there are %d", n, err, len(found))
	}
	return found
}

func remembers(t *testing.T, s *State, index uint64) bool {
	t.Helper()
	v := s.View()
	defer v.Close()
	ok, err := things.Remembers(v, nil, index)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestWhatIsNewerThanAnIndexIsFoundWithItsDeletions(t *testing.T) {
	s := openState(t, vfs.NewMem())
	put(t, s, things, "a/1", "red")
	put(t, s, things, "a/2", "red")
	put(t, s, things, "b", "red")
	remove(t, s, things, "a/1")
	put(t, s, things, "a/3", "red")
	for after, want := range [][]string{{"-a/1@4", "a/2@2", "a/3@5"}, {"-a/1@4", "a/2@2", "a/3@5"}, {"-a/1@4", "a/3@5"}, {"-a/1@4", "a/3@5"}, {"a/3@5"}, nil} {
		if got := newer(t, s, "a/", uint64(after)); !slices.Equal(got, want) {
			t.Errorf("newer than %d: %v, want %v", after, got, want)
		}
	}
}

// What was deleted before tombstones were collected is not known any more, and the state
// says so: for ever, and only of that.
func TestAStateSaysUpToWhereItForgotDeletions(t *testing.T) {
	fs := vfs.NewMem()
	s := openState(t, fs)
	put(t, s, things, "a", "red")
	put(t, s, things, "b", "red")
	remove(t, s, things, "a") // 3
	put(t, s, things, "c", "red")
	remove(t, s, things, "b") // 5
	if !remembers(t, s, 0) {
		t.Error("nothing was collected, and it is said that deletions are forgotten")
	}
	collect := func(upTo uint64) {
		apply(t, s, func(tx *Txn) {
			if _, err := tx.CollectTombstones(upTo, 10); err != nil {
				t.Fatal(err)
			}
		})
	}
	collect(4)
	said := func() (all []bool) {
		for i := range uint64(7) {
			all = append(all, remembers(t, s, i))
		}
		return all
	}
	want := []bool{false, false, false, true, true, true, true}
	if got := said(); !slices.Equal(got, want) {
		t.Errorf("remembers %v, want %v", got, want)
	}
	collect(4) // nothing
	if got := said(); !slices.Equal(got, want) {
		t.Errorf("after collecting nothing it remembers %v, want %v", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openState(t, fs)
	if got := said(); !slices.Equal(got, want) {
		t.Errorf("opened again it remembers %v, want %v", got, want)
	}
	// A version that keeps no note has left the state.
	if err := s.current.Load().DB.Delete(collectedKey(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openState(t, fs)
	if index := s.Index(); remembers(t, s, index-1) || !remembers(t, s, index) {
		t.Error("what another version may have forgotten counts as remembered")
	}
}

func TestChangesBelowAPrefix(t *testing.T) {
	s := openState(t, vfs.NewMem())
	c := s.Changes(4, things.SourceBelow([]byte("a/")))
	defer c.Close()
	put(t, s, things, "b/1", "red")
	put(t, s, things, "a/1", "red")
	keys, whole := c.Take()
	if _, ok := keys[Changed{Source: 0, Key: "1"}]; !ok || len(keys) != 1 || whole {
		t.Errorf("took %v, whole %v", keys, whole)
	}
}

// A key that was not there can be told of as deleted.
func TestWhatWasNotThereIsBuried(t *testing.T) {
	s := openState(t, vfs.NewMem())
	put(t, s, things, "a", "red")
	c := s.Changes(4, things.Source())
	defer c.Close()
	apply(t, s, func(tx *Txn) {
		if was, err := things.Bury(tx, []byte("a")); err != nil || !was {
			t.Errorf("was there: %v, %v", was, err)
		}
		if was, err := things.Bury(tx, []byte("b")); err != nil || was {
			t.Errorf("was there: %v, %v", was, err)
		}
	})
	if got, want := newer(t, s, "", 1), []string{"-a@2", "-b@2"}; !slices.Equal(got, want) {
		t.Errorf("newer is %v, want %v", got, want)
	}
	if keys, _ := c.Take(); len(keys) != 2 {
		t.Errorf("told of %v", keys)
	}
	apply(t, s, func(tx *Txn) {
		if n, err := tx.CollectTombstones(2, 10); err != nil || n == 0 {
			t.Errorf("collected %d, %v", n, err)
		}
	})
	if got := newer(t, s, "", 1); len(got) > 0 {
		t.Errorf("after they were collected there is %v", got)
	}
}
