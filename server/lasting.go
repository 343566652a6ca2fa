package server

import (
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// lasting is an answer in the mode Cached of what this server holds.
type lasting struct {
	s       *Server
	watch   *storage.Watch
	granted op.Lasting // what the caller may see; nil if that does not change
}

var _ op.Lasting = (*lasting)(nil)

// Lasts implements op.Lasting.
func (l *lasting) Lasts(now time.Time) bool {
	return !l.watch.Stale() && l.s.hears(now) && (l.granted == nil || l.granted.Lasts(now))
}

// hearsFor is how long it is taken for granted that this server hears its leader after that
// was looked at, which takes locks.
const hearsFor = 100 * time.Millisecond

// hears reports whether what this server holds counts as current.
func (s *Server) hears(now time.Time) bool {
	nanos := now.UnixNano()
	if until := s.hearsUntil.Load(); nanos < until && nanos >= until-int64(hearsFor) {
		return true
	}
	left := op.LeaderSilence - s.leaderSilence()
	if left < 0 {
		return false
	}
	s.hearsUntil.Store(nanos + int64(min(left, hearsFor)))
	return true
}

// lasting is whether an answer of another datacenter lasts as who shows the secret sees it;
// nil if that is not known.
func (s *Server) lasting(secret, dc string, a rules.Authorizer, result op.Lasting) op.Lasting {
	if result == nil || !s.access.Enabled() {
		return result
	}
	if op.IsFanOut(dc) {
		return nil
	}
	granted, ok := s.access.Lasting(secret, dc, a)
	if !ok {
		return nil
	}
	return &both{result, granted}
}

// both lasts as long as two do.
type both struct{ result, granted op.Lasting }

// Lasts implements op.Lasting.
func (l *both) Lasts(now time.Time) bool { return l.result.Lasts(now) && l.granted.Lasts(now) }
