package storage

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// snapshots shares one Pebble snapshot between all views that begin between
// two commits: taking and closing one costs more than a read, because Pebble
// looks for compactions whenever the last one closes.
type snapshots struct {
	mu      sync.Mutex // held to take one, and to let it go after a commit
	current atomic.Pointer[snapshot]
	cuts    *cuts // as of the last commit
	retired *retired
}

type snapshot struct {
	*pebble.Snapshot
	cuts    *cuts
	retired *retired
	refs    atomic.Int64 // one for being current, one for each view
}

// acquire returns a snapshot that holds every commit that has returned.
func (s *snapshots) acquire(db *pebble.DB) *snapshot {
	if c := s.current.Load(); c != nil && c.retain() {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.current.Load(); c != nil && c.retain() {
		return c
	}
	c := &snapshot{Snapshot: db.NewSnapshot(), cuts: s.cuts, retired: s.retired}
	c.refs.Store(2)
	s.current.Store(c)
	return c
}

// known are the cuts and the retirements as of the last commit.
func (s *snapshots) known() (*cuts, *retired) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cuts, s.retired
}

// outdate is called after a write and before it is acknowledged. Taking a
// snapshot and this exclude each other, so none from before the write stays.
func (s *snapshots) outdate() error {
	s.mu.Lock()
	c := s.current.Swap(nil)
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.release()
}

func (s *snapshot) retain() bool {
	for n := s.refs.Load(); n > 0; n = s.refs.Load() {
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

func (s *snapshot) release() error {
	if s.refs.Add(-1) > 0 {
		return nil
	}
	return s.Snapshot.Close()
}
