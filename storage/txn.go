package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/overlay"
)

// ErrDone is returned by a Txn after Commit or Discard.
var ErrDone = errors.New("storage: the transaction has ended")

// Txn is the one writer of the State. Its commands (Next) each have an index
// of their own and can be rolled back one by one; Commit writes all of them as
// one batch. It belongs to one goroutine and ends with Commit or Discard.
type Txn struct {
	s    *State
	in   *instance
	err  error // not nil once it has ended
	over overlay.Overlay
	meta meta
	cuts cutting
	buf  [keyScratch]byte

	retiring retiring

	began         cutting // what was cut before the current command
	beganRetiring retiring

	staged      staged
	beganStaged staged
	made        []*instance // that the State has not yet
	adopted     bool        // in is not the State's instance yet: see Adopt

	level uint16
}

// Begin waits for the transaction before it to end. Where the State is closed
// or has failed, the Txn's methods return the reason.
func (s *State) Begin() *Txn {
	s.writer.Lock()
	tx := &Txn{s: s, in: s.current.Load(), over: overlay.New(layout.SpaceRow), meta: *s.meta.Load()}
	if tx.in == nil {
		tx.end(ErrClosed)
	} else if err := s.fault.Err(); err != nil {
		tx.end(err)
	} else {
		tx.follow(tx.in)
		if s.staged != nil {
			tx.staged = staged{name: s.staged.name, in: s.staged}
		}
	}
	return tx
}

// end gives the State to the next writer.
func (tx *Txn) end(why error) {
	if tx.err == nil {
		tx.err = why
		tx.s.writer.Unlock()
	}
}

// abandon ends a Txn that was not committed.
func (tx *Txn) abandon(why error) {
	if tx.err == nil {
		for _, in := range tx.made {
			tx.s.drop(in)
		}
	}
	tx.end(why)
}

// Next begins a command: it raises the index by one, returns it, and sets the
// point that Rollback goes back to.
func (tx *Txn) Next() uint64 {
	tx.over.Mark()
	tx.began, tx.beganRetiring, tx.beganStaged = tx.cuts, tx.retiring, tx.staged
	tx.meta.index++
	return tx.meta.index
}

// Rollback drops what the current command wrote. Its index stays used.
func (tx *Txn) Rollback() {
	tx.over.Rollback()
	tx.cuts, tx.retiring, tx.staged = tx.began, tx.beganRetiring, tx.beganStaged
}

// Index returns the index of the current command.
func (tx *Txn) Index() uint64 { return tx.meta.index }

// Size returns roughly how many bytes were written since Begin, those rolled
// back included: a guide for when to commit.
func (tx *Txn) Size() int { return tx.over.Bytes }

// SetPosition says up to where the Raft log will be applied once this Txn is
// committed.
func (tx *Txn) SetPosition(p Position) { tx.meta.position = p }

// Discard ends the Txn without a trace. After Commit it does nothing.
func (tx *Txn) Discard() { tx.abandon(ErrDone) }

// Commit writes everything as one batch, without waiting for the disk, and
// wakes who read what changed. An error means that the State has failed or is
// closed; whether the batch is there after a restart is then open, and its
// Position tells.
func (tx *Txn) Commit() error {
	if tx.err != nil {
		return fmt.Errorf("commit: %w", tx.err)
	}
	defer tx.end(ErrDone)
	began := time.Now()
	tx.outdateEmpty()
	if err := tx.settle(); err != nil {
		return fmt.Errorf("commit what is staged: %w", tx.s.fault.Fail(err))
	}
	tx.meta.staging = tx.staged.name != ""
	b, err := tx.batch()
	if err == nil && tx.adopted {
		if err := tx.commitAdopted(b); err != nil {
			return fmt.Errorf("commit an adopted state: %w", err)
		}
		tx.keepStaged()
		return nil
	}
	if err == nil {
		err = tx.write(b)
	}
	if err == nil {
		err = tx.in.snaps.Outdate()
	}
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	tx.keepStaged()
	tx.s.meta.Store(&tx.meta)
	tx.s.metrics.commit.Observe(time.Since(began).Seconds())
	tx.s.metrics.rows.Add(float64(len(tx.over.Entries)))
	tx.s.metrics.wakeups.Add(float64(tx.s.watches.Committed(tx.told())))
	return nil
}

