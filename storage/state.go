package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/storage/engine"
	"github.com/legate-project/legate/storage/instances"
	"github.com/legate-project/legate/storage/shared"
	"github.com/legate-project/legate/storage/wake"
)

// markerName is that of the marker that says which instance is current.
const markerName = "current"

// State memory and layout.
const (
	stateMemTables  = 4 // before writes are held back
	bloomBitsPerKey = 10
	// Tables flushed gather until there are half as many above each other as this;
	// then they are merged with all that is below. Pebble's own 4 merged at every
	// second flush. Reads look at twice as many tables, most of them by their filter.
	stateL0Compaction = 8
)

// State holds the tables of the state machine.
type State struct {
	opts    Options
	tables  []AnyTable
	fault   *engine.Fault
	series  *engine.Metrics
	metrics *stateMetrics
	watches *wake.Register

	writer  sync.Mutex // held by the open Txn, and by what must not meet one
	staged  *instance  // has what is staged; nil for nothing. The open Txn's
	marker  *atomicfs.Marker
	current atomic.Pointer[instance] // nil once closed
	meta    atomic.Pointer[meta]     // as of the last commit
	mark    atomic.Pointer[Position] // as of the last Mark
	names   instances.Names
	group   *lifecycle.Group // of those who remove what was replaced: nobody waits for that
	derived []byte           // which derived indexes are kept: see derivedIn
	heads   headed
}

// OpenState opens the state in opts.Dir or creates it. What an interrupted
// Replace or transfer left there is removed. tables are those whose derived
// indexes it keeps: see NewDerivedIndex.
func OpenState(opts Options, tables ...AnyTable) (*State, error) {
	opts, err := opts.WithDefaults("state")
	if err != nil {
		return nil, err
	}
	s := &State{opts: opts, fault: engine.NewFault(opts.Log, opts.OnFatal), watches: wake.NewRegister(), group: lifecycle.New("state"), tables: tables, derived: derivedIn(tables)}
	for i := 0; i < len(s.derived); i += 2 {
		if s.derived[i+1] == headsID {
			s.heads[s.derived[i]] = true
		}
	}
	if s.series, err = engine.NewMetrics(opts.Registerer, "state"); err != nil {
		return nil, err
	}
	if s.metrics, err = newStateMetrics(s.series, s); err != nil {
		return nil, err
	}
	if err := s.series.Register(engine.SizeGauge("state", s.diskBytes)); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		s.series.Unregister()
		return nil, fmt.Errorf("open the state in %s: %w", opts.Dir, err)
	}
	return s, nil
}

func (s *State) open() (err error) {
	fs := s.opts.FS
	if err := engine.MakeDir(fs, s.opts.Dir); err != nil {
		return err
	}
	marker, name, err := atomicfs.LocateMarker(fs, s.opts.Dir, markerName)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, marker.Close())
		}
	}()
	s.marker = marker
	if name == "" {
		name = instances.First
		if err := marker.Move(name); err != nil {
			return err
		}
	}
	f, err := s.find(name)
	if err != nil {
		return err
	}
	mark, err := readMeta(f.in.DB, markKey())
	if err == nil {
		err = errors.Join(s.marker.RemoveObsolete(), instances.Sweep(s.opts.FS, s.opts.Dir, f.names()...))
	}
	if err != nil {
		return errors.Join(err, f.close())
	}
	s.meta.Store(&f.meta)
	s.mark.Store(&mark.position)
	s.staged = f.staged
	s.current.Store(f.in)
	return nil
}

// opened is what OpenState finds in a directory.
type opened struct {
	in     *instance
	meta   meta
	staged *instance // nil for none
}

func (f *opened) close() error {
	if f.staged == nil {
		return f.in.Engine.Close()
	}
	return errors.Join(f.in.Engine.Close(), f.staged.Engine.Close())
}

func (f *opened) names() []string {
	if f.staged == nil {
		return []string{f.in.name}
	}
	return []string{f.in.name, f.staged.name}
}

// find opens the instance that the marker names, and that of what is staged beside it.
// Where that was being adopted it is the state.
func (s *State) find(name string) (f opened, err error) {
	s.names.Skip(name)
	if err := s.names.Count(s.opts.FS, s.opts.Dir); err != nil {
		return f, err
	}
	if f.in, err = s.openInstance(name); err != nil {
		return f, err
	}
	f.meta, err = readMeta(f.in.DB, metaKey())
	if err == nil {
		err = errors.Join(s.complete(f.in, f.meta.index), f.in.noteCollected(f.meta.index))
	}
	if err == nil {
		f.staged, err = s.findStaged(f.in, &f.meta)
	}
	var adopted meta
	if err == nil && f.staged != nil {
		adopted, err = readMeta(f.staged.DB, metaKey())
	}
	if err != nil {
		return f, errors.Join(err, f.close())
	}
	if adopted.index == 0 {
		return f, nil
	}
	name = f.staged.name
	if err := errors.Join(f.close(), s.marker.Move(name)); err != nil {
		return f, err
	}
	return s.find(name)
}

// seen is what views know of an instance besides its rows.
type seen struct {
	cuts    *cuts
	retired *retired
}

// instance is one Pebble database of the State. Views hold references; the
// State holds one for the current instance.
type instance struct {
	*engine.Engine
	snaps   shared.Snapshots[seen]
	state   *State
	name    string
	floor   uint64 // no view's index is below
	staged  string // the ID under which its rows are staged, or were
	level   atomic.Uint32
	empty   [256]bool // tables that have no row, not even a tombstone; the open Txn's
	refs    atomic.Int64
	retired atomic.Bool   // replaced: its directory goes with the last reference
	gone    chan struct{} // closed when the last reference went
	err     error         // of closing it; set before gone
}

