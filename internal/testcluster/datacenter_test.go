package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/status"
)

func set(ctx context.Context, c op.Caller, h op.Header, key, value string) error {
	_, _, err := kv.Apply.Call(ctx, c, h, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: key, Value: []byte(value)}})
	return err
}

// serfHealth returns the state of a node's serfHealth check, "" if it has none.
func serfHealth(ctx context.Context, c op.Caller, node string) (string, error) {
	cs, _, err := catalog.ListNodeChecks.Call(ctx, c, op.Header{}, &catalog.NodeRequest{Node: node})
	if err != nil {
		return "", err
	}
	for _, check := range *cs {
		if check.CheckID == catalog.SerfHealth {
			return check.Status, nil
		}
	}
	return "", nil
}

func voters(ctx context.Context, c op.Caller) ([]string, error) {
	conf, _, err := status.Raft.Call(ctx, c, op.Header{}, &op.Empty{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range conf.Servers {
		if s.Voter {
			names = append(names, s.Node)
		}
	}
	slices.Sort(names)
	return names, nil
}

func TestCatalogFollowsGossip(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 3, Clients: 2, Dir: t.TempDir()})
	ask := c.Node("dc1-client1").Agent().Caller()
	want := func(node, health string) func(context.Context) error {
		return func(ctx context.Context) error {
			got, err := serfHealth(ctx, ask, node)
			if err == nil && got != health {
				err = fmt.Errorf("serfHealth of %s is %q", node, got)
			}
			return err
		}
	}
	for _, n := range c.Nodes() {
		eventually(t, n.Name+" is healthy", 15*time.Second, want(n.Name, catalog.Passing))
	}
	is, _, err := catalog.ListInstances.Call(t.Context(), ask, op.Header{}, &catalog.ServiceRequest{Service: "consul"})
	if err != nil || len(*is) != 3 {
		t.Errorf("service consul has %d instances, want the 3 servers: %v", len(*is), err)
	}
	eventually(t, "coordinates of all nodes are in the catalog", 15*time.Second, func(ctx context.Context) error {
		es, _, err := coordinate.Nodes.Call(ctx, ask, op.Header{}, &op.Empty{})
		if err == nil && len(*es) != 5 {
			err = fmt.Errorf("%d coordinates", len(*es))
		}
		return err
	})

	// A client that dies is critical, one that comes back is not.
	if err := c.StopNode(t.Context(), "dc1-client2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dead client is critical", 15*time.Second, want("dc1-client2", catalog.Critical))
	if err := c.StartNode(t.Context(), "dc1-client2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "client is back", 15*time.Second, want("dc1-client2", catalog.Passing))

	// A client that leaves is gone.
	if err := c.Node("dc1-client2").Agent().Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "client that left is forgotten", 15*time.Second, want("dc1-client2", ""))

	// A server that leaves has no vote any more, one that comes back has one.
	all := []string{"dc1-server1", "dc1-server2", "dc1-server3"}
	hasVoters := func(want []string) func(context.Context) error {
		return func(ctx context.Context) error {
			got, err := voters(ctx, ask)
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("voters %v", got)
			}
			return err
		}
	}
	eventually(t, "three voters", 15*time.Second, hasVoters(all))
	if err := c.Node("dc1-server3").Agent().Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "server that left has no vote", 15*time.Second, hasVoters(all[:2]))
	if err := c.StopNode(t.Context(), "dc1-server3"); err != nil {
		t.Fatal(err)
	}
	if err := c.StartNode(t.Context(), "dc1-server3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "server is back with its vote", 20*time.Second, hasVoters(all))
}

