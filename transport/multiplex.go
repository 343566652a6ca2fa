package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/legate-project/legate/transport/chunk"
)

// A multiplexed stream is one long-lived stream of a connection that carries many requests
// and their answers at once, cut into chunks (package chunk). It opens with muxMark in place
// of a frame's length.
//
// Small requests that come together leave in one write and mostly in one
// packet, which is several times cheaper than a stream for each. The price is
// that a lost packet holds up what follows it: see DESIGN.md.
const (
	muxMark = 0xffffffff
	// muxQueue bounds the messages that wait to be written: each request in
	// progress has one, and one more if it is given up.
	muxQueue = 2 * maxStreams
)

// muxStream is the asking end. Owner: its connection; its two goroutines end with
// the stream.
type muxStream struct {
	c   *conn
	s   *stream
	out *chunk.Writer

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
	var mark [frameHeader]byte
	binary.BigEndian.PutUint32(mark[:], muxMark)
	l := &muxStream{c: c, s: s, calls: map[uint32]*muxCall{}, out: chunk.NewWriter(s, &c.e.buffers, muxQueue, mark[:])}
	if c.e.group.Spawn("multiplexed stream reader", func(context.Context) { l.end(l.read()) }) != nil ||
		c.e.group.Spawn("multiplexed stream writer", func(context.Context) { l.end(l.out.Run()) }) != nil {
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
	if !l.out.Put(chunk.Message{ID: id, Head: head, Body: body, Sent: func() { call.written.Store(true) }}) {
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
	if !l.out.Put(chunk.Message{ID: id, Flags: chunk.Cancel}) {
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
	r := chunk.NewReader(l.s)
	for {
		id, flags, length, err := chunk.ReadHeader(r)
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
		if flags&chunk.More != 0 {
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
	if flags&chunk.Busy != 0 {
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
	l.out.Stop()
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
