package pack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"
)

// readBuffer is how many bytes are read ahead.
const readBuffer = 64 << 10

// Contents is a container that is being read.
type Contents struct {
	// Meta is the text of meta.json.
	Meta []byte
	// Name of the file with the state, Size in bytes, State its content.
	Name  string
	Size  int64
	State *bufio.Reader
	// Time that meta.json has in the tar.
	Time time.Time
}

// Read reads a container whole, and hands what is in it to visit, which must
// read all of State. names are those that the file with the state may have.
// What visit sees comes before the container is known to be whole and
// unaltered: act on it only in what can still be dropped. An error that wraps
// ErrInvalid says what is wrong with the container, visit's is among them;
// others are those of in.
func Read(in io.Reader, visit func(*Contents) error, names ...string) error {
	// A reader that reads bytes is not read beyond the end of the compression.
	source := &origin{r: in}
	buf := bufio.NewReaderSize(source, readBuffer)
	z, err := gzip.NewReader(buf)
	if err != nil {
		return source.explain("it is not compressed with gzip", err)
	}
	z.Multistream(false)
	r := &reader{source: source, tar: tar.NewReader(z)}
	if err := r.all(visit, names); err != nil {
		return err
	}
	// The tar ends before its padding and the compression's checksum do.
	if _, err := io.Copy(io.Discard, io.LimitReader(z, readBuffer)); err != nil {
		return source.explain("its end is damaged", err)
	}
	if _, err := z.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return source.explain("something follows its last file", err)
	}
	if _, err := buf.ReadByte(); !errors.Is(err, io.EOF) {
		return source.explain("something follows its end", err)
	}
	return nil
}

// origin remembers the error of the reader behind the container, so that a
// broken connection is not taken for a broken container.
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

// explain makes an error of what is wrong with the container and of what was
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
	sums   []string
}

func (r *reader) all(visit func(*Contents) error, names []string) error {
	text, made, err := r.small(metaName, maxMeta)
	if err != nil {
		return err
	}
	h, err := r.open(MaxBytes, names...)
	if err != nil {
		return err
	}
	digest := sha256.New()
	state := bufio.NewReaderSize(io.TeeReader(r.tar, digest), readBuffer)
	if err := visit(&Contents{Meta: text, Name: h.Name, Size: h.Size, State: state, Time: made}); err != nil {
		return r.source.explain("its records are damaged", err)
	}
	if _, err := state.ReadByte(); !errors.Is(err, io.EOF) {
		return r.source.explain("something follows its records", err)
	}
	r.note(h.Name, digest)
	// Who sums up may take the files in any order.
	want := slices.Sorted(slices.Values(r.sums))
	listed, _, err := r.small(sumsName, maxSums)
	if err != nil {
		return err
	}
	got := slices.Collect(bytes.Lines(listed))
	slices.SortFunc(got, bytes.Compare)
	if !slices.EqualFunc(got, want, func(a []byte, b string) bool { return string(a) == b }) {
		return fmt.Errorf("%w: the checksums do not match, it was altered", ErrInvalid)
	}
	if _, err := r.tar.Next(); !errors.Is(err, io.EOF) {
		return r.source.explain("more files follow "+sumsName, err)
	}
	return nil
}

// open goes to the next file, which must have one of the names.
func (r *reader) open(limit int64, names ...string) (*tar.Header, error) {
	h, err := r.tar.Next()
	switch {
	case err != nil:
		return nil, r.source.explain("it is no tar file", err)
	case !slices.Contains(names, h.Name) || h.Typeflag != tar.TypeReg:
		return nil, fmt.Errorf("%w: it has the file %.64q where %q is expected", ErrInvalid, h.Name, names[0])
	case h.Size > limit:
		return nil, fmt.Errorf("%w: %s has %d bytes, %d are allowed", ErrInvalid, h.Name, h.Size, limit)
	}
	return h, nil
}

func (r *reader) note(name string, digest hash.Hash) { r.sums = append(r.sums, sumLine(name, digest)) }

func (r *reader) small(name string, limit int64) ([]byte, time.Time, error) {
	h, err := r.open(limit, name)
	if err != nil {
		return nil, time.Time{}, err
	}
	text, err := io.ReadAll(io.LimitReader(r.tar, limit))
	if err != nil {
		return nil, time.Time{}, r.source.explain(name+" is damaged", err)
	}
	digest := sha256.New()
	digest.Write(text) // never fails
	r.note(name, digest)
	return text, h.ModTime, nil
}
