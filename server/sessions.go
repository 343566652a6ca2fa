package server

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

// Periods of the leader's care for sessions.
const (
	sessionTick = 250 * time.Millisecond // how late a TTL may be noticed
	sessionScan = time.Second            // how often new sessions are looked for, while there are any
	passPeriod  = 5 * time.Second        // how often lock-delays that are over are forgotten, and the axis is noted
	// sessionGap is how long this process may have stood still before it gives
	// every session its whole time again: nobody could renew meanwhile.
	sessionGap = 2 * time.Second
)

// graceTTLs is how many TTLs a session lives without being renewed: a TTL is a
// lower bound.
const graceTTLs = 2

// readAxis begins the reign's clock where the state's axis of time stands.
func (s *Server) readAxis(r *reign) error {
	v := s.cfg.State.View()
	at, err := session.Reached(v)
	r.axis, r.began = at, time.Now()
	return errors.Join(err, v.Close())
}

// clock is op.Leader.Clock: 0, which is always too early rather than too late,
// outside a reign.
func (s *Server) clock() time.Duration {
	r := s.reigning.Load()
	if r == nil {
		return 0
	}
	return r.axis + time.Since(r.began)
}

// sessionLoop counts the TTLs of sessions and ends those that were not renewed.
// It runs while this server leads; each leader begins to count anew.
func (s *Server) sessionLoop(ctx context.Context, r *reign) {
	defer s.metrics.timed.Set(0)
	var watch *storage.Watch
	var scanned, passed time.Time
	last := time.Now()
	every(ctx, sessionTick, func() {
		now := time.Now()
		if now.Sub(last) > sessionGap {
			r.timers.restart(now)
		}
		if (watch == nil || watch.Stale()) && now.Sub(scanned) >= sessionScan {
			var err error
			if watch, err = s.scanSessions(r, watch, now); err != nil {
				s.log.Warn("look for new sessions", "error", err)
			}
			scanned = now
		}
		s.expireSessions(ctx, r, now)
		if now.Sub(passed) >= passPeriod {
			s.passDelays(ctx)
			passed = now
		}
		s.metrics.timed.Set(float64(r.timers.len()))
		last = time.Now() // the work itself is no gap
	})
	if watch != nil {
		watch.Close()
	}
}

