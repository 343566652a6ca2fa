// Package rpc carries calls between servers and agents: it encodes a call for
// one transport round trip and answers encoded calls with a Caller.
//
// It chooses no server and repeats nothing; that is for who sends.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// Protocol is the ALPN of calls.
const Protocol = version.RPC

// BulkProtocol is the ALPN of calls between datacenters whose request or answer
// is long: on connections of their own they delay no others.
const BulkProtocol = version.Bulk

// Bounds of the margin, which is how much longer a caller waits than the server
// works, so that the server's error arrives. It is twice the round trip where that
// is known: what is lost is sent again in the second.
const (
	leastMargin = 250 * time.Millisecond
	mostMargin  = 2 * time.Second
)

// Measurer is a RoundTripper that knows how far its servers are. One that is none
// reaches servers of its own datacenter, which are nearer than the least margin.
type Measurer interface {
	// ServerRTT is the round trip to a server, 0 if unknown. It is asked for each call.
	ServerRTT(to transport.Target) time.Duration
}

// DeadlineMargin is how much sooner than the caller a server gives a call up.
func DeadlineMargin(via RoundTripper, to transport.Target) time.Duration {
	if m, ok := via.(Measurer); ok {
		return min(max(leastMargin, 2*m.ServerRTT(to)), mostMargin)
	}
	return leastMargin
}

// RoundTripper is the part of *transport.Endpoint that Send needs.
type RoundTripper interface {
	RoundTrip(ctx context.Context, to transport.Target, protocol string, head, body []byte) ([]byte, error)
	// Open is for results that are known to be long.
	Open(ctx context.Context, to transport.Target, protocol string) (transport.Stream, error)
}

var _ RoundTripper = (*transport.Endpoint)(nil)

// Send sends the call to one server and returns its reply. Errors are
// *op.Error: those of the server, or CodeNoServer when the call surely did not
// arrive, CodeLost when it may have, CodeTimeout when the deadline passed, and
// CodeLong where the result takes parts and the call does not say that it is Long.
func Send(ctx context.Context, via RoundTripper, to transport.Target, c *op.Call) (*op.Reply, error) {
	ctx, span, wire := tracing.Call(ctx, c.Operation.OpName())
	h := c.Header
	h.Trace = wire
	reply, err := send(ctx, via, to, c, h)
	if span.Recording() {
		trace(span, to, c, err)
	}
	return reply, err
}

// trace says whom a call was sent to, and ends its span.
func trace(span tracing.Span, to transport.Target, c *op.Call, err error) {
	span.Text("rpc.system", "legate")
	span.Text("rpc.method", c.Operation.OpName())
	span.Text("legate.server", to.Name)
	if host, port, err := net.SplitHostPort(to.Addr); err == nil {
		span.Text("server.address", host)
		span.Text("server.port", port)
	}
	if err != nil {
		span.Fail(op.ReasonOf(err))
	}
	span.End()
}

func send(ctx context.Context, via RoundTripper, to transport.Target, c *op.Call, h op.Header) (*op.Reply, error) {
	if h.Hops++; h.Hops > op.MaxHops {
		return nil, op.Errorf(op.CodeInternal, "%s was forwarded more than %d times", c.Operation.OpName(), op.MaxHops)
	}
	h.RefuseLong = c.Take != op.TakeWhole
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if left <= 0 {
			return nil, timeout(c, to)
		}
		h.Timeout = max(left-DeadlineMargin(via, to), left/2)
	}
	body, err := c.Body()
	if err != nil {
		return nil, err
	}
	head, err := op.AppendHead(make([]byte, 0, 128), op.Received(c.Operation, h, nil))
	if err != nil {
		return nil, err
	}
	if c.Take == op.TakeParts && c.Long {
		return sendParts(ctx, via, to, c, head)
	}
	answer, err := via.RoundTrip(ctx, to, Protocol, head, body)
	if err != nil {
		return nil, translate(err, c, to)
	}
	return op.ReadReply(answer)
}

func timeout(c *op.Call, to transport.Target) error {
	return unanswered(op.CodeTimeout, "%s: no answer from %s (%s) before the deadline", c.Operation.OpName(), to.Name, to.Addr)
}

