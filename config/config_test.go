package config

import (
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fixed is a host that never differs.
func fixed() Environment {
	return Environment{
		Hostname: func() (string, error) { return "host1", nil },
		Expand: func(text string) (string, error) {
			return strings.NewReplacer("{{ one }}", "10.9.8.7", "{{ two }}", "10.0.0.1 10.0.0.2").Replace(text), nil
		},
		InterfaceAddrs: func() ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.1")}, nil
		},
	}
}

func flagsOf(t *testing.T, args ...string) *Flags {
	t.Helper()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	flags := RegisterFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatalf("parse %q: %v", args, err)
	}
	return flags
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string, args ...string) (*Config, []string, error) {
	t.Helper()
	path := write(t, t.TempDir(), "a.hcl", text)
	return Load(Sources{Paths: []string{path}, Flags: flagsOf(t, args...), Environment: fixed()})
}

func mustLoad(t *testing.T, text string, args ...string) *Config {
	t.Helper()
	cfg, _, err := load(t, text, args...)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return cfg
}

func TestDefaultsAreConsuls(t *testing.T) {
	c := mustLoad(t, `data_dir = "/d"`)
	for _, eq := range []struct{ name, got, want any }{
		{"datacenter", c.Datacenter, "dc1"}, {"primary", c.PrimaryDatacenter, "dc1"}, {"node", c.NodeName, "host1"},
		{"server", c.Server, false}, {"leave", c.LeaveOnTerminate, true}, {"skip", c.SkipLeaveOnInterrupt, false},
		{"bind", c.BindAddr, "0.0.0.0"}, {"advertise", c.AdvertiseAddr, "10.1.2.3"}, {"wan", c.AdvertiseAddrWAN, "10.1.2.3"},
		{"http", c.HTTPAddrs(), []string{"127.0.0.1:8500"}}, {"dns", c.DNSAddrs(), []string{"127.0.0.1:8600"}},
		{"ports", []int{c.Ports.SerfLAN, c.Ports.SerfWAN, c.Ports.Server, c.Ports.HTTPS}, []int{8301, 8302, 8300, -1}},
		{"query", []time.Duration{c.DefaultQueryTime, c.MaxQueryTime}, []time.Duration{300 * time.Second, 600 * time.Second}},
		{"kv", c.Limits.KVMaxValueSize, 524288}, {"multiplier", c.Performance.RaftMultiplier, 5},
		{"domain", c.Domain, "consul."}, {"recursor", c.DNSConfig.RecursorTimeout, 2 * time.Second},
		{"reconnect", c.ReconnectTimeoutLAN, 72 * time.Hour}, {"federation", c.Federation.Name, "legate"},
	} {
		if !reflect.DeepEqual(eq.got, eq.want) {
			t.Errorf("%v = %v, want %v", eq.name, eq.got, eq.want)
		}
	}
	c = mustLoad(t, `data_dir = "/d" server = true`)
	if c.LeaveOnTerminate || !c.SkipLeaveOnInterrupt {
		t.Error("a server stays a member through SIGTERM and SIGINT")
	}
}

func TestDevNeedsNothing(t *testing.T) {
	c, warnings, err := Load(Sources{Flags: flagsOf(t, "-dev"), Environment: fixed()})
	if err != nil || len(warnings) != 0 {
		t.Fatalf("warnings %q, error %v", warnings, err)
	}
	if !c.DevMode || !c.Server || !c.Bootstrap || c.DataDir != "" || c.Performance.RaftMultiplier != 1 || !c.UIConfig.Enabled ||
		c.BindAddr != "127.0.0.1" || c.AdvertiseAddr != "127.0.0.1" || c.GossipLAN.GossipInterval != 100*time.Millisecond {
		t.Errorf("not a server for development: %+v", c)
	}
	c, _, err = Load(Sources{Flags: flagsOf(t, "-dev", "-server=false", "--http-port", "9500"), Environment: fixed()})
	if err != nil || c.Server || c.Bootstrap || c.Ports.HTTP != 9500 {
		t.Errorf("flags must win over -dev: %+v, %v", c, err)
	}
}