// outdateEmpty forgets that tables were empty which this Txn has written.
func (tx *Txn) outdateEmpty() {
	for id, written := range tx.over.Written {
		if written {
			tx.in.empty[id] = false
		}
	}
}

func (tx *Txn) batch() (*pebble.Batch, error) {
	b := tx.in.DB.NewBatchWithSize(tx.over.Bytes + headBytes*len(tx.over.Entries) + 1024)
	if err := tx.cuts.erase(b, &tx.s.heads); err != nil {
		return nil, err
	}
	// In order of keys each insertion into the memtable begins where the last
	// one ended.
	keys := tx.over.Keys("")
	for _, key := range keys {
		if e, here := tx.over.Entries[key]; here && tx.s.heads.of(key) {
			if err := writeHead(b, key, e); err != nil {
				return nil, err
			}
		}
	}
	for _, key := range keys {
		e, here := tx.over.Entries[key]
		if !here { // rolled back
			continue
		}
		if e.Gone {
			op := b.DeleteDeferred(len(key))
			copy(op.Key, key)
			if err := op.Finish(); err != nil {
				return nil, err
			}
			continue
		}
		op := b.SetDeferred(len(key), len(e.Row))
		copy(op.Key, key)
		copy(op.Value, e.Row)
		if err := op.Finish(); err != nil {
			return nil, err
		}
	}
	if note := tx.s.derivedAsOf(tx.meta.index); note != nil {
		if err := b.Set(derivedKey(), note, nil); err != nil {
			return nil, err
		}
	}
	if err := tx.raise(b); err != nil {
		return nil, err
	}
	return b, b.Set(metaKey(), tx.meta.encode(), nil)
}

// set writes a row.
func (tx *Txn) set(key string, row []byte) error {
	if tx.err != nil {
		return tx.err
	}
	tx.over.Set(key, overlay.Entry{Row: row})
	return nil
}

// bury writes a tombstone and remembers it for CollectTombstones.
func (tx *Txn) bury(key string) error { return tx.buryAll([]string{key}) }

// buryAll is bury for many keys in order. All rows come before all notes of them,
// as they do on disk: so they are in order already when they are put in order.
func (tx *Txn) buryAll(keys []string) error {
	if tx.err != nil {
		return tx.err
	}
	tx.over.Reserve(2 * len(keys))
	tomb := layout.NewRow(tx.meta.index, layout.FlagTombstone, 0) // shared: rows are never changed
	for _, key := range keys {
		tx.over.Set(key, overlay.Entry{Row: tomb})
	}
	for _, key := range keys {
		tx.over.Set(layout.TombstoneKey(tx.meta.index, key), overlay.Entry{Row: tomb[layout.RowHeader-1:], Quiet: true})
	}
	return nil
}

// remove takes a row away without a trace and without waking anyone.
func (tx *Txn) remove(key string) { tx.over.Set(key, overlay.Entry{Gone: true, Quiet: true}) }

func (tx *Txn) get(key []byte) ([]byte, io.Closer, error) {
	row, closer, err := tx.stored(key)
	return tx.retiring.known.get(key, row, closer, err)
}

// stored is get of what is written, not of what it has become since an index key was retired.
func (tx *Txn) stored(key []byte) ([]byte, io.Closer, error) {
	if tx.err != nil {
		return nil, nil, tx.err
	}
	if e, ok := tx.over.Entries[string(key)]; ok {
		return e.Row, nil, nil // nil when gone
	}
	if _, hidden := tx.cuts.within(key); hidden {
		return nil, nil, nil
	}
	row, closer, err := tx.in.DB.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil, nil
	}
	return row, closer, err
}

