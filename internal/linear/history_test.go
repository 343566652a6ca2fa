//go:build linux

package linear

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// kind is what a client asks for.
type kind string

const (
	read       kind = "read"
	consistent kind = "consistent"
	stale      kind = "stale"
	write      kind = "write"
	swap       kind = "cas"
	remove     kind = "delete"
)

// reads says whether the kind changes nothing.
func (k kind) reads() bool { return k == read || k == consistent || k == stale }

// outcome is what the client knows in the end.
type outcome string

const (
	done    outcome = "ok"
	no      outcome = "compared unequal" // the store says that the compare failed
	refused outcome = "refused"          // the answer promises that nothing was done
	unknown outcome = "unknown"          // it may have been done, or may still be
	unsent  outcome = "unsent"           // no connection: nobody heard of it
)

// event is one operation of one client as it saw it. Times are since the
// start of the run by the monotonic clock.
type event struct {
	Client  int
	Kind    kind
	Key     string
	Expect  string // value whose version a swap compares with; empty is an absent key
	Value   string // written, or read; empty is an absent key
	Index   uint64 // ModifyIndex that a read saw; 0 is an absent key
	Result  uint64 // X-Consul-Index that came with a read
	Call    time.Duration
	Return  time.Duration
	Outcome outcome
	Server  string // that was asked, and its how many-th life
	Why     string // of what is not ok
}

func (e *event) String() string {
	return fmt.Sprintf("%10.6f %10.6f client %2d %-10s %-10s %-22s %q expect %q index %d/%d %s %s",
		e.Call.Seconds(), e.Return.Seconds(), e.Client, e.Server, e.Kind, e.Key, e.Value, e.Expect, e.Index, e.Result, e.Outcome, e.Why)
}

// history is what all clients saw. It is safe for concurrent use.
type history struct {
	mu     sync.Mutex
	began  time.Time
	events []*event
	acked  time.Duration // newest return of a write that took place
	gap    time.Duration // longest time between two such since mark
}

func newHistory() *history { return &history{began: time.Now()} }

func (h *history) now() time.Duration { return time.Since(h.began) }

// add takes a finished operation. What is asked at an unknown end stays open.
func (h *history) add(e *event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
	if !e.Kind.reads() && e.Outcome == done && e.Return > h.acked {
		if h.acked > 0 {
			h.gap = max(h.gap, e.Return-h.acked)
		}
		h.acked = e.Return
	}
}

// mark begins to look for the longest time without a write anew.
func (h *history) mark() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gap = 0
}

// sinceMark returns that time, up to now.
func (h *history) sinceMark() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(h.gap, h.now()-h.acked)
}

// byKey returns the events of each key, ordered by their call.
func (h *history) byKey() map[string][]*event {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := map[string][]*event{}
	for _, e := range h.events {
		keys[e.Key] = append(keys[e.Key], e)
	}
	for _, events := range keys {
		slices.SortFunc(events, func(a, b *event) int { return cmp.Compare(a.Call, b.Call) })
	}
	return keys
}

// counts is how many events there are of each kind and outcome.
func (h *history) counts() map[kind]map[outcome]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := map[kind]map[outcome]int{}
	for _, e := range h.events {
		if counts[e.Kind] == nil {
			counts[e.Kind] = map[outcome]int{}
		}
		counts[e.Kind][e.Outcome]++
	}
	return counts
}

// never is the end of what may still take place.
const never = int64(math.MaxInt64)
