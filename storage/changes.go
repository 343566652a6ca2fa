package storage

import (
	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/wake"
)

// Source is a table or an index whose changed keys Changes gathers.
type Source struct{ prefix string }

// Source is all records of the table; its keys are primary keys.
func (t *Table[T, P]) Source() Source { return Source{string(layout.AppendRowKey(nil, t.id, nil))} }

// Source is all rows of the index. Its keys are index keys, each with the
// primary key behind it: see Index.Parts.
func (ix *Index[T, P]) Source() Source {
	return Source{string(ix.appendPrefix(nil, nil))}
}

// Parts returns the parts of the index key in a key that Changes gave for the
// index; ok is false for anything else. The index is one of n parts.
func (ix *Index[T, P]) Parts(key string, n int) (parts []string, ok bool) {
	primary, err := layout.PrimaryOf(append(ix.appendPrefix(nil, nil), key...))
	if err != nil {
		return nil, false
	}
	parts, err = SplitKey([]byte(key[:len(key)-2-len(primary)]))
	return parts, err == nil && len(parts) == n
}

// Changes gathers which keys of some tables and indexes commits write or delete.
type (
	Changes = wake.Changes
	Changed = wake.Changed
)

// Changes gathers up to limit changed keys from now on: beyond, and when the
// state is replaced, Take says that anything may have changed. Close it.
func (s *State) Changes(limit int, sources ...Source) *Changes {
	prefixes := make([]string, len(sources))
	for i, of := range sources {
		prefixes[i] = of.prefix
	}
	return s.watches.Follow(limit, s.Index, prefixes...)
}

// told is what a Txn tells of itself: what it wrote, and what was retired by it.
func (tx *Txn) told() wake.Told {
	keys := func(yield func(string) bool) {
		for key, e := range tx.over.Entries {
			if !e.Quiet && !yield(key) {
				return
			}
		}
		for _, key := range tx.retiring.touched {
			if !yield(key) {
				return
			}
		}
	}
	return wake.Told{Keys: keys, Cut: tx.cuts.hidden, Index: tx.meta.index}
}
