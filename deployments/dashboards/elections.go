package dashboards

func elections() Dashboard {
	return Dashboard{UID: "legate-raft", Title: "Legate: Raft and elections",
		About: "Who leads each datacenter, for how long nobody did, how far followers are behind, and how fast writes become durable.",
		Rows: []Row{
			{"Is it well?", raftStats()},
			{"What is wrong: leaders and elections", raftElections()},
			{"Where: followers and commits", raftCommits()},
			{"Why: disks, load, membership", raftReasons()},
		}}
}

func raftStats() []Panel {
	return []Panel{
		{Title: "Leaders", Kind: Stat, Unit: None, Section: "no-leader", Thresholds: []Threshold{{0, Red}, {1, Green}, {2, Red}},
			Look:    "One in each datacenter. 0: writes and consistent reads fail there.",
			Queries: []Query{q(`sum by (dc) (legate_raft_leader{@})`, "{{dc}}")}},
		{Title: "Time without a leader, last hour", Kind: Stat, Unit: Seconds, Section: "no-leader", Thresholds: limits(5, 30),
			Look:    "As the server that was without one longest saw it. An ordinary election takes one or two seconds.",
			Queries: []Query{q(`max by (dc) (increase(legate_raft_leaderless_seconds_total{@}[1h]))`, "{{dc}}")}},
		{Title: "New leaders, last hour", Kind: Stat, Unit: None, Section: "elections-too-often", Thresholds: limits(2, 4),
			Look:    "More than one without a restart: disks, the network or the machines stand still now and then.",
			Queries: []Query{q(`sum by (dc) (increase(legate_raft_leaderships_total{@}[1h]))`, "{{dc}}")}},
		{Title: "Servers that may fail", Kind: Stat, Unit: None, Section: "no-failure-tolerance", Thresholds: wanted(1),
			Look:    "0: the next failure stops all writes of the datacenter.",
			Queries: []Query{q(`min by (dc) (legate_server_failure_tolerance{@})`, "{{dc}}")}},
		{Title: "Most entries behind", Kind: Stat, Unit: None, Section: "follower-behind", Thresholds: limits(1000, 10000),
			Look:    "What the slowest follower lacks of the log, as the leader knows.",
			Queries: []Query{q(`max by (dc) (legate_raft_peer_lag_entries{@})`, "{{dc}}")}},
		{Title: "Commit, 99th percentile", Kind: Stat, Unit: Seconds, Section: "slow-disk", Thresholds: limits(0.1, 0.5),
			Look:    "From handing an entry to Raft until it is applied, on the leader. Mostly two syncs of disks and a round trip.",
			Queries: []Query{q(quantile("0.99", "legate_raft_commit_seconds{@}", "dc"), "{{dc}}")}},
	}
}

