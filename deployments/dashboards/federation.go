package dashboards

// loss must happen before copies of calls are counted.
const loss = "packets are lost between datacenters"

func federation() Dashboard {
	return Dashboard{UID: "legate-federation", Title: "Legate: federation",
		About: "How each agent sees the other datacenters: states, calls, the paths between them, and what is answered from memory while one is away.",
		Rows: []Row{
			{"Is it well?", federationStats()},
			{"What is wrong: datacenters and calls", federationCalls()},
			{"Where: the paths between datacenters", federationPaths()},
			{"Why, and what is done about it", federationReasons()},
			{"Gateways and paths, where datacenters do not reach each other", gateways()},
			{"Keys of other datacenters", replication()},
		}}
}

func federationStats() []Panel {
	return []Panel{
		{Title: "Datacenters unreachable", Kind: Stat, Unit: None, Section: "unreachable", Thresholds: limits(1, 1),
			Look:    "Above 0: some server reaches no server of a datacenter. The timeline below says who and which.",
			Queries: []Query{q(`sum(max by (datacenter) (legate_federation_state{@,state="unreachable"}))`, "unreachable")}},
		{Title: "Datacenters degraded", Kind: Stat, Unit: None, Section: "degraded", Thresholds: []Threshold{{0, Green}, {1, Yellow}},
			Look:    "Above 0: calls are made, and something is wrong: servers that do not answer, loss, or no leader. `legate federation status` gives the reason.",
			Queries: []Query{q(`sum(max by (datacenter) (legate_federation_state{@,state="degraded"}))`, "degraded")}},
		{Title: "Breakers open", Kind: Stat, Unit: None, Section: "breaker-open", Thresholds: limits(1, 1),
			Look:    "Pairs of a server and a datacenter whose calls fail at once, because nobody there answers.",
			Queries: []Query{q(`sum(legate_federation_breaker_open{@})`, "open")}},
		{Title: "Calls that fail", Kind: Stat, Unit: PerSec, Section: "unreachable", Thresholds: limits(0.1, 10),
			Look:    "Calls to other datacenters that fail, each second.",
			Queries: []Query{q(`sum(rate(legate_federation_call_errors_total{@}[$__rate_interval]))`, "failing")}},
		{Title: "Oldest answer", Kind: Stat, Unit: Seconds, Section: "old-answers", Thresholds: limits(30, 300),
			Look:    "Age of the oldest result that is still answered with, because its datacenter does not push a newer one. 0 is current.",
			Queries: []Query{q(`max(legate_view_oldest_age_seconds{@})`, "age")}},
		{Title: "Worst loss", Kind: Stat, Unit: Share, Section: "packets-lost", Thresholds: limits(0.01, 0.05),
			Look:    "Share of packets lost on the worst path to another datacenter, lately.",
			Queries: []Query{q(`max(legate_quic_loss_ratio{@,endpoint="wan"})`, "loss")}},
	}
}

