package storage

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/storage/raftlog"
)

func TestViewsFinishOnTheStateTheyBeganOn(t *testing.T) {
	mem := vfs.NewMem()
	s := openState(t, mem)
	put(t, s, things, "a", "red")
	dir := s.Scratch("test")
	p, err := s.Checkpoint(dir)
	if err != nil || p.Index != 0 {
		t.Fatal(p, err)
	}
	put(t, s, things, "a", "blue")
	old := s.View()
	if v, err := things.Get(old, []byte("a")); err != nil || v.Color != "blue" {
		t.Fatal(v, err)
	}
	replaced := s.current.Load()
	want := Position{Index: 9, Term: 3, Configuration: []byte("c"), ConfigurationIndex: 4}
	if err := s.Replace(dir, want); err != nil {
		t.Fatal(err)
	}
	if v, err := byColor.table.Get(old, []byte("a")); err != nil || v.Color != "blue" {
		t.Errorf("the open view reads %v, %v", v, err)
	}
	if _, err := mem.Stat("state/db-1"); err != nil {
		t.Error("the old state went under an open view")
	}
	fresh := s.View()
	defer fresh.Close()
	if v, err := things.Get(fresh, []byte("a")); err != nil || v.Color != "red" {
		t.Errorf("a new view reads %v, %v", v, err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	<-replaced.gone
	if _, err := mem.Stat("state/db-1"); err == nil {
		t.Error("the old state is still there")
	}
	if got := s.Position(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("position %+v", got)
	}
	if s.Index() != 1 {
		t.Errorf("index %d, that of the checkpoint was 1", s.Index())
	}
}

func TestBrokenCheckpointDoesNotReplace(t *testing.T) {
	mem := vfs.NewMem()
	s := openState(t, mem)
	put(t, s, things, "a", "red")
	dir := s.Scratch("test")
	if err := mem.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Inspect(dir); err == nil {
		t.Error("an empty directory passes for a checkpoint")
	}
	if s.Err() != nil {
		t.Errorf("a bad checkpoint failed the state: %v", s.Err())
	}
	put(t, s, things, "b", "red")
}

func TestMarkIsOfItsGeneration(t *testing.T) {
	s := openState(t, vfs.NewMem())
	before := s.Generation()
	if err := s.Mark(before, Position{Index: 5, Term: 1}); err != nil || s.Marked().Index != 5 {
		t.Fatal(s.Marked(), err)
	}
	dir := s.Scratch("test")
	if p, err := s.Checkpoint(dir); err != nil || p.Index != 5 {
		t.Fatal(p, err)
	}
	if err := s.Replace(dir, Position{Index: 3, Term: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Mark(before, Position{Index: 8}); !errors.Is(err, ErrReplaced) {
		t.Errorf("got %v", err)
	}
	if s.Marked().Index != 0 {
		t.Errorf("the mark of the sender stands: %+v", s.Marked())
	}
}

func TestClosedStateSaysSo(t *testing.T) {
	s, err := OpenState(Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	tx := s.Begin()
	tx.Discard()
	if err := tx.Commit(); !errors.Is(err, ErrDone) {
		t.Errorf("commit after discard: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := things.Get(s.View(), []byte("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("get: %v", err)
	}
	late := s.Begin()
	if err := things.Put(late, []byte("a"), &record{}); !errors.Is(err, ErrClosed) {
		t.Errorf("put: %v", err)
	}
	if err := late.Commit(); !errors.Is(err, ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	if err := s.Sync(); !errors.Is(err, ErrClosed) {
		t.Errorf("sync: %v", err)
	}
}

func TestMetricsAreNamedWellAndUnregistered(t *testing.T) {
	reg, mem := prometheus.NewRegistry(), vfs.NewMem()
	for range 2 { // a second time in the same registry
		s, err := OpenState(Options{Dir: "state", FS: mem, Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		l, err := raftlog.Open(Options{Dir: "log", FS: mem, Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, things, "a", "")
		problems, err := testutil.GatherAndLint(reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
		if err := errors.Join(s.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
		if n, err := testutil.GatherAndCount(reg); err != nil || n != 0 {
			t.Errorf("%d series remain, %v", n, err)
		}
	}
}

func diskState(b *testing.B, rows int) *State {
	cache := pebble.NewCache(64 << 20)
	defer cache.Unref()
	s, err := OpenState(Options{Dir: b.TempDir(), Cache: cache})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	fill(b, s, 0, rows)
	return s
}

// fill writes rows of 512 bytes each.
func fill(t testing.TB, s *State, from, to int) {
	rng := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 512)
	for from < to {
		tx := s.Begin()
		for range 512 {
			for i := range data {
				data[i] = byte('a' + rng.IntN(26))
			}
			tx.Next()
			key := fmt.Appendf(nil, "key/%07d", from)
			if err := plain.Put(tx, key, &record{Key: string(key), Data: data}); err != nil {
				t.Fatal(err)
			}
			if from++; from == to {
				break
			}
		}
		tx.SetPosition(Position{Index: uint64(from), Term: 1})
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := diskState(b, 100_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		v := s.View()
		if r, err := plain.Get(v, fmt.Appendf(nil, "key/%07d", i*7919%100_000)); err != nil || r == nil {
			b.Fatal(r, err)
		}
		_ = v.Close()
	}
}

func BenchmarkCommit64(b *testing.B) {
	s := diskState(b, 0)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		fill(b, s, i, i+64)
		i += 64
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(i), "ns/put")
}

func TestGetAllocatesLittle(t *testing.T) {
	s := openState(t, vfs.NewMem())
	fill(t, s, 0, 1000)
	key := []byte("key/0000500")
	n := math.Inf(1)
	for range 10 { // what the engine does meanwhile is counted too
		n = min(n, testing.AllocsPerRun(50, func() {
			v := s.View()
			if r, err := plain.Get(v, key); err != nil || r == nil {
				t.Fatal(r, err)
			}
			_ = v.Close()
		}))
	}
	if n > 8 { // view, snapshot, record, its string and its bytes
		t.Errorf("%v allocations", n)
	}
	t.Logf("%v allocations", n)
}
