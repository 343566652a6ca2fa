package leader

import (
	"container/heap"
	"sync"
	"time"

	"github.com/legate-project/legate/state/session"
)

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
	if s.TTL == "" {
		timer.life = session.Unvouched
	}
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

// vouch has the sessions live on for as long from a moment on as they do without a word.
func (t *sessionTimers) vouch(list []session.Expiry, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range list {
		timer := t.byID[e.ID]
		if timer == nil || timer.ending { // nothing is counted yet, or it is too late
			continue
		}
		if ends := at.Add(timer.life); ends.After(timer.ends) {
			timer.ends = ends
			heap.Fix(&t.order, timer.at)
		}
	}
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
