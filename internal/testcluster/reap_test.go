package testcluster_test

import (
	"context"
	"errors"
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
