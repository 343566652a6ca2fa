package consensus

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// lease knows how long no other node can lead. A follower that answers an
// AppendEntries votes for nobody else for Raft's heartbeat timeout after it
// came in, so not before the time at which it was sent plus that timeout. Raft
// itself counts from when an answer is read: a leader that was stopped reads
// answers of long ago. Times are of the monotonic clock, since the lease began
// to be kept; the wall clock takes no part.
type lease struct {
	length time.Duration // at most Raft's heartbeat timeout, less what clocks differ in speed
	self   raft.ServerID
	voters func() []raft.ServerID
	clock  func() time.Duration

	mu       sync.Mutex
	contacts map[raft.ServerID]contact
	revoked  uint64 // no lease in this term
	held     atomic.Pointer[held]
}

// contact is the newest request to a follower that it took as its leader's.
type contact struct {
	term uint64
	sent time.Duration
}

// held is the lease that was computed last.
type held struct {
	term  uint64
	until time.Duration
}

func newLease(self raft.ServerID, length time.Duration, voters func() []raft.ServerID) *lease {
	began := time.Now()
	return &lease{length: length, self: self, voters: voters, contacts: map[raft.ServerID]contact{},
		clock: func() time.Duration { return time.Since(began) }}
}

// confirmed notes that a follower answered a request of the term that was sent
// at a time.
func (l *lease) confirmed(id raft.ServerID, term uint64, sent time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.contacts[id]; old.term > term || old.term == term && old.sent >= sent {
		return
	}
	l.contacts[id] = contact{term, sent}
	l.renew(term)
}

// renew computes the lease; l.mu is held.
func (l *lease) renew(term uint64) *held {
	h := &held{term: term, until: l.quorum(term) + l.length}
	if l.revoked == term {
		h.until = 0
	}
	l.held.Store(h)
	return h
}

// quorum is the newest time that a request of the term to a quorum was sent
// at or after, far in the past if there is none; l.mu is held.
func (l *lease) quorum(term uint64) time.Duration {
	const none = -1 << 62
	voters := l.voters()
	times := make([]time.Duration, 0, len(voters))
	for _, id := range voters {
		c := l.contacts[id]
		switch {
		case id == l.self:
			times = append(times, l.clock())
		case c.term == term:
			times = append(times, c.sent)
		default:
			times = append(times, none)
		}
	}
	if len(times) == 0 {
		return none
	}
	slices.Sort(times)
	return times[len(times)-(len(times)/2+1)]
}

// holds reports whether nobody else can lead now if this node led in the term.
func (l *lease) holds(term uint64) bool {
	h := l.held.Load()
	if h != nil && h.term == term && l.clock() < h.until {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock() < l.renew(term).until
}

// since reports whether a quorum took requests of the term that were sent at a
// time or later.
func (l *lease) since(term uint64, at time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quorum(term) >= at
}

// revoke ends the lease of a term: the followers will be asked to vote for another
// node whatever they heard of this one.
func (l *lease) revoke(term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revoked = term
	l.renew(term)
}

// reinstate permits what revoke ended.
func (l *lease) reinstate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revoked = 0
}
