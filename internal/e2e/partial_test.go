//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// mesh is a federation of which not every datacenter reaches every other one: each has a
// network of its own, and a router between them drops what it is told.
type mesh struct {
	t       *testing.T
	fabric  *proctest.Fabric
	router  *proctest.Host
	nodes   map[string]*node // servers, by datacenter
	clients map[string]*node
	nets    map[string]string
	cuts    map[[2]string]bool
	more    string // of the router's packet filter

	key      string
	switches map[string]*proctest.Switch
	files    map[string]string // more configuration of servers, by datacenter
}

// newMesh starts a server of each datacenter, and a client agent of each but those that carry for
// others, with the links that are named cut from the beginning.
func newMesh(t *testing.T, carry []string, cuts [][2]string, dcs ...string) *mesh {
	t.Helper()
	return newMeshWith(t, nil, carry, cuts, dcs...)
}

func newMeshWith(t *testing.T, files map[string]string, carry []string, cuts [][2]string, dcs ...string) *mesh {
	t.Helper()
	m := &mesh{t: t, fabric: proctest.NewFabric(t), nodes: map[string]*node{}, clients: map[string]*node{}, nets: map[string]string{}, cuts: map[[2]string]bool{},
		key: keygen(t), switches: map[string]*proctest.Switch{}, files: files}
	var legs []proctest.Leg
	for i, dc := range dcs {
		m.nets[dc] = fmt.Sprintf("10.%d.0.", i+1)
		m.switches[dc] = m.fabric.Switch(dc)
		legs = append(legs, proctest.Leg{Switch: m.switches[dc], CIDR: m.nets[dc] + "1/24"})
	}
	m.router = m.fabric.Router("router", legs...)
	for _, pair := range cuts {
		m.cuts[pair] = true
	}
	m.filter()
	for i, dc := range dcs {
		more := spec{expect: 1, config: map[string]any{}}
		for _, other := range dcs[:i] {
			if !m.cuts[[2]string{other, dc}] && !m.cuts[[2]string{dc, other}] {
				more.wan = append(more.wan, m.nets[other]+"2")
			}
		}
		carries := slices.Contains(carry, dc)
		if carries {
			more.config["federation"] = map[string]any{"transit": true}
		}
		m.nodes[dc] = m.agent("s-"+dc, dc, "2", more)
		if i > 0 && !carries {
			m.clients[dc] = m.agent("c-"+dc, dc, "9", spec{lan: []string{m.nodes[dc].ip}, config: map[string]any{"service": map[string]any{"name": "web", "port": 80}}})
		}
	}
	return m
}

// agent starts an agent at an address of its datacenter's network.
func (m *mesh) agent(name, dc, at string, more spec) *node {
	m.t.Helper()
	ip := m.nets[dc] + at
	more.host, more.name, more.dc, more.ip, more.key = m.switches[dc].Host(name, ip+"/24", m.nets[dc]+"1"), name, dc, ip, m.key
	if file := m.files[dc]; file != "" && (more.expect > 0 || slices.Contains(more.flags, "-server")) {
		more.flags = append(more.flags, "-config-file="+file)
	}
	return start(m.t, more)
}

// filter has the router drop what goes over links that are cut.
func (m *mesh) filter() {
	m.t.Helper()
	rules := "table inet filter {\n\tcounter dropped {}\n\tchain forward {\n\t\ttype filter hook forward priority 0; policy accept;\n"
	for pair, cut := range m.cuts {
		if cut {
			for _, way := range [][2]string{pair, {pair[1], pair[0]}} {
				rules += fmt.Sprintf("\t\tip saddr %s0/24 ip daddr %s0/24 counter name dropped drop\n", m.nets[way[0]], m.nets[way[1]])
			}
		}
	}
	m.fabric.Firewall(m.router, rules+"\t}\n}\n"+m.more)
}

func (m *mesh) cut(a, b string, cut bool) {
	m.t.Helper()
	m.cuts[[2]string{a, b}] = cut
	m.filter()
}

// across asks both ways what needs the other datacenter.
func (m *mesh) across(b, c, key string) error {
	l := m.land(b, c)
	return l.across(key)
}

// land is two of the datacenters.
func (m *mesh) land(b, c string) land {
	return land{m.fabric, m.router, m.nodes[b], m.nodes[c], m.clients[b], m.clients[c]}
}

