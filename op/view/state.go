package view

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/op"
)

// view follows one result. What it holds is replaced whole by its goroutine and
// read by everybody.
type view struct {
	key  string
	call *op.Call // as it is subscribed to
	site *site
	end  context.CancelCauseFunc // with what those who wait get to know

	holders int          // who wait or follow; guarded by Views.mu
	used    atomic.Int64 // when somebody asked last, Unix nanoseconds
	weight  atomic.Int64 // what Views.bytes counts for it
	now     atomic.Pointer[state]
	waited  atomic.Bool // somebody has waited for a change

	mu      sync.Mutex
	changed chan struct{} // closed at the next change; nil while nobody watches

	// What follows is its goroutine's own.
	older    *op.Reply // a result older than the one held, as the source has it
	since    time.Time // when the source first had it
	tried    time.Time // when the last attempt began
	failures int       // attempts in a row
}

// held is one result with what was rendered from it.
type held struct {
	meta     op.Meta
	content  *op.Content
	result   any
	rendered op.Rendered
	weight   int64 // an estimate of its memory, in bytes
	empty    bool  // there is none, or a list without items
}

// waiter is one who waits for something else than it has from that index.
func (w *view) waiter(index uint64) op.Waiter {
	if index > 0 {
		w.waited.Store(true)
	}
	return op.Waiter{Index: index}
}

// news reports whether what is held is to be told to who waits.
func (h *held) news(w *op.Waiter) bool {
	return w.News(h.meta.Index, h.meta.Newer(w.Index), h.content)
}

// state is what a view knows at a moment. It does not change.
type state struct {
	held    *held         // nil until the first result
	linked  bool          // the source is being followed
	heard   time.Time     // when the source last vouched for what is held
	behind  time.Duration // how old that was then, by the source's own account
	contact time.Duration // how long the source had not heard its leader then
	leader  bool
	of      []op.Outcome // what it said of several datacenters
	err     error        // why the last attempt failed; nil while linked
	gone    bool         // nobody follows any more
}

// overhead is what a view weighs beside its result: goroutine, stream and maps.
const overhead = 8 << 10

// growth is how many times its encoding a decoded result weighs, with what is
// rendered from it.
const growth = 4

func newView(key string, s *site, c *op.Call) *view {
	w := &view{key: key, site: s, call: c, tried: time.Now()}
	w.now.Store(&state{})
	return w
}

// age is how long ago the result is known to have been current; 0 while the
// source vouches for it.
func (s *state) age(now time.Time) time.Duration {
	silent := now.Sub(s.heard)
	if s.linked && s.behind == 0 && silent <= silentAfter {
		return 0
	}
	return max(silent+s.behind, time.Nanosecond)
}

// meta describes an answer of that age.
func (s *state) meta(age time.Duration) op.Meta {
	m := op.Meta{Datacenter: s.held.meta.Datacenter, Index: s.held.meta.Index, Filtered: s.held.meta.Filtered, Consistency: op.Cached,
		Age: age, LastContact: s.contact, KnownLeader: s.leader, Opaque: s.held.meta.Opaque, Outcomes: s.of}
	if age > 0 {
		m.LastContact, m.KnownLeader = max(age, s.contact), s.leader && s.linked
	}
	return m
}

// lasting is an answer of a view that was current.
type lasting struct {
	v    *Views
	w    *view
	then *state
}

var _ op.Lasting = (*lasting)(nil)

// usedEvery is how often it is noted at most that somebody is still answered with what the
// view holds: much less than spareFor.
const usedEvery = time.Second

// Lasts implements op.Lasting: the view holds what it held, and its source still vouches for it.
func (l *lasting) Lasts(now time.Time) bool {
	s := l.w.now.Load()
	if s != l.then && (s.held != l.then.held || len(s.of)+len(l.then.of) > 0) || s.age(now) > 0 {
		return false
	}
	if nanos := now.UnixNano(); nanos-l.w.used.Load() > int64(usedEvery) {
		l.w.used.Store(nanos)
	}
	l.v.metrics.hits.Inc()
	return true
}

// reply shares the result with its meta.
func (s *state) reply(age time.Duration) *op.Reply {
	return op.Share(s.meta(age), s.held.result, &s.held.rendered)
}

// unreachable says that what is held is too old.
func (s *state) unreachable(dc string) error {
	if s.err != nil {
		return s.err
	}
	return &op.Error{Code: op.CodeUnreachableDatacenter, Text: "No path to datacenter", Datacenter: dc}
}

// watch returns a channel that is closed at the next change. Look at the state
// after that.
func (w *view) watch() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed
}

