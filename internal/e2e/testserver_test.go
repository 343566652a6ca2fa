//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/sdk/testutil"

	"github.com/legate-project/legate/internal/proctest"
)

// TestTheOfficialTestServer starts the program as the test server of the
// official SDK does: projects that test against Consul do so, and have nothing
// to change but the binary on PATH.
func TestTheOfficialTestServer(t *testing.T) {
	folder := t.TempDir()
	must(t, "link", os.Symlink(os.Getenv(proctest.BinaryVar), filepath.Join(folder, "consul")))
	t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	srv, err := testutil.NewTestServerConfigT(t, func(c *testutil.TestServerConfig) {
		c.EnableScriptChecks, c.EnableDebug = true, true
		c.NodeMeta = map[string]string{"kind": "test"}
	})
	must(t, "start the test server", err)
	t.Cleanup(func() {
		if err := srv.Stop(); err != nil {
			t.Errorf("stop the test server: %v", err)
		}
	})
	srv.WaitForLeader(t)
	srv.WaitForSerfCheck(t)
	srv.WaitForVoting(t)
	srv.WaitForActiveCARoot(t)
	config := api.DefaultConfig()
	config.Address = srv.HTTPAddr
	client, err := api.NewClient(config)
	must(t, "make a client", err)
	s := &sdkServer{srv, client}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *sdkServer)
	}{
		{"helpers", sdkHelpers},
		{"versions", sdkVersions},
		{"key values", sdkKeyValues},
		{"sessions", sdkSessions},
		{"agent", sdkAgent},
		{"catalog and health", sdkCatalog},
		{"prepared queries", sdkQueries},
		{"events, snapshots, status", sdkOthers},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}

type sdkServer struct {
	*testutil.TestServer
	*api.Client
}

// sdkHelpers are the test server's own.
func sdkHelpers(t *testing.T, s *sdkServer) {
	s.SetKV(t, "h/a", []byte("1"))
	s.SetKVString(t, "h/b", "2")
	s.PopulateKV(t, map[string][]byte{"h/c": []byte("3")})
	if a, b := s.GetKV(t, "h/a"), s.GetKVString(t, "h/b"); string(a) != "1" || b != "2" {
		t.Errorf("the keys are %q and %q", a, b)
	}
	if got := s.ListKV(t, "h/"); !slices.Equal(got, []string{"h/a", "h/b", "h/c"}) {
		t.Errorf("the keys are %q", got)
	}
	s.AddService(t, "plain", api.HealthPassing, []string{"v1"})
	s.AddAddressableService(t, "there", api.HealthWarning, "198.51.100.1", 81, nil)
	s.AddCheck(t, "alone", "", api.HealthCritical)
	for name, want := range map[string]string{"plain": api.HealthPassing, "there": api.HealthWarning} {
		checks, _, err := s.Health().Checks(name, nil)
		must(t, "checks", err)
		if len(checks) != 1 || checks[0].Status != want {
			t.Errorf("the checks of %s are %+v, want one that is %s", name, checks, want)
		}
	}
	checks, _, err := s.Health().State(api.HealthCritical, nil)
	must(t, "state", err)
	if len(checks) != 1 || checks[0].CheckID != "alone" {
		t.Errorf("what is critical: %+v", checks)
	}
	must(t, "deregister", s.Agent().CheckDeregister("alone")) // of the node: it stands for all its services
	s.JoinLAN(t, s.LANAddr)
}