// shows waits until a command of a node says something.
func (m *mesh) shows(n *node, text string, args ...string) {
	m.t.Helper()
	proctest.Until(m.t, patience, strings.Join(args, " ")+" at "+n.name+" shows "+text, func() error {
		if r := n.cli(args...); !strings.Contains(strings.Join(strings.Fields(r.Stdout), " "), text) {
			return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
		}
		return nil
	})
}

// direct waits until one datacenter reaches another directly. On a busy machine packets that are late are taken for lost,
// so the state of both may be degraded.
func (m *mesh) direct(b, c string) {
	m.t.Helper()
	proctest.Until(m.t, patience, b+" reaches "+c+" directly", func() error {
		out := m.nodes[b].cli("federation status").Stdout
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 2 && f[0] == c && (f[1] == "up" || f[1] == "degraded") && f[2] == "direct" {
				return nil
			}
		}
		return errors.New(out)
	})
}

// through is which datacenter carries from one to another.
func (m *mesh) through(b, c string) string {
	m.t.Helper()
	out := m.nodes[b].cli("federation status").Stdout
	for _, line := range strings.Split(out, "\n") {
		if f := strings.Fields(line); len(f) > 3 && f[0] == c && f[2] == "through" {
			return strings.TrimSuffix(f[3], ",")
		}
	}
	m.t.Fatalf("nobody carries from %s to %s:\n%s", b, c, out)
	return ""
}

// goesOn measures how long it takes until a server reads a key of another datacenter again.
func (m *mesh) goesOn(b, c, key, what string) time.Duration {
	m.t.Helper()
	began := time.Now()
	proctest.Until(m.t, patience, b+" reads from "+c+" "+what, func() error { return m.nodes[b].get(key, key+c, c) })
	took := time.Since(began)
	m.t.Logf("%s: calls went on after %s", what, took)
	return took
}

// asks asks the agent over HTTP.
func (n *node) asks(path string) (string, http.Header) {
	n.t.Helper()
	transport := n.host.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + net.JoinHostPort(n.ip, "8500") + path)
	must(n.t, path, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(n.t, path, err)
	return string(b), resp.Header
}

// neverFailed asserts that no server of a datacenter failed as another one saw it.
func (m *mesh) neverFailed(at, of string) {
	m.t.Helper()
	r := m.nodes[at].cli("members", "-wan")
	if !strings.Contains(strings.Join(strings.Fields(r.Stdout), " "), "s-"+of+"."+of) || strings.Contains(r.Stdout, "failed") {
		m.t.Errorf("members at %s:\n%s", at, r.Stdout)
	}
	b, _ := m.nodes[at].asks("/metrics")
	if !strings.Contains(b, "\nlegate_wan_server_failures_total{datacenter=\""+of+"\"} 0\n") {
		m.t.Errorf("servers of %s failed, as %s saw it, or that is not counted", of, at)
	}
}

