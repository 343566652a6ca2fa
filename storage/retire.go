package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/overlay"
)

// An index key that is retired changes all records that are found by it at once, however
// many they are: one row says so, with the index of the command. Whoever reads such a
// record reads what it has become, written at that index, and nobody finds it by that key
// any more. Settle writes this into the records later, some at a time; that changes nothing
// that is read. Until then the rows of the index stay, hidden: they say what is left to do.

// spaceRetired holds what was retired and is not settled: u, the prefix of the index rows.
const spaceRetired = 'u'

// retirement is an index key that was retired. It is never changed.
type retirement struct {
	index uint64
	note  []byte // what the changed records become is said in it
	after []byte // the index row up to which all are settled; nil for none
}

// retirements are those that are not settled, by the prefix of their index rows.
type retirements = iradix.Tree[*retirement]

// retired is a State's retirements with the tables that know what they mean. It is never
// changed.
type retired struct {
	*retirements
	tables map[byte]AnyTable
}

func retiredKey(prefix []byte) string { return string(append([]byte{spaceRetired}, prefix...)) }

func (r *retirement) encode() []byte {
	row := layout.NewRow(r.index, layout.FlagLive, len(r.note)+len(r.after)+binary.MaxVarintLen64)
	row = append(binary.AppendUvarint(row, uint64(len(r.note))), r.note...)
	return append(row, r.after...)
}

func decodeRetirement(row []byte) (*retirement, error) {
	index, _, body, err := layout.SplitRow(row)
	if err != nil {
		return nil, err
	}
	size, n := binary.Uvarint(body)
	if n <= 0 || size > uint64(len(body)-n) {
		return nil, fmt.Errorf("what a retired index key means: %w", ErrCorrupt)
	}
	r := &retirement{index: index, note: bytes.Clone(body[n : n+int(size)])}
	if after := body[n+int(size):]; len(after) > 0 {
		r.after = bytes.Clone(after)
	}
	return r, nil
}

