package testcluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// eventually tries until it succeeds, for as long as a fault may take to be
// noticed and mended.
func eventually(t testing.TB, what string, within time.Duration, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for {
		err := try(ctx)
		if err == nil {
			t.Logf("%s after %s", what, time.Since(start).Round(time.Millisecond))
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, within, err)
		case <-tick.C:
		}
	}
}

// writeAndReadBack writes a key in the datacenter from the caller and reads it
// from there again, consistently.
func writeAndReadBack(ctx context.Context, from op.Caller, dc, key string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, _, err := kv.Apply.Call(ctx, from, op.Header{Datacenter: dc}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: key, Value: []byte(key)}})
	if err != nil {
		return fmt.Errorf("put %s in %s: %w", key, dc, err)
	}
	e, _, err := kv.Get.Call(ctx, from, op.Header{Datacenter: dc, Consistency: op.Consistent}, &kv.GetRequest{Key: key})
	if err != nil {
		return fmt.Errorf("get %s in %s: %w", key, dc, err)
	}
	if e == nil || string(e.Value) != key {
		return fmt.Errorf("get %s in %s: %+v", key, dc, e)
	}
	return nil
}

func TestSurvivesTheLossOfOneServerInEachDatacenter(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 3, Clients: 1, RTT: 20 * time.Millisecond, Dir: t.TempDir()})
	for round := range 3 { // each server of each datacenter once, leaders among them
		var lost []string
		for i, dc := range c.Datacenters() {
			n := c.In(dc)[(round+i)%3]
			lost = append(lost, n.Name)
			if err := writeAndReadBack(t.Context(), c.In(dc)[3].Agent().Caller(), dc, fmt.Sprintf("before/%d/%s", round, dc)); err != nil {
				t.Fatal(err)
			}
			if err := c.StopNode(t.Context(), n.Name); err != nil {
				t.Fatal(err)
			}
		}
		for _, from := range c.Datacenters() {
			for _, to := range c.Datacenters() {
				eventually(t, fmt.Sprintf("without %v: %s serves %s", lost, to, from), 20*time.Second, func(ctx context.Context) error {
					return writeAndReadBack(ctx, c.In(from)[3].Agent().Caller(), to, fmt.Sprintf("during/%d/%s", round, from))
				})
			}
		}
		for _, name := range lost {
			if err := c.StartNode(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range lost {
			n := c.Node(name)
			eventually(t, name+" has caught up", 20*time.Second, func(ctx context.Context) error {
				key := fmt.Sprintf("during/%d/dc1", round)
				e, _, err := kv.Get.Call(ctx, n.Agent().Caller(), op.Header{Consistency: op.Stale}, &kv.GetRequest{Key: key})
				if err == nil && e == nil {
					err = fmt.Errorf("%s is not there", key)
				}
				return err
			})
		}
	}
}

func TestSurvivesTheCutAndHealingOfAnyDatacenter(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 3, Clients: 1, RTT: 20 * time.Millisecond, Dir: t.TempDir()})
	for _, cut := range c.Datacenters() {
		if err := c.Cut(cut); err != nil {
			t.Fatal(err)
		}
		for _, dc := range c.Datacenters() { // every datacenter goes on by itself
			if err := writeAndReadBack(t.Context(), c.In(dc)[3].Agent().Caller(), dc, "alone/"+cut); err != nil {
				t.Errorf("while %s is cut off: %v", cut, err)
			}
		}
		other := c.Datacenters()[0]
		if other == cut {
			other = c.Datacenters()[1]
		}
		eventually(t, cut+" is known to be unreachable", 20*time.Second, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, _, err := kv.Get.Call(ctx, c.In(other)[3].Agent().Caller(), op.Header{Datacenter: cut}, &kv.GetRequest{Key: "x"})
			if op.CodeOf(err) != op.CodeUnreachableDatacenter || err.Error() != "No path to datacenter" {
				return fmt.Errorf("asking %s says %v", cut, err)
			}
			return nil
		})
		_, _, err := kv.Get.Call(t.Context(), c.In(other)[3].Agent().Caller(), op.Header{Datacenter: "dc9"}, &kv.GetRequest{Key: "x"})
		if op.CodeOf(err) != op.CodeUnknownDatacenter {
			t.Errorf("asking an unknown datacenter says %v", err)
		}
		if err := c.Heal(cut); err != nil {
			t.Fatal(err)
		}
		for _, from := range c.Datacenters() {
			for _, to := range c.Datacenters() {
				eventually(t, fmt.Sprintf("%s healed: %s serves %s", cut, to, from), 30*time.Second, func(ctx context.Context) error {
					return writeAndReadBack(ctx, c.In(from)[3].Agent().Caller(), to, "healed/"+cut+"/"+from)
				})
			}
		}
	}
}
