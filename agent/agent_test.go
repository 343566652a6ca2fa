package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/version"
)

// safeBuffer is a log that tests look at while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// one is a datacenter of one server on a loopback address of its own.
type one struct {
	*Agent
	url    string
	client *api.Client
	log    *safeBuffer
	load   func() (*config.Config, error)
}

// loopback is an address of this run of the tests alone: agents listen on
// their usual ports.
func loopback(n int) string { return fmt.Sprintf("127.91.%d.%d", 1+os.Getpid()%254, n) }

// load reads a configuration as an agent's command does.
func load(t *testing.T, ip, dir, hcl string) (*config.Config, error) {
	t.Helper()
	set := flag.NewFlagSet("agent", flag.ContinueOnError)
	flags := config.RegisterFlags(set)
	if err := set.Parse([]string{"-bind=" + ip, "-client=" + ip, "-data-dir=" + dir,
		"-hcl=node_name = \"n1\" performance { raft_multiplier = 1 } ports { serf_wan = -1 }", "-hcl=" + hcl}); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(config.Sources{Flags: flags})
	return cfg, err
}

// run starts a server and waits until it can answer.
func run(t *testing.T, ip, dir, hcl string) *one {
	t.Helper()
	o := begin(t, ip, dir, "server = true bootstrap_expect = 1 "+hcl)
	eventually(t, "the node is in the catalog", func() bool {
		nodes, _, err := o.client.Catalog().Nodes(nil)
		return err == nil && len(nodes) == 1
	})
	return o
}

// begin starts an agent.
func begin(t *testing.T, ip, dir, hcl string) *one {
	t.Helper()
	cfg, err := load(t, ip, dir, hcl)
	if err != nil {
		t.Fatal(err)
	}
	o := &one{log: &safeBuffer{}, url: "http://" + ip + ":8500"}
	level := new(slog.LevelVar)
	o.Agent, err = New(Options{Config: cfg, Log: logging.New(o.log, level, false), Level: level, Version: "test",
		Load: func() (*config.Config, error) { return o.load() }, Timing: Timing{FastGossip: true, RaftHeartbeat: 100 * time.Millisecond, SyncPeriod: 300 * time.Millisecond, MetricsInterval: 20 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.stop(t) })
	if err := o.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o.client, err = api.NewClient(&api.Config{Address: ip + ":8500"}); err != nil {
		t.Fatal(err)
	}
	return o
}

// made makes an agent that never starts, and returns its ID.
func made(t *testing.T, cfg *config.Config) string {
	t.Helper()
	a, err := New(Options{Config: cfg, Log: logging.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a.NodeID()
}

// started starts an agent, stops it, and returns why it did not start.
func started(t *testing.T, ip, dir, hcl string) error {
	t.Helper()
	cfg, err := load(t, ip, dir, hcl)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Config: cfg, Log: logging.Discard(), Timing: Timing{FastGossip: true, RaftHeartbeat: 100 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	err = a.Start(t.Context())
	if stopped := a.Stop(context.Background()); err == nil && stopped != nil {
		t.Error(stopped)
	}
	return err
}

func (o *one) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := o.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// eventually waits for a condition of the real world.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: did not happen", what)
		case <-tick.C:
		}
	}
}

// get opens a stream that ends with the test.
func get(t *testing.T, url string) *bufio.Scanner {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", url, res.Status)
	}
	s := bufio.NewScanner(res.Body)
	s.Buffer(nil, 4<<20)
	return s
}

