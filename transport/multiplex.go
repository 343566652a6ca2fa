package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// A multiplexed stream is one long-lived stream of a connection that carries many requests
// and their answers at once, cut into chunks. It opens with muxMark in place
// of a frame's length. Each chunk is
//
//	id of the request   4 bytes, big endian, chosen by who asks
//	flags               1 byte
//	length              2 bytes, big endian
//	data
//
// Small requests that come together leave in one write and mostly in one
// packet, which is several times cheaper than a stream for each. The price is
// that a lost packet holds up what follows it: see DESIGN.md.
const (
	muxMark = 0xffffffff
	// maxChunk bounds the data of a chunk, so that a long answer does not keep
	// short ones waiting. Longer requests get a stream of their own.
	maxChunk    = 16 << 10
	chunkHeader = 7
	// muxWrite is how much is gathered for one write.
	muxWrite = 64 << 10
	// muxRead is what is read from the stream at once, at most.
	muxRead = 32 << 10
	// muxQueue bounds the messages that wait to be written: each request in
	// progress has one, and one more if it is given up.
	muxQueue = 2 * maxStreams
)

// Flags of a chunk.
const (
	chunkMore   = 1 << iota // the answer goes on in another chunk
	chunkCancel             // who asked gave up
	chunkBusy               // not begun, too many already
)

// muxStream is the asking end. Owner: its connection; its two goroutines end with
// the stream.
type muxStream struct {
	c   *conn
	s   *stream
	out chunkWriter

	mu    sync.Mutex
	calls map[uint32]*muxCall
	next  uint32
	err   error // why the multiplexed stream ended

}

// muxCall is one request that waits for its answer.
type muxCall struct {
	done    chan struct{} // closed when answer or err is set
	answer  []byte
	err     error
	written atomic.Bool // the request may have reached the peer
}

// shared returns the connection's multiplexed stream, opened when it is first asked for; nil
// if there cannot be one now.
func (c *conn) shared() *muxStream {
	c.muxMu.Lock()
	defer c.muxMu.Unlock()
	if l := c.mux; l != nil {
		return l
	}
	qs, err := c.qc.OpenStream()
	if err != nil {
		return nil
	}
	s := c.wrap(qs, c.series.out)
	s.release() // its requests count, not the stream
	l := &muxStream{c: c, s: s, calls: map[uint32]*muxCall{}, out: newChunkWriter(s)}
	var mark [frameHeader]byte
	binary.BigEndian.PutUint32(mark[:], muxMark)
	l.out.prefix = mark[:]
	if c.e.group.Spawn("multiplexed stream reader", func(context.Context) { l.end(l.read()) }) != nil ||
		c.e.group.Spawn("multiplexed stream writer", func(context.Context) { l.end(l.out.run()) }) != nil {
		s.Cancel()
		return nil
	}
	c.mux = l
	return l
}

// roundTrip sends one request and waits for its answer. ok is false if the
// multiplexed stream takes no more: nothing was sent.
func (l *muxStream) roundTrip(ctx context.Context, head, body []byte) (answer []byte, ok bool, err error) {
	call := &muxCall{done: make(chan struct{})}
	l.mu.Lock()
	if l.err != nil || len(l.calls) >= maxStreams {
		l.mu.Unlock()
		return nil, false, nil
	}
	id := l.next
	l.next++
	for l.calls[id] != nil {
		id = l.next
		l.next++
	}
	l.calls[id] = call
	l.mu.Unlock()
	l.c.inFlight.Add(1)
	defer func() { l.c.touch(); l.c.inFlight.Add(-1) }()

	since := l.c.silence.Now()
	if !l.out.put(chunkedMessage{id: id, head: head, body: body, sent: func() { call.written.Store(true) }}) {
		l.forget(id)
		return nil, false, nil
	}
	l.c.silence.Sent(since)
	select {
	case <-call.done:
		return call.answer, true, call.err
	case <-ctx.Done():
	}
	l.forget(id)
	if !l.out.put(chunkedMessage{id: id, flags: chunkCancel}) {
		l.end(fmt.Errorf("%w: requests that were given up are not taken", ErrLost))
	}
	l.c.gaveUp(since)
	return nil, true, ended(ctx, ErrLost)
}

// forget takes a request out; what comes for it is dropped.
func (l *muxStream) forget(id uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, id)
}

// read hands answers to those who wait, until the stream ends.
func (l *muxStream) read() error {
	r := bufio.NewReaderSize(l.s, muxRead)
	for {
		id, flags, length, err := readChunkHeader(r)
		if err != nil {
			return err
		}
		l.mu.Lock()
		call := l.calls[id]
		l.mu.Unlock()
		if call == nil { // given up
			if _, err := r.Discard(length); err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
			continue
		}
		if err := call.receive(r, length); err != nil {
			return err
		}
		if flags&chunkMore != 0 {
			continue
		}
		l.mu.Lock()
		waiting := l.calls[id] == call
		delete(l.calls, id)
		l.mu.Unlock()
		if waiting {
			call.finish(flags)
		}
	}
}

