//go:build linux

package linear

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// act is what one contender asked or saw of a lock or a semaphore.
type act struct {
	Kind    actKind
	Session string
	Holders []string // that a look saw, sorted
	Index   uint64   // in the log, of a look that came with a write
	Call    time.Duration
	Return  time.Duration
	Outcome outcome
}

type actKind string

const (
	take  actKind = "take"
	leave actKind = "leave" // given back, or lost with the session
	look  actKind = "look"  // who holds it
	lack  actKind = "lack"  // a guarded write that found the session holding nothing
)

func (a *act) String() string {
	return fmt.Sprintf("%10.6f %10.6f %-5s %s %v index %d %s", a.Call.Seconds(), a.Return.Seconds(), a.Kind, a.Session, a.Holders, a.Index, a.Outcome)
}

// tenure is what is known of one session. Times are since the start of the
// run.
type tenure struct {
	renewed time.Duration // call of the newest renewal that was answered
	ending  time.Duration // earliest moment at which someone may have ended it; 0 if nobody tried
	over    time.Duration // it was gone by then; 0 if that is not known
	home    *node         // whose health it depends on
}

// belief is from when to when a contender took itself for a holder.
type belief struct {
	session    string
	begun, end time.Duration
}

// contest is what all saw of one lock or one semaphore. It is safe for
// concurrent use.
type contest struct {
	key   string // of the lock, or the prefix of the semaphore
	limit int
	ttl   time.Duration
	delay time.Duration
	h     *history // the clock

	mu       sync.Mutex
	acts     []*act
	sessions map[string]*tenure
	struck   map[*node]time.Duration // when a fault came to a node
	healed   time.Duration           // when it ended; 0 if it has not
	beliefs  []belief
}

func newContest(key string, limit int, h *history) *contest {
	return &contest{key: key, limit: limit, h: h, sessions: map[string]*tenure{}, struck: map[*node]time.Duration{}}
}

// strike notes that a fault comes to nodes.
func (c *contest) strike(nodes ...*node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range nodes {
		c.struck[n] = c.h.Now()
	}
}

func (c *contest) add(a *act) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acts = append(c.acts, a)
}

// session changes what is known of a session.
func (c *contest) session(id string, note func(*tenure)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions[id] == nil {
		c.sessions[id] = &tenure{}
	}
	note(c.sessions[id])
}

func (c *contest) believe(b belief) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beliefs = append(c.beliefs, b)
}

// earliest is when the session may have ended at the earliest: when somebody
// ended it, its TTL was over, or its node was struck.
func (c *contest) earliest(id string) time.Duration {
	s := c.sessions[id]
	if s == nil {
		return 0
	}
	at := s.renewed + c.ttl
	for _, other := range []time.Duration{s.ending, c.struck[s.home]} {
		if other > 0 {
			at = min(at, other)
		}
	}
	return max(at, s.renewed)
}

// hold is one session's time as a holder, as far as others' looks tell.
type hold struct {
	take     *act
	gave     *act          // nil if it never asked to give back
	from, to time.Duration // it came to its end between these; to is never if nobody saw that
	seen     time.Duration // call of the newest look that shows it
	taken    bool          // by another one's look or its own answer
}

// holds are the sessions that held. One whose taking was not answered and
// that nobody saw is none: nothing depends on it.
func (c *contest) holds() map[string]*hold {
	all := map[string]*hold{}
	for _, a := range c.acts {
		if a.Kind == take && (a.Outcome == done || a.Outcome == unknown) {
			one := *a
			all[a.Session] = &hold{take: &one, taken: a.Outcome == done, to: time.Duration(never)}
			if a.Outcome == unknown {
				all[a.Session].take.Return = time.Duration(never)
			}
		}
	}
	c.firstSeen(all)
	for id, h := range all {
		if !h.taken {
			delete(all, id)
			continue
		}
		h.from = c.earliest(id)
		if s := c.sessions[id]; s != nil && s.over > 0 {
			h.to = s.over
		}
	}
	c.lastSeen(all)
	return all
}

// firstSeen bounds when sessions began to hold.
func (c *contest) firstSeen(all map[string]*hold) {
	for _, a := range c.acts {
		for _, id := range a.Holders {
			if h := all[id]; h != nil {
				h.taken = true
				h.take.Return = min(h.take.Return, a.Return)
				h.seen = max(h.seen, a.Call)
			}
		}
	}
}

// lastSeen bounds when sessions ceased to hold.
func (c *contest) lastSeen(all map[string]*hold) {
	for _, a := range c.acts {
		h := all[a.Session]
		switch {
		case a.Kind == leave && h != nil && a.Outcome != refused && a.Outcome != unsent:
			h.gave, h.from = a, min(h.from, a.Call)
			if a.Outcome == done {
				h.to = min(h.to, a.Return)
			}
		case a.Kind == lack && h != nil && a.Call >= h.take.Return:
			h.to = min(h.to, a.Return)
		case a.Kind == look:
			for id, h := range all {
				if a.Call >= h.take.Return && a.Return < h.to && !slices.Contains(a.Holders, id) {
					h.to = a.Return
				}
			}
		}
	}
}

