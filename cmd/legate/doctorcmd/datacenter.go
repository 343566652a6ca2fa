package doctorcmd

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// datacenterChecks look at the members of the datacenter, and at its servers as a group.
func datacenterChecks() []check {
	return []check{
		some("server-health", serverHealth, fromAutopilot),
		one("failure-tolerance", failureTolerance, fromAutopilot, fromSettings),
		some("voters", voters, fromAutopilot, fromSettings),
		one("expected-servers", expectedServers, fromAutopilot, fromSettings),
		one("zones", zones, fromAutopilot),
		one("leader-changes", leaderChanges, fromMetrics),
		one("gossip-doubt", gossipDoubt, fromMetrics, fromSettings),
		some("failed-members", failedMembers, fromMembers),
		some("failed-wan-members", failedWAN, fromWAN, fromSettings),
		one("flapping-members", flapping, fromMetrics),
		one("gossip-keys", gossipKeys, fromMetrics),
		some("clock-offset", clockOffset, fromClocks),
		some("versions", versions, fromMembers, fromFederation),
		some("node-names", nodeNames, fromNodes),
		some("service-names", serviceNames, fromServices),
	}
}

// failureTolerance is the arithmetic of the quorum.
func failureTolerance(f *facts) Finding {
	s, dc := f.autopilot, f.settings.Datacenter
	n, may := len(s.Voters), s.FailureTolerance
	best := (n - 1) / 2
	const back = "Bring the servers back that server-health names, or remove them for good (legate operator raft remove-peer)."
	switch {
	case n == 1 && f.settings.Dev:
		return fine("This server is alone, as is usual for -dev").of(dc)
	case n == 1:
		return warning("One server alone makes up %s: if its machine fails, nothing can be written, and what only its disk has is lost.", dc).of(dc).
			do("Add two servers; until then keep snapshots elsewhere (legate snapshot save).")
	case may <= 0 && best > 0:
		return problem("No further server of %s may fail: %s, of which %s must answer, and no more do.", dc, count(n, "voter"), fmt.Sprint(n/2+1)).of(dc).do(back)
	case may <= 0:
		return problem("No server of %s may fail: %d voters need both of them.", dc, n).of(dc).do("Add a server: three tolerate that one fails.")
	case may < best:
		return warning("%s of %s may still fail, where %d might.", count(may, "server"), dc, best).of(dc).do(back)
	}
	return fine("%s of %d may fail before %s has no leader", count(may, "server"), n, dc).of(dc)
}

// serverHealth names those that are not healthy.
func serverHealth(f *facts) []Finding {
	var found []Finding
	for _, id := range command.SortedKeys(f.autopilot.Servers) {
		s := f.autopilot.Servers[id]
		if s.Healthy {
			continue
		}
		why := fmt.Sprintf("gossip says %s", s.NodeStatus)
		if s.NodeStatus == "alive" && s.LastContact != nil {
			why = fmt.Sprintf("it heard its leader %s ago", span(time.Duration(*s.LastContact)))
			if leads := f.autopilot.Servers[f.autopilot.Leader].LastIndex; s.LastIndex > 0 && s.LastIndex < leads {
				why += fmt.Sprintf(", and its log ends at %d, the leader's at %d", s.LastIndex, leads)
			}
		}
		found = append(found, problem("The server %s is not healthy: %s.", s.Name, why).of(s.Name).
			do("Look at its log (journalctl -u legate -p warning) and run legate doctor there. If it is gone for good: legate operator raft remove-peer."))
	}
	return orFine(found, "All %d servers are healthy", len(f.autopilot.Servers))
}

// voters says whether those vote who should.
func voters(f *facts) []Finding {
	var found []Finding
	n := len(f.autopilot.Voters)
	if n > 0 && n%2 == 0 {
		found = append(found, warning("%d voters tolerate no more failures than %d, and one more must answer each write.", n, n-1).
			of(f.settings.Datacenter).do("Have an odd number of servers vote: 3 or 5."))
	}
	if n > 7 {
		found = append(found, warning("%d servers vote: each write waits for %d of them.", n, n/2+1).of(f.settings.Datacenter).
			do("Five are enough for nearly everything; others may read alone (read_replica)."))
	}
	patience := time.Duration(f.settings.Autopilot.Stabilization) + time.Minute
	for _, id := range command.SortedKeys(f.autopilot.Servers) {
		s := f.autopilot.Servers[id]
		waits := s.Status == api.AutopilotServerNonVoter && !s.ReadReplica && s.Healthy && s.RedundancyZone == ""
		if waits && f.now.Sub(s.StableSince) > patience {
			found = append(found, warning("The server %s has been healthy for %s and does not vote.", s.Name, span(f.now.Sub(s.StableSince))).of(s.Name).
				do("Look at autopilot's configuration (legate operator autopilot get-config) and at the leader's log."))
		}
	}
	return orFine(found, "%s of %s vote", fmt.Sprint(n), count(len(f.autopilot.Servers), "server"))
}

