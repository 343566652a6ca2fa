// Package limit counts work in progress up to a bound: a semaphore without a queue.
// Who is above it is refused at once: nobody waits for a place.
package limit

import "sync/atomic"

// Limit is a bound on work in progress. It is safe for concurrent use.
type Limit struct {
	max int64
	n   atomic.Int64
}

// New returns a limit of so many at a time.
func New(max int64) *Limit { return &Limit{max: max} }

// TryAcquire reports whether there was a place; who got one releases it later.
func (l *Limit) TryAcquire() bool {
	if l.n.Add(1) > l.max {
		l.n.Add(-1)
		return false
	}
	return true
}

// Release gives a place back.
func (l *Limit) Release() { l.n.Add(-1) }

// Max is the bound.
func (l *Limit) Max() int64 { return l.max }

// InUse is how many are in progress.
func (l *Limit) InUse() int64 { return l.n.Load() }
