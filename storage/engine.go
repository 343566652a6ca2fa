package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/storage/damage"
)

// writeLimit is how long one write may take before the disk counts as failed.
// A leader whose disk hangs goes on sending heartbeats, so nobody else would
// take over; virtual disks do freeze for some seconds and come back.
const writeLimit = 20 * time.Second

// stopLimit bounds the wait for the writing goroutine when an engine closes.
const stopLimit = 10 * time.Second

// engine is one open Pebble instance whose writes are made by a goroutine of
// its own. A write that Pebble never returns from (a fatal error, a stall that
// does not end) thereby costs that goroutine and not the caller's.
type engine struct {
	db      *pebble.DB
	fault   *fault
	metrics *engineMetrics
	group   *lifecycle.Group
	writes  chan writeRequest
	closing chan struct{}
	limit   time.Duration // of one write: writeLimit
	once    sync.Once
	err     error // of close
}

type writeRequest struct {
	batch *pebble.Batch
	sync  bool
	done  chan error // capacity 1: the writer never waits for its caller
}

// openEngine opens or creates the instance in dir.
func openEngine(dir string, opts *pebble.Options, f *fault, m *engineMetrics) (*engine, error) {
	opts.FormatMajorVersion = pebble.FormatNewest
	opts.Logger = pebbleLogger{f}
	opts.EventListener = m.listener(f)
	db, err := openPebble(dir, opts, f)
	if err != nil {
		return nil, err
	}
	e := &engine{
		db: db, fault: f, metrics: m, group: lifecycle.New("storage engine"),
		writes: make(chan writeRequest), closing: make(chan struct{}), limit: writeLimit,
	}
	if err := e.group.Go("writer", e.writeLoop); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return e, nil
}

// openPebble opens an instance whose manifest is whole, and gives ErrCorrupt for
// another. It calls Pebble on a goroutine that a fatal error may take.
func openPebble(dir string, opts *pebble.Options, f *fault) (*pebble.DB, error) {
	type result struct {
		db  *pebble.DB
		err error
	}
	done := make(chan result, 1)
	g := lifecycle.New("storage open")
	err := g.Spawn("open", func(context.Context) {
		if err := damage.Manifest(opts.FS, dir); err != nil {
			done <- result{nil, err}
			return
		}
		db, err := pebble.Open(dir, opts)
		done <- result{db, err}
	})
	if err != nil {
		return nil, err
	}
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("open %s: %w", dir, r.err)
		}
		return r.db, nil
	case <-f.done:
		return nil, fmt.Errorf("open %s: %w", dir, f.err())
	}
}

func (e *engine) writeLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case req := <-e.writes:
			req.done <- e.apply(req.batch, req.sync)
		}
	}
}

// apply is the only place that commits a batch.
func (e *engine) apply(b *pebble.Batch, sync bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = e.fault.recovered(p)
		}
	}()
	opts := pebble.NoSync
	if sync {
		opts = pebble.Sync
	}
	if err := e.db.Apply(b, opts); err != nil {
		return e.fault.fail(err)
	}
	return b.Close()
}

// write commits the batch and takes it over. An error means that the batch
// may or may not be there after a restart; then it is always ErrFailed, or
// ErrClosed.
func (e *engine) write(b *pebble.Batch, sync bool) error {
	if err := e.fault.err(); err != nil {
		return err
	}
	req := writeRequest{batch: b, sync: sync, done: make(chan error, 1)}
	select {
	case e.writes <- req:
	case <-e.closing:
		return ErrClosed
	case <-e.fault.done:
		return e.fault.err()
	}
	return e.await(req.done, "write")
}

// rare runs an operation that may take long or be taken by a fatal error on a
// goroutine of its own, beside the writes.
func (e *engine) rare(name string, run func() error) error {
	if err := e.fault.err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	err := e.group.Spawn(name, func(context.Context) {
		defer func() {
			if p := recover(); p != nil {
				done <- e.fault.recovered(p)
			}
		}()
		done <- run()
	})
	if err != nil {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-e.fault.done:
		return e.fault.err()
	}
}

// await waits for the end of a write, for the disk's failure, or for writeLimit.
func (e *engine) await(done chan error, what string) error {
	limit := time.NewTimer(e.limit)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-e.fault.done:
		return e.fault.err()
	case <-limit.C:
		return e.fault.fail(fmt.Errorf("a %s has not ended after %v", what, e.limit))
	}
}

// sync makes everything written so far durable. It runs beside the writes.
func (e *engine) sync() error {
	return e.rare("sync", func() error {
		b := e.db.NewBatch()
		if err := b.LogData(nil, nil); err != nil {
			return err
		}
		return e.apply(b, true)
	})
}

// close ends the writer and closes Pebble. After a fault Pebble is left open:
// its locks may be held for ever, and what it still has in memory must not
// reach a directory that was reported as failed.
func (e *engine) close() error {
	e.once.Do(func() {
		close(e.closing)
		if e.fault.err() != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if e.err = e.group.Stop(ctx); e.err != nil {
			return
		}
		e.err = e.db.Close()
	})
	return e.err
}

// syncDir makes the entries of a directory durable.
func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
