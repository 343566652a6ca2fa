// Package results keeps results of reads until something they were read from
// changes, so that many who ask the same cost one query, and tells who waits for
// one to change whether it says something else now.
//
// What it gives out is everything that the read found: what the caller may not
// see is taken out elsewhere. It answers for the state of this server, and does
// not ask whether that is the newest there is.
package results

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// Bounds of what is kept: results, their bytes as encoded, and the size above
// which one is not kept.
const (
	maxKept      = 8192
	maxKeptBytes = 64 << 20
	maxKeptOne   = 4 << 20
)

// Store keeps results. It is safe for concurrent use. A kept result is dropped
// before the commit that changes it is acknowledged: who reads after a write
// sees it.
type Store struct {
	state *storage.State

	mu    sync.Mutex
	slots *simplelru.LRU[string, *slot]
	bytes int
}

// slot is where the result of one request is, or is being computed.
type slot struct {
	mu     sync.Mutex // held while it is computed: the others wait for it
	last   atomic.Pointer[Result]
	waited bool // somebody has waited for a change: guarded by mu
	size   int  // what Store.bytes counts for it, -1 once it is dropped; guarded by Store.mu
}

// Result is immutable but for what is rendered from it. It is watched as long
// as somebody holds it: its slot, or who waits for it to change.
type Result struct {
	Watch    *storage.Watch // nil for one that was never shared
	Value    any
	Index    uint64
	content  *op.Content
	Rendered op.Rendered
	holders  atomic.Int32
	views    views
}

// hold adds a holder, unless the last one has gone already.
func (r *Result) hold() bool {
	for {
		n := r.holders.Load()
		if n == 0 {
			return false
		}
		if r.holders.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release takes one holder away; the last one ends the watch.
func (r *Result) Release() {
	if r.Watch != nil && r.holders.Add(-1) == 0 {
		r.Watch.Close()
	}
}

func New(s *storage.State) (*Store, error) {
	r := &Store{state: s}
	slots, err := simplelru.NewLRU(maxKept, func(_ string, s *slot) { r.drop(s) })
	if err != nil {
		return nil, fmt.Errorf("make room for kept results: %w", err)
	}
	r.slots = slots
	return r, nil
}

// drop is called under r.mu for a slot that goes. Who waits for a change of
// its result goes on waiting.
func (r *Store) drop(s *slot) {
	r.bytes -= s.size
	s.size = -1
	if last := s.last.Swap(nil); last != nil {
		last.Release()
	}
}

// Get returns the current result of the request; release it after use. Who waits
// for it to change is told by its content whether it did: rows that were read and
// left out, as those of a failing instance, raise the index alone.
func (r *Store) Get(o op.Queryable, request any, key string, waits bool) (*Result, error) {
	r.mu.Lock()
	s, ok := r.slots.Get(key)
	if !ok {
		s = &slot{}
		r.slots.Add(key, s)
	}
	r.mu.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.waited = s.waited || waits
	last := s.last.Load()
	if last != nil && !last.Watch.Stale() && last.hold() {
		return last, nil
	}
	res := &Result{}
	res.holders.Store(1)
	var err error
	res.Watch, err = r.state.Watch(func(v *storage.View) error {
		var err error
		res.Value, err = o.Run(v, request)
		res.Index = v.Index()
		return err
	})
	if err != nil {
		return nil, err
	}
	if last == nil {
		last = &Result{}
	}
	res.content = op.ContentOf(o, res.Value, s.waited, last.Value, last.content)
	if s.waited {
		res.views.before = last.views.all()
	}
	r.keep(s, res)
	return res, nil
}

// Once runs the read, or takes its kept result; release it after use.
func (r *Store) Once(o op.Queryable, call *op.Call) (*Result, error) {
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	if o.Sharable() {
		return r.Of(o, call, request)
	}
	v := r.state.View()
	value, err := o.Run(v, request)
	index := v.Index()
	return &Result{Value: value, Index: index}, errors.Join(err, v.Close())
}

// Of is the current result of the call, kept under what it asks.
func (r *Store) Of(o op.Queryable, call *op.Call, request any) (*Result, error) {
	body, err := call.Body()
	if err != nil {
		return nil, err
	}
	return r.Get(o, request, o.OpName()+"\x00"+string(body), call.Header.MinIndex > 0)
}

// Ends is what ends a wait besides a change and the caller's context. A wait is
// cheap: thousands wake together, so they share no context that each would have
// to be added to and taken from.
type Ends struct {
	Time  <-chan time.Time
	Reign <-chan struct{} // nil unless this server must lead
}

// Until returns the read's result when it is newer than the call's index and says
// something else, or when the wait ends. All who wait for the same wait for one
// result. What the caller has is known only if it is what was read at the call's
// index: who has an older index, perhaps of another server, is answered with
// whatever is newer. Something else is what the caller may see of it.
func (r *Store) Until(ctx context.Context, o op.Queryable, call *op.Call, a rules.Authorizer, end Ends) (*Result, error) {
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	waiting := op.Waiter{Index: call.Header.MinIndex}
	for {
		res, err := r.Of(o, call, request)
		if err != nil {
			return nil, err
		}
		if waiting.News(res.Index, res.Index > waiting.Index, res.For(o, a).content) {
			return res, nil
		}
		select {
		case <-res.Watch.Changed():
			res.Release()
		case <-ctx.Done():
			return res, nil
		case <-end.Time:
			return res, nil
		case <-end.Reign:
			return res, nil
		}
	}
}

// keep puts a new result in its slot and makes room, unless it is too large or
// the slot was dropped meanwhile.
func (r *Store) keep(s *slot, res *Result) {
	size := 0
	if m, ok := res.Value.(msgp.Sizer); ok {
		size = m.Msgsize()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.size < 0 || size > maxKeptOne {
		return
	}
	res.holders.Add(1)
	if old := s.last.Swap(res); old != nil {
		old.Release()
	}
	r.bytes += size - s.size
	s.size = size
	for r.bytes > maxKeptBytes && r.slots.Len() > 1 {
		r.slots.RemoveOldest()
	}
}
