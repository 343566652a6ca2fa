package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/engine"
)

// Scratch returns the path of a new directory, not made yet, on the same file
// system as the instances: for Checkpoint and Replace. What is left there when
// the State is opened again is removed.
func (s *State) Scratch(purpose string) string { return s.path(s.names.Scratch(purpose)) }

// Checkpoint writes a consistent copy of the state to dir, which must not
// exist and should come from Scratch: a flush and hard links, so that it costs
// little however large the state is. It returns the position of the copy,
// which is that of a moment during the call. Commits go on meanwhile. Where the
// state is replaced meanwhile it may give ErrReplaced: try again.
func (s *State) Checkpoint(dir string) (Position, error) {
	in, err := s.acquire()
	if err != nil {
		return Position{}, err
	}
	defer in.release()
	err = in.Rare("flush", func() error { return in.DB.Flush() })
	if err == nil {
		err = s.copyTo(dir, in)
	}
	if err == nil {
		p, err := s.Inspect(dir)
		if err == nil {
			return p, nil
		}
	}
	return Position{}, fmt.Errorf("write a checkpoint to %s: %w", dir, errors.Join(err, s.opts.FS.RemoveAll(dir)))
}

// copyTo writes the checkpoint of an instance, with what is staged. Nothing is committed
// meanwhile only where something is, for then two instances must fit together.
func (s *State) copyTo(dir string, in *instance) (err error) {
	s.writer.Lock()
	unlock := sync.OnceFunc(s.writer.Unlock)
	defer unlock()
	if s.current.Load() != in { // what is staged now is not beside this one
		return ErrReplaced
	}
	var rows *pebble.Snapshot // parts come to what is staged, and it becomes the state, while it is packed
	if staged := s.staged; staged == nil {
		unlock()
	} else {
		staged.refs.Add(1)
		defer staged.release()
		rows = staged.DB.NewSnapshot()
		defer func() { err = errors.Join(err, rows.Close()) }()
	}
	err = in.Rare("checkpoint", func() error { return in.DB.Checkpoint(dir, pebble.WithFlushedWAL()) })
	if err != nil {
		return err
	}
	if unlock(); rows == nil {
		return nil
	}
	return s.pack(dir, rows)
}

// Inspect opens the checkpoint in dir without changing it and returns its
// position: that of its last command, or of its mark when that is newer.
func (s *State) Inspect(dir string) (p Position, err error) {
	opts := &pebble.Options{FS: s.opts.FS, Cache: s.opts.Cache, ReadOnly: true, ErrorIfNotExists: true}
	f := engine.NewFault(s.opts.Log, nil) // a bad checkpoint is not a bad disk
	opts.Logger = f.Logger()
	opts.EventListener = &pebble.EventListener{}
	opts.EventListener.EnsureDefaults(nil)
	db, err := engine.OpenPebble(dir, opts, f)
	if err != nil {
		return Position{}, fmt.Errorf("inspect a checkpoint: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	m, err := readMeta(db, metaKey())
	if err == nil && m.staging {
		err = errors.New("inspect a checkpoint: what is staged is not in it")
	}
	if err != nil {
		return Position{}, err
	}
	mark, err := readMeta(db, markKey())
	if err != nil {
		return Position{}, err
	}
	if mark.position.Index > m.position.Index {
		return mark.position, nil
	}
	return m.position, nil
}

// Replace makes the checkpoint in dir, whose files are durable, the state, at
// position p. A crash at any point leaves the old state or the new one, whole.
// Views that are open finish on the old one; everybody who waits runs again.
// It takes dir over when it succeeds.
func (s *State) Replace(dir string, p Position) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	if s.current.Load() == nil {
		return ErrClosed
	}
	if err := s.fault.Err(); err != nil {
		return err
	}
	f, err := s.adopt(dir, p)
	if err != nil {
		return fmt.Errorf("replace the state by %s: %w", dir, err)
	}
	before := s.staged
	s.staged = f.staged
	s.become(f.in, &f.meta)
	if before != nil {
		s.drop(before)
	}
	return nil
}

// become makes an instance that is durable the current one. Views that are
// open finish on the old one; everybody who waits runs again.
func (s *State) become(in *instance, m *meta) {
	s.meta.Store(m)
	s.mark.Store(&Position{})
	old := s.current.Swap(in)
	s.metrics.replaced.Inc()
	s.watches.Everyone(nil)
	old.retired.Store(true)
	if err := s.group.Spawn("remove a replaced state", func(context.Context) { old.release() }); err != nil {
		old.release()
	}
}

// adopt renames dir to the next instance, opens it, gives it its position and
// moves the marker: the moment from which a restart finds it.
func (s *State) adopt(dir string, p Position) (f opened, err error) {
	fs := s.opts.FS
	name := s.names.Next()
	if err := fs.Rename(dir, s.path(name)); err != nil {
		return f, err
	}
	if err := engine.SyncDir(fs, s.opts.Dir); err != nil {
		return f, err
	}
	if f.in, err = s.openInstance(name); err != nil {
		return f, err
	}
	f.meta, err = f.in.reposition(p)
	if err == nil {
		err = errors.Join(s.complete(f.in, f.meta.index), f.in.noteCollected(f.meta.index))
	}
	if err == nil {
		f.staged, err = s.findStaged(f.in, &f.meta)
	}
	if err == nil {
		err = s.moveMarker(name)
	}
	if err != nil {
		return opened{}, errors.Join(err, f.close())
	}
	return f, nil
}

// reposition durably writes p as the position, and takes the sender's mark away.
func (in *instance) reposition(p Position) (meta, error) {
	m, err := readMeta(in.DB, metaKey())
	if err != nil {
		return m, err
	}
	m.position = p
	b := in.DB.NewBatch()
	if err := b.Set(metaKey(), m.encode(), nil); err != nil {
		return m, err
	}
	if err := b.Delete(markKey(), nil); err != nil {
		return m, err
	}
	return m, in.Write(b, true)
}

// moveMarker is a write like any other: after a failure nobody knows which
// instance a restart finds, so the State has failed.
func (s *State) moveMarker(name string) error {
	if err := s.marker.Move(name); err != nil {
		return s.fault.Fail(fmt.Errorf("move the marker to %s: %w", name, err))
	}
	return nil
}
