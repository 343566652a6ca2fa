package consulsnap

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/storage"
)

// maxSorted is how many bytes of rows are sorted in memory; more go to a file
// for each that much. rowOverhead is what a row takes beside its bytes.
const (
	maxSorted   = 64 << 20
	rowOverhead = 48
)

// sorter brings rows into the order of their keys. Of those with one key the last
// one counts.
type sorter struct {
	folder string
	limit  int // maxSorted, if 0
	rows   []storage.Row
	size   int
	runs   []*os.File
}

func (s *sorter) add(rows []storage.Row) error {
	for _, r := range rows {
		s.size += len(r.Key) + len(r.Value) + rowOverhead
	}
	s.rows = append(s.rows, rows...)
	limit := s.limit
	if limit == 0 {
		limit = maxSorted
	}
	if s.size < limit {
		return nil
	}
	if err := s.spill(); err != nil {
		return fmt.Errorf("sort the rows of a snapshot: %w", err)
	}
	return nil
}

func (s *sorter) sort() {
	slices.SortStableFunc(s.rows, func(a, b storage.Row) int { return bytes.Compare(a.Key, b.Key) })
}

// spill writes what is in memory to a file.
func (s *sorter) spill() error {
	f, err := os.CreateTemp(s.folder, "restore-*.rows")
	if err != nil {
		return err
	}
	s.runs = append(s.runs, f)
	s.sort()
	out := bufio.NewWriter(f)
	var head []byte
	for _, r := range s.rows {
		head = binary.AppendUvarint(binary.AppendUvarint(head[:0], uint64(len(r.Key))), uint64(len(r.Value)))
		for _, part := range [][]byte{head, r.Key, r.Value} {
			if _, err := out.Write(part); err != nil {
				return err
			}
		}
	}
	s.rows, s.size = nil, 0
	return out.Flush()
}

func (s *sorter) close() error {
	var errs []error
	for _, f := range s.runs {
		errs = append(errs, f.Close(), os.Remove(f.Name()))
	}
	s.runs = nil
	return errors.Join(errs...)
}

// all yields the rows in order, each time from the beginning. Nothing is added
// any more.
func (s *sorter) all() iter.Seq2[archive.Row, error] {
	s.sort()
	return func(yield func(archive.Row, error) bool) {
		var h runs
		for i, f := range s.runs {
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				yield(archive.Row{}, err)
				return
			}
			h = append(h, &run{at: i, in: bufio.NewReader(f)})
		}
		h = append(h, &run{at: len(s.runs), rows: s.rows})
		if err := h.merge(yield); err != nil {
			yield(archive.Row{}, fmt.Errorf("sort the rows of a snapshot: %w", err))
		}
	}
}

// run is rows in order, in a file or in memory.
type run struct {
	at   int // later ones count more
	in   *bufio.Reader
	rows []storage.Row
	row  storage.Row
}

// next goes to the next row; io.EOF is the end.
func (r *run) next() error {
	if r.in == nil {
		if len(r.rows) == 0 {
			return io.EOF
		}
		r.row, r.rows = r.rows[0], r.rows[1:]
		return nil
	}
	keySize, err := binary.ReadUvarint(r.in)
	if err != nil {
		return err
	}
	valueSize, err := binary.ReadUvarint(r.in)
	if err != nil {
		return err
	}
	b := make([]byte, keySize+valueSize) // from our own file
	r.row = storage.Row{Key: b[:keySize], Value: b[keySize:]}
	_, err = io.ReadFull(r.in, b)
	return err
}

// runs are a heap: the lowest key first, of equal ones that of the earlier run.
type runs []*run

var _ heap.Interface = (*runs)(nil)

// Len implements heap.Interface.
func (h runs) Len() int { return len(h) }

// Less implements heap.Interface.
func (h runs) Less(i, j int) bool {
	if c := bytes.Compare(h[i].row.Key, h[j].row.Key); c != 0 {
		return c < 0
	}
	return h[i].at < h[j].at
}

// Swap implements heap.Interface.
func (h runs) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *runs) Push(x any) { *h = append(*h, x.(*run)) }

// Pop implements heap.Interface.
func (h *runs) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// merge yields what all have. An error is one of reading.
func (h runs) merge(yield func(archive.Row, error) bool) error {
	begun := h[:0]
	for _, r := range h {
		switch err := r.next(); {
		case err == nil:
			begun = append(begun, r)
		case !errors.Is(err, io.EOF):
			return err
		}
	}
	h = begun
	heap.Init(&h)
	var last *storage.Row
	for len(h) > 0 {
		row := h[0].row
		if last != nil && !bytes.Equal(last.Key, row.Key) && !yield(archive.Row(*last), nil) {
			return nil
		}
		last = &row
		switch err := h[0].next(); {
		case err == nil:
			heap.Fix(&h, 0)
		case errors.Is(err, io.EOF):
			heap.Pop(&h)
		default:
			return err
		}
	}
	if last != nil {
		yield(archive.Row(*last), nil)
	}
	return nil
}