// layout is that of all instances.
func (s *State) layout() *pebble.Options {
	opts := &pebble.Options{
		FS: s.opts.FS, Cache: s.opts.Cache,
		MemTableSize: engine.MemTable, MemTableStopWritesThreshold: stateMemTables, L0CompactionThreshold: stateL0Compaction,
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBitsPerKey)
	}
	return opts
}

func (s *State) openInstance(name string) (*instance, error) {
	e, err := engine.Open(s.path(name), s.layout(), s.fault, s.series)
	if err != nil {
		return nil, err
	}
	floor, err := readFloor(e.DB)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	level, err := readLevel(e.DB)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	known, err := readCuts(e.DB)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	gone, err := readRetired(e.DB, s.tables)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	in := &instance{Engine: e, state: s, name: name, floor: floor, gone: make(chan struct{})}
	in.level.Store(uint32(level))
	in.refs.Store(1)
	return in, in.snaps.Commit(seen{known, gone}, func() error { return nil })
}

// acquire returns the current instance with a reference for the caller.
func (s *State) acquire() (*instance, error) {
	for {
		in := s.current.Load()
		if in == nil {
			return nil, ErrClosed
		}
		for n := in.refs.Load(); n > 0; n = in.refs.Load() {
			if in.refs.CompareAndSwap(n, n+1) {
				return in, nil
			}
		}
	}
}

// release gives a reference back; the last one closes the instance.
func (in *instance) release() {
	if in.refs.Add(-1) > 0 {
		return
	}
	in.err = errors.Join(in.snaps.Outdate(), in.Engine.Close())
	if in.retired.Load() {
		s := in.state
		if err := s.opts.FS.RemoveAll(s.path(in.name)); err != nil {
			s.opts.Log.Warn("a replaced state was not removed; the next start will", "dir", in.name, "error", err)
		}
	}
	close(in.gone)
}

func (s *State) path(name string) string { return s.opts.FS.PathJoin(s.opts.Dir, name) }

// Position is up to where the Raft log is applied, as of the last commit. Its
// Configuration is not to be changed.
func (s *State) Position() Position { return s.meta.Load().position }

// Index is the datacenter's index: that of the last command committed.
func (s *State) Index() uint64 { return s.meta.Load().index }

// Failed is closed when the disk has failed; Err then says why.
func (s *State) Failed() <-chan struct{} { return s.fault.Done() }

// Err is nil, or wraps ErrFailed.
func (s *State) Err() error { return s.fault.Err() }

// FS is the file system that the State lives on.
func (s *State) FS() vfs.FS { return s.opts.FS }

// Sync returns when everything committed before it is durable.
func (s *State) Sync() error {
	in, err := s.acquire()
	if err != nil {
		return err
	}
	defer in.release()
	if err := in.Sync(); err != nil {
		return fmt.Errorf("sync the state: %w", err)
	}
	return nil
}

// Generation names the current instance, for Mark. It changes with Replace.
func (s *State) Generation() string {
	if in := s.current.Load(); in != nil {
		return in.name
	}
	return ""
}

// Mark durably notes that the entries of the Raft log up to p need not be
// kept for this state, and makes durable everything committed before. It is
// refused with ErrReplaced when generation is not the current one any more.
// It runs beside commits.
func (s *State) Mark(generation string, p Position) error {
	in, err := s.acquire()
	if err != nil {
		return err
	}
	defer in.release()
	if in.name != generation {
		return ErrReplaced
	}
	m := meta{position: p}
	err = in.Rare("mark", func() error {
		b := in.DB.NewBatch()
		if err := b.Set(markKey(), m.encode(), nil); err != nil {
			return err
		}
		return in.Apply(b, true)
	})
	if err != nil {
		return fmt.Errorf("mark the state at %d: %w", p.Index, err)
	}
	s.writer.Lock()
	defer s.writer.Unlock()
	if s.current.Load() != in {
		return ErrReplaced
	}
	s.mark.Store(&p)
	return nil
}

// Marked returns the position of the last Mark; zero when there is none. It
// can be past Position where the entries in between held no command.
func (s *State) Marked() Position { return *s.mark.Load() }

func (s *State) diskBytes() float64 {
	in, err := s.acquire()
	if err != nil {
		return 0
	}
	defer in.release()
	return float64(in.DB.Metrics().DiskSpaceUsage())
}

// Close ends the State: it waits for the open Txn, wakes every waiter with
// ErrClosed, and waits for open views up to ten seconds.
func (s *State) Close() error {
	s.writer.Lock()
	in, staged := s.current.Swap(nil), s.staged
	s.staged = nil
	s.writer.Unlock()
	if in == nil {
		return nil
	}
	if staged != nil {
		staged.release()
	}
	s.watches.Everyone(ErrClosed)
	s.series.Unregister()
	in.release()
	ctx, cancel := context.WithTimeout(context.Background(), engine.StopLimit)
	defer cancel()
	var errs []error
	for _, one := range []*instance{in, staged} {
		if one == nil {
			continue
		}
		select {
		case <-one.gone:
			errs = append(errs, one.err)
		case <-ctx.Done():
			return fmt.Errorf("close the state: %d views are still open after %v", one.refs.Load(), engine.StopLimit)
		}
	}
	return errors.Join(append(errs, s.group.Stop(ctx), s.marker.Close())...)
}
