package doctorcmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/state/status"
)

// healthy are the facts of a server in which nobody finds anything: three servers, two
// datacenters.
func healthy() *facts {
	now := time.Unix(1_800_000_000, 0)
	f := &facts{now: now, lacks: map[source]string{}, address: "http://127.0.0.1:8500", ready: ready.State{Status: ready.Ready}}
	s := &f.settings
	s.Datacenter, s.Node, s.Server, s.Expect, s.DataDir = "dc1", "s1", true, 3, "/var/lib/legate"
	s.ACL.Enabled, s.ACL.DefaultPolicy, s.Performance.RaftMultiplier = true, "deny", 1
	f.metrics = parseSamples(strings.Join([]string{
		"process_max_fds 65536", "process_open_fds 100",
		fmt.Sprintf("process_start_time_seconds %d", now.Add(-time.Hour).Unix()),
		`legate_gossip_keys{pool="lan"} 1`, `legate_gossip_keys{pool="wan"} 1`,
		`legate_raft_log_fsync_seconds_bucket{le="0.001"} 999`, `legate_raft_log_fsync_seconds_bucket{le="+Inf"} 1000`, "legate_raft_log_fsync_seconds_count 1000",
		fmt.Sprintf(`legate_tls_certificate_expiry_timestamp_seconds{listener="internal_rpc"} %d`, now.Add(90*day).Unix()),
	}, "\n"))
	servers := map[string]api.AutopilotServer{}
	for _, n := range []string{"s1", "s2", "s3"} {
		servers[n] = api.AutopilotServer{Name: n, Healthy: true, NodeStatus: "alive", Status: api.AutopilotServerVoter}
		m := member{Name: n, Addr: "10.0.0.1", Port: 8301, Status: alive, Tags: map[string]string{"role": "consul", "dc": "dc1", "build": "1:a", "port": "8300"}}
		f.members = append(f.members, m)
		m.Name, m.Port = n+".dc1", 8302
		f.wan = append(f.wan, m)
		f.nodes = append(f.nodes, struct{ Node string }{n})
	}
	f.wan = append(f.wan, member{Name: "t1.dc2", Addr: "10.1.0.1", Port: 8302, Status: alive, Tags: map[string]string{"role": "consul", "dc": "dc2"}})
	f.autopilot = api.AutopilotState{Healthy: true, FailureTolerance: 1, Voters: []string{"s1", "s2", "s3"}, Servers: servers}
	f.federation = []status.View{
		{Datacenter: "dc1", Leader: "s1", Version: "1.0.0", Links: []status.Link{{Datacenter: "dc2", State: status.Up, Versions: []string{"1.0.0"}}}},
		{Datacenter: "dc2", Leader: "t1", Version: "1.0.0"},
	}
	f.services = map[string][]string{"consul": nil, "web": nil}
	f.clocks = []status.Clock{{Server: "s1", Datacenter: "dc1"}, {Server: "s2", Datacenter: "dc1", OffsetMS: 900, WithinMS: 20}, {Datacenter: "dc2", Error: "silent"}}
	f.machine = machine{readBuffer: 8 << 20, writeBuffer: 8 << 20, clockKnown: true, memory: 8 << 30, available: 4 << 30}
	f.process = process{pid: 7}
	f.disk = disk{dir: "/var/lib/legate", total: 100 << 30, free: 50 << 30, files: 1000, filesFree: 900, syncs: []time.Duration{time.Millisecond}}
	f.paths = []path{{datacenter: "dc2", server: "t1.dc2", addr: "10.1.0.1:8302", known: true, largest: 1452}}
	f.names = []lookup{{key: "retry_join", host: "s2.example"}}
	f.ports = []port{{key: "ports.http", network: "tcp", addr: "127.0.0.1:8500"}}
	return f
}

// metric sets a series, with its labels if it has some.
func metric(f *facts, series string, value float64) {
	name, _, _ := strings.Cut(series, "{")
	for got, s := range parseSamples(fmt.Sprintf("%s %g", series, value)) {
		var kept []sample
		for _, old := range f.metrics[name] {
			if old.labels != s[0].labels {
				kept = append(kept, old)
			}
		}
		f.metrics[got] = append(kept, s[0])
	}
}

