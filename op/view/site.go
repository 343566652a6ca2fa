package view

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Pauses between attempts.
const (
	// negative is how long an attempt that found nobody answers for those that
	// come after it.
	negative = 3 * time.Second
	// firstProbe and lastProbe bound the pause between attempts to reach a
	// datacenter that cannot be reached: what is healed is noticed soon, and the
	// attempt itself waits for an answer meanwhile.
	firstProbe = 100 * time.Millisecond
	lastProbe  = 500 * time.Millisecond
	// firstPause and lastPause bound the pause of one view whose source fails
	// while the datacenter can be reached.
	firstPause = 250 * time.Millisecond
	lastPause  = 2 * time.Second
	// spread is by how much each further view of a datacenter spreads their
	// attempts, up to maxSpread.
	spread    = 100 * time.Microsecond
	maxSpread = time.Second
)

// site is a datacenter as those who follow its results know it. While it cannot
// be reached one of its views tries at a time, for all.
type site struct {
	name  string
	views atomic.Int64

	mu     sync.Mutex
	down   bool
	prober *view // that tries, or is about to
	tries  int
	err    error         // why it cannot be reached
	until  time.Time     // how long that answers for new views
	up     chan struct{} // closed when it is reached, or nobody tries any more
}

func newSite(name string) *site { return &site{name: name, up: make(chan struct{})} }

// refusal is the error with which a new view would end, if that is known.
func (s *site) refusal(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down && (s.prober != nil || now.Before(s.until)) {
		return s.err
	}
	return nil
}

// spent reports whether nothing is known of the datacenter any more.
func (s *site) spent(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.views.Load() == 0 && !now.Before(s.until)
}

// reached notes a word from the datacenter.
func (s *site) reached() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		s.down, s.tries, s.err, s.until = false, 0, nil, time.Time{}
		s.release()
	}
}

// release lets the others look again; s.mu is held.
func (s *site) release() {
	s.prober = nil
	close(s.up)
	s.up = make(chan struct{})
}

// failed notes that an attempt ended before it began, for a reason that all of
// the datacenter's views share.
func (s *site) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.err, s.until = true, err, time.Now().Add(negative)
	s.tries++
}

// turn waits at least as long as told and, while the datacenter cannot be
// reached, until it is for w to try. It returns early when ctx ends.
func (s *site) turn(ctx context.Context, w *view, least time.Duration) {
	for {
		s.mu.Lock()
		if !s.down {
			s.mu.Unlock()
			rest(ctx, max(least, rand.N(min(maxSpread, time.Duration(s.views.Load()+1)*spread))))
			return
		}
		if s.prober == nil || s.prober == w {
			s.prober = w
			pause := min(lastProbe, firstProbe<<min(s.tries, 8))
			s.mu.Unlock()
			rest(ctx, pause/2+rand.N(pause))
			return
		}
		up := s.up
		s.mu.Unlock()
		select {
		case <-up:
		case <-ctx.Done():
			return
		}
	}
}

// quit lets another view try if the one that goes was to.
func (s *site) quit(w *view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prober == w {
		s.release()
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