// scanSessions begins to count the TTLs of new sessions and forgets those that
// are gone. It returns a watch that says when to look again.
func (s *Server) scanSessions(r *reign, old *storage.Watch, now time.Time) (*storage.Watch, error) {
	if old != nil {
		old.Close()
	}
	var list session.Sessions
	watch, err := s.cfg.State.Watch(func(v *storage.View) error {
		var err error
		list, err = session.WithTTL(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.timers.keep(list, now)
	return watch, nil
}

// expireSessions ends the sessions whose time is over, at most MaxExpiries with
// each command. From before the command is proposed a renewal is refused, so
// none is answered and then lost; if the command is not known to have been
// committed, the sessions have their whole time again.
func (s *Server) expireSessions(ctx context.Context, r *reign, now time.Time) {
	for ctx.Err() == nil {
		due := r.timers.due(now, session.MaxExpiries)
		if len(due) == 0 {
			return
		}
		_, _, err := session.Expire.Call(ctx, s.self(), op.Header{}, &session.ExpireRequest{Sessions: due, Clock: s.clock()})
		if err != nil {
			r.timers.again(due, time.Now())
			if ctx.Err() == nil {
				s.log.Warn("end sessions whose TTL has passed", "sessions", len(due), "error", err)
			}
			return
		}
		r.timers.ended(due)
		s.metrics.expired.Add(float64(len(due)))
	}
}

// passDelays forgets lock-delays that are over and notes how far time has got,
// as long as there are any.
func (s *Server) passDelays(ctx context.Context) {
	for ctx.Err() == nil {
		clock := s.clock()
		v := s.cfg.State.View()
		next, err := kv.NextDelay(v)
		if err = errors.Join(err, v.Close()); err == nil && next != nil {
			_, _, err = kv.Pass.Call(ctx, s.self(), op.Header{}, &kv.PassRequest{Clock: clock})
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("forget lock-delays that are over", "error", err)
		}
		// More than one command forgets may be over.
		if err != nil || next == nil || next.Until > clock {
			return
		}
	}
}

// renewSession starts the TTL of a session anew. It runs on the leader.
func (s *Server) renewSession(_ context.Context, h op.Header, req *session.IDRequest) (*session.Session, error) {
	a, err := s.cfg.Authorizer(h.Token)
	if err != nil {
		return nil, err
	}
	r := s.reigning.Load()
	if r == nil {
		return nil, op.ErrNotLeader
	}
	found, err := s.findSession(req.ID)
	if err != nil {
		return nil, err
	}
	if err := rules.Require(a, rules.Session, rules.Write, found.Node); err != nil {
		return nil, err
	}
	if found.TTL == "" {
		return found, nil
	}
	switch r.timers.renew(found, time.Now()) {
	case ending:
		return nil, unknownSession(req.ID)
	case begun: // it is new, or it ended since it was found
		return s.findSession(req.ID)
	}
	return found, nil
}

func (s *Server) findSession(id string) (*session.Session, error) {
	v := s.cfg.State.View()
	found, err := session.Find(v, id)
	if err = errors.Join(err, v.Close()); err != nil {
		return nil, err
	}
	if found == nil {
		return nil, unknownSession(id)
	}
	return found, nil
}

func unknownSession(id string) error {
	return op.Errorf(op.CodeNotFound, "Session id '%s' not found", id)
}

// renewal is what became of a renewal.
type renewal int

const (
	renewed renewal = iota
	begun           // nothing was counted for the session yet
	ending          // too late
)

// sessionTimers are the TTLs of a reign. What is due comes first in the heap.
type sessionTimers struct {
	mu    sync.Mutex
	byID  map[string]*sessionTimer
	order timerHeap
}

type sessionTimer struct {
	session.Expiry
	life   time.Duration // without a renewal
	ends   time.Time
	at     int  // in the heap; -1 while the session is being ended
	ending bool // its end is proposed
}

func newSessionTimers() *sessionTimers { return &sessionTimers{byID: map[string]*sessionTimer{}} }

func (t *sessionTimers) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID)
}

// keep counts for exactly the sessions of the list.
func (t *sessionTimers) keep(list session.Sessions, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	there := make(map[string]bool, len(list))
	for i := range list {
		there[list[i].ID] = true
		if t.byID[list[i].ID] == nil {
			t.start(&list[i], now)
		}
	}
	for id, timer := range t.byID {
		if there[id] || timer.ending {
			continue
		}
		heap.Remove(&t.order, timer.at)
		delete(t.byID, id)
	}
}

// start is called under t.mu.
func (t *sessionTimers) start(s *session.Session, now time.Time) {
	timer := &sessionTimer{Expiry: session.Expiry{ID: s.ID, CreateIndex: s.CreateIndex}, life: graceTTLs * s.Lifetime()}
	timer.ends = now.Add(timer.life)
	t.byID[s.ID] = timer
	heap.Push(&t.order, timer)
}

// renew gives the session its whole time again, unless it is being ended.
func (t *sessionTimers) renew(s *session.Session, now time.Time) renewal {
	t.mu.Lock()
	defer t.mu.Unlock()
	timer := t.byID[s.ID]
	switch {
	case timer == nil: // one that ended is forgotten by the next scan
		t.start(s, now)
		return begun
	case timer.ending:
		return ending
	}
	timer.ends = now.Add(timer.life)
	heap.Fix(&t.order, timer.at)
	return renewed
}

// restart gives every session its whole time again.
func (t *sessionTimers) restart(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, timer := range t.order {
		timer.ends = now.Add(timer.life)
	}
	heap.Init(&t.order)
}

// due takes out up to n sessions whose time is over; again or ended follows.
func (t *sessionTimers) due(now time.Time, n int) []session.Expiry {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []session.Expiry
	for len(out) < n && len(t.order) > 0 && !t.order[0].ends.After(now) {
		timer := heap.Pop(&t.order).(*sessionTimer)
		timer.ending = true
		out = append(out, timer.Expiry)
	}
	return out
}

func (t *sessionTimers) again(list []session.Expiry, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range list {
		timer := t.byID[e.ID]
		timer.ending, timer.ends = false, now.Add(timer.life)
		heap.Push(&t.order, timer)
	}
}

func (t *sessionTimers) ended(list []session.Expiry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range list {
		delete(t.byID, e.ID)
	}
}

// timerHeap is ordered by when the timers end.
type timerHeap []*sessionTimer

var _ heap.Interface = (*timerHeap)(nil)

// Len implements sort.Interface.
func (h timerHeap) Len() int { return len(h) }

// Less implements sort.Interface.
func (h timerHeap) Less(i, j int) bool { return h[i].ends.Before(h[j].ends) }

// Swap implements sort.Interface.
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) {
	timer := x.(*sessionTimer)
	timer.at = len(*h)
	*h = append(*h, timer)
}

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	timer := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	timer.at = -1
	return timer
}
