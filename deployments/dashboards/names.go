package dashboards

func names() Dashboard {
	return Dashboard{UID: "legate-dns", Title: "Legate: DNS",
		About: "What DNS answers, how fast, from what, and how it fares with recursors.",
		Rows: []Row{
			{"Is it well?", dnsStats()},
			{"What is wrong: answers", dnsAnswers()},
			{"Why: where answers come from", dnsReasons()},
		}}
}

func dnsStats() []Panel {
	return []Panel{
		{Title: "Queries", Kind: Stat, Unit: PerSec, Section: "dns-fails",
			Look:    "All agents together. A sudden fall: resolvers do not reach them.",
			Queries: []Query{q(`sum(rate(legate_dns_responses_total{@}[$__rate_interval]))`, "queries")}},
		{Title: "SERVFAIL", Kind: Stat, Unit: Share, Section: "dns-fails", Thresholds: limits(0.01, 0.05),
			Look:    "Share of the answers that are failures.",
			Queries: []Query{q(`sum(rate(legate_dns_responses_total{@,rcode="SERVFAIL"}[$__rate_interval])) / sum(rate(legate_dns_responses_total{@}[$__rate_interval]))`, "share")}},
		{Title: "Time, 99th percentile", Kind: Stat, Unit: Seconds, Section: "dns-slow", Thresholds: limits(0.05, 0.2),
			Look:    "Answers from views take microseconds. High: recursors, or first questions for names of other datacenters.",
			Queries: []Query{q(quantile("0.99", "legate_dns_query_seconds{@}", ""), "p99")}},
		{Title: "Recursions that fail", Kind: Stat, Unit: Share, Section: "recursors-fail", Thresholds: limits(0.05, 0.2),
			Look: "Of the questions that recursors were asked.",
			Queries: []Query{q(`sum(rate(legate_dns_recursions_total{@,result=~"failed|refused"}[$__rate_interval])) / sum(rate(legate_dns_recursions_total{@}[$__rate_interval]))`,
				"share")}},
		{Title: "Answers that are old", Kind: Stat, Unit: Share, Section: "old-answers", Thresholds: limits(0.01, 0.5),
			Look:    "Share of the lookups that were answered from what is kept of a datacenter that is away.",
			Queries: []Query{q(`sum(rate(legate_dns_lookups_total{@,freshness="aged"}[$__rate_interval])) / sum(rate(legate_dns_lookups_total{@}[$__rate_interval]))`, "share")}},
		{Title: "Not packed or sent", Kind: Stat, Unit: PerSec, Section: "dns-fails", Thresholds: limits(0.01, 1),
			Look:    "Answers that never left.",
			Queries: []Query{q(`sum(rate(legate_dns_write_errors_total{@}[$__rate_interval]))`, "lost")}},
	}
}

func dnsAnswers() []Panel {
	return []Panel{
		{Title: "Answers by code", Kind: Lines, Unit: PerSec, Section: "dns-fails",
			Look:    "SERVFAIL: no view and no server, or recursors. NXDOMAIN that jumps: a service lost all instances, or somebody asks for a wrong name.",
			Queries: []Query{q(`sum by (dc, rcode) (rate(legate_dns_responses_total{@}[$__rate_interval]))`, "{{dc}} {{rcode}}")}},
		{Title: "SERVFAIL by agent", Kind: Lines, Unit: Share, Section: "dns-fails", Thresholds: limits(0.01, 0.05),
			Look: "One agent: it has no server. All of a datacenter: see its servers.",
			Queries: []Query{q(`sum by (dc, node) (rate(legate_dns_responses_total{@,rcode="SERVFAIL"}[$__rate_interval])) `+
				`/ sum by (dc, node) (rate(legate_dns_responses_total{@}[$__rate_interval]))`, "{{dc}} {{node}}")}},
		{Title: "Queries by type", Kind: Lines, Unit: PerSec, Section: "dns-slow",
			Look:    "Half A and half AAAA is usual. Many PTR: somebody logs names.",
			Queries: []Query{q(`sum by (type) (rate(legate_dns_query_seconds_count{@}[$__rate_interval]))`, "{{type}}")}},
		{Title: "Time", Kind: Lines, Unit: Seconds, Section: "dns-slow",
			Look: "Median and 99th percentile by datacenter.",
			Queries: []Query{
				q(quantile("0.5", "legate_dns_query_seconds{@}", "dc"), "{{dc}} p50"),
				q(quantile("0.99", "legate_dns_query_seconds{@}", "dc"), "{{dc}} p99")}},
		{Title: "Times, spread", Kind: Heatmap, Unit: Seconds, Section: "dns-slow",
			Look:    "Low band: views. Middle: questions to servers. High: recursors and timeouts.",
			Queries: []Query{q(`sum by (le) (increase(legate_dns_query_seconds_bucket{@}[$__rate_interval]))`, "{{le}}")}},
		{Title: "Time by type, 99th percentile", Kind: Lines, Unit: Seconds, Section: "dns-slow",
			Look:    "PTR that is slow: other datacenters are asked.",
			Queries: []Query{q(quantile("0.99", "legate_dns_query_seconds{@}", "type"), "{{type}}")}},
	}
}