// sdkVersions asks for the version wherever tools look for it.
func sdkVersions(t *testing.T, s *sdkServer) {
	consul := func(args ...string) string { return proctest.Run(t, proctest.Machine(), args...).Stdout }
	var build struct {
		Version, Legate string
		BuildDate       time.Time
	}
	must(t, "version -format=json", json.Unmarshal([]byte(consul("version", "-format=json")), &build))
	if len(strings.Split(build.Version, ".")) != 3 || build.Legate == "" || build.Legate == build.Version {
		t.Fatalf("version -format=json is %+v", build)
	}
	self, err := s.Agent().Self()
	must(t, "self", err)
	shown, err := s.Agent().Version()
	must(t, "version", err)
	members, err := s.Agent().Members(false)
	must(t, "members", err)
	number, _, _ := strings.Cut(members[0].Tags["build"], ":")
	nodes, _, err := s.Catalog().Service("consul", "", nil)
	must(t, "service consul", err)
	places := map[string]any{
		"Config.Version": self["Config"]["Version"], "DebugConfig.Version": self["DebugConfig"]["Version"], "Stats.build": self["Stats"]["build"].(map[string]any)["version"],
		"Meta": self["Meta"]["consul-version"], "node meta": nodes[0].NodeMeta["consul-version"], "meta of consul": nodes[0].ServiceMeta["version"],
		"tag build": number, "/v1/agent/version": shown["HumanVersion"],
		"members": strings.Fields(strings.Split(consul("members", "-http-addr="+s.HTTPAddr), "\n")[1])[4],
	}
	for _, flag := range []string{"version", "-version", "--version", "-v"} {
		places[flag] = strings.TrimPrefix(strings.Fields(consul(flag))[1], "v")
	}
	for place, got := range places {
		if got != build.Version {
			t.Errorf("%s has the version %v, version -format=json %s", place, got, build.Version)
		}
	}
	resp, err := http.Get("http://" + s.HTTPAddr + "/metrics")
	must(t, "metrics", err)
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	must(t, "metrics", err)
	contains(t, "metrics", string(metrics), fmt.Sprintf("legate_version{compatible=%q,version=%q} 1", build.Version, build.Legate))
	if got := self["Stats"]["build"].(map[string]any)["legate_version"]; got != build.Legate {
		t.Errorf("the release is %v in the agent's stats, %s in the program's version", got, build.Legate)
	}
}

func sdkKeyValues(t *testing.T, s *sdkServer) {
	kv := s.KV()
	_, err := kv.Put(&api.KVPair{Key: "k/a", Value: []byte("1"), Flags: 7}, nil)
	must(t, "put", err)
	pair, meta, err := kv.Get("k/a", nil)
	must(t, "get", err)
	if pair == nil || pair.Flags != 7 || meta.LastIndex != pair.ModifyIndex {
		t.Fatalf("%+v, %+v", pair, meta)
	}
	pair.Value = []byte("2")
	for _, want := range []bool{true, false} {
		if ok, _, err := kv.CAS(pair, nil); err != nil || ok != want {
			t.Errorf("compare and set: %v, %v", ok, err)
		}
	}
	ok, answer, _, err := s.Txn().Txn(api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVSet, Key: "k/b", Value: []byte("3")}},
		{KV: &api.KVTxnOp{Verb: api.KVGet, Key: "k/a"}},
	}, nil)
	must(t, "transaction", err)
	if !ok || len(answer.Results) != 2 || string(answer.Results[1].KV.Value) != "2" {
		t.Errorf("the transaction gives %v, %+v", ok, answer)
	}
	if ok, answer, _, err := s.Txn().Txn(api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVCheckNotExists, Key: "k/a"}}}, nil); err != nil || ok || len(answer.Errors) != 1 {
		t.Errorf("a transaction that cannot be gives %v, %+v, %v", ok, answer, err)
	}
	keys, _, err := kv.Keys("k/", "/", nil)
	must(t, "keys", err)
	if !slices.Equal(keys, []string{"k/a", "k/b"}) {
		t.Errorf("the keys are %q", keys)
	}
	_, err = kv.DeleteTree("k/", nil)
	must(t, "delete", err)
	if list, _, err := kv.List("k/", nil); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