func raftElections() []Panel {
	return []Panel{
		{Title: "Who leads", Kind: Timeline, Unit: None, Section: "no-leader",
			Look:       "One green server in each datacenter. Candidates that go on: servers do not reach each other, or votes are split.",
			Thresholds: []Threshold{{0, Blue}, {1, Yellow}, {2, Green}},
			Words:      map[string]Word{"0": {"follows", Blue}, "1": {"candidate", Yellow}, "2": {"leads", Green}},
			Queries: []Query{q(`2 * max by (dc, node) (legate_raft_state{@,state="leader"}) + max by (dc, node) (legate_raft_state{@,state="candidate"})`,
				"{{dc}} {{node}}")}},
		{Title: "Term", Kind: Lines, Unit: None, Section: "elections-too-often",
			Look:    "Each election raises it. Stairs: elections that nobody wins. Servers that differ for long: some do not hear the others.",
			Queries: []Query{q(`max by (dc, node) (legate_raft_term{@})`, "{{dc}} {{node}}")}},
		{Title: "Without a leader", Kind: Lines, Unit: Seconds, Section: "a-server-hears-no-leader", Thresholds: limits(5, 10),
			Look:    "For how long each server has known no leader. One server alone: it is cut off. All: no majority.",
			Queries: []Query{q(`max by (dc, node) (legate_raft_leader_absent_seconds{@})`, "{{dc}} {{node}}")}},
		{Title: "Elections", Kind: Lines, Unit: None, Section: "elections-too-often",
			Look: "Begun, won and lost within five minutes. Many lost: votes are split, or the others still hear a leader.",
			Queries: []Query{
				q(`sum by (dc) (increase(legate_raft_elections_total{@}[5m]))`, "{{dc}} begun"),
				q(`sum by (dc) (increase(legate_raft_elections_won_total{@}[5m]))`, "{{dc}} won"),
				q(`sum by (dc) (increase(legate_raft_elections_lost_total{@}[5m]))`, "{{dc}} lost")}},
		{Title: "How long elections take", Kind: Lines, Unit: Seconds, Section: "elections-too-often",
			Look:    "Mean of five minutes, from beginning one to its end. Above some seconds: servers answer late.",
			Queries: []Query{after("an election", `sum by (dc, result) (increase(legate_raft_election_seconds_sum{@}[5m])) / sum by (dc, result) (increase(legate_raft_election_seconds_count{@}[5m]))`, "{{dc}} {{result}}")}},
		{Title: "Votes", Kind: Lines, Unit: PerSec, Section: "elections-too-often",
			Look: "Votes and pre-votes that servers asked for and gave. failed: no answer came. Pre-votes refused again and again: a server hears no leader while the others do.",
			Queries: []Query{
				q(`sum by (dc, kind, result) (rate(legate_raft_votes_asked_total{@}[$__rate_interval]))`, "{{dc}} {{kind}} asked: {{result}}"),
				q(`sum by (dc, kind, result) (rate(legate_raft_votes_given_total{@}[$__rate_interval]))`, "{{dc}} {{kind}} given: {{result}}")}},
		{Title: "Handing over", Kind: Lines, Unit: None, Section: "elections-too-often",
			Look:    "Leaderships that a server that stops handed over within five minutes, by result. failed: the others had to notice by themselves.",
			Queries: []Query{q(`sum by (dc, result) (increase(legate_raft_transfers_total{@}[5m]))`, "{{dc}} {{result}}")}},
	}
}

func raftCommits() []Panel {
	return []Panel{
		{Title: "Entries that each follower lacks", Kind: Lines, Unit: None, Section: "follower-behind", Thresholds: limits(1000, 10000),
			Look:    "Rising for minutes: the follower's disk or path is too slow, or it is gone. Beyond the log's length it needs the whole state.",
			Queries: []Query{q(`max by (dc, peer) (legate_raft_peer_lag_entries{@})`, "{{dc}} {{peer}}")}},
		{Title: "Time since each follower answered", Kind: Lines, Unit: Seconds, Section: "follower-behind", Thresholds: limits(1, 5),
			Look:    "As the leader sees it. Above a second: the follower stands still or cannot be reached.",
			Queries: []Query{q(`max by (dc, peer) (legate_raft_peer_last_contact_seconds{@})`, "{{dc}} {{peer}}")}},
		{Title: "Time since the leader was heard", Kind: Lines, Unit: Seconds, Section: "a-server-hears-no-leader", Thresholds: limits(0.5, 2),
			Look:    "As each server sees it; 0 on the leader. Near the election timeout: elections are close.",
			Queries: []Query{q(`max by (dc, node) (legate_raft_last_contact_seconds{@})`, "{{dc}} {{node}}")}},
		{Title: "Commit", Kind: Lines, Unit: Seconds, Section: "slow-disk",
			Look: "Median and 99th percentile. Both high: the disk or the load. Only the 99th: something stands still now and then.",
			Queries: []Query{
				q(quantile("0.5", "legate_raft_commit_seconds{@}", "dc"), "{{dc}} p50"),
				q(quantile("0.99", "legate_raft_commit_seconds{@}", "dc"), "{{dc}} p99")}},
		{Title: "Commits, spread", Kind: Heatmap, Unit: Seconds, Section: "slow-disk",
			Look:    "Two bands: two kinds of disks or paths. A band that rises: load.",
			Queries: []Query{q(`sum by (le) (increase(legate_raft_commit_seconds_bucket{@}[$__rate_interval]))`, "{{le}}")}},
		{Title: "Sync of the log, 99th percentile", Kind: Lines, Unit: Seconds, Section: "slow-disk", Thresholds: limits(0.05, 0.1),
			Look:    "One server apart from the others: its disk. All: load, or a storage that they share.",
			Queries: []Query{q(quantile("0.99", "legate_raft_log_fsync_seconds{@}", "dc, node"), "{{dc}} {{node}}")}},
		{Title: "Commands", Kind: Lines, Unit: PerSec, Section: "slow-disk",
			Look: "Applied in each datacenter, and refused because too many waited or nobody led. lost: nobody knows whether they took place.",
			Queries: []Query{
				q(`max by (dc) (rate(legate_raft_commands_applied_total{@}[$__rate_interval]))`, "{{dc}} applied"),
				q(`sum by (dc) (rate(legate_raft_commands_refused_total{@}[$__rate_interval]))`, "{{dc}} refused"),
				q(`sum by (dc) (rate(legate_raft_commands_lost_total{@}[$__rate_interval]))`, "{{dc}} lost")}},
		{Title: "Commands that wait", Kind: Lines, Unit: None, Section: "slow-disk",
			Look:    "Waiting to be handed to Raft. Long: writes come faster than the disk takes them.",
			Queries: []Query{q(`max by (dc, node) (legate_raft_commands_waiting{@})`, "{{dc}} {{node}}")}},
		{Title: "Commands of an entry", Kind: Lines, Unit: None, Section: "slow-disk",
			Look:    "How many commands share one sync, on average. It grows with load: that is how load is carried.",
			Queries: []Query{q(`sum by (dc) (rate(legate_raft_entry_commands_sum{@}[$__rate_interval])) / sum by (dc) (rate(legate_raft_entry_commands_count{@}[$__rate_interval]))`, "{{dc}}")}},
	}
}

