package metrics

import (
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Names says how metrics are called under the names that Consul has for them.
type Names struct {
	// Prefix of all of them (telemetry.metrics_prefix); empty for none.
	Prefix string
	// Host is in the names of gauges, behind the prefix, as go-metrics has it;
	// empty for none (telemetry.disable_hostname).
	Host string
	// Datacenter is the label of what counts the whole datacenter.
	Datacenter string
	// Compat has them in the formats of Prometheus, too (telemetry.compat).
	Compat bool
}

// plain is the name of a row without the host.
func (n Names) plain(r *row) string {
	n.Host = ""
	return n.of(r)
}

// of returns the whole name of a row.
func (n Names) of(r *row) string {
	parts := make([]string, 0, 3)
	if n.Prefix != "" {
		parts = append(parts, n.Prefix)
	}
	if n.Host != "" && (r.kind == gauge || r.kind == runs) {
		parts = append(parts, n.Host)
	}
	return strings.Join(append(parts, r.name), ".")
}

// shape is what Consul shows a metric as.
type shape uint8

const (
	gauge  shape = iota + 1 // a value, or the sum of what was observed
	runs                    // a gauge of how often something was observed
	count                   // a counter of an interval
	sample                  // observations of an interval
)

// row is one metric under Consul's name and what it is made from here. Series
// that differ in other labels than those that are shown are added up.
type row struct {
	name   string
	kind   shape
	family string
	// only are the labels that the series must have: "kind=alive,pool=lan"; several
	// values of one are separated by |.
	only string
	// shown are the labels: Consul's name = ours; @ is the datacenter.
	shown string
	// times is the unit: Consul's times are in milliseconds, or nanoseconds
	// where the name says so. 0 is 1.
	times float64
}

const (
	ms = 1e3 // in a second
	ns = 1e9
)

// consulRows is all that is shown under Consul's names, as its telemetry
// reference has them.
func consulRows() []row {
	return slices.Concat(runtimeRows(), raftRows(), gossipRows(), callRows(), stateRows())
}

// runtimeRows is the process.
func runtimeRows() []row {
	return []row{
		{"version", gauge, "legate_version", "", "version=compatible,pre_release=prerelease", 0},
		{"runtime.num_goroutines", gauge, "go_goroutines", "", "", 0},
		{"runtime.alloc_bytes", gauge, "go_memstats_alloc_bytes", "", "", 0},
		{"runtime.sys_bytes", gauge, "go_memstats_sys_bytes", "", "", 0},
		{"runtime.malloc_count", gauge, "go_memstats_mallocs_total", "", "", 0},
		{"runtime.free_count", gauge, "go_memstats_frees_total", "", "", 0},
		{"runtime.heap_objects", gauge, "go_memstats_heap_objects", "", "", 0},
		{"runtime.total_gc_pause_ns", gauge, "go_gc_duration_seconds", "", "", ns},
		{"runtime.total_gc_runs", runs, "go_gc_duration_seconds", "", "", 0},
		{"runtime.gc_pause_ns", sample, "go_gc_duration_seconds", "", "", ns},
	}
}

// raftRows is consensus and what a leader does.
func raftRows() []row {
	return []row{
		{"server.isLeader", gauge, "legate_raft_leader", "", "", 0},
		{"autopilot.healthy", gauge, "legate_server_healthy", "", "", 0},
		{"autopilot.failure_tolerance", gauge, "legate_server_failure_tolerance", "", "", 0},
		{"raft.apply", count, "legate_raft_entry_commands", "", "", 0},
		{"raft.commitTime", sample, "legate_raft_commit_seconds", "", "", ms},
		{"raft.commitNumLogs", sample, "legate_raft_log_batch_entries", "", "", 0},
		{"raft.fsm.apply", sample, "legate_raft_apply_seconds", "", "", ms},
		{"raft.leader.lastContact", sample, "legate_raft_peer_last_contact_seconds", "", "", ms}, // the leader's word of all others
		{"raft.leader.dispatchLog", sample, "legate_raft_log_fsync_seconds", "", "", ms},
		{"raft.verify_leader", count, "legate_raft_verify_leader_seconds", "", "", 0},
		{"raft.state.candidate", count, "legate_raft_elections_total", "", "", 0},
		{"raft.state.leader", count, "legate_raft_leaderships_total", "", "", 0},
		{"raft.state.follower", count, "legate_raft_followerships_total", "", "", 0},
		{"raft.last_index", gauge, "legate_raft_log_last_index", "", "", 0},
		{"raft.applied_index", gauge, "legate_raft_applied_index", "", "", 0},
		{"raft.commitIndex", gauge, "legate_raft_commit_index", "", "", 0},
		{"raft.peers", gauge, "legate_raft_servers", "", "", 0},
		{"raft.snapshot.create", sample, "legate_raft_snapshot_seconds", "", "", ms},
		{"raft.snapshot.persist", sample, "legate_raft_checkpoint_seconds", "", "", ms},
		{"leader.reconcile", sample, "legate_leader_reconcile_seconds", "", "", ms},
		{"session_ttl.active", gauge, "legate_session_ttl_timers", "", "", 0},
		{"session_ttl.expired", count, "legate_session_expired_total", "", "", 0},
	}
}

// gossipRows is Serf and memberlist.
func gossipRows() []row {
	return []row{
		{"members.clients", gauge, "legate_agent_lan_members", "role=client", "datacenter=@", 0},
		{"members.servers", gauge, "legate_agent_lan_members", "role=server", "datacenter=@", 0},
		{"memberlist.node.instances", gauge, "legate_gossip_members", "", "node_state=status,network=pool", 0},
		{"memberlist.health.score", gauge, "legate_gossip_health_score", "", "network=pool", 0},
		{"memberlist.msg.alive", count, "legate_gossip_messages_total", "kind=alive", "network=pool", 0},
		{"memberlist.msg.suspect", count, "legate_gossip_messages_total", "kind=suspect", "network=pool", 0},
		{"memberlist.msg.dead", count, "legate_gossip_messages_total", "kind=dead", "network=pool", 0},
		{"memberlist.degraded.probe", count, "legate_gossip_degraded_total", "kind=probe", "network=pool", 0},
		{"memberlist.degraded.timeout", count, "legate_gossip_degraded_total", "kind=timeout", "network=pool", 0},
		{"memberlist.tcp.accept", count, "legate_gossip_streams_total", "kind=accepted", "network=pool", 0},
		{"memberlist.tcp.connect", count, "legate_gossip_streams_total", "kind=opened", "network=pool", 0},
		{"memberlist.tcp.sent", count, "legate_gossip_stream_sent_bytes_total", "", "network=pool", 0},
		{"memberlist.udp.sent", count, "legate_gossip_packet_sent_bytes_total", "", "network=pool", 0},
		{"memberlist.udp.received", count, "legate_gossip_packet_received_bytes_total", "", "network=pool", 0},
		{"memberlist.gossip", sample, "legate_gossip_round_seconds", "", "network=pool", ms},
		{"memberlist.probeNode", sample, "legate_gossip_probe_seconds", "", "network=pool", ms},
		{"memberlist.pushPullNode", sample, "legate_gossip_push_pull_seconds", "", "network=pool", ms},
		{"memberlist.queue.broadcasts", sample, "legate_gossip_broadcast_queue_depth", "", "network=pool", 0},
		{"serf.member.join", count, "legate_gossip_events_total", "kind=join", "network=pool", 0},
		{"serf.member.failed", count, "legate_gossip_events_total", "kind=fail", "network=pool", 0},
		{"serf.member.left", count, "legate_gossip_events_total", "kind=leave", "network=pool", 0},
		{"serf.member.update", count, "legate_gossip_events_total", "kind=update", "network=pool", 0},
		{"serf.member.flap", count, "legate_gossip_member_flaps_total", "", "network=pool", 0},
		{"serf.lan.member.join", count, "legate_gossip_events_total", "kind=join,pool=lan", "", 0}, // old names
		{"serf.lan.member.failed", count, "legate_gossip_events_total", "kind=fail,pool=lan", "", 0},
		{"serf.lan.member.left", count, "legate_gossip_events_total", "kind=leave,pool=lan", "", 0},
		{"serf.lan.member.update", count, "legate_gossip_events_total", "kind=update,pool=lan", "", 0},
		{"serf.lan.member.flap", count, "legate_gossip_member_flaps_total", "pool=lan", "", 0},
		{"serf.events", count, "legate_gossip_user_events_total", "", "network=pool", 0},
		{"serf.queries", count, "legate_gossip_queries_total", "", "network=pool", 0},
		{"serf.queue.Event", sample, "legate_gossip_queue_depth", "queue=event", "network=pool", 0},
		{"serf.queue.Intent", sample, "legate_gossip_queue_depth", "queue=intent", "network=pool", 0},
		{"serf.queue.Query", sample, "legate_gossip_queue_depth", "queue=query", "network=pool", 0},
		{"serf.coordinate.rejected", count, "legate_gossip_coordinates_rejected_total", "", "network=pool", 0},
		{"serf.snapshot.appendLine", sample, "legate_gossip_snapshot_seconds", "kind=append", "network=pool", ms},
		{"serf.snapshot.compact", sample, "legate_gossip_snapshot_seconds", "kind=compact", "network=pool", ms},
	}
}

// reads are the operations that Consul counts as queries.
const reads = "catalog.all-service-nodes|catalog.node|catalog.node-services|catalog.nodes|catalog.service-nodes|catalog.services|" +
	"coordinate.node|coordinate.nodes|health.checks|health.node|health.service|health.state|kv.get|kv.keys|kv.list|" +
	"query.get|query.list|session.get|session.list|session.node|ui.catalog-overview|ui.node|ui.nodes|ui.services"

// callRows is what is asked: by HTTP and DNS, of servers, and on them.
func callRows() []row {
	rows := []row{
		{"api.http", sample, "legate_http_request_seconds", "", "method=method,path=route", ms},
		{"dns.domain_query", sample, "legate_dns_query_seconds", "type=A|AAAA|ANY|NS|SOA|SRV|TXT|other", "", ms},
		{"dns.ptr_query", sample, "legate_dns_query_seconds", "type=PTR", "", ms},
		{"dns.stale_queries", count, "legate_dns_lookups_total", "freshness=aged", "", 0},
		{"client.rpc", count, "legate_client_call_seconds", "", "", 0},
		{"client.rpc.failed", count, "legate_client_call_errors_total", "", "", 0},
		{"client.rpc.error", count, "legate_client_call_errors_total", "", "code=code", 0},
		{"rpc.request", count, "legate_rpc_seconds", "", "", 0},
		{"rpc.query", count, "legate_rpc_seconds", "operation=" + reads, "", 0},
		{"rpc.request_error", count, "legate_rpc_errors_total", "", "", 0},
		{"rpc.server.call", sample, "legate_rpc_seconds", "", "method=operation", ms},
		{"rpc.cross-dc", count, "legate_federation_call_seconds", "", "datacenter=datacenter", 0},
		{"rpc.queries_blocking", gauge, "legate_storage_waiters", "", "", 0},
		{"cache.entries_count", gauge, "legate_view_views", "", "", 0},
	}
	for _, of := range []struct{ name, operations string }{
		{"catalog.register", "catalog.register"}, {"catalog.deregister", "catalog.deregister"},
		{"kvs.apply", "kv.apply"}, {"txn.apply", "txn.apply"}, {"txn.read", "txn.read"},
		{"session.apply", "session.create|session.destroy"}, {"session.renew", "session.renew"}, {"session_ttl.invalidate", "session.expire"},
		{"prepared-query.apply", "query.create|query.update|query.delete"}, {"prepared-query.explain", "query.explain"},
		{"prepared-query.execute", "query.execute"}, {"prepared-query.execute_remote", "query.execute-remote"},
		{"leader.reapTombstones", "state.collect"},
	} {
		rows = append(rows, row{of.name, sample, "legate_rpc_seconds", "operation=" + of.operations, "", ms})
	}
	for _, of := range []struct{ name, operations string }{
		{"catalog.service.query", "catalog.service-nodes"}, {"health.service.query", "health.service"},
	} {
		rows = append(rows, row{of.name, count, "legate_rpc_seconds", "operation=" + of.operations, "", 0})
	}
	return rows
}

// stateRows is how much a datacenter holds, as each server knows it.
func stateRows() []row {
	const family = "legate_state_rows"
	var rows []row
	for _, of := range []struct{ name, table string }{
		{"state.nodes", "nodes"}, {"state.services", "service-names"}, {"state.service_instances", "services"}, {"state.kv_entries", "kv"},
		{"state.checks", "checks"}, {"state.sessions", "sessions"}, {"state.prepared_queries", "queries"},
	} {
		rows = append(rows, row{of.name, gauge, family, "table=" + of.table, "datacenter=@", 0})
	}
	return rows
}

// inConsulsNames adds what is shown under Consul's names: gauges as they are,
// the rest of the interval between two gatherings. What nothing was counted of
// in the interval is left out if it has labels, as go-metrics does.
func (d *Dump) inConsulsNames(names Names, now []*dto.MetricFamily, in interval, shows func(name string) bool) {
	at, from, to := byName(now), byName(in.from), byName(in.to)
	for _, r := range consulRows() {
		if r.times == 0 {
			r.times = 1
		}
		if !shows(names.plain(&r)) {
			continue
		}
		name := names.of(&r)
		switch r.kind {
		case gauge, runs:
			for _, s := range r.sums(names, at[r.family]) {
				v := s.sum
				if r.kind == runs {
					v = float64(s.count)
				}
				d.Gauges = append(d.Gauges, Gauge{name, v * r.times, s.labels})
			}
		case count:
			for _, s := range r.between(names, from[r.family], to[r.family]) {
				if s.count > 0 || r.shown == "" {
					d.Counters = append(d.Counters, Sample{Name: name, Count: s.count, Sum: float64(s.count), Labels: s.labels}.averaged(in.length))
				}
			}
		case sample:
			for _, s := range r.between(names, from[r.family], to[r.family]) {
				if s.count > 0 {
					out := Sample{Name: name, Count: s.count, Sum: s.sum * r.times, Max: s.max() * r.times, Min: s.min() * r.times, Labels: s.labels}
					d.Samples = append(d.Samples, out.averaged(in.length))
				}
			}
		}
	}
}

func byName(families []*dto.MetricFamily) map[string]*dto.MetricFamily {
	m := make(map[string]*dto.MetricFamily, len(families))
	for _, f := range families {
		m[f.GetName()] = f
	}
	return m
}

// total is series of one family added up.
type total struct {
	labels  map[string]string
	count   uint64
	sum     float64
	buckets map[float64]uint64 // observations by upper bound, not cumulative
	level   bool               // the latest of a level: one observation
}

// sums adds the series of a family up by the labels that are shown, in the
// order in which they come.
func (r *row) sums(names Names, f *dto.MetricFamily) []*total {
	var out []*total
	by := map[string]*total{}
	for _, m := range f.GetMetric() {
		if !r.takes(m) {
			continue
		}
		key, labels := r.show(names, m)
		t := by[key]
		if t == nil {
			t = &total{labels: labels, buckets: map[float64]uint64{}}
			by[key], out = t, append(out, t)
		}
		t.add(f.GetType(), m)
	}
	return out
}

// between is what came on top of an earlier gathering.
func (r *row) between(names Names, from, to *dto.MetricFamily) []*total {
	out, before := r.sums(names, to), map[string]*total{}
	for _, t := range r.sums(names, from) {
		before[keyOf(t.labels)] = t
	}
	for _, t := range out {
		old := before[keyOf(t.labels)]
		if old == nil || t.level || t.count < old.count { // one that began anew
			continue
		}
		t.count -= old.count
		t.sum -= old.sum
		for bound, n := range old.buckets {
			t.buckets[bound] -= min(n, t.buckets[bound])
		}
	}
	return out
}

func (t *total) add(kind dto.MetricType, m *dto.Metric) {
	switch kind {
	case dto.MetricType_GAUGE, dto.MetricType_UNTYPED:
		v := finite(m.GetGauge().GetValue() + m.GetUntyped().GetValue())
		t.count, t.sum, t.level = t.count+1, t.sum+v, true
	case dto.MetricType_COUNTER:
		v := finite(m.GetCounter().GetValue())
		t.count, t.sum = t.count+uint64(v), t.sum+v
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		h := m.GetHistogram()
		t.count, t.sum = t.count+h.GetSampleCount(), t.sum+finite(h.GetSampleSum())
		var below uint64
		for _, b := range h.GetBucket() {
			t.buckets[b.GetUpperBound()] += b.GetCumulativeCount() - below
			below = b.GetCumulativeCount()
		}
	case dto.MetricType_SUMMARY:
		h := m.GetSummary()
		t.count, t.sum = t.count+h.GetSampleCount(), t.sum+finite(h.GetSampleSum())
	}
}

// max is the bound below which all observations are, and min the one above
// which they are, as far as finite bounds tell. Without bounds both are the
// mean.
func (t *total) max() float64 {
	var counted uint64
	var bound float64
	bounds := slices.Sorted(maps.Keys(t.buckets))
	for _, b := range bounds {
		if t.buckets[b] > 0 {
			bound = finite(b)
		}
		counted += t.buckets[b]
	}
	switch {
	case len(bounds) == 0:
		return t.sum / float64(t.count)
	case counted < t.count: // above the last
		return finite(bounds[len(bounds)-1])
	}
	return bound
}

func (t *total) min() float64 {
	if len(t.buckets) == 0 {
		return t.sum / float64(t.count)
	}
	var below float64
	for _, b := range slices.Sorted(maps.Keys(t.buckets)) {
		if t.buckets[b] > 0 {
			return below
		}
		below = finite(b)
	}
	return below
}

// takes reports whether a series has the labels that the row wants.
func (r *row) takes(m *dto.Metric) bool {
	if r.only == "" {
		return true
	}
	for pair := range strings.SplitSeq(r.only, ",") {
		name, values, _ := strings.Cut(pair, "=")
		if !slices.Contains(strings.Split(values, "|"), labelOf(m, name)) {
			return false
		}
	}
	return true
}

// show returns the labels under Consul's names.
func (r *row) show(names Names, m *dto.Metric) (key string, labels map[string]string) {
	labels = map[string]string{}
	if r.shown != "" {
		for pair := range strings.SplitSeq(r.shown, ",") {
			theirs, ours, _ := strings.Cut(pair, "=")
			v := labelOf(m, ours)
			switch {
			case ours == "@":
				v = names.Datacenter
			case theirs == "path": // a slash behind it is a second underscore
				v = strings.ReplaceAll(strings.TrimPrefix(v, "/"), "/", "_")
			}
			labels[theirs] = v
		}
	}
	return keyOf(labels), labels
}

func keyOf(labels map[string]string) string {
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		key.WriteString(labels[name] + "\x00")
	}
	return key.String()
}

func labelOf(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