// fault is one that a check must find.
type fault struct {
	check  string
	result string
	says   string // in what was found or what to do
	make   func(f *facts)
}

func set(series string, value float64) func(*facts) {
	return func(f *facts) { metric(f, series, value) }
}

func link(change func(*status.Link)) func(*facts) {
	return func(f *facts) { change(&f.federation[0].Links[0]) }
}

func autopilot(voters, tolerance int) func(*facts) {
	return func(f *facts) {
		f.autopilot.Voters, f.autopilot.FailureTolerance = make([]string, voters), tolerance
	}
}

func server(name string, change func(*api.AutopilotServer)) func(*facts) {
	return func(f *facts) {
		s := f.autopilot.Servers[name]
		change(&s)
		f.autopilot.Servers[name] = s
	}
}

func faults() []fault {
	ago := api.ReadableDuration(3 * time.Second)
	return []fault{
		{"agent", isProblem, "refused", func(f *facts) { f.noAgent = "connection refused" }},
		{"ready", isProblem, "no-leader", func(f *facts) { f.ready = ready.State{Status: ready.NoLeader, Reason: "nobody leads."} }},
		{"configuration", isProblem, "faults", func(f *facts) { f.configured = configured{err: errors.New("bad"), paths: []string{"/etc/x"}} }},
		{"ports", isProblem, "taken by process 9 (other)", func(f *facts) { f.ports[0].err, f.ports[0].owner = errors.New("in use"), "process 9 (other)" }},
		{"ports", isProblem, "CAP_NET_BIND_SERVICE", func(f *facts) { f.ports[0].err = fs.ErrPermission }},
		{"ports", isProblem, "could not listen", func(f *facts) { f.ports[0].err = errors.New("no such address") }},
		{"data-directory", isProblem, "another agent", func(f *facts) { f.disk.inUse = true }},
		{"data-directory", isProblem, "cannot write", func(f *facts) { f.disk.wrong = "this user cannot write" }},
		{"disk-tried", isProblem, "300 ms", func(f *facts) { f.disk.syncs = []time.Duration{300 * time.Millisecond, time.Millisecond} }},
		{"disk-tried", isWarning, "60 ms", func(f *facts) { f.disk.syncs = []time.Duration{60 * time.Millisecond} }},
		{"certificate-files", isProblem, "expired", func(f *facts) { f.files = []error{errors.New("it has expired")} }},

		{"failure-tolerance", isProblem, "3 voters, of which 2 must answer", autopilot(3, 0)},
		{"failure-tolerance", isProblem, "2 voters need both", autopilot(2, 0)},
		{"failure-tolerance", isWarning, "1 server of dc1 may still fail, where 2", autopilot(5, 1)},
		{"failure-tolerance", isWarning, "alone", autopilot(1, 0)},
		{"server-health", isProblem, "s2 is not healthy: gossip says failed", server("s2", func(s *api.AutopilotServer) { s.Healthy, s.NodeStatus = false, "failed" })},
		{"server-health", isProblem, "3.0 s ago", server("s2", func(s *api.AutopilotServer) { s.Healthy, s.LastContact = false, &ago })},
		{"voters", isWarning, "4 voters", autopilot(4, 1)},
		{"voters", isWarning, "9 servers vote", autopilot(9, 4)},
		{"voters", isWarning, "does not vote", server("s3", func(s *api.AutopilotServer) { s.Status = api.AutopilotServerNonVoter })},
		{"expected-servers", isWarning, "bootstrap_expect is 5", func(f *facts) { f.settings.Expect = 5 }},
		{"zones", isWarning, "1 zone", server("s1", func(s *api.AutopilotServer) { s.RedundancyZone = "a" })},
		{"leader-changes", isWarning, "9 times", set("legate_raft_leader_changes_total", 9)},
		{"gossip-doubt", isWarning, "3 of 7 in the pool wan", set(`legate_gossip_health_score{pool="wan"}`, 3)},
		{"failed-members", isProblem, "1 server of the datacenter failed: s2", func(f *facts) { f.members[1].Status = failed }},
		{"failed-members", isWarning, "1 client agent", func(f *facts) { f.members = append(f.members, member{Name: "c1", Status: failed}) }},
		{"failed-wan-members", isProblem, "t1.dc2", func(f *facts) { f.wan[3].Status = failed }},
		{"flapping-members", isWarning, "2 times", set(`legate_gossip_member_flaps_total{pool="lan"}`, 2)},
		{"gossip-keys", isWarning, "1 members have other", set(`legate_gossip_members_with_other_keys{pool="lan"}`, 1)},
		{"gossip-keys", isWarning, "2 gossip keys", set(`legate_gossip_keys{pool="lan"}`, 2)},
		{"clock-offset", isWarning, "s2 in dc1 is 3.0 s behind", func(f *facts) { f.clocks[1].OffsetMS = -3020 }},
		{"clock-offset", isProblem, "s2 in dc1 is 10 minutes ahead", func(f *facts) { f.clocks[1].OffsetMS = 600_000 }},
		{"versions", isWarning, "1:a on s2, s3; 1:b on s1", func(f *facts) { f.members[0].Tags["build"] = "1:b" }},
		{"versions", isWarning, "0.9.0 on dc2", link(func(l *status.Link) { l.Versions = []string{"0.9.0"} })},
		{"node-names", isWarning, "a_b", func(f *facts) { f.nodes[0].Node = "a_b" }},
		{"node-names", isWarning, "S2, s2", func(f *facts) { f.nodes[0].Node = "S2" }},
		{"service-names", isWarning, "web.api", func(f *facts) { f.services["web.api"] = nil }},

		{"path-size", isProblem, "1200 bytes get through to 10.1.0.1:8302 and those of 1208", func(f *facts) { f.paths[0].largest, f.paths[0].smallest = 1200, 1208 }},
		{"path-size", isWarning, "Nobody answers", func(f *facts) { f.paths[0].largest, f.paths[0].known = 0, false }},
		{"path-size", isWarning, "unreachable", func(f *facts) { f.paths[0].err = errors.New("network is unreachable") }},
		{"path-size", isSkipped, "packet filter", func(f *facts) { f.paths[0].largest = 0 }},
		{"path-size", isFine, "1 server", func(f *facts) { f.paths[0].largest, f.paths[0].failed = 0, true }},
		{"join-names", isWarning, "s2.example of retry_join", func(f *facts) { f.names[0].err = errors.New("no such host") }},
		{"join-names", isProblem, "nor does another", func(f *facts) { f.names[0].err, f.noAgent = errors.New("no such host"), "refused" }},
		{"join-names", isWarning, "s2.example", func(f *facts) {
			f.names[0].err, f.noAgent, f.settings.RetryJoin = errors.New("no such host"), "refused", []string{"s2.example", "10.0.0.2"}
		}},
		{"datacenters", isProblem, "dc2 cannot be reached", link(func(l *status.Link) { l.State, l.Reason = status.Unreachable, "none answers" })},
		{"datacenters", isWarning, "1 of 3 servers", link(func(l *status.Link) { l.State, l.Reason = status.Degraded, "1 of 3 servers do not answer" })},
		{"datacenters", isProblem, "takes dc9 for the home", link(func(l *status.Link) { l.OtherHome = "dc9" })},
		{"datacenters", isProblem, "dc2 answers and has no leader", func(f *facts) { f.federation[1].Leader = "" }},
		{"packet-loss", isWarning, "5.0 %", link(func(l *status.Link) { l.Loss = .05 })},
		{"gateways", isProblem, "none of 2 gateways lets it register", set(`legate_gateway_registrations{state="failing"}`, 2)},
		{"gateways", isWarning, "through 1 of 2 gateways", func(f *facts) {
			set(`legate_gateway_registrations{state="failing"}`, 1)(f)
			set(`legate_gateway_registrations{state="registered"}`, 1)(f)
		}},
		{"gateways", isWarning, "9 packets were not carried", set("legate_gateway_refused_packets_total", 9)},
		{"gateways", isFine, "reached through 2 gateways", set(`legate_gateway_registrations{state="registered"}`, 2)},
		{"connections-refused", isWarning, "7 at http (all)", set(`legate_connections_refused_total{port="http",bound="all"}`, 7)},
		{"strangers", isWarning, "4 another authority", set(`legate_quic_handshake_failures_total{endpoint="lan",reason="wrong_authority"}`, 4)},

		{"certificates", isProblem, "has expired 2 hours ago", func(f *facts) { expires(f, "https", -2*time.Hour) }},
		{"certificates", isProblem, "expires in 3 days", func(f *facts) { expires(f, "https", 3*day) }},
		{"certificates", isWarning, "expires in 20 days", func(f *facts) { expires(f, "https", 20*day) }},
		{"certificates", isProblem, "Servers give these", func(f *facts) { expires(f, "auto_encrypt", time.Hour) }},
		{"views", isWarning, "15000 of 16384", set(`legate_view_views{datacenter="dc1"}`, 15000)},
		{"views", isWarning, "6 results found no room", set(`legate_view_evictions_total{reason="refused"}`, 6)},
		{"subscriptions", isWarning, "follow 8000", set(`legate_feed_subscriptions{network="lan"}`, 8000)},
		{"subscriptions", isWarning, "5 subscriptions", set(`legate_feed_refused_total{network="lan"}`, 5)},
		{"registrations", isWarning, "refused 60 registrations", set(`legate_local_writes_total{outcome="refused"}`, 60)},
		{"registrations", isWarning, "anti-entropy", set(`legate_local_syncs_total{outcome="failed"}`, 2)},
		{"recursors", isWarning, "20 of 20", set(`legate_dns_recursor_answers_total{answer="silent"}`, 20)},
		{"scripts", isProblem, "runs commands", func(f *facts) { f.settings.Scripts, f.settings.ACL.Enabled = true, false }},
		{"scripts", isWarning, `"allow"`, func(f *facts) { f.settings.ACL.DefaultPolicy = "allow" }},
		{"gossip-encryption", isWarning, "not encrypted", set(`legate_gossip_keys{pool="lan"}`, 0)},

		{"disk-answers", isProblem, "/var/lib/legate has not answered for 15s", func(f *facts) { f.disk.stuck = true }},
		{"disk-space", isProblem, "100 MiB", func(f *facts) { f.disk.free = 100 << 20 }},
		{"disk-space", isWarning, "9.0 GiB of 100 GiB", func(f *facts) { f.disk.free = 9 << 30 }},
		{"disk-space", isWarning, "10 of 1000 files", func(f *facts) { f.disk.filesFree = 10 }},
		{"disk-kind", isWarning, "tmpfs", func(f *facts) { f.disk.kind = inMemory }},
		{"disk-kind", isProblem, "NFS", func(f *facts) { f.disk.kind = "NFS" }},
		{"disk-kind", isWarning, "container", func(f *facts) { f.disk.kind = "overlay" }},
		{"disk-sync", isProblem, "500 ms", func(f *facts) { syncs(f, "0.5") }},
		{"disk-sync", isWarning, "100 ms", func(f *facts) { syncs(f, "0.1") }},
		{"disk-errors", isProblem, "failed", set("legate_raft_failed", 1)},
		{"disk-errors", isProblem, "longer than 5 s", set(`legate_storage_disk_slow_total{db="log"}`, 1)},
		{"disk-errors", isWarning, "held back 3 times", set(`legate_storage_write_stalls_total{db="log"}`, 3)},
		{"udp-buffers", isWarning, "net.core.rmem_max=7500000", func(f *facts) { f.machine.readBuffer = 212992 }},
		{"udp-drops", isWarning, "dropped 12 packets", func(f *facts) { f.machine.drops = 12 }},
		{"clock-set", isWarning, "drifts", func(f *facts) { f.machine.clockFree = true }},
		{"memory", isWarning, "100 MiB of 8.0 GiB", func(f *facts) { f.machine.available = 100 << 20 }},
		{"swap", isWarning, "20 MiB of the agent", func(f *facts) { f.process.swap = 20 << 20 }},
		{"open-files", isProblem, "60000 of 65536", set("process_open_fds", 60000)},
		{"open-files", isProblem, "may open 1024", set("process_max_fds", 1024)},
		{"open-files", isWarning, "may open 8192", set("process_max_fds", 8192)},
	}
}