func federationCalls() []Panel {
	return []Panel{
		{Title: "State of each pair", Kind: Timeline, Unit: None, Section: "the-states",
			Look:       "Red: unreachable as this server sees it. All servers red for one datacenter: it, or its uplink, is down. One server red: its own path.",
			Thresholds: []Threshold{{0, Blue}, {1, Green}, {2, Yellow}, {3, Red}},
			Words:      map[string]Word{"0": {"removed", Blue}, "1": {"up", Green}, "2": {"degraded", Yellow}, "3": {"unreachable", Red}, "4": {"left", Blue}},
			Queries: []Query{q(`max by (dc, node, datacenter) (legate_federation_state{@,state="up"}) `+
				`+ 2 * max by (dc, node, datacenter) (legate_federation_state{@,state="degraded"}) `+
				`+ 3 * max by (dc, node, datacenter) (legate_federation_state{@,state="unreachable"}) `+
				`+ 4 * max by (dc, node, datacenter) (legate_federation_state{@,state="left"})`, "{{dc}} {{node}} → {{datacenter}}")}},
		{Title: "Calls to other datacenters", Kind: Lines, Unit: PerSec, Section: "unreachable",
			Look:    "Calls by the datacenter asked. A line that falls to 0 while users ask: its breaker is open, or nobody asks through this server.",
			Queries: []Query{q(`sum by (dc, datacenter) (rate(legate_federation_call_seconds_count{@}[$__rate_interval]))`, "{{dc}} → {{datacenter}}")}},
		{Title: "Calls: 50th and 99th percentile", Kind: Lines, Unit: Seconds, Section: "unreachable",
			Look: "The 50th should be little more than the round trip. A 99th that leaves it behind: loss, a slow disk or a missing leader there.",
			Queries: []Query{
				q(quantile("0.5", "legate_federation_call_seconds{@}", "dc, datacenter"), "{{dc}} → {{datacenter}} p50"),
				q(quantile("0.99", "legate_federation_call_seconds{@}", "dc, datacenter"), "{{dc}} → {{datacenter}} p99")}},
		{Title: "Calls that fail, by code", Kind: Lines, Unit: PerSec, Section: "unreachable",
			Look:    "unreachable-datacenter: no path. timeout: late. no-leader: the fault is inside that datacenter.",
			Queries: []Query{q(`sum by (dc, datacenter, code) (rate(legate_federation_call_errors_total{@}[$__rate_interval]))`, "{{dc}} → {{datacenter}} {{code}}")}},
		{Title: "Servers that answer", Kind: Lines, Unit: None, Section: "degraded",
			Look: "Fewer that answer than are alive: gossip still holds servers alive that do not answer calls. Both fall: servers are gone.",
			Queries: []Query{
				q(`min by (dc, datacenter) (legate_federation_answering_servers{@})`, "{{dc}} → {{datacenter}} answer"),
				q(`min by (dc, datacenter) (legate_federation_live_servers{@})`, "{{dc}} → {{datacenter}} alive")}},
		{Title: "Time since the last answer", Kind: Lines, Unit: Seconds, Section: "unreachable",
			Look:    "Grows while a datacenter is away; falls to nearly 0 when one answer came.",
			Queries: []Query{q(`time() - max by (dc, node, datacenter) (legate_federation_last_contact_timestamp_seconds{@})`, "{{dc}} {{node}} → {{datacenter}}")}},
	}
}

func federationPaths() []Panel {
	return []Panel{
		{Title: "Round trip", Kind: Lines, Unit: Seconds, Section: "packets-lost",
			Look:    "As QUIC measures it. A step: the path was rerouted. Peaks: queues fill on the way. A gap: no connection is open.",
			Queries: []Query{q(`min by (dc, node, datacenter) (legate_quic_round_trip_seconds{@,endpoint="wan",protocol="legate-rpc/1"})`, "{{dc}} {{node}} → {{datacenter}}")}},
		{Title: "Packets lost", Kind: Lines, Unit: Share, Section: "packets-lost", Thresholds: limits(0.01, 0.05),
			Look: "Share of packets of the last minutes, for each direction apart: compare both directions of a pair.",
			Queries: []Query{q(`sum by (dc, datacenter) (rate(legate_quic_packets_lost_total{@,endpoint="wan"}[$__rate_interval])) `+
				`/ sum by (dc, datacenter) (rate(legate_quic_packets_sent_total{@,endpoint="wan"}[$__rate_interval]))`, "{{dc}} → {{datacenter}}")}},
		{Title: "Under way, and how much may be", Kind: Lines, Unit: Bytes, Section: "packets-lost",
			Look: "Bytes of the last round trip, and the congestion windows of all connections. Both close together: the path carries no more. A window that shrinks: loss.",
			Queries: []Query{
				q(`sum by (dc, datacenter) (legate_quic_bytes_under_way{@,endpoint="wan"})`, "{{dc}} → {{datacenter}} under way"),
				q(`sum by (dc, datacenter) (legate_quic_congestion_window_bytes{@,endpoint="wan"})`, "{{dc}} → {{datacenter}} window")}},
		{Title: "Bytes", Kind: Lines, Unit: BytesPerSec, Section: "packets-lost",
			Look: "All that goes between datacenters: calls, views and gossip.",
			Queries: []Query{
				q(`sum by (dc, datacenter) (rate(legate_quic_bytes_sent_total{@,endpoint="wan"}[$__rate_interval]))`, "{{dc}} → {{datacenter}}"),
				q(`sum by (dc, datacenter) (rate(legate_quic_bytes_received_total{@,endpoint="wan"}[$__rate_interval]))`, "{{dc}} ← {{datacenter}}")}},
		{Title: "Streams in progress", Kind: Lines, Unit: None, Section: "packets-lost",
			Look:    "Each call has a stream, each followed result too. A rise without more calls: answers are late.",
			Queries: []Query{q(`sum by (dc, datacenter, protocol) (legate_quic_streams_in_flight{@,endpoint="wan"})`, "{{dc}} → {{datacenter}} {{protocol}}")}},
		{Title: "Connections", Kind: Lines, Unit: None, Section: "refused-connections",
			Look: "Open connections by datacenter, and those that did not come about within five minutes, by reason. Reasons other than unreachable: keys, certificates or a removal.",
			Queries: []Query{
				q(`sum by (dc, datacenter) (legate_quic_connections{@,endpoint="wan"})`, "{{dc}} → {{datacenter}}"),
				after("a server is away", `sum by (dc, reason) (increase(legate_quic_handshake_failures_total{@,endpoint="wan"}[5m])) > 0`, "{{dc}} failed: {{reason}}")}},
	}
}

