package testcluster_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/kv"
	rules "github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/state/txn"
)

// below is what a datacenter has below a prefix, by the keys behind it.
func below(ctx context.Context, c *testcluster.Cluster, dc, token, prefix string) (map[string]string, error) {
	list, _, err := kv.List.Call(ctx, at(c, dc), op.Header{Token: token}, &kv.ListRequest{Prefix: prefix})
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, e := range *list {
		found[strings.TrimPrefix(e.Key, prefix)] = string(e.Value)
	}
	return found, nil
}

// sameKeys compares what two datacenters have.
func sameKeys(ctx context.Context, c *testcluster.Cluster, from, prefix, to, target string) error {
	want, err := below(ctx, c, from, "", prefix)
	if err != nil {
		return err
	}
	got, err := below(ctx, c, to, "", target)
	if err != nil || maps.Equal(want, got) {
		return err
	}
	return fmt.Errorf("%s has %d keys and %s %d, or others", from, len(want), to, len(got))
}

func writeKey(ctx context.Context, c *testcluster.Cluster, dc, verb, key, value string) error {
	_, _, err := kv.Apply.Call(ctx, at(c, dc), op.Header{}, &kv.ApplyRequest{Verb: verb, Entry: kv.Entry{Key: key, Value: []byte(value)}})
	return err
}

// standing is how the one rule of a datacenter stands.
func standing(ctx context.Context, c *testcluster.Cluster, dc string) (*rules.Status, error) {
	list, _, err := rules.List.Call(ctx, at(c, dc), op.Header{}, &op.Empty{})
	if err != nil {
		return nil, err
	}
	if len(list.Rules) != 1 {
		return nil, fmt.Errorf("%s has %d rules", dc, len(list.Rules))
	}
	return &list.Rules[0], nil
}

func follows(ctx context.Context, c *testcluster.Cluster, dc string) error {
	s, err := standing(ctx, c, dc)
	if err == nil && (s.State != rules.StateFollowing || s.LagSeconds > 0) {
		err = fmt.Errorf("it is %s (%s)", s.State, s.Error)
	}
	return err
}

func replicate(t *testing.T, c *testcluster.Cluster, dc, from, prefix, target string) {
	t.Helper()
	replicateIn(t, c, dc, rules.CreateRequest{Datacenter: from, Prefix: prefix, Target: target})
}

func replicateIn(t *testing.T, c *testcluster.Cluster, dc string, req rules.CreateRequest) {
	t.Helper()
	from, prefix := req.Datacenter, req.Prefix
	eventually(t, fmt.Sprintf("%s copies %q of %s", dc, prefix, from), 20*time.Second, func(ctx context.Context) error {
		_, _, err := rules.Create.Call(ctx, at(c, dc), op.Header{}, &req)
		return err
	})
}

