package storage

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// maxTouched is how many keys and prefixes one query may wait for one by one.
// Beyond, it waits for whole tables and indexes: woken too often, never too
// seldom. A health query of a service with 500 instances touches about 1,000.
const maxTouched = 2048

// MaxWaiters bounds the queries that wait at once. Each costs some kilobytes
// and a goroutine.
const MaxWaiters = 250_000

// recorder notes what a query touched.
type recorder struct {
	keys     map[string]struct{}
	prefixes map[string]struct{}
	coarse   bool
}

func newRecorder() *recorder {
	return &recorder{keys: map[string]struct{}{}, prefixes: map[string]struct{}{}}
}

func (r *recorder) key(key []byte) {
	if r.coarse {
		r.prefixes[string(coarsen(key))] = struct{}{}
		return
	}
	r.keys[string(key)] = struct{}{}
	r.bound()
}

func (r *recorder) prefix(prefix []byte) {
	if r.coarse {
		prefix = coarsen(prefix)
	}
	r.prefixes[string(prefix)] = struct{}{}
	r.bound()
}

// bound falls back to whole tables and indexes: at most 256 and 65,536 exist.
func (r *recorder) bound() {
	if r.coarse || len(r.keys)+len(r.prefixes) <= maxTouched {
		return
	}
	r.coarse = true
	fine := r.prefixes
	r.prefixes = map[string]struct{}{}
	for key := range fine {
		r.prefixes[string(coarsen([]byte(key)))] = struct{}{}
	}
	for key := range r.keys {
		r.prefixes[string(coarsen([]byte(key)))] = struct{}{}
	}
	r.keys = map[string]struct{}{}
}

// coarsen cuts a key down to its table or index.
func coarsen(key []byte) []byte {
	n := 2
	if len(key) > 0 && (key[0] == spaceIndex || key[0] == spaceDerived) {
		n = indexHeader
	}
	return key[:min(n, len(key))]
}

// within says whether everything in r is also in o.
func (r *recorder) within(o *recorder) bool {
	if o == nil {
		return false
	}
	for k := range r.keys {
		if _, ok := o.keys[k]; !ok {
			return false
		}
	}
	for p := range r.prefixes {
		if _, ok := o.prefixes[p]; !ok {
			return false
		}
	}
	return true
}

// waiter is one query that waits.
type waiter struct {
	wake chan struct{} // capacity 1: a wake-up is not lost, and two count as one
	on   *recorder     // what it is registered for

	once bool        // the first wake-up closes wake: see Watch
	done atomic.Bool // it was closed
}

func (w *waiter) signal() {
	if w.once {
		if w.done.CompareAndSwap(false, true) {
			close(w.wake)
		}
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// waiters are those of one key or prefix.
type waiters map[*waiter]struct{}

// watches is the register of waiters. Its size is that of what is waited for,
// not of the key space.
type watches struct {
	mu       sync.Mutex
	sequence uint64 // raised by each commit, before it wakes
	closed   error
	all      waiters
	keys     map[string]waiters
	prefixes *iradix.Tree[waiters]

	followers map[*Changes]struct{}
}

func newWatches() *watches {
	return &watches{all: waiters{}, keys: map[string]waiters{}, prefixes: iradix.New[waiters]()}
}

func (ws *watches) count() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.all)
}

func (ws *watches) now() uint64 {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.sequence
}

// register makes w wait for what rec holds and returns the sequence: if that
// is not the one from before the query ran, the query may have missed a commit.
func (ws *watches) register(w *waiter, rec *recorder) (uint64, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed != nil {
		return 0, ws.closed
	}
	if _, ok := ws.all[w]; !ok && len(ws.all) >= MaxWaiters {
		return 0, ErrTooManyWaiters
	}
	ws.drop(w)
	w.on = rec
	ws.all[w] = struct{}{}
	for k := range rec.keys {
		set := ws.keys[k]
		if set == nil {
			set = waiters{}
			ws.keys[k] = set
		}
		set[w] = struct{}{}
	}
	for p := range rec.prefixes {
		set, ok := ws.prefixes.Get([]byte(p))
		if !ok {
			set = waiters{}
			ws.prefixes, _, _ = ws.prefixes.Insert([]byte(p), set)
		}
		set[w] = struct{}{}
	}
	return ws.sequence, nil
}

func (ws *watches) unregister(w *waiter) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.drop(w)
}

