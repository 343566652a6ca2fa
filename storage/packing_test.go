package storage

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// onCreate is a file system that runs something once, before a file is created whose path
// has all of the parts.
func onCreate(fs vfs.FS, run func(), parts ...string) vfs.FS {
	var once sync.Once
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		missing := func(part string) bool { return !strings.Contains(op.Path, part) }
		if op.Kind == errorfs.OpCreate && !slices.ContainsFunc(parts, missing) {
			once.Do(run)
		}
		return nil
	}))
}

// made is a command whose outcome depends on whether the record is there.
func made(key string) func(tx *Txn) error {
	return func(tx *Txn) error {
		was, err := things.Get(tx, []byte(key))
		if err != nil {
			return err
		}
		v := &record{Key: key, Data: []byte("made")}
		if was != nil {
			v.Data = []byte("was there")
		}
		return things.Put(tx, []byte(key), v)
	}
}

// A state that is sent in the middle of a restore is that of one moment, though the restore
// ends, and others write to what was restored, while it is made.
func TestARestoreThatEndsWhileTheStateIsSent(t *testing.T) {
	log := entries(source(t))
	middle := len(log) - 6
	remove := func(key string) func(tx *Txn) error {
		return func(tx *Txn) error {
			_, err := things.Delete(tx, []byte(key))
			return err
		}
	}
	log = append(log[:len(log)-2], made("after"), remove("x"), made("x"))
	mem := vfs.NewMem()
	var from *State
	var hooked error
	fs := onCreate(mem, func() { hooked = replay(from, log, 1) }, "tmp-pack")
	from, err := OpenState(Options{Dir: "from", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if err := replay(from, log[:middle], 1); err != nil {
		t.Fatal(err)
	}
	dir := from.Scratch("send")
	p, err := from.Checkpoint(dir)
	if err := errors.Join(err, hooked); err != nil {
		t.Fatal(err)
	}
	if at := from.Position().Index; p.Index != uint64(middle) || at != uint64(len(log)) {
		t.Fatalf("the state was sent at %d, and went on to %d of %d", p.Index, at, len(log))
	}
	to := openState(t, mem)
	if err := to.Replace(dir, p); err != nil {
		t.Fatal(err)
	}
	if err := replay(to, log, 1); err != nil {
		t.Fatal(err)
	}
	if got, want := dump(t, to), dump(t, from); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What another restore has staged is not sent with a state that was replaced meanwhile.
func TestARestoreThatBeginsWhileTheStateIsSent(t *testing.T) {
	log := entries(source(t))
	middle := len(log) - 6
	var s *State
	var hooked error
	fs := onCreate(vfs.NewMem(), func() { hooked = replay(s, log, 1) }, "state/db-1/", ".sst")
	s = openState(t, fs)
	if err := replay(s, log[:middle], 1); err != nil {
		t.Fatal(err)
	}
	_, err := s.Checkpoint(s.Scratch("send"))
	if hooked != nil || s.Position().Index != uint64(len(log)) {
		t.Fatalf("at %d: %v", s.Position().Index, hooked)
	}
	if !errors.Is(err, ErrReplaced) {
		t.Errorf("a checkpoint of a state that was replaced: %v", err)
	}
	if _, err := s.Checkpoint(s.Scratch("send")); err != nil {
		t.Errorf("another try: %v", err)
	}
}

// What is staged goes from the disk only when the state durably does not name it: of what a power
// loss brings back nothing is missing.
func TestPowerLossWhileWhatIsStagedIsRemoved(t *testing.T) {
	rows := source(t)
	for name, end := range map[string]func(tx *Txn) error{
		"dropped": func(tx *Txn) error { return tx.AbortStaging("a") },
		"another": func(tx *Txn) error { return tx.BeginStaging("b") },
	} {
		mem := vfs.NewCrashableMem()
		var mu sync.Mutex
		var crashes []vfs.FS
		fs := errorfs.Wrap(lockApart{mem, &mu}, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpRemoveAll && strings.HasPrefix(op.Path, "state/db-") {
				mu.Lock()
				defer mu.Unlock()
				crashes = append(crashes, mem.CrashClone(vfs.CrashCloneCfg{}))
			}
			return nil
		}))
		s, err := OpenState(Options{Dir: "state", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		stage(t, s, "a", rows)
		staged := s.staged.name
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		gone := s.staged.gone
		apply(t, s, func(tx *Txn) {
			if err := end(tx); err != nil {
				t.Fatal(err)
			}
		})
		<-gone
		closed(t, s)
		if len(crashes) == 0 {
			t.Fatalf("%s: nothing was removed", name)
		}
		for _, fs := range crashes {
			s := openState(t, fs)
			if s.staged != nil && s.staged.name == staged {
				t.Errorf("%s: the state names %s, which was being removed", name, staged)
			}
		}
	}
}

// A restore is begun anew where the rows of the one before are gone from the disk.
func TestARestoreAfterStagedRowsThatAreLost(t *testing.T) {
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
	apply(t, s, func(tx *Txn) {
		err := errors.Join(tx.AbortStaging("a"), tx.BeginStaging("b"), tx.Stage("b", 0, rows), tx.Adopt("b", uint64(len(rows)), 0))
		if err != nil {
			t.Fatal(err)
		}
	})
	if got := exported(t, s); len(got) != len(rows) {
		t.Errorf("%d rows, want %d", len(got), len(rows))
	}
}
