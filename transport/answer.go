package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/legate-project/legate/transport/chunk"
)

// behind is the urgency of a long answer (RFC 9218 section 4.1; 3 is the
// default): short ones of the same connection pass it.
const behind = 5

// answer serves one stream of a protocol that answers requests: one request,
// or a multiplexed stream of them.
func (c *conn) answer(ctx context.Context, s *stream) {
	var mark [frameHeader]byte
	if _, err := io.ReadFull(s, mark[:]); err != nil {
		s.Cancel() // nothing was asked: there is nobody to answer
		return
	}
	switch binary.BigEndian.Uint32(mark[:]) {
	case duplicateMark:
		c.answerDuplicate(ctx, s)
		return
	case muxMark:
		s.release() // its requests count, not the stream
		a := &muxAnswers{c: c, out: chunk.NewWriter(s, &c.e.buffers, muxQueue, nil), running: map[uint32]context.CancelFunc{}}
		a.serve(ctx, s)
		s.Cancel()
		return
	}
	request, err := readFrameBody(s, mark, MaxRequest)
	if err != nil {
		s.Cancel()
		return
	}
	answer := c.serve.Answer(ctx, c.remote, request)
	if len(answer) > chunk.Max {
		s.SetPriority(behind, true)
	}
	if err := WriteFrame(s, answer); err != nil {
		s.Cancel()
	}
}

// muxAnswers is the answering end of a multiplexed stream.
type muxAnswers struct {
	c   *conn
	out *chunk.Writer

	mu      sync.Mutex
	running map[uint32]context.CancelFunc // by request
}

// What ends a multiplexed stream whose other end does not keep to the protocol.
var (
	errRepeated = errors.New("a request has the number of one that is still in progress")
	errDeluge   = errors.New("requests go on coming while no answers are read")
)

// serve answers requests until the multiplexed stream ends; then those in progress are
// cancelled.
func (a *muxAnswers) serve(ctx context.Context, s *stream) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := a.c.e.group.Spawn("multiplexed stream writer", func(context.Context) {
		if a.out.Run() != nil {
			s.Cancel()
		}
	})
	if err != nil {
		return
	}
	defer a.out.Stop()
	_ = a.read(ctx, chunk.NewReader(s)) // whatever ended it: the other end sees the stream end
}

func (a *muxAnswers) read(ctx context.Context, r *bufio.Reader) error {
	for {
		id, flags, length, err := chunk.ReadHeader(r)
		if err != nil {
			return err
		}
		request := make([]byte, length)
		if _, err := io.ReadFull(r, request); err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		if flags&chunk.Cancel != 0 {
			a.mu.Lock()
			stop := a.running[id]
			a.mu.Unlock()
			if stop != nil {
				stop()
			}
			continue
		}
		if err := a.begin(ctx, id, request); err != nil {
			return err
		}
	}
}

// begin answers one request on a goroutine of its own, or says that there are
// too many.
func (a *muxAnswers) begin(ctx context.Context, id uint32, request []byte) error {
	c := a.c
	ctx, cancel := context.WithCancel(ctx)
	a.mu.Lock()
	_, repeated := a.running[id]
	busy := len(a.running) >= maxStreams || c.e.served.Load() >= maxServed
	if !repeated && !busy {
		a.running[id] = cancel
	}
	a.mu.Unlock()
	switch {
	case repeated:
		cancel()
		return errRepeated
	case busy:
		cancel()
		if !a.out.Put(chunk.Message{ID: id, Flags: chunk.Busy}) {
			return errDeluge
		}
		return nil
	}
	c.e.served.Add(1)
	c.inFlight.Add(1)
	err := c.e.workers.Do(func(context.Context) {
		defer func() {
			cancel()
			c.touch()
			c.inFlight.Add(-1)
			c.e.served.Add(-1)
		}()
		answer := c.serve.Answer(ctx, c.remote, request)
		// It is in progress until it is written: answers that nobody reads count.
		done := func() { a.forget(id) }
		if ctx.Err() != nil || !a.out.Put(chunk.Message{ID: id, Body: answer, Sent: done}) {
			done() // who asked gave up, or the multiplexed stream has ended
		}
	})
	if err != nil {
		cancel()
		c.inFlight.Add(-1)
		c.e.served.Add(-1)
	}
	return err
}

func (a *muxAnswers) forget(id uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, id)
}
