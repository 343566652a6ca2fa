package doctorcmd

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/state/status"
)

// networkChecks look at what is between agents.
func networkChecks() []check {
	return []check{
		some("path-size", pathSize, fromPaths),
		some("join-names", joinNames, fromNames),
		some("datacenters", datacenters, fromFederation),
		some("packet-loss", packetLoss, fromFederation),
		one("gateways", gateways, fromMetrics),
		one("connections-refused", refusedConnections, fromMetrics),
		one("strangers", strangers, fromMetrics),
	}
}

// agentAnswers says whether there is an agent.
func agentAnswers(f *facts) Finding {
	if f.noAgent != "" {
		return problem("No agent answers at %s: %s.", f.address, f.noAgent).of(f.address).
			do("Start it (systemctl status legate; journalctl -u legate -p warning), or name its address with -http-addr.")
	}
	return fine("An agent answers at %s", f.address).of(f.address)
}

func agentReady(f *facts) Finding {
	if f.ready.Status != ready.Ready {
		return problem("The agent is not one to send requests to: %s: %s.", f.ready.Status, strings.TrimSuffix(f.ready.Reason, ".")).
			do("Look at the other findings; docs/runbook.md has a section for each: \"No leader\", \"Client agent without server\".")
	}
	return fine("The agent is ready")
}

// joinNames says which names agents are joined through do not resolve.
func joinNames(f *facts) []Finding {
	var found []Finding
	good := map[string]int{"retry_join": f.others(f.settings.RetryJoin), "retry_join_wan": f.others(f.settings.RetryJoinWAN)}
	for _, l := range f.names {
		if l.err == nil {
			good[l.key]++
		}
	}
	for _, l := range f.names {
		switch {
		case l.err == nil:
		case good[l.key] == 0 && f.noAgent != "":
			found = append(found, problem("%s of %s does not resolve, nor does another one: %v.", l.host, l.key, l.err).of(l.host).do("Mend the name or the resolver: the agent would find nobody."))
		default:
			found = append(found, warning("%s of %s does not resolve: %v.", l.host, l.key, l.err).of(l.host).do("Mend the name or the resolver, or take it out of %s.", l.key))
		}
	}
	return orFine(found, "%s that agents are joined through: all resolve", count(len(f.names), "name"))
}

// others are the entries that are no names to look up: addresses, and clouds to ask.
func (f *facts) others(entries []string) (n int) {
	for _, e := range entries {
		if host := hostOf(e); host == "" || net.ParseIP(host) != nil {
			n++
		}
	}
	return n
}

// datacenters says how the others are seen.
func datacenters(f *facts) []Finding {
	var found []Finding
	if len(f.federation) == 0 {
		return []Finding{fine("There is no federation")}
	}
	own := f.federation[0]
	for _, l := range own.Links {
		last := ""
		if l.LastError != "" {
			last = " The last error: " + strings.TrimSuffix(l.LastError, ".") + "."
		}
		switch l.State {
		case status.Unreachable:
			found = append(found, problem("%s cannot be reached: %s.%s", l.Datacenter, l.Reason, last).of(l.Datacenter).
				do("legate federation status -all shows who else cannot; docs/runbook.md: \"Unreachable\"."))
		case status.Degraded:
			found = append(found, warning("%s is reached, but %s.%s", l.Datacenter, l.Reason, last).of(l.Datacenter).do("docs/runbook.md: \"Degraded\"."))
		}
		if l.OtherHome != "" {
			found = append(found, problem("%s takes %s for the home of access control, this datacenter takes %s.", l.Datacenter, l.OtherHome, own.Home).of(l.Datacenter).
				do("Have primary_datacenter name the same one everywhere, and restart the servers that name another."))
		}
	}
	for _, v := range f.federation[1:] {
		if v.Error == "" && v.Leader == "" {
			found = append(found, problem("%s answers and has no leader: nothing can be written there.", v.Datacenter).of(v.Datacenter).do("Look there: docs/runbook.md: \"No leader\"."))
		}
	}
	return orFine(found, "%s, all up", count(len(own.Links), "other datacenter"))
}

