package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/overlay"
)

// Newer is a record that was written after an index, or deleted.
type Newer[T any] struct {
	Key    []byte
	Index  uint64 // of the command that wrote or deleted it
	Record *T     // nil for a deletion
}

// Newer yields, in key order, what was written or deleted below a prefix after an
// index, from a key on. Deletions are yielded for as long as they are remembered: see Remembers.
// It reads every row below the prefix and decodes those that it yields.
func (t *Table[T, P]) Newer(r Reader, prefix, from []byte, after uint64) iter.Seq2[Newer[T], error] {
	begin := later{r, layout.AppendRowKey(nil, t.id, from), true}
	return scan(begin, layout.AppendRowKey(nil, t.id, prefix), t.name, func(key, row []byte) (Newer[T], bool, error) {
		index, _, _, err := layout.SplitRow(row)
		if err != nil || index <= after {
			return Newer[T]{}, false, err
		}
		v, err := t.decode(r, row)
		return Newer[T]{Key: slices.Clone(key[2:]), Index: index, Record: v}, true, err
	})
}

// CountNewer counts what Newer yields, without decoding it. Where everything was deleted at
// once since, which Newer cannot yield, it is not 0.
func (t *Table[T, P]) CountNewer(v *View, prefix []byte, after uint64) (n int, err error) {
	full := layout.AppendRowKey(nil, t.id, prefix)
	v.touchPrefix(full)
	if snap, err := v.snapshot(); err == nil && newestCut(snap.Known.cuts, full) > after {
		n++
	}
	err = v.each(full, func(_, row []byte) (bool, error) {
		index, _, _, err := layout.SplitRow(row)
		if index > after {
			n++
		}
		return true, err
	})
	if err != nil {
		return 0, fmt.Errorf("count what is newer than %d in table %s: %w", after, t.name, err)
	}
	return n, nil
}

// SourceBelow is Source of the records whose keys begin with a prefix. What Changes
// gives of it are the keys behind the prefix.
func (t *Table[T, P]) SourceBelow(prefix []byte) Source {
	return Source{string(layout.AppendRowKey(nil, t.id, prefix))}
}

// collectedKey holds the index of the newest tombstone that was collected (8 bytes,
// big-endian). Each server keeps it for itself. A state that has none was written by a
// version without it, and may have forgotten whatever was deleted: see noteCollected.
func collectedKey() []byte { return []byte{layout.SpaceMeta, 'c'} }

func readCollected(r pebble.Reader) (index uint64, known bool, err error) {
	row, closer, err := r.Get(collectedKey())
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read which tombstones were collected: %w", err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	if len(row) != 8 {
		return 0, false, fmt.Errorf("which tombstones were collected has %d bytes: %w", len(row), ErrCorrupt)
	}
	return binary.BigEndian.Uint64(row), true, nil
}

// noteCollected has an instance that stands at index say up to where it may have
// forgotten deletions, where it does not say so.
func (in *instance) noteCollected(index uint64) error {
	_, known, err := readCollected(in.DB)
	if err != nil || known {
		return err
	}
	b := in.DB.NewBatch()
	if err := b.Set(collectedKey(), binary.BigEndian.AppendUint64(nil, index), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return in.Write(b, false)
}

// collected notes that a tombstone of this index is being collected. Newer ones may have
// been before: what is settled late leaves tombstones of the index at which it was retired.
func (tx *Txn) collected(index uint64) error {
	row, err := tx.overOrStored(collectedKey())
	if err != nil || len(row) == 8 && binary.BigEndian.Uint64(row) >= index {
		return err
	}
	tx.over.Set(string(collectedKey()), overlay.Entry{Row: binary.BigEndian.AppendUint64(nil, index), Quiet: true})
	return nil
}
