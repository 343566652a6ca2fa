package storage

import (
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/staging"
)

// Row is a row as it stands in the state, for archives: key and value alias
// the reader's memory and are valid until the next one.
type Row = staging.Row

// Exported is where a view stands in time.
type Exported struct {
	Index    uint64 // the datacenter's
	Position Position
}

// Export says where the view stands. Unlike Index it does not depend on what
// was read.
func (v *View) Export() (e Exported, err error) {
	row, closer, err := v.get(metaKey())
	if closer != nil {
		defer func() { err = errors.Join(err, closer.Close()) }()
	}
	if err != nil || row == nil {
		return Exported{}, err
	}
	m, err := decodeMeta(row)
	return Exported{Index: m.index, Position: m.position}, err
}

// Count returns how many live rows a table has. It reads them all, and leaves
// Index as it is.
func (v *View) Count(t AnyTable) (int, error) {
	n := 0
	err := v.each(layout.AppendRowKey(nil, t.ID(), nil), func(_, row []byte) (bool, error) {
		_, live, _, err := layout.SplitRow(row)
		if live {
			n++
		}
		return true, err
	})
	if err != nil {
		return 0, fmt.Errorf("count the rows of table %s: %w", t.Name(), err)
	}
	return n, nil
}

// Rows yields every live row of every table and index, in order of the keys.
// After an error it ends. It leaves Index as it is and is for views that are
// not watched.
func (v *View) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, space := range []byte{layout.SpaceIndex, layout.SpaceRow} {
			stopped := false
			err := v.each([]byte{space}, func(key, row []byte) (bool, error) {
				_, live, _, err := layout.SplitRow(row)
				if err != nil || !live {
					return true, err
				}
				stopped = !yield(Row{Key: key, Value: row}, nil)
				return !stopped, nil
			})
			if stopped {
				return
			}
			if err != nil {
				yield(Row{}, fmt.Errorf("export the state: %w", err))
				return
			}
		}
	}
}

// Rows returns the row of a record that was written at index, and behind it
// those of its indexes that leave a State: for who makes a state from what came
// from elsewhere.
func (t *Table[T, P]) Rows(key []byte, index uint64, v *T) ([]Row, error) {
	row, err := P(v).MarshalMsg(layout.NewRow(index, layout.FlagLive, P(v).Msgsize()))
	if err != nil {
		return nil, fmt.Errorf("make a row of table %s: %w", t.name, err)
	}
	pointers, err := t.pointers(key, row[layout.RowHeader:])
	if err != nil {
		return nil, fmt.Errorf("make a row of table %s: %w", t.name, err)
	}
	rows := []Row{{Key: layout.AppendRowKey(nil, t.id, key), Value: row}}
	for _, k := range pointers {
		rows = append(rows, Row{Key: []byte(k), Value: layout.NewRow(index, layout.FlagLive, 0)})
	}
	return rows, nil
}

// floorKey holds the index below which no view's is: that of the command that
// replaced the state as a whole. None where that never was.
func floorKey() []byte { return []byte{layout.SpaceMeta, 'f'} }

func readFloor(db *pebble.DB) (uint64, error) {
	m, err := readMeta(db, floorKey())
	return m.index, err
}
