package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/engine"
	"github.com/legate-project/legate/storage/overlay"
	"github.com/legate-project/legate/storage/progress"
)

// A state that is to replace this one is staged by commands, row by row, beside
// the tables; the last command adopts it as a whole. Until then nothing of it
// shows. Because all of that is in the log, every server does the same, at the
// same place of the log, and a crash at any point leaves the old state or the
// new one.

// spaceStaged holds staged rows: s, the key of the row as it will be. Under s
// alone is the progress.
const spaceStaged = 's'

// adoptBatch is how many bytes of rows go into one batch of the new instance.
const adoptBatch = 1 << 20

// ErrStaging is returned where a command does not continue what was staged
// before. It depends on the log alone, so all servers agree.
var ErrStaging = progress.ErrOrder

// Unstage drops what is staged.
func (tx *Txn) Unstage() {
	tx.unstaged = true
	for _, key := range tx.over.Keys(string(spaceStaged)) {
		tx.remove(key)
	}
}

// BeginStaging drops what is staged and begins anew under the ID.
func (tx *Txn) BeginStaging(id string) error {
	if tx.err != nil {
		return tx.err
	}
	tx.Unstage()
	p := progress.Progress{ID: []byte(id)}
	tx.over.Set(string(spaceStaged), overlay.Entry{Row: p.Encode(), Quiet: true})
	return nil
}

// Stage adds a part, counted from 0, each once and in any order: rows in order of
// their keys, which no other part has.
func (tx *Txn) Stage(id string, part uint64, rows []Row) error {
	p, err := tx.staging(id)
	if err == nil {
		err = p.Add(part)
	}
	if err != nil {
		return fmt.Errorf("stage part %d: %w", part, err)
	}
	var last []byte
	tx.over.Reserve(len(rows))
	for _, r := range rows {
		if err := r.check(); err != nil {
			return fmt.Errorf("stage part %d: %w: %w", part, ErrStaging, err)
		}
		if bytes.Compare(r.Key, last) <= 0 {
			return fmt.Errorf("stage part %d: key %x is not above the last: %w", part, r.Key, ErrStaging)
		}
		tx.over.Set(string(append([]byte{spaceStaged}, r.Key...)), overlay.Entry{Row: bytes.Clone(r.Value), Quiet: true})
		last = r.Key
		p.Rows++
	}
	tx.over.Set(string(spaceStaged), overlay.Entry{Row: p.Encode(), Quiet: true})
	return nil
}

// check says whether a row from outside can be one of a state.
func (r Row) check() error {
	if len(r.Key) < 2 || r.Key[0] != spaceRow && r.Key[0] != spaceIndex {
		return fmt.Errorf("the key %x: %w", r.Key, ErrCorrupt)
	}
	if r.Key[0] == spaceIndex {
		if _, err := primaryOf(r.Key); err != nil {
			return err
		}
	}
	if len(r.Key) > 3*maxPrimaryKey {
		return fmt.Errorf("a key of %d bytes: %w", len(r.Key), ErrCorrupt)
	}
	_, live, _, err := splitRow(r.Value)
	if err == nil && !live {
		err = fmt.Errorf("a tombstone: %w", ErrCorrupt)
	}
	return err
}

func (tx *Txn) staging(id string) (progress.Progress, error) {
	row, err := tx.overOrStored([]byte{spaceStaged})
	if err != nil {
		return progress.Progress{}, err
	}
	if len(row) == 0 {
		return progress.Progress{}, fmt.Errorf("nothing is staged: %w", ErrStaging)
	}
	p, err := progress.Decode(row)
	if err == nil && string(p.ID) != id {
		err = fmt.Errorf("%q is staged: %w", p.ID, ErrStaging)
	}
	return p, err
}