func federationReasons() []Panel {
	return []Panel{
		{Title: "Hedges and copies", Kind: Lines, Unit: PerSec, Section: "packets-lost",
			Look: "Second tries of late reads, those that were first, and calls that went on two connections because of loss. Many hedges that win: one server there is slow.",
			Queries: []Query{
				q(`sum by (dc, datacenter) (rate(legate_federation_hedges_total{@}[$__rate_interval]))`, "{{dc}} → {{datacenter}} hedges"),
				q(`sum by (dc, datacenter) (rate(legate_federation_hedges_won_total{@}[$__rate_interval]))`, "{{dc}} → {{datacenter}} won"),
				after(loss, `sum by (dc, datacenter) (rate(legate_quic_doubled_calls_total{@}[$__rate_interval]))`, "{{dc}} → {{datacenter}} copies")}},
		{Title: "Breakers", Kind: Lines, Unit: None, Section: "it-comes-and-goes",
			Look: "Open now, and how often one opened in the last half hour. One that opens again and again: it comes and goes.",
			Queries: []Query{
				q(`max by (dc, datacenter) (legate_federation_breaker_open{@})`, "{{dc}} → {{datacenter}} open"),
				q(`max by (dc, datacenter) (increase(legate_federation_breaker_opened_total{@}[30m]))`, "{{dc}} → {{datacenter}} opened in 30 min")}},
		{Title: "Probes", Kind: Lines, Unit: PerSec, Section: "unreachable",
			Look:    "Servers that are doubted are asked whether they are there. Silent ones that go on: packets do not pass.",
			Queries: []Query{q(`sum by (dc, datacenter, result) (rate(legate_federation_probes_total{@}[$__rate_interval]))`, "{{dc}} → {{datacenter}} {{result}}")}},
		{Title: "Age of what is answered", Kind: Lines, Unit: Seconds, Section: "old-answers", Thresholds: limits(30, 300),
			Look: "Views and the directory of services keep answering while their datacenter is away, and age. What exceeds the longest permitted age is refused.",
			Queries: []Query{
				q(`max by (dc, datacenter) (legate_view_oldest_age_seconds{@})`, "{{dc}} views of {{datacenter}}"),
				q(`max by (dc, datacenter) (legate_directory_age_seconds{@})`, "{{dc}} services of {{datacenter}}")}},
		{Title: "Answers from views", Kind: Lines, Unit: PerSec, Section: "old-answers",
			Look:    "hit and miss are current. aged answers come from memory of a datacenter that is away; refused are errors to users.",
			Queries: []Query{q(`sum by (dc, result) (rate(legate_view_answers_total{@}[$__rate_interval]))`, "{{dc}} {{result}}")}},
		{Title: "Views", Kind: Lines, Unit: None, Section: "old-answers",
			Look: "Results that are kept, and those of them that are pushed to. A gap between both: streams are broken.",
			Queries: []Query{
				q(`sum by (dc, datacenter) (legate_view_views{@})`, "{{dc}} of {{datacenter}}"),
				q(`sum by (dc, datacenter) (legate_view_subscriptions{@})`, "{{dc}} of {{datacenter}} pushed")}},
		{Title: "Which datacenter answered", Kind: Lines, Unit: PerSec, Section: "old-answers",
			Look:    "Answers of nearest, all and lists: local, another, aged, none, failed. A move from local to other: instances at home are gone.",
			Queries: []Query{q(`sum by (dc, reach, result) (rate(legate_wide_decisions_total{@}[$__rate_interval]))`, "{{dc}} {{reach}} {{result}}")}},
		{Title: "Removed datacenters, as each server knows", Kind: Lines, Unit: None, Section: "servers-disagree-about-a-removal",
			Look:    "All servers show the same number; a difference for minutes means that some do not reach each other.",
			Queries: []Query{q(`max by (dc, node) (legate_federation_removed_datacenters{@})`, "{{dc}} {{node}}")}},
		{Title: "Datagrams dropped", Kind: Lines, Unit: PerSec, Section: "events-dropped",
			Look:    "Gossip packets that were not sent: connecting while a path is opened, queue_full when more is said than the path takes.",
			Queries: []Query{q(`sum by (dc, reason) (rate(legate_quic_datagrams_dropped_total{@,endpoint="wan"}[$__rate_interval]))`, "{{dc}} {{reason}}")}},
	}
}