func TestBlockingReadsWakeExactly(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, Clients: 1, RTT: 20 * time.Millisecond})
	ask := c.Node("dc1-client1").Agent().Caller()
	for _, dc := range c.Datacenters() {
		here := op.Header{Datacenter: dc}
		if err := set(t.Context(), ask, here, "watched", "1"); err != nil {
			t.Fatal(err)
		}
		_, meta, err := kv.Get.Call(t.Context(), ask, here, &kv.GetRequest{Key: "watched"})
		if err != nil {
			t.Fatal(err)
		}
		type got struct {
			value string
			index uint64
			err   error
		}
		results := make(chan got, 1)
		wait := func(key string, index uint64, longest time.Duration) {
			e, m, err := kv.Get.Call(t.Context(), ask, op.Header{Datacenter: dc, MinIndex: index, MaxWait: longest}, &kv.GetRequest{Key: key})
			g := got{index: m.Index, err: err}
			if e != nil {
				g.value = string(e.Value)
			}
			results <- g
		}
		// A write elsewhere does not wake it: it times out with what was there.
		go wait("watched", meta.Index, 600*time.Millisecond)
		start := time.Now()
		for time.Since(start) < 300*time.Millisecond {
			if err := set(t.Context(), ask, here, "elsewhere", "x"); err != nil {
				t.Fatal(err)
			}
		}
		if g := <-results; g.err != nil || g.value != "1" || g.index != meta.Index || time.Since(start) < 600*time.Millisecond {
			t.Errorf("%s: %+v after %s, want the old value when the wait is over", dc, g, time.Since(start))
		}
		// A write to it does, and so does its deletion.
		go wait("watched", meta.Index, time.Minute)
		if err := set(t.Context(), ask, here, "watched", "2"); err != nil {
			t.Fatal(err)
		}
		g := <-results
		if g.err != nil || g.value != "2" || g.index <= meta.Index {
			t.Errorf("%s: %+v after a write", dc, g)
		}
		go wait("watched", g.index, time.Minute)
		if _, _, err := kv.Apply.Call(t.Context(), ask, here, &kv.ApplyRequest{Verb: kv.Delete, Entry: kv.Entry{Key: "watched"}}); err != nil {
			t.Fatal(err)
		}
		if d := <-results; d.err != nil || d.value != "" || d.index <= g.index {
			t.Errorf("%s: %+v after a deletion", dc, d)
		}
	}
}

func TestConsistencyModes(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 3, Clients: 0})
	for _, n := range c.Nodes() {
		caller := n.Agent().Caller()
		if err := set(t.Context(), caller, op.Header{}, "k", n.Name); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []op.Consistency{op.Default, op.Consistent} { // both see what was just written
			e, m, err := kv.Get.Call(t.Context(), caller, op.Header{Consistency: mode}, &kv.GetRequest{Key: "k"})
			if err != nil || string(e.Value) != n.Name || !m.KnownLeader || m.Consistency != mode {
				t.Errorf("%s mode %d: %v %v %+v", n.Name, mode, err, e, m)
			}
		}
	}
	// Without a quorum only stale reads are answered.
	leader := c.Nodes()[0]
	for _, n := range c.Nodes()[1:] {
		if err := c.StopNode(t.Context(), n.Name); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "default reads are refused", 15*time.Second, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		_, _, err := kv.Get.Call(ctx, leader.Agent().Caller(), op.Header{}, &kv.GetRequest{Key: "k"})
		if err == nil {
			return errors.New("answered without a quorum")
		}
		return nil
	})
	e, m, err := kv.Get.Call(t.Context(), leader.Agent().Caller(), op.Header{Consistency: op.Stale}, &kv.GetRequest{Key: "k"})
	if err != nil || e == nil || m.Consistency != op.Stale {
		t.Errorf("stale read without a quorum: %v %v", err, e)
	}
}

// A server whose disk was replaced comes back under its name and address with
// another ID: it takes the place of the one it was.
func TestServerThatLostItsDataIsBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 3, Clients: 1, Dir: dir})
	ask := c.Node("dc1-client1").Agent().Caller()
	if err := set(t.Context(), ask, op.Header{}, "kept", "1"); err != nil {
		t.Fatal(err)
	}
	old := c.Node("dc1-server3").Agent().NodeID()
	if err := c.StopNode(t.Context(), "dc1-server3"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "dc1-server3")); err != nil {
		t.Fatal(err)
	}
	if err := c.StartNode(t.Context(), "dc1-server3"); err != nil {
		t.Fatal(err)
	}
	now := c.Node("dc1-server3").Agent().NodeID()
	eventually(t, "it votes under its new ID, and not under the old one", 20*time.Second, func(ctx context.Context) error {
		conf, _, err := status.Raft.Call(ctx, ask, op.Header{}, &op.Empty{})
		if err != nil {
			return err
		}
		ids := map[string]bool{}
		for _, s := range conf.Servers {
			ids[s.ID] = s.Voter
		}
		if len(ids) != 3 || !ids[now] || ids[old] {
			return fmt.Errorf("group %v, it was %s and is %s", ids, old, now)
		}
		return nil
	})
	eventually(t, "it has the data", 15*time.Second, func(ctx context.Context) error {
		e, _, err := kv.Get.Call(ctx, c.Node("dc1-server3").Agent().Caller(), op.Header{Consistency: op.Stale}, &kv.GetRequest{Key: "kept"})
		if err == nil && e == nil {
			err = errors.New("the key is not there")
		}
		return err
	})
	eventually(t, "it is healthy in the catalog", 15*time.Second, func(ctx context.Context) error {
		got, err := serfHealth(ctx, ask, "dc1-server3")
		if err == nil && got != catalog.Passing {
			err = fmt.Errorf("serfHealth is %q", got)
		}
		return err
	})
}