// Neither a cut nor new leaders at both ends lose a change or bring back what was deleted,
// and nobody compares because of them.
func TestKeysFollowAcrossCutsAndNewLeaders(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 3, RTT: 20 * time.Millisecond})
	ctx := t.Context()
	if err := c.WaitFederated(ctx); err != nil {
		t.Fatal(err)
	}
	put := func(verb, key, value string) {
		t.Helper()
		eventually(t, verb+" "+key, 20*time.Second, func(ctx context.Context) error { return writeKey(ctx, c, "dc1", verb, key, value) })
	}
	for i := range 100 {
		if err := writeKey(ctx, c, "dc1", kv.Set, fmt.Sprintf("config/%d", i), "first"); err != nil {
			t.Fatal(err)
		}
	}
	replicate(t, c, "dc2", "dc1", "config/", "copy/")
	same := func(what string) {
		t.Helper()
		eventually(t, what, 60*time.Second, func(ctx context.Context) error { return sameKeys(ctx, c, "dc1", "config/", "dc2", "copy/") })
	}
	same("the first copy")
	if err := writeKey(ctx, c, "dc2", kv.Set, "copy/a", "x"); op.CodeOf(err) != op.CodeConflict {
		t.Error("another writes into the mirror:", err)
	}
	_, _, err := txn.Apply.Call(ctx, at(c, "dc2"), op.Header{}, &txn.Request{Ops: []txn.Op{{KV: &txn.KVOp{Verb: kv.Set, Key: "copy/a"}}}})
	if err != nil {
		t.Error(err)
	}
	if got, err := below(ctx, c, "dc2", "", "copy/a"); err != nil || len(got) > 0 {
		t.Error("a transaction writes into the mirror", got, err)
	}
	eventually(t, "it follows", 20*time.Second, func(ctx context.Context) error { return follows(ctx, c, "dc2") })

	if err := c.Cut("dc1"); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		put(kv.Delete, fmt.Sprintf("config/%d", i), "")
		put(kv.Set, fmt.Sprintf("config/%d", 50+i), "second")
	}
	for _, dc := range []string{"dc2", "dc1"} {
		leads := leaderIn(t, c, dc)
		if err := c.StopNode(ctx, leads); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.StartNode(context.WithoutCancel(ctx), leads) }() // for the end of the test
	}
	put(kv.Set, "config/30", "third")
	if err := c.Heal("dc1"); err != nil {
		t.Fatal(err)
	}
	same("what changed in the cut")
	put(kv.Delete, "config/31", "")
	same("a change after it")
	eventually(t, "nothing was compared", 20*time.Second, func(ctx context.Context) error {
		s, err := standing(ctx, c, "dc2")
		if err == nil && s.Comparisons > 0 {
			t.Fatalf("everything was compared: %+v", s)
		}
		if err == nil && s.State != rules.StateFollowing {
			err = fmt.Errorf("it is %s", s.State)
		}
		return err
	})
}

// Both sides write while they are cut off from each other and get new leaders: of each key
// what was written last stays at both.
func TestOfWritesInACutTheLastOneStays(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 3, RTT: 20 * time.Millisecond})
	ctx := t.Context()
	if err := c.WaitFederated(ctx); err != nil {
		t.Fatal(err)
	}
	replicateIn(t, c, "dc1", rules.CreateRequest{Datacenter: "dc2", Prefix: "n/", Target: "n/", Mode: rules.Newest})
	replicateIn(t, c, "dc2", rules.CreateRequest{Datacenter: "dc1", Prefix: "n/", Target: "n/", Mode: rules.Newest})
	write := func(dc, verb, key, value string) {
		t.Helper()
		eventually(t, verb+" "+key+" in "+dc, 20*time.Second, func(ctx context.Context) error { return writeKey(ctx, c, dc, verb, "n/"+key, value) })
	}
	have := func(what string, want map[string]string) {
		t.Helper()
		eventually(t, what, 30*time.Second, func(ctx context.Context) error {
			for _, dc := range []string{"dc1", "dc2"} {
				if got, err := below(ctx, c, dc, "", "n/"); err != nil || !maps.Equal(got, want) {
					return fmt.Errorf("%s has %v, %w", dc, got, err)
				}
			}
			return nil
		})
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		write("dc1", kv.Set, key, "first")
	}
	have("both have all", map[string]string{"a": "first", "b": "first", "c": "first", "d": "first"})
	if err := c.Cut("dc1"); err != nil {
		t.Fatal(err)
	}
	write("dc1", kv.Set, "a", "sooner")
	write("dc2", kv.Set, "a", "later")
	write("dc2", kv.Set, "b", "sooner")
	write("dc1", kv.Delete, "b", "")
	write("dc2", kv.Delete, "c", "")
	write("dc1", kv.Set, "c", "later")
	write("dc2", kv.Delete, "d", "")
	for _, dc := range []string{"dc1", "dc2"} {
		leads := leaderIn(t, c, dc)
		if err := c.StopNode(ctx, leads); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.StartNode(context.WithoutCancel(ctx), leads) }() // for the end of the test
	}
	write("dc1", kv.Set, "e", "of the new leader")
	if err := c.Heal("dc1"); err != nil {
		t.Fatal(err)
	}
	have("what was last stays", map[string]string{"a": "later", "c": "later", "e": "of the new leader"})
}