func expectedServers(f *facts) Finding {
	want, have := f.settings.Expect, len(f.autopilot.Servers)
	if f.settings.Server && want > have {
		return warning("bootstrap_expect is %d and there are %d servers.", want, have).of(f.settings.Datacenter).
			do("Start the others: with the same bootstrap_expect and with retry_join naming this one.")
	}
	return fine("%s where %d were expected at first", count(have, "server"), want)
}

// zones says whether one zone alone decides.
func zones(f *facts) Finding {
	with := map[string]bool{}
	for _, z := range f.autopilot.Servers {
		if z.RedundancyZone != "" {
			with[z.RedundancyZone] = true
		}
	}
	switch {
	case len(with) == 0:
		return fine("Servers have no zones (autopilot.redundancy_zone_tag)")
	case len(with) < 3:
		return warning("Servers are in %s: if one fails, nobody may be left who can decide.", count(len(with), "zone")).do("Spread them over three zones.")
	}
	return fine("Servers are in %d zones", len(with))
}

// uptime is how long the agent runs.
func (f *facts) uptime() time.Duration {
	return f.now.Sub(time.Unix(int64(f.metrics.sum("process_start_time_seconds")), 0))
}

// often reports whether something that is counted since the start happens more than once a
// day: less says nothing of now.
func (f *facts) often(n float64) bool { return n > 0 && n > f.uptime().Hours()/24 }

func leaderChanges(f *facts) Finding {
	n, up := f.metrics.sum("legate_raft_leader_changes_total"), f.uptime()
	if n > 5 && n > up.Hours() {
		return warning("The leader changed %.0f times in %s.", n, span(up)).do("Look at disk-sync, at the processors' load and at packets lost between servers; docs/runbook.md: \"Elections too often\".")
	}
	return fine("The leader changed %s in %s", count(int(n), "time"), span(up))
}

// gossipDoubt is how much the agent doubts itself. That it does a little is usual when
// another one has just failed.
func gossipDoubt(f *facts) Finding {
	for pool, port := range map[string]int{"lan": f.settings.Ports.SerfLAN, "wan": f.settings.Ports.SerfWAN} {
		if n := f.metrics.sum("legate_gossip_health_score", `pool="`+pool+`"`); n > 1 {
			return warning("The agent doubts itself (%.0f of 7 in the pool %s): others answered its probes late, so it probes more slowly.", n, pool).
				do("Look at the processors' load here, at packets lost, and at whether UDP port %d passes both ways.", port)
		}
	}
	return fine("The agent has little doubt in itself, or none")
}

// failedMembers names those of the datacenter, but for servers that server-health names.
func failedMembers(f *facts) []Finding {
	named := map[string]bool{}
	if f.lacks[fromAutopilot] == "" {
		for _, s := range f.autopilot.Servers {
			named[s.Name] = !s.Healthy
		}
	}
	return failures(f.members, "the datacenter", func(m *member) bool { return named[m.Name] })
}

// failedWAN names servers of other datacenters.
func failedWAN(f *facts) []Finding {
	return failures(f.wan, "the federation", func(m *member) bool { return m.datacenter() == f.settings.Datacenter })
}

func failures(members []member, of string, named func(*member) bool) []Finding {
	var servers, clients []string
	for i := range members {
		m := &members[i]
		switch {
		case m.Status != failed || named(m):
		case m.server():
			servers = append(servers, m.Name)
		default:
			clients = append(clients, m.Name)
		}
	}
	var found []Finding
	if len(servers) > 0 {
		found = append(found, problem("%s of %s failed: %s.", count(len(servers), "server"), of, few(servers)).of(few(servers)).
			do("Start them again; if they are gone for good: legate force-leave NAME."))
	}
	if len(clients) > 0 {
		found = append(found, warning("%s of %s failed: %s. Their services are taken for critical.", count(len(clients), "client agent"), of, few(clients)).of(few(clients)).
			do("Start them again; if they are gone for good: legate force-leave NAME."))
	}
	return orFine(found, "No other of %s of %s has failed", count(len(members), "member"), of)
}

func flapping(f *facts) Finding {
	n, up := f.metrics.sum("legate_gossip_member_flaps_total"), f.uptime()
	if f.often(n) {
		return warning("Members came back within a minute after they had failed, %.0f times in %s.", n, span(up)).
			do("The log names them (\"member is back\"): they, or the network to them, are overloaded. docs/runbook.md: \"Members flap\".")
	}
	return fine("Members came back right after they had failed: %s in %s", count(int(n), "time"), span(up))
}

func gossipKeys(f *facts) Finding {
	other := f.metrics.sum("legate_gossip_members_with_other_keys")
	most := max(f.metrics.sum("legate_gossip_keys", `pool="lan"`), f.metrics.sum("legate_gossip_keys", `pool="wan"`))
	switch {
	case other > 0:
		return warning("%.0f members have other gossip keys than this agent: at the next step of a rotation they are shut out.", other).
			do("legate keyring -list names them; install what they lack again (legate keyring -install KEY).")
	case most > 1:
		return warning("%.0f gossip keys are taken: a rotation was begun and not ended.", most).do("legate keyring -list; then -use the new one and -remove the old one.")
	}
	return fine("Members have the same gossip keys, as far as this agent has asked")
}

