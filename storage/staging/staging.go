// Package staging is what lies on the disk of a state that is staged: rows in an instance of
// their own, and how they are packed into the one that is current while a state is sent.
//
// It does not know what rows mean, and makes nothing durable that its caller has not
// asked for.
package staging

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/engine"
	"github.com/legate-project/legate/storage/layout"
)

// Space holds, alone, the progress. Where a state is sent, and in those of versions
// that staged beside the tables, it also holds the rows: s, the key of the row as it will
// be.
const Space = 's'

// packed is how many bytes of rows are packed or unpacked at a time.
const packed = 4 << 20

// Row is a row as it stands in a state.
type Row struct{ Key, Value []byte }

// Check says whether a row from outside can be one of a state.
func (r Row) Check() error {
	if len(r.Key) < 2 || r.Key[0] != layout.SpaceRow && r.Key[0] != layout.SpaceIndex {
		return fmt.Errorf("the key %x: %w", r.Key, engine.ErrCorrupt)
	}
	if r.Key[0] == layout.SpaceIndex {
		if _, err := layout.PrimaryOf(r.Key); err != nil {
			return err
		}
	}
	if len(r.Key) > 3*layout.MaxPrimaryKey {
		return fmt.Errorf("a key of %d bytes: %w", len(r.Key), engine.ErrCorrupt)
	}
	_, live, _, err := layout.SplitRow(r.Value)
	if err == nil && !live {
		err = fmt.Errorf("a tombstone: %w", engine.ErrCorrupt)
	}
	return err
}

// NoteKey holds the progress.Note that goes with the progress.
func NoteKey() []byte { return []byte{layout.SpaceMeta, 'n'} }

// OwnKey is in an instance of staged rows, until it is adopted: the ID that they are
// staged under, and which derived indexes have theirs.
func OwnKey() []byte { return []byte{layout.SpaceMeta, 'a'} }

// Each yields the rows of parts, one part after the other.
func Each(parts ...[]Row) engine.Rows {
	return func(yield func(key, value []byte) bool) {
		for _, rows := range parts {
			for _, r := range rows {
				if !yield(r.Key, r.Value) {
					return
				}
			}
		}
	}
}

// Get returns a row of an instance that nobody writes, or nil.
func Get(e *engine.Engine, key []byte) ([]byte, error) {
	row, closer, err := e.DB.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is staged: %w", err)
	}
	row = bytes.Clone(row)
	return row, closer.Close()
}

// Owner returns the ID that the rows of an instance are staged under, and which
// derived indexes have theirs; false where it is a new one.
func Owner(e *engine.Engine) (id string, derived []byte, ok bool, err error) {
	row, err := Get(e, OwnKey())
	if err != nil || row == nil {
		return "", nil, false, err
	}
	size, n := binary.Uvarint(row)
	if n <= 0 || size > uint64(len(row)-n) {
		return "", nil, false, fmt.Errorf("who has staged an instance: %w", engine.ErrCorrupt)
	}
	return string(row[n:][:size]), row[n:][size:], true, nil
}

// Own durably writes what Owner reads.
func Own(e *engine.Engine, id string, derived []byte) error {
	row := append(binary.AppendUvarint(nil, uint64(len(id))), id...)
	b := e.DB.NewBatch()
	if err := b.Set(OwnKey(), append(row, derived...), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return e.Write(b, true)
}

// Unpack hands over the rows that are packed in an instance, in order, some at a time, and
// then takes them out of it, durably, together with what more writes.
func Unpack(from *engine.Engine, take func([]Row) error, more func(*pebble.Batch) error) error {
	rest := []byte{Space, 0}
	err := gather(from.DB, rest, []byte{Space + 1}, func(rows []Row) error {
		for i := range rows {
			rows[i].Key = rows[i].Key[1:]
		}
		return take(rows)
	})
	if err != nil {
		return err
	}
	b := from.DB.NewBatch()
	if err := errors.Join(b.DeleteRange(rest, []byte{Space + 1}, nil), more(b)); err != nil {
		return errors.Join(err, b.Close())
	}
	return from.Write(b, true)
}

// Pack durably writes the rows that are staged into another instance, those that
// are derived apart, and then takes the note out of that, together with what more writes.
// path names files as an engine.Table wants them.
func Pack(to *engine.Engine, from pebble.Reader, path func() string, more func(*pebble.Batch) error) error {
	for _, space := range []byte{layout.SpaceIndex, layout.SpaceRow} {
		err := gather(from, []byte{space}, []byte{space + 1}, func(rows []Row) error {
			for i := range rows {
				rows[i].Key = append([]byte{Space}, rows[i].Key...)
			}
			return to.Ingest(engine.Table{Path: path(), Rows: Each(rows)})
		})
		if err != nil {
			return err
		}
	}
	b := to.DB.NewBatch()
	if err := errors.Join(b.Delete(NoteKey(), nil), more(b)); err != nil {
		return errors.Join(err, b.Close())
	}
	return to.Write(b, true)
}

// gather hands over copies of the rows from a key on and below another, some at a time.
func gather(r pebble.Reader, from, below []byte, visit func([]Row) error) (err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: below})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var rows []Row
	size := 0
	for ok := it.First(); ok; ok = it.Next() {
		row, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		rows = append(rows, Row{bytes.Clone(it.Key()), bytes.Clone(row)})
		if size += len(it.Key()) + len(row); size >= packed {
			if err := visit(rows); err != nil {
				return err
			}
			rows, size = nil, 0
		}
	}
	if err := it.Error(); err != nil || len(rows) == 0 {
		return err
	}
	return visit(rows)
}
