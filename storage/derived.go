package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/engine"
	"github.com/legate-project/legate/storage/layout"
)

// The rows of derived indexes follow from the records. With each batch goes a
// note of which derived indexes have rows for all records, as of which index of
// the datacenter. An instance without that note, or with another, was last
// written by a version that has other derived indexes: all their rows are made
// anew then.

// derivedKey holds the note: the index (8 bytes), then what derivedIn lists.
func derivedKey() []byte { return []byte{layout.SpaceMeta, 'd'} }

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
	w := engine.Fill(in.Engine)
	err := w.DeleteRange([]byte{layout.SpaceDerived}, []byte{layout.SpaceDerived + 1}, nil)
	for _, t := range s.tables {
		if err == nil && len(t.derived()) > 0 {
			err = s.deriveTable(in, t, w.Set)
		}
	}
	if err != nil {
		return fmt.Errorf("derive indexes: %w", errors.Join(err, w.Close()))
	}
	return w.Write()
}

// deriveTable sets the rows of the derived indexes of a table.
func (s *State) deriveTable(in *instance, t AnyTable, set func(key, row []byte) error) error {
	prefix := layout.AppendRowKey(nil, t.ID(), nil)
	return eachRow(in.DB, prefix, prefix, func(key, row []byte) (bool, error) { return true, s.deriveRow(t, key, row, set) })
}

// deriveRow tells set of the rows that are derived from one.
func (s *State) deriveRow(t AnyTable, key, row []byte, set func(key, row []byte) error) error {
	ids := t.derived()
	if s.heads[t.ID()] {
		if err := set(appendHeadKey(make([]byte, 0, len(key)+1), string(key)), row[:min(layout.RowHeader, len(row))]); err != nil || len(ids) == 1 {
			return err
		}
	}
	index, live, body, err := layout.SplitRow(row)
	if err != nil || !live || len(ids) == 0 {
		return err
	}
	keys, err := t.derive(key[2:], body)
	if err != nil {
		return fmt.Errorf("record %x of table %s: %w", key[2:], t.Name(), err)
	}
	for _, key := range keys {
		if err := set([]byte(key), layout.NewRow(index, layout.FlagLive, 0)); err != nil {
			return err
		}
	}
	return nil
}

// derivedOf returns the rows that are derived from others, in order of their keys.
func (s *State) derivedOf(parts [][]Row) (derived []Row, err error) {
	var tables [256]AnyTable
	for _, t := range s.tables {
		tables[t.ID()] = t
	}
	set := func(key, row []byte) error {
		derived = append(derived, Row{Key: key, Value: row})
		return nil
	}
	for _, rows := range parts {
		for _, r := range rows {
			if t := tables[r.Key[1]]; t != nil && r.Key[0] == layout.SpaceRow {
				if err := s.deriveRow(t, r.Key, r.Value, set); err != nil {
					return nil, err
				}
			}
		}
	}
	slices.SortFunc(derived, func(a, b Row) int { return bytes.Compare(a.Key, b.Key) })
	return derived, nil
}