func sdkSessions(t *testing.T, s *sdkServer) {
	id, _, err := s.Session().Create(&api.SessionEntry{Name: "sdk", TTL: "10s", Behavior: api.SessionBehaviorDelete, LockDelay: time.Millisecond}, nil)
	must(t, "create", err)
	if ok, _, err := s.KV().Acquire(&api.KVPair{Key: "held", Session: id}, nil); err != nil || !ok {
		t.Fatalf("acquire: %v, %v", ok, err)
	}
	entry, _, err := s.Session().Renew(id, nil)
	must(t, "renew", err)
	list, _, err := s.Session().Node(s.Config.NodeName, nil)
	must(t, "sessions of the node", err)
	if entry == nil || entry.Name != "sdk" || len(list) != 1 || list[0].ID != id {
		t.Errorf("renewed %+v, of the node %+v", entry, list)
	}
	_, err = s.Session().Destroy(id, nil)
	must(t, "destroy", err)
	if pair, _, err := s.KV().Get("held", nil); err != nil || pair != nil {
		t.Errorf("the key of a session that ended: %+v, %v", pair, err)
	}
	lock, err := s.LockKey("lock")
	must(t, "lock", err)
	lost, err := lock.Lock(nil)
	must(t, "lock", err)
	select {
	case <-lost:
		t.Error("a lock is lost at once")
	default:
	}
	must(t, "unlock", lock.Unlock())
}

func sdkAgent(t *testing.T, s *sdkServer) {
	agent := s.Agent()
	must(t, "register", agent.ServiceRegister(&api.AgentServiceRegistration{ID: "w1", Name: "web", Port: 80, Tags: []string{"x"},
		Check: &api.AgentServiceCheck{CheckID: "ttl", TTL: "60s"}}))
	must(t, "pass", agent.UpdateTTL("ttl", "fine", api.HealthPassing))
	entries, _, err := s.Health().Service("web", "x", true, nil)
	must(t, "health", err)
	if len(entries) != 1 || entries[0].Service.ID != "w1" || entries[0].Checks.AggregatedStatus() != api.HealthPassing {
		t.Fatalf("the instances are %+v", entries)
	}
	services, err := agent.ServicesWithFilter(`Service == "web"`)
	must(t, "services", err)
	if len(services) != 1 {
		t.Errorf("the agent's services are %v", services)
	}
	must(t, "maintenance", agent.EnableServiceMaintenance("w1", "broken"))
	if status, _, err := agent.AgentHealthServiceByID("w1"); err != nil || status != api.HealthMaint && status != api.HealthCritical {
		t.Errorf("in maintenance the service is %s, %v", status, err)
	}
	must(t, "maintenance", agent.DisableServiceMaintenance("w1"))
	must(t, "script check", agent.CheckRegister(&api.AgentCheckRegistration{ID: "script", Name: "script",
		AgentServiceCheck: api.AgentServiceCheck{Args: []string{"true"}, Interval: "100ms", Timeout: "5s"}}))
	proctest.Until(t, patience, "the script check passes", func() error {
		checks, err := agent.Checks()
		if err != nil || checks["script"] == nil || checks["script"].Status != api.HealthPassing {
			return fmt.Errorf("%+v, %w", checks["script"], err)
		}
		return nil
	})
	must(t, "deregister", agent.CheckDeregister("script"))
	must(t, "deregister", agent.ServiceDeregister("w1"))
	if entries, _, err := s.Health().Service("web", "", false, nil); err != nil || len(entries) != 0 {
		t.Errorf("gone, and yet %+v, %v", entries, err)
	}
	must(t, "reload", agent.Reload())
}

