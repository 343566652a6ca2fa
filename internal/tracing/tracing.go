// Package tracing lets spans follow a request from process to process, and sends them
// to an OpenTelemetry collector (OTLP over HTTP).
//
// Where a request comes in, a Tracer begins a trace or goes on with the caller's. All
// below asks the context alone: what it carries no span for costs one look and
// allocates nothing. Spans say what was asked of whom and how long it took, never with
// which token, key or value; that is up to those who name them.
//
// It sets none of OpenTelemetry's globals and reads no endpoint from the environment. It
// does not hold a request up: what a collector does not take is counted and dropped.
package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Kind says on which side of a call a span is.
type Kind = trace.SpanKind

// The kinds of spans.
const (
	Internal = trace.SpanKindInternal
	Server   = trace.SpanKindServer
	Client   = trace.SpanKindClient
)

// wireBytes is the length of a trace context between agents: the trace's ID, the
// span's ID and the flags, as traceparent has them (W3C Trace Context, section 3.2).
const wireBytes = 16 + 8 + 1

// maxTraceState is the longest tracestate that is kept, in bytes: each span of the trace
// is sent with it, and a client can say 16 KiB. 512 are asked for by W3C Trace Context,
// section 3.3.1.5.
const maxTraceState = 512

// contextKey is where a context has what it carries of a trace.
type contextKey struct{}

// carried is of one context. Both are nil or empty where the trace is not recorded.
type carried struct {
	tracer  *Tracer // begins spans below the one of the context
	through string  // came from another agent, for the next; this one records nothing
}

func carriedBy(ctx context.Context) *carried {
	c, _ := ctx.Value(contextKey{}).(*carried)
	return c
}

// Origin is where a root span comes from.
type Origin struct {
	Kind Kind
	// Began is when; zero for now.
	Began time.Time
	// TraceParent and TraceState are the headers of W3C Trace Context, "" for none.
	TraceParent, TraceState string
}

// Root begins a span that has no parent in this process. Whether it is recorded, the
// caller's traceparent says if there is one, else the ratio. A nil Tracer records none.
func (t *Tracer) Root(ctx context.Context, name string, o Origin) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	below := ctx
	if o.TraceParent != "" {
		if len(o.TraceState) > maxTraceState {
			o.TraceState = ""
		}
		below = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": o.TraceParent, "tracestate": o.TraceState})
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(o.Kind)}
	if !o.Began.IsZero() {
		options = append(options, trace.WithTimestamp(o.Began))
	}
	below, span := t.spans.Start(below, name, options...)
	if !span.IsRecording() {
		return ctx, Span{}
	}
	return context.WithValue(below, contextKey{}, &t.carried), Span{span}
}

// Continue returns a context for a call that came from another agent with what
// Call returned there. An agent that records nothing hands it on.
func (t *Tracer) Continue(ctx context.Context, wire string) context.Context {
	if len(wire) != wireBytes {
		return ctx
	}
	if t == nil {
		return context.WithValue(ctx, contextKey{}, &carried{through: wire})
	}
	c := trace.SpanContextConfig{TraceFlags: trace.TraceFlags(wire[24]), Remote: true}
	copy(c.TraceID[:], wire)
	copy(c.SpanID[:], wire[16:])
	if s := trace.NewSpanContext(c); s.IsValid() && s.IsSampled() {
		return context.WithValue(trace.ContextWithRemoteSpanContext(ctx, s), contextKey{}, &t.carried)
	}
	return ctx
}

// Start begins a span below the one of the context, if there is one that is recorded. A
// call that is answered in the process that asks has no Server: its span is Internal.
func Start(ctx context.Context, name string, k Kind) (context.Context, Span) {
	c := carriedBy(ctx)
	if c == nil || c.tracer == nil {
		return ctx, Span{}
	}
	if k == Server && !trace.SpanContextFromContext(ctx).IsRemote() {
		k = Internal
	}
	ctx, span := c.tracer.spans.Start(ctx, name, trace.WithSpanKind(k))
	return ctx, Span{span}
}

// Call begins the span of a call to another agent, and returns what that agent is to
// Continue with: "" if there is nothing.
func Call(ctx context.Context, name string) (below context.Context, span Span, wire string) {
	c := carriedBy(ctx)
	switch {
	case c == nil:
		return ctx, Span{}, ""
	case c.tracer == nil:
		return ctx, Span{}, c.through
	}
	below, started := c.tracer.spans.Start(ctx, name, trace.WithSpanKind(Client))
	s := started.SpanContext()
	id, spanID := s.TraceID(), s.SpanID()
	b := append(append(make([]byte, 0, wireBytes), id[:]...), spanID[:]...)
	return below, Span{started}, string(append(b, byte(s.TraceFlags())))
}

// Record adds a span below the one of the context that has been already.
func Record(ctx context.Context, name string, from, to time.Time) {
	c := carriedBy(ctx)
	if c == nil || c.tracer == nil {
		return
	}
	_, span := c.tracer.spans.Start(ctx, name, trace.WithTimestamp(from))
	span.End(trace.WithTimestamp(to))
}

// Of is the span of the context that is being recorded, if there is one.
func Of(ctx context.Context) Span {
	c := carriedBy(ctx)
	if c == nil || c.tracer == nil {
		return Span{}
	}
	return Span{trace.SpanFromContext(ctx)}
}

// Carry returns a context that lives as long as to, with the trace of from: for work
// that goes on after whoever asked for it has gone.
func Carry(to, from context.Context) context.Context {
	c := carriedBy(from)
	if c == nil {
		return to
	}
	return context.WithValue(trace.ContextWithSpan(to, trace.SpanFromContext(from)), contextKey{}, c)
}

// Span is a part of a trace. The zero Span is not recorded, and its methods do nothing.
type Span struct{ span trace.Span }

// Recording reports whether what is said of the span goes anywhere: before what is
// costly to say.
func (s Span) Recording() bool { return s.span != nil }

// Text sets an attribute. Values are cut where they are longer than 256 characters.
func (s Span) Text(key, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Number sets an attribute.
func (s Span) Number(key string, value int64) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int64(key, value))
	}
}

// Mark sets an attribute to true.
func (s Span) Mark(key string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Bool(key, true))
	}
}

// Event notes that something happened now.
func (s Span) Event(name string) {
	if s.span != nil {
		s.span.AddEvent(name)
	}
}

// Fail says that what the span is of failed. The reason is one of few words: texts of
// errors can name what is secret.
func (s Span) Fail(reason string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, reason)
		s.span.SetAttributes(attribute.String("error.type", reason))
	}
}

// End ends the span.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}
