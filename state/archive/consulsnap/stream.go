package consulsnap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/legate-project/legate/state/archive/pack"
)

// Bounds of a record.
const (
	// maxRecord is how many bytes one may have that is looked into: a value of the
	// key/value store is half a MiB, unless its limit was raised.
	maxRecord = 16 << 20
	maxDepth  = 64 // values in values
	// chunk is what a length may allocate before its bytes have come.
	chunk = 64 << 10
)

// values reads MessagePack values one after the other, whatever they are, and
// allocates no more than has come.
type values struct {
	in   *bufio.Reader
	buf  []byte // of the current value, unless it is skipped or longer than maxRecord
	size int64
	long bool
	skip bool
}

// next reads a value. It is valid until the next one; nil where skip is set, and
// where it is longer than maxRecord.
func (v *values) next(skip bool) ([]byte, error) {
	v.buf, v.size, v.long, v.skip = v.buf[:0], 0, false, skip
	open := make([]uint64, 1, maxDepth+1) // values still to come, by depth
	open[0] = 1
	for len(open) > 0 {
		last := len(open) - 1
		if open[last] == 0 {
			open = open[:last]
			continue
		}
		open[last]--
		inner, err := v.one()
		if err != nil {
			return nil, err
		}
		if inner == 0 {
			continue
		}
		if len(open) > maxDepth {
			return nil, fmt.Errorf("%w: a record nests deeper than %d values", pack.ErrInvalid, maxDepth)
		}
		open = append(open, inner)
	}
	if v.skip || v.long {
		return nil, nil
	}
	return v.buf, nil
}

// one reads the head of a value and its bytes, and returns how many values it
// has within.
func (v *values) one() (inner uint64, err error) {
	lead, err := v.in.ReadByte()
	if err != nil {
		return 0, err
	}
	v.keep([]byte{lead})
	switch {
	case lead < 0x80 || lead >= 0xe0 || lead == 0xc0 || lead == 0xc2 || lead == 0xc3:
		return 0, nil
	case lead < 0x90:
		return 2 * uint64(lead&0xf), nil
	case lead < 0xa0:
		return uint64(lead & 0xf), nil
	case lead < 0xc0:
		return 0, v.bytes(uint64(lead & 0x1f))
	case lead == 0xc1:
		return 0, fmt.Errorf("%w: a value begins with %#x", pack.ErrInvalid, lead)
	}
	form := forms[lead-0xc4]
	n := uint64(form.fixed)
	if form.length > 0 {
		size, err := v.number(form.length)
		if err != nil {
			return 0, err
		}
		n += size
	}
	if form.inner > 0 {
		return n * form.inner, nil
	}
	return 0, v.bytes(n)
}

// forms are those of values that begin with c4 to df: bytes of a length, bytes
// beside those that it counts, values in one of those that it counts.
var forms = [...]struct {
	length int
	fixed  int
	inner  uint64
}{
	{length: 1}, {length: 2}, {length: 4}, // bin
	{length: 1, fixed: 1}, {length: 2, fixed: 1}, {length: 4, fixed: 1}, // ext
	{fixed: 4}, {fixed: 8}, // float
	{fixed: 1}, {fixed: 2}, {fixed: 4}, {fixed: 8}, // uint
	{fixed: 1}, {fixed: 2}, {fixed: 4}, {fixed: 8}, // int
	{fixed: 2}, {fixed: 3}, {fixed: 5}, {fixed: 9}, {fixed: 17}, // fixext
	{length: 1}, {length: 2}, {length: 4}, // str
	{length: 2, inner: 1}, {length: 4, inner: 1}, // array
	{length: 2, inner: 2}, {length: 4, inner: 2}, // map
}

func (v *values) number(size int) (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(v.in, b[8-size:]); err != nil {
		return 0, err
	}
	v.keep(b[8-size:])
	return binary.BigEndian.Uint64(b[:]), nil
}

// keep counts bytes, and keeps them while there is room.
func (v *values) keep(b []byte) {
	v.size += int64(len(b))
	if v.long = v.long || v.size > maxRecord; v.long || v.skip {
		v.buf = v.buf[:0]
		return
	}
	v.buf = append(v.buf, b...)
}

func (v *values) bytes(n uint64) error {
	for n > 0 {
		part := int(min(n, chunk))
		if v.skip || v.long || v.size+int64(part) > maxRecord {
			if _, err := v.in.Discard(part); err != nil {
				return err
			}
			v.size, v.long = v.size+int64(part), true
		} else {
			at := len(v.buf)
			v.buf = slices.Grow(v.buf, part)[:at+part]
			if _, err := io.ReadFull(v.in, v.buf[at:]); err != nil {
				return err
			}
			v.size += int64(part)
		}
		n -= uint64(part)
	}
	return nil
}

// record is one that came.
type record struct {
	kind kind
	typ  byte
	size int64
	// body is nil for what is not looked into, and for what is too long for that.
	body []byte
}

// stream reads the records of state.bin behind its header.
func stream(in *bufio.Reader, lastIndex *uint64, visit func(*record) error) error {
	v := &values{in: in}
	head, err := v.next(false)
	if err != nil {
		return err
	}
	var header struct{ LastIndex uint64 }
	if err := decode(head, &header, nil); err != nil {
		return fmt.Errorf("%w: its header is no map with LastIndex: %w", pack.ErrInvalid, err)
	}
	*lastIndex = header.LastIndex
	for {
		typ, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := &record{kind: kindOf(typ), typ: typ}
		if r.body, err = v.next(r.kind.fate == needless); err != nil {
			return err
		}
		r.size = 1 + v.size
		if r.kind.fate == taken && v.long {
			return fmt.Errorf("%w: a record of %s has %d bytes, %d are allowed", pack.ErrInvalid, r.kind.name, v.size, maxRecord)
		}
		if err := visit(r); err != nil {
			return err
		}
	}
}
