package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Lengths of frames, in bytes.
const (
	// MaxRequest bounds the frame of a request: the largest write of the
	// HTTP API (a transaction of 128 values of 512 KB is refused earlier)
	// with room for its header.
	MaxRequest = 2 << 20
	// MaxResponse bounds the frame of a response: a listing of a large
	// prefix. What is longer is a stream of frames.
	MaxResponse = 64 << 20
	// frameChunk is what a peer's length prefix may allocate before a byte
	// of the frame has come.
	frameChunk = 64 << 10
	// frameHeader is a length, big endian.
	frameHeader = 4
)

// WriteFrame writes the parts as one frame: a length of 4 bytes, big endian,
// and the concatenation of the parts.
func WriteFrame(w io.Writer, parts ...[]byte) error {
	total := 0
	for _, p := range parts {
		total += len(p)
	}
	if total > MaxResponse {
		return fmt.Errorf("write frame of %d bytes: %w", total, ErrTooLarge)
	}
	small := min(frameHeader+total, frameChunk)
	buf := make([]byte, frameHeader, small)
	binary.BigEndian.PutUint32(buf, uint32(total))
	for _, p := range parts {
		if len(buf)+len(p) <= cap(buf) {
			buf = append(buf, p...)
			continue
		}
		if len(buf) > 0 {
			if _, err := w.Write(buf); err != nil {
				return fmt.Errorf("write frame: %w", err)
			}
			buf = buf[:0]
		}
		if _, err := w.Write(p); err != nil {
			return fmt.Errorf("write frame: %w", err)
		}
	}
	if len(buf) == 0 {
		return nil
	}
	if _, err := w.Write(buf); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// ReadFrame reads one frame of at most limit bytes. It returns io.EOF if the
// reader ends before the frame begins, io.ErrUnexpectedEOF if it ends within,
// ErrTooLarge if the frame is longer. Memory grows with what has arrived, not
// with what the prefix promises.
func ReadFrame(r io.Reader, limit int) ([]byte, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if err == io.EOF { // bare: io.ReadFull read nothing
			return nil, io.EOF
		}
		return nil, fmt.Errorf("read length of frame: %w", err)
	}
	return readFrameBody(r, head, limit)
}

// readFrameBody reads what follows the length of a frame.
func readFrameBody(r io.Reader, head [frameHeader]byte, limit int) ([]byte, error) {
	total := int64(binary.BigEndian.Uint32(head[:]))
	if total > int64(limit) {
		return nil, fmt.Errorf("read frame of %d bytes, %d allowed: %w", total, limit, ErrTooLarge)
	}
	size := int(total)
	buf := make([]byte, min(size, frameChunk))
	for have := 0; ; {
		n, err := io.ReadFull(r, buf[have:])
		have += n
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read frame of %d bytes: %w", size, err)
		}
		if have == size {
			return buf, nil
		}
		grown := make([]byte, min(size, 2*len(buf)))
		copy(grown, buf)
		buf = grown
	}
}
