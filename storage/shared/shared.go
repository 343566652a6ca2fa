// Package shared lets all views that begin between two commits have one snapshot of Pebble's:
// taking and closing one costs more than a read, because Pebble looks for compactions
// whenever the last one closes. It does not know what is read through it.
package shared

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// Snapshots are those of one instance, with what is known of it as of the last commit. The
// zero value has none yet. It is safe for concurrent use.
type Snapshots[T comparable] struct {
	mu      sync.Mutex // held to take one, and to let it go after a commit
	current atomic.Pointer[Snapshot[T]]
	known   T
}

// Snapshot is of what was committed when it was taken.
type Snapshot[T comparable] struct {
	*pebble.Snapshot
	Known T
	refs  atomic.Int64 // one for being current, one for each view
}

// Acquire returns a snapshot that holds every commit that has returned; Release gives it back.
func (s *Snapshots[T]) Acquire(db *pebble.DB) *Snapshot[T] {
	if c := s.current.Load(); c != nil && c.retain() {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.current.Load(); c != nil && c.retain() {
		return c
	}
	c := &Snapshot[T]{Snapshot: db.NewSnapshot(), Known: s.known}
	c.refs.Store(2)
	s.current.Store(c)
	return c
}

// Known is what is known as of the last commit.
func (s *Snapshots[T]) Known() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// Commit runs what makes known what is to be known from then on: no snapshot has one of both without
// the other.
func (s *Snapshots[T]) Commit(known T, write func() error) error {
	if s.Known() == known {
		return write()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := write()
	if err == nil {
		s.known = known
	}
	return err
}

// Outdate is called after a write and before it is acknowledged. Taking a
// snapshot and this exclude each other, so none from before the write stays.
func (s *Snapshots[T]) Outdate() error {
	s.mu.Lock()
	c := s.current.Swap(nil)
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.Release()
}

func (s *Snapshot[T]) retain() bool {
	for n := s.refs.Load(); n > 0; n = s.refs.Load() {
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// Release gives a snapshot back; the last one closes it.
func (s *Snapshot[T]) Release() error {
	if s.refs.Add(-1) > 0 {
		return nil
	}
	return s.Snapshot.Close()
}
