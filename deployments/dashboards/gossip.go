package dashboards

func gossip() Dashboard {
	return Dashboard{UID: "legate-gossip", Title: "Legate: gossip, LAN and WAN",
		About: "Members of the pools inside each datacenter (lan) and among all servers (wan): who failed, who comes and goes, who doubts whom, and whether gossip keeps up.",
		Rows: []Row{
			{"Is it well?", gossipStats()},
			{"What is wrong: members", gossipMembers()},
			{"Where: round trips and doubts", gossipDoubts()},
			{"Why: what gossip itself does", gossipReasons()},
		}}
}

func gossipStats() []Panel {
	return []Panel{
		{Title: "Failed members, LAN", Kind: Stat, Unit: None, Section: "members-fail", Thresholds: limits(1, 3),
			Look:    "By datacenter. `legate members` names them.",
			Queries: []Query{q(`max by (dc) (legate_gossip_members{@,pool="lan",status="failed"})`, "{{dc}}")}},
		{Title: "Failed servers, WAN", Kind: Stat, Unit: None, Section: "members-fail", Thresholds: limits(1, 3),
			Look:    "By their datacenter, as the server sees it that sees most of them failed.",
			Queries: []Query{q(`max by (datacenter) (legate_gossip_members{@,pool="wan",status="failed"})`, "{{datacenter}}")}},
		{Title: "Flaps, last hour", Kind: Stat, Unit: None, Section: "members-flap", Thresholds: limits(2, 5),
			Look:    "Members that came back soon after they had failed. Many: machines that stand still, or false alarms.",
			Queries: []Query{q(`max by (dc, pool) (increase(legate_gossip_member_flaps_total{@}[1h]))`, "{{dc}} {{pool}}")}},
		{Title: "Doubt in itself", Kind: Stat, Unit: None, Section: "gossip-doubts-itself", Thresholds: limits(1, 3),
			Look:    "The worst health score. Above 0: that agent's own probes are late, so it trusts its judgement less.",
			Queries: []Query{q(`max by (pool) (legate_gossip_health_score{@})`, "{{pool}}")}},
		{Title: "Longest queue", Kind: Stat, Unit: None, Section: "gossip-queues", Thresholds: limits(100, 1000),
			Look:    "Broadcasts that wait to be sent. Long for minutes: more is said than gossip carries.",
			Queries: []Query{q(`max by (pool) (legate_gossip_queue_depth{@})`, "{{pool}}")}},
		{Title: "Events dropped, last hour", Kind: Stat, Unit: None, Section: "events-dropped", Thresholds: limits(1, 1),
			Look:    "Any: an agent was too slow for what its pool told it.",
			Queries: []Query{q(`sum by (pool) (increase(legate_gossip_events_dropped_total{@}[1h]))`, "{{pool}}")}},
	}
}

func gossipMembers() []Panel {
	return []Panel{
		{Title: "Members, LAN", Kind: Lines, Unit: None, Section: "members-fail",
			Look:    "By status, as the agent sees it that sees most. Alive falls and failed rises: agents are gone. Left: they said goodbye.",
			Queries: []Query{q(`max by (dc, status) (legate_gossip_members{@,pool="lan"})`, "{{dc}} {{status}}")}},
		{Title: "Members, WAN", Kind: Lines, Unit: None, Section: "members-fail",
			Look:    "Servers of all datacenters by status.",
			Queries: []Query{q(`max by (datacenter, status) (legate_gossip_members{@,pool="wan"})`, "{{datacenter}} {{status}}")}},
		{Title: "Agents do not agree", Kind: Lines, Unit: None, Section: "members-fail",
			Look:    "Most and fewest living members that agents of a datacenter see. A gap that stays: gossip is split in two.",
			Queries: []Query{q(`max by (dc) (legate_gossip_members{@,pool="lan",status="alive"}) - min by (dc) (legate_gossip_members{@,pool="lan",status="alive"})`, "{{dc}}")}},
		{Title: "Comings and goings", Kind: Lines, Unit: None, Section: "members-flap",
			Look:    "Joins, failures, leaves and updates within five minutes, as the agent learned them that learned most.",
			Queries: []Query{q(`max by (dc, pool, kind) (increase(legate_gossip_events_total{@,kind=~"join|fail|leave|reap|update"}[5m]))`, "{{dc}} {{pool}} {{kind}}")}},
		{Title: "Flaps", Kind: Lines, Unit: None, Section: "members-flap",
			Look:    "Within half an hour, by pool.",
			Queries: []Query{q(`max by (dc, pool) (increase(legate_gossip_member_flaps_total{@}[30m]))`, "{{dc}} {{pool}}")}},
		{Title: "Failures of servers and damping", Kind: Lines, Unit: None, Section: "it-comes-and-goes",
			Look: "Failures within half an hour by the servers' datacenter, and servers that are asked last because they fail again and again.",
			Queries: []Query{
				q(`max by (datacenter) (increase(legate_wan_server_failures_total{@}[30m]))`, "{{datacenter}} failures"),
				q(`max by (datacenter) (legate_wan_damped_servers{@})`, "{{datacenter}} damped")}},
	}
}

