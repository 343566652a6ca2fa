package testcluster_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
)

// officialOf is the official client of a node's HTTP interface.
func officialOf(t testing.TB, n *testcluster.Node) *api.Client {
	t.Helper()
	c, err := api.NewClient(&api.Config{Address: n.HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// saved is a snapshot that the official client saved through a node.
func saved(t testing.TB, n *testcluster.Node, q *api.QueryOptions) ([]byte, archive.Meta, *api.QueryMeta) {
	t.Helper()
	out, qm, err := officialOf(t, n).Snapshot().Save(q)
	if err != nil {
		t.Fatalf("save through %s: %v", n.Name, err)
	}
	defer out.Close()
	b, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := archive.Verify(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("saved through %s: %v", n.Name, err)
	}
	return b, meta, qm
}

// holds returns an error unless the node's own state has n keys below the
// prefix.
func holds(ctx context.Context, n *testcluster.Node, prefix string, want int) error {
	list, _, err := kv.List.Call(ctx, n.Agent().Caller(), op.Header{Consistency: op.Stale}, &kv.ListRequest{Prefix: prefix})
	if err != nil {
		return err
	}
	got := 0
	if list != nil {
		got = len(*list)
	}
	if got != want {
		return fmt.Errorf("%s holds %d keys below %s, want %d", n.Name, got, prefix, want)
	}
	return nil
}

func TestSnapshotOfOneDatacenterIsRestoredInAnother(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 3, Clients: 1, RTT: 10 * time.Millisecond, Dir: t.TempDir()})
	ctx := t.Context()
	from, to := c.In("dc1")[3], c.In("dc2")[3]
	const keys = 300
	eventually(t, "the keys are there", 30*time.Second, func(ctx context.Context) error { // also where a busy machine costs a leader its place
		for i := range keys {
			if err := set(ctx, from.Agent().Caller(), op.Header{}, fmt.Sprintf("app/%d", i), strings.Repeat("x", 20_000)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := set(ctx, to.Agent().Caller(), op.Header{}, "other/key", "gone"); err != nil {
		t.Fatal(err)
	}
	b, meta, qm := saved(t, from, nil)
	if meta.Datacenter != "dc1" || meta.Index == 0 || qm.LastIndex != meta.Index || !qm.KnownLeader {
		t.Errorf("%+v, %+v", meta, qm)
	}
	for _, n := range c.In("dc1") {
		_, m, _ := saved(t, n, &api.QueryOptions{AllowStale: true})
		if n.Server && m.Node != n.Name {
			t.Errorf("a stale snapshot of %s is of %s", n.Name, m.Node)
		}
	}
	if _, m, _ := saved(t, to, &api.QueryOptions{Datacenter: "dc1"}); m.Datacenter != "dc1" || m.Index < meta.Index {
		t.Errorf("across the WAN: %+v", m)
	}

	// One waits for a key that goes, one for a key that never was.
	before, woken := uint64(0), make(chan string, 2)
	for _, key := range []string{"other/key", "other/nothing"} {
		_, m, err := officialOf(t, to).KV().Get(key, nil)
		if err != nil {
			t.Fatal(err)
		}
		before = max(before, m.LastIndex)
		go func() {
			p, m2, err := officialOf(t, c.In("dc2")[0]).KV().Get(key, &api.QueryOptions{WaitIndex: m.LastIndex, WaitTime: time.Minute})
			woken <- fmt.Sprintf("%v %v %v", p == nil, err, m2 != nil && m2.LastIndex > m.LastIndex)
		}()
	}
	eventually(t, "it is restored", 30*time.Second, func(context.Context) error {
		return officialOf(t, to).Snapshot().Restore(nil, bytes.NewReader(b))
	})
	for range 2 {
		select {
		case got := <-woken:
			if got != "true <nil> true" {
				t.Errorf("who waited got %s", got)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("who waits was not woken")
		}
	}
	for _, n := range c.In("dc2")[:3] {
		eventually(t, n.Name+" has the restored state", 10*time.Second, func(ctx context.Context) error {
			if err := holds(ctx, n, "app/", keys); err != nil {
				return err
			}
			return holds(ctx, n, "other/", 0)
		})
	}
	_, m, err := officialOf(t, to).KV().Get("app/7", nil)
	if err != nil || m.LastIndex <= before || m.LastIndex <= meta.Index {
		t.Errorf("the index is %d after %d and %d: %v", m.LastIndex, before, meta.Index, err)
	}
	for _, n := range c.In("dc2") {
		eventually(t, n.Name+" is in the catalog again", 10*time.Second, func(ctx context.Context) error {
			nodes, _, err := catalog.ListNodes.Call(ctx, to.Agent().Caller(), op.Header{}, &op.Empty{})
			if err != nil {
				return err
			}
			for _, node := range *nodes {
				if node.Node == n.Name {
					return nil
				}
			}
			return fmt.Errorf("%s is not among %d nodes", n.Name, len(*nodes))
		})
	}
	if err := writeAndReadBack(ctx, to.Agent().Caller(), "dc2", "after"); err != nil {
		t.Error(err)
	}
}

func TestRefusedSnapshotChangesNothing(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 1, Clients: 1, Dir: t.TempDir()})
	client := c.In("dc1")[1]
	if err := set(t.Context(), client.Agent().Caller(), op.Header{}, "a", "1"); err != nil {
		t.Fatal(err)
	}
	b, _, _ := saved(t, client, nil)
	if err := set(t.Context(), client.Agent().Caller(), op.Header{}, "a", "2"); err != nil {
		t.Fatal(err)
	}
	altered := bytes.Clone(b)
	for i := range 4 { // a bit alone may be one that compression leaves unused
		altered[len(b)/2+i] ^= 0xff
	}
	for name, bad := range map[string][]byte{"cut off": b[:len(b)-20], "altered": altered, "no snapshot": []byte("hello")} {
		for _, n := range c.In("dc1") {
			err := officialOf(t, n).Snapshot().Restore(nil, bytes.NewReader(bad))
			if err == nil || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), "not a valid snapshot") {
				t.Errorf("%s through %s: %v", name, n.Name, err)
			}
		}
	}
	p, _, err := officialOf(t, client).KV().Get("a", nil)
	if err != nil || p == nil || string(p.Value) != "2" {
		t.Errorf("%v %v", p, err)
	}
}
