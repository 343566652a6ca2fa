// Package judge says whether what clients saw of the key/value store can be so:
// default and consistent reads, writes, compares, lists and transactions are
// linearizable, stale reads show what was written, and indexes do not go back.
// It knows no servers and asks nobody.
package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// Kind is what a client asks for.
type Kind string

// What is asked of one key.
const (
	Read       Kind = "read"
	Consistent Kind = "consistent"
	Stale      Kind = "stale"
	Write      Kind = "write"
	Swap       Kind = "cas"
	Remove     Kind = "delete"
)

// Reads says whether the kind changes nothing.
func (k Kind) Reads() bool {
	return slices.Contains([]Kind{Read, Consistent, Stale, SeenTxn, List, KeysAlone}, k)
}

// Outcome is what the client knows in the end.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "ok"
	No      Outcome = "compared unequal" // the store says that the compare failed
	Refused Outcome = "refused"          // the answer promises that nothing was done
	Unknown Outcome = "unknown"          // it may have been done, or may still be
	Unsent  Outcome = "unsent"           // no connection: nobody heard of it
)

// Event is one operation of one client as it saw it. Times are since the
// start of the run by the monotonic clock.
type Event struct {
	Client  int
	Kind    Kind
	Key     string
	Expect  string // value whose version a swap compares with; empty is an absent key
	Value   string // written, or read; empty is an absent key
	Index   uint64 // ModifyIndex that a read saw; 0 is an absent key
	Result  uint64 // X-Consul-Index that came with a read
	Call    time.Duration
	Return  time.Duration
	Outcome Outcome
	Shelf   Row
	At      int    // place on the shelf of what Expect is about
	Server  string // that was asked, and its how many-th life
	Why     string // of what is not ok
}

func (e *Event) String() string {
	return fmt.Sprintf("%10.6f %10.6f client %2d %-10s %-10s %-22s %q %q expect %q at %d index %d/%d %s %s",
		e.Call.Seconds(), e.Return.Seconds(), e.Client, e.Server, e.Kind, e.Key, e.Value, e.Shelf, e.Expect, e.At, e.Index, e.Result, e.Outcome, e.Why)
}

// History is what all clients saw. It is safe for concurrent use.
type History struct {
	mu     sync.Mutex
	began  time.Time
	events []*Event
	acked  time.Duration // newest return of a write that took place
	gap    time.Duration // longest time between two such since mark

	restorations []restoration
}

// NewHistory begins one now.
func NewHistory() *History { return &History{began: time.Now()} }

// Now is the time since the start of the run.
func (h *History) Now() time.Duration { return time.Since(h.began) }

// Add takes a finished operation. What is asked at an unknown end stays open.
func (h *History) Add(e *Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
	if !e.Kind.Reads() && e.Outcome == Done && e.Return > h.acked {
		if h.acked > 0 {
			h.gap = max(h.gap, e.Return-h.acked)
		}
		h.acked = e.Return
	}
}

// Mark begins to look for the longest time without a write anew.
func (h *History) Mark() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gap = 0
}

// SinceMark returns that time, up to now.
func (h *History) SinceMark() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(h.gap, h.Now()-h.acked)
}

// ByKey returns the events of each key, ordered by their call.
func (h *History) ByKey() map[string][]*Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := map[string][]*Event{}
	for _, e := range h.events {
		keys[e.Key] = append(keys[e.Key], e)
	}
	for key, events := range keys {
		for _, r := range h.restorations {
			events = append(events, r.events(key)...)
		}
		keys[key] = events
		slices.SortFunc(events, func(a, b *Event) int { return cmp.Compare(a.Call, b.Call) })
	}
	return keys
}

// Counts is how many events there are of each kind and outcome.
func (h *History) Counts() map[Kind]map[Outcome]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := map[Kind]map[Outcome]int{}
	for _, e := range h.events {
		if counts[e.Kind] == nil {
			counts[e.Kind] = map[Outcome]int{}
		}
		counts[e.Kind][e.Outcome]++
	}
	return counts
}

// Never is the end of what may still take place.
const Never = int64(math.MaxInt64)
