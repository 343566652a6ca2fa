package storage

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tinylib/msgp/msgp"
)

// record is what the tests store.
type record struct {
	Key   string
	Color string // found by the index byColor, unless empty
	Data  []byte
}

func (r *record) Msgsize() int { return 32 + len(r.Key) + len(r.Color) + len(r.Data) }

func (r *record) MarshalMsg(b []byte) ([]byte, error) {
	b = msgp.AppendString(b, r.Key)
	b = msgp.AppendString(b, r.Color)
	return msgp.AppendBytes(b, r.Data), nil
}

func (r *record) UnmarshalMsg(b []byte) (_ []byte, err error) {
	if r.Key, b, err = msgp.ReadStringBytes(b); err != nil {
		return b, err
	}
	if r.Color, b, err = msgp.ReadStringBytes(b); err != nil {
		return b, err
	}
	r.Data, b, err = msgp.ReadBytesBytes(b, nil)
	return b, err
}

var (
	byColor = NewIndex[record](1, "color", func(r *record) [][]byte {
		if r.Color == "" {
			return nil
		}
		return [][]byte{Key(r.Color)}
	})
	byLetter = NewIndex[record](2, "letter", func(r *record) [][]byte {
		var keys [][]byte
		for i := range len(r.Key) {
			keys = append(keys, []byte{r.Key[i]})
		}
		return keys
	})
	things = NewTable(1, "things", byColor, byLetter).WithHeads()
	plain  = NewTable[record](2, "plain")
)

func openState(t testing.TB, fs vfs.FS) *State {
	t.Helper()
	s, err := OpenState(Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// apply runs one command in a transaction of its own and returns its index.
func apply(t testing.TB, s *State, command func(tx *Txn)) uint64 {
	t.Helper()
	tx := s.Begin()
	defer tx.Discard()
	index := tx.Next()
	command(tx)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return index
}

func put(t testing.TB, s *State, table *Table[record, *record], key, color string) uint64 {
	t.Helper()
	return apply(t, s, func(tx *Txn) {
		if err := table.Put(tx, []byte(key), &record{Key: key, Color: color}); err != nil {
			t.Fatal(err)
		}
	})
}

func remove(t testing.TB, s *State, table *Table[record, *record], key string) uint64 {
	t.Helper()
	return apply(t, s, func(tx *Txn) {
		if ok, err := table.Delete(tx, []byte(key)); err != nil || !ok {
			t.Fatalf("delete %q: %v, %v", key, ok, err)
		}
	})
}
