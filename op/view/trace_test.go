package view

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/internal/tracing/tracingtest"
	"github.com/legate-project/legate/op"
)

func newTracer(t *testing.T, c *tracingtest.Collector) *tracing.Tracer {
	t.Helper()
	tracer, err := tracing.New(tracing.Config{Endpoint: c.URL, Ratio: 1, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

// A wait that is shared is part of the trace of who began it.
func TestSharedWaitIsTraced(t *testing.T) {
	c := tracingtest.Start(t)
	tracer := newTracer(t, c)
	w := NewSingleFlight(op.CallerFunc(func(ctx context.Context, call *op.Call) (*op.Reply, error) {
		_, s := tracing.Start(ctx, "shared", tracing.Client)
		s.End()
		return op.NewReply(op.Meta{Index: 2}, &op.Text{}), nil
	}))
	ctx, root := tracer.Root(t.Context(), "root", tracing.Origin{})
	if _, err := w.Do(ctx, op.NewCall(reading(), op.Header{MinIndex: 1}, &op.Text{})); err != nil {
		t.Error(err)
	}
	root.End()
	if err := w.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := tracer.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	spans := c.Spans("")
	if len(spans) != 2 || spans[0].Name != "shared" || spans[0].Parent != spans[1].ID {
		t.Errorf("%+v", spans)
	}
}

// The span of who asks says whether the view had the answer.
func TestViewSaysInTraceHowItAnswered(t *testing.T) {
	c := tracingtest.Start(t)
	tracer := newTracer(t, c)
	for _, how := range []struct {
		age  time.Duration
		hit  bool
		want string
	}{{0, true, "hit"}, {0, false, "miss"}, {time.Second, true, "aged"}} {
		if got := outcome(how.age, how.hit); got != how.want {
			t.Errorf("%+v is %s", how, got)
		}
	}
	ctx, root := tracer.Root(context.Background(), "root", tracing.Origin{})
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "1", 7)
		for range 2 {
			if _, err := v.Do(ctx, op.NewCall(reading(), op.Header{Datacenter: "dc2", Consistency: op.Cached}, &op.Text{Text: "a"})); err != nil {
				t.Fatal(err)
			}
		}
	})
	root.End()
	if err := tracer.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if spans := c.Spans(""); len(spans) != 1 || spans[0].Attributes["legate.view"] != "hit" {
		t.Errorf("%+v", spans)
	}
}
