//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// onePort lets nothing but the one port pass between datacenters. What is
// dropped is counted.
const onePort = `table inet filter {
	counter dropped {}
	chain forward {
		type filter hook forward priority 0; policy accept;
		udp sport 8302 udp dport 8302 accept
		counter name dropped drop
	}
}`

const (
	everything = `table inet filter { chain forward { type filter hook forward priority 0; policy accept; }; }`
	nothing    = `table inet filter { chain forward { type filter hook forward priority 0; policy drop; }; }`
)

// land is two datacenters, each with a server and a client, and a router
// between them.
type land struct {
	fabric           *proctest.Fabric
	router           *proctest.Host
	a, b             *node // servers of dc1 and dc2
	clientA, clientB *node
}

// addresses are those of a test's network.
type addresses struct {
	left, right string // what the addresses of both sides begin with
	bits        string // length of the prefix
	mtu         int    // of the router; 0 leaves it
}

func newLand(t testing.TB) *land {
	t.Helper()
	return newLandAt(t, addresses{"10.1.0.", "10.2.0.", "/24", 0})
}

func newLandAt(t testing.TB, at addresses) *land {
	t.Helper()
	f := proctest.NewFabric(t)
	left, right := f.Switch("dc1"), f.Switch("dc2")
	l := &land{fabric: f, router: f.Router("router", proctest.Leg{Switch: left, CIDR: at.left + "1" + at.bits}, proctest.Leg{Switch: right, CIDR: at.right + "1" + at.bits})}
	f.Firewall(l.router, onePort)
	if at.mtu > 0 {
		f.MTU(l.router, at.mtu)
	}
	agent := func(s *proctest.Switch, name, dc, side, host string, more spec) *node {
		ip := side + host
		more.host, more.name, more.dc, more.ip = s.Host(name, ip+at.bits, side+"1"), name, dc, ip
		return start(t, more)
	}
	web := map[string]any{"service": map[string]any{"name": "web", "port": 80}}
	l.a = agent(left, "a", "dc1", at.left, "2", spec{expect: 1})
	l.clientA = agent(left, "client-a", "dc1", at.left, "3", spec{lan: []string{l.a.ip}})
	l.b = agent(right, "b", "dc2", at.right, "2", spec{expect: 1, wan: []string{l.a.ip}})
	l.clientB = agent(right, "client-b", "dc2", at.right, "3", spec{lan: []string{l.b.ip}, config: web})
	return l
}

// across asks both ways what needs the other datacenter.
func (l *land) across(key string) error {
	for _, way := range []struct {
		from *node
		to   string
	}{{l.clientA, l.b.dc}, {l.clientB, l.a.dc}, {l.a, l.b.dc}} {
		if err := way.from.put(key, key+way.to, way.to); err != nil {
			return fmt.Errorf("%s writes to %s: %w", way.from.name, way.to, err)
		}
		if err := way.from.get(key, key+way.to, way.to); err != nil {
			return fmt.Errorf("%s reads from %s: %w", way.from.name, way.to, err)
		}
	}
	return nil
}

// dig asks an agent's DNS and returns the short answer.
func (n *node) dig(t testing.TB, name string, more ...string) string {
	t.Helper()
	args := append([]string{"dig", "@" + n.ip, "-p", "8600", "+short", "+time=3", "+tries=1", name}, more...)
	return strings.TrimSpace(proctest.Tool(t, n.host, "", args...))
}

func (l *land) tcp(t testing.TB, from, to *node) error {
	c, err := from.host.DialContext(t.Context(), "tcp", net.JoinHostPort(to.ip, "8300"))
	if err != nil {
		return err
	}
	return c.Close()
}

