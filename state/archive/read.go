package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
)

// readChunk is what a length may allocate before its bytes have come.
const readChunk = 64 << 10

// Verify reads the whole archive and returns its description. An error that
// wraps ErrInvalid says what is wrong with the archive; others are those of in.
func Verify(in io.Reader) (Meta, error) { return Read(in, nil) }

// Read is Verify that hands each row to visit, in order of the keys; the row is
// valid until visit returns. Rows come before the archive is known to be whole
// and unaltered: act on them only in what can still be dropped. An error of
// visit ends it. A nil visit is told nothing.
func Read(in io.Reader, visit func(Row) error) (Meta, error) {
	// A reader that reads bytes is not read beyond the end of the compression.
	source := &origin{r: in}
	buf := bufio.NewReaderSize(source, readChunk)
	z, err := gzip.NewReader(buf)
	if err != nil {
		return Meta{}, source.explain("it is not compressed with gzip", err)
	}
	z.Multistream(false)
	r := &reader{source: source, tar: tar.NewReader(z), visit: visit, sums: map[string]string{}}
	meta, err := r.all()
	if err != nil {
		return meta, err
	}
	// The tar ends before its padding and the compression's checksum do.
	if _, err := io.Copy(io.Discard, io.LimitReader(z, readChunk)); err != nil {
		return meta, source.explain("its end is damaged", err)
	}
	if _, err := z.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return meta, source.explain("something follows its last file", err)
	}
	if _, err := buf.ReadByte(); !errors.Is(err, io.EOF) {
		return meta, source.explain("something follows its end", err)
	}
	return meta, nil
}

// origin remembers the error of the reader behind the archive, so that a
// broken connection is not taken for a broken archive.
type origin struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (o *origin) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		o.err = err
	}
	return n, err
}

// explain makes an error of what is wrong with the archive and of what was
// found, if anything was.
func (o *origin) explain(what string, err error) error {
	switch {
	case o.err != nil:
		return fmt.Errorf("read the snapshot: %w", o.err)
	case errors.Is(err, ErrInvalid):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it is cut off", ErrInvalid)
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrInvalid, what, err)
	}
	return fmt.Errorf("%w: %s", ErrInvalid, what)
}

type reader struct {
	source *origin
	tar    *tar.Reader
	visit  func(Row) error
	sums   map[string]string // by file
	failed error             // of visit
}

func (r *reader) all() (Meta, error) {
	text, err := r.small(metaName, maxMeta)
	if err != nil {
		return Meta{}, err
	}
	var meta Meta
	if err := json.Unmarshal(text, &meta); err != nil {
		return Meta{}, r.source.explain(metaName+" is malformed", fmt.Errorf("%w: %s: %w", ErrInvalid, metaName, err))
	}
	switch {
	case meta.Format < 1:
		return meta, fmt.Errorf("%w: it does not say which format it has (a snapshot of another program?)", ErrInvalid)
	case meta.Format > Format:
		return meta, fmt.Errorf("%w: it has format %d, written by version %q; this version reads formats up to %d", ErrInvalid, meta.Format, meta.Version, Format)
	case meta.Bytes > MaxBytes:
		return meta, fmt.Errorf("%w: it has %d bytes of records, %d are allowed", ErrInvalid, meta.Bytes, uint64(MaxBytes))
	}
	if err := r.records(&meta); err != nil {
		if r.failed != nil {
			return meta, r.failed
		}
		return meta, r.source.explain("its records are damaged", err)
	}
	listed, err := r.small(sumsName, maxSums)
	if err != nil {
		return meta, err
	}
	if want := r.sums[metaName] + r.sums[recordsName]; string(listed) != want {
		return meta, fmt.Errorf("%w: the checksums do not match, it was altered", ErrInvalid)
	}
	if _, err := r.tar.Next(); !errors.Is(err, io.EOF) {
		return meta, r.source.explain("more files follow "+sumsName, err)
	}
	return meta, nil
}

// open goes to the next file, which must have the name.
func (r *reader) open(name string, limit int64) (int64, error) {
	h, err := r.tar.Next()
	switch {
	case err != nil:
		return 0, r.source.explain("it is no tar file", err)
	case h.Name != name || h.Typeflag != tar.TypeReg:
		return 0, fmt.Errorf("%w: it has the file %.64q where %q is expected", ErrInvalid, h.Name, name)
	case h.Size > limit:
		return 0, fmt.Errorf("%w: %s has %d bytes, %d are allowed", ErrInvalid, name, h.Size, limit)
	}
	return h.Size, nil
}

func (r *reader) note(name string, digest hash.Hash) {
	r.sums[name] = fmt.Sprintf("%x  %s\n", digest.Sum(nil), name)
}

func (r *reader) small(name string, limit int64) ([]byte, error) {
	if _, err := r.open(name, limit); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r.tar, limit))
	if err != nil {
		return nil, r.source.explain(name+" is damaged", err)
	}
	digest := sha256.New()
	digest.Write(text) // never fails
	r.note(name, digest)
	return text, nil
}

func (r *reader) records(meta *Meta) error {
	size, err := r.open(recordsName, MaxBytes)
	if err != nil {
		return err
	}
	if uint64(size) != meta.Bytes {
		return fmt.Errorf("%w: it has %d bytes of records, its description says %d", ErrInvalid, size, meta.Bytes)
	}
	digest := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(r.tar, digest), readChunk)
	var key, last, value []byte
	var seen tally
	for rows := uint64(0); ; rows++ {
		keySize, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			if rows != meta.Rows || !slices.Equal(seen.tables(), named(meta.Tables)) {
				return fmt.Errorf("%w: it has %d records, its description says something else", ErrInvalid, rows)
			}
			r.note(recordsName, digest)
			return nil
		}
		if err != nil {
			return err
		}
		valueSize, err := binary.ReadUvarint(in)
		if err != nil {
			return err
		}
		if keySize > maxKey || valueSize > maxValue {
			return fmt.Errorf("%w: a record with a key of %d and a value of %d bytes", ErrInvalid, keySize, valueSize)
		}
		if key, err = fill(in, key, int(keySize)); err != nil {
			return err
		}
		if value, err = fill(in, value, int(valueSize)); err != nil {
			return err
		}
		row := Row{key, value}
		if err := row.check(); err != nil {
			return err
		}
		if bytes.Compare(key, last) <= 0 {
			return fmt.Errorf("%w: its records are not in order", ErrInvalid)
		}
		last = append(last[:0], key...)
		seen.add(row)
		if err := r.show(row); err != nil {
			return err
		}
	}
}

func (r *reader) show(row Row) error {
	if r.visit == nil {
		return nil
	}
	r.failed = r.visit(row)
	return r.failed
}

// named gives tables the names that this version has for them.
func named(tables []Table) []Table {
	out := slices.Clone(tables)
	for i := range out {
		out[i].Name = TableName(out[i].ID)
	}
	return out
}

// fill reads size bytes into buf, which grows with what has come.
func fill(in io.Reader, buf []byte, size int) ([]byte, error) {
	buf = buf[:0]
	for len(buf) < size {
		n := min(size-len(buf), max(readChunk, len(buf)))
		buf = slices.Grow(buf, n)[:len(buf)+n]
		if _, err := io.ReadFull(in, buf[len(buf)-n:]); err != nil {
			return nil, err
		}
	}
	return buf, nil
}