func gateways() []Panel {
	return []Panel{
		{Title: "Gateways that let servers register", Kind: Lines, Unit: None, Section: "gateways",
			Look: "Of each server that is reached through gateways: how many carry for it, and how many fail. None that carries: others cannot call it.",
			Queries: []Query{
				q(`max by (dc, node) (legate_gateway_registrations{@,state="registered"})`, "{{dc}} {{node}} registered"),
				q(`max by (dc, node) (legate_gateway_registrations{@,state="failing"})`, "{{dc}} {{node}} failing"),
				q(`max by (dc, node) (legate_gateway_tunnels{@})`, "{{dc}} {{node}} over TCP")}},
		{Title: "Datacenters on the way", Kind: Lines, Unit: None, Section: "it-comes-and-goes",
			Look: "How many carry what is said to a datacenter, 0 where it is reached directly, and how often that changed in an hour.",
			Queries: []Query{
				q(`max by (dc, datacenter) (legate_federation_path_transits{@})`, "{{dc}} → {{datacenter}}"),
				q(`max by (dc, datacenter) (increase(legate_federation_path_changes_total{@}[1h]))`, "{{dc}} → {{datacenter}} changes")}},
		{Title: "Flows", Kind: Lines, Unit: None, Section: "gateways",
			Look: "Servers that are reached through each gateway, and ends of flows there: two of each flow that it carries.",
			Queries: []Query{
				q(`max by (dc, node) (legate_gateway_servers{@})`, "{{dc}} {{node}} servers"),
				q(`max by (dc, node) (legate_gateway_labels{@})`, "{{dc}} {{node}} ends")}},
		{Title: "Carried", Kind: Lines, Unit: BytesPerSec, Section: "gateways",
			Look:    "What came over flows: of a gateway what it passes on, of a server what came to it through gateways.",
			Queries: []Query{q(`sum by (dc, node) (rate(legate_gateway_bytes_total{@}[$__rate_interval]))`, "{{dc}} {{node}}")}},
		{Title: "Refused", Kind: Lines, Unit: PerSec, Section: "gateways",
			Look: "Packets above gateway.rate, packets with a label that nobody has, and requests for flows that were refused.",
			Queries: []Query{
				q(`sum by (dc, node) (rate(legate_gateway_refused_packets_total{@}[$__rate_interval]))`, "{{dc}} {{node}} above the rate"),
				q(`sum by (dc, node) (rate(legate_gateway_strange_packets_total{@}[$__rate_interval]))`, "{{dc}} {{node}} strange"),
				q(`sum by (dc, node) (rate(legate_gateway_requests_total{@,result="refused"}[$__rate_interval]))`, "{{dc}} {{node}} requests")}},
	}
}

func replication() []Panel {
	return []Panel{
		{Title: "Keys of other datacenters", Kind: Lines, Unit: Seconds, Section: "keys-of-other-datacenters-are-behind", Thresholds: limits(30, 300),
			Look:    "For how long it is not known of the rule that is most behind that everything is here. 0: all is.",
			Queries: []Query{q(`max by (dc) (legate_kv_replication_lag_seconds{@})`, "{{dc}}")}},
		{Title: "Rules of replication", Kind: Lines, Unit: None, Section: "keys-of-other-datacenters-are-behind",
			Look:    "By their state, on the leader. failing: legate kv replicate -list says why.",
			Queries: []Query{q(`sum by (dc, state) (legate_kv_replication_rules{@})`, "{{dc}} {{state}}")}},
		{Title: "Keys written, deleted, mended", Kind: Lines, Unit: PerSec, Section: "keys-of-other-datacenters-are-behind",
			Look: "What came, and what only a comparison found: that is to be none but after restored snapshots and long cuts. Conflicts lost to what is newer here.",
			Queries: []Query{
				q(`sum by (dc) (rate(legate_kv_replication_written_total{@}[$__rate_interval]))`, "{{dc}} written"),
				q(`sum by (dc) (rate(legate_kv_replication_deleted_total{@}[$__rate_interval]))`, "{{dc}} deleted"),
				q(`sum by (dc) (rate(legate_kv_replication_mended_total{@}[$__rate_interval]))`, "{{dc}} mended"),
				q(`sum by (dc) (rate(legate_kv_replication_conflicts_total{@}[$__rate_interval]))`, "{{dc}} conflicts")}},
	}
}
