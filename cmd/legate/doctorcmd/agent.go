package doctorcmd

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// agentChecks look at how the agent is doing and at what it was told.
func agentChecks() []check {
	return []check{
		some("certificates", expiring, fromMetrics),
		some("views", views, fromMetrics),
		one("subscriptions", subscriptions, fromMetrics),
		one("registrations", registrations, fromMetrics),
		one("recursors", recursors, fromMetrics),
		one("scripts", scripts, fromSettings),
		one("gossip-encryption", gossipEncryption, fromMetrics, fromSettings),
	}
}

const (
	day = 24 * time.Hour
	// Before a certificate expires. Those that servers give last three days, and are
	// renewed in time.
	certificateSoon = 7 * day
	certificateNear = 30 * day
	givenNear       = 20 * time.Hour
)

// expiring says which expire.
func expiring(f *facts) []Finding {
	var found []Finding
	first := time.Duration(1<<63 - 1)
	series := f.metrics["legate_tls_certificate_expiry_timestamp_seconds"]
	for _, s := range series {
		listener := s.label("listener")
		left := time.Unix(int64(s.value), 0).Sub(f.now)
		first = min(first, left)
		what := fmt.Sprintf("The certificate of %s", listener)
		renew := "Put a new one where tls." + listener + ".cert_file is: the agent reads files again when they change (legate tls cert create makes one)."
		near, soon := certificateNear, certificateSoon
		if listener == "auto_encrypt" {
			near, soon, renew = givenNear, givenNear/2, "Servers give these: look at the log for why none renewed it."
		}
		switch {
		case left <= 0:
			found = append(found, problem("%s has expired %s ago: others refuse it.", what, span(-left)).of(listener).do("%s", renew))
		case left < soon:
			found = append(found, problem("%s expires in %s.", what, span(left)).of(listener).do("%s", renew))
		case left < near:
			found = append(found, warning("%s expires in %s.", what, span(left)).of(listener).do("%s", renew))
		}
	}
	if len(series) == 0 {
		return []Finding{fine("The agent has no certificate")}
	}
	return orFine(found, "%d certificates are good for %s at least", len(series), span(first))
}

// certificateFiles says what is wrong with those that the configuration names.
func certificateFiles(f *facts) []Finding {
	var found []Finding
	for _, err := range f.files {
		found = append(found, problem("%v.", err).do("The agent would not start: mend the file, or have the configuration name another."))
	}
	return orFine(found, "The files of certificates that the configuration names can be used, if there are any")
}

// Bounds of what is kept of results, and of who follows them (package op/view and op/feed).
const (
	maxViews         = 16384
	maxViewBytes     = 256 << 20
	maxSubscriptions = 8192
	nearBound        = 0.8
)

// views says how near the results that are kept are to their bounds.
func views(f *facts) []Finding {
	n, bytes := f.metrics.sum("legate_view_views"), f.metrics.sum("legate_view_bytes")
	lost := f.metrics.sum("legate_view_evictions_total", `reason="room"`) + f.metrics.sum("legate_view_evictions_total", `reason="refused"`)
	const less = "More different things are asked for with ?cached or over DNS than are kept: look for clients that make names up."
	var found []Finding
	if n > nearBound*maxViews || bytes > nearBound*maxViewBytes {
		found = append(found, warning("%.0f of %d results are kept, in %s of %s.", n, maxViews, size(uint64(bytes)), size(maxViewBytes)).do(less))
	}
	if f.often(lost) {
		found = append(found, warning("%.0f results found no room, or made room for others, in %s: these are asked of servers each time.", lost, span(f.uptime())).do(less))
	}
	return orFine(found, "%.0f of %d results are kept, in %s of %s", n, maxViews, size(uint64(bytes)), size(maxViewBytes))
}

func subscriptions(f *facts) Finding {
	n, refused := f.metrics.sum("legate_feed_subscriptions"), f.metrics.sum("legate_feed_refused_total")
	const more = "Spread the agents over more servers, or look which one follows so much (legate_view_views on the agents)."
	switch {
	case f.often(refused):
		return warning("%.0f subscriptions of other agents were refused in %s: these get aged answers.", refused, span(f.uptime())).do(more)
	case n > nearBound*maxSubscriptions:
		return warning("Other agents follow %.0f results of this server; %d are the most.", n, maxSubscriptions).do(more)
	}
	return fine("Other agents follow %.0f results of this agent; a server has room for %d", n, maxSubscriptions)
}

// registrations says whether the catalog takes what the agent has.
func registrations(f *facts) Finding {
	if n := f.metrics.sum("legate_local_writes_total", `outcome="refused"`); n > 1 && n > f.uptime().Minutes()/10 { // they are tried again each minute or two
		return warning("The catalog refused %.0f registrations of this agent in %s: services or checks are missing there.", n, span(f.uptime())).
			do("Give acl.tokens.default, or the token of the service, service:write for its name, and acl.tokens.agent node:write.")
	}
	if n, good := f.metrics.sum("legate_local_syncs_total", `outcome="failed"`), f.metrics.sum("legate_local_syncs_total", `outcome="ok"`); n > good {
		return warning("%.0f rounds of anti-entropy failed in %s and %.0f did not: the catalog has old things of this agent.", n, span(f.uptime()), good).
			do("docs/runbook.md: \"Anti-entropy fails\".")
	}
	return fine("The catalog takes what this agent registers")
}

// recursors says whether those for other names answer.
func recursors(f *facts) Finding {
	used := f.metrics.sum("legate_dns_recursor_answers_total", `answer="used"`)
	not := f.metrics.sum("legate_dns_recursor_answers_total") - used
	if not > 10 && not > used/10 {
		return warning("Recursors gave no good answer to %.0f of %.0f questions since the start.", not, used+not).do("Take those that do not answer out of recursors; docs/runbook.md: \"Recursors fail\".")
	}
	return fine("Recursors have answered %.0f of %.0f questions", used, used+not)
}

// scripts says whether anybody may have commands run.
func scripts(f *facts) Finding {
	s := f.settings
	switch {
	case s.ACL.Enabled && s.ACL.DefaultPolicy == "deny":
		return fine("Nobody may do anything without a token")
	case s.Scripts && len(s.HTTP.WriteFrom) == 0 && !s.Dev:
		return problem("Whoever reaches the HTTP port runs commands as the agent's user: enable_script_checks is set, and access is not controlled.").
			do(`Use enable_local_script_checks, or set acl { enabled = true, default_policy = "deny" }; docs/acl.md leads there.`)
	case s.ACL.Enabled:
		return warning("Access is controlled, but who has no token may do everything (acl.default_policy = %q).", s.ACL.DefaultPolicy).
			do(`Set default_policy = "deny" once all clients have tokens; docs/acl.md leads there.`)
	}
	return fine("Access is not controlled, and nobody can have commands run over HTTP")
}

func gossipEncryption(f *facts) Finding {
	lan := f.metrics.sum("legate_gossip_keys", `pool="lan"`)
	switch {
	case lan > 0:
		return fine("Gossip is encrypted")
	case f.settings.Dev:
		return fine("Gossip is not encrypted, as is usual for -dev")
	}
	return warning("Gossip is not encrypted: who reaches port %d may join and say anything.", f.settings.Ports.SerfLAN).
		do("Make a key (legate keygen) and set encrypt on all agents; docs/security.md says in which order.")
}

// names of a few, and how many more there are.
func few(all []string) string {
	slices.Sort(all)
	const shown = 5
	if len(all) <= shown {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], ", "), len(all)-shown)
}

// count is a number with its word in the right form.
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
