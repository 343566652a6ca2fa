package storage

import (
	"bytes"
	"iter"
	"slices"
)

// ScanAfter is Scan of the records whose keys come after one, which need not
// exist: how a long result is read in parts. With nil it begins with the first.
func (t *Table[T, P]) ScanAfter(r Reader, prefix, after []byte) iter.Seq2[*T, error] {
	return scan(behind(r, t.id, after), appendRowKey(nil, t.id, prefix), t.name, func(_, row []byte) (*T, bool, error) {
		v, err := t.decode(r, row)
		return v, v != nil, err
	})
}

// KeysAfter is Keys of those that come after one, as ScanAfter.
func (t *Table[T, P]) KeysAfter(r Reader, prefix, after []byte) iter.Seq2[[]byte, error] {
	return scan(behind(r, t.id, after), appendRowKey(nil, t.id, prefix), t.name, func(key, row []byte) ([]byte, bool, error) {
		index, live, _, err := splitRow(row)
		if err != nil {
			return nil, false, err
		}
		r.saw(index)
		return slices.Clone(key[2:]), live, nil
	})
}

// later is a Reader whose scans begin behind a row.
type later struct {
	Reader
	row []byte
}

func behind(r Reader, table byte, after []byte) Reader {
	if after == nil {
		return r
	}
	return later{r, appendRowKey(nil, table, after)}
}

func (l later) each(prefix []byte, visit func(key, row []byte) (bool, error)) error {
	if v, ok := l.Reader.(*View); ok {
		return v.eachFrom(append(slices.Clip(l.row), 0), prefix, visit)
	}
	return l.Reader.each(prefix, func(key, row []byte) (bool, error) {
		if bytes.Compare(key, l.row) <= 0 {
			return true, nil
		}
		return visit(key, row)
	})
}
