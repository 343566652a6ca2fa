// Package rates admits reads and writes up to a rate, and shares it fairly: while more
// is asked than is admitted, each of those who ask gets the same, and who asks for less
// than that is not refused anything.
//
// It counts what is asked of this server, by the source that it is told, and knows
// nothing of what is asked.
package rates

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What becomes of who asks too much.
const (
	Disabled   = "disabled"   // nothing: it is not even counted
	Permissive = "permissive" // it is counted and admitted
	Enforcing  = "enforcing"  // it is refused
)

const (
	// round is how often shares are computed anew.
	round = 100 * time.Millisecond
	// forget is after how long a source that asks nothing is forgotten.
	forget = 10 * time.Second
	// maxSources bounds those that are told apart; the others share as one.
	maxSources = 10_000
)

// Settings are rates of a server, in calls a second; a rate that is not above 0 is no
// limit.
type Settings struct {
	Mode        string
	Read, Write float64
}

// Limiter admits calls. It is safe for concurrent use.
type Limiter struct {
	metrics *metrics
	now     atomic.Pointer[setting]
}

// setting is what Set was told last, nil for nothing to do.
type setting struct {
	of          Settings
	enforce     bool
	read, write *shared // nil for no limit
}

// New returns a limiter that admits everything until Set.
func New(reg prometheus.Registerer) *Limiter { return &Limiter{metrics: newMetrics(reg)} }

// Set changes the rates, if they are others. What was counted so far is forgotten then.
func (l *Limiter) Set(s Settings) {
	if now := l.now.Load(); now != nil && now.of == s {
		return
	}
	if s.Mode != Permissive && s.Mode != Enforcing || s.Read <= 0 && s.Write <= 0 {
		l.now.Store(nil)
		return
	}
	made := &setting{of: s, enforce: s.Mode == Enforcing}
	if s.Read > 0 {
		made.read = newShared(s.Read)
	}
	if s.Write > 0 {
		made.write = newShared(s.Write)
	}
	l.now.Store(made)
}

// On reports whether anything is limited.
func (l *Limiter) On() bool { return l.now.Load() != nil }

// Admit reports whether a source may read, or write, once more now.
func (l *Limiter) Admit(source string, write bool) bool {
	s := l.now.Load()
	if s == nil {
		return true
	}
	by, counted := s.read, l.metrics.reads
	if write {
		by, counted = s.write, l.metrics.writes
	}
	if by == nil || by.take(source, time.Now()) {
		return true
	}
	counted.Inc()
	return !s.enforce
}

// shared is one rate and those who share it.
type shared struct {
	rate float64

	mu      sync.Mutex
	began   time.Time // the current round
	share   float64   // calls a second that each source may make
	sources map[string]*source
}

// source is one who asks.
type source struct {
	asked  float64   // in this round
	demand float64   // calls a second, as the last rounds had it
	left   float64   // calls that it may make at once
	filled time.Time // when left was brought up to date
	seen   time.Time
}

func newShared(rate float64) *shared {
	return &shared{rate: rate, share: rate, sources: map[string]*source{}}
}

// take reports whether the source may go on, and takes one of its calls.
func (s *shared) take(name string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := now.Sub(s.began); d >= round {
		s.settle(now, d)
	}
	from := s.sources[name]
	if from == nil {
		if len(s.sources) >= maxSources {
			name = ""
			from = s.sources[name]
		}
		if from == nil {
			from = &source{left: math.Max(1, s.share*round.Seconds()), filled: now}
			s.sources[name] = from
		}
	}
	from.asked++
	from.seen = now
	// As much as a second's worth may be saved up: who asks in bursts is not refused.
	from.left = math.Min(math.Max(1, s.share), from.left+s.share*now.Sub(from.filled).Seconds())
	from.filled = now
	if from.left < 1 {
		return false
	}
	from.left--
	return true
}

// settle begins a round: each source may make as many calls as fill the rate when all who
// want more than that get the same. s.mu is held.
func (s *shared) settle(now time.Time, took time.Duration) {
	s.began = now
	demands := make([]float64, 0, len(s.sources))
	for name, from := range s.sources {
		if now.Sub(from.seen) > forget {
			delete(s.sources, name)
			continue
		}
		from.demand = (from.demand + from.asked/math.Min(took.Seconds(), 1)) / 2
		from.asked = 0
		demands = append(demands, from.demand)
	}
	s.share = fair(s.rate, demands)
}

// fair is what each may have at most, so that together they have no more than the rate.
func fair(rate float64, demands []float64) float64 {
	slices.Sort(demands)
	left := rate
	for i, d := range demands {
		each := left / float64(len(demands)-i)
		if d > each {
			return each
		}
		left -= d
	}
	if n := len(demands); n > 0 { // nobody wants more: the greatest may grow by what is left
		return left + demands[n-1]
	}
	return rate
}
