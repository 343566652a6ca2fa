package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quic-go/quic-go"

	"github.com/legate-project/legate/transport/chunk"
)

// tries is how often a call is begun: once more if the first connection ended
// before the peer can have seen the request.
const tries = 2

// RoundTrip sends head and body as one frame, on a stream of its own or on one
// that requests share, and returns the one frame that comes back. It ends with
// ctx at the latest.
func (e *Endpoint) RoundTrip(ctx context.Context, t Target, protocol string, head, body []byte) ([]byte, error) {
	if len(head)+len(body) > MaxRequest {
		return nil, fmt.Errorf("call %s: request of %d bytes, %d allowed: %w", t, len(head)+len(body), MaxRequest, ErrTooLarge)
	}
	p, err := e.path(t, protocol)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", t, err)
	}
	for try := 1; ; try++ {
		c, other, err := p.acquire(ctx)
		if err != nil {
			return nil, fmt.Errorf("call %s: %w", t, err)
		}
		answer, err := p.send(ctx, c, other, head, body)
		if err == nil {
			return answer, nil
		}
		if errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrRefused) && !c.alive() && ctx.Err() == nil && try < tries {
			continue
		}
		return nil, fmt.Errorf("call %s: %w", t, err)
	}
}

// send sends a request on a connection, and a small one on another as well if
// there is one.
func (p *path) send(ctx context.Context, c, other *conn, head, body []byte) ([]byte, error) {
	if other != nil && len(head)+len(body) <= maxDuplicate {
		if answer, ok, err := p.twice(ctx, [2]*conn{c, other}, head, body); ok {
			return answer, err
		}
	}
	return c.call(ctx, head, body)
}

// message is what a stream of its own carries: one request.
type message struct {
	mark       []byte // identity of a duplicate request; nil for none
	head, body []byte
}

// write writes the message as it goes on a stream.
func (m message) write(w io.Writer) error {
	if m.mark == nil {
		return WriteFrame(w, m.head, m.body)
	}
	n := len(m.head) + len(m.body)
	b := make([]byte, 0, frameHeader+len(m.mark)+frameHeader+n)
	b = binary.BigEndian.AppendUint32(b, duplicateMark)
	b = append(b, m.mark...)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	if _, err := w.Write(append(append(b, m.head...), m.body...)); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	return nil
}

// call sends one request and waits for its answer.
func (c *conn) call(ctx context.Context, head, body []byte) ([]byte, error) {
	if c.serve.Shared && len(head)+len(body) <= chunk.Max {
		if l := c.shared(); l != nil {
			answer, ok, err := l.roundTrip(ctx, head, body)
			if ok && err != nil {
				c.refused(err)
			}
			if ok {
				return answer, err
			}
		}
	}
	return c.onOwnStream(ctx, message{head: head, body: body})
}

// onOwnStream sends one request on a stream of its own and waits for its answer.
func (c *conn) onOwnStream(ctx context.Context, m message) ([]byte, error) {
	s, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	c.wrote(len(m.head) + len(m.body))
	answer, err := exchange(ctx, s, m)
	if err == nil {
		c.came(len(answer))
	}
	return answer, err
}

// refused has the path pause if the peer does not accept this node.
func (c *conn) refused(err error) {
	if errors.Is(err, ErrRefused) && c.path != nil {
		c.path.lost(c, err)
	}
}

func exchange(ctx context.Context, s *stream, m message) ([]byte, error) {
	since := s.c.silence.Now()
	stop := context.AfterFunc(ctx, s.Cancel)
	defer stop()
	s.c.silence.Sent(since)
	answer, err := func() ([]byte, error) {
		if err := m.write(s); err != nil && !answeredEarly(err) {
			return nil, err
		}
		// It fails if the peer has answered already; if it fails for
		// another reason, reading fails too.
		_ = s.CloseWrite()
		return ReadFrame(s, MaxResponse)
	}()
	if err == nil {
		// The answer is here: how the stream ends no longer matters.
		_ = s.Close()
		return answer, nil
	}
	s.Cancel()
	switch {
	case ctx.Err() != nil:
		s.c.gaveUp(since)
		return nil, ended(ctx, ErrLost)
	case errors.Is(err, ErrTooLarge):
		return nil, err
	}
	err = connError(err, true)
	s.c.refused(err)
	return nil, err
}

// answeredEarly is true if the peer wants no more of the request because its
// answer is on the way.
func answeredEarly(err error) bool {
	var se *quic.StreamError
	return errors.As(err, &se) && se.Remote && se.ErrorCode == codeNone
}

// Open opens a stream. ctx bounds the opening only.
func (e *Endpoint) Open(ctx context.Context, t Target, protocol string) (Stream, error) {
	s, err := e.open(ctx, t, protocol)
	if err != nil {
		return nil, fmt.Errorf("open stream to %s: %w", t, err)
	}
	return s, nil
}

func (e *Endpoint) open(ctx context.Context, t Target, protocol string) (*stream, error) {
	p, err := e.path(t, protocol)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		c, _, err := p.acquire(ctx)
		if err != nil {
			return nil, err
		}
		s, err := c.open(ctx)
		if err == nil {
			return s, nil
		}
		if try >= tries || ctx.Err() != nil || errors.Is(err, ErrRefused) {
			return nil, err
		}
	}
}

// Reach returns the other end of a connection to the target, dialled if there is none.
func (e *Endpoint) Reach(ctx context.Context, t Target, protocol string) (Remote, error) {
	p, err := e.path(t, protocol)
	if err != nil {
		return Remote{}, fmt.Errorf("reach %s: %w", t, err)
	}
	c, _, err := p.acquire(ctx)
	if err != nil {
		return Remote{}, fmt.Errorf("reach %s: %w", t, err)
	}
	return c.remote, nil
}

// Connect dials in the background unless a connection is there, so that the
// first datagram is not lost.
func (e *Endpoint) Connect(t Target, protocol string) error {
	p, err := e.path(t, protocol)
	if err != nil {
		return err
	}
	p.connect()
	return nil
}

// SendDatagram sends b, at most MaxDatagram bytes, if a connection is there
// and its queue has room. Otherwise b is dropped without an error, and a
// connection is dialled in the background. b must not be changed afterwards.
func (e *Endpoint) SendDatagram(t Target, protocol string, b []byte) error {
	if len(b) > MaxDatagram {
		return fmt.Errorf("send datagram of %d bytes to %s, %d allowed: %w", len(b), t, MaxDatagram, ErrTooLarge)
	}
	p, err := e.path(t, protocol)
	if err != nil {
		return err
	}
	best := p.connect()
	switch {
	case best == nil:
		e.metrics.dropped("connecting")
	case !best.offer(b):
		e.metrics.dropped("queue_full")
	}
	return nil
}
