package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/storage/layout"
)

// Reader is what tables are read through: a *View, or the *Txn that is being
// written, which sees its own writes. It belongs to one goroutine.
type Reader interface {
	// Index is, for a View, the newest index among what was read; for a Txn,
	// the index of the current command.
	Index() uint64

	get(key []byte) (row []byte, closer io.Closer, err error) // nil row: nothing there; nil closer: nothing to close
	each(prefix []byte, visit func(key, row []byte) (more bool, err error)) error
	saw(index uint64)
	touchKey(key []byte)
	touchPrefix(prefix []byte)
	retired() (*retired, error) // what is not settled: see Retire
	scratch() []byte            // empty, to build a key in; valid until the next call
}

var (
	_ Reader = (*View)(nil)
	_ Reader = (*Txn)(nil)
)

// Codec is what msgp generates for a record of type T.
type Codec[T any] interface {
	*T
	msgp.Marshaler
	msgp.Unmarshaler
	msgp.Sizer
}

// Table is a set of records under primary keys. It is a description, made
// once as a package-level value; the records are in the State.
type Table[T any, P Codec[T]] struct {
	id      byte
	name    string
	indexes []*Index[T, P]
	heads   bool // see WithHeads
}

// Index finds the records of a table by other keys.
type Index[T any, P Codec[T]] struct {
	id    byte
	space byte // of its rows
	name  string
	keys  func(*T) [][]byte
	table *Table[T, P]

	become func(v *T, index uint64, note []byte) (*T, error) // nil: see NewRetiringIndex
}

// NewTable describes a table. The id is part of every key on disk: it is never
// changed nor used again. An index belongs to one table.
func NewTable[T any, P Codec[T]](id byte, name string, indexes ...*Index[T, P]) *Table[T, P] {
	t := &Table[T, P]{id: id, name: name, indexes: indexes}
	for i, ix := range indexes {
		if ix.table != nil {
			panic(fmt.Sprintf("storage: index %s belongs to the table %s", ix.name, ix.table.name))
		}
		for _, other := range indexes[:i] {
			if other.id == ix.id {
				panic(fmt.Sprintf("storage: table %s: indexes %s and %s share an id", name, other.name, ix.name))
			}
		}
		if ix.become != nil && len(indexes) > 1 {
			panic(fmt.Sprintf("storage: index %s is retiring and not the only one of table %s", ix.name, name))
		}
		ix.table = t
	}
	return t
}

// NewIndex describes an index: keys returns the keys that a record is found
// by, none to leave it out. The id is part of every key on disk.
func NewIndex[T any, P Codec[T]](id byte, name string, keys func(*T) [][]byte) *Index[T, P] {
	return &Index[T, P]{id: id, space: layout.SpaceIndex, name: name, keys: keys}
}

// NewDerivedIndex is NewIndex for a table that had records before the index: a
// State that is told of the table (OpenState) makes the rows that are
// missing. They never leave it, so that it does not matter which other servers
// have the index. Who changes what keys returns takes another id.
func NewDerivedIndex[T any, P Codec[T]](id byte, name string, keys func(*T) [][]byte) *Index[T, P] {
	return &Index[T, P]{id: id, space: layout.SpaceDerived, name: name, keys: keys}
}

// ID returns the number of the table in keys on disk.
func (t *Table[T, P]) ID() byte { return t.id }

// Name returns the name of the table in errors.
func (t *Table[T, P]) Name() string { return t.name }

// Get returns the record under key, or nil when there is none. The caller
// owns it.
func (t *Table[T, P]) Get(r Reader, key []byte) (*T, error) {
	rowKey := layout.AppendRowKey(r.scratch(), t.id, key)
	r.touchKey(rowKey)
	v, err := t.load(r, rowKey)
	if err != nil {
		return nil, fmt.Errorf("get %x of table %s: %w", key, t.name, err)
	}
	return v, nil
}