const everyForm = `
datacenter = "DC2"
data_dir = "/var/legate"
server = true
bootstrap_expect = 3
node_meta { rack = "r1" }
retry_join = ["10.0.0.1", "10.0.0.2:8301"]
retry_interval = "5s"
encrypt = "MDEyMzQ1Njc4OWFiY2RlZg=="
ports { http = 8501 https = -1 }
ports { dns = 8053 }
dns_config {
  node_ttl = "10s"
  service_ttl { "*" = "5s" web = "30s" }
  soa { min_ttl = 30 }
}
service {
  name = "web"
  tags = ["a", "b"]
  port = 80
  check { http = "http://localhost/" interval = "10s" header { X = ["y"] } }
}
service { Name = "db" Port = 5432 Weights { Passing = 5 } Checks = [{ TTL = "30s" DeregisterCriticalServiceAfter = "5m" }] }
check { id = "mem" args = ["true"] interval = "1m" }
enable_local_script_checks = true
`

const everyFormJSON = `{"datacenter":"DC2","data_dir":"/var/legate","server":true,"bootstrap_expect":3,"node_meta":{"rack":"r1"},
"retry_join":["10.0.0.1","10.0.0.2:8301"],"retry_interval":"5s","encrypt":"MDEyMzQ1Njc4OWFiY2RlZg==",
"ports":{"http":8501,"https":-1,"dns":8053},"dns_config":{"node_ttl":"10s","service_ttl":{"*":"5s","web":"30s"},"soa":{"min_ttl":30}},
"services":[{"name":"web","tags":["a","b"],"port":80,"check":{"http":"http://localhost/","interval":"10s","header":{"X":["y"]}}},
{"Name":"db","Port":5432,"Weights":{"Passing":5},"Checks":[{"TTL":"30s","DeregisterCriticalServiceAfter":"5m"}]}],
"check":{"id":"mem","args":["true"],"interval":"1m"},"enable_local_script_checks":true, "raft_protocol": null}`

func TestFormatsSayTheSame(t *testing.T) {
	c := mustLoad(t, everyForm)
	if c.Datacenter != "dc2" || c.NodeMeta["rack"] != "r1" || c.Ports.HTTP != 8501 || c.Ports.DNS != 8053 || c.Ports.SerfLAN != 8301 ||
		string(c.EncryptKey) != "0123456789abcdef" || c.DNSConfig.ServiceTTL["web"] != 30*time.Second || c.DNSConfig.SOA.MinTTL != 30 || c.DNSConfig.SOA.Retry != 600 {
		t.Errorf("wrong values: %+v", c)
	}
	if len(c.Services) != 2 || c.Services[0].Checks[0].Header["X"][0] != "y" || c.Services[0].Checks[0].Interval != 10*time.Second {
		t.Fatalf("services: %+v", c.Services)
	}
	db := c.Services[1]
	if db.Name != "db" || db.Weights.Passing != 5 || db.Weights.Warning != 1 || db.Checks[0].TTL != 30*time.Second ||
		db.Checks[0].DeregisterCriticalServiceAfter != 5*time.Minute || !db.Checks[0].H2PingUseTLS {
		t.Errorf("db: %+v", db)
	}
	path := write(t, t.TempDir(), "a.json", everyFormJSON)
	j, _, err := Load(Sources{Paths: []string{path}, Environment: fixed()})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, j) {
		t.Errorf("HCL and JSON differ:\n%+v\n%+v", c, j)
	}
}

