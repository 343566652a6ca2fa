package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/engine"
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
var ErrStaging = errors.New("storage: the staged rows are not those that are continued")

// maxAhead bounds the parts that are staged before one that is missing: who sends
// several at a time has fewer on the way.
const maxAhead = 64

// progress of staging: parts come in any order, since several are on their way at
// a time.
type progress struct {
	parts uint64 // all below are staged
	rows  uint64
	id    []byte
	ahead []uint64 // above parts, in order
}

func (p *progress) encode() []byte {
	b := binary.AppendUvarint(nil, p.parts)
	b = binary.AppendUvarint(b, p.rows)
	b = binary.AppendUvarint(b, uint64(len(p.id)))
	b = append(b, p.id...)
	for _, part := range p.ahead {
		b = binary.AppendUvarint(b, part)
	}
	return b
}

func decodeProgress(b []byte) (p progress, err error) {
	next := func() (v uint64) {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			err = fmt.Errorf("the progress of staging: %w", ErrCorrupt)
			return 0
		}
		b = b[size:]
		return v
	}
	p.parts, p.rows = next(), next()
	idSize := next()
	if err == nil && idSize > uint64(len(b)) {
		err = fmt.Errorf("the progress of staging: %w", ErrCorrupt)
	}
	if err != nil {
		return p, err
	}
	p.id, b = bytes.Clone(b[:idSize]), b[idSize:]
	for len(b) > 0 && err == nil {
		p.ahead = append(p.ahead, next())
	}
	return p, err
}

// add notes a part.
func (p *progress) add(part uint64) error {
	at, known := slices.BinarySearch(p.ahead, part)
	switch {
	case part < p.parts || known:
		return fmt.Errorf("it is staged already: %w", ErrStaging)
	case part > p.parts+maxAhead:
		return fmt.Errorf("the parts from %d on are missing: %w", p.parts, ErrStaging)
	}
	p.ahead = slices.Insert(p.ahead, at, part)
	for len(p.ahead) > 0 && p.ahead[0] == p.parts {
		p.ahead = p.ahead[1:]
		p.parts++
	}
	return nil
}

// Unstage drops what is staged.
func (tx *Txn) Unstage() {
	tx.unstaged = true
	for _, key := range tx.over.keys(string(spaceStaged)) {
		tx.remove(key)
	}
}

// BeginStaging drops what is staged and begins anew under the ID.
func (tx *Txn) BeginStaging(id string) error {
	if tx.err != nil {
		return tx.err
	}
	tx.Unstage()
	p := progress{id: []byte(id)}
	tx.over.set(string(spaceStaged), entry{row: p.encode(), quiet: true})
	return nil
}

// Stage adds a part, counted from 0, each once and in any order: rows in order of
// their keys, which no other part has.
func (tx *Txn) Stage(id string, part uint64, rows []Row) error {
	p, err := tx.staging(id)
	if err == nil {
		err = p.add(part)
	}
	if err != nil {
		return fmt.Errorf("stage part %d: %w", part, err)
	}
	var last []byte
	tx.over.reserve(len(rows))
	for _, r := range rows {
		if err := r.check(); err != nil {
			return fmt.Errorf("stage part %d: %w: %w", part, ErrStaging, err)
		}
		if bytes.Compare(r.Key, last) <= 0 {
			return fmt.Errorf("stage part %d: key %x is not above the last: %w", part, r.Key, ErrStaging)
		}
		tx.over.set(string(append([]byte{spaceStaged}, r.Key...)), entry{row: bytes.Clone(r.Value), quiet: true})
		last = r.Key
		p.rows++
	}
	tx.over.set(string(spaceStaged), entry{row: p.encode(), quiet: true})
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

func (tx *Txn) staging(id string) (progress, error) {
	row, err := tx.overOrStored([]byte{spaceStaged})
	if err != nil {
		return progress{}, err
	}
	if len(row) == 0 {
		return progress{}, fmt.Errorf("nothing is staged: %w", ErrStaging)
	}
	p, err := decodeProgress(row)
	if err == nil && string(p.id) != id {
		err = fmt.Errorf("%q is staged: %w", p.id, ErrStaging)
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
	if p.rows != rows || len(p.ahead) > 0 {
		return fmt.Errorf("adopt %d rows where %d are staged and the part %d is not: %w", rows, p.rows, p.parts, ErrStaging)
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
	tx.in, tx.adopted, tx.unstaged, tx.over = in, true, false, newOverlay()
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
