package storage

import (
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/overlay"
)

// The heads of a table are its keys with the headers of their rows, beside the rows: who
// lists keys reads a thirtieth of what records of 512 bytes take, and what others
// read stays in the cache. They are written with each batch from the rows in it. Like derived indexes they
// never leave a State, and are made anew where a version without them has written: see
// derivedKey.

// headsID is the number of heads among the derived indexes of a table. No index has it.
const headsID = 0

// WithHeads has a State that is told of the table keep its heads.
func (t *Table[T, P]) WithHeads() *Table[T, P] {
	t.heads = true
	return t
}

func appendHeadKey(buf []byte, rowKey string) []byte {
	return append(append(buf, layout.SpaceDerived, rowKey[1], headsID), rowKey[2:]...)
}

// headBytes is what a head takes in a batch, roughly.
const headBytes = 64

// headed says of which tables heads are kept.
type headed [256]bool

// of reports whether heads are kept of a row, or of all rows below a prefix.
func (h *headed) of(rowKey string) bool {
	return len(rowKey) >= 2 && rowKey[0] == layout.SpaceRow && h[rowKey[1]]
}

// erase deletes the heads of the rows below a prefix.
func (h *headed) erase(b *pebble.Batch, prefix string) error {
	if !h.of(prefix) {
		return nil
	}
	from := appendHeadKey(nil, prefix)
	return b.DeleteRange(from, layout.PrefixEnd(from), nil)
}

// write writes the head of a row; of none that is gone.
func writeHead(b *pebble.Batch, key string, e overlay.Entry) error {
	if e.Gone {
		op := b.DeleteDeferred(len(key) + 1)
		appendHeadKey(op.Key[:0], key)
		return op.Finish()
	}
	op := b.SetDeferred(len(key)+1, layout.RowHeader)
	appendHeadKey(op.Key[:0], key)
	copy(op.Value, e.Row[:layout.RowHeader])
	return op.Finish()
}

// heads is a View whose scans of a table go through its heads: rows without their records,
// under keys that have no space.
type heads struct {
	*View
	from string
}

// keysOf returns what the keys of a table are read through, from a row on or behind it.
func (t *Table[T, P]) keysOf(r Reader, after []byte) Reader {
	v, ok := r.(*View)
	if !ok || !t.heads {
		return behind(r, t.id, after)
	}
	snap, err := v.snapshot()
	if err != nil || !v.in.state.heads[t.id] || snap.Known.retired.Len() > 0 { // headers of what is not settled are old
		return behind(r, t.id, after)
	}
	h := heads{View: v}
	if after != nil {
		h.from = string(append(layout.AppendRowKey(nil, t.id, after), 0))
	}
	return h
}

func (h heads) each(prefix []byte, visit func(key, row []byte) (bool, error)) error {
	snap, err := h.snapshot()
	if err != nil {
		return err
	}
	below := appendHeadKey(nil, string(prefix))
	from := below
	if h.from != "" {
		from = slices.Clip(appendHeadKey(nil, h.from))
	}
	return eachRow(snap, from, below, func(key, row []byte) (bool, error) { return visit(key[1:], row) })
}