func raftReasons() []Panel {
	return []Panel{
		{Title: "Servers and voters", Kind: Table, Unit: None, Section: "no-failure-tolerance",
			Look: "Raft's configuration as each server knows it. Fewer voters than servers: some were taken in lately, or are not trusted yet.",
			Queries: []Query{
				q(`max by (dc, node) (legate_raft_servers{@})`, "servers"),
				q(`max by (dc, node) (legate_raft_voters{@})`, "voters"),
				q(`max by (dc, node) (legate_server_failure_tolerance{@})`, "may fail"),
				q(`max by (dc, node) (legate_raft_failed{@})`, "stopped")}},
		{Title: "Applying", Kind: Lines, Unit: Seconds, Section: "slow-disk",
			Look:    "99th percentile of applying a batch to the state. High with a low sync of the log: large transactions, or the processor.",
			Queries: []Query{q(quantile("0.99", "legate_raft_apply_seconds{@}", "dc, node"), "{{dc}} {{node}}")}},
		{Title: "Entries kept in the log", Kind: Lines, Unit: None, Section: "follower-behind",
			Look:    "Grows while a follower is behind, up to a bound: so it need not take the whole state.",
			Queries: []Query{q(`max by (dc, node) (legate_raft_log_last_index{@} - legate_raft_log_first_index{@})`, "{{dc}} {{node}}")}},
		{Title: "Whole states received", Kind: Lines, Unit: None, Section: "follower-behind",
			Look:    "Within an hour. One after another on one server: it cannot keep up.",
			Queries: []Query{q(`max by (dc, node) (increase(legate_raft_snapshots_installed_total{@}[1h]))`, "{{dc}} {{node}}")}},
		{Title: "Disks that stand still", Kind: Lines, Unit: None, Section: "slow-disk",
			Look: "Operations of more than five seconds, and writes that were held back, within an hour. Any is one too many.",
			Queries: []Query{
				q(`sum by (dc, node, db) (increase(legate_storage_disk_slow_total{@}[1h]))`, "{{dc}} {{node}} {{db}} slow"),
				q(`sum by (dc, node, db) (increase(legate_storage_write_stalls_total{@}[1h]))`, "{{dc}} {{node}} {{db}} stalls")}},
		{Title: "What the leader does besides", Kind: Lines, Unit: Seconds, Section: "members-fail",
			Look:    "99th percentile of bringing the catalog in line with gossip.",
			Queries: []Query{q(quantile("0.99", "legate_leader_reconcile_seconds{@}", "dc"), "{{dc}}")}},
	}
}
