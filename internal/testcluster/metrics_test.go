package testcluster_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

//go:generate env LEGATE_WRITE_METRICS=1 go test -count=1 -run TestMetricsOfAFederation .

// metricsPage is written from what agents expose.
const metricsPage = "../../docs/metrics.md"

// What is read of an exposition.
var (
	seriesForm = regexp.MustCompile(`^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+`)
	labelForm  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"`)
)

// family is one metric as agents expose it.
type family struct {
	name, kind, help string
	labels           map[string]map[string]bool // values
	on               map[string]bool            // server, client
}

// scrape returns what an agent exposes.
func scrape(t *testing.T, n *testcluster.Node) string {
	t.Helper()
	resp, err := http.Get("http://" + n.HTTPAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %d, %v", n.Name, resp.StatusCode, err)
	}
	return string(b)
}

// read adds what an agent of a role exposes.
func read(families map[string]*family, role, text string) {
	var now *family
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			if families[name] == nil {
				families[name] = &family{name: name, labels: map[string]map[string]bool{}, on: map[string]bool{}}
			}
			now = families[name]
			now.help, now.on[role] = help, true
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			_, now.kind, _ = strings.Cut(rest, " ")
			continue
		}
		s := seriesForm.FindStringSubmatch(line)
		if s == nil {
			continue
		}
		for _, l := range labelForm.FindAllStringSubmatch(s[2], -1) {
			if l[1] == "le" || l[1] == "quantile" {
				continue
			}
			if now.labels[l[1]] == nil {
				now.labels[l[1]] = map[string]bool{}
			}
			now.labels[l[1]][l[3]] = true
		}
	}
}

// bounds of labels whose values are not a fixed list.
var bounds = map[string]string{
	"datacenter": "datacenters of the federation; above a bound of 64 or 256, `other` or none",
	"peer":       "servers of Raft's configuration, by node name",
	"operation":  "operations of this build",
	"route":      "routes of the HTTP API and `other`",
	"code":       "codes of errors of this build",
	"table":      "tables of the state",
	"version":    "this build", "compatible": "this build", "prerelease": "this build",
	"protocol": "protocols of QUIC connections: `legate-rpc/1`, `legate-gossip/1`",
}

func (f *family) labelCell() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(f.labels)) {
		bound := bounds[name]
		if bound == "" {
			bound = "`" + strings.Join(slices.Sorted(maps.Keys(f.labels[name])), "`, `") + "`"
		}
		out = append(out, "**"+name+"**: "+bound)
	}
	return strings.Join(out, "; ")
}

// unit is what a metric's name says it is in.
func (f *family) unit() string {
	name := strings.TrimSuffix(f.name, "_total")
	for _, u := range []string{"seconds", "bytes", "ratio"} {
		if strings.HasSuffix(name, "_"+u) {
			return u
		}
	}
	if strings.HasPrefix(f.name, "go_") && strings.Contains(f.name, "_bytes") {
		return "bytes"
	}
	return ""
}

// meaning and what there is to worry about, of a help text.
func (f *family) meaning() (meaning, worry string) {
	meaning, worry, _ = strings.Cut(f.help, " Worry: ")
	return meaning, worry
}

// subsystems are the parts of the page, by prefixes of names.
var subsystems = []struct{ prefix, title, intro string }{
	{"legate_raft_", "Elections and Raft", "On servers. A server measures itself; what concerns others, by peer, is there while it leads."},
	{"legate_leader_", "What a leader does", "On servers; they grow on the one that leads."},
	{"legate_session_", "Sessions", ""},
	{"legate_server_", "The servers as a group", ""},
	{"legate_gossip_", "Gossip", "Pool `lan` is the agents of one datacenter, `wan` the servers of all."},
	{"legate_wan_", "Gossip between datacenters", ""},
	{"legate_federation_", "Calls to other datacenters", "The label datacenter is the other one."},
	{"legate_quic_", "Connections", "The label datacenter is the one at the other end, which may be the own one."},
	{"legate_view_", "Results that are kept", ""},
	{"legate_feed_", "Results that are pushed to others", ""},
	{"legate_directory_", "What is known of other datacenters' services", ""},
	{"legate_wide_", "Answers of several datacenters", ""},
	{"legate_query_", "Prepared queries", ""},
	{"legate_rpc_", "Calls on servers", ""},
	{"legate_client_", "Calls of client agents", ""},
	{"legate_http_", "HTTP", ""},
	{"legate_dns_", "DNS", ""},
	{"legate_state_", "The replicated state", ""},
	{"legate_storage_", "Storage", ""},
	{"legate_snapshot_", "Snapshots for operators", ""},
	{"legate_local_", "Anti-entropy", ""},
	{"legate_gateway_", "Gateways", "On gateways, and on servers for the flows that end there."},
	{"legate_exec_", "Remote execution", ""},
	{"legate_user_", "User events", ""},
	{"legate_", "The agent", ""},
	{"go_", "The Go runtime", ""},
	{"process_", "The process", ""},
}

