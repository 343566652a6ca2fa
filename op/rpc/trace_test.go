package rpc

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/internal/tracing/tracingtest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/transport"
)

// A trace crosses the wire below the try that got there; what is not traced crosses
// as it always did.
func TestTraceCrossesTheWire(t *testing.T) {
	c := tracingtest.Start(t)
	tracer, err := tracing.New(tracing.Config{Endpoint: c.URL, Ratio: 1, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	traced := false
	answer := op.CallerFunc(func(ctx context.Context, call *op.Call) (*op.Reply, error) {
		if call.Header.Trace != "" {
			t.Error("who carries a call out sees its trace in the header, too")
		}
		_, s := tracing.Start(ctx, "answer", tracing.Server)
		if s.Recording() != traced {
			t.Errorf("traced %v, recording %v", traced, s.Recording())
		}
		s.End()
		return op.NewReply(op.Meta{}, &op.Text{}), nil
	})
	via := unreachable{wire{NewServer(answer, []op.Operation{read()}, tracer)}}
	ask := func(ctx context.Context) {
		targets := []transport.Target{{Addr: "10.0.0.1:8300", Name: "down"}, {Addr: "10.0.0.2:8300", Name: "up"}}
		if _, err := TryEach(ctx, via, targets, op.NewCall(read(), op.Header{}, &op.Text{Text: "SECRET"}), nil); err != nil {
			t.Error(err)
		}
	}
	ask(t.Context())
	traced = true
	ctx, root := tracer.Root(t.Context(), "root", tracing.Origin{})
	ask(ctx)
	root.End()
	if err := tracer.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	by := map[string]tracingtest.Span{}
	for _, s := range c.Spans("") {
		by[s.Name+s.Attributes["legate.server"]] = s
	}
	down, up := by["test.readdown"], by["test.readup"]
	if len(by) != 4 || down.Failed != op.CodeNoServer.String() || up.Failed != "" || down.Parent != by["root"].ID || up.Parent != by["root"].ID || by["answer"].Parent != up.ID {
		t.Errorf("%+v", by)
	}
	if up.Attributes["server.address"] != "10.0.0.2" || up.Attributes["server.port"] != "8300" || up.Attributes["rpc.method"] != "test.read" {
		t.Errorf("%+v", up)
	}
}

// unreachable is a wire to servers of which one is down.
type unreachable struct{ wire }

// RoundTrip takes nothing along but what is on the wire.
func (w unreachable) RoundTrip(_ context.Context, to transport.Target, protocol string, head, body []byte) ([]byte, error) {
	if to.Name == "down" {
		return nil, transport.ErrUnreachable
	}
	return w.wire.RoundTrip(context.Background(), to, protocol, head, body)
}