// lossy is the share of lost packets that slows calls.
const lossy = 0.02

func packetLoss(f *facts) []Finding {
	var found []Finding
	most := 0.0
	for _, v := range f.federation[:min(1, len(f.federation))] {
		for _, l := range v.Links {
			if most = max(most, l.Loss); l.Loss > lossy {
				found = append(found, warning("%.1f %% of the packets to %s are lost.", 100*l.Loss, l.Datacenter).of(l.Datacenter).
					do("Look at the line and at its load; small calls go twice meanwhile, long ones take longer."))
			}
		}
	}
	return orFine(found, "At most %.1f %% of packets to a datacenter are lost", 100*most)
}

// gateways says whether this server is reached through those that it is to be reached through,
// and whether a gateway carries all that it is given.
func gateways(f *facts) Finding {
	registered := f.metrics.sum("legate_gateway_registrations", `state="registered"`)
	failing := f.metrics.sum("legate_gateway_registrations", `state="failing"`)
	refused := f.metrics.sum("legate_gateway_refused_packets_total")
	const read = `docs/runbook.md: "Gateways".`
	switch {
	case failing > 0 && registered == 0:
		return problem("Other datacenters do not reach this server: it is to be reached through gateways, and none of %s lets it register.", count(int(failing), "gateway")).
			do("legate federation status on the server says why for each. " + read)
	case failing > 0:
		return warning("This server is reached through %.0f of %.0f gateways: the others do not let it register.", registered, registered+failing).
			do("legate federation status on the server says why for each. " + read)
	case f.often(refused):
		return warning("%.0f packets were not carried in %s: more than gateway.rate allows a server.", refused, span(f.uptime())).
			do("Raise gateway.rate if the line carries more, or look who sends so much. " + read)
	case registered > 0:
		return fine("This server is reached through %s", count(int(registered), "gateway"))
	}
	return fine("This agent has no gateway that fails it")
}

// refusedConnections are those that were one too many.
func refusedConnections(f *facts) Finding {
	type count struct {
		port string
		n    float64
	}
	var all []count
	for _, s := range f.metrics["legate_connections_refused_total"] {
		if f.often(s.value) {
			all = append(all, count{s.label("port") + " (" + s.label("bound") + ")", s.value})
		}
	}
	if len(all) == 0 {
		return fine("Hardly a connection was one too many in %s", span(f.uptime()))
	}
	slices.SortFunc(all, func(a, b count) int { return cmp.Compare(b.n, a.n) })
	var text []string
	for _, c := range all {
		text = append(text, fmt.Sprintf("%.0f at %s", c.n, c.port))
	}
	return warning("Connections were refused in %s because there were too many: %s.", span(f.uptime()), strings.Join(text, ", ")).
		do("Look who makes so many (ss -tn), and at limits.http_max_conns_per_client and limits.rpc_max_conns_per_client.")
}

// strangers are connections between agents that do not trust each other.
func strangers(f *facts) Finding {
	why := map[string]string{
		"bad_certificate": "a certificate that is not valid", "wrong_authority": "another authority or gossip key", "wrong_federation": "another federation",
		"wrong_server_name": "a name that is no server's", "wrong_node": "another node than was asked for", "not_admitted": "a datacenter that is removed, or not known",
		"refused_by_peer": "refused by the other side",
	}
	var text []string
	for reason, means := range why {
		if n := f.metrics.sum("legate_quic_handshake_failures_total", `reason="`+reason+`"`); f.often(n) {
			text = append(text, fmt.Sprintf("%.0f %s", n, means))
		}
	}
	if len(text) == 0 {
		return fine("Hardly an agent that does not belong here has asked to connect")
	}
	slices.Sort(text)
	return warning("Connections between agents did not come about in %s: %s.", span(f.uptime()), strings.Join(text, ", ")).
		do("If it goes on: the log of both sides names the other. Look at encrypt, tls.internal_rpc and federation there.")
}
