package testcluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// enlist writes an instance of a service on a node of its own into a
// datacenter's catalog.
func enlist(t *testing.T, from op.Caller, dc, service, node, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, _, err := catalog.Register.Call(ctx, from, op.Header{Datacenter: dc}, &catalog.RegisterRequest{Datacenter: dc, Node: node, Address: addr,
		Service: &catalog.Service{ID: service, Service: service, Port: 80}})
	if err != nil {
		t.Fatalf("register %s in %s: %v", service, dc, err)
	}
}

// kept asks for a service's instances as far as they are kept.
func kept(ctx context.Context, from op.Caller, dc, service string) (int, op.Meta, error) {
	list, meta, err := catalog.ListInstances.Call(ctx, from, op.Header{Datacenter: dc, Consistency: op.Cached}, &catalog.ServiceRequest{Service: service})
	if err != nil || list == nil {
		return 0, meta, err
	}
	return len(*list), meta, nil
}

func TestViewsFollowAnotherDatacenterAndOutliveACut(t *testing.T) {
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 3, Clients: 1, RTT: 40 * time.Millisecond, Dir: t.TempDir()})
	client, server := c.In("dc1")[3].Agent().Caller(), c.In("dc1")[1].Agent().Caller()
	owner := c.In("dc2")[3].Agent().Caller()
	enlist(t, owner, "dc2", "web", "n1", "10.0.0.1")
	for name, from := range map[string]op.Caller{"client": client, "server": server} {
		if n, meta, err := kept(t.Context(), from, "dc2", "web"); err != nil || n != 1 || meta.Hit {
			t.Fatalf("%s: first answer: %d instances, %+v, %v", name, n, meta, err)
		}
		begin := time.Now()
		n, meta, err := kept(t.Context(), from, "dc2", "web")
		if err != nil || n != 1 || !meta.Hit || meta.Age != 0 || meta.Datacenter != "dc2" || !meta.KnownLeader || time.Since(begin) > 20*time.Millisecond {
			t.Fatalf("%s: second answer after %s: %d instances, %+v, %v", name, time.Since(begin), n, meta, err)
		}
	}
	enlist(t, owner, "dc2", "web", "n2", "10.0.0.2")
	for name, from := range map[string]op.Caller{"client": client, "server": server} {
		eventually(t, name+" has been pushed the change", 2*time.Second, func(ctx context.Context) error {
			n, meta, err := kept(ctx, from, "dc2", "web")
			if n != 2 || !meta.Hit {
				return fmt.Errorf("%d instances, %+v, %w", n, meta, err)
			}
			return nil
		})
	}
	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]op.Caller{"client": client, "server": server} {
		eventually(t, name+" shows the age", 20*time.Second, func(ctx context.Context) error {
			begin := time.Now()
			n, meta, err := kept(ctx, from, "dc2", "web")
			if n != 2 || err != nil || time.Since(begin) > 50*time.Millisecond {
				t.Fatalf("during the cut, after %s: %d instances, %+v, %v", time.Since(begin), n, meta, err)
			}
			if meta.Age == 0 {
				return fmt.Errorf("%+v", meta)
			}
			return nil
		})
	}
	enlist(t, owner, "dc2", "web", "n3", "10.0.0.3")
	for _, within := range []time.Duration{2 * time.Second, 50 * time.Millisecond} { // the second is spared the attempt
		begin := time.Now()
		_, _, err := kept(t.Context(), client, "dc2", "never")
		if took := time.Since(begin); op.CodeOf(err) != op.CodeUnreachableDatacenter || took > within {
			t.Errorf("a service that was never asked for: %v after %s", err, took)
		}
	}
	if err := c.Heal("dc2"); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]op.Caller{"client": client, "server": server} {
		eventually(t, name+" is current again", 3*time.Second, func(ctx context.Context) error {
			n, meta, err := kept(ctx, from, "dc2", "web")
			if n != 3 || meta.Age != 0 {
				return fmt.Errorf("%d instances, %+v, %w", n, meta, err)
			}
			return nil
		})
	}
}
