package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Rows are keys and values, each key once and in order. What is yielded need not last.
type Rows = iter.Seq2[[]byte, []byte]

// Table is rows that become a table of an instance as they are.
type Table struct {
	// Path is where it is written first: a file that does not exist, on the file
	// system of the instance.
	Path string
	Rows Rows
}

// Ingest adds tables to the instance, of which no two have keys between those of the
// other: all of them or none, durable when it returns. It spares rows in order the way
// through the write-ahead log, the memtable and compactions. No write comes between that
// began before. An error is always ErrFailed or ErrClosed.
func (e *Engine) Ingest(tables ...Table) error {
	if err := e.fault.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	err := e.group.Spawn("ingest", func(context.Context) {
		defer func() {
			if p := recover(); p != nil {
				done <- e.fault.recovered(p)
			}
		}()
		done <- e.ingest(tables)
	})
	if err != nil {
		return ErrClosed
	}
	if err := e.await(done, "table"); err != nil {
		return e.fault.Fail(err)
	}
	return nil
}

func (e *Engine) ingest(tables []Table) error {
	var paths []string
	for _, t := range tables {
		rows, err := e.writeTable(t)
		if err != nil {
			return fmt.Errorf("write a table: %w", err)
		}
		if rows > 0 {
			paths = append(paths, t.Path)
		} else if err := e.fs.Remove(t.Path); err != nil {
			return err
		}
	}
	if len(paths) == 0 {
		return nil
	}
	return e.DB.Ingest(context.Background(), paths)
}

// writeTable writes a table to its path, durably, and returns how many rows it has.
func (e *Engine) writeTable(t Table) (rows int, err error) {
	f, err := e.fs.Create(t.Path, "legate-ingest")
	if err != nil {
		return 0, err
	}
	w := sstable.NewWriter(&tableFile{f: f, to: bufio.NewWriterSize(f, tableBuffer)}, e.tables)
	for key, value := range t.Rows {
		if err := w.Set(key, value); err != nil {
			return rows, errors.Join(err, w.Close())
		}
		rows++
	}
	return rows, w.Close()
}

// tableBuffer gathers blocks of a table, in bytes: Pebble's own writes each by itself.
const tableBuffer = 256 << 10

// tableFile is a file that a table is written to.
type tableFile struct {
	f  vfs.File
	to *bufio.Writer
}

var _ objstorage.Writable = (*tableFile)(nil)

// Write implements objstorage.Writable.
func (t *tableFile) Write(p []byte) error {
	_, err := t.to.Write(p)
	return err
}

// Finish implements objstorage.Writable: what was written is durable when it returns.
func (t *tableFile) Finish() error {
	return errors.Join(t.to.Flush(), t.f.Sync(), t.f.Close())
}

// Abort implements objstorage.Writable.
func (t *tableFile) Abort() { _ = t.f.Close() } // the table is given up either way