// mutex is a lock (limit 1) or a semaphore: its state are its holders.
func mutex(limit int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, _ any) (bool, any) {
			var holders []string
			if state != "" {
				holders = strings.Split(state.(string), ",")
			}
			a := input.(*act)
			at, in := slices.BinarySearch(holders, a.Session)
			switch a.Kind {
			case take:
				return !in && len(holders) < limit, strings.Join(slices.Insert(holders, at, a.Session), ",")
			case leave:
				if !in {
					return false, state
				}
				return true, strings.Join(slices.Delete(holders, at, at+1), ",")
			case look:
				return slices.Equal(holders, a.Holders), state
			}
			return !in, state
		},
		DescribeOperation: func(input, _ any) string { return input.(*act).String() },
		DescribeState:     func(state any) string { return fmt.Sprintf("%q", state) },
	}
}

// judge checks the whole contest.
func (c *contest) judge(limit time.Duration) (v verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.Key = c.key
	all := c.holds()
	var ops []porcupine.Operation
	add := func(a *act) {
		ops = append(ops, porcupine.Operation{ClientId: len(ops), Input: a, Call: int64(a.Call), Return: int64(a.Return)})
	}
	for id, h := range all {
		add(h.take)
		from := max(h.from, h.take.Call)
		if h.to < from {
			v.Faults = append(v.Faults, fmt.Sprintf("session %s lost what it held by %s, and could not before %s", id, h.to, from))
			continue
		}
		add(&act{Kind: leave, Session: id, Call: from, Return: h.to})
	}
	for _, a := range c.acts {
		if a.Kind == look || a.Kind == lack {
			add(a)
		}
	}
	v.Faults = append(v.Faults, c.together()...)
	v.Faults = append(v.Faults, c.delays(all)...)
	v.Faults = append(v.Faults, c.told(all)...)
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	switch result, info := porcupine.CheckOperationsVerbose(mutex(c.limit), ops, limit); result {
	case porcupine.Illegal:
		v.Faults = append(v.Faults, "the history is not that of a lock")
		v.Info = &info
	case porcupine.Unknown:
		v.Faults = append(v.Faults, fmt.Sprintf("the search over %d operations was not finished within %s", len(ops), limit))
	}
	return v
}

// together checks that no look shows too many holders, and that in the order
// of the log the holder of a lock never comes back.
func (c *contest) together() (faults []string) {
	var guarded []*act
	for _, a := range c.acts {
		if len(a.Holders) > c.limit {
			faults = append(faults, fmt.Sprintf("%d holders, at most %d may: %s", len(a.Holders), c.limit, a))
		}
		if a.Kind == look && a.Index > 0 {
			guarded = append(guarded, a)
		}
	}
	slices.SortFunc(guarded, func(a, b *act) int { return cmp.Compare(a.Index, b.Index) })
	gone, before := map[string]bool{}, []string(nil)
	for _, a := range guarded {
		for _, id := range before {
			gone[id] = gone[id] || !slices.Contains(a.Holders, id)
		}
		for _, id := range a.Holders {
			if gone[id] {
				faults = append(faults, "a guarded write of a session that had lost what it held: "+a.String())
			}
		}
		before = a.Holders
	}
	return faults
}

// delays checks that nobody got a lock, that was lost and not given back,
// before its delay was over.
func (c *contest) delays(all map[string]*hold) (faults []string) {
	if c.limit > 1 {
		return nil // the delay is on the contenders' own keys
	}
	for id, h := range all {
		if h.gave != nil {
			continue
		}
		for next, n := range all {
			if n.take.Call > h.take.Return && n.take.Return < h.seen+c.delay {
				faults = append(faults, fmt.Sprintf("%s took it by %s, %s held it after %s and lost it: the delay is %s",
					next, n.take.Return, id, h.seen, c.delay))
			}
		}
	}
	return faults
}

// heal notes that the fault is over.
func (c *contest) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.healed = c.h.Now()
}

// calm says whether it is.
func (c *contest) calm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.healed > 0
}

// told checks that who lost a hold learns of it, counted from the end of the
// fault if that came to its node.
func (c *contest) told(all map[string]*hold) (faults []string) {
	for _, b := range c.beliefs {
		h := all[b.session]
		if h == nil || h.to == time.Duration(never) {
			continue
		}
		from := h.to
		if s := c.sessions[b.session]; s != nil && c.struck[s.home] > 0 {
			from = max(from, c.healed)
		}
		if late := b.end - from - c.ttl - c.delay; late > 0 {
			faults = append(faults, fmt.Sprintf("%s took itself for a holder until %s, though it had lost by %s and could know by %s: %s too long",
				b.session, b.end, h.to, from, late))
		}
	}
	return faults
}

