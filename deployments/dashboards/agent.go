package dashboards

func agent() Dashboard {
	return Dashboard{UID: "legate-agent", Title: "Legate: one agent", One: true,
		About: "One process: what it uses, what it answers, what it registers, how it sees its pools.",
		Rows: []Row{
			{"Is it well?", agentStats()},
			{"What it uses", agentUse()},
			{"What it does", agentWork()},
			{"How it sees the others", agentPeers()},
		}}
}

func agentStats() []Panel {
	return []Panel{
		{Title: "Up since", Kind: Stat, Unit: Seconds, Section: "restarts", Thresholds: wanted(300),
			Look:    "Red: it started within the last five minutes.",
			Queries: []Query{q(`time() - max(process_start_time_seconds{@})`, "up")}},
		{Title: "Processors", Kind: Stat, Unit: None, Section: "http-slow", Thresholds: limits(1, 4),
			Look:    "Processors' time each second.",
			Queries: []Query{q(`sum(rate(process_cpu_seconds_total{@}[$__rate_interval]))`, "processors")}},
		{Title: "Memory", Kind: Stat, Unit: Bytes, Section: "restarts",
			Look:    "Resident.",
			Queries: []Query{q(`max(process_resident_memory_bytes{@})`, "resident")}},
		{Title: "Open files", Kind: Stat, Unit: Share, Section: "file-descriptors", Thresholds: limits(0.5, 0.8),
			Look:    "Of those it may open. Each client connection takes one.",
			Queries: []Query{q(`max(process_open_fds{@} / process_max_fds{@})`, "share")}},
		{Title: "Requests and queries", Kind: Stat, Unit: PerSec, Section: "http-fails",
			Look:    "HTTP and DNS together.",
			Queries: []Query{q(`sum(rate(legate_http_responses_total{@}[$__rate_interval])) + sum(rate(legate_dns_responses_total{@}[$__rate_interval]))`, "answered")}},
		{Title: "Doubt in itself", Kind: Stat, Unit: None, Section: "gossip-doubts-itself", Thresholds: limits(1, 3),
			Look:    "Above 0: its own probes are late.",
			Queries: []Query{q(`max(legate_gossip_health_score{@})`, "score")}},
	}
}

func agentUse() []Panel {
	return []Panel{
		{Title: "Processors", Kind: Lines, Unit: None, Section: "http-slow",
			Look:    "Time each second. At the number of processors: everything else is late, gossip too.",
			Queries: []Query{q(`sum by (node) (rate(process_cpu_seconds_total{@}[$__rate_interval]))`, "{{node}}")}},
		{Title: "Memory", Kind: Lines, Unit: Bytes, Section: "restarts",
			Look: "Resident, and the heap in use. A heap that only grows: clients that wait, or a fault: take `legate debug`.",
			Queries: []Query{
				q(`max by (node) (process_resident_memory_bytes{@})`, "resident"),
				q(`max by (node) (go_memstats_heap_inuse_bytes{@})`, "heap")}},
		{Title: "Goroutines and open files", Kind: Lines, Unit: None, Section: "file-descriptors",
			Look: "Both follow the number of clients. Without them they stay level.",
			Queries: []Query{
				q(`max by (node) (go_goroutines{@})`, "goroutines"),
				q(`max by (node) (process_open_fds{@})`, "open files")}},
		{Title: "Pauses of the garbage collector", Kind: Lines, Unit: Seconds, Section: "http-slow",
			Look:    "Time in which everything stood still, each second. Above a hundredth: the processor or the memory is short.",
			Queries: []Query{q(`max by (node) (rate(go_gc_duration_seconds_sum{@}[$__rate_interval]))`, "{{node}}")}},
		{Title: "Network", Kind: Lines, Unit: BytesPerSec, Section: "gossip-queues",
			Look: "As QUIC counts it, by network, in both directions.",
			Queries: []Query{
				q(`sum by (endpoint) (rate(legate_quic_bytes_sent_total{@}[$__rate_interval]))`, "{{endpoint}} sent"),
				q(`sum by (endpoint) (rate(legate_quic_bytes_received_total{@}[$__rate_interval]))`, "{{endpoint}} received")}},
		{Title: "Scrapes that failed in part", Kind: Lines, Unit: None, Section: "metrics-are-missing",
			Look:    "Errors while metrics were gathered, within an hour. Any: metrics are missing or wrong.",
			Queries: []Query{q(`max by (node) (increase(legate_metrics_gather_errors_total{@}[1h]))`, "errors")}},
	}
}

