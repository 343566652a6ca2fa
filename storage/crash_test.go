package storage

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage/raftlog"
)

// facts is what was acknowledged at a moment.
type facts struct {
	first   uint64   // of the log; 0 when empty
	terms   []uint64 // of its entries
	vote    uint64
	lineage int // raised by Replace
	durable uint64
	marked  uint64
	applied uint64
}

func (f facts) last() uint64 {
	if f.first == 0 {
		return 0
	}
	return f.first + uint64(len(f.terms)) - 1
}

// crash is a file system after a power loss, with what it must hold: what was
// acknowledged, or that and the operation that was under way.
type crash struct {
	fs             vfs.FS
	acked, pending facts
}

// world runs operations against a log and a state on a file system that is
// copied, as after a power loss, at points where it syncs.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	mem     *vfs.MemFS
	fs      vfs.FS
	log     *raftlog.Log
	state   *State
	term    uint64
	history map[string]string // what the state holds, by lineage and position

	mu             sync.Mutex
	acked, pending facts
	crashes        []crash
}

// lockApart keeps MemFS.Lock and CrashClone apart: Lock takes the same read lock
// twice, and a clone that comes between waits for ever.
type lockApart struct {
	vfs.FS
	mu *sync.Mutex
}

func (fs lockApart) Lock(name string) (io.Closer, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.FS.Lock(name)
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, seed)), mem: vfs.NewCrashableMem(), history: map[string]string{}}
	cloneRNG := rand.New(rand.NewPCG(seed, 1))
	w.fs = errorfs.Wrap(lockApart{w.mem, &w.mu}, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpRename, errorfs.OpRemoveAll:
			w.mu.Lock()
			defer w.mu.Unlock()
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: cloneRNG.IntN(101), RNG: cloneRNG}
			w.crashes = append(w.crashes, crash{w.mem.CrashClone(cfg), w.acked, w.pending})
		}
		return nil
	}))
	w.open()
	w.note(0, 0)
	return w
}

// do runs one operation that turns the facts into next.
func (w *world) do(next facts, op func() error) {
	w.mu.Lock()
	w.pending = next
	w.mu.Unlock()
	if err := op(); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.acked = next
	w.mu.Unlock()
}

func lineageKey(lineage int, position uint64) string { return fmt.Sprint(lineage, "/", position) }

func dump(t *testing.T, s *State) string {
	v := s.View()
	defer v.Close()
	var rows []string
	for r, err := range things.Scan(v, nil) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r.Key+"="+string(r.Data))
	}
	for r, err := range byColor.Scan(v, Key("red")) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, "red:"+r.Key)
	}
	return fmt.Sprint(s.Index(), rows)
}

// note remembers what the state holds at a position.
func (w *world) note(lineage int, position uint64) {
	w.history[lineageKey(lineage, position)] = dump(w.t, w.state)
}

func (w *world) entry(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "%d/%d", index, term)}
}

func (w *world) append() {
	next := w.acked
	next.terms = slices.Clone(next.terms)
	if next.first == 0 {
		next.first = max(next.applied, 1)
	}
	var entries []*raft.Log
	for range 1 + w.rng.IntN(6) {
		entries = append(entries, w.entry(next.first+uint64(len(next.terms)), w.term))
		next.terms = append(next.terms, w.term)
	}
	w.do(next, func() error { return w.log.StoreLogs(entries) })
}

// cut removes the newest entries, as after a conflict, or the oldest.
func (w *world) cut() {
	next := w.acked
	if len(next.terms) < 2 {
		return
	}
	at := 1 + w.rng.IntN(len(next.terms)-1)
	low, high := next.first, next.first+uint64(at)-1
	if w.rng.IntN(2) == 0 {
		low, high = next.first+uint64(at), next.last()
		next.terms = slices.Clone(next.terms[:at])
		w.term++
	} else {
		next.first += uint64(at)
		next.terms = slices.Clone(next.terms[at:])
	}
	w.do(next, func() error { return w.log.DeleteRange(low, high) })
}

