// Package wake wakes who waits for rows of a state when they change, and tells who follows
// tables which keys have changed.
//
// It knows rows by their keys alone. It promises that nobody misses a commit; some are woken
// for nothing.
package wake

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// ErrTooMany is returned where MaxWaiters wait.
var ErrTooMany = errors.New("storage: too many blocking queries")

// MaxTouched is how many keys and prefixes one query may wait for one by one.
// Beyond, it waits for whole tables and indexes: woken too often, never too
// seldom. A health query of a service with 500 instances touches about 1,000.
const MaxTouched = 2048

// MaxWaiters bounds the queries that wait at once. Each costs some kilobytes
// and a goroutine.
const MaxWaiters = 250_000

// Recorder notes what a query touched.
type Recorder struct {
	keys     map[string]struct{}
	prefixes map[string]struct{}
	coarse   bool
	coarsen  func(key []byte) []byte
}

// NewRecorder returns an empty Recorder. coarsen cuts a key down to its table or index.
func NewRecorder(coarsen func(key []byte) []byte) *Recorder {
	return &Recorder{keys: map[string]struct{}{}, prefixes: map[string]struct{}{}, coarsen: coarsen}
}

// Key notes a key.
func (r *Recorder) Key(key []byte) {
	if r.coarse {
		r.prefixes[string(r.coarsen(key))] = struct{}{}
		return
	}
	r.keys[string(key)] = struct{}{}
	r.bound()
}

// Prefix notes a prefix.
func (r *Recorder) Prefix(prefix []byte) {
	if r.coarse {
		prefix = r.coarsen(prefix)
	}
	r.prefixes[string(prefix)] = struct{}{}
	r.bound()
}

// bound falls back to whole tables and indexes: at most 256 and 65,536 exist.
func (r *Recorder) bound() {
	if r.coarse || len(r.keys)+len(r.prefixes) <= MaxTouched {
		return
	}
	r.coarse = true
	fine := r.prefixes
	r.prefixes = map[string]struct{}{}
	for key := range fine {
		r.prefixes[string(r.coarsen([]byte(key)))] = struct{}{}
	}
	for key := range r.keys {
		r.prefixes[string(r.coarsen([]byte(key)))] = struct{}{}
	}
	r.keys = map[string]struct{}{}
}

// Within says whether everything in r is also in o.
func (r *Recorder) Within(o *Recorder) bool {
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

// Waiter is one query that waits.
type Waiter struct {
	wake chan struct{} // capacity 1: a wake-up is not lost, and two count as one
	on   *Recorder     // what it is registered for

	once bool        // the first wake-up closes wake
	done atomic.Bool // it was closed
}

// NewWaiter returns a Waiter; with once for one that is woken once, for good.
func NewWaiter(once bool) *Waiter {
	if once {
		return &Waiter{wake: make(chan struct{}), once: true}
	}
	return &Waiter{wake: make(chan struct{}, 1)}
}

// Wake receives for each wake-up, or is closed by the one.
func (w *Waiter) Wake() <-chan struct{} { return w.wake }

// On is what it is registered for; nil for nothing.
func (w *Waiter) On() *Recorder { return w.on }

// Woken reports whether one that is woken once was.
func (w *Waiter) Woken() bool { return w.done.Load() }

// Signal wakes it.
func (w *Waiter) Signal() {
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
type waiters map[*Waiter]struct{}

// Register is the register of waiters. Its size is that of what is waited for,
// not of the key space.
type Register struct {
	mu       sync.Mutex
	sequence uint64 // raised by each commit, before it wakes
	closed   error
	all      waiters
	keys     map[string]waiters
	prefixes *iradix.Tree[waiters]

	followers map[*Changes]struct{}
}

// NewRegister returns an empty Register.
func NewRegister() *Register {
	return &Register{all: waiters{}, keys: map[string]waiters{}, prefixes: iradix.New[waiters]()}
}

// Count returns how many wait, and how many keys and prefixes they wait for.
func (ws *Register) Count() (waiting, watched int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.all), len(ws.keys) + ws.prefixes.Len()
}

// Now is the sequence of the last commit.
func (ws *Register) Now() uint64 {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.sequence
}

// Register makes w wait for what rec holds and returns the sequence: if that
// is not the one from before the query ran, the query may have missed a commit.
func (ws *Register) Register(w *Waiter, rec *Recorder) (uint64, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed != nil {
		return 0, ws.closed
	}
	if _, ok := ws.all[w]; !ok && len(ws.all) >= MaxWaiters {
		return 0, ErrTooMany
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

func (ws *Register) Unregister(w *Waiter) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.drop(w)
}

func (ws *Register) drop(w *Waiter) {
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

// Committed wakes who waits for one of the written keys or for a prefix of
// one, or for anything below what was cut or above it, and returns how many. The rows, up to the index, are visible to new views already.
func (ws *Register) Committed(t Told) int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.sequence++
	for c := range ws.followers {
		c.note(t)
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
	for key := range t.Keys {
		maps.Copy(woken, ws.keys[key])
		if anyPrefix {
			root.WalkPath([]byte(key), collect)
		}
	}
	for _, prefix := range t.Cut {
		root.WalkPath([]byte(prefix), collect)
		root.WalkPrefix([]byte(prefix), collect)
		for key, set := range ws.keys {
			if strings.HasPrefix(key, prefix) {
				maps.Copy(woken, set)
			}
		}
	}
	for w := range woken {
		w.Signal()
	}
	return len(woken)
}

// Everyone wakes all; with a reason, for good.
func (ws *Register) Everyone(why error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.sequence++
	if why != nil {
		ws.closed = why
	}
	for w := range ws.all {
		w.Signal()
	}
	for c := range ws.followers {
		c.all()
	}
}
