package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/legate-project/legate/state/archive/pack"
)

// readChunk is what a length may allocate before its bytes have come.
const readChunk = 64 << 10

// Verify reads the whole archive and returns its description. An error that
// wraps ErrInvalid says what is wrong with the archive; ErrConsul that it is one
// of Consul, of which the rest was not looked at; others are those of in.
func Verify(in io.Reader) (Meta, error) { return Read(in, nil) }

// Read is Verify that hands each row to visit, in order of the keys; the row is
// valid until visit returns. Rows come before the archive is known to be whole
// and unaltered: act on them only in what can still be dropped. An error of
// visit ends it. A nil visit is told nothing.
func Read(in io.Reader, visit func(Row) error) (Meta, error) {
	r := &reader{visit: visit}
	err := pack.Read(in, r.contents, pack.StateName, recordsName)
	if r.failed != nil {
		return r.meta, r.failed
	}
	return r.meta, err
}

type reader struct {
	meta   Meta
	visit  func(Row) error
	failed error // of visit, or ErrConsul

	key, last, value []byte
	rows             uint64
	seen             tally
}

func (r *reader) contents(c *pack.Contents) error {
	if c.Name == recordsName {
		return r.formatOne(c)
	}
	in := c.State
	text, size, err := r.header(in)
	if err != nil {
		return err
	}
	if err := r.describe(text, 2, Format); err != nil {
		return err
	}
	if uint64(c.Size) != uint64(size)+r.meta.Bytes {
		return fmt.Errorf("%w: it has %d bytes of records, its description says %d", ErrInvalid, c.Size-int64(size), r.meta.Bytes)
	}
	for {
		switch err := r.frame(in); {
		case errors.Is(err, errEnd):
			return r.end()
		case err != nil:
			return err
		}
		if err := r.row(); err != nil {
			return err
		}
	}
}

// describe takes the description, of a format from lowest to highest.
func (r *reader) describe(text []byte, lowest, highest int) error {
	if err := json.Unmarshal(text, &r.meta); err != nil {
		return fmt.Errorf("%w: its description is malformed: %w", ErrInvalid, err)
	}
	switch m := &r.meta; {
	case m.Format < lowest:
		return fmt.Errorf("%w: it does not say which format it has (a snapshot of another program?)", ErrInvalid)
	case m.Format > highest:
		return fmt.Errorf("%w: it has format %d, written by version %q; this version reads formats up to %d", ErrInvalid, m.Format, m.Version, Format)
	case m.Bytes > MaxBytes:
		return fmt.Errorf("%w: it has %d bytes of records, %d are allowed", ErrInvalid, m.Bytes, uint64(MaxBytes))
	}
	return nil
}

// header returns the description, and how many bytes of state.bin it takes.
func (r *reader) header(in *bufio.Reader) ([]byte, int, error) {
	begin, err := in.Peek(len(headerIndex))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	if string(begin) != headerIndex {
		r.failed = ErrConsul
		return nil, 0, ErrConsul
	}
	middle := make([]byte, len(headerIndex)+8+len(headerMeta))
	if _, err := io.ReadFull(in, middle); err != nil {
		return nil, 0, err
	}
	if !bytes.HasSuffix(middle, []byte(headerMeta)) {
		return nil, 0, fmt.Errorf("%w: its header is damaged", ErrInvalid)
	}
	text, err := raw(in, nil, maxMeta)
	return text, len(middle) + rawSize(len(text)), err
}

// frame reads the next row; errEnd is where none begins.
func (r *reader) frame(in *bufio.Reader) error {
	kind, err := in.ReadByte()
	if errors.Is(err, io.EOF) {
		return errEnd
	}
	if err != nil {
		return err
	}
	array, err := in.ReadByte()
	if err != nil {
		return err
	}
	if kind != rowType || array != rowHeader {
		return fmt.Errorf("%w: a record of the unknown kind %#x", ErrInvalid, []byte{kind, array})
	}
	if r.key, err = raw(in, r.key, maxKey); err != nil {
		return err
	}
	r.value, err = raw(in, r.value, maxValue)
	return err
}

// raw reads what appendRaw has written into buf.
func raw(in *bufio.Reader, buf []byte, limit uint32) ([]byte, error) {
	lead, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	size := uint32(lead & 0x1f)
	switch {
	case lead&0xe0 == 0xa0:
	case lead == 0xda || lead == 0xdb:
		var n [4]byte
		if _, err := io.ReadFull(in, n[2*int(0xdb-lead):]); err != nil {
			return nil, err
		}
		size = binary.BigEndian.Uint32(n[:])
	default:
		return nil, fmt.Errorf("%w: a record begins with %#x", ErrInvalid, lead)
	}
	if size > limit {
		return nil, fmt.Errorf("%w: a record has a part of %d bytes, %d are allowed", ErrInvalid, size, limit)
	}
	return fill(in, buf, int(size))
}

// errEnd is returned where the records end.
var errEnd = errors.New("no more records")

// row takes the row that was read.
func (r *reader) row() error {
	row := Row{r.key, r.value}
	if err := row.check(); err != nil {
		return err
	}
	if bytes.Compare(r.key, r.last) <= 0 {
		return fmt.Errorf("%w: its records are not in order", ErrInvalid)
	}
	r.last = append(r.last[:0], r.key...)
	r.rows++
	r.seen.add(row)
	if r.visit == nil {
		return nil
	}
	r.failed = r.visit(row)
	return r.failed
}

// end compares what came with the description.
func (r *reader) end() error {
	if r.rows != r.meta.Rows || !slices.Equal(r.seen.tables(), named(r.meta.Tables)) {
		return fmt.Errorf("%w: it has %d records, its description says something else", ErrInvalid, r.rows)
	}
	return nil
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
