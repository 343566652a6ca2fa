package testcluster_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/agent"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/status"
)

// stop stops agents without a word to the others.
func stop(t *testing.T, c *testcluster.Cluster, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := c.StopNode(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

// Without a majority requests fail when rpc_hold_timeout is over: those of clients of a
// server, and those of clients of a client agent.
func TestRequestsWaitForALeaderForTheHold(t *testing.T) {
	t.Parallel()
	const hold, late = 600 * time.Millisecond, 3 * time.Second // the latter for a handshake with who is dead
	holds := map[string]time.Duration{"dc1-server1": hold, "dc1-client1": hold, "dc1-client2": 0}
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 3, Clients: 2, Configure: func(cfg *config.Config) {
		cfg.Performance.RPCHoldTimeout = holds[cfg.NodeName]
	}})
	for node := range holds {
		eventually(t, node+" writes", 15*time.Second, func(ctx context.Context) error { return setK(ctx, c.Node(node).Agent().Caller()) })
	}
	stop(t, c, "dc1-server2", "dc1-server3")
	eventually(t, "the leader is lost", 15*time.Second, func(ctx context.Context) error {
		leader, _, err := status.Leader.Call(ctx, c.Node("dc1-server1").Agent().Caller(), op.Header{Consistency: op.Stale}, &op.Empty{})
		if err == nil && leader.Text != "" {
			err = fmt.Errorf("it is %s", leader.Text)
		}
		return err
	})
	ask := func(node, what string, do func(ctx context.Context, from op.Caller) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := time.Now()
		err := do(ctx, c.Node(node).Agent().Caller())
		took := time.Since(began)
		t.Logf("%s: a %s fails after %s", node, what, took)
		if limit := holds[node]; op.CodeOf(err) != op.CodeNoLeader || took < limit-100*time.Millisecond || took > limit+late {
			t.Errorf("%s, which waits for %s: a %s ends after %s with %v", node, limit, what, took, err)
		}
	}
	var wg sync.WaitGroup
	for node := range holds {
		wg.Go(func() {
			ask(node, "write", setK)
			ask(node, "read", func(ctx context.Context, from op.Caller) error {
				_, _, err := kv.Get.Call(ctx, from, op.Header{}, &kv.GetRequest{Key: "k"})
				return err
			})
		})
	}
	wg.Wait()
}

func setK(ctx context.Context, from op.Caller) error { return set(ctx, from, op.Header{}, "k", "v") }

// A server that leaves answers for leave_drain_time, as one that belongs to its
// datacenter, and says that it is not one to send requests to.
func TestAServerThatLeavesAnswersForTheDrainTime(t *testing.T) {
	t.Parallel()
	const drain, late = 1500 * time.Millisecond, 3 * time.Second
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 3, Clients: 1, Configure: func(cfg *config.Config) {
		cfg.Performance.LeaveDrainTime = drain
	}})
	address, err := c.WaitLeader(t.Context(), "dc1")
	if err != nil {
		t.Fatal(err)
	}
	var leaver *testcluster.Node
	for _, n := range c.Nodes() {
		if n.IP+":8300" == address {
			leaver = n
		}
	}
	if leaver == nil {
		t.Fatalf("nobody is %s", address)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	left, began := make(chan error, 1), time.Now()
	go func() { left <- leaver.Agent().Leave(ctx) }()
	answers, leaving := 0, false
	for time.Since(began) < drain-200*time.Millisecond {
		if err := setK(ctx, leaver.Agent().Caller()); err != nil {
			t.Fatalf("%s after it was told to leave: %v", time.Since(began), err)
		}
		answers++
		res, err := http.Get("http://" + leaver.HTTPAddr() + "/v1/agent/ready")
		if err != nil {
			t.Fatal(err)
		}
		leaving = leaving || res.StatusCode == http.StatusServiceUnavailable
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-left:
			t.Fatalf("it left after %s: %v", time.Since(began), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < drain || took > drain+late {
		t.Errorf("it left after %s, want %s", took, drain)
	}
	if answers == 0 || !leaving {
		t.Errorf("%d answers, said that it leaves: %t", answers, leaving)
	}
	ask := c.Node("dc1-client1").Agent().Caller()
	eventually(t, "it has no vote any more", 15*time.Second, func(ctx context.Context) error {
		got, err := voters(ctx, ask)
		if err == nil && len(got) != 2 {
			err = fmt.Errorf("voters %v", got)
		}
		return err
	})
}

// A server waits raft_multiplier times as long before it stands for election.
func TestTheMultiplierStretchesElections(t *testing.T) {
	t.Parallel()
	const slow = 4
	var took [2]time.Duration
	for i, multiplier := range []int{1, slow} {
		began := time.Now()
		c := start(t, testcluster.Spec{Datacenters: 1, Servers: 1, Timing: agent.Timing{FastGossip: true}, Configure: func(cfg *config.Config) {
			cfg.Performance.RaftMultiplier = multiplier
		}})
		if _, err := c.WaitLeader(t.Context(), "dc1"); err != nil {
			t.Fatal(err)
		}
		took[i] = time.Since(began)
	}
	t.Logf("the first leader after %v", took)
	if took[1] < slow*500*time.Millisecond || took[0] >= took[1] {
		t.Errorf("the first leader after %s with 1, %s with %d", took[0], took[1], slow)
	}
}