// readRetired reads the retirements of an instance. One of a table that the State was not
// told of could not be read rightly.
func readRetired(db *pebble.DB, tables []AnyTable) (*retired, error) {
	known, byID := iradix.New[*retirement]().Txn(), map[byte]AnyTable{}
	for _, t := range tables {
		byID[t.ID()] = t
	}
	all := []byte{spaceRetired}
	err := eachRow(db, all, all, func(key, row []byte) (bool, error) {
		r, err := decodeRetirement(row)
		if err == nil && (len(key) < 1+layout.IndexHeader || byID[key[2]] == nil) {
			err = fmt.Errorf("%x was retired, of a table that is not known: %w", key[1:], ErrCorrupt)
		}
		known.Insert(slices.Clone(key[1:]), r)
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("read which index keys were retired: %w", err)
	}
	return &retired{known.Commit(), byID}, nil
}

// read is a row as readers see it: nil where they see none.
func (rs *retired) read(key, row []byte) ([]byte, error) {
	if rs == nil || rs.Len() == 0 || len(row) == 0 || len(key) < 2 {
		return row, nil
	}
	switch key[0] {
	case layout.SpaceIndex:
		if _, _, hidden := rs.Root().LongestPrefix(key); hidden {
			return nil, nil
		}
	case layout.SpaceRow:
		if t := rs.tables[key[1]]; t != nil {
			return t.become(rs, row)
		}
	}
	return row, nil
}

// get is read for what a database gives of one key.
func (rs *retired) get(key, row []byte, closer io.Closer, err error) ([]byte, io.Closer, error) {
	if err != nil || rs == nil || rs.Len() == 0 {
		return row, closer, err
	}
	seen, err := rs.read(key, row)
	if closer == nil || err == nil && len(seen) > 0 && len(row) > 0 && &seen[0] == &row[0] {
		return seen, closer, err
	}
	return seen, nil, errors.Join(err, closer.Close())
}

// with is the retirements with another one, or without it where that is nil.
func (rs *retired) with(t AnyTable, prefix []byte, r *retirement) *retired {
	next := &retired{tables: rs.tables}
	if r == nil {
		next.retirements, _, _ = rs.Delete(prefix)
		return next
	}
	next.retirements, _, _ = rs.Insert(bytes.Clone(prefix), r)
	if rs.tables[t.ID()] == nil { // a State that was not told of its tables
		next.tables = map[byte]AnyTable{t.ID(): t}
		for id, other := range rs.tables {
			next.tables[id] = other
		}
	}
	return next
}

// NewRetiringIndex is NewIndex whose keys can be retired: become says what a record
// becomes by that, at the index of the command, from the note that Retire was given; nil
// where it is deleted. Its rows of no other index may change by it: it is the only index of its
// table.
func NewRetiringIndex[T any, P Codec[T]](id byte, name string, keys func(*T) [][]byte, become func(v *T, index uint64, note []byte) (*T, error)) *Index[T, P] {
	ix := NewIndex[T, P](id, name, keys)
	ix.become = become
	return ix
}

// become is a row of the table as readers see it.
func (t *Table[T, P]) become(rs *retired, row []byte) ([]byte, error) {
	if len(t.indexes) == 0 || t.indexes[0].become == nil {
		return row, nil
	}
	ix := t.indexes[0]
	_, live, body, err := layout.SplitRow(row)
	if err != nil || !live {
		return row, err
	}
	v := new(T)
	if _, err := P(v).UnmarshalMsg(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for _, k := range ix.keys(v) {
		if r, ok := rs.Get(ix.appendPrefix(nil, k)); ok {
			return ix.row(v, r)
		}
	}
	return row, nil
}

// row is the row of a record after its key was retired.
func (ix *Index[T, P]) row(v *T, r *retirement) ([]byte, error) {
	next, err := ix.become(v, r.index, r.note)
	if err != nil {
		return nil, err
	}
	if next == nil {
		return layout.NewRow(r.index, layout.FlagTombstone, 0), nil
	}
	return P(next).MarshalMsg(layout.NewRow(r.index, layout.FlagLive, P(next).Msgsize()))
}

// Retire has all records that the index finds by exactly this key become what the note
// says. All who wait for one of them are woken. The index key must not be used again before it is
// settled.
func (ix *Index[T, P]) Retire(tx *Txn, key, note []byte) error {
	prefix := ix.appendPrefix(nil, key)
	touched := slices.Clip(tx.retiring.touched)
	err := tx.each(prefix, func(key, row []byte) (bool, error) {
		primary, err := layout.PrimaryOf(key)
		if err == nil && row[layout.RowHeader-1] == layout.FlagLive {
			touched = append(touched, string(layout.AppendRowKey(nil, ix.table.id, primary)))
		}
		return true, err
	})
	if err != nil {
		return fmt.Errorf("retire %x of index %s: %w", key, ix.name, err)
	}
	tx.retiring.touched = touched
	ix.note(tx, prefix, &retirement{index: tx.meta.index, note: note})
	return nil
}

// note writes a retirement.
func (ix *Index[T, P]) note(tx *Txn, prefix []byte, r *retirement) {
	tx.over.Set(retiredKey(prefix), overlay.Entry{Row: r.encode(), Quiet: true})
	tx.retiring.known = tx.retiring.known.with(ix.table, prefix, r)
}

// Renote replaces the note of a key that is retired: for what is not settled yet.
func (ix *Index[T, P]) Renote(tx *Txn, key, note []byte) {
	prefix := ix.appendPrefix(nil, key)
	if r, ok := tx.retiring.known.Get(prefix); ok {
		ix.note(tx, prefix, &retirement{r.index, note, r.after})
	}
}

// Retirement is an index key that is retired, with its note.
type Retirement struct{ Key, Note []byte }

// Retired lists the index keys that are not settled, in order.
func (ix *Index[T, P]) Retired(r Reader) (list []Retirement, err error) {
	known, err := r.retired()
	if err != nil || known.Len() == 0 {
		return nil, err
	}
	all := ix.appendPrefix(nil, nil)
	known.Root().WalkPrefix(all, func(prefix []byte, of *retirement) bool {
		list = append(list, Retirement{prefix[len(all):], of.note})
		return false
	})
	return list, nil
}

// Unsettled yields the notes of the retired index keys by which the record of a primary key was found
// and of which it is not settled, whatever was written there since.
func (ix *Index[T, P]) Unsettled(tx *Txn, primary []byte) (notes [][]byte, err error) {
	list, err := ix.Retired(tx)
	for _, of := range list {
		row, _ := tx.retiring.known.Get(ix.appendPrefix(nil, of.Key))
		pointer := ix.rowKey(of.Key, primary)
		if row.after != nil && bytes.Compare(pointer, row.after) <= 0 {
			continue
		}
		there, err := tx.pointer(pointer)
		if err != nil {
			return nil, err
		}
		if there {
			notes = append(notes, of.Note)
		}
	}
	return notes, err
}

// pointer reports whether there is an index row, hidden or not.
func (tx *Txn) pointer(key []byte) (there bool, err error) {
	row, closer, err := tx.stored(key)
	if closer != nil {
		defer func() { err = errors.Join(err, closer.Close()) }()
	}
	if err != nil || row == nil {
		return false, err
	}
	_, live, _, err := layout.SplitRow(row)
	return live, err
}

// Settle writes into up to n records what they have become because an index key was retired, and
// calls each for the primary keys that were found by it, whatever is there now. It wakes nobody. done says that
// nothing is left of the key.
func (ix *Index[T, P]) Settle(tx *Txn, key []byte, n int, each func(primary, note []byte) error) (done bool, err error) {
	prefix := ix.appendPrefix(nil, key)
	r, ok := tx.retiring.known.Get(prefix)
	if !ok {
		return true, nil
	}
	from := prefix
	if r.after != nil {
		from = append(slices.Clip(r.after), 0)
	}
	var pointers []string
	err = tx.eachStored(from, prefix, func(key, row []byte) (bool, error) {
		_, live, _, err := layout.SplitRow(row)
		if err == nil && live {
			pointers = append(pointers, string(key))
		}
		return len(pointers) <= n, err
	})
	if err != nil {
		return false, fmt.Errorf("settle %x of index %s: %w", key, ix.name, err)
	}
	done = len(pointers) <= n
	pointers = pointers[:min(n, len(pointers))]
	for _, pointer := range pointers {
		primary, err := layout.PrimaryOf([]byte(pointer))
		if err == nil {
			err = ix.settle(tx, key, primary, r)
		}
		if err == nil {
			err = each(primary, r.note)
		}
		if err != nil {
			return false, fmt.Errorf("settle %x of index %s: %w", key, ix.name, err)
		}
	}
	if !done {
		ix.note(tx, prefix, &retirement{r.index, r.note, []byte(pointers[n-1])})
		return false, nil
	}
	tx.remove(retiredKey(prefix))
	tx.retiring.known = tx.retiring.known.with(ix.table, prefix, nil)
	tx.erase(string(prefix))
	return true, nil
}

// settle writes what a record has become, unless it was written since.
func (ix *Index[T, P]) settle(tx *Txn, key, primary []byte, r *retirement) error {
	rowKey := string(layout.AppendRowKey(nil, ix.table.id, primary))
	row, closer, err := tx.stored([]byte(rowKey))
	if closer != nil {
		defer func() { _ = closer.Close() }()
	}
	if err != nil || row == nil {
		return err
	}
	_, live, body, err := layout.SplitRow(row)
	if err != nil || !live {
		return err
	}
	v := new(T)
	if _, err := P(v).UnmarshalMsg(body); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if !slices.ContainsFunc(ix.keys(v), func(k []byte) bool { return bytes.Equal(k, key) }) {
		return nil
	}
	next, err := ix.row(v, r)
	if err != nil {
		return err
	}
	tx.over.Set(rowKey, overlay.Entry{Row: next, Quiet: true})
	if next[layout.RowHeader-1] == layout.FlagTombstone {
		tx.over.Set(layout.TombstoneKey(r.index, rowKey), overlay.Entry{Row: next[layout.RowHeader-1:], Quiet: true})
	}
	return nil
}
