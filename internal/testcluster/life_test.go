package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/status"
)

// noticed is how long a change of the federation may take until every server
// shows it.
const noticed = 5 * time.Second

// seen returns the state of a datacenter as a server sees it, empty if it does not
// know it.
func seen(ctx context.Context, from *testcluster.Node, dc string) (string, error) {
	views, _, err := status.Federation.Call(ctx, from.Agent().Caller(), op.Header{}, &status.FederationRequest{})
	if err != nil {
		return "", err
	}
	for _, l := range views.Views[0].Links {
		if l.Datacenter == dc {
			return l.State, nil
		}
	}
	return "", nil
}

// reason is what a server says of the state in which it sees a datacenter.
func reason(ctx context.Context, from *testcluster.Node, dc string) string {
	views, _, err := status.Federation.Call(ctx, from.Agent().Caller(), op.Header{}, &status.FederationRequest{})
	if err != nil {
		return err.Error()
	}
	for _, l := range views.Views[0].Links {
		if l.Datacenter == dc {
			return l.Reason
		}
	}
	return ""
}

// everywhere waits until all servers of the datacenters see dc in the state, listed in
// the catalog or not.
func everywhere(t *testing.T, c *testcluster.Cluster, in []string, dc, state string, within time.Duration) {
	t.Helper()
	listed := state == status.Up || state == status.Degraded || state == status.Unreachable
	eventually(t, dc+" is "+state+" everywhere", within, func(ctx context.Context) error {
		for _, n := range c.Nodes() {
			if !n.Server || n.Agent() == nil || !slices.Contains(in, n.Datacenter) {
				continue
			}
			got, err := seen(ctx, n, dc)
			if err != nil || got != state {
				return fmt.Errorf("%s sees %s as %q: %v (%s)", n.Name, dc, got, err, reason(ctx, n, dc))
			}
			names, _, err := status.Datacenters.Call(ctx, n.Agent().Caller(), op.Header{}, &op.Empty{})
			if err != nil || slices.Contains(names.Texts, dc) != listed && n.Datacenter != dc {
				return fmt.Errorf("%s lists %v: %v", n.Name, names, err)
			}
		}
		return nil
	})
}

func stopAll(t *testing.T, c *testcluster.Cluster, dc string) {
	t.Helper()
	for _, n := range c.In(dc) {
		if err := c.StopNode(t.Context(), n.Name); err != nil {
			t.Fatal(err)
		}
	}
}

func startAll(t *testing.T, c *testcluster.Cluster, dc string) {
	t.Helper()
	for _, n := range c.In(dc) {
		if err := c.StartNode(t.Context(), n.Name); err != nil {
			t.Fatal(err)
		}
	}
}

func membership(ctx context.Context, n *testcluster.Node, m status.Membership) (*status.Changed, error) {
	done, _, err := status.Change.Call(ctx, n.Agent().Caller(), op.Header{}, &m)
	return done, err
}

func code(ctx context.Context, n *testcluster.Node, dc string) op.Code {
	_, _, err := kv.Get.Call(ctx, n.Agent().Caller(), op.Header{Datacenter: dc}, &kv.GetRequest{Key: "x"})
	return op.CodeOf(err)
}