func TestOneUDPPortBetweenDatacenters(t *testing.T) {
	t.Parallel()
	l := newLand(t)
	proctest.Until(t, patience, "both datacenters answer each other", func() error { return l.across("first") })

	// The command line, through a client agent.
	r := l.a.cli("members", "-wan")
	contains(t, "members -wan", r.Stdout, "a.dc1", "b.dc2", "10.1.0.2:8302", "10.2.0.2:8302")
	if n := strings.Count(r.Stdout, " alive "); n != 2 {
		t.Errorf("%d members of the WAN pool are alive, want 2:\n%s", n, r.Stdout)
	}
	if r := l.clientA.cli("kv put", "-datacenter=dc2", "greeting", "hello"); r.Code != 0 {
		t.Errorf("kv put -datacenter=dc2: %s%s", r.Stdout, r.Stderr)
	}
	if r := l.clientB.cli("kv get", "greeting"); r.Stdout != "hello\n" {
		t.Errorf("kv get of what dc1 wrote: %q %s", r.Stdout, r.Stderr)
	}
	if r := l.clientA.cli("kv get", "-datacenter=dc2", "greeting"); r.Stdout != "hello\n" {
		t.Errorf("kv get -datacenter=dc2: %q %s", r.Stdout, r.Stderr)
	}
	if r := l.clientA.cli("catalog datacenters"); r.Stdout != "dc1\ndc2\n" {
		t.Errorf("catalog datacenters: %q %s", r.Stdout, r.Stderr)
	}
	proctest.Until(t, patience, "the catalog of dc2 as dc1 sees it", func() error {
		r := l.clientA.cli("catalog services", "-datacenter=dc2")
		if !strings.Contains(r.Stdout, "web") {
			return fmt.Errorf("%q %s", r.Stdout, r.Stderr)
		}
		return nil
	})
	proctest.Until(t, patience, "web.service.dc2.consul through DNS of dc1", func() error {
		if got := l.clientA.dig(t, "web.service.dc2.consul"); got != "10.2.0.3" {
			return fmt.Errorf("dig answers %q", got)
		}
		return nil
	})
	if got := l.a.dig(t, "web.service.dc2.consul", "SRV"); !regexp.MustCompile(`^1 1 80 client-b\.node\.dc2\.consul\.$`).MatchString(got) {
		t.Errorf("dig SRV answers %q", got)
	}
	proctest.Until(t, patience, "rtt -wan", func() error {
		r := l.a.cli("rtt", "-wan", "a.dc1", "b.dc2")
		if !regexp.MustCompile(`^Estimated a\.dc1 <-> b\.dc2 rtt: \d+\.\d{3} ms \(using WAN coordinates\)\n$`).MatchString(r.Stdout) {
			return fmt.Errorf("%q %s", r.Stdout, r.Stderr)
		}
		return nil
	})

	// All that took the one port: nothing else was even tried.
	if n := l.fabric.Counter(l.router, "dropped"); n != 0 {
		t.Errorf("%d packets tried to pass between the datacenters beside UDP 8302", n)
	}
	// And the firewall is real: TCP does not pass, and would without it.
	if err := l.tcp(t, l.a, l.b); err == nil {
		t.Error("TCP passes between the datacenters")
	}
	if n := l.fabric.Counter(l.router, "dropped"); n == 0 {
		t.Error("the firewall counts nothing: it proves nothing")
	}
	l.fabric.Firewall(l.router, everything)
	if err := l.tcp(t, l.a, l.b); err != nil {
		t.Errorf("TCP does not pass without the firewall either: %v", err)
	}
}

func TestCutAndHealBetweenDatacenters(t *testing.T) {
	t.Parallel()
	l := newLand(t)
	proctest.Until(t, patience, "both datacenters answer each other", func() error { return l.across("before") })
	dns := func() error {
		if got := l.clientA.dig(t, "web.service.dc2.consul"); got != "10.2.0.3" {
			return fmt.Errorf("dig answers %q", got)
		}
		return nil
	}
	proctest.Until(t, patience, "web.service.dc2.consul", dns)

	l.fabric.Firewall(l.router, nothing)
	cut := time.Now()
	proctest.Until(t, patience, "the error while the WAN is cut", func() error {
		begin := time.Now()
		r := l.clientA.cli("kv get", "-datacenter=dc2", "before")
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("a read of a datacenter that is cut off took %s", took)
		}
		if r.Code == 0 {
			return errors.New("the read still works")
		}
		if !strings.Contains(r.Stderr, "No path to datacenter") {
			return fmt.Errorf("kv get -datacenter=dc2 says %q", r.Stderr)
		}
		return nil
	})
	t.Logf("the error says so %s after the cut", time.Since(cut).Round(10*time.Millisecond))
	for _, n := range []*node{l.clientA, l.clientB} { // life at home goes on
		if err := errors.Join(n.put("alone", n.dc, ""), n.get("alone", n.dc, "")); err != nil {
			t.Errorf("%s while the WAN is cut: %v", n.dc, err)
		}
	}
	// What dc2 was last known to have, or that nobody knows now: never that it
	// has nothing.
	begin := time.Now()
	name := proctest.Tool(t, l.clientA.host, "", "dig", "@"+l.clientA.ip, "-p", "8600", "+time=10", "+tries=1", "web.service.dc2.consul")
	if !strings.Contains(name, "status: SERVFAIL") && !strings.Contains(name, "\t10.2.0.3\n") {
		t.Errorf("a name of dc2 while the WAN is cut:\n%s", name)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("DNS takes %s to answer while the WAN is cut", took)
	}

	l.heal("short")

	// A cut that lasts until both sides have given the other up.
	l.fabric.Firewall(l.router, nothing)
	proctest.Until(t, 2*patience, "both sides take the other for failed", func() error {
		for _, n := range []*node{l.a, l.b} {
			if r := n.cli("members", "-wan", "-status=failed"); r.Code != 0 {
				return fmt.Errorf("%s has no failed member of the WAN pool: %s", n.name, r.Stderr)
			}
		}
		return nil
	})
	for _, n := range []*node{l.a, l.clientA} {
		begin := time.Now()
		r := n.cli("kv get", "-datacenter=dc2", "before")
		if took := time.Since(begin); r.Code == 0 || !strings.Contains(r.Stderr, "No path to datacenter") || took > 2*time.Second {
			t.Errorf("a read of a datacenter that was given up, on %s: %q after %s", n.name, r.Stderr, took)
		}
	}
	l.heal("long")
}

// heal ends a cut and waits until the datacenters answer each other.
func (l *land) heal(name string) {
	t := l.a.t
	t.Helper()
	l.fabric.Firewall(l.router, onePort)
	took := proctest.Until(t, patience, "both datacenters answer each other again", func() error { return l.across("after-" + name) })
	t.Logf("answer again %s after the end of a %s cut", took.Round(10*time.Millisecond), name)
	if took > 15*time.Second {
		t.Errorf("took %s to heal", took)
	}
}