func expires(f *facts, listener string, in time.Duration) {
	metric(f, `legate_tls_certificate_expiry_timestamp_seconds{listener="`+listener+`"}`, float64(f.now.Add(in).Unix()))
}

// syncs has all of a thousand take so many seconds, and no longer.
func syncs(f *facts, upTo string) {
	metric(f, `legate_raft_log_fsync_seconds_bucket{le="0.001"}`, 0)
	metric(f, `legate_raft_log_fsync_seconds_bucket{le="`+upTo+`"}`, 1000)
}

// sections are those of the runbook that are named.
func sections(text string) (out []string) {
	if _, after, ok := strings.Cut(text, "runbook.md"); ok {
		for i, part := range strings.Split(after, `"`) {
			if i%2 == 1 {
				out = append(out, part)
			}
		}
	}
	return out
}

// allChecks are those of a running agent and those where none runs.
func allChecks() []check { return append(checksFor(healthy()), stoppedChecks()...) }

func TestChecksFindWhatIsWrongAndNothingElse(t *testing.T) {
	well := healthy()
	well.configured.config = nil
	for _, f := range examine(well, allChecks()) {
		if f.Check != "configuration" && f.Result != isFine {
			t.Errorf("of a healthy server: %+v", f)
		}
	}
	runbook, err := os.ReadFile("../../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, want := range faults() {
		f := healthy()
		want.make(f)
		tried[want.check] = true
		said := false
		for _, got := range examine(f, allChecks()) {
			if got.Check != want.check {
				continue
			}
			if got.Result == want.result && strings.Contains(got.Found+got.Do, want.says) {
				said = true
			}
			if (got.Result == isProblem || got.Result == isWarning) && got.Do == "" {
				t.Errorf("%s says nothing that helps: %+v", want.check, got)
			}
			for _, section := range sections(got.Do) {
				if !strings.Contains(string(runbook), "# "+section+"\n") {
					t.Errorf("%s names the section %q, which the runbook has not", want.check, section)
				}
			}
		}
		if !said {
			t.Errorf("%s does not say %s with %q: %+v", want.check, want.result, want.says, examine(f, allChecks()))
		}
	}
	for _, c := range allChecks() {
		if !tried[c.name] {
			t.Errorf("nobody has tried whether the check %s finds anything", c.name)
		}
	}
}