func (ws *watches) drop(w *waiter) {
	delete(ws.all, w)
	if w.on == nil {
		return
	}
	for k := range w.on.keys {
		set := ws.keys[k]
		if delete(set, w); len(set) == 0 {
			delete(ws.keys, k)
		}
	}
	for p := range w.on.prefixes {
		set, _ := ws.prefixes.Get([]byte(p))
		if delete(set, w); len(set) == 0 {
			ws.prefixes, _, _ = ws.prefixes.Delete([]byte(p))
		}
	}
	w.on = nil
}

// committed wakes who waits for one of the written keys or for a prefix of
// one, or for anything below what was cut or above it, and returns how many. The rows, up to the index, are visible to new views already.
func (ws *watches) committed(written map[string]entry, cut []string, index uint64) int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.sequence++
	for c := range ws.followers {
		c.note(written, cut, index)
	}
	if len(ws.all) == 0 {
		return 0
	}
	woken := waiters{}
	collect := func(_ []byte, set waiters) bool {
		maps.Copy(woken, set)
		return false
	}
	root, anyPrefix := ws.prefixes.Root(), ws.prefixes.Len() > 0
	for key, e := range written {
		if e.quiet {
			continue
		}
		maps.Copy(woken, ws.keys[key])
		if anyPrefix {
			root.WalkPath([]byte(key), collect)
		}
	}
	for _, prefix := range cut {
		root.WalkPath([]byte(prefix), collect)
		root.WalkPrefix([]byte(prefix), collect)
		for key, set := range ws.keys {
			if strings.HasPrefix(key, prefix) {
				maps.Copy(woken, set)
			}
		}
	}
	for w := range woken {
		w.signal()
	}
	return len(woken)
}

// everyone wakes all; with a reason, for good.
func (ws *watches) everyone(why error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.sequence++
	if why != nil {
		ws.closed = why
	}
	for w := range ws.all {
		w.signal()
	}
	for c := range ws.followers {
		c.all()
	}
}

// Block runs query until what it read is newer than minIndex, or until ctx
// ends: then the last run stands and the error is nil. An error of the query
// ends it. The query runs again only when something it read was written,
// deleted or replaced; it may run twice at the start, where a commit came
// between its reads and the wait.
func (s *State) Block(ctx context.Context, minIndex uint64, query func(*View) error) error {
	w := &waiter{wake: make(chan struct{}, 1)}
	defer s.watches.unregister(w)
	for {
		before := s.watches.now()
		rec, newer, err := s.record(minIndex, query)
		if err != nil || newer {
			return err
		}
		if !rec.within(w.on) {
			after, err := s.watches.register(w, rec)
			if err != nil {
				return fmt.Errorf("wait for a change: %w", err)
			}
			if after != before {
				continue
			}
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// Watch says whether anything that a query read has changed since.
type Watch struct {
	s *State
	w waiter
}

// watchTries is how often a query is run for a Watch at most: the second run reads
// what is watched already, unless what it reads has changed.
const watchTries = 3

// Watch runs a query and watches over what it read. It may run again, where a
// commit came between its reads and the watch; the last run counts. Close the
// Watch; it counts among MaxWaiters.
func (s *State) Watch(query func(*View) error) (*Watch, error) {
	watch := &Watch{s: s, w: waiter{wake: make(chan struct{}), once: true}}
	for try := 1; ; try++ {
		before := s.watches.now()
		rec, _, err := s.record(^uint64(0), query)
		if err != nil {
			watch.Close()
			return nil, err
		}
		if rec.within(watch.w.on) { // watched since before this run
			return watch, nil
		}
		after, err := s.watches.register(&watch.w, rec)
		if err != nil {
			watch.Close()
			return nil, fmt.Errorf("watch for a change: %w", err)
		}
		if after == before {
			return watch, nil
		}
		if try == watchTries { // a commit came between: it may have been one of ours
			watch.Close()
			return watch, nil
		}
	}
}

// Changed is closed when something that the query read was written, deleted or
// replaced, before the commit returns; and by Close.
func (w *Watch) Changed() <-chan struct{} { return w.w.wake }

// Stale reports whether Changed is closed.
func (w *Watch) Stale() bool { return w.w.done.Load() }

// Close ends the watch.
func (w *Watch) Close() {
	w.s.watches.unregister(&w.w)
	w.w.signal()
}

// record runs the query once and says what it touched.
func (s *State) record(minIndex uint64, query func(*View) error) (rec *recorder, newer bool, err error) {
	v := s.View()
	defer func() {
		if e := v.Close(); err == nil {
			err = e
		}
	}()
	v.rec = newRecorder()
	if err := query(v); err != nil {
		return nil, false, err
	}
	return v.rec, v.Index() > minIndex, nil
}
