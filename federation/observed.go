package federation

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/transport"
)

// observedTransport carries the calls of one datacenter over the transport and notes
// what they show of its servers: round trips, answers, failures.
type observedTransport struct {
	Transport
	router   *Router
	dc       *datacenter
	read     bool // it may be sent again elsewhere
	blocking bool // it waits for something newer: silence is no sign
	bulk     bool // the answer will be long
	probe    bool
}

var (
	_ rpc.RoundTripper = observedTransport{}
	_ rpc.Measurer     = observedTransport{}
)

// RoundTrip implements rpc.RoundTripper. What is long goes on connections of
// its own, so that nothing short waits behind it.
func (t observedTransport) RoundTrip(ctx context.Context, to transport.Target, protocol string, head, body []byte) ([]byte, error) {
	h := t.dc.load.of(to.NodeID)
	if protocol == rpc.Protocol && (t.bulk || len(head)+len(body) > bulkAbove) {
		protocol = rpc.BulkProtocol
	}
	if !t.blocking {
		h.began()
		defer h.ended()
	}
	asker := ctx
	if t.read {
		var done func()
		var ok bool
		if ctx, done, ok = h.whileClosed(ctx); !ok {
			return nil, fmt.Errorf("%w: %w", transport.ErrUnreachable, errBreakerOpen)
		}
		defer done()
	}
	start := time.Now()
	answer, err := t.Transport.RoundTrip(ctx, to, protocol, head, body)
	if err != nil && asker.Err() == nil && context.Cause(ctx) == errBreakerOpen {
		return nil, fmt.Errorf("%w: %w", transport.ErrLost, errBreakerOpen)
	}
	switch {
	case err == nil:
		h.answered()
		if t.read && !t.blocking && protocol == rpc.Protocol {
			t.dc.load.latency.add(time.Since(start))
		}
	case ctx.Err() == nil && !t.probe:
		h.failed(err)
		t.router.wake()
	}
	return answer, err
}

// ServerRTT implements rpc.Measurer.
func (t observedTransport) ServerRTT(to transport.Target) time.Duration {
	return time.Duration(t.dc.load.of(to.NodeID).roundTrip.Load())
}

// Open implements rpc.RoundTripper. Until the answer begins it counts as a call; then
// the server lives, and how long the rest takes is up to who reads it.
func (t observedTransport) Open(ctx context.Context, to transport.Target, protocol string) (transport.Stream, error) {
	h := t.dc.load.of(to.NodeID)
	ctx, unfollow, ok := h.whileClosed(ctx)
	if !ok {
		return nil, fmt.Errorf("%w: %w", transport.ErrUnreachable, errBreakerOpen)
	}
	h.began()
	s, err := t.Transport.Open(ctx, to, protocol)
	if err != nil {
		if ctx.Err() == nil {
			h.failed(err)
			t.router.wake()
		} else if context.Cause(ctx) == errBreakerOpen {
			err = fmt.Errorf("%w: %w", transport.ErrUnreachable, errBreakerOpen)
		}
		h.ended()
		unfollow()
		return nil, err
	}
	o := &observedStream{Stream: s, via: t, health: h, ctx: ctx, unfollow: unfollow}
	o.unwatch = context.AfterFunc(ctx, s.Cancel)
	return o, nil
}

// observedStream is a stream of which the first answer is noted.
type observedStream struct {
	transport.Stream
	via      observedTransport
	health   *health
	ctx      context.Context // until the first answer; done when the breaker opens
	unfollow func()
	unwatch  func() bool

	once sync.Once
}

// Read implements net.Conn.
func (o *observedStream) Read(to []byte) (int, error) {
	n, err := o.Stream.Read(to)
	switch {
	case n > 0:
		o.over(o.health.answered)
	case err != nil:
		o.over(func() { o.silent(err) })
	}
	return n, err
}

// silent notes that the stream ended before the answer began.
func (o *observedStream) silent(err error) {
	if o.ctx.Err() == nil {
		o.health.failed(err)
		o.via.router.wake()
	}
}

// Cancel implements transport.Stream.
func (o *observedStream) Cancel() {
	o.over(func() {})
	o.Stream.Cancel()
}

// over ends the wait for the first answer, once.
func (o *observedStream) over(how func()) {
	o.once.Do(func() {
		how()
		o.unwatch()
		o.health.ended()
		o.unfollow()
	})
}