func TestChecksAreSkippedWithTheReason(t *testing.T) {
	f := healthy()
	f.lacks[fromAutopilot], f.lacks[fromMetrics] = "the token lacks operator:read", "the token lacks agent:read"
	for _, got := range examine(f, checksFor(f)) {
		want := map[string]string{"failure-tolerance": "the token lacks operator:read", "open-files": "the token lacks agent:read"}[got.Check]
		if want != "" && (got.Result != isSkipped || got.Found != want) {
			t.Errorf("%+v, want %q", got, want)
		}
	}
	if w := worst(examine(f, checksFor(f))); w != isFine {
		t.Errorf("what is skipped is taken for a %s", w)
	}
}

func TestQuantilesAreThoseOfTheBuckets(t *testing.T) {
	m := parseSamples("# HELP x\nh_bucket{le=\"0.1\"} 90\nh_bucket{le=\"1\"} 100\nh_bucket{le=\"+Inf\"} 100\nh_count 100\nbroken\nh_sum x\n\n")
	if v, n := m.quantile(.5, "h"); v != .1 || n != 100 {
		t.Errorf("the median is %v of %v", v, n)
	}
	if v, _ := m.quantile(.99, "h"); v != 1 {
		t.Errorf("p99 is %v", v)
	}
	if v, n := m.quantile(.99, "none"); v != 0 || n != 0 {
		t.Errorf("of nothing: %v of %v", v, n)
	}
	above := parseSamples("h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 100\nh_count 100")
	if v, _ := above.quantile(.99, "h"); v != 1 {
		t.Errorf("above all bounds: %v", v)
	}
}
