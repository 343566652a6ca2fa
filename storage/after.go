package storage

import (
	"bytes"
	"iter"
	"slices"

	"github.com/legate-project/legate/storage/layout"
)

// ScanAfter is Scan of the records whose keys come after one, which need not
// exist: how a long result is read in parts. With nil it begins with the first.
func (t *Table[T, P]) ScanAfter(r Reader, prefix, after []byte) iter.Seq2[*T, error] {
	return scan(behind(r, t.id, after), layout.AppendRowKey(nil, t.id, prefix), t.name, func(_, row []byte) (*T, bool, error) {
		v, err := t.decode(r, row)
		return v, v != nil, err
	})
}

// ScanFrom is Scan of the records from a key on, which begins with the prefix and need
// not exist.
func (t *Table[T, P]) ScanFrom(r Reader, prefix, from []byte) iter.Seq2[*T, error] {
	begin := later{r, layout.AppendRowKey(nil, t.id, from), true}
	return scan(begin, layout.AppendRowKey(nil, t.id, prefix), t.name, func(_, row []byte) (*T, bool, error) {
		v, err := t.decode(r, row)
		return v, v != nil, err
	})
}

// KeysAfter is Keys of those that come after one, as ScanAfter.
func (t *Table[T, P]) KeysAfter(r Reader, prefix, after []byte) iter.Seq2[[]byte, error] {
	return scan(t.keysOf(r, after), layout.AppendRowKey(nil, t.id, prefix), t.name, func(key, row []byte) ([]byte, bool, error) {
		index, live, _, err := layout.SplitRow(row)
		if err != nil {
			return nil, false, err
		}
		r.saw(index)
		return key[2:], live, nil
	})
}

// later is a Reader whose scans begin behind a row, or at it.
type later struct {
	Reader
	row    []byte
	itself bool
}

func behind(r Reader, table byte, after []byte) Reader {
	if after == nil {
		return r
	}
	return later{r, layout.AppendRowKey(nil, table, after), false}
}

func (l later) each(prefix []byte, visit func(key, row []byte) (bool, error)) error {
	from := l.row
	if !l.itself {
		from = append(slices.Clip(l.row), 0)
	}
	if v, ok := l.Reader.(*View); ok {
		return v.eachFrom(from, prefix, visit)
	}
	return l.Reader.each(prefix, func(key, row []byte) (bool, error) {
		if bytes.Compare(key, from) < 0 {
			return true, nil
		}
		return visit(key, row)
	})
}