// commit writes to the state without syncing it.
func (w *world) commit() {
	next := w.acked
	next.applied++
	tx := w.state.Begin()
	tx.Next()
	key := fmt.Sprint("k", w.rng.IntN(8))
	var err error
	if w.rng.IntN(4) == 0 {
		_, err = things.Delete(tx, []byte(key))
	} else {
		color := []string{"red", "blue"}[w.rng.IntN(2)]
		err = things.Put(tx, []byte(key), &record{Key: key, Color: color, Data: fmt.Append(nil, next.applied)})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	tx.SetPosition(Position{Index: next.applied, Term: w.term})
	w.do(next, tx.Commit)
	w.note(next.lineage, next.applied)
}

func (w *world) mark() {
	next := w.acked
	next.durable = next.applied
	next.marked = next.applied + uint64(w.rng.IntN(3))
	w.do(next, func() error {
		return w.state.Mark(w.state.Generation(), Position{Index: next.marked, Term: w.term})
	})
}

func (w *world) sync() {
	next := w.acked
	next.durable = next.applied
	w.do(next, w.state.Sync)
}

func (w *world) vote() {
	next := w.acked
	next.vote++
	w.do(next, func() error { return w.log.SetUint64([]byte("CurrentTerm"), next.vote) })
}

// replace swaps in a checkpoint of itself under a new position: the content of
// the old position, told apart by its lineage.
func (w *world) replace() {
	dir := w.state.Scratch("test")
	if _, err := w.state.Checkpoint(dir); err != nil {
		w.t.Fatal(err)
	}
	next := w.acked
	next.lineage++
	next.applied += 1000
	next.durable, next.marked = next.applied, 0
	w.history[lineageKey(next.lineage, next.applied)] = dump(w.t, w.state)
	w.do(next, func() error { return w.state.Replace(dir, Position{Index: next.applied, Term: w.term}) })
}

// restart opens both again, which begins a new manifest in each.
func (w *world) restart() {
	w.do(w.acked, func() error {
		if err := errors.Join(w.state.Close(), w.log.Close()); err != nil {
			return err
		}
		w.open()
		return nil
	})
}

func (w *world) open() {
	var err error
	if w.log, err = raftlog.Open(Options{Dir: "data/log", FS: w.fs}); err != nil {
		w.t.Fatal(err)
	}
	if w.state, err = OpenState(Options{Dir: "data/state", FS: w.fs}); err != nil {
		w.t.Fatal(err)
	}
}

// check opens the copy and compares.
func (w *world) check(c crash) error {
	l, err := raftlog.Open(Options{Dir: "data/log", FS: c.fs})
	if err != nil {
		return err
	}
	s, err := OpenState(Options{Dir: "data/state", FS: c.fs})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	err = errors.Join(c.checkLog(l), w.checkState(c, s))
	if err == nil {
		err = c.goesOn(l, s)
	}
	return errors.Join(err, s.Close(), l.Close())
}

func (c crash) checkLog(l *raftlog.Log) error {
	first, last := bounds(l)
	vote, err := l.GetUint64([]byte("CurrentTerm"))
	if err != nil && !errors.Is(err, raftlog.ErrNotFound) {
		return err
	}
	if vote != c.acked.vote && vote != c.pending.vote {
		return fmt.Errorf("vote %d, want %d or %d", vote, c.acked.vote, c.pending.vote)
	}
	var terms []uint64
	for i := first; i != 0 && i <= last; i++ {
		var e raft.Log
		if err := l.GetLog(i, &e); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if string(e.Data) != fmt.Sprintf("%d/%d", i, e.Term) {
			return fmt.Errorf("entry %d of term %d holds %q", i, e.Term, e.Data)
		}
		terms = append(terms, e.Term)
	}
	same := func(f facts) bool { return first == f.first && slices.Equal(terms, f.terms) }
	if !same(c.acked) && !same(c.pending) {
		return fmt.Errorf("log from %d %v, want from %d %v or %d %v",
			first, terms, c.acked.first, c.acked.terms, c.pending.first, c.pending.terms)
	}
	return nil
}

func (w *world) checkState(c crash, s *State) error {
	got, position := dump(w.t, s), s.Position().Index
	for _, f := range []facts{c.acked, c.pending} {
		want, ok := w.history[lineageKey(f.lineage, position)]
		if ok && got == want && position >= f.durable && position <= f.applied && s.Marked().Index >= f.marked {
			return nil
		}
	}
	return fmt.Errorf("state at %d (marked %d) holds %s; acknowledged %+v, pending %+v",
		position, s.Marked().Index, got, c.acked, c.pending)
}

// goesOn writes once more to what was recovered.
func (c crash) goesOn(l *raftlog.Log, s *State) error {
	_, last := bounds(l)
	if err := l.StoreLog(&raft.Log{Index: last + 1, Term: 99}); err != nil {
		return err
	}
	tx := s.Begin()
	defer tx.Discard()
	tx.Next()
	return tx.Commit()
}

// Whatever of the unsynced data a power loss leaves, at whatever sync: the log
// holds what was acknowledged, the state a prefix of what was committed that
// includes what was synced, and a replacement happened wholly or not at all.
func TestPowerLossAtEverySync(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			ops := []func(){w.append, w.append, w.commit, w.commit, w.commit, w.cut, w.vote, w.mark, w.sync}
			w.term = 1
			for i := range 120 {
				switch i % 40 {
				case 19:
					w.restart()
				case 39:
					w.replace()
				default:
					ops[w.rng.IntN(len(ops))]()
				}
			}
			if err := errors.Join(w.state.Close(), w.log.Close()); err != nil {
				t.Fatal(err)
			}
			for i, c := range w.crashes {
				if err := w.check(c); err != nil {
					t.Fatalf("crash %d of %d: %v", i, len(w.crashes), err)
				}
			}
			t.Logf("%d crashes", len(w.crashes))
		})
	}
}