// receive takes one chunk of the answer. An error ends the multiplexed stream.
func (call *muxCall) receive(r io.Reader, length int) error {
	have := len(call.answer)
	if have+length > MaxResponse {
		return fmt.Errorf("read answer of more than %d bytes: %w", MaxResponse, ErrTooLarge)
	}
	if have == 0 {
		call.answer = make([]byte, length)
	} else {
		call.answer = append(call.answer, make([]byte, length)...)
	}
	if _, err := io.ReadFull(r, call.answer[have:]); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// finish wakes who waits. Only who took the call out of the multiplexed stream may.
func (call *muxCall) finish(flags byte) {
	if flags&chunkBusy != 0 {
		call.err = fmt.Errorf("%w: peer serves too many requests", ErrUnreachable)
	}
	close(call.done)
}

// end fails the requests that wait. It is called by both goroutines: the first
// error counts.
func (l *muxStream) end(cause error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = cause
	}
	calls := l.calls
	l.calls = map[uint32]*muxCall{}
	l.mu.Unlock()
	l.out.stop()
	l.s.Cancel()
	for _, call := range calls {
		call.answer, call.err = nil, connError(cause, call.written.Load())
		close(call.done)
	}
	l.c.muxMu.Lock()
	if l.c.mux == l {
		l.c.mux = nil
	}
	l.c.muxMu.Unlock()
}

func readChunkHeader(r *bufio.Reader) (id uint32, flags byte, length int, err error) {
	h, err := r.Peek(chunkHeader)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("read header of a chunk: %w", err)
	}
	id, flags, length = binary.BigEndian.Uint32(h), h[4], int(binary.BigEndian.Uint16(h[5:]))
	if length > maxChunk {
		return 0, 0, 0, fmt.Errorf("read chunk of %d bytes, %d allowed: %w", length, maxChunk, ErrTooLarge)
	}
	_, _ = r.Discard(chunkHeader) // it was peeked: it is there
	return id, flags, length, nil
}

// chunkedMessage is a request or an answer on its way into chunks.
type chunkedMessage struct {
	id         uint32
	flags      byte
	head, body []byte
	sent       func() // called when the last chunk is about to be written; nil for none
}

// chunkWriter gathers what several put and writes it together.
type chunkWriter struct {
	w      io.Writer
	prefix []byte // written first
	wake   chan struct{}
	done   chan struct{} // closed by stop

	mu      sync.Mutex
	queue   []chunkedMessage
	stopped bool
}

func newChunkWriter(w io.Writer) chunkWriter {
	return chunkWriter{w: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// put queues a message; false if the queue is full or the multiplexed stream has ended.
func (w *chunkWriter) put(m chunkedMessage) bool {
	w.mu.Lock()
	if w.stopped || len(w.queue) >= muxQueue {
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

func (w *chunkWriter) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.stopped = true
		close(w.done)
	}
}

// run writes until stop or an error.
func (w *chunkWriter) run() error {
	buf := append(make([]byte, 0, muxWrite+maxChunk+chunkHeader), w.prefix...)
	var batch, rest []chunkedMessage
	for {
		select {
		case <-w.done:
			return ErrClosed
		case <-w.wake:
		}
		for {
			// Others that can run now are about to put, too: one write for all.
			runtime.Gosched()
			w.mu.Lock()
			batch, w.queue = append(append(batch[:0], rest...), w.queue...), w.queue[:0]
			w.mu.Unlock()
			if len(batch) == 0 {
				break
			}
			var err error
			if buf, rest, err = w.round(buf, batch, rest[:0]); err != nil {
				return err
			}
			clear(batch)
		}
	}
}

// round writes one chunk of each message and returns those that have more.
func (w *chunkWriter) round(buf []byte, batch, rest []chunkedMessage) ([]byte, []chunkedMessage, error) {
	for i := range batch {
		m := &batch[i]
		if buf = m.appendChunk(buf); len(m.head)+len(m.body) > 0 {
			rest = append(rest, *m)
		} else if m.sent != nil {
			m.sent()
		}
		if len(buf) < muxWrite && i+1 < len(batch) {
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
func (m *chunkedMessage) appendChunk(b []byte) []byte {
	n := min(len(m.head)+len(m.body), maxChunk)
	flags := m.flags
	if n < len(m.head)+len(m.body) {
		flags |= chunkMore
	}
	b = binary.BigEndian.AppendUint32(b, m.id)
	b = append(b, flags, byte(n>>8), byte(n))
	k := min(n, len(m.head))
	b = append(append(b, m.head[:k]...), m.body[:n-k]...)
	m.head, m.body = m.head[k:], m.body[n-k:]
	return b
}
