package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/legate-project/legate/storage/progress"
)

// exported returns copies of all rows.
func exported(t testing.TB, s *State) []Row {
	t.Helper()
	v := s.View()
	defer v.Close()
	var rows []Row
	for r, err := range v.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, Row{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
	}
	return rows
}

// source is a state to take over: three records, one deleted.
func source(t testing.TB) []Row {
	t.Helper()
	s := openState(t, vfs.NewMem())
	for _, key := range []string{"x", "y", "z", "gone"} {
		put(t, s, things, key, "red")
	}
	remove(t, s, things, "gone")
	return exported(t, s)
}

func stage(t testing.TB, s *State, id string, rows []Row) {
	t.Helper()
	apply(t, s, func(tx *Txn) {
		if err := tx.BeginStaging(id); err != nil {
			t.Fatal(err)
		}
	})
	order := make([]int, len(rows)) // several parts are on their way at a time
	for i := range order {
		order[i] = i ^ 1
		if order[i] >= len(rows) {
			order[i] = i
		}
	}
	for _, i := range order {
		apply(t, s, func(tx *Txn) {
			if err := tx.Stage(id, uint64(i), rows[i:i+1]); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func adopt(t testing.TB, s *State, id string, rows int, atLeast uint64) {
	t.Helper()
	apply(t, s, func(tx *Txn) {
		if err := tx.Adopt(id, uint64(rows), atLeast); err != nil {
			t.Fatal(err)
		}
		tx.SetPosition(Position{Index: 77, Term: 3})
	})
}

func TestAdoptedStateIsTheStagedOne(t *testing.T) {
	fs := vfs.NewMem()
	s := openState(t, fs)
	put(t, s, things, "old", "blue")
	rows := source(t)
	stage(t, s, "a", rows)
	if got := exported(t, s); len(got) != 5 { // the record, its color and its three letters
		t.Errorf("before the adoption there are %d rows", len(got))
	}
	adopt(t, s, "a", len(rows), 1000)
	if got := exported(t, s); fmt.Sprint(got) != fmt.Sprint(rows) {
		t.Errorf("%d rows, want %d", len(got), len(rows))
	}
	if s.Index() != 1001 || s.Position().Index != 77 {
		t.Errorf("index %d, position %d", s.Index(), s.Position().Index)
	}
	v := s.View()
	defer v.Close()
	if got, err := things.Get(v, []byte("old")); err != nil || got != nil || v.Index() != 1001 {
		t.Errorf("a key that is gone: %v %v, index %d", got, err, v.Index())
	}
	if n := put(t, s, things, "new", ""); n != 1002 {
		t.Errorf("the next command has index %d", n)
	}
}

func TestAdoptionSurvivesARestart(t *testing.T) {
	fs := vfs.NewMem()
	rows := source(t)
	s, err := OpenState(Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	stage(t, s, "a", rows)
	adopt(t, s, "a", len(rows), 0)
	index := s.Index()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openState(t, fs)
	v := s.View()
	defer v.Close()
	if got := exported(t, s); len(got) != len(rows) || s.Index() != index || v.Index() != index {
		t.Errorf("%d rows, index %d, view %d, want %d", len(got), s.Index(), v.Index(), index)
	}
}

func TestAdoptionWakesEverybody(t *testing.T) {
	s := openState(t, vfs.NewMem())
	put(t, s, things, "old", "")
	gone := watch(t, s, getter("old"))
	never := watch(t, s, getter("nothing"))
	kept, err := s.Watch(getter("nothing"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	rows := source(t)
	stage(t, s, "a", rows)
	if kept.Stale() {
		t.Error("staging wakes")
	}
	adopt(t, s, "a", len(rows), 0)
	gone.returned(t)
	never.returned(t)
	if !kept.Stale() {
		t.Error("a kept result outlives the adoption")
	}
}

func TestStagingRefusesWhatDoesNotContinue(t *testing.T) {
	s := openState(t, vfs.NewMem())
	rows := source(t)
	stage(t, s, "a", rows[:2])
	for name, command := range map[string]func(tx *Txn) error{
		"another ID": func(tx *Txn) error { return tx.Stage("b", 2, rows[2:3]) },
		"a part left out": func(tx *Txn) error {
			return errors.Join(tx.Stage("a", 3, rows[2:3]), tx.Adopt("a", 3, 0))
		},
		"a part too early": func(tx *Txn) error { return tx.Stage("a", 3+progress.MaxAhead, rows[2:3]) },
		"a part again, early": func(tx *Txn) error {
			return errors.Join(tx.Stage("a", 4, rows[2:3]), tx.Stage("a", 4, rows[3:4]))
		},
		"a part again": func(tx *Txn) error { return tx.Stage("a", 1, rows[1:2]) },
		"a key again": func(tx *Txn) error {
			return errors.Join(tx.Stage("a", 2, rows[1:2]), tx.Adopt("a", 3, 0))
		},
		"keys not in order": func(tx *Txn) error { return tx.Stage("a", 2, []Row{rows[3], rows[2]}) },
		"no row":            func(tx *Txn) error { return tx.Stage("a", 2, []Row{{Key: []byte("m")}}) },
		"the position":      func(tx *Txn) error { return tx.Stage("a", 2, []Row{{Key: metaKey(), Value: rows[0].Value}}) },
		"fewer rows":        func(tx *Txn) error { return tx.Adopt("a", 3, 0) },
		"adopting another":  func(tx *Txn) error { return tx.Adopt("b", 2, 0) },
	} {
		tx := s.Begin()
		tx.Next()
		if err := command(tx); !errors.Is(err, ErrStaging) {
			t.Errorf("%s: %v", name, err)
		}
		tx.Rollback()
		tx.Discard()
	}
	// A new beginning leaves nothing of the first.
	stage(t, s, "b", rows[2:])
	adopt(t, s, "b", len(rows)-2, 0)
	if got := exported(t, s); len(got) != len(rows)-2 {
		t.Errorf("%d rows", len(got))
	}
}

// A replay applies in one transaction what came in many.
func TestStagingAndAdoptionInOneTransaction(t *testing.T) {
	s := openState(t, vfs.NewMem())
	rows := source(t)
	stage(t, s, "left over", rows)
	tx := s.Begin()
	defer tx.Discard()
	for i := range 2 {
		tx.Next()
		if err := errors.Join(tx.BeginStaging("a"), tx.Stage("a", 0, rows[i:3])); err != nil {
			t.Fatal(err)
		}
	}
	tx.Next()
	if err := tx.Adopt("a", 2, 0); err != nil {
		t.Fatal(err)
	}
	tx.Next()
	if err := things.Put(tx, []byte("after"), &record{Key: "after"}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := exported(t, s); len(got) != 2+6 { // and the record with its five letters
		t.Errorf("%d rows", len(got))
	}
}

func TestDiscardedAdoptionLeavesTheOldState(t *testing.T) {
	s := openState(t, vfs.NewMem())
	put(t, s, things, "old", "blue")
	before := dump(t, s)
	tx := s.Begin()
	tx.Next()
	rows := source(t)
	if err := errors.Join(tx.BeginStaging("a"), tx.Stage("a", 0, rows), tx.Adopt("a", uint64(len(rows)), 0)); err != nil {
		t.Fatal(err)
	}
	tx.Discard()
	if got := dump(t, s); got != before {
		t.Errorf("%s, want %s", got, before)
	}
}

// A power loss at any sync leaves the old state or the new one, whole, at the
// position that goes with it.
func TestPowerLossDuringAdoption(t *testing.T) {
	rows := source(t)
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex
	var crashes []vfs.FS
	recording := false
	rng := rand.New(rand.NewPCG(1, 2))
	fs := errorfs.Wrap(lockApart{mem, &mu}, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpRename, errorfs.OpRemoveAll, errorfs.OpCreate:
			mu.Lock()
			defer mu.Unlock()
			if recording {
				for _, percent := range []int{0, 50, 100} {
					crashes = append(crashes, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
				}
			}
		}
		return nil
	}))
	s := openState(t, fs)
	put(t, s, things, "old", "blue")
	stage(t, s, "a", rows)
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(exported(t, s))
	mu.Lock()
	recording = true
	mu.Unlock()
	adopt(t, s, "a", len(rows), 0)
	mu.Lock()
	recording = false
	all := crashes
	mu.Unlock()
	found := map[string]int{}
	for i, fs := range all {
		s, err := OpenState(Options{Dir: "state", FS: fs})
		if err != nil {
			t.Fatalf("crash %d: %v", i, err)
		}
		switch got := fmt.Sprint(exported(t, s)); {
		case got == before && s.Position().Index == 0:
			found["old"]++
		case got == fmt.Sprint(rows) && s.Position().Index == 77:
			found["new"]++
		default:
			t.Errorf("crash %d: %d rows at position %d", i, len(exported(t, s)), s.Position().Index)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if found["old"] == 0 || found["new"] == 0 {
		t.Errorf("%d crashes: %v", len(all), found)
	}
}
