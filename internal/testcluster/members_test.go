package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// A member that stays failed for reconnect_timeout is forgotten by gossip and
// by the catalog, with what ran on it.
func TestFailedMemberIsReaped(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 1, Clients: 1, Dir: t.TempDir(),
		Configure: func(c *config.Config) { c.ReconnectTimeoutLAN = 3 * time.Second }})
	ask := c.Node("dc1-server1").Agent().Caller()
	const node = "dc1-client1"
	health := func(want string) func(context.Context) error {
		return func(ctx context.Context) error {
			got, err := serfHealth(ctx, ask, node)
			if err == nil && got != want {
				err = errors.New("serfHealth is " + got)
			}
			return err
		}
	}
	eventually(t, "the client is healthy", 15*time.Second, health(catalog.Passing))
	r := &catalog.RegisterRequest{Node: node, SkipNodeUpdate: true, Service: &catalog.Service{ID: "web", Service: "web"}}
	if _, _, err := catalog.Register.Call(t.Context(), ask, op.Header{}, r); err != nil {
		t.Fatal(err)
	}
	if err := c.StopNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is critical", 15*time.Second, health(catalog.Critical))
	eventually(t, "it is forgotten", 20*time.Second, func(ctx context.Context) error {
		n, _, err := catalog.GetNode.Call(ctx, ask, op.Header{}, &catalog.NodeRequest{Node: node})
		if err == nil && n != nil {
			err = errors.New("it is in the catalog")
		}
		return err
	})
	list, _, err := catalog.ListInstances.Call(t.Context(), ask, op.Header{}, &catalog.ServiceRequest{Service: "web"})
	if err != nil || len(*list) != 0 {
		t.Errorf("what ran on it: %v %v", *list, err)
	}
}

// An agent that dies and comes back under another name, with its ID, has one
// entry in the catalog.
func TestRenamedAgentLeavesNoGhost(t *testing.T) {
	t.Parallel()
	const before, after = "dc1-client1", "renamed"
	var renamed atomic.Bool
	dir := t.TempDir()
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 1, Clients: 1, Dir: dir, Configure: func(c *config.Config) {
		if c.NodeName == before && renamed.Load() {
			c.NodeName = after
		}
	}})
	ask := c.Node("dc1-server1").Agent().Caller()
	eventually(t, "the client is healthy", 15*time.Second, func(ctx context.Context) error {
		got, err := serfHealth(ctx, ask, before)
		if err == nil && got != catalog.Passing {
			err = errors.New("serfHealth is " + got)
		}
		return err
	})
	id := c.Node(before).Agent().NodeID()
	if err := c.StopNode(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	renamed.Store(true)
	if err := os.Remove(filepath.Join(dir, before, "agent.json")); err != nil { // as the agent tells who renames it
		t.Fatal(err)
	}
	if err := c.StartNode(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the catalog has it under its new name alone", 20*time.Second, func(ctx context.Context) error {
		list, _, err := catalog.ListNodes.Call(ctx, ask, op.Header{}, &op.Empty{})
		if err != nil {
			return err
		}
		var names []string
		for _, n := range *list {
			if n.ID == id {
				names = append(names, n.Node)
			}
		}
		got, err := serfHealth(ctx, ask, after)
		if err == nil && (len(*list) != 2 || len(names) != 1 || names[0] != after || got != catalog.Passing) {
			err = fmt.Errorf("%d nodes, the ID is of %v, serfHealth is %q", len(*list), names, got)
		}
		return err
	})
}
