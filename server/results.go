package server

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

// Bounds of what is kept: results, their bytes as encoded, and the size above
// which one is not kept.
const (
	maxKept      = 8192
	maxKeptBytes = 64 << 20
	maxKeptOne   = 4 << 20
)

// results keeps results of reads until something they were read from changes,
// so that many who ask the same cost one query. A kept result is dropped
// before the commit that changes it is acknowledged: who reads after a write
// sees it.
type results struct {
	state *storage.State

	mu    sync.Mutex
	slots *simplelru.LRU[string, *slot]
	bytes int
}

// slot is where the result of one request is, or is being computed.
type slot struct {
	mu     sync.Mutex // held while it is computed: the others wait for it
	last   atomic.Pointer[result]
	waited bool // somebody has waited for a change: guarded by mu
	size   int  // what results.bytes counts for it, -1 once it is dropped; guarded by results.mu
}

// content stands for what a result says: results that say the same share one.
// Only its address counts, so it must not be empty.
type content struct{ _ byte }

// result is immutable but for what is rendered from it. It is watched as long
// as somebody holds it: its slot, or who waits for it to change.
type result struct {
	watch    *storage.Watch // nil for one that was never shared
	value    any
	index    uint64
	content  *content
	rendered op.Rendered
	holders  atomic.Int32
}

// hold adds a holder, unless the last one has gone already.
func (r *result) hold() bool {
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

// release takes one holder away; the last one ends the watch.
func (r *result) release() {
	if r.watch != nil && r.holders.Add(-1) == 0 {
		r.watch.Close()
	}
}

func newResults(s *storage.State) (*results, error) {
	r := &results{state: s}
	slots, err := simplelru.NewLRU(maxKept, func(_ string, s *slot) { r.drop(s) })
	if err != nil {
		return nil, fmt.Errorf("make room for kept results: %w", err)
	}
	r.slots = slots
	return r, nil
}

// drop is called under r.mu for a slot that goes. Who waits for a change of
// its result goes on waiting.
func (r *results) drop(s *slot) {
	r.bytes -= s.size
	s.size = -1
	if last := s.last.Swap(nil); last != nil {
		last.release()
	}
}

// get returns the current result of the request; release it after use. Who waits
// for it to change is told by its content whether it did: rows that were read and
// left out, as those of a failing instance, raise the index alone.
func (r *results) get(o op.Queryable, request any, key string, waits bool) (*result, error) {
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
	if last != nil && !last.watch.Stale() && last.hold() {
		return last, nil
	}
	res := &result{content: &content{}}
	res.holders.Store(1)
	var err error
	res.watch, err = r.state.Watch(func(v *storage.View) error {
		var err error
		res.value, err = o.Run(v, request)
		res.index = v.Index()
		return err
	})
	if err != nil {
		return nil, err
	}
	if last != nil && s.waited && o.Sharable() && reflect.DeepEqual(last.value, res.value) {
		res.content = last.content
	}
	r.keep(s, res)
	return res, nil
}

// keep puts a new result in its slot and makes room, unless it is too large or
// the slot was dropped meanwhile.
func (r *results) keep(s *slot, res *result) {
	size := 0
	if m, ok := res.value.(msgp.Sizer); ok {
		size = m.Msgsize()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.size < 0 || size > maxKeptOne {
		return
	}
	res.holders.Add(1)
	if old := s.last.Swap(res); old != nil {
		old.release()
	}
	r.bytes += size - s.size
	s.size = size
	for r.bytes > maxKeptBytes && r.slots.Len() > 1 {
		r.slots.RemoveOldest()
	}
}