func TestDirectoriesMergeInOrder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.json", `{"node_name":"second","retry_join":["b"],"node_meta":{"k":"2","l":"2"}}`)
	write(t, dir, "a.hcl", `data_dir = "/d" node_name = "first" retry_join = ["a"] node_meta { k = "1" m = "1" }`)
	write(t, dir, "c.txt", `no configuration at all`)
	if err := os.Mkdir(filepath.Join(dir, "d.hcl"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, _, err := Load(Sources{Flags: flagsOf(t, "-config-dir", dir, "-retry-join=f", "-retry-join", "g", "-node-meta", "m:3"), Environment: fixed()})
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeName != "second" || strings.Join(c.RetryJoin, " ") != "f g a b" {
		t.Errorf("node %q, join %q", c.NodeName, c.RetryJoin)
	}
	if want := map[string]string{"k": "2", "l": "2", "m": "3"}; !reflect.DeepEqual(c.NodeMeta, want) {
		t.Errorf("meta %v, want %v", c.NodeMeta, want)
	}
	file := write(t, dir, "e.conf", `node_name = "forced"`)
	c, _, err = Load(Sources{Flags: flagsOf(t, "-config-file", file, "-config-format=hcl", "-data-dir=/d"), Environment: fixed()})
	if err != nil || c.NodeName != "forced" {
		t.Errorf("-config-format: %v, %v", c, err)
	}
	if _, _, err := Load(Sources{Paths: []string{file}, Environment: fixed()}); err == nil || !strings.Contains(err.Error(), ".hcl or .json") {
		t.Errorf("a file without a known ending: %v", err)
	}
}

func TestFaultsNameFileAndKeyAllAtOnce(t *testing.T) {
	dir := t.TempDir()
	a := write(t, dir, "a.hcl", `datacentre = "x"`+"\nports { htpp = 1 dns = \"8600\" }\nretry_interval = 10\nretry_join = [1]\nserver = \"yes\"")
	b := write(t, dir, "b.hcl", `node_name = `)
	c := write(t, dir, "c.json", `{"encrypt":"c2VjcmV0"} trailing`)
	d := write(t, dir, "d.hcl", `encrypt = "not base64 but secret" service { nmae = "web" } bind_addr = "example.com"
		limits { rpc_rate = 0 rpc_max_burst = 0 rpc_handshake_timeout = "1ms" rpc_max_conns_per_client = -1 }`)
	_, _, err := Load(Sources{Paths: []string{a, b, c, d, filepath.Join(dir, "none")}, Environment: fixed()})
	if err == nil {
		t.Fatal("no error")
	}
	text := err.Error()
	for _, want := range []string{
		a + `: datacentre: unknown key, did you mean "datacenter"?`,
		a + `: ports.htpp: unknown key, did you mean "http"?`,
		a + `: ports.dns: want a whole number, got a string`,
		a + `: retry_interval: invalid duration: want one such as "10s", got the number 10`,
		a + `: retry_join[0]: want a string, got the number 1`,
		a + `: server: want true or false, got a string`,
		b + `: parse HCL: `,
		c + `: parse JSON: `,
		d + `: encrypt: the gossip key is not base64`,
		d + `: services[0].nmae: unknown key, did you mean "name"?`,
		d + `: services[0]: a service needs a name`,
		d + `: bind_addr: "example.com" is not one IP address`,
		d + `: limits.rpc_rate: 0 would let no call through: want calls a second, or -1 for no limit`,
		d + `: limits.rpc_max_burst: 0 must be at least 1`,
		d + `: limits.rpc_handshake_timeout: 1ms is too short: it must be at least 10ms`,
		d + `: limits.rpc_max_conns_per_client: -1 must be at least 0`,
		"none: no such file",
		"data_dir: data_dir cannot be empty",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "but secret") {
		t.Error("a secret is in the error")
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Error("the cause of a missing file is lost")
	}
}

func TestValidation(t *testing.T) {
	const base = `data_dir = "/d" `
	for _, c := range []struct{ text, want string }{
		{`telemetry { compat = "nagios" }`, `telemetry.compat: "nagios" is not known: consul is`},
		{`telemetry { statsd_address = "localhost" }`, `telemetry.statsd_address: "localhost" must be host:port`},
		{`telemetry { prefix_filter = ["consul.rpc"] }`, `telemetry.prefix_filter: "consul.rpc" must be + or - and a prefix`},
		{`ui_config { content_path = "/" }`, `a.hcl: ui_config.content_path: "/" must be`},
		{`ui_config { content_path = "/ui/..%2f/" }`, `ui_config.content_path`},
		{`ui_config { content_path = "/v1/ui" }`, `"/v1/ui/" is where the HTTP API is`},
		{`bootstrap = true`, `'bootstrap = true' requires 'server = true'`},
		{`bootstrap_expect = 3`, `'bootstrap_expect > 0' requires 'server = true'`},
		{`server = true bootstrap = true bootstrap_expect = 3`, `mutually exclusive`},
		{`server = true bootstrap_expect = -1`, `cannot be negative`},
		{`datacenter = "dc,1"`, `cannot name a datacenter`},
		{`datacenter = "Nearest"`, `word of queries`},
		{`datacenter = "all"`, `word of queries`},
		{`datacenter = ""`, `datacenter cannot be empty`},
		{`node_name = " "`, `node_name cannot be empty`},
		{`node_name = "` + strings.Repeat("x", 129) + `"`, `longer than 128`},
		{`node_name = "a\u0085b"`, `has control characters`},
		{`node_id = "x"`, `not a UUID`},
		{`advertise_addr = "0.0.0.0"`, `Advertise address cannot be 0.0.0.0, :: or [::]`},
		{`advertise_addr_wan = "[::]"`, `Advertise WAN address cannot be`},
		{`recursors = ["0.0.0.0"]`, `DNS recursor address cannot be`},
		{`recursors = ["dns.example"]`, `neither an IP`},
		{`encrypt = "c2hvcnQ="`, `5 bytes: it must have 16, 24 or 32`},
		{`ports { http = 8600 }`, `8600 is also the port of`},
		{`ports { server = 0 }`, `no port`},
		{`ports { http = 70000 }`, `no port`},
		{`ports { http = 1.5 }`, `want a whole number`},
		{`performance { raft_multiplier = 11 }`, `must be 1 to 10`},
		{`telemetry { trace_sample_ratio = 1.5 }`, `telemetry.trace_sample_ratio: 1.5 is not between 0 and 1`},
		{`telemetry { otlp_endpoint = "127.0.0.1:4318" }`, `must be http://host:port`},
		{`telemetry { otlp_endpoint = "http://u:secret@h:4318" }`, `belongs into otlp_headers`},
		{`reconnect_timeout = "1h"`, `at least 8h`},
		{`default_query_time = "700s"`, `longer than max_query_time`},
		{`log_level = "LOUD"`, `must be one of`},
		{`server = true retry_join_wan = ["x"] ports { serf_wan = -1 }`, `cannot join the WAN`},
		{`node_meta { "a b" = "x" }`, `must be 1 to 128 letters`},
		{`bind_addr = "{{ two }}"`, `is not one IP address`},
		{`client_addr = "localhost"`, `is not an IP address`},
		{`federation = "a b"`, `federation`},
		{`serf_lan_allowed_cidrs = ["10.0.0.0"]`, `is not a network`},
		{`advertise_addr = "10.0.0.1" serf_lan_allowed_cidrs = ["10.1.0.0/16"]`, `this agent's own address, 10.0.0.1, is in none`},
		{`server = true advertise_addr_wan = "10.0.0.1" serf_wan_allowed_cidrs = ["10.1.0.0/16"]`, `serf_wan_allowed_cidrs: this agent's own address`},
		{`server = true advertise_reconnect_timeout = "1h"`, `advertise_reconnect_timeout: is for clients`},
		{`server_rejoin_age_max = "1h"`, `at least 6h`},
		{`syslog_facility = "LOCAL8"`, `must be one of`},
		{`unix_sockets { mode = "888" }`, `no permission in octal`},
		{`unix_sockets { mode = "01777" }`, `no permission in octal`},
		{`service { name = "a" } service { name = "a" }`, `"a" is given twice`},
		{`service { name = "a" port = 70000 }`, `no port`},
		{`service { name = "a" check { interval = "1s" } }`, `sets none of`},
		{`check { name = "a" ttl = "1s" tcp = "x:1" }`, `only one may be set`},
		{`check { name = "a" ttl = "1s" interval = "1s" }`, `ttl and interval, only one may be set`},
		{`service { name = "a" check { ttl = "1s" interval = "1s" } }`, `ttl and interval, only one may be set`},
		{`check { name = "a" ttl = "1s" output_max_size = -1 }`, `sizes cannot be negative`},
		{`check_output_max_size = -1`, `check_output_max_size`},
		{`check { name = "a" ttl = "soon" }`, `checks[0].ttl: invalid duration "soon"`},
		{`check { name = "a" tcp = "x:1" }`, `needs an interval`},
		{`check { name = "a" http = "x" interval = "1s" }`, `wants a URL`},
		{`check { name = "a" args = ["x"] interval = "1s" }`, `scripts are disabled`},
		{`check { name = "a" args = ["x"] interval = "1s" docker_container_id = "c" }`, `scripts are disabled`},
		{`check { name = "a" tcp = "x:1" interval = "1s" docker_container_id = "c" }`, `docker_container_id needs args`},
		{`check { name = "a" ttl = "1s" status = "good" }`, `must be passing`},
		{`check { ttl = "1s" }`, `needs a name or an id`},
		{`feature_level = -1`, `feature_level: cannot be -1`},
		{`feature_level = 99`, `this version knows the levels 1 to`},
		{`read_replica = true`, `'read_replica = true' requires 'server = true'`},
		{`server = true bootstrap_expect = 1 read_replica = true`, `cannot start a datacenter alone`},
		{`autopilot { last_contact_threshold = "0s" }`, `autopilot.last_contact_threshold`},
		{`autopilot { server_stabilization_time = "-1s" }`, `autopilot.server_stabilization_time`},
		{`autopilot { min_quorum = -1 }`, `cannot be negative`},
		{`autopilot { max_trailing_logs = -1 }`, `cannot be negative`},
		{`autopilot { redundancy_zone_tag = "` + strings.Repeat("x", 129) + `" }`, `autopilot.redundancy_zone_tag`},
		{`datacenter = "a" datacenter = "b"`, `already set`},
		{`ports = 1 ports { http = 1 }`, `ports is given twice`},
		{`Server = true server = true`, `given twice`},
		{`x = ` + strings.Repeat("[", 300), `nested deeper`},
		{`retry_max = 99999999999999999999999`, `want a whole number`},
	} {
		if _, _, err := load(t, base+c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.text, err, c.want)
		}
	}
}