// What goes round three datacenters ends before it is back.
func TestARingOfThreeDatacentersEnds(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 1, RTT: 20 * time.Millisecond})
	ctx := t.Context()
	if err := c.WaitFederated(ctx); err != nil {
		t.Fatal(err)
	}
	if err := writeKey(ctx, c, "dc1", kv.Set, "a/1", "v"); err != nil {
		t.Fatal(err)
	}
	replicate(t, c, "dc2", "dc1", "a/", "b/")
	replicate(t, c, "dc3", "dc2", "b/", "c/")
	replicate(t, c, "dc1", "dc3", "c/", "d/")
	if err := writeKey(ctx, c, "dc1", kv.Set, "a/2", "v"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the chain has it", 20*time.Second, func(ctx context.Context) error { return sameKeys(ctx, c, "dc1", "a/", "dc3", "c/") })
	eventually(t, "the ring is closed", 20*time.Second, func(ctx context.Context) error {
		s, err := standing(ctx, c, "dc1")
		if err == nil && s.State != rules.StateFollowing {
			err = fmt.Errorf("it is %s (%s)", s.State, s.Error)
		}
		return err
	})
	if got, err := below(ctx, c, "dc1", "", "d/"); err != nil || len(got) > 0 {
		t.Error("dc1 got back what is its own:", got, err)
	}
}

// Who makes a rule may read there and write here.
func TestWhoMayReplicate(t *testing.T) {
	t.Parallel()
	c := controlled(t, testcluster.Spec{Datacenters: 2, Servers: 1, RTT: 5 * time.Millisecond})
	ctx := t.Context()
	token := func(name, text string) string {
		t.Helper()
		p, _, err := acl.SetPolicy.Call(ctx, at(c, "dc1"), op.Header{Token: management}, &acl.SetPolicyRequest{Create: true, Policy: acl.Policy{Name: name, Rules: text}})
		if err != nil {
			t.Fatal(err)
		}
		made, err := newToken(ctx, c, "dc1", acl.Token{Grants: acl.Grants{Policies: []acl.Link{{ID: p.ID}}}})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "dc2 knows the token "+name, 20*time.Second, func(ctx context.Context) error { return hasToken(ctx, c, "dc2", made.SecretID) })
		return made.SecretID
	}
	const writes = `operator = "write" key_prefix "copy/" { policy = "write" } `
	create := func(ctx context.Context, secret string) error {
		_, _, err := rules.Create.Call(ctx, at(c, "dc2"), op.Header{Token: secret}, &rules.CreateRequest{Datacenter: "dc1", Prefix: "config/", Target: "copy/"})
		return err
	}
	for name, text := range map[string]string{
		"no-operator": `operator = "read" key_prefix "" { policy = "write" }`,
		"less-here":   writes + `key_prefix "config/" { policy = "read" } key "copy/a" { policy = "read" }`,
		"less-there":  writes + `key_prefix "config/" { policy = "read" } key "config/secret" { policy = "deny" }`,
		"no-reading":  writes,
	} {
		if err := create(ctx, token(name, text)); op.CodeOf(err) != op.CodeDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	enough := token("enough", writes+`key_prefix "config/" { policy = "read" }`)
	eventually(t, "who may makes the rule", 20*time.Second, func(ctx context.Context) error { return create(ctx, enough) })
	_, _, err := kv.Apply.Call(ctx, at(c, "dc1"), op.Header{Token: management}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "config/a", Value: []byte("v")}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key is copied", 20*time.Second, func(ctx context.Context) error {
		got, err := below(ctx, c, "dc2", management, "copy/")
		if err == nil && got["a"] != "v" {
			err = fmt.Errorf("there is %v", got)
		}
		return err
	})
	if _, _, err := rules.List.Call(ctx, at(c, "dc2"), op.Header{}, &op.Empty{}); op.CodeOf(err) != op.CodeDenied {
		t.Error("anybody lists the rules:", err)
	}
}

// fillKeys writes n keys of 512 bytes in transactions.
func fillKeys(t *testing.T, c *testcluster.Cluster, dc, prefix string, from, n int, value byte) {
	t.Helper()
	text := []byte(strings.Repeat(string(value), 512))
	for i := from; i < from+n; i += txn.MaxOps {
		var req txn.Request
		for j := i; j < min(i+txn.MaxOps, from+n); j++ {
			req.Ops = append(req.Ops, txn.Op{KV: &txn.KVOp{Verb: kv.Set, Key: fmt.Sprintf("%s%06d", prefix, j), Value: text}})
		}
		if _, _, err := txn.Apply.Call(t.Context(), at(c, dc), op.Header{}, &req); err != nil {
			t.Fatal(err)
		}
	}
}