// page is docs/metrics.md.
func page(families map[string]*family) string {
	var b strings.Builder
	b.WriteString(`# Metrics

Generated by ` + "`make generate`" + ` from what agents expose: two servers of a federation of two datacenters, and a client agent.
Meanings stand in the help texts of the packages' metrics.go; edit those.

Every agent serves them at ` + "`/metrics`" + `. What is in the column *on* says which agents have a metric. A unit is in the name; without one
a metric counts what its meaning says. Counters end in ` + "`_total`" + ` and grow until the agent ends. Histograms have ` + "`_bucket`, `_sum` and `_count`" + `.
`)
	left := maps.Clone(families)
	for _, s := range subsystems {
		var names []string
		for name := range left {
			if strings.HasPrefix(name, s.prefix) {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		if s.intro != "" {
			fmt.Fprintf(&b, "%s\n\n", s.intro)
		}
		b.WriteString("| name | type | labels | unit | on | meaning | when to worry |\n|---|---|---|---|---|---|---|\n")
		for _, name := range slices.Sorted(slices.Values(names)) {
			f := left[name]
			delete(left, name)
			meaning, worry := f.meaning()
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", name, f.kind, f.labelCell(), f.unit(),
				strings.Join(slices.Sorted(maps.Keys(f.on)), ", "), cell(meaning), cell(worry))
		}
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// use does what makes metrics appear that nothing counts before.
func use(ctx context.Context, t *testing.T, c *testcluster.Cluster, n *testcluster.Node) {
	t.Helper()
	caller := n.Agent().Caller()
	for _, dc := range c.Datacenters() {
		if err := set(ctx, caller, op.Header{Datacenter: dc}, "k", "v"); err != nil {
			t.Fatal(err)
		}
		if _, err := resolve(n, "web.service."+dc+".consul.", dns.TypeA); err != nil {
			t.Fatal(err)
		}
		if _, _, err := kept(ctx, caller, dc, "web"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := catalog.ListInstances.Call(ctx, caller, op.Header{Datacenter: op.Nearest}, &catalog.ServiceRequest{Service: "web"}); err != nil {
		t.Logf("nearest: %v", err)
	}
}

func TestMetricsOfAFederation(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 2, Clients: 1, RTT: 5 * time.Millisecond})
	leads := c.Node(leaderIn(t, c, "dc1"))
	client := c.In("dc1")[2]
	for _, n := range []*testcluster.Node{c.In("dc1")[0], c.In("dc1")[1], client} {
		use(t.Context(), t, c, n)
	}
	gather := func() map[string]*family {
		families := map[string]*family{}
		for _, n := range []*testcluster.Node{c.In("dc1")[0], c.In("dc1")[1]} {
			read(families, "server", scrape(t, n))
		}
		read(families, "client", scrape(t, client))
		return families
	}
	t.Run("page", func(t *testing.T) { pageIsCurrent(t, gather) })
	t.Run("names", func(t *testing.T) { namesAreSound(t, gather()) })
	t.Run("promtool", func(t *testing.T) {
		lint(t, scrape(t, leads))
		lint(t, scrape(t, client))
	})
	t.Run("odd requests", func(t *testing.T) {
		for _, n := range []*testcluster.Node{c.In("dc1")[0], c.In("dc1")[1], client} {
			oddRequestsAddNoSeries(t, n)
		}
	})
}

// pageIsCurrent compares, or writes if LEGATE_WRITE_METRICS is set. What appears
// with a first answer of a peer takes a moment.
func pageIsCurrent(t *testing.T, gather func() map[string]*family) {
	const settle = 30 * time.Second
	var got string
	if os.Getenv("LEGATE_WRITE_METRICS") != "" {
		// What comes late has come when nothing came for a while.
		last, since := "", time.Now()
		eventually(t, "metrics settle", 2*settle, func(context.Context) error {
			if got = page(gather()); got != last {
				last, since = got, time.Now()
			}
			if time.Since(since) < 8*time.Second {
				return fmt.Errorf("new ones since %v", time.Since(since))
			}
			return nil
		})
		if err := os.WriteFile(metricsPage, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "docs/metrics.md is what agents expose; run make generate", settle, func(context.Context) error {
		got = page(gather())
		return difference(string(want), got)
	})
}

// difference tells of lines that only one of two texts has.
func difference(want, got string) error {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	if slices.Equal(a, b) {
		return nil
	}
	only := func(these, those []string) (out string) {
		for _, line := range these {
			if !slices.Contains(those, line) {
				out += "\n  " + line
			}
		}
		return out
	}
	return fmt.Errorf("only in the page:%s\nonly exposed:%s", only(a, b), only(b, a))
}

// namesAreSound holds what every metric is to have.
func namesAreSound(t *testing.T, families map[string]*family) {
	own := 0
	for name, f := range families {
		if !strings.HasPrefix(name, "legate_") {
			continue
		}
		own++
		meaning, worry := f.meaning()
		if len(meaning) < 10 || !strings.HasSuffix(meaning, ".") || worry != "" && !strings.HasSuffix(worry, ".") {
			t.Errorf("%s means %q, worry %q: a sentence each", name, meaning, worry)
		}
		if (f.kind == "counter") != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, f.kind)
		}
		for _, word := range []string{"_milliseconds", "_ms", "_kilobytes", "_mb", "_percent", "_minutes"} {
			if strings.Contains(name, word) {
				t.Errorf("%s is in no base unit", name)
			}
		}
		if other := families[strings.TrimSuffix(name, "_total")]; other != nil && other != f {
			t.Errorf("%s and %s are one in OpenMetrics", name, other.name)
		}
		if u := f.unit(); u == "seconds" && f.kind != "counter" && !strings.Contains(strings.ToLower(meaning), "second") && !strings.Contains(meaning, "Unix") {
			t.Errorf("%s: %q does not say the unit", name, meaning)
		}
	}
	if own < 150 {
		t.Errorf("%d metrics of Legate", own)
	}
}

// lint runs promtool over an exposition.
func lint(t *testing.T, text string) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is needed: Debian's prometheus has it")
		}
		t.Skip("promtool is not installed")
	}
	cmd := exec.CommandContext(t.Context(), program, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// oddRequestsAddNoSeries sends requests that each say something else.
func oddRequestsAddNoSeries(t *testing.T, n *testcluster.Node) {
	t.Helper()
	resolver := &dns.Client{Timeout: 5 * time.Second}
	ask := func(method, path string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.HTTPAddr()+path, strings.NewReader("odd"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // who answered has counted
		resp.Body.Close()
	}
	round := func(from, to int) {
		for i := from; i < to; i++ {
			odd := fmt.Sprintf("odd%d", i)
			switch i % 10 {
			case 0:
				ask("GET", "/v1/"+odd)
			case 1:
				ask("GET", "/"+odd+"/x?y="+odd)
			case 2:
				ask("GET", "/v1/kv/"+odd+"?dc="+odd)
			case 3:
				ask("PUT", "/v1/kv/"+odd)
			case 4:
				ask("GET", "/v1/health/service/"+odd+"?cached&dc="+odd)
			case 5:
				ask("GET", "/v1/catalog/service/"+odd+"?tag="+odd+"&token="+odd+"&near="+odd)
			case 6:
				ask(strings.ToUpper("odd"), "/v1/status/leader")
			case 7:
				ask("GET", "/v1/query/"+odd+"/execute?"+url.Values{"dc": {odd}}.Encode())
			default:
				name := odd + ".service." + odd + ".consul."
				if i%20 > 9 {
					name = odd + ".service.consul."
				}
				if _, _, err := resolver.Exchange(new(dns.Msg).SetQuestion(name, uint16(i)), n.DNSAddr()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	round(0, 40) // has what counts errors appear
	// What the datacenters do meanwhile may add a series of its own; what odd
	// requests add, each round of them adds again.
	const rounds = 3
	var added []string
	for i := range rounds {
		before := seriesOf(scrape(t, n))
		round(40+i*1000, 1040+i*1000)
		added = added[:0]
		for name := range seriesOf(scrape(t, n)) {
			if strings.Contains(name, "odd") || strings.Contains(name, "ODD") {
				t.Errorf("%s: what a client sent is in %s", n.Name, name)
			} else if !before[name] {
				added = append(added, name)
			}
		}
		if len(added) == 0 {
			return
		}
	}
	t.Errorf("%s: each of %d rounds adds series, the last one: %q", n.Name, rounds, added)
}

// seriesOf are the names of an exposition with their labels.
func seriesOf(text string) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(text) {
		if name, _, ok := cutLast(strings.TrimSpace(line)); ok && !strings.HasPrefix(line, "#") {
			out[name] = true
		}
	}
	return out
}

func cutLast(line string) (name, value string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	return line[:max(i, 0)], line[i+1:], cmp.Or(i, 0) > 0
}