func put(t *testing.T, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestAgentTellsOfItself(t *testing.T) {
	o := run(t, loopback(1), t.TempDir(), `node_meta { rack = "r1" } encrypt = "MTIzNDU2Nzg5MDEyMzQ1Ng=="`)
	self, err := o.client.Agent().Self()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ section, key, want string }{
		{"Config", "Datacenter", "dc1"}, {"Config", "NodeName", "n1"}, {"Config", "Server", "true"}, {"Config", "NodeID", o.NodeID()},
		{"Member", "Name", "n1"}, {"Member", "Status", "1"}, {"Meta", "rack", "r1"}, {"DebugConfig", "EnableDebug", "false"},
		{"DebugConfig", "encrypt", "hidden"}, {"DebugConfig", "DNSPort", "8600"},
		{"DebugConfig", "SerfAdvertiseAddrLAN", "tcp://" + loopback(1) + ":8301"}, {"DebugConfig", "SerfPortWAN", "-1"}, {"DebugConfig", "SerfAdvertiseAddrWAN", ""},
		{"DebugConfig", "RPCAdvertiseAddr", "tcp://" + loopback(1) + ":8300"}, {"DebugConfig", "AdvertiseAddrWAN", loopback(1)},
		{"DebugConfig", "HTTPAddrs", "[tcp://" + loopback(1) + ":8500]"}, {"DebugConfig", "ClientAddrs", "[" + loopback(1) + "]"},
		{"DebugConfig", "DNSAddrs", "[tcp://" + loopback(1) + ":8600 udp://" + loopback(1) + ":8600]"},
		{"DebugConfig", "PrimaryDatacenter", "dc1"}, {"DebugConfig", "NodeID", o.NodeID()}, {"DebugConfig", "ReconnectTimeoutLAN", "72h0m0s"},
		{"DebugConfig", "EncryptKey", "hidden"}, {"DebugConfig", "Version", version.Consul}, {"DebugConfig", "HTTPSPort", "-1"},
	} {
		if got := fmt.Sprint(self[c.section][c.key]); got != c.want {
			t.Errorf("%s.%s is %q, want %q", c.section, c.key, got, c.want)
		}
	}
	for _, section := range []string{"agent", "build", "consul", "raft", "runtime", "serf_lan"} {
		if self["Stats"][section] == nil {
			t.Errorf("Stats has no section %s: %v", section, self["Stats"])
		}
	}
	host, err := o.client.Agent().Host()
	if err != nil {
		t.Fatal(err)
	}
	name, _ := os.Hostname()
	if got := host["Host"].(map[string]any); got["hostname"] != name || got["kernelVersion"] == "" || got["procs"].(float64) < 1 {
		t.Errorf("host: %v", got)
	}
	memory, disk := host["Memory"].(map[string]any), host["Disk"].(map[string]any)
	if memory["total"].(float64) < memory["available"].(float64) || memory["total"].(float64) == 0 || disk["total"].(float64) == 0 || len(host["CPU"].([]any)) == 0 {
		t.Errorf("host: %v", host)
	}
	if v, err := o.client.Agent().Version(); err != nil || v["HumanVersion"] != version.Consul {
		t.Errorf("version: %v, %v", v, err)
	}
	lines := get(t, o.url+"/v1/agent/metrics/stream")
	for range 2 {
		if !lines.Scan() || !json.Valid(lines.Bytes()) {
			t.Fatalf("metrics stream: %v %.100s", lines.Err(), lines.Text())
		}
	}
}