func sdkCatalog(t *testing.T, s *sdkServer) {
	catalog := s.Catalog()
	_, err := catalog.Register(&api.CatalogRegistration{Node: "ext", Address: "198.51.100.2", NodeMeta: map[string]string{"external": "yes"},
		Service: &api.AgentService{ID: "db", Service: "db", Port: 5432},
		Check:   &api.AgentCheck{Node: "ext", CheckID: "db", ServiceID: "db", Name: "db", Status: api.HealthPassing}}, nil)
	must(t, "register", err)
	nodes, _, err := catalog.Nodes(&api.QueryOptions{NodeMeta: map[string]string{"external": "yes"}})
	must(t, "nodes", err)
	if len(nodes) != 1 || nodes[0].Node != "ext" {
		t.Errorf("the nodes are %+v", nodes)
	}
	node, _, err := catalog.Node("ext", nil)
	must(t, "node", err)
	services, _, err := catalog.Services(nil)
	must(t, "services", err)
	if node.Services["db"] == nil || services["db"] == nil || services["consul"] == nil {
		t.Errorf("the node %+v, the services %v", node, services)
	}
	checks, _, err := s.Health().Node("ext", nil)
	must(t, "checks", err)
	if len(checks) != 1 || checks[0].ServiceName != "db" {
		t.Errorf("the checks of the node are %+v", checks)
	}
	_, err = catalog.Deregister(&api.CatalogDeregistration{Node: "ext"}, nil)
	must(t, "deregister", err)
	dcs, err := catalog.Datacenters()
	must(t, "datacenters", err)
	if !slices.Equal(dcs, []string{"dc1"}) {
		t.Errorf("the datacenters are %q", dcs)
	}
}

func sdkQueries(t *testing.T, s *sdkServer) {
	s.AddService(t, "asked", api.HealthPassing, nil)
	id, _, err := s.PreparedQuery().Create(&api.PreparedQueryDefinition{Name: "ask", Service: api.ServiceQuery{Service: "asked", OnlyPassing: true}}, nil)
	must(t, "create", err)
	answer, _, err := s.PreparedQuery().Execute("ask", nil)
	must(t, "execute", err)
	if answer.Service != "asked" || len(answer.Nodes) != 1 {
		t.Errorf("the query finds %+v", answer)
	}
	list, _, err := s.PreparedQuery().List(nil)
	must(t, "list", err)
	if len(list) != 1 || list[0].ID != id {
		t.Errorf("the queries are %+v", list)
	}
	_, err = s.PreparedQuery().Delete(id, nil)
	must(t, "delete", err)
}

func sdkOthers(t *testing.T, s *sdkServer) {
	id, _, err := s.Event().Fire(&api.UserEvent{Name: "deploy", Payload: []byte("1")}, nil)
	must(t, "fire", err)
	proctest.Until(t, patience, "the event is listed", func() error {
		events, _, err := s.Event().List("deploy", nil)
		if err != nil || len(events) != 1 || events[0].ID != id {
			return fmt.Errorf("%+v, %w", events, err)
		}
		return nil
	})
	s.SetKVString(t, "saved", "then")
	saved, _, err := s.Snapshot().Save(nil)
	must(t, "save", err)
	defer saved.Close()
	s.SetKVString(t, "saved", "later")
	must(t, "restore", s.Snapshot().Restore(nil, saved))
	if got := s.GetKVString(t, "saved"); got != "then" {
		t.Errorf("after the restore the key is %q", got)
	}
	leader, err := s.Status().Leader()
	must(t, "leader", err)
	peers, err := s.Status().Peers()
	must(t, "peers", err)
	raft, err := s.Operator().RaftGetConfiguration(nil)
	must(t, "Raft's configuration", err)
	if leader != s.ServerAddr || !slices.Equal(peers, []string{leader}) || len(raft.Servers) != 1 || !raft.Servers[0].Leader || raft.Servers[0].ID != s.Config.NodeID {
		t.Errorf("leader %s, peers %q, servers %+v", leader, peers, raft.Servers[0])
	}
	proctest.Until(t, patience, "there is a coordinate", func() error {
		list, _, err := s.Coordinate().Nodes(nil)
		if err != nil || len(list) != 1 || list[0].Node != s.Config.NodeName {
			return fmt.Errorf("%+v, %w", list, err)
		}
		return nil
	})
	pools, err := s.Coordinate().Datacenters()
	must(t, "coordinates of datacenters", err)
	if len(pools) != 1 || pools[0].Datacenter != "dc1" {
		t.Errorf("the coordinates of datacenters are %+v", pools)
	}
}