func translate(err error, c *op.Call, to transport.Target) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return timeout(c, to)
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, transport.ErrUnreachable), errors.Is(err, transport.ErrRefused):
		return unanswered(op.CodeNoServer, "%s: cannot reach %s (%s): %v", c.Operation.OpName(), to.Name, to.Addr, err)
	}
	return unanswered(op.CodeLost, "%s: connection to %s (%s) lost: %v", c.Operation.OpName(), to.Name, to.Addr, err)
}

// unanswered is the error of a call that its server did not answer.
func unanswered(c op.Code, format string, args ...any) *op.Error {
	e := op.Errorf(c, format, args...)
	e.Unanswered = true
	return e
}

// Server answers encoded calls.
type Server struct {
	caller     op.Caller
	operations map[string]op.Operation
	tracer     *tracing.Tracer
	source     func(identity.Peer) string // nil unless Limit was called
}

// NewServer returns a Server that knows the operations and lets the
// caller carry them out. The tracer goes on with the traces of those who ask.
func NewServer(c op.Caller, operations []op.Operation, t *tracing.Tracer) *Server {
	a := &Server{caller: c, tracer: t, operations: make(map[string]op.Operation, len(operations))}
	for _, o := range operations {
		a.operations[o.OpName()] = o
	}
	return a
}

// Limit has calls say on whose behalf they are made: see op.WithSource. An empty source
// is not said.
func (a *Server) Limit(source func(identity.Peer) string) { a.source = source }

// answer carries out one encoded call and returns the encoded reply. It never
// fails: every error is an encoded reply too.
func (a *Server) answer(ctx context.Context, request []byte, byAgent bool) []byte {
	ctx, call, err := a.read(ctx, request, byAgent)
	if err != nil {
		return op.AppendError(nil, err)
	}
	if d := call.Header.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	name := call.Operation.OpName()
	if call.Header.RefuseLong {
		call.Take = op.TakeShort
	}
	reply, err := a.caller.Do(ctx, call)
	if err != nil {
		return op.AppendError(nil, err)
	}
	b, err := op.AppendReply(make([]byte, 0, 256), reply)
	if err != nil {
		return op.AppendError(nil, fmt.Errorf("encode reply of %s: %w", name, err))
	}
	if len(b) > transport.MaxResponse {
		return op.AppendError(nil, op.Errorf(op.CodeTooLarge, "answer of %s has %d bytes, more than the %d that agents send each other: ask for a part of it",
			name, len(b), transport.MaxResponse))
	}
	return b
}

// read makes a call of an encoded one, in a context with the trace that it belongs to.
func (a *Server) read(ctx context.Context, request []byte, byAgent bool) (context.Context, *op.Call, error) {
	name, h, body, err := op.ReadHead(request)
	if err != nil {
		return ctx, nil, op.Errorf(op.CodeInvalid, "read call: %v", err)
	}
	o := a.operations[name]
	if o == nil {
		return ctx, nil, op.Errorf(op.CodeUnsupported, "operation %q is unknown to this server", name)
	}
	if h.Hops > op.MaxHops {
		return ctx, nil, op.Errorf(op.CodeInvalid, "%s was forwarded more than %d times", name, op.MaxHops)
	}
	ctx = op.WithNetwork(a.tracer.Continue(ctx, h.Trace))
	h.Trace = ""
	call := op.Received(o, h, body)
	call.ByAgent = byAgent
	return ctx, call, nil
}

// Protocol serves calls from those that admit lets in. With shared, small
// calls of this end share streams: see transport.Protocol.
func (a *Server) Protocol(shared bool, admit func(identity.Peer) error) transport.Protocol {
	return transport.Protocol{Admit: admit, Shared: shared, Answer: func(ctx context.Context, from transport.Remote, request []byte) []byte {
		if a.source != nil {
			if s := a.source(from.Peer); s != "" {
				ctx = op.WithSource(ctx, s)
			}
		}
		return a.answer(ctx, request, !from.Peer.Server)
	}}
}
