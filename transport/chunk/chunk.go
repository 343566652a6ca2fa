// Package chunk cuts messages into chunks that share a stream. Each is
//
//	number of the message   4 bytes, big endian, chosen by who asks
//	flags                   1 byte
//	length                  2 bytes, big endian
//	data
package chunk

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

const (
	// Max bounds the data of a chunk, in bytes, so that a long message does not keep short ones waiting.
	Max = 16 << 10
	// Header is what stands before the data, in bytes.
	Header = 7
	// write is how much is gathered for one write.
	write = 64 << 10
	// read is what is read at once. There is one such buffer for each stream, as long as it lives.
	read = 4 << 10
)

// Flags of a chunk.
const (
	More   = 1 << iota // the message goes on in another chunk
	Cancel             // who asked gave up
	Busy               // not begun, too many already
)

var (
	// ErrTooLong is of a chunk that is longer than Max.
	ErrTooLong = errors.New("chunk is too long")
	// ErrStopped is what Run ends with after Stop.
	ErrStopped = errors.New("writer of chunks is stopped")
)

// NewReader returns what chunks of a stream are read from.
func NewReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, read) }

// ReadHeader reads the header of a chunk; its data follows.
func ReadHeader(r *bufio.Reader) (id uint32, flags byte, length int, err error) {
	h, err := r.Peek(Header)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("read header of a chunk: %w", err)
	}
	id, flags, length = binary.BigEndian.Uint32(h), h[4], int(binary.BigEndian.Uint16(h[5:]))
	if length > Max {
		return 0, 0, 0, fmt.Errorf("read chunk of %d bytes, %d allowed: %w", length, Max, ErrTooLong)
	}
	_, _ = r.Discard(Header) // it was peeked: it is there
	return id, flags, length, nil
}

// Message is a request or an answer on its way into chunks.
type Message struct {
	ID         uint32
	Flags      byte
	Head, Body []byte // one after the other; not changed any more
	Sent       func() // called when the last chunk is about to be written; nil for none
}

// Buffers lends what chunks are gathered in, to all writers of an endpoint: one that has nothing to write holds none.
type Buffers struct{ pool sync.Pool }

func (b *Buffers) get() *[]byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, 0, write+Max+Header)
	return &buf
}

// Writer gathers what several put and writes it together.
type Writer struct {
	w       io.Writer
	buffers *Buffers
	most    int    // messages that wait
	prefix  []byte // written first
	wake    chan struct{}
	done    chan struct{} // closed by Stop

	mu      sync.Mutex
	queue   []Message
	stopped bool
}

// NewWriter returns a Writer in which so many messages may wait. The prefix goes before all of them.
func NewWriter(w io.Writer, b *Buffers, most int, prefix []byte) *Writer {
	return &Writer{w: w, buffers: b, most: most, prefix: prefix, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Put queues a message; false if too many wait or the Writer was stopped.
func (w *Writer) Put(m Message) bool {
	w.mu.Lock()
	if w.stopped || len(w.queue) >= w.most {
		w.mu.Unlock()
		return false
	}
	w.queue = append(w.queue, m)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return true
}

// Stop ends Run.
func (w *Writer) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.stopped = true
		close(w.done)
	}
}

// Run writes until Stop or an error.
func (w *Writer) Run() error {
	for {
		select {
		case <-w.done:
			return ErrStopped
		case <-w.wake:
		}
		buf := w.buffers.get()
		b, err := w.rounds(append((*buf)[:0], w.prefix...))
		if err != nil {
			return err
		}
		w.prefix, *buf = nil, b
		w.buffers.pool.Put(buf)
	}
}

// rounds writes until nothing waits, and returns the buffer.
func (w *Writer) rounds(buf []byte) ([]byte, error) {
	var batch, rest []Message
	for {
		// Others that can run now are about to put, too: one write for all.
		runtime.Gosched()
		w.mu.Lock()
		batch, w.queue = append(append(batch[:0], rest...), w.queue...), w.queue[:0]
		w.mu.Unlock()
		if len(batch) == 0 {
			return buf, nil
		}
		var err error
		if buf, rest, err = w.round(buf, batch, rest[:0]); err != nil {
			return nil, err
		}
		clear(batch)
	}
}

// round writes one chunk of each message and returns those that have more.
func (w *Writer) round(buf []byte, batch, rest []Message) ([]byte, []Message, error) {
	for i := range batch {
		m := &batch[i]
		if buf = m.appendChunk(buf); len(m.Head)+len(m.Body) > 0 {
			rest = append(rest, *m)
		} else if m.Sent != nil {
			m.Sent()
		}
		if len(buf) < write && i+1 < len(batch) {
			continue
		}
		if _, err := w.w.Write(buf); err != nil {
			return nil, nil, fmt.Errorf("write chunks: %w", err)
		}
		buf = buf[:0]
	}
	return buf, rest, nil
}

// appendChunk appends the next chunk and leaves what follows in the message.
func (m *Message) appendChunk(b []byte) []byte {
	n := min(len(m.Head)+len(m.Body), Max)
	flags := m.Flags
	if n < len(m.Head)+len(m.Body) {
		flags |= More
	}
	b = binary.BigEndian.AppendUint32(b, m.ID)
	b = append(b, flags, byte(n>>8), byte(n))
	k := min(n, len(m.Head))
	b = append(append(b, m.Head[:k]...), m.Body[:n-k]...)
	m.Head, m.Body = m.Head[k:], m.Body[n-k:]
	return b
}
