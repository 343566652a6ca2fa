//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// office is a datacenter behind a router that hides its addresses, and lets nothing in
// that was not asked for from inside.
const office = `table ip nat {
	chain post {
		type nat hook postrouting priority 100; policy accept;
		ip saddr 10.2.0.0/24 masquerade random
	}
}
table inet filter {
	counter dropped {}
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		ip saddr 10.2.0.0/24 accept
		counter name dropped drop
	}
}`

// hidden is a federation of dc1, which everybody reaches, with gateways, and of dc2 in
// the office.
type hidden struct {
	fabric           *proctest.Fabric
	router           *proctest.Host
	a, b             *node // servers of dc1 and dc2
	clientA, clientB *node
	gateways         []*node // of dc1
	key              string  // of the WAN pool
}

func newHidden(t testing.TB) *hidden {
	t.Helper()
	return newHiddenBy(t, office, nil)
}

// newHiddenBy has the router of the office filter by rules, and all but a have more configuration.
func newHiddenBy(t testing.TB, rules string, more map[string]any) *hidden {
	t.Helper()
	gateways := []string{"198.51.100.11", "198.51.100.12:8302"}
	return newHiddenAt(t, addresses{"198.51.100.", "10.2.0.", "/24", 0}, rules, gateways, more)
}

func newHiddenAt(t testing.TB, at addresses, rules string, gateways []string, more map[string]any) *hidden {
	t.Helper()
	f := proctest.NewFabric(t)
	public, inside := f.Switch("public"), f.Switch("office")
	h := &hidden{fabric: f, router: f.Router("router", proctest.Leg{Switch: public, CIDR: at.left + "2" + at.bits}, proctest.Leg{Switch: inside, CIDR: at.right + "1" + at.bits})}
	f.Firewall(h.router, rules)
	gateway := "" // of the public network
	if at.mtu > 0 {
		f.MTU(h.router, at.mtu)
	}
	if strings.Contains(at.left, ":") { // no address is hidden
		gateway = at.left + "2"
	}
	keys := map[string]string{"dc1": keygen(t), "dc2": keygen(t)}
	h.key = keygen(t)
	agent := func(s *proctest.Switch, name, dc, ip, gateway string, more spec) *node {
		more.host, more.name, more.dc, more.ip, more.key = s.Host(name, ip+at.bits, gateway), name, dc, ip, keys[dc]
		if more.expect > 0 {
			more.wanKey = h.key
		}
		return start(t, more)
	}
	h.a = agent(public, "a", "dc1", at.left+"10", gateway, spec{expect: 1})
	h.clientA = agent(public, "client-a", "dc1", at.left+"13", gateway, spec{lan: []string{h.a.ip}})
	for i, name := range []string{"g1", "g2"} {
		g := agent(public, name, "dc1", fmt.Sprint(at.left, 11+i), gateway, spec{lan: []string{h.a.ip}, flags: []string{"-gateway"}, config: more})
		h.gateways = append(h.gateways, g)
	}
	reach := map[string]any{"federation": map[string]any{"reach": "gateways", "gateways": gateways}}
	maps.Copy(reach, more)
	web := map[string]any{"service": map[string]any{"name": "web", "port": 80}}
	h.b = agent(inside, "b", "dc2", at.right+"2", at.right+"1", spec{expect: 1, wan: []string{h.a.ip}, config: reach, flags: []string{"-retry-interval-wan=30s"}}) // as it is by default
	h.clientB = agent(inside, "client-b", "dc2", at.right+"3", at.right+"1", spec{lan: []string{h.b.ip}, config: web})
	return h
}

// across asks both ways what needs the other datacenter.
func (h *hidden) across(key string) error {
	l := land{a: h.a, b: h.b, clientA: h.clientA, clientB: h.clientB}
	return l.across(key)
}