// load reads and decodes a row; its index counts as seen.
func (t *Table[T, P]) load(r Reader, rowKey []byte) (v *T, err error) {
	row, closer, err := r.get(rowKey)
	if closer != nil {
		defer func() { err = errors.Join(err, closer.Close()) }()
	}
	if err != nil || row == nil {
		return nil, err
	}
	return t.decode(r, row)
}

// decode returns nil for a tombstone.
func (t *Table[T, P]) decode(r Reader, row []byte) (*T, error) {
	index, live, body, err := layout.SplitRow(row)
	if err != nil {
		return nil, err
	}
	r.saw(index)
	if !live {
		return nil, nil
	}
	v := new(T)
	if _, err := P(v).UnmarshalMsg(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return v, nil
}

// Scan yields the records whose keys begin with prefix, in key order. After
// an error it ends. The body of the loop may write to the Txn that it scans:
// what it adds is not visited, what it deletes is not yielded any more.
func (t *Table[T, P]) Scan(r Reader, prefix []byte) iter.Seq2[*T, error] {
	full := layout.AppendRowKey(nil, t.id, prefix)
	return scan(r, full, t.name, func(_, row []byte) (*T, bool, error) {
		v, err := t.decode(r, row)
		return v, v != nil, err
	})
}

// scan yields what pick makes of the rows below prefix, skipping what it does
// not want.
func scan[V any](r Reader, prefix []byte, table string, pick func(key, row []byte) (V, bool, error)) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		stopped := false
		r.touchPrefix(prefix)
		err := r.each(prefix, func(key, row []byte) (bool, error) {
			v, wanted, err := pick(key, row)
			if err != nil || !wanted {
				return true, err
			}
			stopped = !yield(v, nil)
			return !stopped, nil
		})
		if err != nil && !stopped {
			var none V
			yield(none, fmt.Errorf("scan %x of table %s: %w", prefix, table, err))
		}
	}
}

// Keys yields the keys that begin with prefix, in order, without decoding the
// records. Each is valid until the next one.
func (t *Table[T, P]) Keys(r Reader, prefix []byte) iter.Seq2[[]byte, error] {
	return t.KeysAfter(r, prefix, nil)
}

// Empty reports whether the table has nothing, not even what remains of deleted records. A
// Txn that has found so remembers it, so that asking before each command costs nothing.
func (t *Table[T, P]) Empty(tx *Txn) (bool, error) {
	if tx.err == nil && tx.in.empty[t.id] && !tx.over.Written[t.id] {
		return true, nil
	}
	more, err := tx.more(layout.AppendRowKey(nil, t.id, nil), t.name, 0)
	if err == nil && !more && !tx.over.Written[t.id] && len(tx.cuts.hidden) == 0 {
		tx.in.empty[t.id] = true
	}
	return !more, err
}

// Put writes the record under key, in place of what was there, and keeps the
// indexes.
func (t *Table[T, P]) Put(tx *Txn, key []byte, v *T) error {
	var old *T
	if len(t.indexes) > 0 && len(key) <= layout.MaxPrimaryKey {
		var err error
		if old, err = t.load(tx, layout.AppendRowKey(tx.scratch(), t.id, key)); err != nil {
			return fmt.Errorf("put %x into table %s: %w", key, t.name, err)
		}
	}
	return t.Replace(tx, key, old, v)
}

// Replace is Put for who has read what is there: old is what Get returned in
// this command, unchanged since, nil for nothing.
func (t *Table[T, P]) Replace(tx *Txn, key []byte, old, v *T) error {
	if len(key) > layout.MaxPrimaryKey {
		return fmt.Errorf("put into table %s: %w: %d bytes, %d allowed", t.name, ErrKeyTooLong, len(key), layout.MaxPrimaryKey)
	}
	row := layout.NewRow(tx.Index(), layout.FlagLive, P(v).Msgsize())
	row, err := P(v).MarshalMsg(row)
	if err != nil {
		return fmt.Errorf("put %x into table %s: %w", key, t.name, err)
	}
	if err := tx.set(string(layout.AppendRowKey(tx.scratch(), t.id, key)), row); err != nil {
		return fmt.Errorf("put %x into table %s: %w", key, t.name, err)
	}
	for _, ix := range t.indexes {
		ix.update(tx, key, old, v)
	}
	return nil
}