func gossipDoubts() []Panel {
	return []Panel{
		{Title: "Round trips in the LAN", Kind: Lines, Unit: Seconds, Section: "gossip-doubts-itself",
			Look: "Median and 99th percentile of answered probes. Above some milliseconds: processors or network are busy.",
			Queries: []Query{
				q(quantile("0.5", `legate_gossip_probe_round_trip_seconds{@,pool="lan"}`, "dc"), "{{dc}} p50"),
				q(quantile("0.99", `legate_gossip_probe_round_trip_seconds{@,pool="lan"}`, "dc"), "{{dc}} p99")}},
		{Title: "Round trips in the WAN, by datacenter", Kind: Lines, Unit: Seconds, Section: "gossip-doubts-itself",
			Look:    "Median as probes measure it. Far above the usual one: the path was rerouted, or queues fill on it.",
			Queries: []Query{q(quantile("0.5", `legate_gossip_probe_round_trip_seconds{@,pool="wan"}`, "dc, datacenter"), "{{dc}} → {{datacenter}}")}},
		{Title: "Round trips in the WAN, spread", Kind: Heatmap, Unit: Seconds, Section: "gossip-doubts-itself",
			Look:    "A band for each distance between datacenters. One that moves: a path was rerouted.",
			Queries: []Query{q(`sum by (le) (increase(legate_gossip_probe_round_trip_seconds_bucket{@,pool="wan"}[$__rate_interval]))`, "{{le}}")}},
		{Title: "Whole probes, 99th percentile", Kind: Lines, Unit: Seconds, Section: "gossip-doubts-itself",
			Look:    "With the attempts through others. Near the probe interval: members do not answer.",
			Queries: []Query{q(quantile("0.99", "legate_gossip_probe_seconds{@}", "dc, pool"), "{{dc}} {{pool}}")}},
		{Title: "Suspicions", Kind: Lines, Unit: None, Section: "members-flap",
			Look:    "Within five minutes, by who suspects. One agent that suspects many: look at it. All suspect: the network, or the suspected.",
			Queries: []Query{q(`sum by (dc, node, pool) (increase(legate_gossip_suspicions_total{@}[5m]))`, "{{dc}} {{node}} {{pool}}")}},
		{Title: "Suspicions in the WAN, by datacenter", Kind: Lines, Unit: None, Section: "it-comes-and-goes",
			Look:    "Within five minutes, by the datacenter of the suspected. Of one datacenter by all others: its uplink. By one of all others: its own.",
			Queries: []Query{q(`sum by (dc, datacenter) (increase(legate_wan_suspicions_total{@}[5m]))`, "{{dc}} suspects {{datacenter}}")}},
		{Title: "Refutations", Kind: Lines, Unit: None, Section: "gossip-doubts-itself",
			Look:    "How often an agent had to say that it lives, within five minutes. Rising: others do not reach it.",
			Queries: []Query{q(`sum by (dc, node, pool) (increase(legate_gossip_refutations_total{@}[5m]))`, "{{dc}} {{node}} {{pool}}")}},
		{Title: "Doubt in itself", Kind: Lines, Unit: None, Section: "gossip-doubts-itself", Thresholds: limits(1, 3),
			Look:    "Health score of each agent, 0 is healthy. One agent: its machine or network. Many at once: the network between them.",
			Queries: []Query{q(`max by (dc, node, pool) (legate_gossip_health_score{@})`, "{{dc}} {{node}} {{pool}}")}},
	}
}