// Two datacenters that only see a third, and a fourth, which carry for them: names, reads, round
// trips and events work, the path is shown, and another one is taken soon when a link dies.
func TestTwoDatacentersThatOthersCarryFor(t *testing.T) {
	t.Parallel()
	m := newMesh(t, []string{"t1", "t2"}, [][2]string{{"b", "c"}}, "t1", "t2", "b", "c")
	began := time.Now()
	took := proctest.Until(t, patience, "b and c answer each other", func() error { return m.across("b", "c", "first") })
	t.Logf("from the start of the last agent it took %s", took)
	proctest.Until(t, patience, "web.service.c.consul through DNS of b", func() error {
		if got := m.clients["b"].dig(t, "web.service.c.consul"); got != m.clients["c"].ip {
			return fmt.Errorf("dig answers %q", got)
		}
		return nil
	})
	m.shows(m.nodes["b"], "c up through t", "federation status")
	m.shows(m.nodes["b"], "t1 carries what others say to each other.", "federation status")
	m.shows(m.nodes["b"], ",path=through t", "members", "-wan", "-detailed")
	m.shows(m.nodes["b"], "Estimated s-b.b <-> s-c.c rtt:", "rtt", "-wan", "s-b.b", "s-c.c")
	contains(t, "event", m.clients["b"].run(t, 0, "event", "-name=deploy", "-datacenter=c", "1.2.3"), "Event ID: ")
	proctest.Until(t, patience, "the event of b is known in c", func() error {
		if out := m.clients["c"].run(t, 0, "watch", "-type=event", "-name=deploy"); !strings.Contains(out, "MS4yLjM=") {
			return fmt.Errorf("%q", out)
		}
		return nil
	})

	if _, h := m.clients["b"].asks("/v1/kv/first?dc=c"); !strings.HasPrefix(h.Get("X-Legate-Path"), "t") || h.Get("X-Legate-Datacenter") != "c" {
		t.Errorf("a client agent of b is answered with %v", h)
	}
	if _, h := m.clients["b"].asks("/v1/kv/first?dc=t1"); h.Get("X-Legate-Path") != "" {
		t.Errorf("of what is reached directly, with %v", h)
	}

	used := m.through("b", "c")
	m.cut(used, "c", true)
	behind := m.goesOn("b", "c", "first", "the link behind "+used+" died")
	other := m.through("b", "c")
	m.cut(used, "c", false)
	m.direct(used, "c")
	m.cut("b", other, true)
	before := m.goesOn("b", "c", "first", "the link to "+other+" died")
	m.cut("b", other, false)
	if max(behind, before) > 4*time.Second { // 2 s on a machine that is not busy
		t.Errorf("calls went on after %s and %s", behind, before)
	}

	m.cut("b", "c", false)
	m.direct("b", "c")
	if err := m.across("b", "c", "second"); err != nil {
		t.Error(err)
	}
	m.cut("b", "c", true)
	direct := m.goesOn("b", "c", "second", "the direct link died")
	if direct > 4*time.Second {
		t.Errorf("calls went on %s after the direct link died", direct)
	}
	m.neverFailed("b", "c")
	m.neverFailed("c", "b")
	t.Logf("nobody took a server of the other for failed in %s", time.Since(began).Round(time.Second))
}

// meshFor is how long it is watched that nobody takes a server that lives for failed: 40 s, or LEGATE_MESH.
func meshFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("LEGATE_MESH")
	if text == "" {
		return 40 * time.Second
	}
	d, err := time.ParseDuration(text)
	must(t, "LEGATE_MESH", err)
	return d
}

// Where nobody carries, two datacenters that only see a third do not call each other, say so, and
// do not take each other for dead.
func TestTwoDatacentersThatNobodyCarriesFor(t *testing.T) {
	t.Parallel()
	m := newMesh(t, nil, [][2]string{{"b", "c"}}, "a", "b", "c")
	for _, dc := range []string{"b", "c"} {
		proctest.Until(t, patience, dc+" answers a", func() error { return m.nodes["a"].put("k", "v", dc) })
		m.shows(m.nodes[dc], "s-a.a "+m.nodes["a"].ip+":8302 alive", "members", "-wan")
	}
	began := time.Now()
	if err := m.nodes["b"].get("k", "v", "c"); err == nil {
		t.Error("a call of b got to c")
	}
	m.shows(m.nodes["b"], "c is unreachable: unreachable from here, reachable from a", "federation status")
	m.shows(m.nodes["b"], ",path=unreachable from here and reachable from a,", "members", "-wan", "-detailed")
	<-time.After(meshFor(t) - time.Since(began))
	m.neverFailed("b", "c")
	m.neverFailed("c", "b")
	m.neverFailed("a", "b")
	if err := m.nodes["b"].get("k", "v", "c"); err == nil {
		t.Error("a call of b got to c")
	}
}

