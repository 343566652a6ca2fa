package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// The rows of derived indexes follow from the records. With each batch goes a
// note of which derived indexes have rows for all records, as of which index of
// the datacenter. An instance without that note, or with another, was last
// written by a version that has other derived indexes: all their rows are made
// anew then.

// derivedKey holds the note: the index (8 bytes), then what derivedIn lists.
func derivedKey() []byte { return []byte{spaceMeta, 'd'} }

// derivedIn lists the derived indexes of tables: of each the table and the number.
func derivedIn(tables []AnyTable) (list []byte) {
	for _, t := range tables {
		for _, id := range t.derived() {
			list = append(list, t.ID(), id)
		}
	}
	return list
}

// derivedAsOf is the note of an instance that has all rows; nil where the State
// keeps no derived index.
func (s *State) derivedAsOf(index uint64) []byte {
	if len(s.derived) == 0 {
		return nil
	}
	note := make([]byte, 0, 8+len(s.derived))
	return append(binary.BigEndian.AppendUint64(note, index), s.derived...)
}

// complete gives an instance that stands at index the rows that it lacks, before
// anybody reads it.
func (s *State) complete(in *instance, index uint64) error {
	want := s.derivedAsOf(index)
	if want == nil {
		return nil
	}
	note, err := in.noteOfDerived()
	if err != nil || bytes.Equal(note, want) {
		return err
	}
	began := time.Now()
	if err := s.derive(in); err != nil {
		return err
	}
	b := in.DB.NewBatch()
	if err := b.Set(derivedKey(), want, nil); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := in.Write(b, false); err != nil {
		return err
	}
	if index > 0 {
		s.opts.Log.Info("made the rows of indexes that this version has and the one before had not", "took", time.Since(began))
	}
	return nil
}

func (in *instance) noteOfDerived() (note []byte, err error) {
	row, closer, err := in.DB.Get(derivedKey())
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which derived indexes there are: %w", err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	return bytes.Clone(row), nil
}

// derive makes the rows of all derived indexes anew. A row has the index of its
// record, as if it had been written with it.
func (s *State) derive(in *instance) error {
	w := &filling{in: in, b: in.DB.NewBatch()}
	err := w.b.DeleteRange([]byte{spaceDerived}, []byte{spaceDerived + 1}, nil)
	for _, t := range s.tables {
		if err == nil && len(t.derived()) > 0 {
			err = w.derive(t)
		}
	}
	if err != nil {
		return fmt.Errorf("derive indexes: %w", errors.Join(err, w.b.Close()))
	}
	return in.Write(w.b, false)
}

// derive sets the rows of the derived indexes of a table.
func (w *filling) derive(t AnyTable) error {
	prefix := appendRowKey(nil, t.ID(), nil)
	headed := &w.in.state.heads
	return eachRow(w.in.DB, prefix, prefix, func(key, row []byte) (bool, error) {
		if headed.of(string(prefix)) {
			if err := w.set(appendHeadKey(nil, string(key)), row[:min(rowHeader, len(row))]); err != nil {
				return false, err
			}
		}
		index, live, body, err := splitRow(row)
		if err != nil || !live {
			return true, err
		}
		keys, err := t.derive(key[len(prefix):], body)
		if err != nil {
			return false, fmt.Errorf("record %x of table %s: %w", key[len(prefix):], t.Name(), err)
		}
		for _, key := range keys {
			if err := w.set([]byte(key), newRow(index, flagLive, 0)); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}
