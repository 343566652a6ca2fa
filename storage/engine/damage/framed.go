package damage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The format of Pebble's manifests and write-ahead logs (its package record
// describes it): blocks of 32 KiB that hold chunks, none across two blocks. A
// record is one chunk, or a first one, any number in the middle, and a last
// one. A chunk begins with a checksum (4 bytes) of all from its kind on, the
// length of its payload (2) and its kind (1); in a write-ahead log the file's
// number (4) follows and, in the newest kinds, an offset (8). What is left of
// a block that has no room for a header is zero.
const (
	frameBlock      = 32 << 10
	frameHeader     = 7
	recycledHeader  = frameHeader + 4
	offsetHeader    = recycledHeader + 8
	kindsPerFormat  = 4 // full, first, middle, last
	recycledFull    = 5 // the first kind with a number
	offsetFull      = 9 // the first kind with a number and an offset
	lastKind        = 12
	diskSector      = 512 // what a disk writes whole; larger sectors are multiples
	checksumRotate  = 15
	checksumAddend  = 0xa282ead8
	posFull         = 0
	posFirst        = 1
	posLast         = 3
	trailerZeroHead = 6 // bytes of a trailer's checksum and length
)

// framed reads a file of that format.
type framed struct {
	file   vfs.File
	size   int64
	wal    bool   // a write-ahead log, else a manifest
	number uint32 // of the write-ahead log
	crc    *crc32.Table
	buf    []byte
}

func openFramed(fs vfs.FS, path string) (*framed, error) {
	file, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", path, err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("check %s: %w", path, err), file.Close())
	}
	return &framed{
		file: file, size: info.Size(),
		crc: crc32.MakeTable(crc32.Castagnoli), buf: make([]byte, frameBlock),
	}, nil
}

// block reads the block that begins at start. The next call overwrites it.
func (f *framed) block(start int64) ([]byte, error) {
	b := f.buf[:min(frameBlock, f.size-start)]
	n, err := f.file.ReadAt(b, start)
	if n == len(b) {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("read %d bytes at %d: %w", len(b), start, err)
}

// chunk is a valid one.
type chunk struct {
	begins, ends bool // a record
	length       int  // with its header
}

// chunk returns the valid chunk that b begins with.
func (f *framed) chunk(b []byte) (c chunk, ok bool) {
	header, position, ok := f.header(b)
	if !ok {
		return c, false
	}
	end := header + int(binary.LittleEndian.Uint16(b[4:]))
	if end > len(b) || f.checksum(b[6:end]) != binary.LittleEndian.Uint32(b) {
		return c, false
	}
	return chunk{
		begins: position == posFull || position == posFirst,
		ends:   position == posFull || position == posLast,
		length: end,
	}, true
}

// header returns the length of the header that b begins with and the chunk's
// position in its record.
func (f *framed) header(b []byte) (length int, position byte, ok bool) {
	if len(b) < frameHeader {
		return 0, 0, false
	}
	kind := b[6]
	switch {
	case kind == 0 || kind > lastKind || f.wal != (kind >= recycledFull):
		return 0, 0, false
	case kind >= offsetFull:
		length = offsetHeader
	case kind >= recycledFull:
		length = recycledHeader
	default:
		length = frameHeader
	}
	if f.wal && (len(b) < length || binary.LittleEndian.Uint32(b[frameHeader:]) != f.number) {
		return 0, 0, false
	}
	return length, (kind - 1) % kindsPerFormat, true
}

// checksum is Pebble's: Castagnoli's, rotated and raised.
func (f *framed) checksum(b []byte) uint32 {
	c := crc32.Checksum(b, f.crc)
	return (c>>checksumRotate | c<<(32-checksumRotate)) + checksumAddend
}

// trailer reports whether b begins with what a write-ahead log is closed with:
// the header of an empty chunk of the next number, without a checksum.
func (f *framed) trailer(b []byte) bool {
	return f.wal && len(b) >= recycledHeader && zero(b[:trailerZeroHead]) &&
		b[6] == recycledFull && binary.LittleEndian.Uint32(b[frameHeader:]) == f.number+1
}

// intact reads on to the first chunk that is not valid in its place. It returns
// where that is, or -1 if the file is valid to its end, and how many records
// ended before it.
func (f *framed) intact() (bad int64, records int, err error) {
	open := false
	for start := int64(0); start < f.size; start += frameBlock {
		b, err := f.block(start)
		if err != nil {
			return 0, 0, err
		}
		for at := 0; at < len(b) && !padding(b, at); {
			if f.trailer(b[at:]) && !open {
				return -1, records, nil
			}
			c, ok := f.chunk(b[at:])
			if !ok || c.begins == open {
				return start + int64(at), records, nil
			}
			if c.ends {
				records++
			}
			open = !c.ends
			at += c.length
		}
	}
	return -1, records, nil
}

// padding reports whether what follows at in a block is what was left over.
func padding(b []byte, at int) bool {
	rest := b[at:]
	if len(rest) < frameHeader {
		return len(b) == frameBlock
	}
	return len(rest) < offsetHeader && zero(rest)
}

// recordFollows reports whether a valid chunk that begins a record, or the
// trailer, stands anywhere from the bad chunk on: nothing tells where the
// bad one ends.
func (f *framed) recordFollows(bad int64) (bool, error) {
	for start := bad / frameBlock * frameBlock; start < f.size; start += frameBlock {
		b, err := f.block(start)
		if err != nil {
			return false, err
		}
		for at := int(max(bad-start, 0)); at+frameHeader <= len(b); at++ {
			if kind := b[at+6]; kind == 0 || kind > lastKind {
				continue // most are, and the file may be large
			}
			if c, ok := f.chunk(b[at:]); ok && c.begins || f.trailer(b[at:]) {
				return true, nil
			}
		}
	}
	return false, nil
}

// incomplete reports whether what stands from the bad chunk on, in a file that
// was only ever appended to, can be what is left of a write of which a part is
// missing.
func (f *framed) incomplete(bad int64) (bool, error) {
	for start := bad / frameBlock * frameBlock; start < f.size; start += frameBlock {
		b, err := f.block(start)
		if err != nil {
			return false, err
		}
		at := int(max(bad-start, 0))
		if start <= bad && f.cut(b, at) {
			return true, nil
		}
		for at < len(b) {
			next := min((at/diskSector+1)*diskSector, len(b))
			if zero(b[at:next]) {
				return true, nil
			}
			at = next
		}
	}
	return false, nil
}

// cut reports whether the chunk at is one that the end of the file cuts off.
// One that is whole but for its length is not.
func (f *framed) cut(b []byte, at int) bool {
	rest := b[at:]
	if len(rest) < frameHeader {
		return true
	}
	header, _, ok := f.header(rest)
	end := header + int(binary.LittleEndian.Uint16(rest[4:]))
	return ok && end > len(rest) && at+end <= frameBlock &&
		f.checksum(rest[6:]) != binary.LittleEndian.Uint32(rest)
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
