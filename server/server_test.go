package server

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/catalog"
)

// harness is a server that leads, unless change says otherwise, and is started.
type harness struct {
	*Server
	group *servertest.Group
	pool  *servertest.Pool
}

func newHarness(t testing.TB, change func(*Config)) *harness {
	t.Helper()
	cfg := Config{Datacenter: "dc1", NodeName: "s1", NodeID: servertest.UID("1"), HoldTimeout: time.Second, State: servertest.OpenState(t),
		Transport: servertest.Silence{}, Log: logging.Discard(), Registerer: prometheus.NewRegistry()}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{Server: s, group: servertest.NewGroup(cfg.State, s.Machine()), pool: servertest.NewPool()}
	return h
}

func (h *harness) start(t testing.TB, remote Remote) {
	t.Helper()
	if err := h.Start(Dependencies{Raft: h.group, LAN: h.pool, Remote: remote}); err != nil {
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

// services are those of a node, nil if it is not there.
func (h *harness) services(t *testing.T, node string) map[string]*catalog.Service {
	t.Helper()
	n, _, err := catalog.GetNodeServices.Call(t.Context(), h, op.Header{}, &catalog.NodeRequest{Node: node})
	if err != nil {
		t.Fatal(err)
	}
	if n == nil {
		return nil
	}
	return n.Services
}
