package storage

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func cut(t testing.TB, s *State, prefix string) uint64 {
	t.Helper()
	return apply(t, s, func(tx *Txn) {
		if err := things.Cut(tx, []byte(prefix)); err != nil {
			t.Fatal(err)
		}
	})
}

// Who reads anything that a cut deletes, or anything that it would have deleted, is woken,
// and nobody else is.
func TestACutWakesWhoReadsBelowIt(t *testing.T) {
	s := openState(t, vfs.NewMem())
	put(t, s, things, "a/1", "red")
	put(t, s, things, "b", "blue")
	woken := []*watcher{watch(t, s, getter("a/1")), watch(t, s, scanner("")), watch(t, s, scanner("a")), watch(t, s, scanner("a/1")), watch(t, s, colored("red"))}
	others := []*watcher{watch(t, s, getter("a")), watch(t, s, scanner("b")), watch(t, s, colored("blue"))}
	cut(t, s, "a/")
	for _, w := range woken {
		w.returned(t)
	}
	for _, w := range others {
		if n := w.runs.Load(); n != 1 {
			t.Errorf("one that reads something else ran %d times", n)
		}
		w.stop(t)
	}
}

// Nobody can be told later which keys a cut has deleted, so a cut is something forgotten:
// for prefixes that it meets, of what is older.
func TestACutIsForgotten(t *testing.T) {
	fs := vfs.NewMem()
	s := openState(t, fs)
	c := s.Changes(100, things.SourceBelow([]byte("a/b")), things.SourceBelow([]byte("c")))
	defer c.Close()
	put(t, s, things, "a/b/1", "red")
	put(t, s, things, "c", "red")
	c.Take()
	at := cut(t, s, "a/")
	if keys, whole := c.Take(); !whole || len(keys) > 0 {
		t.Errorf("followers are told of %v, whole %v", keys, whole)
	}
	put(t, s, things, "a/b/2", "red")
	check := func() {
		t.Helper()
		v := s.View()
		defer v.Close()
		for _, c := range []struct {
			prefix string
			index  uint64
			want   bool
			newer  int
		}{{"", at - 1, false, 2}, {"a/b", at - 1, false, 2}, {"a/b/2", at - 1, false, 2}, {"a/b", at, true, 1}, {"c", at - 1, true, 0}} {
			ok, err := things.Remembers(v, []byte(c.prefix), c.index)
			if err != nil || ok != c.want {
				t.Errorf("remembers %q after %d: %v, %v", c.prefix, c.index, ok, err)
			}
			if n, err := things.CountNewer(v, []byte(c.prefix), c.index); err != nil || n != c.newer {
				t.Errorf("%d are newer below %q than %d, %v; want %d", n, c.prefix, c.index, err, c.newer)
			}
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openState(t, fs)
	check()
}

// A state that power is lost for has a cut with everything that it deletes, or neither.
func TestACutIsWholeAfterPowerLoss(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := openState(t, fs)
	for i := range 100 {
		put(t, s, things, fmt.Sprintf("a/%d", i), "red")
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	at := cut(t, s, "a/")
	seen := map[int]bool{}
	for _, synced := range []bool{false, true} {
		if synced {
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		after := openState(t, fs.CrashClone(vfs.CrashCloneCfg{}))
		v := after.View()
		n := 0
		for _, err := range things.Keys(v, []byte("a/")) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		want := at
		if n > 0 {
			want = 100
		}
		if n != 0 && n != 100 || v.Index() != want || after.Index() != want || synced && n != 0 {
			t.Errorf("%d keys are there at index %d of %d", n, v.Index(), after.Index())
		}
		seen[n] = true
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 2 {
		t.Errorf("nothing was lost: %v", seen)
	}
}
