package testcluster_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/testcluster"
)

// official returns the official client of an agent. Its connections end with
// the test.
func official(t *testing.T, n *testcluster.Node) *api.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	c, err := api.NewClient(&api.Config{Address: n.HTTPAddr(), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return c
}

// holding starts a datacenter of some servers and a client agent, in which
// sessions of the client's node can be made. One server cannot lose leadership
// where the machine is busy: the official client repeats no write.
func holding(t *testing.T, servers int) (*testcluster.Cluster, *api.Client) {
	t.Helper()
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: servers, Clients: 1, Dir: t.TempDir(),
		Configure: func(c *config.Config) { c.SessionTTLMin = time.Second }})
	client := official(t, c.Node("dc1-client1"))
	eventually(t, "the client's node is registered and alive", 20*time.Second, func(context.Context) error {
		id, _, err := client.Session().Create(nil, nil)
		if err == nil {
			_, err = client.Session().Destroy(id, nil)
		}
		return err
	})
	return c, client
}

// nameOfLeader names the server that leads.
func nameOfLeader(t *testing.T, c *testcluster.Cluster) string {
	t.Helper()
	addr, err := c.WaitLeader(t.Context(), "dc1")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.In("dc1") {
		if strings.HasPrefix(addr, n.IP+":") {
			return n.Name
		}
	}
	t.Fatalf("no server has the leader's address %s", addr)
	return ""
}

