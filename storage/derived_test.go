package storage

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/storage/layout"
)

// The table of things as a version has it that finds them by the length of their
// data, too, and by the end of their keys.
func derivedThings() (table *Table[record, *record], bySize, byEnd *Index[record, *record]) {
	again := func(ix *Index[record, *record]) *Index[record, *record] {
		return NewIndex[record](ix.id, ix.name, ix.keys)
	}
	bySize = NewDerivedIndex[record](3, "size", func(r *record) [][]byte {
		return [][]byte{Key(fmt.Sprint(len(r.Data)))}
	})
	byEnd = NewDerivedIndex[record](4, "end", func(r *record) [][]byte {
		if len(r.Key) == 0 {
			return nil
		}
		return [][]byte{Key(r.Key[len(r.Key)-1:])}
	})
	return NewTable(1, "things", again(byColor), again(byLetter), bySize, byEnd), bySize, byEnd
}

func openWith(t *testing.T, fs vfs.FS, tables ...AnyTable) *State {
	t.Helper()
	s, err := OpenState(Options{Dir: "state", FS: fs}, tables...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func closed(t *testing.T, s *State) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// found lists what an index finds under a key, with the index of the view.
func found(t *testing.T, s *State, ix *Index[record, *record], key string) (keys []string, index uint64) {
	t.Helper()
	v := s.View()
	defer v.Close()
	for r, err := range ix.Scan(v, Key(key)) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, r.Key)
	}
	return keys, v.Index()
}

func wants(t *testing.T, s *State, ix *Index[record, *record], key string, index uint64, want ...string) {
	t.Helper()
	if got, at := found(t, s, ix, key); !slices.Equal(got, want) || at != index {
		t.Errorf("index %s has %q under %q at %d, want %q at %d", ix.name, got, key, at, want, index)
	}
}

func TestAnIndexThatIsAddedHasRowsOfWhatWasWrittenBefore(t *testing.T) {
	fs := vfs.NewMem()
	s := openState(t, fs)
	ab := put(t, s, things, "ab", "red")
	put(t, s, things, "cb", "blue")
	put(t, s, things, "gone", "")
	cb := put(t, s, things, "cb", "red")
	remove(t, s, things, "gone")
	closed(t, s)

	now, bySize, byEnd := derivedThings()
	s = openWith(t, fs, now)
	wants(t, s, bySize, "0", cb, "ab", "cb")
	wants(t, s, byEnd, "b", cb, "ab", "cb")
	wants(t, s, byEnd, "e", 0)
	if ab >= cb {
		t.Fatal("the index of a row says nothing here")
	}
	w, err := s.Watch(func(v *View) error {
		for _, err := range byEnd.Scan(v, Key("e")) {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	put(t, s, now, "be", "")
	select {
	case <-w.Changed():
	default:
		t.Error("who waits for a row of a derived index is not woken")
	}
	gone := remove(t, s, now, "be")
	wants(t, s, byEnd, "e", gone)
}

func TestAnOlderVersionInBetweenLeavesNoStaleIndexRows(t *testing.T) {
	fs := vfs.NewMem()
	now, _, byEnd := derivedThings()
	s := openWith(t, fs, now)
	put(t, s, now, "ab", "")
	put(t, s, now, "cb", "")
	closed(t, s)

	s = openState(t, fs) // as the older version has it
	remove(t, s, things, "ab")
	last := put(t, s, things, "xb", "")
	closed(t, s)

	s = openWith(t, fs, now)
	wants(t, s, byEnd, "b", last, "cb", "xb")
}

func TestDerivedRowsAreNotMadeAgainWithoutNeed(t *testing.T) {
	fs := vfs.NewMem()
	now, _, byEnd := derivedThings()
	s := openWith(t, fs, now)
	put(t, s, now, "ab", "")
	last := remove(t, s, now, "ab")
	closed(t, s)
	s = openWith(t, fs, now)
	wants(t, s, byEnd, "b", last) // the tombstone is still there
}

func TestAVersionWithAnotherDerivedIndexMakesAllAnew(t *testing.T) {
	fs := vfs.NewMem()
	now, _, byEnd := derivedThings()
	fewer := NewTable(1, "things", NewIndex[record](1, "color", byColor.keys), NewIndex[record](2, "letter", byLetter.keys),
		NewDerivedIndex[record](4, "end", byEnd.keys))
	s := openWith(t, fs, fewer)
	at := put(t, s, fewer, "ab", "")
	closed(t, s)
	s = openWith(t, fs, now)
	wants(t, s, byEnd, "b", at, "ab")
	bySize := now.indexes[2]
	wants(t, s, bySize, "0", at, "ab")
}

func TestDerivedRowsStayWithTheirState(t *testing.T) {
	now, _, byEnd := derivedThings()
	s := openWith(t, vfs.NewMem(), now)
	at := put(t, s, now, "ab", "red")
	rows := exported(t, s)
	for _, r := range rows {
		if r.Key[0] == layout.SpaceDerived {
			t.Errorf("exported: %q", r.Key)
		}
	}
	if err := checked(rows, things); err != nil {
		t.Errorf("a version without the indexes refuses the export: %v", err)
	}
	if err := checked(rows, now); err != nil {
		t.Errorf("a version with the indexes refuses the export: %v", err)
	}

	fs := vfs.NewMem()
	other := openWith(t, fs, now)
	put(t, other, now, "yb", "")
	stage(t, other, "a", rows)
	adopt(t, other, "a", len(rows), 0)
	wants(t, other, byEnd, "b", other.Index(), "ab")
	closed(t, other)
	other = openWith(t, fs, now)
	wants(t, other, byEnd, "b", other.Index(), "ab")
	if at == 0 {
		t.Fatal("nothing was written")
	}
}

func TestACheckpointOfAVersionWithoutTheIndexIsCompleted(t *testing.T) {
	fs := vfs.NewMem()
	s := openState(t, fs)
	at := put(t, s, things, "ab", "")
	dir := s.Scratch("test")
	p, err := s.Checkpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The same file system holds the state of a server with the indexes.
	now, _, byEnd := derivedThings()
	other, err := OpenState(Options{Dir: "other", FS: fs}, now)
	if err != nil {
		t.Fatal(err)
	}
	put(t, other, now, "yb", "")
	if err := other.Replace(dir, p); err != nil {
		t.Fatal(err)
	}
	wants(t, other, byEnd, "b", at, "ab")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	other, err = OpenState(Options{Dir: "other", FS: fs}, now)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, other, byEnd, "b", at, "ab")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
}

// A power loss while the rows are made: the next start makes them.
func TestDerivedRowsSurviveACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := openWith(t, fs, things)
	for i := range 100 {
		put(t, s, things, fmt.Sprintf("%db", i), "")
	}
	closed(t, s)
	now, _, byEnd := derivedThings()
	s = openWith(t, fs, now)
	put(t, s, now, "newb", "")
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	whole := errors.Join(s.Sync(), s.Close())
	if whole != nil {
		t.Fatal(whole)
	}
	for name, fs := range map[string]vfs.FS{"crash": after, "orderly": fs} {
		s := openWith(t, fs, now)
		got, _ := found(t, s, byEnd, "b")
		if want := map[string]int{"crash": 100, "orderly": 101}[name]; len(got) != want {
			t.Errorf("%s: %d are found, want %d", name, len(got), want)
		}
		closed(t, s)
	}
}