func TestAnEmptyFileIsNoConfiguration(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.hcl", "b.json"} {
		for _, text := range []string{"", " \n\t\r\n"} {
			path := write(t, dir, name, text)
			if _, _, err := Load(Sources{Paths: []string{path}, Flags: flagsOf(t, "-dev"), Environment: fixed()}); err != nil {
				t.Errorf("%s with %q: %v", name, text, err)
			}
		}
	}
	path := write(t, dir, "c.json", "null x")
	if _, _, err := Load(Sources{Paths: []string{path}, Flags: flagsOf(t, "-dev"), Environment: fixed()}); err == nil {
		t.Error("a file that is no JSON is taken")
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`acl { enabled = true }`, ``},
		{`acl { enabled = false }`, ``},
		{`ui_config { enabled = true dir = "/x" content_path = "/a" }`, ``},
		{`ui_config { dir = "/x" }`, `a.hcl: ui_config.dir has no effect while ui_config.enabled is false`},
		{`acl { enable_token_persistence = true tokens { default = "x" agent = "x" dns = "x" config_file_service_registration = "x" } }`, ``},
		{`acl { enable_token_replication = true tokens { replication = "x" } }`, ``},
		{`acl { tokens { initial_management = "x" } }`, ``},
		{`limits { rpc_max_burst = 5 rpc_rate = 2.5 }`, ``},
		{`connect { enabled = true } config_entries { bootstrap = [{}] } ports { grpc = 8502 }`, ``},
		{`telemetry { circonus_api_token = "x" circonus_broker_id = "1" }`, ``},
		{`version = "1.21.0"`, ``},
		{`server = true bootstrap_expect = 3 read_replica = true autopilot { redundancy_zone_tag = "zone" min_quorum = 3 cleanup_dead_servers = false }`, ``},
		{`autopilot { upgrade_version_tag = "x" }`, `a.hcl: autopilot.upgrade_version_tag belongs to Consul's enterprise edition`},
		{`segment = "x"`, `a.hcl: segment belongs to Consul's enterprise edition`},
		{`ca_file = "/ca.pem" verify_incoming = true`, `a.hcl: verify_incoming is now called tls.defaults.verify_incoming`},
		{`feature_level = 1`, `a.hcl: feature_level has no effect on a client`},
		{`retry_join_wan = ["x"]`, `only servers join the WAN`},
		{`disable_update_check = true raft_logstore { backend = "wal" } performance { raft_multiplier = 0 }`, ``},
		{`cache { entry_fetch_rate = 5.5 }`, `a.hcl: cache.entry_fetch_rate is accepted but has no effect yet`},
		{`cache { entry_fetch_max_burst = 9 }`, `a.hcl: cache.entry_fetch_max_burst is accepted but has no effect yet`},
		{`enable_script_checks = true`, `a.hcl: enable_script_checks is DANGEROUS without access control`},
		{`enable_script_checks = true acl { enabled = true }`, `enable_script_checks is DANGEROUS`}, // default_policy is allow
		{`enable_script_checks = true acl { enabled = true default_policy = "deny" }`, ``},
		{`enable_script_checks = true http_config { allow_write_http_from = ["127.0.0.0/8"] }`, ``},
		{`enable_local_script_checks = true`, ``},
		{`disable_remote_exec = false`, `a.hcl: disable_remote_exec = false is DANGEROUS without access control`},
		{`disable_remote_exec = false http_config { allow_write_http_from = ["127.0.0.0/8"] }`, `disable_remote_exec = false is DANGEROUS`}, // others' ports count
		{`disable_remote_exec = false acl { enabled = true default_policy = "deny" }`, ``},
		{`node_name = "a_b"`, `cannot be found through DNS`},
		{`recursors = ["127.0.0.1:8600"]`, `own DNS`},
		{`recursors = ["127.0.0.1", "127.0.0.2:8600"]`, ``},
		{`server = true bootstrap_expect = 2`, `two servers survive no failure`},
		{`server = true bootstrap_expect = 4`, `even number`},
		{`server = true bootstrap_expect = 3`, ``},
		{`server = true bootstrap_expect = 1`, `the same as 'bootstrap = true'`},
	} {
		_, warnings, err := load(t, `data_dir = "/d" `+c.text)
		text := strings.Join(warnings, "\n")
		if err != nil || (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s: got %q, %v, want %q", c.text, text, err, c.want)
		}
	}
}