// How long it takes over an emulated 80 ms: with LEGATE_REPLICATION=long 100,000 keys and a
// cut of a minute, held against the bars of docs/kv-replication.md.
func TestHowLongReplicationTakes(t *testing.T) {
	t.Parallel()
	const rtt = 80 * time.Millisecond
	keys, changed, cut, long := 5_000, 500, time.Second, os.Getenv("LEGATE_REPLICATION") == "long"
	if long {
		keys, changed, cut = 100_000, 10_000, time.Minute
	}
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, RTT: rtt})
	ctx := t.Context()
	if err := c.WaitFederated(ctx); err != nil {
		t.Fatal(err)
	}
	fillKeys(t, c, "dc1", "config/", 0, keys, 'a')
	replicate(t, c, "dc2", "dc1", "config/", "config/")
	began := time.Now()
	eventually(t, "the first copy", 2*time.Minute, func(ctx context.Context) error { return follows(ctx, c, "dc2") })
	first := time.Since(began)
	if err := sameKeys(ctx, c, "dc1", "config/", "dc2", "config/"); err != nil {
		t.Error(err)
	}

	var took []time.Duration
	for i := range 20 {
		value := fmt.Sprint("change ", i)
		if err := writeKey(ctx, c, "dc1", kv.Set, "config/one", value); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		waited, meta := "", op.Meta{}
		for waited != value {
			e, m, err := kv.Get.Call(ctx, at(c, "dc2"), op.Header{MinIndex: max(meta.Index, 1)}, &kv.GetRequest{Key: "config/one"})
			if err != nil {
				t.Fatal(err)
			}
			if meta = m; e != nil {
				waited = string(e.Value)
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)

	if err := c.Cut("dc1"); err != nil {
		t.Fatal(err)
	}
	over := time.After(cut)
	fillKeys(t, c, "dc1", "config/", 0, changed/2, 'b')
	for i := range changed / 2 {
		if err := writeKey(ctx, c, "dc1", kv.Delete, fmt.Sprintf("config/%06d", keys-1-i), ""); err != nil {
			t.Fatal(err)
		}
	}
	<-over
	began = time.Now()
	if err := c.Heal("dc1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what changed in the cut", time.Minute, func(ctx context.Context) error {
		e, _, err := kv.Get.Call(ctx, at(c, "dc2"), op.Header{}, &kv.GetRequest{Key: fmt.Sprintf("config/%06d", keys-changed/2)})
		if err == nil && e != nil {
			err = fmt.Errorf("a deletion is not here")
		}
		if err == nil {
			err = follows(ctx, c, "dc2")
		}
		return err
	})
	caught := time.Since(began)
	if err := sameKeys(ctx, c, "dc1", "config/", "dc2", "config/"); err != nil {
		t.Error(err)
	}
	s, err := standing(ctx, c, "dc2")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d keys of 512 bytes over %s: first copy %s; a change %s (median), %s (longest of %d); %d changes in a cut of %s: %s; %d comparisons",
		keys, rtt, first.Round(time.Millisecond), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), len(took), changed, cut, caught.Round(time.Millisecond), s.Comparisons)
	if s.Comparisons > 0 {
		t.Error("everything was compared")
	}
	if long && (first > 20*time.Second || took[len(took)/2] > rtt/2+100*time.Millisecond || caught > 5*time.Second) {
		t.Error("it takes longer than is promised")
	}
}

