package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/legate-project/legate/storage/progress"
	"github.com/legate-project/legate/storage/staging"
)

// entries are a log with a restore in it, one that was given up before, and other
// commands between. Each entry moves the position by one.
func entries(rows []Row) []func(tx *Txn) error {
	written := func(key string) func(tx *Txn) error {
		return func(tx *Txn) error { return things.Put(tx, []byte(key), &record{Key: key}) }
	}
	part := func(id string, n int) func(tx *Txn) error {
		return func(tx *Txn) error { return tx.Stage(id, uint64(n), rows[2*n:min(2*n+2, len(rows))]) }
	}
	log := []func(tx *Txn) error{written("old"),
		func(tx *Txn) error { return tx.BeginStaging("given up") }, part("given up", 0), part("given up", 1),
		func(tx *Txn) error { return tx.BeginStaging("a") }}
	for n := 0; 2*n < len(rows); n++ {
		log = append(log, part("a", n), written(fmt.Sprint("between", n)))
	}
	return append(log, func(tx *Txn) error { return tx.Adopt("a", uint64(len(rows)), 100) }, written("new"),
		func(tx *Txn) error { return tx.BeginStaging("next") }, part("next", 0))
}

// replay applies what follows the state's position, together entries at a time.
func replay(s *State, log []func(tx *Txn) error, together int) error {
	for at := int(s.Position().Index); at < len(log); {
		tx := s.Begin()
		for n := 0; n < together && at < len(log); n++ {
			tx.Next()
			if err := log[at](tx); err != nil {
				tx.Discard()
				return fmt.Errorf("entry %d: %w", at, err)
			}
			at++
		}
		tx.SetPosition(Position{Index: uint64(at), Term: 1})
		if err := tx.Commit(); err != nil {
			return err
		}
		if at%2 == 0 { // the state is made durable now and then
			if err := s.Sync(); err != nil {
				return err
			}
		}
	}
	return nil
}

// A power loss at any moment of a restore: whatever the disk has kept, replaying what
// follows ends in the same state.
func TestPowerLossDuringARestore(t *testing.T) {
	log := entries(source(t))
	plain := openState(t, vfs.NewMem())
	if err := replay(plain, log, 1); err != nil {
		t.Fatal(err)
	}
	want := dump(t, plain)
	for _, together := range []int{1, 3, len(log)} {
		mem := vfs.NewCrashableMem()
		var mu sync.Mutex
		var crashes []vfs.FS
		seen := 0
		rng := rand.New(rand.NewPCG(1, uint64(together)))
		fs := errorfs.Wrap(lockApart{mem, &mu}, errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpRename, errorfs.OpRemoveAll, errorfs.OpLink, errorfs.OpCreate:
				mu.Lock()
				defer mu.Unlock()
				if seen++; seen%4 != 0 { // of all, as many as take seconds
					break
				}
				for _, percent := range []int{0, 60} {
					crashes = append(crashes, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
				}
			}
			return nil
		}))
		s := openState(t, fs)
		if err := replay(s, log, together); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		all := crashes
		mu.Unlock()
		began := map[uint64]bool{}
		for i, fs := range all {
			s, err := OpenState(Options{Dir: "state", FS: fs})
			if err != nil {
				t.Fatalf("crash %d: %v", i, err)
			}
			began[s.Position().Index] = true
			if err := replay(s, log, 1+i%4); err != nil {
				t.Errorf("crash %d: %v", i, err)
			}
			if got := dump(t, s); got != want {
				t.Errorf("crash %d: %s, want %s", i, got, want)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if together == 1 && len(began) < len(log)/3 {
			t.Errorf("%d crashes came at %d positions of %d", len(all), len(began), len(log))
		}
	}
}

// A follower that gets the state in the middle of a restore has what is staged, and goes on;
// so does who already had something of its own staged.
func TestAStateThatIsSentHasWhatIsStaged(t *testing.T) {
	rows := source(t)
	log := entries(rows)
	middle := len(log) - 6
	fs := vfs.NewMem()
	from, err := OpenState(Options{Dir: "from", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to := openState(t, fs)
	if err := errors.Join(replay(from, log[:middle], 1), replay(to, log[:4], 1)); err != nil {
		t.Fatal(err)
	}
	dir := to.Scratch("receive")
	p, err := from.Checkpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Replace(dir, p); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(replay(from, log, 1), replay(to, log, 1)); err != nil {
		t.Fatal(err)
	}
	if got, want := dump(t, to), dump(t, from); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := exported(t, to); len(got) != len(rows)+4 { // and the new record with its letters
		t.Errorf("%d rows", len(got))
	}
}

// What an older version has staged beside the tables is gone on with.
func TestRowsStagedBesideTheTablesAreGoneOnWith(t *testing.T) {
	rows := source(t)
	fs := vfs.NewMem()
	s, err := OpenState(Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, things, "old", "")
	p := progress.Progress{Parts: 1, Rows: 3, ID: []byte("a")}
	b := s.current.Load().DB.NewBatch()
	for _, r := range rows[:3] {
		if err := b.Set(append([]byte{staging.Space}, r.Key...), r.Value, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(b.Set([]byte{staging.Space}, p.Encode(), nil), b.Commit(pebble.Sync), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = openState(t, fs)
	for n, r := range rows[3:] {
		apply(t, s, func(tx *Txn) {
			if err := tx.Stage("a", uint64(n+1), []Row{r}); err != nil {
				t.Error(err)
			}
		})
	}
	adopt(t, s, "a", len(rows), 0)
	if got := exported(t, s); fmt.Sprint(got) != fmt.Sprint(rows) {
		t.Errorf("%d rows, want %d", len(got), len(rows))
	}
}

// An instance of staged rows that is gone from the disk is not adopted as if it were whole.
func TestStagedRowsThatAreLostAreNotAdopted(t *testing.T) {
	rows := source(t)
	fs := vfs.NewMem()
	s, err := OpenState(Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	stage(t, s, "a", rows)
	name := s.staged.name
	if err := errors.Join(s.Sync(), s.Close(), fs.RemoveAll("state/"+name)); err != nil {
		t.Fatal(err)
	}
	s = openState(t, fs)
	tx := s.Begin()
	defer tx.Discard()
	tx.Next()
	if err := tx.Adopt("a", uint64(len(rows)), 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("adopting what is not there: %v", err)
	}
}

// A version that has other derived indexes has them of what another has staged.
func TestDerivedIndexesOfWhatAnotherVersionStaged(t *testing.T) {
	rows := source(t)
	fs := vfs.NewMem()
	s := openWith(t, fs)
	stage(t, s, "a", rows)
	closed(t, s)
	table, _, byEnd := derivedThings()
	s = openWith(t, fs, table)
	adopt(t, s, "a", len(rows), 0)
	if keys, _ := found(t, s, byEnd, "y"); fmt.Sprint(keys) != "[y]" {
		t.Errorf("found %v", keys)
	}
}
