// Package engine is one Pebble instance whose disk may fail: what storage/raftlog
// and storage have in common.
//
// It promises that a failed write never counts as done: the first failure of the
// disk is kept, every later write returns it (ErrFailed), and OnFatal is told
// once. A write that hangs is a failure after 20 s. An instance whose manifest is
// damaged is refused (ErrCorrupt), never opened in part. It does not know what the
// keys are, and does not repair.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/storage/engine/damage"
)

// writeLimit is how long one write may take before the disk counts as failed.
// A leader whose disk hangs goes on sending heartbeats, so nobody else would
// take over; virtual disks do freeze for some seconds and come back.
const writeLimit = 20 * time.Second

// lowestLevel is the level of Pebble's that holds most of an instance.
const lowestLevel = 6

// StopLimit bounds the wait for the writing goroutine when an engine closes.
const StopLimit = 10 * time.Second

// Engine is one open Pebble instance whose writes are made by a goroutine of
// its own. A write that Pebble never returns from (a fatal error, a stall that
// does not end) thereby costs that goroutine and not the caller's.
type Engine struct {
	// DB is for reading; what is written to it goes through the Engine.
	DB      *pebble.DB
	fs      vfs.FS
	tables  sstable.WriterOptions // of what is ingested
	fault   *Fault
	metrics *Metrics
	group   *lifecycle.Group
	writes  chan writeRequest
	closing chan struct{}
	limit   time.Duration // of one write: writeLimit
	once    sync.Once
	err     error // of close
}

// Failed is closed when the disk has failed; Err then says why.
func (e *Engine) Failed() <-chan struct{} { return e.fault.done }

// Err is nil, or wraps ErrFailed.
func (e *Engine) Err() error { return e.fault.Err() }

type writeRequest struct {
	batch *pebble.Batch
	sync  bool
	done  chan error // capacity 1: the writer never waits for its caller
}

// Open opens or creates the instance in dir.
func Open(dir string, opts *pebble.Options, f *Fault, m *Metrics) (*Engine, error) {
	opts.FormatMajorVersion = pebble.FormatMajorVersion(version.StateFormat)
	opts.Logger = f.Logger()
	opts.EventListener = m.listener(f)
	opts.WithFSDefaults() // Pebble watches how long operations take only where no FS is given, or asked
	db, err := OpenPebble(dir, opts, f)
	if err != nil {
		return nil, err
	}
	opts.EnsureDefaults()
	e := &Engine{
		DB: db, fs: opts.FS, tables: opts.MakeWriterOptions(lowestLevel, db.TableFormat()), fault: f, metrics: m, group: lifecycle.New("storage engine"),
		writes: make(chan writeRequest), closing: make(chan struct{}), limit: writeLimit,
	}
	if err := e.group.Go("writer", e.writeLoop); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return e, nil
}

// OpenPebble opens an instance whose manifest is whole, and gives ErrCorrupt for
// another. It calls Pebble on a goroutine that a fatal error may take.
func OpenPebble(dir string, opts *pebble.Options, f *Fault) (*pebble.DB, error) {
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
		return nil, fmt.Errorf("open %s: %w", dir, f.Err())
	}
}

func (e *Engine) writeLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case req := <-e.writes:
			req.done <- e.Apply(req.batch, req.sync)
		}
	}
}

// Apply is the only place that commits a batch.
func (e *Engine) Apply(b *pebble.Batch, sync bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = e.fault.recovered(p)
		}
	}()
	opts := pebble.NoSync
	if sync {
		opts = pebble.Sync
	}
	if err := e.DB.Apply(b, opts); err != nil {
		return e.fault.Fail(err)
	}
	return b.Close()
}

// Write commits the batch and takes it over. An error means that the batch
// may or may not be there after a restart; then it is always ErrFailed, or
// ErrClosed.
func (e *Engine) Write(b *pebble.Batch, sync bool) error {
	if err := e.fault.Err(); err != nil {
		return err
	}
	req := writeRequest{batch: b, sync: sync, done: make(chan error, 1)}
	select {
	case e.writes <- req:
	case <-e.closing:
		return ErrClosed
	case <-e.fault.done:
		return e.fault.Err()
	}
	return e.await(req.done, "write")
}

// Rare runs an operation that may take long or be taken by a fatal error on a
// goroutine of its own, beside the writes.
func (e *Engine) Rare(name string, run func() error) error {
	if err := e.fault.Err(); err != nil {
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
		return e.fault.Err()
	}
}

// await waits for the end of a write, for the disk's failure, or for writeLimit.
func (e *Engine) await(done chan error, what string) error {
	limit := time.NewTimer(e.limit)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-e.fault.done:
		return e.fault.Err()
	case <-limit.C:
		return e.fault.Fail(fmt.Errorf("a %s has not ended after %v", what, e.limit))
	}
}

// Sync makes everything written so far durable. It runs beside the writes.
func (e *Engine) Sync() error {
	return e.Rare("sync", func() error {
		b := e.DB.NewBatch()
		if err := b.LogData(nil, nil); err != nil {
			return err
		}
		return e.Apply(b, true)
	})
}

// Close ends the writer and closes Pebble. After a fault Pebble is left open:
// its locks may be held for ever, and what it still has in memory must not
// reach a directory that was reported as failed.
func (e *Engine) Close() error {
	e.once.Do(func() {
		close(e.closing)
		if e.fault.Err() != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), StopLimit)
		defer cancel()
		if e.err = e.group.Stop(ctx); e.err != nil {
			return
		}
		e.err = e.DB.Close()
	})
	return e.err
}
