package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/wake"
)

// watcher is a query that waits.
type watcher struct {
	s      *State
	cancel context.CancelFunc
	done   chan error
	runs   atomic.Int64
}

// watch starts Block with the index that the query has now, and returns when
// it waits.
func watch(t *testing.T, s *State, query func(*View) error) *watcher {
	t.Helper()
	v := s.View()
	if err := query(v); err != nil {
		t.Fatal(err)
	}
	newest := v.Index()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{s: s, cancel: cancel, done: make(chan error, 1)}
	waiting, _ := s.watches.Count()
	go func() {
		w.done <- s.Block(ctx, newest, func(v *View) error { w.runs.Add(1); return query(v) })
	}()
	eventually(t, "the query waits", func() bool { n, _ := s.watches.Count(); return n > waiting })
	return w
}

// returned waits until Block has.
func (w *watcher) returned(t *testing.T) {
	t.Helper()
	select {
	case err := <-w.done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it was not woken")
	}
}

func (w *watcher) stop(t *testing.T) {
	t.Helper()
	w.cancel()
	w.returned(t)
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func getter(key string) func(*View) error {
	return func(v *View) error { _, err := things.Get(v, []byte(key)); return err }
}

func scanner(prefix string) func(*View) error {
	return func(v *View) error {
		for _, err := range things.Scan(v, []byte(prefix)) {
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func colored(color string) func(*View) error {
	return func(v *View) error {
		for _, err := range byColor.Scan(v, Key(color)) {
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// A query wakes for what it read and for nothing else: not even its function
// runs again for a write elsewhere.
func TestWatchesAreExact(t *testing.T) {
	cases := []struct {
		name   string
		query  func(*View) error
		change func(t *testing.T, s *State)
		wakes  bool
	}{
		{"key written", getter("ab"), func(t *testing.T, s *State) { put(t, s, things, "ab", "red") }, true},
		{"key deleted", getter("ab"), func(t *testing.T, s *State) { remove(t, s, things, "ab") }, true},
		{"absent key written", getter("zz"), func(t *testing.T, s *State) { put(t, s, things, "zz", "") }, true},
		{"longer key written", getter("ab"), func(t *testing.T, s *State) { put(t, s, things, "abc", "red") }, false},
		{"same key of another table", getter("ab"), func(t *testing.T, s *State) { put(t, s, plain, "ab", "") }, false},
		{"row below prefix written", scanner("a"), func(t *testing.T, s *State) { put(t, s, things, "ax", "") }, true},
		{"row below prefix deleted", scanner("a"), func(t *testing.T, s *State) { remove(t, s, things, "ab") }, true},
		{"row beside prefix written", scanner("a"), func(t *testing.T, s *State) { put(t, s, things, "b", "red") }, false},
		{"row below an empty prefix", scanner("q"), func(t *testing.T, s *State) { put(t, s, things, "q1", "") }, true},
		{"indexed row rewritten", colored("red"), func(t *testing.T, s *State) { put(t, s, things, "ab", "red") }, true},
		{"row leaves the index", colored("red"), func(t *testing.T, s *State) { put(t, s, things, "ab", "blue") }, true},
		{"row enters the index", colored("red"), func(t *testing.T, s *State) { put(t, s, things, "b", "red") }, true},
		{"indexed row deleted", colored("red"), func(t *testing.T, s *State) { remove(t, s, things, "ab") }, true},
		{"row of another index key", colored("red"), func(t *testing.T, s *State) { put(t, s, things, "b", "blue") }, false},
		{"rolled back", getter("ab"), func(t *testing.T, s *State) {
			apply(t, s, func(tx *Txn) {
				if err := things.Put(tx, []byte("ab"), &record{Key: "ab"}); err != nil {
					t.Fatal(err)
				}
				tx.Rollback()
			})
		}, false},
		{"tombstone collected", getter("gone"), func(t *testing.T, s *State) {
			apply(t, s, func(tx *Txn) {
				if n, err := tx.CollectTombstones(tx.Index(), 100); err != nil || n == 0 {
					t.Fatal(n, err)
				}
			})
		}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := openState(t, vfs.NewMem())
			put(t, s, things, "ab", "red")
			put(t, s, things, "b", "blue")
			put(t, s, things, "gone", "")
			remove(t, s, things, "gone")
			w := watch(t, s, c.query)
			c.change(t, s) // a commit signals before it returns
			woken := testutil.ToFloat64(s.metrics.wakeups) == 1
			if woken != c.wakes {
				t.Errorf("woken: %v, want %v", woken, c.wakes)
			}
			if c.wakes {
				w.returned(t)
			} else {
				w.stop(t)
				if n := w.runs.Load(); n != 1 {
					t.Errorf("the query ran %d times", n)
				}
			}
			if n, watched := s.watches.Count(); n != 0 || watched != 0 {
				t.Errorf("%d waiters of %d are still registered", n, watched)
			}
		})
	}
}

func TestBlockReturnsAtOnceForSomethingNewer(t *testing.T) {
	s := openState(t, vfs.NewMem())
	index := put(t, s, things, "a", "")
	runs := 0
	err := s.Block(t.Context(), index-1, func(v *View) error { runs++; return getter("a")(v) })
	if err != nil || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
	failure := errors.New("query failed")
	if err := s.Block(t.Context(), index, func(*View) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Block(ctx, index, getter("a")); err != nil {
		t.Errorf("at its end: %v", err)
	}
}

func TestReplaceAndCloseWakeEveryone(t *testing.T) {
	s, err := OpenState(Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, things, "a", "")
	dir := s.Scratch("test")
	if _, err := s.Checkpoint(dir); err != nil {
		t.Fatal(err)
	}
	watchers := []*watcher{watch(t, s, getter("a")), watch(t, s, scanner("q")), watch(t, s, colored("red"))}
	if err := s.Replace(dir, Position{Index: 7, Term: 2}); err != nil {
		t.Fatal(err)
	}
	for i, w := range watchers {
		eventually(t, fmt.Sprint("query ", i, " runs again"), func() bool { return w.runs.Load() == 2 })
	}
	put(t, s, things, "a", "")
	watchers[0].returned(t) // it waits on the new state
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, w := range watchers[1:] {
		if err := <-w.done; !errors.Is(err, ErrClosed) {
			t.Errorf("query %d: %v", i+1, err)
		}
	}
}

func TestLargeQueriesWaitForTables(t *testing.T) {
	s := openState(t, vfs.NewMem())
	many := func(v *View) error {
		for i := range 2 * wake.MaxTouched {
			if _, err := things.Get(v, fmt.Appendf(nil, "k%06d", i)); err != nil {
				return err
			}
		}
		return nil
	}
	w := watch(t, s, many)
	if _, n := s.watches.Count(); n > wake.MaxTouched {
		t.Errorf("it waits for %d keys and prefixes", n)
	}
	put(t, s, plain, "k000001", "")
	if testutil.ToFloat64(s.metrics.wakeups) != 0 {
		t.Error("another table woke it")
	}
	put(t, s, things, fmt.Sprintf("k%06d", 2*wake.MaxTouched-1), "")
	w.returned(t)
}

// Many writers and waiters at once: whoever waits for a write sees it, however
// it falls between read and wait.
func TestNoWakeUpIsLost(t *testing.T) {
	s := openState(t, vfs.NewMem())
	const keys, rounds = 8, 150
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var seen [keys]chan uint64
	for k := range keys {
		seen[k] = make(chan uint64)
		query := []func(*View) error{getter(fmt.Sprint("k", k)), scanner(fmt.Sprint("k", k))}[k%2]
		wg.Go(func() {
			defer close(seen[k])
			for last := uint64(0); ctx.Err() == nil; {
				var index uint64
				err := s.Block(ctx, last, func(v *View) error { defer func() { index = v.Index() }(); return query(v) })
				if err != nil {
					t.Error(err)
					return
				}
				if index > last {
					last = index
					select {
					case seen[k] <- index:
					case <-ctx.Done():
					}
				}
			}
		})
	}
	var writers sync.WaitGroup
	for k := range keys {
		writers.Go(func() {
			for range rounds {
				index := put(t, s, things, fmt.Sprint("k", k), "")
				for got := uint64(0); got < index; {
					var ok bool
					if got, ok = <-seen[k]; !ok {
						t.Errorf("the write %d of k%d was not seen", index, k)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	cancel()
	wg.Wait()
}

// The cost of a commit is that of what it writes, not of who waits elsewhere.
func BenchmarkCommitWithWaiters(b *testing.B) {
	for _, n := range []int{0, 1, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := openState(b, vfs.NewMem())
			for i := range n {
				rec := wake.NewRecorder(coarsen)
				rec.Key(layout.AppendRowKey(nil, plain.id, fmt.Appendf(nil, "w%d", i)))
				if i%2 == 1 {
					rec.Prefix(layout.AppendRowKey(nil, plain.id, fmt.Appendf(nil, "w%d/", i)))
				}
				if _, err := s.watches.Register(wake.NewWaiter(false), rec); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				tx := s.Begin()
				tx.Next()
				if err := plain.Put(tx, fmt.Appendf(nil, "k%d", i%1000), &record{Key: "k"}); err != nil {
					b.Fatal(err)
				}
				if err := tx.Commit(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Commits elsewhere do not end a watch, even if each run of the query meets one:
// who waits for a change would else ask again and again for as long as they go on.
func TestWatchOutlivesCommitsElsewhere(t *testing.T) {
	s := openState(t, vfs.NewMem())
	put(t, s, things, "ab", "red")
	runs := 0
	w, err := s.Watch(func(v *View) error {
		if runs++; runs > 10 {
			t.Fatal("the query runs again and again")
		}
		if err := getter("ab")(v); err != nil {
			return err
		}
		put(t, s, things, fmt.Sprint("other", runs), "blue")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Stale() {
		t.Error("a commit elsewhere has ended the watch")
	}
	put(t, s, things, "ab", "green")
	if !w.Stale() {
		t.Error("a commit of what was read has not ended the watch")
	}
}

// A commit that comes while the query runs is in its result, or ends the watch.
func TestWatchMissesNothingWhileTheQueryRuns(t *testing.T) {
	s := openState(t, vfs.NewMem())
	put(t, s, things, "ab", "red")
	for _, key := range []string{"ab", "b"} { // read by every run, and by the second alone
		runs, seen := 0, ""
		w, err := s.Watch(func(v *View) error {
			runs++
			r, err := things.Get(v, []byte("ab"))
			if err != nil {
				return err
			}
			seen = r.Color
			if runs > 1 {
				err = getter("b")(v)
			}
			if runs < 3 {
				put(t, s, things, key, fmt.Sprint("color", runs))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		v := s.View()
		now, err := things.Get(v, []byte("ab"))
		if err := errors.Join(err, v.Close()); err != nil {
			t.Fatal(err)
		}
		if seen != now.Color && !w.Stale() {
			t.Errorf("%s: the query saw %s, it is %s, and the watch does not say so", key, seen, now.Color)
		}
		put(t, s, things, "b", "late")
		if !w.Stale() && runs > 1 {
			t.Errorf("%s: what the last run read has changed, and the watch does not say so", key)
		}
		w.Close()
	}
}