func gossipReasons() []Panel {
	return []Panel{
		{Title: "Messages about members", Kind: Lines, Unit: PerSec, Section: "members-flap",
			Look:    "alive, suspect and dead messages handled. Many suspect ones in a calm pool: somebody's probes are not answered.",
			Queries: []Query{q(`sum by (dc, pool, kind) (rate(legate_gossip_messages_total{@}[$__rate_interval]))`, "{{dc}} {{pool}} {{kind}}")}},
		{Title: "Queues", Kind: Lines, Unit: None, Section: "gossip-queues",
			Look: "Broadcasts that wait, the longest of each datacenter. event: too many user events. intent: many join and leave at once.",
			Queries: []Query{
				q(`max by (dc, pool, queue) (legate_gossip_queue_depth{@})`, "{{dc}} {{pool}} {{queue}}"),
				q(`max by (dc, pool) (legate_gossip_broadcast_queue_depth{@})`, "{{dc}} {{pool}} members")}},
		{Title: "Bytes", Kind: Lines, Unit: BytesPerSec, Section: "gossip-queues",
			Look: "Packets in both directions and exchanges of state.",
			Queries: []Query{
				q(`sum by (dc, pool) (rate(legate_gossip_packet_sent_bytes_total{@}[$__rate_interval]))`, "{{dc}} {{pool}} packets sent"),
				q(`sum by (dc, pool) (rate(legate_gossip_packet_received_bytes_total{@}[$__rate_interval]))`, "{{dc}} {{pool}} packets received"),
				q(`sum by (dc, pool) (rate(legate_gossip_stream_sent_bytes_total{@}[$__rate_interval]))`, "{{dc}} {{pool}} streams sent"),
				q(`sum by (dc, pool) (rate(legate_gossip_stream_received_bytes_total{@}[$__rate_interval]))`, "{{dc}} {{pool}} streams received")}},
		{Title: "Exchanges of state", Kind: Lines, Unit: Seconds, Section: "gossip-doubts-itself",
			Look:    "Mean time of one, over five minutes. Seconds: the other side is slow or far, or loses packets.",
			Queries: []Query{q(`sum by (dc, pool) (increase(legate_gossip_push_pull_seconds_sum{@}[5m])) / sum by (dc, pool) (increase(legate_gossip_push_pull_seconds_count{@}[5m]))`, "{{dc}} {{pool}}")}},
		{Title: "Waited longer because of doubt", Kind: Lines, Unit: PerSec, Section: "gossip-doubts-itself",
			Look:    "Probes and timeouts that a node which doubts itself made longer.",
			Queries: []Query{q(`sum by (dc, pool, kind) (rate(legate_gossip_degraded_total{@}[$__rate_interval]))`, "{{dc}} {{pool}} {{kind}}")}},
		{Title: "User events", Kind: Lines, Unit: PerSec, Section: "gossip-queues",
			Look:    "Each agent's, by what became of them. Many: somebody uses events for what a key would do.",
			Queries: []Query{q(`max by (dc, result) (rate(legate_user_events_total{@}[$__rate_interval]))`, "{{dc}} {{result}}")}},
		{Title: "What no member should do", Kind: Lines, Unit: None, Section: "refused-connections",
			Look: "Within an hour: deaths claimed without suspicion, exchanges that were too large, coordinates out of range.",
			Queries: []Query{
				q(`sum by (dc) (increase(legate_wan_tempered_deaths_total{@}[1h]))`, "{{dc}} deaths tempered"),
				q(`sum by (dc) (increase(legate_wan_oversized_exchanges_total{@}[1h]))`, "{{dc}} exchanges refused"),
				q(`sum by (dc, pool) (increase(legate_gossip_coordinates_rejected_total{@}[1h]))`, "{{dc}} {{pool}} coordinates")}},
		{Title: "Time of a round", Kind: Lines, Unit: Seconds, Section: "gossip-queues",
			Look:    "99th percentile of one round of gossip. Near the gossip interval: the processor is busy.",
			Queries: []Query{q(quantile("0.99", "legate_gossip_round_seconds{@}", "dc, pool"), "{{dc}} {{pool}}")}},
	}
}
