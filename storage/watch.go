package storage

import (
	"context"
	"fmt"

	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/wake"
)

// MaxWaiters bounds the queries that wait at once.
const MaxWaiters = wake.MaxWaiters

// coarsen cuts a key down to its table or index.
func coarsen(key []byte) []byte {
	n := 2
	if len(key) > 0 && (key[0] == layout.SpaceIndex || key[0] == layout.SpaceDerived) {
		n = layout.IndexHeader
	}
	return key[:min(n, len(key))]
}

// Block runs query until what it read is newer than minIndex, or until ctx
// ends: then the last run stands and the error is nil. An error of the query
// ends it. The query runs again only when something it read was written,
// deleted or replaced; it may run twice at the start, where a commit came
// between its reads and the wait.
func (s *State) Block(ctx context.Context, minIndex uint64, query func(*View) error) error {
	w := wake.NewWaiter(false)
	defer s.watches.Unregister(w)
	for {
		before := s.watches.Now()
		rec, newer, err := s.record(minIndex, query)
		if err != nil || newer {
			return err
		}
		if !rec.Within(w.On()) {
			after, err := s.watches.Register(w, rec)
			if err != nil {
				return fmt.Errorf("wait for a change: %w", err)
			}
			if after != before {
				continue
			}
		}
		select {
		case <-w.Wake():
		case <-ctx.Done():
			return nil
		}
	}
}

// Watch says whether anything that a query read has changed since.
type Watch struct {
	s *State
	w *wake.Waiter
}

// watchTries is how often a query is run for a Watch at most: the second run reads
// what is watched already, unless what it reads has changed.
const watchTries = 3

// Watch runs a query and watches over what it read. It may run again, where a
// commit came between its reads and the watch; the last run counts. Close the
// Watch; it counts among MaxWaiters.
func (s *State) Watch(query func(*View) error) (*Watch, error) {
	watch := &Watch{s: s, w: wake.NewWaiter(true)}
	for try := 1; ; try++ {
		before := s.watches.Now()
		rec, _, err := s.record(^uint64(0), query)
		if err != nil {
			watch.Close()
			return nil, err
		}
		if rec.Within(watch.w.On()) { // watched since before this run
			return watch, nil
		}
		after, err := s.watches.Register(watch.w, rec)
		if err != nil {
			watch.Close()
			return nil, fmt.Errorf("watch for a change: %w", err)
		}
		if after == before {
			return watch, nil
		}
		if try == watchTries { // a commit came between: it may have been one of ours
			watch.Close()
			return watch, nil
		}
	}
}

// Changed is closed when something that the query read was written, deleted or
// replaced, before the commit returns; and by Close.
func (w *Watch) Changed() <-chan struct{} { return w.w.Wake() }

// Stale reports whether Changed is closed.
func (w *Watch) Stale() bool { return w.w.Woken() }

// Close ends the watch.
func (w *Watch) Close() {
	w.s.watches.Unregister(w.w)
	w.w.Signal()
}

// record runs the query once and says what it touched.
func (s *State) record(minIndex uint64, query func(*View) error) (rec *wake.Recorder, newer bool, err error) {
	v := s.View()
	defer func() {
		if e := v.Close(); err == nil {
			err = e
		}
	}()
	v.rec = wake.NewRecorder(coarsen)
	if err := query(v); err != nil {
		return nil, false, err
	}
	return v.rec, v.Index() > minIndex, nil
}