func dnsReasons() []Panel {
	return []Panel{
		{Title: "Freshness", Kind: Lines, Unit: PerSec, Section: "old-answers",
			Look:    "current, aged (its datacenter is away), failed, and none without a lookup.",
			Queries: []Query{q(`sum by (dc, freshness) (rate(legate_dns_lookups_total{@}[$__rate_interval]))`, "{{dc}} {{freshness}}")}},
		{Title: "Age of old answers, 99th percentile", Kind: Lines, Unit: Seconds, Section: "old-answers",
			Look:    "Of those that were not current.",
			Queries: []Query{after("a datacenter is cut off", quantile("0.99", "legate_dns_answer_age_seconds{@}", "dc"), "{{dc}}")}},
		{Title: "Answers from views", Kind: Lines, Unit: PerSec, Section: "old-answers",
			Look:    "Of all reads of this agent, DNS among them. Many misses: names that are asked once, or views that find no room.",
			Queries: []Query{q(`sum by (dc, result) (rate(legate_view_answers_total{@}[$__rate_interval]))`, "{{dc}} {{result}}")}},
		{Title: "Recursions", Kind: Lines, Unit: PerSec, Section: "recursors-fail",
			Look:    "failed: no recursor had an answer. refused: too many waited. shared: several clients asked the same.",
			Queries: []Query{q(`sum by (dc, result) (rate(legate_dns_recursions_total{@}[$__rate_interval]))`, "{{dc}} {{result}}")}},
		{Title: "Recursors' answers", Kind: Lines, Unit: PerSec, Section: "recursors-fail",
			Look:    "silent: a recursor is gone or out of reach. refused: it is there and does not answer for us.",
			Queries: []Query{q(`sum by (dc, answer) (rate(legate_dns_recursor_answers_total{@}[$__rate_interval]))`, "{{dc}} {{answer}}")}},
		{Title: "Questions that wait for recursors", Kind: Lines, Unit: None, Section: "recursors-fail",
			Look:    "Rising: recursors are slower than questions come.",
			Queries: []Query{q(`max by (dc, node) (legate_dns_recursions_waiting{@})`, "{{dc}} {{node}}")}},
		{Title: "Cut answers, malformed queries, answers not sent", Kind: Lines, Unit: PerSec, Section: "dns-fails",
			Look: "Cut ones are asked again over TCP: fewer instances an answer (only_passing, udp_answer_limit) help. Malformed: somebody scans.",
			Queries: []Query{
				q(`sum by (dc) (rate(legate_dns_truncated_total{@}[$__rate_interval]))`, "{{dc}} cut"),
				q(`sum by (dc) (rate(legate_dns_malformed_total{@}[$__rate_interval]))`, "{{dc}} malformed"),
				q(`sum by (dc) (rate(legate_dns_write_errors_total{@}[$__rate_interval]))`, "{{dc}} not sent")}},
		{Title: "Workers", Kind: Lines, Unit: None, Section: "dns-slow",
			Look:    "Goroutines that answer over UDP. At their bound while queries are slow: what they wait for is in the panels above.",
			Queries: []Query{q(`max by (dc, node) (legate_dns_workers{@})`, "{{dc}} {{node}}")}},
	}
}