// A datacenter that died is removed on every server, stays away when it comes back,
// also from a server that was away meanwhile, until it is allowed.
func TestRemovedDatacenterStaysAwayUntilAllowed(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 2, Clients: 1, RTT: 10 * time.Millisecond, Dir: t.TempDir()})
	ask, rest := c.Node("dc1-client1"), []string{"dc1", "dc2"}

	if _, err := membership(t.Context(), ask, status.Membership{Datacenter: "dc3", Removed: true}); op.CodeOf(err) != op.CodeConflict || !strings.Contains(err.Error(), "-force") {
		t.Fatalf("removing a datacenter that lives says %v", err)
	}
	if _, err := membership(t.Context(), ask, status.Membership{Datacenter: "dc1", Removed: true, Force: true}); op.CodeOf(err) != op.CodeInvalid {
		t.Fatalf("removing the own datacenter says %v", err)
	}
	if _, err := membership(t.Context(), ask, status.Membership{Datacenter: "dc9", Removed: true}); op.CodeOf(err) != op.CodeNotFound {
		t.Fatalf("removing an unknown datacenter says %v", err)
	}
	if _, err := membership(t.Context(), ask, status.Membership{Datacenter: "dc3"}); op.CodeOf(err) != op.CodeNotFound {
		t.Fatalf("allowing one that was not removed says %v", err)
	}

	enlist(t, c.Node("dc3-client1").Agent().Caller(), "dc3", "web", "n1", "10.0.0.1")
	views := []op.Caller{ask.Agent().Caller(), c.Node("dc2-server1").Agent().Caller()}
	for _, from := range views {
		eventually(t, "a view of dc3 is kept", noticed, func(ctx context.Context) error {
			if n, _, err := kept(ctx, from, "dc3", "web"); n != 1 {
				return fmt.Errorf("%d instances: %v", n, err)
			}
			return nil
		})
	}
	everywhere(t, c, rest, "dc3", status.Up, noticed) // who has not heard of it cannot miss it
	stopAll(t, c, "dc3")
	everywhere(t, c, rest, "dc3", status.Unreachable, 30*time.Second)
	if got := code(t.Context(), ask, "dc3"); got != op.CodeUnreachableDatacenter {
		t.Errorf("asking dc3 while it is away says %s", got)
	}
	// One server misses the removal.
	if err := c.StopNode(t.Context(), "dc2-server2"); err != nil {
		t.Fatal(err)
	}
	done, err := membership(t.Context(), ask, status.Membership{Datacenter: "dc3", Removed: true})
	if err != nil || done.Told < 3 {
		t.Fatalf("remove: %v %+v", err, done)
	}
	everywhere(t, c, rest, "dc3", status.Removed, noticed)
	if got := code(t.Context(), ask, "dc3"); got != op.CodeRemovedDatacenter {
		t.Errorf("asking dc3 once it is removed says %s", got)
	}
	for _, from := range views {
		eventually(t, "what was kept of dc3 is gone", noticed, func(ctx context.Context) error {
			if _, _, err := kept(ctx, from, "dc3", "web"); op.CodeOf(err) != op.CodeRemovedDatacenter {
				return fmt.Errorf("asking for it says %v, %s", err, op.CodeOf(err))
			}
			return nil
		})
	}
	if err := c.StartNode(t.Context(), "dc2-server2"); err != nil {
		t.Fatal(err)
	}
	everywhere(t, c, rest, "dc3", status.Removed, 20*time.Second)

	// It comes back and is refused; another server restarts and still refuses it.
	startAll(t, c, "dc3")
	if err := c.StopNode(t.Context(), "dc1-server2"); err != nil {
		t.Fatal(err)
	}
	if err := c.StartNode(t.Context(), "dc1-server2"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitLeader(t.Context(), "dc3"); err != nil {
		t.Fatal(err)
	}
	everywhere(t, c, rest, "dc3", status.Removed, 20*time.Second)
	quiet := time.NewTimer(3 * time.Second) // gossip and joins have had their chance
	for range time.Tick(100 * time.Millisecond) {
		for _, n := range c.Nodes() {
			if n.Server && n.Datacenter != "dc3" {
				if got, err := seen(t.Context(), n, "dc3"); err != nil || got != status.Removed {
					t.Fatalf("%s sees dc3 as %q: %v", n.Name, got, err)
				}
			}
		}
		if got := code(t.Context(), c.Node("dc3-server1"), "dc1"); got == 0 {
			t.Fatal("a server that was removed is answered")
		}
		select {
		case <-quiet.C:
		default:
			continue
		}
		break
	}

	if done, err = membership(t.Context(), c.Node("dc2-server1"), status.Membership{Datacenter: "dc3"}); err != nil {
		t.Fatalf("allow: %v %+v", err, done)
	}
	everywhere(t, c, rest, "dc3", status.Up, 60*time.Second)
	eventually(t, "dc3 is asked and asks", 20*time.Second, func(ctx context.Context) error {
		if a, b := code(ctx, ask, "dc3"), code(ctx, c.Node("dc3-client1"), "dc1"); a != 0 || b != 0 {
			return fmt.Errorf("%s, %s", a, b)
		}
		return nil
	})
}