// become replaces the state; loud wakes those who watch.
func (w *view) become(s *state, loud bool) {
	w.now.Store(s)
	if !loud {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// await returns when the view holds something newer than the header's index,
// when the header's time is over, or with the reason why it holds nothing.
func (w *view) await(ctx context.Context, h op.Header) (*state, error) {
	var over <-chan time.Time
	if h.MinIndex > 0 {
		timer := time.NewTimer(waitOf(&h))
		defer timer.Stop()
		over = timer.C
	}
	who := w.waiter(h.MinIndex)
	for {
		changed := w.watch()
		s := w.now.Load()
		switch {
		case s.held != nil && (s.held.news(&who) || s.gone):
			return s, nil
		case s.held == nil && s.err != nil:
			return nil, s.err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-over:
			if s = w.now.Load(); s.held != nil {
				return s, nil
			}
			over = nil // the first result or the reason will come
		}
	}
}

// waitOf is how long a caller waits for a change, with the sixteenth that keeps
// many who asked together from coming back together.
func waitOf(h *op.Header) time.Duration {
	own := asked(h)
	return own + rand.N(own/16+1)
}

// asked is how long a caller wants to wait.
func asked(h *op.Header) time.Duration {
	if h.MaxWait <= 0 {
		return usualWait
	}
	return min(h.MaxWait, longestWait)
}

// left is a call that has waited since begin with what is left of its time, a
// moment at least: 0 would be the usual wait.
func left(call *op.Call, begin time.Time) *op.Call {
	if call.Header.MinIndex == 0 {
		return call
	}
	c := *call
	c.Header.MaxWait = max(asked(&c.Header)-time.Since(begin), time.Millisecond)
	return &c
}

// take keeps what the source says; it reports whether that is another result.
func (w *view) take(r *op.Reply) (bool, error) {
	now := time.Now()
	w.site.reached()
	w.failures = 0
	old := w.now.Load()
	s := *old
	s.linked, s.err = true, nil
	s.contact, s.leader, s.of = r.Meta.LastContact, r.Meta.KnownLeader, r.Meta.Outcomes
	fresh := w.newest(now, old.held, r)
	if fresh != nil {
		var err error
		if s.held, err = w.hold(fresh, old.held); err != nil {
			return false, err
		}
	}
	if w.older == nil { // else the source does not vouch for what is held
		s.heard, s.behind = now, r.Meta.Age
		if s.contact > op.LeaderSilence {
			s.behind = max(s.behind, s.contact)
		}
	}
	w.become(&s, fresh != nil || !old.linked || (old.behind > 0) != (s.behind > 0))
	return fresh != nil, nil
}

// newest returns the reply whose result is to be held from now on, nil if it
// stays. A view goes back only if the source stays there.
func (w *view) newest(now time.Time, have *held, r *op.Reply) *op.Reply {
	switch {
	case r.Meta.Index == 0:
	case have == nil || r.Meta.Index > have.meta.Index || r.Meta.Opaque && r.Meta.Index != have.meta.Index:
		w.older = nil
		return r
	case r.Meta.Index == have.meta.Index: // the same again, after a break
		w.older = nil
	default:
		if w.older == nil {
			w.since = now
		}
		w.older = r
	}
	if back := w.older; back != nil && now.Sub(w.since) >= goBackAfter {
		w.older = nil
		return back
	}
	return nil
}

// hold decodes a result, which may say the same as the one before: then it has a
// newer index alone.
func (w *view) hold(r *op.Reply, before *held) (*held, error) {
	body, err := r.Body()
	if err != nil {
		return nil, err
	}
	h := &held{meta: r.Meta, weight: overhead + growth*int64(len(body)), empty: len(body) <= 1}
	if h.result, err = r.Result(w.call.Operation); err != nil {
		return nil, err
	}
	if before == nil {
		before = &held{}
	}
	h.content = op.ContentOf(w.call.Operation, h.result, w.waited.Load(), before.result, before.content)
	return h, nil
}

// broke notes that the source is followed no more. It reports whether it was.
func (w *view) broke(err error) bool {
	old := w.now.Load()
	s := *old
	s.linked, s.err = false, err
	if old.linked {
		s.err = nil // it is tried again at once
	} else {
		w.failures++
	}
	w.become(&s, true)
	return old.linked
}

// pause waits until it is this view's turn to try its source again.
func (w *view) pause(ctx context.Context) {
	least := time.Until(w.tried.Add(firstPause))
	if w.failures > 0 { // the others may fare better
		least = max(least, min(lastPause, firstPause<<min(w.failures, 10)))
	}
	w.site.turn(ctx, w, least)
	w.tried = time.Now()
}