func TestLeftoversAreRemovedAtOpen(t *testing.T) {
	mem := vfs.NewMem()
	s, err := OpenState(Options{Dir: "state", FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, plain, "a", "")
	if _, err := s.Checkpoint(s.Scratch("test")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), mem.MkdirAll("state/db-77", 0o700)); err != nil {
		t.Fatal(err)
	}
	openState(t, mem)
	names, err := mem.List("state")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, "tmp-") || n == "db-77" {
			t.Errorf("left over: %s", n)
		}
	}
}

// A disk that fails to sync or is full: the write is not acknowledged, later
// ones are refused, and what was acknowledged is there after a repair.
func TestFailedDiskAcknowledgesNothing(t *testing.T) {
	kinds := map[string][]errorfs.OpKind{
		"sync": {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
		"full": {errorfs.OpFileWrite, errorfs.OpCreate, errorfs.OpFilePreallocate},
	}
	for name, broken := range kinds {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			var bad faulty
			fs := errorfs.Wrap(mem, bad.injector(broken))
			told := make(chan error, 2)
			l, err := raftlog.Open(Options{Dir: "log", FS: fs, OnFatal: func(err error) { told <- err }})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.StoreLog(&raft.Log{Index: 1, Term: 1, Data: []byte("kept")}); err != nil {
				t.Fatal(err)
			}
			bad.set(true)
			if err := l.StoreLog(&raft.Log{Index: 2, Term: 1}); !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
				t.Fatalf("append to a failed disk: %v", err)
			}
			bad.set(false)
			if err := l.SetUint64([]byte("vote"), 1); !errors.Is(err, ErrFailed) {
				t.Fatalf("vote after the failure: %v", err)
			}
			if last, _ := l.LastIndex(); last != 1 {
				t.Errorf("the last entry is %d", last)
			}
			if err := <-told; !errors.Is(err, errDisk) || len(told) != 0 {
				t.Errorf("OnFatal was told %v, then %d more", err, len(told))
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			again, err := raftlog.Open(Options{Dir: "log", FS: mem.CrashClone(vfs.CrashCloneCfg{})})
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			var e raft.Log
			if err := again.GetLog(1, &e); err != nil || string(e.Data) != "kept" {
				t.Errorf("after the repair: %q, %v", e.Data, err)
			}
		})
	}
}

// A flush that fails in the background would in the end stall every write.
func TestFailedFlushIsAFailure(t *testing.T) {
	var bad faulty
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".sst") {
			return bad.injector([]errorfs.OpKind{op.Kind}).MaybeError(op)
		}
		return nil
	}))
	s, err := OpenState(Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, plain, "a", "")
	bad.set(true)
	if _, err := s.Checkpoint(s.Scratch("test")); !errors.Is(err, errDisk) {
		t.Errorf("checkpoint: %v", err)
	}
	<-s.Failed()
	if err := s.Err(); !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
		t.Errorf("the reason is %v", err)
	}
	tx := s.Begin()
	if err := tx.Commit(); !errors.Is(err, ErrFailed) {
		t.Errorf("commit: %v", err)
	}
	_ = s.Close()
}

var errDisk = errors.New("injected")

// faulty switches errors on and off.
type faulty struct {
	mu sync.Mutex
	on bool
}

func (f *faulty) set(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

func (f *faulty) injector(kinds []errorfs.OpKind) errorfs.Injector {
	return errorfs.InjectorFunc(func(op errorfs.Op) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.on && slices.Contains(kinds, op.Kind) {
			return errDisk
		}
		return nil
	})
}