func TestTemplatesAndListeners(t *testing.T) {
	c := mustLoad(t, `data_dir = "/d" bind_addr = "{{ one }}" client_addr = "{{ two }} ::1"
addresses { http = "unix:///run/l.sock 127.0.0.1" }`)
	if c.BindAddr != "10.9.8.7" || c.AdvertiseAddr != "10.9.8.7" || c.SerfWANBind != "10.9.8.7" {
		t.Errorf("bind %q, advertise %q", c.BindAddr, c.AdvertiseAddr)
	}
	r := mustLoad(t, `data_dir = "/d" recursors = ["{{ two }}", "10.0.0.1", "[fd00::1]", "10.0.0.2:54"]`)
	if got := strings.Join(r.Recursors, " "); got != "10.0.0.1 10.0.0.2 fd00::1 10.0.0.2:54" {
		t.Errorf("recursors %q", got)
	}
	if got := strings.Join(c.DNSAddrs(), " "); got != "10.0.0.1:8600 10.0.0.2:8600 [::1]:8600" {
		t.Errorf("DNS on %q", got)
	}
	if got := strings.Join(c.HTTPAddrs(), " "); got != "unix:///run/l.sock 127.0.0.1:8500" {
		t.Errorf("HTTP on %q", got)
	}
	env := fixed()
	env.InterfaceAddrs = func() ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.168.0.1")}, nil
	}
	_, _, err := Load(Sources{Flags: flagsOf(t, "-data-dir=/d"), Environment: env})
	if err == nil || !strings.Contains(err.Error(), "several private IPv4 addresses") {
		t.Errorf("an ambiguous address must be refused: %v", err)
	}
}