// Two datacenters between which two others carry, one behind the other.
func TestTwoThatCarryInARow(t *testing.T) {
	t.Parallel()
	m := newMesh(t, []string{"t1", "t2"}, [][2]string{{"b", "c"}, {"t1", "c"}, {"b", "t2"}}, "t1", "b", "t2", "c")
	proctest.Until(t, patience, "b and c answer each other", func() error { return m.across("b", "c", "first") })
	m.shows(m.nodes["b"], "c up through t1, t2", "federation status")
	m.shows(m.nodes["c"], "b up through t2, t1", "federation status")
	if _, h := m.clients["b"].asks("/v1/kv/first?dc=c"); h.Get("X-Legate-Path") != "t1, t2" {
		t.Errorf("a client agent of b is answered with %v", h)
	}
	for _, pair := range [][2]string{{"b", "c"}, {"c", "b"}} {
		proctest.Until(t, patience, "web of "+pair[1]+" through DNS of "+pair[0], func() error {
			if got := m.clients[pair[0]].dig(t, "web.service."+pair[1]+".consul"); got != m.clients[pair[1]].ip {
				return fmt.Errorf("dig answers %q", got)
			}
			return nil
		})
	}
	m.cut("t1", "t2", true)
	if err := m.nodes["b"].reads("first", "firstc", "c", true); err == nil {
		t.Error("a call of b got to c by no link")
	}
	m.cut("t1", "t2", false)
	m.goesOn("b", "c", "first", "the link between those that carry healed")
	m.neverFailed("b", "c")
}

// Three providers that reach a hub alone: they are configured as docs/reach.md says, and the hub may
// lose one of its two servers.
func TestThreeProvidersWithAHub(t *testing.T) {
	t.Parallel()
	page := readPage(t, "Three providers with a hub", "", "")
	files := map[string]string{"hub": page[0], "p1": page[1], "p2": page[1], "p3": page[1]}
	m := newMeshWith(t, files, []string{"hub"}, [][2]string{{"p1", "p2"}, {"p1", "p3"}, {"p2", "p3"}}, "hub", "p1", "p2", "p3")
	second := m.agent("s2-hub", "hub", "3", spec{flags: []string{"-server"}, lan: []string{m.nodes["hub"].ip}})
	ways := [][2]string{{"p1", "p2"}, {"p2", "p3"}, {"p3", "p1"}}
	for _, way := range ways {
		proctest.Until(t, patience, way[0]+" and "+way[1]+" answer each other", func() error { return m.across(way[0], way[1], "first"+way[0]) })
		m.shows(m.nodes[way[0]], way[1]+" up through hub", "federation status")
	}
	m.shows(m.nodes["p1"], "s2-hub.hub "+second.ip+":8302 alive", "members", "-wan")
	m.nodes["hub"].Kill()
	killed := time.Now()
	for _, way := range ways {
		proctest.Until(t, patience, way[0]+" and "+way[1]+" go on", func() error { return m.across(way[0], way[1], "second"+way[0]) })
		t.Logf("a server of the hub was killed, and after %s %s and %s went on", time.Since(killed), way[0], way[1])
	}
	for _, way := range ways {
		b, _ := m.nodes[way[0]].asks("/metrics")
		if !strings.Contains(b, "\nlegate_wan_server_failures_total{datacenter=\""+way[1]+"\"} 0\n") {
			t.Errorf("servers of %s failed, as %s saw it, or that is not counted", way[1], way[0])
		}
	}
}

// Servers that carry lead to a datacenter that has gateways, and not to one that is behind them: that
// is said.
func TestServersThatCarryDoNotLeadBehindGateways(t *testing.T) {
	t.Parallel()
	wanKey := fmt.Sprintf("encrypt_wan = %q\n", keygen(t))
	files := map[string]string{}
	for dc, more := range map[string]string{"t": "", "b": "", "d": "", "office": `federation {
	reach = "gateways"
	gateways = ["10.3.0.4"]
}`} {
		files[dc] = filepath.Join(t.TempDir(), dc+".hcl")
		must(t, "write a configuration", os.WriteFile(files[dc], []byte(wanKey+more), 0o600))
	}
	m := newMeshWith(t, files, []string{"t"}, [][2]string{{"b", "d"}, {"b", "office"}, {"t", "office"}}, "t", "b", "d", "office")
	m.agent("gateway", "d", "4", spec{lan: []string{m.nodes["d"].ip}, flags: []string{"-gateway"}})
	for _, way := range [][2]string{{"t", "office"}, {"d", "office"}, {"b", "d"}} {
		proctest.Until(t, patience, way[0]+" calls "+way[1], func() error { return m.nodes[way[0]].put("k", "v", way[1]) })
	}
	m.shows(m.nodes["b"], "d up through t", "federation status")
	if err := m.nodes["b"].put("k", "v", "office"); err == nil {
		t.Error("a call of b got to the office: docs/reach.md says that none does")
	}
	m.shows(m.nodes["b"], "office is unreachable: none of its servers answers", "federation status")
}
