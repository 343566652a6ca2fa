package consensus

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/internal/tracing/tracingtest"
)

// A traced command shows when it was committed and when it was applied, one after the
// other; one whose caller goes away while Raft has it shows that it is lost to it.
func TestProposalsAreTraced(t *testing.T) {
	c := tracingtest.Start(t)
	tracer, err := tracing.New(tracing.Config{Endpoint: c.URL, Ratio: 1, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	g := gated{gate: make(chan struct{})}
	lead := leader(t, cluster(t, 1, func(c *Config) { c.Machine = g }))
	propose := func(ctx context.Context, name string) error {
		ctx, root := tracer.Root(ctx, name, tracing.Origin{})
		defer root.End()
		_, err := lead.node.Propose(ctx, []byte(name+"=v"))
		return err
	}
	before, _ := lead.log.LastIndex()
	ctx, leave := context.WithCancel(t.Context())
	lost := make(chan error, 1)
	go func() { lost <- propose(ctx, "lost") }()
	eventually(t, "Raft has the command", func() bool { last, _ := lead.log.LastIndex(); return last > before })
	leave()
	if err := <-lost; !errors.Is(err, ErrLost) {
		t.Error(err)
	}
	close(g.gate)
	if err := propose(t.Context(), "kept"); err != nil {
		t.Error(err)
	}
	if err := tracer.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	byName := func(trace string) map[string]tracingtest.Span {
		out := map[string]tracingtest.Span{}
		for _, s := range c.Spans(trace) {
			out[s.Name] = s
		}
		return out
	}
	for _, s := range c.Spans("") {
		switch of := byName(s.Trace); s.Name {
		case "lost":
			if len(of) != 2 || of["raft.propose"].Failed != "lost" {
				t.Errorf("%+v", of)
			}
		case "kept":
			whole, replicate, apply := of["raft.propose"], of["raft.replicate"], of["apply"]
			if len(of) != 4 || whole.Failed != "" || whole.Parent != s.ID || replicate.Parent != whole.ID || apply.Parent != whole.ID {
				t.Errorf("%+v", of)
			}
			times := []uint64{whole.Start, replicate.Start, replicate.End, apply.Start, apply.End, whole.End}
			for i := range times[1:] {
				if times[i] > times[i+1] {
					t.Errorf("not one after the other: %v", times)
				}
			}
			if replicate.Start == replicate.End || replicate.End != apply.Start || whole.Attributes["legate.command.bytes"] != "6" {
				t.Errorf("%+v", of)
			}
		}
	}
	if n := len(c.Spans("")); n != 6 {
		t.Errorf("%d spans of 6", n)
	}
}