// did makes an act for the judge's own tests, with times in seconds.
func did(k actKind, session, holders string, call, back float64) *act {
	a := &act{Kind: k, Session: session, Outcome: done, Call: seconds(call), Return: seconds(back)}
	if holders != "" {
		a.Holders = strings.Split(holders, ",")
	}
	return a
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func ended(a *act, o outcome) *act {
	a.Outcome = o
	return a
}

func indexed(a *act, i uint64) *act {
	a.Index = i
	return a
}

func TestTheJudgeOfLocksKnowsRightFromWrong(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int
		acts  []*act
		fault string // in the verdict; empty for none
	}{
		{"one after the other", 1, []*act{did(take, "a", "", 1, 2), did(look, "", "a", 3, 4), did(leave, "a", "", 5, 6), did(take, "b", "", 5, 7), did(look, "", "b", 8, 9)}, ""},
		{"two at once", 1, []*act{did(take, "a", "", 1, 2), did(take, "b", "", 3, 4), did(look, "", "a", 5, 6)}, "not that of a lock"},
		{"two at once in a semaphore", 2, []*act{did(take, "a", "", 1, 2), did(take, "b", "", 3, 4), did(look, "", "a,b", 5, 6)}, ""},
		{"three in a semaphore of two", 2, []*act{did(take, "a", "", 1, 2), did(take, "b", "", 3, 4), did(take, "c", "", 5, 6),
			did(look, "", "a", 7, 8), did(look, "", "b", 7, 8), did(look, "", "c", 7, 8)}, "not that of a lock"},
		{"a look at three in a semaphore of two", 2, []*act{did(look, "", "a,b,c", 1, 2)}, "3 holders"},
		{"lost with the session, long after", 1, []*act{did(take, "a", "", 1, 2), did(take, "b", "", 14, 15), did(look, "", "b", 16, 17)}, ""},
		{"lost with the session before its TTL", 1, []*act{did(take, "a", "", 1, 2), did(take, "b", "", 3, 4), did(look, "", "b", 5, 6)}, "could not before"},
		{"a lack before the TTL", 1, []*act{did(take, "a", "", 1, 2), did(lack, "a", "", 3, 4)}, "could not before"},
		{"the delay is not kept", 1, []*act{did(take, "a", "", 1, 2), did(look, "", "a", 13, 13.1), did(take, "b", "", 14, 14.5)}, "the delay is"},
		{"an unanswered taking that nobody saw", 1, []*act{ended(did(take, "a", "", 1, 2), unknown), did(take, "b", "", 3, 4), did(leave, "b", "", 5, 6)}, ""},
		{"an unanswered taking that was seen", 1, []*act{ended(did(take, "a", "", 1, 2), unknown), did(look, "", "a", 3, 4), did(take, "b", "", 5, 6), did(look, "", "b", 7, 8)}, "could not before"},
		{"a refused giving back", 1, []*act{did(take, "a", "", 1, 2), ended(did(leave, "a", "", 3, 4), refused), did(take, "b", "", 5, 6), did(look, "", "b", 7, 8)}, "could not before"},
		{"a guarded write of the loser", 1, []*act{did(take, "a", "", 1, 9), did(take, "b", "", 1, 9),
			indexed(did(look, "", "a", 1, 9), 5), indexed(did(look, "", "b", 1, 9), 6), indexed(did(look, "", "a", 1, 9), 7)}, "had lost what it held"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := &contest{limit: c.limit, ttl: 10 * time.Second, delay: 2 * time.Second, acts: c.acts, sessions: map[string]*tenure{}}
			for _, a := range c.acts {
				if a.Kind == take {
					all.sessions[a.Session] = &tenure{renewed: a.Call}
				}
			}
			got := strings.Join(all.judge(time.Minute).Faults, "\n")
			if (c.fault == "") != (got == "") || !strings.Contains(got, c.fault) {
				t.Errorf("finds %q, want %q", got, c.fault)
			}
		})
	}
}

func TestTheJudgeOfLocksWantsTheLoserTold(t *testing.T) {
	home := &node{}
	all := &contest{limit: 1, ttl: 10 * time.Second, delay: time.Second, acts: []*act{did(take, "a", "", 1, 2), did(look, "", "", 14, 15)},
		sessions: map[string]*tenure{"a": {renewed: seconds(1), home: home}}, struck: map[*node]time.Duration{}}
	for _, c := range []struct {
		end, struck, healed float64
		fault               bool
	}{{25, 0, 0, false}, {27, 0, 0, true}, {27, 0, 20, true}, {27, 11, 20, false}, {32, 11, 20, true}} {
		all.beliefs = []belief{{"a", seconds(2), seconds(c.end)}}
		all.struck[home], all.healed = seconds(c.struck), seconds(c.healed)
		if got := all.judge(time.Minute).Faults; len(got) > 0 != c.fault {
			t.Errorf("told at %v s, struck at %v s, healed at %v s: %v", c.end, c.struck, c.healed, got)
		}
	}
}