// Adopt makes the staged rows, which must be as many, the state: what the
// tables held is gone, and the rest of the Txn goes on with the new one. The
// index of the current command becomes the first above the old state's and
// atLeast; no view's index is below it from now on. Commit makes it durable,
// wakes everybody who waits, and lets open views finish on the old state. It
// copies all rows and cannot be rolled back.
func (tx *Txn) Adopt(id string, rows, atLeast uint64) error {
	p, err := tx.staging(id)
	if err != nil {
		return fmt.Errorf("adopt the staged state: %w", err)
	}
	if p.Rows != rows || len(p.Ahead) > 0 {
		return fmt.Errorf("adopt %d rows where %d are staged and the part %d is not: %w", rows, p.Rows, p.Parts, ErrStaging)
	}
	tx.meta.index = max(tx.meta.index, atLeast+1)
	in, err := tx.s.nextInstance(tx.in)
	if err != nil {
		return fmt.Errorf("adopt the staged state: %w", err)
	}
	copied, err := tx.fillInstance(in)
	if err == nil && copied != rows {
		err = fmt.Errorf("%d rows in parts that have %d: %w", copied, rows, ErrStaging)
	}
	if err == nil {
		err = tx.s.derive(in)
	}
	if err != nil {
		return fmt.Errorf("adopt the staged state: %w", errors.Join(err, tx.s.drop(in)))
	}
	if tx.adopted {
		err = tx.s.drop(tx.in)
	}
	tx.in, tx.adopted, tx.unstaged, tx.over = in, true, false, overlay.New(spaceRow)
	tx.follow(in)
	tx.began, tx.beganRetiring = tx.cuts, tx.retiring
	return err
}

// nextInstance makes an empty instance with a name that follows.
func (s *State) nextInstance(after *instance) (*instance, error) {
	n, err := instanceNumber(after.name)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s%d", instancePrefix, n+1)
	if err := s.opts.FS.RemoveAll(s.path(name)); err != nil {
		return nil, err
	}
	return s.openInstance(name)
}

// drop removes an instance that was never the state.
func (s *State) drop(in *instance) error {
	in.retired.Store(true)
	in.release()
	return in.err
}

// fillInstance copies the staged rows and returns how many there are.
func (tx *Txn) fillInstance(in *instance) (rows uint64, err error) {
	w := &filling{in: in, b: in.DB.NewBatchWithSize(adoptBatch)}
	err = tx.each([]byte{spaceStaged}, func(key, row []byte) (bool, error) {
		if len(key) == 1 {
			return true, nil
		}
		rows++
		return true, w.set(key[1:], row)
	})
	if err == nil {
		floor := meta{index: tx.meta.index}
		err = w.set(floorKey(), floor.encode())
	}
	if err == nil {
		err = w.set(collectedKey(), binary.BigEndian.AppendUint64(nil, tx.meta.index))
	}
	if err != nil {
		return 0, errors.Join(err, w.b.Close())
	}
	in.floor = tx.meta.index
	return rows, in.Write(w.b, false)
}

// filling writes rows to an instance that nobody reads yet, a batch at a time.
type filling struct {
	in *instance
	b  *pebble.Batch
}

func (w *filling) set(key, row []byte) error {
	if err := w.b.Set(key, row, nil); err != nil || w.b.Len() < adoptBatch {
		return err
	}
	full := w.b
	w.b = w.in.DB.NewBatchWithSize(adoptBatch)
	return w.in.Write(full, false)
}

// commitAdopted writes the batch to the new instance, makes that durable and
// moves the marker: the moment from which a restart finds it.
func (tx *Txn) commitAdopted(b *pebble.Batch) error {
	s := tx.s
	if err := tx.in.Write(b, true); err != nil {
		return err
	}
	if err := tx.in.Rare("flush", func() error { return tx.in.DB.Flush() }); err != nil {
		return err
	}
	if err := engine.SyncDir(s.opts.FS, s.opts.Dir); err != nil {
		return s.fault.Fail(fmt.Errorf("make the adopted state durable: %w", err))
	}
	if err := s.moveMarker(tx.in.name); err != nil {
		return err
	}
	tx.in.snaps.cuts, tx.in.snaps.retired = tx.cuts.known, tx.retiring.known // nobody reads it yet
	s.become(tx.in, &tx.meta)
	return nil
}

// AbortStaging drops what is staged under the ID, and ErrStaging where that is
// not what is staged.
func (tx *Txn) AbortStaging(id string) error {
	if _, err := tx.staging(id); err != nil {
		return fmt.Errorf("drop what is staged: %w", err)
	}
	tx.Unstage()
	tx.remove(string(spaceStaged))
	return nil
}
