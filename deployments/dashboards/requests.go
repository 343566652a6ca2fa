package dashboards

func requests() Dashboard {
	return Dashboard{UID: "legate-http", Title: "Legate: HTTP and KV",
		About: "What clients ask over HTTP, how it ends and how long it takes, and what it costs servers: calls, commands, the state.",
		Rows: []Row{
			{"Is it well?", httpStats()},
			{"What is wrong: requests", httpRequests()},
			{"Where: calls to servers", httpCalls()},
			{"Why: the state and those who wait", httpReasons()},
		}}
}

func httpStats() []Panel {
	return []Panel{
		{Title: "Requests", Kind: Stat, Unit: PerSec, Section: "http-fails",
			Look:    "Answered, all agents together.",
			Queries: []Query{q(`sum(rate(legate_http_responses_total{@}[$__rate_interval]))`, "requests")}},
		{Title: "Answers of 5xx", Kind: Stat, Unit: Share, Section: "http-fails", Thresholds: limits(0.01, 0.05),
			Look:    "Share of the answers. Some errors of clients are 500 too, as they expect: the panel of routes tells them apart.",
			Queries: []Query{q(`sum(rate(legate_http_responses_total{@,class="5xx"}[$__rate_interval])) / sum(rate(legate_http_responses_total{@}[$__rate_interval]))`, "share")}},
		{Title: "Time, 99th percentile", Kind: Stat, Unit: Seconds, Section: "http-slow", Thresholds: limits(0.1, 1),
			Look:    "Of requests that do not wait for a change.",
			Queries: []Query{q(quantile("0.99", "legate_http_request_seconds{@}", ""), "p99")}},
		{Title: "In flight", Kind: Stat, Unit: None, Section: "http-slow",
			Look:    "With those that wait for a change.",
			Queries: []Query{q(`sum(legate_http_requests_in_flight{@})`, "in flight")}},
		{Title: "Commands", Kind: Stat, Unit: PerSec, Section: "http-slow",
			Look:    "Writes applied, all datacenters together.",
			Queries: []Query{q(`sum(max by (dc) (rate(legate_raft_commands_applied_total{@}[$__rate_interval])))`, "commands")}},
		{Title: "Calls without a server", Kind: Stat, Unit: PerSec, Section: "client-agent-without-server", Thresholds: limits(0.01, 1),
			Look:    "Client agents' calls that found no server or no leader.",
			Queries: []Query{q(`sum(rate(legate_client_call_errors_total{@,code=~"no-server|no-leader"}[$__rate_interval]))`, "failing")}},
	}
}

func httpRequests() []Panel {
	return []Panel{
		{Title: "Answers by class", Kind: Lines, Unit: PerSec, Section: "http-fails",
			Look:    "5xx that rise while 2xx fall: the servers. none: clients that went before they were answered.",
			Queries: []Query{q(`sum by (dc, class) (rate(legate_http_responses_total{@}[$__rate_interval])) > 0`, "{{dc}} {{class}}")}},
		{Title: "5xx by route", Kind: Lines, Unit: PerSec, Section: "http-fails",
			Look:    "The ten worst. One route: its clients or its subject. All: no leader, or no server.",
			Queries: []Query{q(`topk(10, sum by (route, method) (rate(legate_http_responses_total{@,class="5xx"}[$__rate_interval])))`, "{{method}} {{route}}")}},
		{Title: "Busiest routes", Kind: Lines, Unit: PerSec, Section: "http-slow",
			Look:    "The ten that are asked most.",
			Queries: []Query{q(`topk(10, sum by (route, method) (rate(legate_http_responses_total{@}[$__rate_interval])))`, "{{method}} {{route}}")}},
		{Title: "Time", Kind: Lines, Unit: Seconds, Section: "http-slow",
			Look: "Median and 99th percentile by datacenter.",
			Queries: []Query{
				q(quantile("0.5", "legate_http_request_seconds{@}", "dc"), "{{dc}} p50"),
				q(quantile("0.99", "legate_http_request_seconds{@}", "dc"), "{{dc}} p99")}},
		{Title: "Slowest routes, 99th percentile", Kind: Table, Unit: Seconds, Section: "http-slow",
			Look:    "The ten slowest of the last five minutes, and how often they are asked.",
			Queries: []Query{q(`topk(10, histogram_quantile(0.99, sum by (route, method, le) (rate(legate_http_request_seconds_bucket{@}[5m]))) > 0)`, "p99")}},
		{Title: "Keys: reads and writes", Kind: Lines, Unit: PerSec, Section: "http-slow",
			Look:    "Requests of the key/value store by method.",
			Queries: []Query{q(`sum by (dc, method) (rate(legate_http_responses_total{@,route="/v1/kv/"}[$__rate_interval])) > 0`, "{{dc}} {{method}}")}},
	}
}