// How far clocks may be apart. Who logs in shows tokens that others have just made, and
// certificates that agents make for each other are good from an hour ago.
const (
	clockApart = time.Second
	clockWrong = 2 * time.Minute
)

// clockOffset says whose clock is not as this one.
func clockOffset(f *facts) []Finding {
	var found []Finding
	asked, most := 0, time.Duration(0)
	for _, c := range f.clocks {
		if c.Error != "" {
			continue
		}
		asked++
		offset := time.Duration(c.OffsetMS * float64(time.Millisecond))
		sure := max(offset.Abs()-time.Duration(c.WithinMS*float64(time.Millisecond)), 0)
		most = max(most, sure)
		which := "ahead of"
		if offset < 0 {
			which = "behind"
		}
		who := command.Printable(c.Server + " in " + c.Datacenter)
		const mend = "Have both set by the same time servers (chrony, systemd-timesyncd)."
		switch {
		case sure > clockWrong:
			found = append(found, problem("The clock of %s is %s %s this agent's: log-ins fail, tokens end at other times and, beyond an hour, certificates from files are refused.", who, span(sure), which).of(c.Server).do(mend))
		case sure > clockApart:
			found = append(found, warning("The clock of %s is %s %s this agent's.", who, span(sure), which).of(c.Server).do(mend))
		}
	}
	return orFine(found, "The clocks of %s are within %s of this one", count(asked, "server"), span(max(most, time.Millisecond)))
}

// versions says who runs another build.
func versions(f *facts) []Finding {
	var found []Finding
	builds := map[string][]string{}
	for i := range f.members {
		if m := &f.members[i]; m.Status == alive {
			builds[m.Tags["build"]] = append(builds[m.Tags["build"]], m.Name)
		}
	}
	if len(builds) > 1 {
		found = append(found, warning("Agents of the datacenter are of %s: %s.", versionsOf(builds), sides(builds)).
			do("Upgrade those that are behind: servers first, one after another."))
	}
	programs := map[string][]string{}
	for _, v := range f.federation {
		if v.Error == "" && v.Version != "" {
			programs[v.Version] = append(programs[v.Version], v.Datacenter)
		}
		for _, l := range v.Links {
			for _, p := range l.Versions {
				if !slices.Contains(programs[p], l.Datacenter) {
					programs[p] = append(programs[p], l.Datacenter)
				}
			}
		}
	}
	if len(programs) > 1 {
		found = append(found, warning("Servers of the federation run %s: %s.", versionsOf(programs), sides(programs)).
			do("Upgrade those that are behind; different versions are meant for the time of an upgrade."))
	}
	return orFine(found, "All agents are of one version, as far as they say")
}

func versionsOf(by map[string][]string) string { return count(len(by), "version") }

// sides lists who has which.
func sides(by map[string][]string) string {
	var text []string
	for _, v := range slices.Sorted(maps.Keys(by)) {
		text = append(text, fmt.Sprintf("%s on %s", command.Printable(v), few(by[v])))
	}
	return strings.Join(text, "; ")
}

func nodeNames(f *facts) []Finding {
	all := make([]string, 0, len(f.nodes))
	for _, n := range f.nodes {
		all = append(all, n.Node)
	}
	return judgeNames(all, "node", "node_name")
}

func serviceNames(f *facts) []Finding {
	return judgeNames(slices.Collect(maps.Keys(f.services)), "service", "the service")
}

// judgeNames says which names DNS cannot say, and which it cannot tell apart.
func judgeNames(all []string, what, key string) []Finding {
	var found []Finding
	var odd []string
	same := map[string][]string{}
	for _, name := range all {
		if !label(name) {
			odd = append(odd, name)
		}
		lower := strings.ToLower(name)
		same[lower] = append(same[lower], name)
	}
	if len(odd) > 0 {
		found = append(found, warning("%s cannot be found through DNS: %s.", count(len(odd), what), few(odd)).
			do("Only letters, digits and dashes can, 63 at most: rename %s, or ask for it over HTTP alone.", key))
	}
	for _, lower := range slices.Sorted(maps.Keys(same)) {
		if names := same[lower]; len(names) > 1 {
			found = append(found, warning("DNS cannot tell %ss apart that differ in case alone: %s.", what, few(names)).of(lower).do("Rename all but one."))
		}
	}
	return orFine(found, "%s: DNS can say all of them", count(len(all), "name")+" of "+what+"s")
}

// label reports whether a name is one of DNS.
func label(name string) bool {
	other := func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	return name != "" && len(name) <= 63 && !strings.ContainsFunc(name, other)
}