// Delete removes the record under key and says whether there was one. It
// leaves a tombstone that carries the current index.
func (t *Table[T, P]) Delete(tx *Txn, key []byte) (bool, error) {
	rowKey := layout.AppendRowKey(tx.scratch(), t.id, key)
	old, err := t.load(tx, rowKey)
	if err == nil && old != nil {
		err = tx.bury(string(rowKey))
	}
	if err != nil {
		return false, fmt.Errorf("delete %x of table %s: %w", key, t.name, err)
	}
	if old == nil {
		return false, nil
	}
	for _, ix := range t.indexes {
		ix.update(tx, key, old, nil)
	}
	return true, nil
}

// Bury is Delete that leaves a tombstone even if there was no record: who looks for what
// is newer than an index finds the key.
func (t *Table[T, P]) Bury(tx *Txn, key []byte) (bool, error) {
	was, err := t.Delete(tx, key)
	if err != nil || was {
		return was, err
	}
	if err := tx.bury(string(layout.AppendRowKey(tx.scratch(), t.id, key))); err != nil {
		return false, fmt.Errorf("bury %x of table %s: %w", key, t.name, err)
	}
	return false, nil
}

// DeleteAll removes the records whose keys begin with prefix, as Delete does each,
// and says how many there were. It reads them in one pass: looking each up again
// is most of the cost of deleting many.
func (t *Table[T, P]) DeleteAll(tx *Txn, prefix []byte) (int, error) {
	var keys []string
	err := tx.each(layout.AppendRowKey(nil, t.id, prefix), func(key, row []byte) (bool, error) {
		_, live, _, err := layout.SplitRow(row)
		if err != nil || !live {
			return true, err
		}
		keys = append(keys, string(key))
		if len(t.indexes) == 0 {
			return true, nil
		}
		old, err := t.decode(tx, row)
		if err != nil {
			return false, err
		}
		for _, ix := range t.indexes {
			ix.update(tx, key[2:], old, nil)
		}
		return true, nil
	})
	if err == nil {
		err = tx.buryAll(keys)
	}
	if err != nil {
		return 0, fmt.Errorf("delete %x and what follows of table %s: %w", prefix, t.name, err)
	}
	return len(keys), nil
}

// update rewrites the index rows of v and buries those that only old had. The
// Txn is open: the record itself was written just before.
func (ix *Index[T, P]) update(tx *Txn, primary []byte, old, v *T) {
	var keys [][]byte
	if v != nil {
		keys = ix.keys(v)
	}
	for _, k := range keys {
		_ = tx.set(string(ix.rowKey(k, primary)), layout.NewRow(tx.Index(), layout.FlagLive, 0))
	}
	if old == nil {
		return
	}
	for _, k := range ix.keys(old) {
		if !slices.ContainsFunc(keys, func(n []byte) bool { return bytes.Equal(n, k) }) {
			_ = tx.bury(string(ix.rowKey(k, primary)))
		}
	}
}

// Scan yields the records whose index keys begin with prefix, in the order of
// index key and then primary key. A record with several such keys is yielded
// for each.
func (ix *Index[T, P]) Scan(r Reader, prefix []byte) iter.Seq2[*T, error] {
	full := ix.appendPrefix(nil, prefix)
	return scan(r, full, ix.table.name, func(key, row []byte) (*T, bool, error) {
		index, live, _, err := layout.SplitRow(row)
		if err != nil {
			return nil, false, err
		}
		r.saw(index)
		if !live {
			return nil, false, nil
		}
		v, err := ix.record(r, key)
		return v, v != nil, err
	})
}

// record reads the record behind an index row. It is not recorded as touched:
// the index row is rewritten whenever the record is.
func (ix *Index[T, P]) record(r Reader, key []byte) (*T, error) {
	primary, err := layout.PrimaryOf(key)
	if err != nil {
		return nil, err
	}
	return ix.table.load(r, layout.AppendRowKey(r.scratch(), ix.table.id, primary))
}
