package federation

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/transport"
)

// line carries the calls of one datacenter over the transport and notes what
// they show of its servers.
type line struct {
	Transport
	router   *Router
	dc       *datacenter
	read     bool // it may be sent again elsewhere
	blocking bool // it waits for something newer: silence is no sign
	bulk     bool // the answer will be long
	probe    bool
}

// RoundTrip implements rpc.RoundTripper. What is long goes on connections of
// its own, so that nothing short waits behind it.
func (l line) RoundTrip(ctx context.Context, to transport.Target, protocol string, head, body []byte) ([]byte, error) {
	h := l.dc.load.of(to.NodeID)
	if protocol == rpc.Protocol && (l.bulk || len(head)+len(body) > bulkAbove) {
		protocol = rpc.BulkProtocol
	}
	if !l.blocking {
		h.began()
		defer h.ended()
	}
	asker := ctx
	if l.read {
		var done func()
		var ok bool
		if ctx, done, ok = h.follow(ctx); !ok {
			return nil, fmt.Errorf("%w: %w", transport.ErrUnreachable, errOpened)
		}
		defer done()
	}
	start := time.Now()
	answer, err := l.Transport.RoundTrip(ctx, to, protocol, head, body)
	if err != nil && asker.Err() == nil && context.Cause(ctx) == errOpened {
		return nil, fmt.Errorf("%w: %w", transport.ErrLost, errOpened)
	}
	switch {
	case err == nil:
		h.answered()
		if l.read && !l.blocking && protocol == rpc.Protocol {
			l.dc.load.pace.add(time.Since(start))
		}
	case ctx.Err() == nil && !l.probe:
		h.failed(err)
		l.router.wake()
	}
	return answer, err
}

// Trip implements rpc.Measurer.
func (l line) Trip(to transport.Target) time.Duration {
	return time.Duration(l.dc.load.of(to.NodeID).trip.Load())
}

// Open implements rpc.RoundTripper. Until the answer begins it counts as a call; then
// the server lives, and how long the rest takes is up to who reads it.
func (l line) Open(ctx context.Context, to transport.Target, protocol string) (transport.Stream, error) {
	h := l.dc.load.of(to.NodeID)
	ctx, unfollow, ok := h.follow(ctx)
	if !ok {
		return nil, fmt.Errorf("%w: %w", transport.ErrUnreachable, errOpened)
	}
	h.began()
	s, err := l.Transport.Open(ctx, to, protocol)
	if err != nil {
		if ctx.Err() == nil {
			h.failed(err)
			l.router.wake()
		} else if context.Cause(ctx) == errOpened {
			err = fmt.Errorf("%w: %w", transport.ErrUnreachable, errOpened)
		}
		h.ended()
		unfollow()
		return nil, err
	}
	b := &beginning{Stream: s, line: l, health: h, ctx: ctx, unfollow: unfollow}
	b.unwatch = context.AfterFunc(ctx, s.Cancel)
	return b, nil
}

// beginning is a stream of which the first answer is noted.
type beginning struct {
	transport.Stream
	line     line
	health   *health
	ctx      context.Context // of the beginning; done when the breaker opens
	unfollow func()
	unwatch  func() bool

	once sync.Once
}

// Read implements net.Conn.
func (b *beginning) Read(to []byte) (int, error) {
	n, err := b.Stream.Read(to)
	switch {
	case n > 0:
		b.over(b.health.answered)
	case err != nil:
		b.over(func() { b.silent(err) })
	}
	return n, err
}

// silent notes that the stream ended before the answer began.
func (b *beginning) silent(err error) {
	if b.ctx.Err() == nil {
		b.health.failed(err)
		b.line.router.wake()
	}
}

// Cancel implements transport.Stream.
func (b *beginning) Cancel() {
	b.over(func() {})
	b.Stream.Cancel()
}

// over ends the beginning, once.
func (b *beginning) over(how func()) {
	b.once.Do(func() {
		how()
		b.unwatch()
		b.health.ended()
		b.unfollow()
	})
}
