package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/engine"
	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/overlay"
	"github.com/legate-project/legate/storage/progress"
	"github.com/legate-project/legate/storage/staging"
)

// A state that is to replace this one is staged by commands, part by part, in
// an instance of its own; the last command adopts it as a whole. Until then nothing of it
// shows. Because all of that is in the log, every server does the same, at the
// same place of the log, and a crash at any point leaves the old state or the
// new one: the rows of a part are durable before the current instance says that
// they came, and nothing else is written to theirs before it is adopted.

// ErrStaging is returned where a command does not continue what was staged
// before. It depends on the log alone, so all servers agree.
var ErrStaging = progress.ErrOrder

// staged is what is staged beside a Txn, and what the Txn adds to it.
type staged struct {
	name  string    // of the instance; "" where nothing is staged
	id    string    // under which it is staged, if the Txn knows
	in    *instance // nil until there is a part
	parts [][]Row   // to be written before the Txn is
}

// BeginStaging drops what is staged and begins anew under the ID.
func (tx *Txn) BeginStaging(id string) error {
	if tx.err != nil {
		return tx.err
	}
	tx.staged = staged{name: tx.s.names.Next(), id: id}
	tx.noteStaged(&progress.Progress{ID: []byte(id)}, &progress.Note{Instance: tx.staged.name})
	return nil
}

func (tx *Txn) noteStaged(p *progress.Progress, n *progress.Note) {
	tx.over.Set(string(staging.Space), overlay.Entry{Row: p.Encode(), Quiet: true})
	tx.over.Set(string(staging.NoteKey()), overlay.Entry{Row: n.Encode(), Quiet: true})
}

// Stage adds a part, counted from 0, each once and in any order: rows in order of
// their keys, which are between those of the part before and the part behind. The rows
// must not change until the Txn ends.
func (tx *Txn) Stage(id string, part uint64, rows []Row) error {
	p, n, err := tx.staging(id)
	if err == nil {
		err = p.Add(part)
	}
	if err != nil {
		return fmt.Errorf("stage part %d: %w", part, err)
	}
	var last []byte
	size := 0
	for _, r := range rows {
		if err := r.Check(); err != nil {
			return fmt.Errorf("stage part %d: %w: %w", part, ErrStaging, err)
		}
		if bytes.Compare(r.Key, last) <= 0 {
			return fmt.Errorf("stage part %d: key %x is not above the last: %w", part, r.Key, ErrStaging)
		}
		last = r.Key
		size += len(r.Key) + len(r.Value)
	}
	if len(rows) > 0 {
		if err := n.Add(&p, progress.Span{Part: part, First: rows[0].Key, Last: last}); err != nil {
			return fmt.Errorf("stage part %d: %w", part, err)
		}
	}
	if len(rows) > 0 {
		tx.staged.parts = append(slices.Clip(tx.staged.parts), rows) // clipped: a rollback goes back to what was
	}
	p.Rows += uint64(len(rows))
	tx.over.Bytes += size
	tx.noteStaged(&p, &n)
	return nil
}

func (tx *Txn) staging(id string) (p progress.Progress, n progress.Note, err error) {
	row, err := tx.overOrStored([]byte{staging.Space})
	if err != nil {
		return p, n, err
	}
	if len(row) == 0 {
		return p, n, fmt.Errorf("nothing is staged: %w", ErrStaging)
	}
	if p, err = progress.Decode(row); err != nil {
		return p, n, err
	}
	if string(p.ID) != id {
		return p, n, fmt.Errorf("%q is staged: %w", p.ID, ErrStaging)
	}
	if row, err = tx.overOrStored(staging.NoteKey()); err == nil {
		n, err = progress.DecodeNote(row)
	}
	return p, n, err
}

// Adopt makes the staged rows, which must be as many, the state: what the
// tables held is gone, and the rest of the Txn goes on with the new one. The
// index of the current command becomes the first above the old state's and
// atLeast; no view's index is below it from now on. Commit makes it durable,
// wakes everybody who waits, and lets open views finish on the old state. It
// cannot be rolled back.
func (tx *Txn) Adopt(id string, rows, atLeast uint64) error {
	p, _, err := tx.staging(id)
	if err != nil {
		return fmt.Errorf("adopt the staged state: %w", err)
	}
	if p.Rows != rows || len(p.Ahead) > 0 {
		return fmt.Errorf("adopt %d rows where %d are staged and the part %d is not: %w", rows, p.Rows, p.Parts, ErrStaging)
	}
	if err := tx.settle(); err != nil {
		return fmt.Errorf("adopt the staged state: %w", err)
	}
	in := tx.staged.in
	if in.staged != id {
		return fmt.Errorf("adopt the staged state: its rows are not in %s any more: %w", in.name, ErrCorrupt)
	}
	tx.meta.index = max(tx.meta.index, atLeast+1)
	in.floor = tx.meta.index
	tx.in, tx.adopted, tx.staged, tx.over = in, true, staged{}, overlay.New(layout.SpaceRow)
	floor := meta{index: tx.meta.index}
	tx.over.Set(string(floorKey()), overlay.Entry{Row: floor.encode(), Quiet: true})
	tx.over.Set(string(collectedKey()), overlay.Entry{Row: binary.BigEndian.AppendUint64(nil, tx.meta.index), Quiet: true})
	tx.remove(string(staging.OwnKey()))
	tx.follow(in)
	tx.began, tx.beganRetiring, tx.beganStaged = tx.cuts, tx.retiring, tx.staged
	return nil
}