func agentWork() []Panel {
	return []Panel{
		{Title: "HTTP answers", Kind: Lines, Unit: PerSec, Section: "http-fails",
			Look:    "By class.",
			Queries: []Query{q(`sum by (class) (rate(legate_http_responses_total{@}[$__rate_interval])) > 0`, "{{class}}")}},
		{Title: "DNS answers", Kind: Lines, Unit: PerSec, Section: "dns-fails",
			Look:    "By code.",
			Queries: []Query{q(`sum by (rcode) (rate(legate_dns_responses_total{@}[$__rate_interval]))`, "{{rcode}}")}},
		{Title: "Times, 99th percentile", Kind: Lines, Unit: Seconds, Section: "http-slow",
			Look: "HTTP, DNS, and this agent's calls to servers.",
			Queries: []Query{
				q(quantile("0.99", "legate_http_request_seconds{@}", ""), "HTTP"),
				q(quantile("0.99", "legate_dns_query_seconds{@}", ""), "DNS"),
				q(quantile("0.99", "legate_client_call_seconds{@}", "kind"), "calls: {{kind}}")}},
		{Title: "Anti-entropy", Kind: Lines, Unit: None, Section: "anti-entropy-fails",
			Look: "Rounds and writes of five minutes by outcome. failed: the catalog does not know what this agent registers.",
			Queries: []Query{
				q(`sum by (outcome) (increase(legate_local_syncs_total{@}[5m]))`, "rounds {{outcome}}"),
				q(`sum by (outcome) (increase(legate_local_writes_total{@}[5m]))`, "writes {{outcome}}")}},
		{Title: "Views", Kind: Lines, Unit: Bytes, Section: "old-answers",
			Look:    "Memory of results that are kept, by the datacenter that owns them.",
			Queries: []Query{q(`sum by (datacenter) (legate_view_bytes{@})`, "{{datacenter}}")}},
		{Title: "Views dropped", Kind: Lines, Unit: PerSec, Section: "old-answers",
			Look:    "idle: nobody asked. room and refused: there is no room, names are asked of servers each time.",
			Queries: []Query{q(`sum by (reason) (rate(legate_view_evictions_total{@}[$__rate_interval]))`, "{{reason}}")}},
	}
}

func agentPeers() []Panel {
	return []Panel{
		{Title: "Living members of its datacenter", Kind: Lines, Unit: None, Section: "members-fail",
			Look:    "By role, as this agent sees them. Fewer than other agents see: it is cut off.",
			Queries: []Query{q(`max by (role) (legate_agent_lan_members{@})`, "{{role}}")}},
		{Title: "Connections", Kind: Lines, Unit: None, Section: "refused-connections",
			Look:    "By network and the other's datacenter.",
			Queries: []Query{q(`sum by (endpoint, datacenter) (legate_quic_connections{@})`, "{{endpoint}} {{datacenter}}")}},
		{Title: "Round trip to servers", Kind: Lines, Unit: Seconds, Section: "packets-lost",
			Look:    "Of calls, by network and datacenter. In the LAN above some milliseconds: busy machines.",
			Queries: []Query{q(`min by (endpoint, datacenter) (legate_quic_round_trip_seconds{@,protocol="legate-rpc/1"})`, "{{endpoint}} {{datacenter}}")}},
	}
}