// The rule that would close a ring of mirrors is refused, whatever is in the way, and no key goes.
func TestARingOfMirrorsIsNotClosed(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 3, RTT: 20 * time.Millisecond})
	ctx := t.Context()
	if err := c.WaitFederated(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := writeKey(ctx, c, "dc1", kv.Set, fmt.Sprintf("a/%d", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	replicate(t, c, "dc2", "dc1", "a/", "a/")
	replicate(t, c, "dc3", "dc2", "a/", "a/")
	eventually(t, "the chain has them", 20*time.Second, func(ctx context.Context) error { return sameKeys(ctx, c, "dc1", "a/", "dc3", "a/") })
	closes := func(ctx context.Context) error {
		_, _, err := rules.Create.Call(ctx, at(c, "dc1"), op.Header{}, &rules.CreateRequest{Datacenter: "dc3", Prefix: "a/", Target: "a/", Force: true})
		if err == nil {
			t.Fatal("a ring is closed")
		}
		if op.CodeOf(err) != op.CodeConflict || !strings.Contains(err.Error(), `"a/" in dc1 would be copied from "a/" in dc3, from "a/" in dc2, from "a/" in dc1, which is a ring`) {
			return err
		}
		return nil
	}
	eventually(t, "the ring is named", 10*time.Second, closes)
	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is not known where the keys are from", 20*time.Second, func(ctx context.Context) error {
		if err := closes(ctx); err == nil || !strings.Contains(err.Error(), `datacenter dc2 was asked where it has "a/" from`) {
			return fmt.Errorf("it is: %w", err)
		}
		return nil
	})
	for _, dc := range []string{"dc1", "dc3"} {
		if got, err := below(ctx, c, dc, "", "a/"); err != nil || len(got) != 20 {
			t.Errorf("%s has %d keys: %v", dc, len(got), err)
		}
	}
}

// A tree of many keys that is deleted at once, by a range tombstone, goes from a mirror as well: at
// once, or after a cut, and nothing that stays is copied again.
func TestAMirrorLosesATreeThatIsCut(t *testing.T) {
	t.Parallel()
	const tree, rest = 5_000, 2_000
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, RTT: 20 * time.Millisecond})
	ctx := t.Context()
	if err := c.WaitFederated(ctx); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"config/first/", "config/second/"} {
		fillKeys(t, c, "dc1", prefix, 0, tree, 'a')
	}
	fillKeys(t, c, "dc1", "config/rest/", 0, rest, 'a')
	replicate(t, c, "dc2", "dc1", "config/", "config/")
	eventually(t, "the first copy", time.Minute, func(ctx context.Context) error { return follows(ctx, c, "dc2") })
	last, err := standing(ctx, c, "dc2")
	if err != nil || last.Written != 2*tree+rest {
		t.Fatalf("%+v, %v", last, err)
	}
	gone := func(prefix string, left int, remove func()) {
		t.Helper()
		began := time.Now()
		remove()
		eventually(t, prefix+" is gone", 30*time.Second, func(ctx context.Context) error {
			got, err := below(ctx, c, "dc2", "", "config/")
			if err == nil && len(got) != left {
				err = fmt.Errorf("%d keys are there, want %d", len(got), left)
			}
			return err
		})
		took := time.Since(began)
		eventually(t, "it follows", 20*time.Second, func(ctx context.Context) error { return follows(ctx, c, "dc2") })
		if err := sameKeys(ctx, c, "dc1", "config/", "dc2", "config/"); err != nil {
			t.Error(err)
		}
		s, err := standing(ctx, c, "dc2")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d keys gone after %s; %d bytes came, %d comparisons", s.Deleted-last.Deleted, took.Round(time.Millisecond), s.Bytes-last.Bytes, s.Comparisons-last.Comparisons)
		if s.Deleted-last.Deleted != tree || s.Written != last.Written || s.Bytes-last.Bytes > 100*512 {
			t.Errorf("%d deleted, %d written, %d bytes came", s.Deleted-last.Deleted, s.Written-last.Written, s.Bytes-last.Bytes)
		}
		last = s
	}
	cut := func(prefix string) {
		t.Helper()
		if err := writeKey(ctx, c, "dc1", kv.DeleteTree, prefix, ""); err != nil {
			t.Fatal(err)
		}
	}
	gone("config/first/", tree+rest, func() { cut("config/first/") })
	if err := c.Cut("dc1"); err != nil {
		t.Fatal(err)
	}
	cut("config/second/")
	gone("config/second/", rest, func() {
		if err := c.Heal("dc1"); err != nil {
			t.Fatal(err)
		}
	})
}
