package testcluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/legate-project/legate/agent"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/internal/testcluster/clustertest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
)

// fast shortens timers for clusters that live for seconds.
func fast() agent.Timing {
	return agent.Timing{FastGossip: true, RaftHeartbeat: 500 * time.Millisecond, SyncPeriod: 2 * time.Second, CoordinatePeriod: 500 * time.Millisecond, AutopilotPeriod: 200 * time.Millisecond}
}

// votesSoon has a server that comes vote as soon as it is healthy, and be healthy on a
// busy machine.
func votesSoon(cfg *config.Config) {
	cfg.Autopilot.ServerStabilizationTime, cfg.Autopilot.LastContactThreshold = 0, 10*time.Second
}

// start runs a cluster until the test ends.
func start(t testing.TB, s testcluster.Spec) *testcluster.Cluster {
	t.Helper()
	s.Network = ownNetwork(t)
	if s.Timing == (agent.Timing{}) {
		s.Timing = fast()
	}
	more := s.Configure
	s.Configure = func(cfg *config.Config) {
		votesSoon(cfg)
		if more != nil {
			more(cfg)
		}
	}
	if s.Log == nil {
		s.Log = logging.Discard()
	}
	if os.Getenv("LEGATE_TEST_LOG") != "" {
		s.Log = logging.New(os.Stderr, new(slog.LevelVar), false)
	}
	c, err := testcluster.New(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, dc := range c.Datacenters() {
		if _, err := c.WaitLeader(ctx, dc); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.WaitFederated(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// ownNetwork is that of a test, until it ends.
func ownNetwork(t testing.TB) byte {
	t.Helper()
	n, held, err := clustertest.FreeNetwork()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close() })
	return n
}

func TestFederationOfThree(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 3, Clients: 1, RTT: 40 * time.Millisecond, Dir: t.TempDir()})
	ctx := t.Context()
	for i, dc := range c.Datacenters() {
		client := c.In(dc)[3].Agent().Caller()
		key := "from/" + dc
		res, _, err := kv.Apply.Call(ctx, client, op.Header{}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: key, Value: []byte{byte(i)}}})
		if err != nil || !res.OK {
			t.Fatalf("put in %s: %v", dc, err)
		}
		for _, from := range c.Nodes() {
			e, meta, err := kv.Get.Call(ctx, from.Agent().Caller(), op.Header{Datacenter: dc}, &kv.GetRequest{Key: key})
			if err != nil || e == nil || e.Value[0] != byte(i) || meta.Datacenter != dc {
				t.Fatalf("get from %s in %s: %v %+v", from.Name, dc, err, e)
			}
		}
	}
	if err := c.RegisterExamples(ctx); err != nil {
		t.Fatal(err)
	}
	list, _, err := catalog.ListInstances.Call(ctx, c.In("dc1")[3].Agent().Caller(), op.Header{Datacenter: "dc3"}, &catalog.ServiceRequest{Service: "web"})
	if err != nil || len(*list) == 0 {
		t.Fatalf("web in dc3 from dc1: %v %v", err, list)
	}
	// The overview asks any server: one may be a moment behind.
	eventually(t, "the overview shows it", 10*time.Second, func(context.Context) error {
		for _, row := range c.Overview() {
			if row.Leader == "" || row.Alive != 4 || row.Services != 3 {
				return fmt.Errorf("overview %+v", row)
			}
		}
		return nil
	})
}
