package lint

import (
	"fmt"
	"path"
	"sort"
	"strings"
)

// areas are the parts of the HTTP API: none knows another.
const areas = "httpapi/acl httpapi/agent httpapi/catalog httpapi/coordinate httpapi/event httpapi/failover httpapi/federation httpapi/health httpapi/kv " +
	"httpapi/mesh httpapi/names httpapi/operator httpapi/query httpapi/session httpapi/snapshot httpapi/status httpapi/txn httpapi/ui"

// levels is the table of rooms: a room imports only rooms of lower levels.
// What lies below a room's folder without a row of its own belongs to it.
func levels() map[string]int {
	table := map[string]int{}
	for i, rooms := range []string{
		"internal/lifecycle internal/logging internal/version internal/filter internal/admission internal/nesting internal/byname internal/accept internal/spelling internal/sdnotify state/catalog/mesh dns/explained", // below level 0: everybody's ground
		"rtt config metrics web internal/tracing state/acl/rules internal/wanem internal/lint",
		"storage transport internal/gossip agent/checks agent/cloudjoin state/acl/method",
		"op consensus lan wan state/archive agent/keyring",
		"state/catalog state/coordinate state/acl state/autopilot state/replication state/failover state/status federation client op/view agent/events",
		"state/session agent/local agent/rights agent/ready agent/failover",
		"state/kv state/query",
		"state/txn state/archive/consulsnap httpapi/rest",
		"state dns agent/exec agent/watches " + areas,
		"server httpapi agent/recovery",
		"agent",
		"internal/testcluster internal/gossipsim deployments", // what tests and the lab share
		"cmd internal/proctest internal/e2e internal/linear internal/observe internal/install internal/browser",
	} {
		level := i - 1
		for _, room := range strings.Fields(rooms) {
			table[room] = level
		}
	}
	return table
}

// walls say what a room must not reach, directly or through others.
func walls() map[string][]string {
	outside := strings.Fields("server state consensus federation transport client")
	domains := strings.Fields("state state/catalog state/kv state/session state/query state/acl state/coordinate state/autopilot state/replication state/failover")
	table := map[string][]string{
		"dns": outside, "httpapi": outside, "httpapi/rest": outside, "agent/local": outside,
		"consensus": domains, "lan": domains, "wan": domains, "transport": domains, "storage": domains,
	}
	for _, area := range strings.Fields(areas) {
		table[area] = outside
	}
	return table
}

// roomOf returns the room of a package below the root.
func roomOf(table map[string]int, pkg string) (string, bool) {
	for at := pkg; at != "." && at != "/"; at = path.Dir(at) {
		if _, ok := table[at]; ok {
			return at, true
		}
	}
	return "", false
}

// edge is an import between two of our packages, with one place of it.
type edge struct {
	to    string
	place Finding
}

// forTests reports whether a package is one that only tests use: its name says so.
func forTests(pkg string) bool { return strings.HasSuffix(path.Base(pkg), "test") }

// imports checks the table and the walls. Tests may import what they like, and no
// program contains what only tests use.
func imports(files []*file) []Finding {
	table := levels()
	graph := map[string][]edge{}
	var found []Finding
	unknown := map[string]bool{}
	for _, f := range files {
		room, known := roomOf(table, f.pkg)
		if !known && !unknown[f.pkg] {
			unknown[f.pkg] = true
			found = append(found, Finding{File: f.path, Text: fmt.Sprintf("package %s has no place in the table of rooms in internal/lint", f.pkg)})
		}
		if f.test || !known {
			continue
		}
		for _, spec := range f.syntax.Imports {
			to, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), Module+"/")
			other, ok := roomOf(table, to)
			if !ours || !ok || to == f.pkg {
				continue
			}
			graph[f.pkg] = append(graph[f.pkg], edge{to, f.finding(spec.Pos(), "")})
			if forTests(to) && !forTests(f.pkg) {
				found = append(found, f.finding(spec.Pos(), "%s imports %s, which is for tests", f.pkg, to))
			}
			if room != other && table[other] >= table[room] {
				found = append(found, f.finding(spec.Pos(), "%s (level %d) imports %s (level %d): imports go down only", room, table[room], other, table[other]))
			}
		}
	}
	return append(found, breaches(table, graph)...)
}

func breaches(table map[string]int, graph map[string][]edge) []Finding {
	var found []Finding
	forbidden := walls()
	pkgs := make([]string, 0, len(graph))
	for pkg := range graph {
		pkgs = append(pkgs, pkg)
	}
	sort.Strings(pkgs)
	for _, pkg := range pkgs {
		room, _ := roomOf(table, pkg)
		for _, wall := range forbidden[room] {
			for _, e := range graph[pkg] {
				if way := reach(table, graph, e.to, wall); way != nil {
					e.place.Text = fmt.Sprintf("%s must not reach %s: %s", room, wall, strings.Join(append([]string{pkg}, way...), " → "))
					found = append(found, e.place)
				}
			}
		}
	}
	return found
}

// reach returns a way from a package to a room, nil if there is none.
func reach(table map[string]int, graph map[string][]edge, from, room string) []string {
	type step struct {
		pkg  string
		back *step
	}
	seen := map[string]bool{from: true}
	for queue := []*step{{pkg: from}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if r, _ := roomOf(table, at.pkg); r == room {
			var way []string
			for s := at; s != nil; s = s.back {
				way = append([]string{s.pkg}, way...)
			}
			return way
		}
		for _, e := range graph[at.pkg] {
			if !seen[e.to] {
				seen[e.to] = true
				queue = append(queue, &step{pkg: e.to, back: at})
			}
		}
	}
	return nil
}