// A datacenter that nobody can dial is a full part of the federation: it is called, its
// names are known, and its servers are members; through one gateway, through the other
// when that is killed, and from another public address.
func TestADatacenterBehindNAT(t *testing.T) {
	t.Parallel()
	h := newHidden(t)
	took := proctest.Until(t, patience, "both datacenters answer each other", func() error { return h.across("first") })
	t.Logf("from the start of the last agent it took %s", took)
	proctest.Until(t, patience, "web.service.dc2.consul through DNS of dc1", func() error {
		if got := h.clientA.dig(t, "web.service.dc2.consul"); got != "10.2.0.3" {
			return fmt.Errorf("dig answers %q", got)
		}
		return nil
	})
	shown := regexp.MustCompile(`(?m)^b\.dc2 .*seen=198\.51\.100\.2:\d+.*via=198\.51\.100\.11:8302,198\.51\.100\.12:8302`)
	proctest.Until(t, patience, "members -wan -detailed shows how it is reached", func() error {
		if r := h.a.cli("members", "-wan", "-detailed"); !shown.MatchString(r.Stdout) || strings.Count(r.Stdout, " alive ") != 2 {
			return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
		}
		return nil
	})
	proctest.Until(t, patience, "federation status shows it at both ends", func() error {
		far, own := h.a.cli("federation status"), h.b.cli("federation status")
		if !strings.Contains(far.Stdout, "by gateways") || !strings.Contains(own.Stdout, "by gateways") {
			return fmt.Errorf("%s%s%s%s", far.Stdout, far.Stderr, own.Stdout, own.Stderr)
		}
		for _, r := range []string{far.Stdout, own.Stdout} {
			if !strings.Contains(r, "dc2 is reached through its gateways: 198.51.100.11:8302, 198.51.100.12:8302") {
				return fmt.Errorf("%s", r)
			}
		}
		return nil
	})
	proctest.Until(t, patience, "rtt -wan", func() error {
		if r := h.a.cli("rtt", "-wan", "a.dc1", "b.dc2"); r.Code != 0 {
			return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
		}
		return nil
	})

	h.gateways[0].Kill()
	killed := time.Now()
	proctest.Until(t, patience, "they go on when a gateway is killed", func() error { return h.across("second") })
	t.Logf("a gateway was killed, and after %s all ways worked", time.Since(killed))

	// The provider gives the office another address.
	out := strings.Fields(proctest.Tool(t, h.router, "", "ip", "-o", "route", "get", "198.51.100.10"))
	public := out[2]
	proctest.Tool(t, h.router, "", "ip", "addr", "add", "198.51.100.3/24", "dev", public)
	proctest.Tool(t, h.router, "", "ip", "addr", "del", "198.51.100.2/24", "dev", public)
	proctest.Tool(t, h.router, "", "ip", "addr", "replace", "198.51.100.3/24", "dev", public)
	moved := time.Now()
	proctest.Until(t, patience, "they go on from another address", func() error { return h.across("third") })
	t.Logf("the address changed, and after %s all ways worked", time.Since(moved))
	proctest.Until(t, patience, "the new address is shown", func() error {
		if r := h.a.cli("members", "-wan", "-detailed"); !strings.Contains(r.Stdout, "seen=198.51.100.3:") {
			return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
		}
		return nil
	})
	if n := h.fabric.Counter(h.router, "dropped"); n > 0 {
		t.Logf("%d packets from outside were dropped", n)
	}
}

// Which gateways do not carry for a server, and why, is in the status that it shows; whom nobody can call is told
// apart from who is down by those that do not reach it.
func TestTheStatusSaysWhyAGatewayFails(t *testing.T) {
	t.Parallel()
	h := newHiddenAt(t, addresses{"198.51.100.", "10.2.0.", "/24", 0}, office, []string{"198.51.100.10", "198.51.100.20"}, nil)
	for n, lines := range map[*node][]string{
		h.b: {"b is not reached through the gateway 198.51.100.10:8302: it answers \"it carries nothing for others\"\n", "b is not reached through the gateway 198.51.100.20:8302: nobody answers there within 3s",
			"Other datacenters do not reach b: none of its gateways carries for it\n"},
		h.a: {"its servers show a private address (10.2.0.2) and no gateway that carries for them"},
	} {
		proctest.Until(t, patience, "the status of "+n.name+" says what is wrong", func() error {
			r := n.cli("federation status")
			for _, line := range lines {
				if !strings.Contains(r.Stdout, line) {
					return fmt.Errorf("%q is not in %s%s", line, r.Stdout, r.Stderr)
				}
			}
			return nil
		})
	}
}

// private is a federation of dc1 and of dc2 in a network of its own, which only its gateways
// leave.
type private struct {
	land
	gateways []*node
	key      string // of the WAN pool
}

