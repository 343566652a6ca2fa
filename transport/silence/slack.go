package silence

import (
	"sync"
	"time"
)

const (
	// mistaken is within what time a peer that was given up and is heard again had been there all the time, as far as
	// one can tell: it, this process or the network was busy for longer than the patience.
	mistaken = 10 * time.Second
	// slackMost is the most that patience is multiplied by, slackFor how long after the last mistake.
	slackMost = 8
	slackFor  = time.Minute
)

// Slack is the patience with a peer beyond the usual: it doubles when one that was given up is heard again soon, at the
// address at which it was silent. Peers that are busy would else be made busier by connections that are given up and made
// again; one that is reached by another way was given up rightly. The zero value has none. It is safe for concurrent use.
type Slack struct {
	mu     sync.Mutex
	gaveUp time.Time // zero: it was heard since
	at     string    // the address then
	factor time.Duration
	until  time.Time
}

// GaveUp notes that the peer was given up at an address.
func (s *Slack) GaveUp(at string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaveUp, s.at = time.Now(), at
}

// Heard notes that there is a new connection to the peer at an address.
func (s *Slack) Heard(at string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at != s.at {
		return
	}
	if now := time.Now(); !s.gaveUp.IsZero() && now.Sub(s.gaveUp) < mistaken {
		s.factor, s.until = min(2*s.now(now), slackMost), now.Add(slackFor)
	}
	s.gaveUp = time.Time{}
}

// Factor is what patience is to be multiplied by.
func (s *Slack) Factor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now(time.Now())
}

func (s *Slack) now(now time.Time) time.Duration {
	if now.Before(s.until) {
		return s.factor
	}
	return 1
}
