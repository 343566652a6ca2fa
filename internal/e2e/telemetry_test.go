//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// consulsNames are what public dashboards and alerts for Consul ask for.
var consulsNames = []string{
	`consul_raft_commitTime{quantile="0.99"}`, "consul_raft_commitTime_sum",
	"consul_raft_apply", "consul_raft_state_leader", "consul_raft_state_candidate", `consul_raft_fsm_apply{quantile="0.5"}`, `consul_raft_leader_dispatchLog{quantile="0.9"}`,
	"consul_raft_peers", "consul_raft_last_index", "consul_raft_applied_index", "consul_server_isLeader", "consul_autopilot_healthy", "consul_autopilot_failure_tolerance",
	`consul_serf_member_flap{network="lan"}`, "consul_serf_lan_member_flap", "consul_serf_lan_member_failed", `consul_memberlist_msg_suspect{network="lan"}`,
	`consul_memberlist_gossip{network="lan",quantile="0.9"}`, `consul_memberlist_health_score{network="lan"}`, `consul_kvs_apply{quantile="0.9"}`, "consul_kvs_apply_count",
	`consul_txn_apply{quantile="0.9"}`, `consul_catalog_register{quantile="0.9"}`, "consul_catalog_service_query", "consul_rpc_request", "consul_rpc_query", "consul_rpc_queries_blocking",
	`consul_dns_domain_query{quantile="0.9"}`, `consul_session_apply{quantile="0.9"}`, "consul_session_ttl_active", "consul_runtime_alloc_bytes", "consul_runtime_sys_bytes",
	"consul_runtime_num_goroutines", "consul_runtime_heap_objects", "consul_runtime_malloc_count", "consul_runtime_total_gc_pause_ns", `consul_runtime_gc_pause_ns{quantile="0.5"}`,
	`consul_members_servers{datacenter="dc1"}`, `consul_state_kv_entries{datacenter="dc1"}`,
}

func TestConsulsMetricsAndStatsd(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	var statsd net.PacketConn
	must(t, "listen", h.Inside(func() (err error) {
		statsd, err = net.ListenPacket("udp", h.Addr(9, 9)+":8125")
		return err
	}))
	defer statsd.Close()
	telemetry := map[string]any{"telemetry": map[string]any{
		"compat": "consul", "disable_hostname": true, "statsd_address": statsd.LocalAddr().String(), "prefix_filter": []string{"-consul.rpc.server.call"},
		"statsite_address": "127.0.0.1:9", // where nobody is
	}}
	server := start(t, spec{host: h, name: "server", dc: "dc1", ip: h.Addr(1, 1), expect: 1, config: telemetry})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 2), lan: []string{server.ip}, config: map[string]any{"telemetry": map[string]any{"compat": "consul"}}})
	proctest.Until(t, patience, "the agents work", func() error { return client.put("k", "v", "") })
	transport := h.Transport()
	defer transport.CloseIdleConnections()
	read := func(n *node, path string) string {
		t.Helper()
		resp, err := (&http.Client{Transport: transport}).Get("http://" + net.JoinHostPort(n.ip, "8500") + path)
		must(t, "scrape", err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		must(t, "scrape", err)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", path, resp.StatusCode)
		}
		return string(b)
	}
	for _, path := range []string{"/metrics", "/v1/agent/metrics?format=prometheus"} {
		text := read(server, path)
		for _, name := range append(consulsNames, "legate_raft_leader") {
			if !strings.Contains(text, "\n"+name+" ") {
				t.Errorf("%s has no %s", path, name)
			}
		}
		if strings.Contains(text, "NaN") || strings.Contains(text, "consul_rpc_server_call") {
			t.Errorf("%s has a NaN, or what is filtered", path)
		}
	}
	if text := read(client, "/metrics"); !strings.Contains(text, "\nconsul_client_rpc ") || strings.Contains(text, "NaN") {
		t.Error("a client agent does not count its calls")
	}
	const scrapes = 20
	began := time.Now()
	for range scrapes {
		read(server, "/metrics")
	}
	t.Logf("a scrape takes %v", time.Since(began)/scrapes)

	must(t, "deadline", statsd.SetReadDeadline(time.Now().Add(patience)))
	wanted := map[string]bool{"consul.kvs.apply:": true, "consul.raft.apply:": true, "consul.runtime.num_goroutines:": true, "consul.memberlist.gossip.lan:": true}
	b := make([]byte, 1<<16)
	for len(wanted) > 0 {
		n, _, err := statsd.ReadFrom(b)
		must(t, fmt.Sprintf("statsd gets %v", wanted), err)
		for line := range strings.Lines(string(b[:n])) {
			name, _, _ := strings.Cut(line, ":")
			delete(wanted, name+":")
			if strings.HasPrefix(name, "consul.rpc.server.call") {
				t.Errorf("%q is filtered", line)
			}
		}
	}
	proctest.Until(t, patience, "what statsite does not get is counted", func() error {
		if strings.Contains(read(server, "/metrics"), `legate_metrics_push_errors_total{protocol="statsite"} 0`) {
			return fmt.Errorf("none is")
		}
		return nil
	})
}
