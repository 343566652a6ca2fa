package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"runtime"
	"slices"

	"github.com/klauspost/pgzip"

	"github.com/legate-project/legate/internal/lifecycle"
)

// Names of the files in the tar, in their order.
const (
	metaName    = "meta.json"
	recordsName = "records"
	sumsName    = "SHA256SUMS"
)

// fileMode of the files in the tar: a snapshot holds secrets.
const fileMode = 0o600

// compressBuffer is how many bytes go to the compressor at a time.
const compressBuffer = 256 << 10

// compressors work on as many such buffers at a time, at most.
const compressors = 4

// writeBuffer gathers rows on their way to the compressor, in bytes.
const writeBuffer = 64 << 10

// Write writes an archive. It goes through rows twice, to count and to write:
// both times they must be the same, in order of their keys. The counts in meta
// are filled in. It returns what was described.
func Write(w io.Writer, meta Meta, rows iter.Seq2[Row, error]) (Meta, error) {
	if err := meta.count(rows); err != nil {
		return meta, fmt.Errorf("count the records: %w", err)
	}
	packed, plain := io.Pipe()
	done := make(chan error, 1)
	err := lifecycle.New("snapshot").Spawn("compress", func(context.Context) {
		err := compress(w, packed)
		packed.CloseWithError(err) // who writes is told
		done <- err
	})
	if err != nil {
		return meta, err
	}
	buf := bufio.NewWriterSize(plain, compressBuffer)
	out := &writer{tar: tar.NewWriter(buf), meta: meta}
	err = out.all(rows)
	if err == nil {
		err = errors.Join(out.tar.Close(), buf.Flush())
	}
	plain.CloseWithError(err)
	if e := <-done; err == nil {
		err = e
	}
	if err != nil {
		return meta, fmt.Errorf("write a snapshot: %w", err)
	}
	return meta, nil
}

// compress runs beside the reading of rows, on as many cores as there are up to
// compressors: it takes more time than that.
func compress(w io.Writer, from *io.PipeReader) error {
	out := &sink{w: w, failed: from.CloseWithError}
	z, err := pgzip.NewWriterLevel(out, pgzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := z.SetConcurrency(compressBuffer, min(compressors, runtime.GOMAXPROCS(0))); err != nil {
		return err
	}
	_, err = io.CopyBuffer(z, from, make([]byte, compressBuffer))
	err = errors.Join(err, z.Close())
	if out.err != nil {
		return out.err
	}
	return err
}

// sink takes everything also after w failed, and has failed told of it: a
// compressor whose writer fails would leave a goroutine behind. One goroutine
// of the compressor's writes; after its Close, err is what w said.
type sink struct {
	w      io.Writer
	failed func(error) error
	err    error
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return len(p), nil
	}
	if _, s.err = s.w.Write(p); s.err != nil {
		return len(p), s.failed(s.err)
	}
	return len(p), nil
}

// count fills in what there is.
func (m *Meta) count(rows iter.Seq2[Row, error]) error {
	m.Format, m.Rows, m.Bytes = Format, 0, 0
	var tally tally
	for r, err := range rows {
		if err != nil {
			return err
		}
		if err := r.check(); err != nil {
			return err
		}
		tally.add(r)
		m.Bytes += uint64(frameSize(r))
		m.Rows++
	}
	m.Tables = tally.tables()
	return nil
}

// tally counts rows by table.
type tally struct{ records, indexes [256]Table }

func (t *tally) add(r Row) {
	kind := &t.indexes
	if r.Record() {
		kind = &t.records
	}
	table := &kind[r.Key[1]]
	table.Rows++
	table.Bytes += uint64(len(r.Key) + len(r.Value))
}

func (t *tally) tables() []Table {
	out := []Table{}
	for i, kind := range []*[256]Table{&t.records, &t.indexes} {
		for id, table := range kind {
			if table.Rows > 0 {
				table.ID, table.Name, table.Indexes = id, TableName(id), i == 1
				out = append(out, table)
			}
		}
	}
	return out
}

type writer struct {
	tar  *tar.Writer
	meta Meta
	sums []byte
}

func (w *writer) all(rows iter.Seq2[Row, error]) error {
	text, err := json.MarshalIndent(w.meta, "", "  ")
	if err != nil {
		return err
	}
	if err := w.small(metaName, text); err != nil {
		return err
	}
	digest := sha256.New()
	if err := w.header(recordsName, int64(w.meta.Bytes)); err != nil {
		return err
	}
	buf := bufio.NewWriterSize(io.MultiWriter(w.tar, digest), writeBuffer)
	frame := make([]byte, 0, 2*binary.MaxVarintLen64)
	for r, err := range rows {
		if err != nil {
			return err
		}
		frame = binary.AppendUvarint(frame[:0], uint64(len(r.Key)))
		frame = binary.AppendUvarint(frame, uint64(len(r.Value)))
		for _, part := range [][]byte{frame, r.Key, r.Value} {
			if _, err := buf.Write(part); err != nil {
				return err
			}
		}
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	w.sum(recordsName, digest)
	return w.small(sumsName, w.sums)
}

func (w *writer) header(name string, size int64) error {
	return w.tar.WriteHeader(&tar.Header{Name: name, Mode: fileMode, Size: size, ModTime: w.meta.Time, Format: tar.FormatPAX})
}

func (w *writer) small(name string, text []byte) error {
	if err := w.header(name, int64(len(text))); err != nil {
		return err
	}
	digest := sha256.New()
	digest.Write(text) // never fails
	w.sum(name, digest)
	_, err := w.tar.Write(text)
	return err
}

// sum notes a checksum in the form of the command sha256sum.
func (w *writer) sum(name string, digest hash.Hash) {
	w.sums = fmt.Appendf(slices.Clip(w.sums), "%x  %s\n", digest.Sum(nil), name)
}

// frameSize is how many bytes a row takes among the records.
func frameSize(r Row) int {
	return uvarintSize(len(r.Key)) + uvarintSize(len(r.Value)) + len(r.Key) + len(r.Value)
}

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// check says whether the row is one of the state.
func (r Row) check() error {
	switch {
	case len(r.Key) < keyHeader || len(r.Key) > maxKey || len(r.Value) < valueHeader || len(r.Value) > maxValue:
		return fmt.Errorf("%w: a record with a key of %d and a value of %d bytes", ErrInvalid, len(r.Key), len(r.Value))
	case r.Key[0] != spaceRecord && r.Key[0] != spaceIndex:
		return fmt.Errorf("%w: a record of the unknown kind %q", ErrInvalid, r.Key[0])
	case r.Value[valueHeader-1] != 0:
		return fmt.Errorf("%w: a record with the unknown mark %d", ErrInvalid, r.Value[valueHeader-1])
	}
	return nil
}