func (tx *Txn) each(prefix []byte, visit func(key, row []byte) (bool, error)) error {
	return tx.eachStored(prefix, prefix, func(key, row []byte) (bool, error) {
		row, err := tx.retiring.known.read(key, row)
		if err != nil || row == nil {
			return true, err
		}
		return visit(key, row)
	})
}

// eachStored merges the disk with what this Txn wrote, which wins, below prefix from a key on.
func (tx *Txn) eachStored(from, prefix []byte, visit func(key, row []byte) (bool, error)) (err error) {
	if tx.err != nil {
		return tx.err
	}
	it, err := tx.in.DB.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: layout.PrefixEnd(prefix)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	own := tx.over.Keys(string(prefix))
	first, _ := slices.BinarySearch(own, string(from))
	own = own[first:]
	next := func() bool { return tx.cuts.pass(it, it.Next()) }
	for onDisk := tx.cuts.pass(it, it.First()); onDisk || len(own) > 0; {
		var key, row []byte
		if len(own) > 0 && (!onDisk || own[0] <= string(it.Key())) {
			key, own = []byte(own[0]), own[1:]
			if onDisk && string(key) == string(it.Key()) {
				onDisk = next()
			}
			row, err = tx.overOrStored(key)
		} else {
			key = slices.Clone(it.Key())
			row, err = it.ValueAndErr()
			if e, ok := tx.over.Entries[string(key)]; ok {
				row = e.Row // written by the loop that scans
			}
			row = slices.Clone(row)
			onDisk = next()
		}
		if err != nil {
			return err
		}
		if len(row) == 0 {
			continue
		}
		if more, err := visit(key, row); err != nil || !more {
			return err
		}
	}
	return nil
}

// overOrStored reads a key that was in the overlay when the scan began; a
// rollback may have taken it out since.
func (tx *Txn) overOrStored(key []byte) ([]byte, error) {
	row, closer, err := tx.stored(key)
	if closer == nil {
		return row, err
	}
	row = slices.Clone(row)
	return row, errors.Join(err, closer.Close())
}

func (tx *Txn) saw(uint64)                 {}
func (tx *Txn) touchKey([]byte)            {}
func (tx *Txn) touchPrefix([]byte)         {}
func (tx *Txn) retired() (*retired, error) { return tx.retiring.known, tx.err }

func (tx *Txn) scratch() []byte { return tx.buf[:0] }

// CollectTombstones removes tombstones that were written at or below the index
// upTo, oldest first, at most limit of them, and returns how many. It is part of
// the current command, wakes nobody, and lowers the index of views that had
// nothing newer to read. A caller that gets limit calls again.
func (tx *Txn) CollectTombstones(upTo uint64, limit int) (int, error) {
	var found []string
	err := tx.each([]byte{layout.SpaceTombstone}, func(key, _ []byte) (bool, error) {
		if len(key) < 9 {
			return false, fmt.Errorf("a tombstone's key %x: %w", key, ErrCorrupt)
		}
		if len(found) == limit || binary.BigEndian.Uint64(key[1:]) > upTo {
			return false, nil
		}
		found = append(found, string(key))
		return true, nil
	})
	if err != nil {
		return 0, fmt.Errorf("collect tombstones up to %d: %w", upTo, err)
	}
	for _, key := range found {
		if err := tx.collect(key); err != nil {
			return 0, fmt.Errorf("collect tombstones up to %d: %w", upTo, err)
		}
	}
	if n := len(found); n > 0 {
		err = tx.collected(binary.BigEndian.Uint64([]byte(found[n-1][1:9])))
	}
	return len(found), err
}

// collect removes one tombstone, unless its row was written again since.
func (tx *Txn) collect(tombstone string) error {
	index := binary.BigEndian.Uint64([]byte(tombstone[1:9]))
	key := tombstone[9:]
	tx.remove(tombstone)
	row, err := tx.overOrStored([]byte(key))
	if err != nil || len(row) == 0 {
		return err
	}
	written, live, _, err := layout.SplitRow(row)
	if err == nil && !live && written == index {
		tx.remove(key)
		tx.uncut(key)
	}
	return err
}
