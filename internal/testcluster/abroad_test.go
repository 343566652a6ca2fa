package testcluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/state/session"
)

// apart are two datacenters, and a client of a client agent of dc1 that asks dc2.
func apart(t *testing.T, servers int) (*testcluster.Cluster, *api.Client) {
	t.Helper()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: servers, Clients: 1, RTT: 20 * time.Millisecond, Dir: t.TempDir(),
		Configure: func(c *config.Config) { c.SessionTTLMin = time.Second }})
	client := official(t, c.Node("dc1-client1"))
	eventually(t, "a session can be made across", 30*time.Second, func(context.Context) error {
		id, _, err := client.Session().Create(nil, inDC2w)
		if err == nil {
			_, err = client.Session().Destroy(id, inDC2w)
		}
		return err
	})
	return c, client
}

var (
	inDC2  = &api.QueryOptions{Datacenter: "dc2"}
	inDC2w = &api.WriteOptions{Datacenter: "dc2"}
)

// acquires reports whether the session holds the key of dc2 after it asked for it.
func acquires(t *testing.T, client *api.Client, key, id string) bool {
	t.Helper()
	ok, _, err := client.KV().Acquire(&api.KVPair{Key: key, Session: id}, inDC2w)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// freed waits until a session of a node of dc2 can take the key, asking in dc2 alone, and
// returns how long that took.
func freed(t *testing.T, c *testcluster.Cluster, key string, most time.Duration) time.Duration {
	t.Helper()
	client := official(t, c.Node("dc2-client1"))
	next, _, err := client.Session().Create(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "the key is free", most, func(context.Context) error {
		ok, _, err := client.KV().Acquire(&api.KVPair{Key: key, Session: next}, nil)
		if err == nil && !ok {
			err = errors.New("held, or delayed")
		}
		return err
	})
	return time.Since(began)
}

// alive says whether dc2 has the session.
func alive(t *testing.T, c *testcluster.Cluster, id string) bool {
	t.Helper()
	e, _, err := official(t, c.Node("dc2-client1")).Session().Info(id, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e != nil
}

// A lock in dc2 whose holder's agent in dc1 dies is free when dc1 has noticed, and the
// lock-delay is over; other sessions of nodes of dc1 live on.
func TestALockOfAnotherDatacenterEndsWithTheAgent(t *testing.T) {
	t.Parallel()
	const delay = 3 * time.Second
	c, client := apart(t, 1)
	made := &api.SessionEntry{LockDelay: delay}
	id, _, err := client.Session().Create(made, inDC2w)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := official(t, c.In("dc1")[0]).Session().Create(made, inDC2w)
	if err != nil {
		t.Fatal(err)
	}
	if !acquires(t, client, "k", id) || acquires(t, client, "k", other) {
		t.Fatal("not exactly the first one holds")
	}
	began := time.Now()
	if err := c.StopNode(t.Context(), "dc1-client1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session ends", 30*time.Second, func(context.Context) error {
		if alive(t, c, id) {
			return errors.New("it lives")
		}
		return nil
	})
	ended := time.Since(began)
	freed(t, c, "k", 30*time.Second)
	if free := time.Since(began); free < ended+delay-time.Second {
		t.Errorf("the session ended after %v, the key was free after %v: the delay is %v", ended, free, delay)
	} else {
		t.Logf("the session ended %v after its agent, the key was free after %v", ended, free)
	}
	if !alive(t, c, other) {
		t.Error("the session of another node of dc1 has ended")
	}
}

// The official client's lock, which renews its session: it is lost in a cut, to the
// holder as well, and somebody else gets it after that alone.
func TestTheOfficialLockAcrossDatacentersInACut(t *testing.T) {
	t.Parallel()
	c, _ := apart(t, 1)
	far, err := api.NewClient(&api.Config{Address: c.Node("dc1-client1").HTTPAddr(), Datacenter: "dc2"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := far.LockOpts(&api.LockOptions{Key: "lock", SessionTTL: "2s", LockDelay: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := l.Lock(nil)
	if err != nil || lost == nil {
		t.Fatalf("the lock is not taken: %v", err)
	}
	select { // three TTLs
	case <-lost:
		t.Fatal("it is lost though nothing has failed")
	case <-time.After(6 * time.Second):
	}
	if err := c.Cut("dc1"); err != nil {
		t.Fatal(err)
	}
	took := freed(t, c, "lock", 30*time.Second)
	if took < 2*time.Second {
		t.Errorf("it was free %v after the cut began, the TTL is 2s", took)
	}
	t.Logf("free %v after the cut began", took)
	select {
	case <-lost:
	case <-time.After(30 * time.Second):
		t.Error("the holder is not told")
	}
	if err := c.Heal("dc1"); err != nil {
		t.Fatal(err)
	}
}

// Without a TTL dc1 stands up for its nodes: a short cut changes nothing, a long one ends
// the session.
func TestASessionWithoutATTLInACut(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for two minutes")
	}
	c, client := apart(t, 1)
	id, _, err := client.Session().Create(&api.SessionEntry{LockDelay: time.Second}, inDC2w)
	if err != nil {
		t.Fatal(err)
	}
	if !acquires(t, client, "k", id) {
		t.Fatal("the key cannot be locked")
	}
	list, _, err := client.Session().Node("dc1-client1", inDC2)
	if err != nil || len(list) > 0 {
		t.Errorf("sessions of dc2's node of that name: %v, %v", list, err)
	}
	if err := c.Cut("dc1"); err != nil {
		t.Fatal(err)
	}
	<-time.After(15 * time.Second)
	if err := c.Heal("dc1"); err != nil {
		t.Fatal(err)
	}
	<-time.After(session.Unvouched + 10*time.Second)
	if !alive(t, c, id) {
		t.Fatal("the session has ended")
	}
	if err := c.Cut("dc1"); err != nil {
		t.Fatal(err)
	}
	took := freed(t, c, "k", 90*time.Second)
	if took < 35*time.Second || took > 65*time.Second {
		t.Errorf("free after %v", took)
	}
	t.Logf("free %v after the cut began", took)
}

// Another leader of the session's datacenter goes on where the last one was.
func TestANewLeaderKnowsTheNodesOfOtherDatacenters(t *testing.T) {
	t.Parallel()
	c, client := apart(t, 3)
	var all [2]string
	for i, agent := range []*api.Client{client, official(t, c.In("dc1")[0])} {
		id, _, err := agent.Session().Create(nil, inDC2w)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = id
	}
	if err := c.StopNode(t.Context(), leaderIn(t, c, "dc2")); err != nil {
		t.Fatal(err)
	}
	leaderIn(t, c, "dc2")
	if err := c.StopNode(t.Context(), "dc1-client1"); err != nil {
		t.Fatal(err)
	}
	asked := official(t, c.Node("dc2-client1"))
	eventually(t, "the session ends", 40*time.Second, func(context.Context) error {
		e, _, err := asked.Session().Info(all[0], nil)
		if err == nil && e != nil {
			err = errors.New("it lives")
		}
		return err
	})
	if e, _, err := asked.Session().Info(all[1], nil); err != nil || e == nil {
		t.Errorf("that of another node of dc1: %v, %v", e, err)
	}
}

// The right to make a session on a node is asked in the session's datacenter, by the token
// that is shown; what is known of the node there takes none.
func TestWhoMakesSessionsOfAnotherDatacentersNodesNeedsTheRight(t *testing.T) {
	t.Parallel()
	access := testcluster.NewAccess()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, Clients: 1, Access: access})
	if err := c.MakeTokens(t.Context()); err != nil {
		t.Fatal(err)
	}
	with := func(secret string) *api.Client {
		client, err := api.NewClient(&api.Config{Address: c.Node("dc1-client1").HTTPAddr(), Token: secret})
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	manager := with(access.Management)
	p, _, err := manager.ACL().PolicyCreate(&api.ACLPolicy{Name: "mine", Rules: `session "dc1-client1" { policy = "write" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := manager.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: p.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	create := func(secret, node string) error {
		var out struct{ ID string }
		_, err := with(secret).Raw().Write("/v1/session/create", map[string]string{"Node": node, "NodeDatacenter": "dc1"}, &out, inDC2w)
		return err
	}
	for what, secret := range map[string]string{"the manager": access.Management, "who may": token.SecretID} {
		eventually(t, what+" makes one", 30*time.Second, func(context.Context) error { return create(secret, "dc1-client1") })
	}
	for what, err := range map[string]error{"who may do other things": create(access.App, "dc1-client1"), "nobody": create("", "dc1-client1"),
		"who may on another node": create(token.SecretID, "dc1-server1")} {
		if err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What a snapshot holds of such sessions is theirs again after it was restored: they stand
// on the same nodes.
func TestARestoredSnapshotHasSessionsOfOtherDatacenters(t *testing.T) {
	t.Parallel()
	c, client := apart(t, 1)
	id, _, err := client.Session().Create(nil, inDC2w)
	if err != nil {
		t.Fatal(err)
	}
	if !acquires(t, client, "k", id) {
		t.Fatal("the key cannot be locked")
	}
	there := official(t, c.Node("dc2-client1"))
	saved, _, err := there.Snapshot().Save(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer saved.Close()
	if _, err := client.Session().Destroy(id, inDC2w); err != nil {
		t.Fatal(err)
	}
	if err := there.Snapshot().Restore(nil, saved); err != nil {
		t.Fatal(err)
	}
	if p, _, err := there.KV().Get("k", nil); err != nil || p == nil || p.Session != id || !alive(t, c, id) {
		t.Fatalf("the key is %+v: %v", p, err)
	}
	if err := c.StopNode(t.Context(), "dc1-client1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session ends", 30*time.Second, func(context.Context) error {
		if alive(t, c, id) {
			return errors.New("it lives")
		}
		return nil
	})
}