// A datacenter that lives can be removed by force, and learns that it was.
func TestLivingDatacenterIsRemovedByForce(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 1, RTT: 10 * time.Millisecond})
	if _, err := membership(t.Context(), c.Node("dc1-server1"), status.Membership{Datacenter: "dc3", Removed: true, Force: true}); err != nil {
		t.Fatal(err)
	}
	everywhere(t, c, []string{"dc1", "dc2"}, "dc3", status.Removed, noticed)
	eventually(t, "a server of the datacenter that was removed is refused", noticed, func(ctx context.Context) error { // connections that it had are closed by then
		if code(ctx, c.Node("dc3-server1"), "dc2") == 0 {
			return errors.New("it is answered")
		}
		return nil
	})
	if _, err := membership(t.Context(), c.Node("dc3-server1"), status.Membership{Datacenter: "dc3"}); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("the datacenter that was removed allows itself: %v", err)
	}
	if _, err := membership(t.Context(), c.Node("dc2-server1"), status.Membership{Datacenter: "dc3"}); err != nil {
		t.Fatal(err)
	}
	everywhere(t, c, []string{"dc1", "dc2"}, "dc3", status.Up, 60*time.Second)
}

// What was removed works on by itself, with its servers in one pool.
func TestRemovedDatacenterWorksOnByItself(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 2, RTT: 10 * time.Millisecond})
	if _, err := membership(t.Context(), c.Node("dc1-server1"), status.Membership{Datacenter: "dc2", Removed: true, Force: true}); err != nil {
		t.Fatal(err)
	}
	everywhere(t, c, []string{"dc1"}, "dc2", status.Removed, noticed)
	everywhere(t, c, []string{"dc2"}, "dc2", status.Removed, noticed) // it was told
	everywhere(t, c, []string{"dc2"}, "dc1", status.Unreachable, 20*time.Second)
	if err := set(t.Context(), c.Node("dc2-server1").Agent().Caller(), op.Header{}, "k", "v"); err != nil {
		t.Errorf("write in the datacenter that was removed: %v", err)
	}
	client := official(t, c.Node("dc2-server1")).Agent()
	eventually(t, "its servers are in one pool, by themselves", 20*time.Second, func(context.Context) error {
		members, err := client.Members(true)
		if err != nil {
			return err
		}
		for _, m := range members {
			if want := m.Tags["dc"] == "dc2"; (m.Status == 1) != want {
				return fmt.Errorf("%s has the status %d", m.Name, m.Status)
			}
		}
		return nil
	})
}

// Servers leave the federation and stay in their datacenter, and come back.
func TestDatacenterLeavesTheFederationOnly(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 2, Clients: 1, RTT: 10 * time.Millisecond, Dir: t.TempDir()})
	done, _, err := status.Quit.Call(t.Context(), c.Node("dc2-client1").Agent().Caller(), op.Header{}, &status.QuitRequest{All: true})
	if err != nil || done.Told != 2 {
		t.Fatalf("leave: %v %+v", err, done)
	}
	everywhere(t, c, []string{"dc1"}, "dc2", status.Left, noticed)
	if got := code(t.Context(), c.Node("dc1-client1"), "dc2"); got != op.CodeLeftDatacenter {
		t.Errorf("asking a datacenter that left says %s", got)
	}
	if err := set(t.Context(), c.Node("dc2-client1").Agent().Caller(), op.Header{}, "k", "v"); err != nil {
		t.Errorf("the datacenter that left does not work: %v", err)
	}
	client := official(t, c.Node("dc2-server1"))
	eventually(t, "one server is back", 20*time.Second, func(context.Context) error {
		return client.Agent().Join(c.Node("dc1-server1").IP+":8302", true)
	})
	if err := official(t, c.Node("dc2-server2")).Agent().Join(c.Node("dc1-server1").IP+":8302", true); err != nil {
		t.Fatal(err)
	}
	everywhere(t, c, []string{"dc1"}, "dc2", status.Up, 20*time.Second)
	everywhere(t, c, []string{"dc2"}, "dc1", status.Up, 20*time.Second)
}
