package queries_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
)

// harness is a server that leads and carries out queries.
type harness struct {
	*server.Server
	group   *servertest.Group
	pool    *servertest.Pool
	metrics *prometheus.Registry
}

func newHarness(t testing.TB, change func(*server.Config)) *harness {
	t.Helper()
	reg := prometheus.NewRegistry()
	cfg := server.Config{Datacenter: "dc1", NodeName: "s1", NodeID: servertest.UID("1"), HoldTimeout: time.Second, State: servertest.OpenState(t),
		Transport: servertest.Silence{}, Log: logging.Discard(), Registerer: reg}
	if change != nil {
		change(&cfg)
	}
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &harness{Server: s, group: servertest.NewGroup(cfg.State, s.Machine()), pool: servertest.NewPool(), metrics: reg}
}

// start gives it a federation, whose results it follows by polling them.
func (h *harness) start(t testing.TB, remote server.Remote) {
	t.Helper()
	if err := h.Start(server.Dependencies{Raft: h.group, LAN: h.pool, Remote: remote, Views: polled{h.Server}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

func (h *harness) register(t *testing.T, r *catalog.RegisterRequest) {
	t.Helper()
	if _, _, err := catalog.Register.Call(t.Context(), h, op.Header{}, r); err != nil {
		t.Fatal(err)
	}
}

// waiting is how many queries wait.
func (h *harness) waiting(t *testing.T) float64 {
	t.Helper()
	families, err := h.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "legate_query_waiting" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("nobody counts who waits")
	return 0
}

// place registers nodes and writes their coordinates past the door.
func (h *harness) place(t *testing.T, at map[string]coordinate.Coord) {
	t.Helper()
	batch := coordinate.Entries{}
	for node, c := range at {
		h.register(t, &catalog.RegisterRequest{Node: node, Address: "10.1.0." + strings.TrimPrefix(node, "n")})
		batch = append(batch, coordinate.Entry{Node: node, Coord: c})
	}
	h.group.Commit(t, &coordinate.Batch, &batch)
}

// point is a coordinate so many milliseconds from the origin.
func point(ms float64) coordinate.Coord {
	return coordinate.Coord{Vec: []float64{ms / 1000, 0, 0, 0, 0, 0, 0, 0}}
}