func newPrivate(t *testing.T) *private {
	t.Helper()
	p := newPrivateAt(t, addresses{"198.51.100.", "10.2.0.", "/24", 0}, "0.0.0.0")
	p.reached(p.b, bothGateways)
	return p
}

// newPrivateAt has gateways be bound to an address.
func newPrivateAt(t *testing.T, at addresses, bind string) *private {
	t.Helper()
	f := proctest.NewFabric(t)
	public, inside := f.Switch("public"), f.Switch("private")
	key, key2, wanKey := keygen(t), keygen(t), keygen(t)
	agent := func(s *proctest.Switch, name, dc, ip string, more spec) *node {
		more.host, more.name, more.dc, more.ip = s.Host(name, ip+at.bits, ""), name, dc, ip
		return start(t, more)
	}
	web := map[string]any{"service": map[string]any{"name": "web", "port": 80}}
	reach := map[string]any{"federation": map[string]any{"reach": "gateways"}}
	a := agent(public, "a", "dc1", at.left+"10", spec{key: key, wanKey: wanKey, expect: 1})
	clientA := agent(public, "client-a", "dc1", at.left+"13", spec{key: key, lan: []string{a.ip}})
	b := agent(inside, "b", "dc2", at.right+"2", spec{key: key2, wanKey: wanKey, expect: 1, config: reach})
	clientB := agent(inside, "client-b", "dc2", at.right+"3", spec{key: key2, lan: []string{b.ip}, config: web})
	p := &private{land: land{fabric: f, a: a, b: b, clientA: clientA, clientB: clientB}, key: wanKey}
	for i := range 2 {
		name, in, out := fmt.Sprint("g", i), fmt.Sprint(at.right, 8+i), fmt.Sprint(at.left, 20+i)
		edge := f.Router(name, proctest.Leg{Switch: public, CIDR: out + at.bits}, proctest.Leg{Switch: inside, CIDR: in + at.bits})
		f.Firewall(edge, nothing)
		if at.mtu > 0 {
			f.MTU(edge, at.mtu)
		}
		p.gateways = append(p.gateways, start(t, spec{host: edge, name: name, dc: "dc2", ip: in, key: key2, lan: []string{b.ip},
			config: map[string]any{"gateway": true, "serf_wan": bind, "advertise_addr_wan": out}}))
	}
	proctest.Until(t, patience, "a gateway is one", func() error {
		if r := b.cli("members", "-wan", "-detailed"); !strings.Contains(r.Stdout, "via=") {
			return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
		}
		return nil
	})
	a.cliOut(t, 0, "join", "-wan", "-http-addr="+net.JoinHostPort(a.ip, "8500"), at.left+"20")
	proctest.Until(t, patience, "both datacenters answer each other", func() error { return p.across("first") })
	return p
}

// bothGateways is how the server of dc2 shows that it is reached through both.
const bothGateways = "via=198.51.100.20:8302,198.51.100.21:8302,vsn"

// reached waits until a server shows through which gateways that of dc2 is reached.
func (p *private) reached(n *node, via string) {
	n.t.Helper()
	proctest.Until(n.t, patience, n.name+" shows "+via, func() error {
		if r := n.cli("members", "-wan", "-detailed"); !strings.Contains(r.Stdout, via) {
			return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
		}
		return nil
	})
}

// A datacenter in a network of its own, which only its gateways leave: everything goes
// through them, in both directions, and one joins at a gateway.
func TestADatacenterBehindItsOwnGateways(t *testing.T) {
	t.Parallel()
	p := newPrivate(t)
	a, gateways := p.a, p.gateways
	for _, n := range []*node{p.a, p.b} {
		proctest.Until(t, patience, "all are members at "+n.name, func() error {
			if r := n.cli("members", "-wan"); strings.Count(r.Stdout, " alive ") != 2 {
				return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
			}
			return nil
		})
	}
	gateways[0].Kill()
	proctest.Until(t, patience, "they go on when a gateway is killed", func() error { return p.across("second") })
	p.reached(a, "via=198.51.100.21:8302,vsn")
	gateways[0].start()
	p.reached(a, bothGateways)
	gateways[1].Kill()
	proctest.Until(t, patience, "they go on when the other one is killed", func() error { return p.across("third") })
}