// AbortStaging drops what is staged under the ID, and ErrStaging where that is
// not what is staged.
func (tx *Txn) AbortStaging(id string) error {
	if _, _, err := tx.staging(id); err != nil {
		return fmt.Errorf("drop what is staged: %w", err)
	}
	tx.staged = staged{}
	tx.remove(string(staging.Space))
	tx.remove(string(staging.NoteKey()))
	return nil
}

// settle writes the parts that the Txn has staged to their instance, durably, and makes
// that where there is none. What a crash leaves there of parts that are not in the
// progress is written again with them.
func (tx *Txn) settle() error {
	st := &tx.staged
	if st.name == "" {
		return nil
	}
	if st.in == nil {
		in, err := tx.s.openStaging(st.name, st.id)
		if err != nil {
			return err
		}
		st.in = in
		tx.made = append(tx.made, in)
	}
	if len(st.parts) == 0 {
		return nil
	}
	slices.SortFunc(st.parts, func(a, b []Row) int { return bytes.Compare(a[0].Key, b[0].Key) })
	err := tx.s.ingest(st.in, st.parts)
	st.parts = nil
	return err
}

// ingest adds rows in order, and those that are derived from them, to an instance that
// nobody reads.
func (s *State) ingest(in *instance, parts [][]Row) error {
	derived, err := s.derivedOf(parts)
	if err != nil {
		return err
	}
	return in.Ingest(
		engine.Table{Path: s.Scratch("derived"), Rows: staging.Each(derived)},
		engine.Table{Path: s.Scratch("rows"), Rows: staging.Each(parts...)})
}

// openStaging opens an instance of staged rows. One that is not there is made, for the ID.
func (s *State) openStaging(name, id string) (*instance, error) {
	in, err := s.openInstance(name)
	if err != nil {
		return nil, err
	}
	if err := s.own(in, id); err != nil {
		return nil, errors.Join(err, in.Engine.Close())
	}
	return in, nil
}

// own has an instance of staged rows say whose they are.
func (s *State) own(in *instance, id string) error {
	was, derived, there, err := staging.Owner(in.Engine)
	if err != nil {
		return err
	}
	if in.staged = id; there {
		in.staged = was
		if bytes.Equal(derived, s.derived) {
			return nil
		}
		if err := s.derive(in); err != nil { // another version was here
			return err
		}
	}
	if err := staging.Own(in.Engine, in.staged, s.derived); err != nil {
		return err
	}
	return engine.SyncDir(s.opts.FS, s.opts.Dir)
}

// commitAdopted writes the batch to the new instance, durably: from then on it is what a restart
// finds, whether the marker was moved or not.
func (tx *Txn) commitAdopted(b *pebble.Batch) error {
	s := tx.s
	err := tx.in.snaps.Commit(seen{tx.cuts.known, tx.retiring.known}, func() error { return tx.in.Write(b, true) })
	if err != nil {
		return err
	}
	if err := s.moveMarker(tx.in.name); err != nil {
		return err
	}
	s.become(tx.in, &tx.meta)
	return nil
}

// keepStaged ends a Txn that was committed: instances that neither the State nor what is
// staged is in go.
func (tx *Txn) keepStaged() {
	left := tx.made
	if tx.s.staged != nil {
		left = append(left, tx.s.staged)
	}
	tx.s.staged = tx.staged.in
	for _, in := range left {
		if in != tx.in && in != tx.staged.in {
			tx.s.drop(in)
		}
	}
}

// drop removes an instance of staged rows, beside the applying, once nobody copies it and the
// current one durably does not name it: a power loss may bring back what was last synced, and
// what that names must be whole.
func (s *State) drop(in *instance) {
	err := s.group.Spawn("remove what was staged", func(context.Context) {
		if err := s.Sync(); err == nil { // else the next start removes it
			in.retired.Store(true)
		}
		in.release()
	})
	if err != nil {
		in.release()
	}
}
