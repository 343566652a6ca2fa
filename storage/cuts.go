package storage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/overlay"
)

// A cut is the deletion of everything below a prefix at once: one range tombstone of
// Pebble instead of a tombstone for each row, so that its cost does not grow with what
// it deletes. What remains is its index: views that read anything below the prefix are
// at least as new, until the cut is collected as tombstones are.

// spaceCut holds cuts: g, the prefix of rows that were deleted. The row is a tombstone.
const spaceCut = 'g'

// cuts are the indexes of cuts by the prefix of the rows.
type cuts = iradix.Tree[uint64]

func cutKey(prefix string) string { return string(append([]byte{spaceCut}, prefix...)) }

// readCuts reads the cuts of an instance.
func readCuts(db *pebble.DB) (*cuts, error) {
	known := iradix.New[uint64]().Txn()
	all := []byte{spaceCut}
	err := eachRow(db, all, all, func(key, row []byte) (bool, error) {
		index, _, _, err := layout.SplitRow(row)
		if err == nil {
			known.Insert(slices.Clone(key[1:]), index)
		}
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("read what was deleted at once: %w", err)
	}
	return known.Commit(), nil
}

// newestCut is the highest index of a cut that has deleted something below the prefix of
// rows, or would have; 0 where there is none.
func newestCut(known *cuts, prefix []byte) (newest uint64) {
	if known.Len() == 0 {
		return 0
	}
	note := func(_ []byte, index uint64) bool {
		newest = max(newest, index)
		return false
	}
	known.Root().WalkPath(prefix, note)
	known.Root().WalkPrefix(prefix, note)
	return newest
}

// Cut deletes the records whose keys begin with prefix, whatever they are. Unlike
// DeleteAll it reads none of them: only the indexes of the table are searched for rows that
// point to them. Nobody learns later which records there were: see Remembers.
func (t *Table[T, P]) Cut(tx *Txn, prefix []byte) error {
	var pointing []string
	for _, ix := range t.indexes {
		err := tx.each(ix.appendPrefix(nil, nil), func(key, row []byte) (bool, error) {
			_, live, _, err := layout.SplitRow(row)
			if err != nil || !live {
				return true, err
			}
			primary, err := layout.PrimaryOf(key)
			if err == nil && strings.HasPrefix(string(primary), string(prefix)) {
				pointing = append(pointing, string(key))
			}
			return true, err
		})
		if err != nil {
			return fmt.Errorf("delete %x and what follows of table %s: %w", prefix, t.name, err)
		}
	}
	if err := tx.buryAll(pointing); err != nil {
		return fmt.Errorf("delete %x and what follows of table %s: %w", prefix, t.name, err)
	}
	tx.cut(string(layout.AppendRowKey(nil, t.id, prefix)))
	return nil
}

// More reports whether the table has more than n rows whose keys begin with prefix, those
// of deleted records that are remembered among them. It reads at most one more.
func (t *Table[T, P]) More(tx *Txn, prefix []byte, n int) (bool, error) {
	return tx.more(layout.AppendRowKey(nil, t.id, prefix), t.name, n)
}

// More is Table.More for the rows of the index.
func (ix *Index[T, P]) More(tx *Txn, prefix []byte, n int) (bool, error) {
	return tx.more(ix.appendPrefix(nil, prefix), ix.table.name, n)
}

func (tx *Txn) more(prefix []byte, table string, n int) (bool, error) {
	rows := 0
	err := tx.each(prefix, func(_, _ []byte) (bool, error) {
		rows++
		return rows <= n, nil
	})
	if err != nil {
		return false, fmt.Errorf("count the rows from %x on of table %s: %w", prefix, table, err)
	}
	return rows > n, nil
}

// cutting is what a Txn has cut.
type cutting struct {
	known  *cuts    // those that can be seen after the Txn
	hidden []string // prefixes whose rows on disk are gone; the overlay has what came after
}

// retiring is what a Txn has retired.
type retiring struct {
	known   *retired // what is not settled after the Txn
	touched []string // rows of records that become something else by it
}

// follow has a Txn go on from an instance.
func (tx *Txn) follow(in *instance) {
	tx.cuts, tx.retiring = cutting{}, retiring{}
	known := in.snaps.Known()
	tx.cuts.known, tx.retiring.known = known.cuts, known.retired
}

// within returns the hidden prefix that a key begins with.
func (c *cutting) within(key []byte) (prefix string, ok bool) {
	for _, prefix := range c.hidden {
		if len(key) >= len(prefix) && string(key[:len(prefix)]) == prefix {
			return prefix, true
		}
	}
	return "", false
}

// cut deletes all rows below a prefix.
func (tx *Txn) cut(prefix string) {
	tx.erase(prefix)
	known := tx.cuts.known.Txn()
	tx.cuts.known.Root().WalkPrefix([]byte(prefix), func(inner []byte, _ uint64) bool {
		tx.remove(cutKey(string(inner))) // this one is newer
		known.Delete(inner)
		return false
	})
	known.Insert([]byte(prefix), tx.meta.index)
	tx.cuts.known = known.Commit()
	tomb := layout.NewRow(tx.meta.index, layout.FlagTombstone, 0)
	tx.over.Set(cutKey(prefix), overlay.Entry{Row: tomb, Quiet: true})
	tx.over.Set(layout.TombstoneKey(tx.meta.index, cutKey(prefix)), overlay.Entry{Row: tomb[layout.RowHeader-1:], Quiet: true})
}

// erase removes all rows below a prefix without a trace.
func (tx *Txn) erase(prefix string) {
	for _, key := range tx.over.Keys(prefix) {
		if e, here := tx.over.Entries[key]; here && !e.Gone {
			tx.remove(key)
		}
	}
	if _, ok := tx.cuts.within([]byte(prefix)); !ok {
		tx.cuts.hidden = append(slices.Clip(tx.cuts.hidden), prefix) // clipped: a rollback goes back to what was
	}
}

// uncut forgets a cut that is collected.
func (tx *Txn) uncut(key string) {
	if key[0] == spaceCut {
		tx.cuts.known, _, _ = tx.cuts.known.Delete([]byte(key[1:]))
	}
}

// erase has a batch delete what is hidden. What the Txn wrote there since comes behind it.
func (c *cutting) erase(b *pebble.Batch, heads *headed) error {
	for _, prefix := range c.hidden {
		if err := b.DeleteRange([]byte(prefix), layout.PrefixEnd([]byte(prefix)), nil); err != nil {
			return err
		}
		if err := heads.erase(b, prefix); err != nil {
			return err
		}
	}
	return nil
}

// pass moves an iterator out of what is hidden.
func (c *cutting) pass(it *pebble.Iterator, ok bool) bool {
	for ok && len(c.hidden) > 0 {
		prefix, inside := c.within(it.Key())
		if !inside {
			break
		}
		end := layout.PrefixEnd([]byte(prefix))
		ok = end != nil && it.SeekGE(end)
	}
	return ok
}

// write writes the batch of a Txn to the instance. No view sees what it deletes gone
// without the cut that says so, nor the other way round; so it is with what is retired.
func (tx *Txn) write(b *pebble.Batch) error {
	return tx.in.snaps.Commit(seen{tx.cuts.known, tx.retiring.known}, func() error { return tx.in.Write(b, false) })
}

// Remembers reports whether all deletions of records below a prefix after an index are
// still there to be read: not if tombstones of commands after it were collected, if
// everything there was deleted at once since, nor if the state was replaced.
func (t *Table[T, P]) Remembers(v *View, prefix []byte, index uint64) (bool, error) {
	snap, err := v.snapshot()
	if err != nil {
		return false, err
	}
	if index < v.in.floor || index < newestCut(snap.Known.cuts, layout.AppendRowKey(nil, t.id, prefix)) {
		return false, nil
	}
	collected, _, err := readCollected(snap)
	return index >= collected, err
}