func httpCalls() []Panel {
	return []Panel{
		{Title: "Calls of client agents, 99th percentile", Kind: Lines, Unit: Seconds, Section: "http-slow",
			Look:    "By kind of operation. Writes near the leader's commit time are well.",
			Queries: []Query{q(quantile("0.99", "legate_client_call_seconds{@}", "dc, kind"), "{{dc}} {{kind}}")}},
		{Title: "Calls of client agents that fail", Kind: Lines, Unit: PerSec, Section: "client-agent-without-server",
			Look:    "no-server: no server answers this agent. no-leader: servers answer and have elected nobody. lost: nobody knows whether the write took place.",
			Queries: []Query{q(`sum by (dc, node, code) (rate(legate_client_call_errors_total{@}[$__rate_interval]))`, "{{dc}} {{node}} {{code}}")}},
		{Title: "Slowest operations on servers, 99th percentile", Kind: Lines, Unit: Seconds, Section: "http-slow",
			Look:    "The ten slowest, by operation. One: its subject. All: the disk or the processor.",
			Queries: []Query{q(`topk(10, histogram_quantile(0.99, sum by (dc, operation, le) (rate(legate_rpc_seconds_bucket{@}[$__rate_interval]))) > 0)`, "{{dc}} {{operation}}")}},
		{Title: "Busiest operations on servers", Kind: Lines, Unit: PerSec, Section: "http-slow",
			Look:    "The ten that are called most.",
			Queries: []Query{q(`topk(10, sum by (dc, operation) (rate(legate_rpc_seconds_count{@}[$__rate_interval])))`, "{{dc}} {{operation}}")}},
		{Title: "Operations that fail on servers", Kind: Lines, Unit: PerSec, Section: "http-fails",
			Look:    "The ten worst by operation and code. invalid, not-found and conflict are clients' errors.",
			Queries: []Query{q(`topk(10, sum by (dc, operation, code) (rate(legate_rpc_errors_total{@}[$__rate_interval])))`, "{{dc}} {{operation}} {{code}}")}},
		{Title: "Prepared queries", Kind: Lines, Unit: PerSec, Section: "http-slow",
			Look:    "By where the instances were found. failover: at home there is none. empty: nowhere.",
			Queries: []Query{q(`sum by (dc, answer) (rate(legate_query_executions_total{@}[$__rate_interval]))`, "{{dc}} {{answer}}")}},
	}
}

func httpReasons() []Panel {
	return []Panel{
		{Title: "Who waits for a change", Kind: Lines, Unit: None, Section: "http-slow",
			Look: "Blocking queries on servers, and subscriptions of other agents. Near a bound (8,192): some get stale reads.",
			Queries: []Query{
				q(`sum by (dc) (legate_storage_waiters{@})`, "{{dc}} waiting"),
				q(`sum by (dc, network) (legate_feed_subscriptions{@})`, "{{dc}} subscribed {{network}}")}},
		{Title: "Wake-ups and pushes", Kind: Lines, Unit: PerSec, Section: "http-slow",
			Look: "Blocking queries that a write woke, and results that were pushed. Far above the writes: many wait for the same.",
			Queries: []Query{
				q(`sum by (dc) (rate(legate_storage_wakeups_total{@}[$__rate_interval]))`, "{{dc}} woken"),
				q(`sum by (dc, network) (rate(legate_feed_pushes_total{@}[$__rate_interval]))`, "{{dc}} pushed {{network}}")}},
		{Title: "Commit of the state, 99th percentile", Kind: Lines, Unit: Seconds, Section: "slow-disk",
			Look:    "Without a sync. Milliseconds: the disk or the processor is busy.",
			Queries: []Query{q(quantile("0.99", "legate_storage_commit_seconds{@}", "dc, node"), "{{dc}} {{node}}")}},
		{Title: "Records", Kind: Lines, Unit: None, Section: "http-slow",
			Look:    "The ten largest tables of each datacenter. One that only grows: keys or sessions that nobody deletes.",
			Queries: []Query{q(`topk by (dc) (10, max by (dc, table) (legate_state_rows{@}))`, "{{dc}} {{table}}")}},
		{Title: "Rows written", Kind: Lines, Unit: PerSec, Section: "slow-disk",
			Look:    "Rows, index rows and tombstones. Far above the commands: ends of sessions, large transactions.",
			Queries: []Query{q(`max by (dc) (rate(legate_storage_rows_written_total{@}[$__rate_interval]))`, "{{dc}}")}},
		{Title: "On disk", Kind: Lines, Unit: Bytes, Section: "slow-disk",
			Look:    "The log and the state of each server.",
			Queries: []Query{q(`max by (dc, node, db) (legate_storage_disk_bytes{@})`, "{{dc}} {{node}} {{db}}")}},
		{Title: "Sessions", Kind: Lines, Unit: None, Section: "http-slow",
			Look: "TTLs that leaders count, and sessions that ended by one within five minutes. A jump: clients stand still or are cut off.",
			Queries: []Query{
				q(`sum by (dc) (legate_session_ttl_timers{@})`, "{{dc}} counted"),
				q(`sum by (dc) (increase(legate_session_expired_total{@}[5m]))`, "{{dc}} expired")}},
		{Title: "Panics", Kind: Lines, Unit: None, Section: "panics",
			Look: "Within an hour. Each is a fault of the program; the log has its stack.",
			Queries: []Query{
				q(`sum by (dc) (increase(legate_http_panics_total{@}[1h]))`, "{{dc}} HTTP"),
				q(`sum by (dc) (increase(legate_dns_panics_total{@}[1h]))`, "{{dc}} DNS")}},
	}
}