func TestOfficialLockAndSemaphore(t *testing.T) {
	t.Parallel()
	_, client := holding(t, 1)
	const contenders = 6
	for name, c := range map[string]struct {
		limit int64
		hold  func(stop <-chan struct{}) (release func() error, err error)
	}{
		"lock": {1, func(stop <-chan struct{}) (func() error, error) {
			l, err := client.LockOpts(&api.LockOptions{Key: "lock", Value: []byte("x"), MonitorRetries: 5})
			if err != nil {
				return nil, err
			}
			lost, err := l.Lock(stop)
			if err == nil && lost == nil {
				err = errors.New("given up")
			}
			return l.Unlock, err
		}},
		"semaphore": {2, func(stop <-chan struct{}) (func() error, error) {
			s, err := client.SemaphoreOpts(&api.SemaphoreOptions{Prefix: "semaphore", Limit: 2, MonitorRetries: 5})
			if err != nil {
				return nil, err
			}
			lost, err := s.Acquire(stop)
			if err == nil && lost == nil {
				err = errors.New("given up")
			}
			return s.Release, err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var holders, most atomic.Int64
			var wg sync.WaitGroup
			for range contenders {
				wg.Go(func() {
					release, err := c.hold(ctx.Done())
					if err != nil {
						t.Error(err)
						return
					}
					now := holders.Add(1)
					for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
					}
					if _, _, err := client.KV().Get("between", nil); err != nil { // a while
						t.Error(err)
					}
					holders.Add(-1)
					if err := release(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if most.Load() > c.limit {
				t.Errorf("%d held it at once, at most %d may", most.Load(), c.limit)
			}
		})
	}
}

// A session that nobody renews ends though the leader that counted is gone, and
// takes what it holds with it; one that is renewed lives on.
func TestTTLsSurviveTheLeader(t *testing.T) {
	t.Parallel()
	c, client := holding(t, 3)
	lost, _, err := client.Session().Create(&api.SessionEntry{TTL: "2s", Behavior: api.SessionBehaviorDelete}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kept, _, err := client.Session().Create(&api.SessionEntry{TTL: "2s"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for key, id := range map[string]string{"lost": lost, "kept": kept} {
		if ok, _, err := client.KV().Acquire(&api.KVPair{Key: key, Session: id}, nil); err != nil || !ok {
			t.Fatalf("acquire %s: %v %v", key, ok, err)
		}
	}
	if err := c.StopNode(t.Context(), nameOfLeader(t, c)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session that nobody renews is gone with its key", 30*time.Second, func(context.Context) error {
		// Without a leader this fails for a while; the new one gives the whole TTL again.
		_, _, _ = client.Session().Renew(kept, nil)
		pair, _, err := client.KV().Get("lost", nil)
		if err == nil && pair != nil {
			err = errors.New("still held")
		}
		return err
	})
	pair, _, err := client.KV().Get("kept", nil)
	if err != nil || pair == nil || pair.Session != kept {
		t.Errorf("the session that is renewed: %+v, %v", pair, err)
	}
	if e, _, err := client.Session().Renew(lost, nil); err != nil || e != nil {
		t.Errorf("renewal of what is gone: %+v, %v", e, err)
	}
}

// However acquiring is hammered, and whoever leads: nobody gets a key before the
// delay is over.
func TestLockDelayHoldsThroughTheLossOfTheLeader(t *testing.T) {
	t.Parallel()
	const delay = 4 * time.Second
	c, client := holding(t, 3)
	holder, _, err := client.Session().Create(&api.SessionEntry{LockDelay: delay}, nil)
	if err != nil {
		t.Fatal(err)
	}
	next, _, err := client.Session().Create(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, _, err := client.KV().Acquire(&api.KVPair{Key: "k", Session: holder}, nil); err != nil || !ok {
		t.Fatalf("acquire: %v %v", ok, err)
	}
	ended := time.Now() // before: the delay begins when the servers carry it out
	if _, err := client.Session().Destroy(holder, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.StopNode(t.Context(), nameOfLeader(t, c)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key is free", 40*time.Second, func(context.Context) error {
		ok, _, err := client.KV().Acquire(&api.KVPair{Key: "k", Session: next}, nil)
		if err == nil && !ok {
			err = errors.New("refused")
		}
		return err
	})
	if passed := time.Since(ended); passed < delay {
		t.Errorf("the key was acquired %v after its session had ended, the delay is %v", passed, delay)
	}
}

// A session may be made in another datacenter if it names a node of that.
func TestSessionInAnotherDatacenter(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, RTT: 10 * time.Millisecond})
	client := official(t, c.Node("dc1-server1"))
	there := &api.WriteOptions{Datacenter: "dc2"}
	_, _, err := client.Session().Create(nil, there)
	if err != nil { // it stands on the agent that is asked: see TestALockOfAnotherDatacenterEndsWithTheAgent
		t.Errorf("with this node: %v", err)
	}
	var id string
	eventually(t, "a session of a node of dc2", 15*time.Second, func(context.Context) (err error) {
		id, _, err = client.Session().Create(&api.SessionEntry{Node: "dc2-server1"}, there)
		return err
	})
	if ok, _, err := client.KV().Acquire(&api.KVPair{Key: "k", Session: id}, there); err != nil || !ok {
		t.Errorf("acquire in dc2: %v %v", ok, err)
	}
	if _, err := client.Session().Destroy(id, there); err != nil {
		t.Error(err)
	}
}

func TestOfficialTransaction(t *testing.T) {
	t.Parallel()
	_, client := holding(t, 1)
	ops := api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVSet, Key: "a", Value: []byte("1")}},
		{KV: &api.KVTxnOp{Verb: api.KVGet, Key: "a"}},
		{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{Node: "outside", Address: "10.9.9.9"}}},
		{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: "outside", Service: api.AgentService{ID: "w", Service: "web", Port: 80}}},
		{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: api.HealthCheck{Node: "outside", CheckID: "c", Name: "c", Status: api.HealthPassing, ServiceID: "w",
			Definition: api.HealthCheckDefinition{HTTP: "http://x", IntervalDuration: 10 * time.Second}}}},
	}
	ok, res, _, err := client.Txn().Txn(ops, nil)
	if err != nil || !ok || len(res.Results) != len(ops) {
		t.Fatalf("%v %+v %v", ok, res, err)
	}
	if r := res.Results; r[0].KV.Value != nil || string(r[1].KV.Value) != "1" || r[2].Node.Address != "10.9.9.9" || r[3].Service.Port != 80 || r[4].Check.ServiceName != "web" {
		t.Errorf("results %+v", r)
	}
	entries, _, err := client.Health().Service("web", "", true, nil)
	if err != nil || len(entries) != 1 || entries[0].Checks[0].Definition.IntervalDuration != 10*time.Second {
		t.Errorf("the service: %+v %v", entries, err)
	}
	ok, res, _, err = client.Txn().Txn(api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVDelete, Key: "a"}}, {KV: &api.KVTxnOp{Verb: api.KVGet, Key: "none"}}}, nil)
	if err != nil || ok || len(res.Errors) != 1 || res.Errors[0].OpIndex != 1 {
		t.Errorf("a transaction that fails: %v %+v %v", ok, res, err)
	}
	ok, res, meta, err := client.Txn().Txn(api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVGetTree, Key: ""}}}, &api.QueryOptions{AllowStale: true})
	if err != nil || !ok || len(res.Results) != 1 || meta.LastIndex == 0 {
		t.Errorf("a transaction that reads: %v %+v %+v %v", ok, res, meta, err)
	}
}