func TestFlags(t *testing.T) {
	c, _, err := Load(Sources{Environment: fixed(), Flags: flagsOf(t, "--dc", "west", "-data-dir=/d", "-server", "-bootstrap-expect=3",
		"-encrypt", "MDEyMzQ1Njc4OWFiY2RlZg==", "-join", "a", "-retry-join", "b", "-client", "127.0.0.1 ::1", "-ui", "-serf-wan-port=-1",
		"-default-query-time", "10s", "-hcl", `limits { kv_max_value_size = 7 }`, "-hcl", `retry_max = 3`, "-log-level", "warn")})
	if err != nil {
		t.Fatal(err)
	}
	if dev := mustLoad(t, `data_dir = "/d" ui_config { enabled = true content_path = "consul/ui" }`).UIConfig; dev.ContentPath != "/consul/ui/" {
		t.Errorf("content path %q", dev.ContentPath)
	}
	if c.Datacenter != "west" || !c.Server || c.BootstrapExpect != 3 || len(c.EncryptKey) != 16 || strings.Join(c.RetryJoin, " ") != "a b" ||
		len(c.ClientAddrs) != 2 || !c.UIConfig.Enabled || c.Ports.SerfWAN != -1 || c.DefaultQueryTime != 10*time.Second ||
		c.Limits.KVMaxValueSize != 7 || c.RetryMax != 3 {
		t.Errorf("flags: %+v", c)
	}
	for _, args := range [][]string{{"-http-port", "x"}, {"-bootstrap-expect", "1.5"}, {"-server=maybe"}, {"-retry-interval", "5"},
		{"-node-meta", "novalue"}, {"-no-such-flag"}} {
		fs := flag.NewFlagSet("test", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		RegisterFlags(fs)
		if err := fs.Parse(args); err == nil {
			t.Errorf("%q must be refused", args)
		}
	}
}

func TestABadGossipKeyIsNotRepeated(t *testing.T) {
	_, _, err := Load(Sources{Environment: fixed(), Flags: flagsOf(t, "-data-dir=/d", "-encrypt", "nearly-the-real-key")})
	if err == nil || !strings.Contains(err.Error(), "command line: encrypt: the gossip key is not base64") || strings.Contains(err.Error(), "nearly") {
		t.Errorf("error %v", err)
	}
}

func TestEveryFlagOfTheAgentIsKnown(t *testing.T) {
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	RegisterFlags(fs)
	for _, name := range strings.Fields(`advertise advertise-wan bind server-port bootstrap bootstrap-expect client
		check_output_max_size config-dir config-file config-format data-dir datacenter dc default-query-time dev disable-host-node-id
		disable-keyring-file dns-port domain alt-domain enable-script-checks enable-local-script-checks allow-write-http-from encrypt
		grpc-port grpc-tls-port http-port https-port join join-wan log-level log-json log-file log-rotate-bytes log-rotate-duration
		log-rotate-max-files max-query-time node node-id node-meta non-voting-server read-replica pid-file protocol raft-protocol
		recursor primary-gateway rejoin auto-reload-config retry-interval retry-interval-wan retry-join retry-join-wan retry-max
		retry-max-wan serf-lan-allowed-cidrs serf-wan-allowed-cidrs serf-lan-bind serf-lan-port segment serf-wan-bind serf-wan-port
		server syslog ui ui-content-path ui-dir hcl`) {
		if fs.Lookup(name) == nil {
			t.Errorf("-%s is not known", name)
		}
	}
	for name, want := range map[string]string{"http-port": " Default: 8500.", "domain": " Default: consul.", "check_output_max_size": " Default: 4096 bytes.",
		"grpc-port": " Accepted and ignored.", "segment": " Accepted, without effect.", "dc": "the same as -datacenter"} {
		if usage := fs.Lookup(name).Usage; !strings.HasSuffix(usage, want) {
			t.Errorf("-%s is explained as %q, without %q at the end", name, usage, want)
		}
	}
}

func TestChangesSayWhatAReloadReaches(t *testing.T) {
	a := mustLoad(t, `data_dir = "/d" log_level = "INFO" dns_config { node_ttl = "1s" } ports { http = 8500 }`)
	b := mustLoad(t, `data_dir = "/d" log_level = "WARN" dns_config { node_ttl = "2s" } ports { http = 8501 }`)
	want := []Change{{"ports.http", false}, {"dns_config.node_ttl", true}, {"log_level", true}}
	if got := Changes(a, b); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Changes(a, a); len(got) != 0 {
		t.Errorf("equal configurations differ in %v", got)
	}
}

func TestSettingsHideSecrets(t *testing.T) {
	c := mustLoad(t, everyForm+`acl { tokens { agent = "t0psecret" } }`)
	s := c.Settings()
	if s["encrypt"] != hidden || s["acl"].(map[string]any)["tokens"].(map[string]any)["agent"] != hidden {
		t.Errorf("secrets are shown: %v %v", s["encrypt"], s["acl"])
	}
	if s["datacenter"] != "dc2" || s["retry_interval"] != "5s" || s["dns_config"].(map[string]any)["service_ttl"].(map[string]any)["web"] != "30s" {
		t.Errorf("settings: %v", s)
	}
}

func TestDefinitionsStandAlone(t *testing.T) {
	path := write(t, t.TempDir(), "a.hcl", `service { name = "web" check { args = ["x"] interval = "1s" } }`)
	services, checks, err := Definitions(Sources{Paths: []string{path}})
	if err != nil || len(services) != 1 || services[0].Name != "web" || len(checks) != 0 {
		t.Errorf("got %+v, %+v, %v", services, checks, err)
	}
	path = write(t, t.TempDir(), "a.hcl", `service { port = 1 }`)
	if _, _, err := Definitions(Sources{Paths: []string{path}}); err == nil {
		t.Error("a service without a name must be refused")
	}
}

func TestReferencePageIsCurrent(t *testing.T) {
	var page strings.Builder
	if err := WriteReference(&page); err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page.String() {
		t.Error("docs/config.md is old: run make generate")
	}
}

// TestEveryKeyIsDeclaredOnce walks all declarations: names, aliases and flags
// are free, defaults can be parsed, and each has a doc.
func TestEveryKeyIsDeclaredOnce(t *testing.T) {
	flags := map[string]string{}
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		names := map[string]bool{}
		for _, f := range fieldsOf(typ, marks{}) {
			at := join(path, f.key)
			for _, name := range append([]string{f.key}, f.aliases...) {
				if name = fold(name, true); names[name] {
					t.Errorf("%s: %q stands for two keys", at, name)
				}
				names[name] = true
			}
			for _, name := range f.flags {
				if other, taken := flags[name]; taken {
					t.Errorf("-%s is the flag of %s and %s", name, other, at)
				}
				flags[name] = at
			}
			if f.doc == "" || !strings.HasSuffix(f.doc, ".") {
				t.Errorf("%s has no sentence as its doc", at)
			}
			if inner, ok := innerBlock(f.typ); ok && inner != typ {
				setDefaults(reflect.New(inner).Elem())
				walk(at, inner)
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
}

func FuzzHCL(f *testing.F) {
	f.Add(everyForm)
	f.Add("a = <<EOF\nx\nEOF\n")
	f.Add(`{"a": [1, {"b": null}]}`)
	f.Fuzz(func(t *testing.T, text string) { fuzz(t, text, "hcl") })
}

func FuzzJSON(f *testing.F) {
	f.Add(everyFormJSON)
	f.Add(`{"services":[[{"name":1}]],"ports":[{"dns":1e400}],"watches":[{"type":"key"}]}`)
	f.Fuzz(func(t *testing.T, text string) { fuzz(t, text, "json") })
}

// fuzz: whatever the text, there is a configuration or an error, and the same
// one each time.
func fuzz(t *testing.T, text, format string) {
	run := func() (*Config, []string, error) {
		tree, err := parseTree([]byte(text), format)
		if err != nil {
			return nil, nil, err
		}
		cfg := &Config{}
		v := reflect.ValueOf(cfg).Elem()
		setDefaults(v)
		d := &decoder{set: map[string]string{}}
		d.read("fuzz", tree, v)
		return d.conclude(cfg, fixed())
	}
	a, warnA, errA := run()
	b, warnB, errB := run()
	if (a == nil) == (errA == nil) {
		t.Fatalf("config %v with error %v", a, errA)
	}
	if !reflect.DeepEqual(a, b) || !reflect.DeepEqual(warnA, warnB) || (errA == nil) != (errB == nil) {
		t.Fatal("two runs differ")
	}
	if errA != nil && errA.Error() != errB.Error() {
		t.Fatalf("two runs differ: %v, %v", errA, errB)
	}
}

func TestFailoverNamesDatacenters(t *testing.T) {
	for text, want := range map[string]string{
		`{"web": ["dc2", "nearest"], "api-*": ["nearest"]}`: "",
		`{"web": ["nearest", "dc2"]}`:                       "word of queries",
		`{"web": ["all"]}`:                                  "word of queries",
		`{"web": []}`:                                       "1 to 32",
		`{"web": ["dc2,dc3"]}`:                              "cannot name a datacenter",
	} {
		_, _, err := load(t, `{"data_dir": "/x", "dns_config": {"failover": `+text+`}}`)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
