package storage

import (
	"bytes"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/shared"
	"github.com/legate-project/legate/storage/wake"
)

// keyScratch is the room for keys that a reader carries, so that most reads
// need no allocation for theirs.
const keyScratch = 128

// View is a consistent read view of the State, of the moment of its first
// read. It belongs to one goroutine and must be closed; it keeps old versions
// of rows on disk, so it is not for waiting.
type View struct {
	in    *instance
	err   error // why there is no instance
	snap  *shared.Snapshot[seen]
	index uint64
	rec   *wake.Recorder // nil unless Block asked for it
	buf   [keyScratch]byte
}

// View returns a view. After Close of the State its reads return ErrClosed.
func (s *State) View() *View {
	in, err := s.acquire()
	if err != nil {
		return &View{err: err}
	}
	return &View{in: in, index: in.floor}
}

// Index is the newest index among the rows and tombstones that were read, or
// that of the command that replaced the whole state where that is newer; 0 when
// neither was.
func (v *View) Index() uint64 { return v.index }

// Close releases the view. A second Close does nothing.
func (v *View) Close() error {
	var err error
	if v.snap != nil {
		err = v.snap.Release()
		v.snap = nil
	}
	if v.in != nil {
		v.in.release()
		v.in = nil
	}
	v.err = ErrClosed
	return err
}

func (v *View) snapshot() (*shared.Snapshot[seen], error) {
	if v.snap != nil {
		return v.snap, nil
	}
	if v.err != nil {
		return nil, v.err
	}
	v.snap = v.in.snaps.Acquire(v.in.DB)
	return v.snap, nil
}

func (v *View) get(key []byte) ([]byte, io.Closer, error) {
	snap, err := v.snapshot()
	if err != nil {
		return nil, nil, err
	}
	row, closer, err := snap.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil, nil
	}
	return snap.Known.retired.get(key, row, closer, err)
}

func (v *View) each(prefix []byte, visit func(key, row []byte) (bool, error)) error {
	return v.eachFrom(prefix, prefix, visit)
}

// eachFrom visits the rows below prefix from a key on.
func (v *View) eachFrom(from, prefix []byte, visit func(key, row []byte) (bool, error)) error {
	snap, err := v.snapshot()
	if err != nil {
		return err
	}
	if snap.Known.retired.Len() == 0 {
		return eachRow(snap, from, prefix, visit)
	}
	return eachRow(snap, from, prefix, func(key, row []byte) (bool, error) {
		row, err := snap.Known.retired.read(key, row)
		if err != nil || row == nil {
			return true, err
		}
		return visit(key, row)
	})
}

func (v *View) retired() (*retired, error) {
	snap, err := v.snapshot()
	if err != nil {
		return nil, err
	}
	return snap.Known.retired, nil
}

// eachRow visits the rows of a database below prefix from a key on, or all of them if that
// is before the first.
func eachRow(r pebble.Reader, from, prefix []byte, visit func(key, row []byte) (bool, error)) (err error) {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: layout.PrefixEnd(prefix)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		row, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if more, err := visit(it.Key(), row); err != nil || !more {
			return err
		}
	}
	return nil
}

func (v *View) saw(index uint64) { v.index = max(v.index, index) }

func (v *View) touchKey(key []byte) {
	if snap, err := v.snapshot(); err == nil && snap.Known.cuts.Len() > 0 {
		snap.Known.cuts.Root().WalkPath(key, func(_ []byte, index uint64) bool {
			v.saw(index)
			return false
		})
	}
	if v.rec != nil {
		v.rec.Key(key)
	}
}

func (v *View) touchPrefix(prefix []byte) {
	if snap, err := v.snapshot(); err == nil {
		v.saw(newestCut(snap.Known.cuts, prefix))
	}
	if v.rec != nil {
		v.rec.Prefix(prefix)
	}
}

func (v *View) scratch() []byte { return v.buf[:0] }