// TestMetricsHaveConsulsNames asks for what monitoring of Consul reads.
func TestMetricsHaveConsulsNames(t *testing.T) {
	o := run(t, loopback(3), t.TempDir(), "")
	if _, err := o.client.KV().Put(&api.KVPair{Key: "a"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := o.client.Catalog().Register(&api.CatalogRegistration{Node: "n1", Address: loopback(3), Check: &api.AgentCheck{Node: "n1", CheckID: "c", Name: "c"}}, nil); err != nil {
		t.Fatal(err)
	}
	d, err := o.client.Agent().Metrics()
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	values := map[string]float64{}
	for _, g := range d.Gauges {
		values[g.Name] = float64(g.Value)
	}
	for _, s := range append(d.Counters, d.Samples...) {
		values[s.Name] += float64(s.Count)
	}
	for name, least := range map[string]float64{
		"version": 1, "runtime.alloc_bytes": 1, "runtime.sys_bytes": 1, "runtime.num_goroutines": 1, "runtime.heap_objects": 1,
		"runtime.malloc_count": 1, "runtime.free_count": 1, "runtime.total_gc_pause_ns": 0, "runtime.total_gc_runs": 0,
		"server.isLeader": 1, "autopilot.healthy": 1, "autopilot.failure_tolerance": 0, "raft.peers": 1, "raft.applied_index": 1, "raft.last_index": 1,
		"members.servers": 1, "members.clients": 0, "session_ttl.active": 0, "rpc.queries_blocking": 0, "memberlist.health.score": 0,
		"state.nodes": 1, "state.services": 1, "state.service_instances": 1, "state.kv_entries": 0, "state.checks": 1, "state.sessions": 0,
	} {
		if v, ok := values["consul."+host+"."+name]; !ok || v < least {
			t.Errorf("gauge %s is %v (there: %v), want at least %v", name, v, ok, least)
		}
	}
	for name, least := range map[string]float64{
		"raft.apply": 1, "raft.commitTime": 1, "raft.fsm.apply": 1, "raft.leader.dispatchLog": 1,
		"raft.state.leader": 1, "raft.state.candidate": 1, "raft.state.follower": 0, "raft.verify_leader": 0, "leader.reconcile": 1,
		"serf.member.join": 1, "memberlist.msg.alive": 1, "serf.queue.Intent": 1, "rpc.request": 1, "rpc.request_error": 0, "rpc.server.call": 1,
		"api.http": 1, "kvs.apply": 1, "catalog.register": 1, "session_ttl.expired": 0, "dns.stale_queries": 0,
		"catalog.service.query": 0, "health.service.query": 0,
	} {
		if v, ok := values["consul."+name]; !ok || v < least {
			t.Errorf("%s counted %v (there: %v), want at least %v", name, v, ok, least)
		}
	}
}

func TestDebugConfigShowsNoSecret(t *testing.T) {
	const key = "MTIzNDU2Nzg5MDEyMzQ1Ng=="
	cfg, err := load(t, loopback(1), t.TempDir(), `server = true ports { serf_wan = 8302 } encrypt = "`+key+`" acl { tokens { agent = "SECRET-1" default = "SECRET-2" } }
		retry_join = ["provider=aws tag_key=x secret_access_key=SECRET-3"] retry_join_wan = ["provider=azure secret_access_key=SECRET-4"]`)
	if err != nil {
		t.Fatal(err)
	}
	a := &Agent{}
	a.live.Store(cfg)
	b, err := json.Marshal(a.debugConfig())
	if err != nil {
		t.Fatal(err)
	}
	if text := string(b); strings.Contains(text, "SECRET") || strings.Contains(text, key) || !strings.Contains(text, `"RetryJoinLAN":["provider=aws `) {
		t.Errorf("%s", text)
	}
}

func TestMonitorHearsWhatTheLogDoesNotShow(t *testing.T) {
	o := run(t, loopback(2), t.TempDir(), "")
	for _, path := range []string{"?loglevel=debug", "?loglevel=debug&logjson"} {
		lines := get(t, o.url+"/v1/agent/monitor"+path)
		o.Agent.log.With("component", "test").Debug("for the monitor alone")
		for lines.Scan() && !strings.Contains(lines.Text(), "for the monitor alone") {
		}
		if strings.Contains(path, "json") {
			var v map[string]any
			if err := json.Unmarshal(lines.Bytes(), &v); err != nil || v["@level"] != "debug" || v["@module"] != "test" {
				t.Errorf("%v: %s", err, lines.Text())
			}
		} else if !strings.Contains(lines.Text(), " [DEBUG] test: ") {
			t.Errorf("line: %q", lines.Text())
		}
	}
	if strings.Contains(o.log.String(), "for the monitor alone") {
		t.Error("the monitor changed the agent's own log")
	}
	res, err := http.Get(o.url + "/v1/agent/monitor?loglevel=loud")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 400 || string(b) != "Unknown log level: loud" {
		t.Errorf("%d %s", res.StatusCode, b)
	}
	stopped := get(t, o.url+"/v1/agent/monitor")
	begin := time.Now()
	o.stop(t)
	for stopped.Scan() {
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("a monitor kept the agent from stopping for %v", took)
	}
}

func TestTokensAreKeptAndNeverLogged(t *testing.T) {
	dir := t.TempDir()
	const hcl = `acl { enable_token_persistence = true tokens { agent = "from-file" default = "default-file" } }`
	o := run(t, loopback(3), dir, hcl)
	if code, text := put(t, o.url+"/v1/agent/token/none", `{"Token":"x"}`); code != 404 || text != `Token "none" is unknown` {
		t.Errorf("%d %s", code, text)
	}
	for _, target := range []string{"agent_master", "acl_replication_token", "dns", "config_file_service_registration"} {
		if code, text := put(t, o.url+"/v1/agent/token/"+target, `{"Token":"s3cret-`+target+`"}`); code != 200 {
			t.Fatalf("%s: %d %s", target, code, text)
		}
	}
	o.stop(t)
	if strings.Contains(o.log.String(), "s3cret") || strings.Contains(o.log.String(), "from-file") {
		t.Error("the log shows a token")
	}
	info, err := os.Stat(filepath.Join(dir, tokenFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("file of tokens: %v, %v", info, err)
	}
	o = run(t, loopback(3), dir, hcl)
	for want, got := range map[string]string{"from-file": o.tokens.forAgent(), "s3cret-config_file_service_registration": o.tokens.forRegistration(true),
		"s3cret-dns": o.tokens.forDNS(), "default-file": o.tokens.forRequests(), "s3cret-agent_master": o.tokens.get("agent_recovery"),
		"s3cret-acl_replication_token": o.tokens.get("replication")} {
		if got != want {
			t.Errorf("token is %q, want %q", got, want)
		}
	}
	if err := o.tokens.put("dns", ""); err != nil || o.tokens.forDNS() != "default-file" {
		t.Errorf("DNS token after its removal: %q, %v", o.tokens.forDNS(), err)
	}
}

func TestAFileOfTokensThatHoldsNoneIsDamaged(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, tokenFile), []byte("null"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{}
	cfg.ACL.EnableTokenPersistence = true
	if _, err := openTokens(cfg, &dataDir{path: dir}); err == nil {
		t.Error("it was read")
	}
}

func TestTokensAreNotKeptUnlessAskedFor(t *testing.T) {
	dir := t.TempDir()
	k, err := openTokens(&config.Config{}, &dataDir{path: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.put("default", "x"); err != nil || k.forRequests() != "x" {
		t.Fatalf("%q, %v", k.forRequests(), err)
	}
	if _, err := os.Stat(filepath.Join(dir, tokenFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a token was kept: %v", err)
	}
}

func TestReload(t *testing.T) {
	const before = `node_meta { rack = "r1" } dns_config { node_ttl = "1s" }
		service { name = "web" port = 80 check { id = "alive" ttl = "1m" status = "warning" } }
		service { name = "old" }`
	ip, dir := loopback(4), t.TempDir()
	o := run(t, ip, dir, before)
	if err := o.client.Agent().UpdateTTL("alive", "fine", "pass"); err != nil {
		t.Fatal(err)
	}
	state := func() (services, meta, status string) {
		all, _, err := o.client.Catalog().NodeServiceList("n1", nil)
		if err != nil || all.Node == nil {
			return "", "", ""
		}
		for _, s := range all.Services {
			services += fmt.Sprintf("%s:%d ", s.Service, s.Port)
		}
		if cs, _, err := o.client.Health().Checks("web", nil); err == nil && len(cs) == 1 {
			status = cs[0].Status + " " + cs[0].Output
		}
		return services, all.Node.Meta["rack"], status
	}
	if m, err := o.client.Agent().Metrics(); err != nil || !slices.ContainsFunc(m.Gauges, func(g api.GaugeValue) bool { return strings.Contains(g.Name, "runtime") }) {
		t.Fatalf("no metrics of the process: %v", err)
	}
	eventually(t, "the first configuration is in the catalog", func() bool {
		s, m, st := state()
		return s == "consul:8300 old:0 web:80 " && m == "r1" && st == "passing fine"
	})
	o.load = func() (*config.Config, error) {
		return load(t, ip, dir, `server = true bootstrap_expect = 1 node_meta { rack = "r2" } service { name = "web" port = 81 } service { name = "bad" address = "0.0.0.0" }`)
	}
	if code, text := put(t, o.url+"/v1/agent/reload", ""); code == 200 || !strings.Contains(text, `"bad"`) {
		t.Errorf("a faulty configuration: %d %s", code, text)
	}
	s, m, _ := state()
	if s != "consul:8300 old:0 web:80 " || m != "r1" || o.live.Load().NodeMeta["rack"] != "r1" {
		t.Errorf("a faulty configuration changed %s, %s", s, m)
	}
	lines := get(t, o.url+"/v1/agent/monitor?loglevel=debug")
	o.load = func() (*config.Config, error) {
		return load(t, ip, dir, `server = true bootstrap_expect = 1 node_meta { rack = "r2" } dns_config { node_ttl = "9s" } telemetry { prefix_filter = ["-consul.runtime"] } log_level = "DEBUG" discard_check_output = true
			service { name = "web" port = 80 check { id = "alive" ttl = "1m" status = "warning" } }
			service { name = "new" port = 7 }`)
	}
	if code, text := put(t, o.url+"/v1/agent/reload", ""); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	if o.opts.Level.Level() != slog.LevelDebug {
		t.Error("the log level was not reloaded")
	}
	if m, err := o.client.Agent().Metrics(); err != nil || slices.ContainsFunc(m.Gauges, func(g api.GaugeValue) bool { return strings.Contains(g.Name, "runtime") }) {
		t.Errorf("the prefixes of metrics were not reloaded: %v", err)
	}
	get(t, o.url+"/v1/agent/self") // which is logged at debug
	eventually(t, "lines of the new level are in the log, and say where they come from", func() bool {
		return strings.Contains(o.log.String(), "level=DEBUG msg=request component=http node=n1 datacenter=dc1")
	})
	for line := range strings.Lines(o.log.String()) {
		if strings.Count(line, " component=") != 1 || strings.Count(line, " node=n1") != 1 || strings.Count(line, " datacenter=dc1") != 1 {
			t.Errorf("a line does not say where it comes from: %s", line)
		}
	}
	eventually(t, "the second configuration is in the catalog", func() bool {
		s, m, st := state()
		if !strings.HasPrefix(st, "passing ") {
			t.Fatalf("the check of an unchanged service became %s", st)
		}
		return s == "consul:8300 new:7 web:80 " && m == "r2" && st == "passing "
	})
	if self, err := o.client.Agent().Self(); err != nil || self["Meta"]["rack"] != "r2" || self["DebugConfig"]["dns_config"].(map[string]any)["node_ttl"] != "9s" {
		t.Errorf("self after the reload: %v, %v", self["Meta"], err)
	}
	for lines.Scan() && !strings.Contains(lines.Text(), "configuration reloaded") {
	}
}

func TestAnAgentThatLeavesDoesNotComeBack(t *testing.T) {
	server := run(t, loopback(6), t.TempDir(), "")
	leaver := begin(t, loopback(7), t.TempDir(), `node_name = "leaver" retry_join = ["`+loopback(6)+`"] service { name = "web" check { id = "alive" ttl = "1h" } }`)
	nodes := func() (names string) {
		list, _, err := server.client.Catalog().Nodes(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range list {
			names += n.Node + " "
		}
		return names
	}
	eventually(t, "both nodes are in the catalog", func() bool {
		is, _, err := server.client.Health().Service("web", "", false, nil)
		return err == nil && len(is) == 1 && nodes() == "leaver n1 "
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	left := make(chan error, 1)
	go func() { left <- leaver.Leave(ctx) }()
	n, gone := 0, 0 // the service reports all the time, and full comparisons are due
	eventually(t, "the node goes and stays away", func() bool {
		n++
		if err := leaver.Local().UpdateTTL("alive", []string{"passing", "warning"}[n%2], fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
		if nodes() == "n1 " {
			gone++
		} else if gone > 0 {
			t.Fatalf("a node that left is in the catalog again after %d looks", gone)
		}
		return gone > 200
	})
	if err := <-left; err != nil {
		t.Error(err)
	}
}
