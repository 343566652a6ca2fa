//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/legate-project/legate/internal/proctest"
)

// balancer is a router with the one public address of a datacenter, which sends what comes to its
// port on to one of the gateways behind it, by where it comes from, and hides what goes out.
const balancer = `table ip nat {
	chain pre {
		type nat hook prerouting priority -100; policy accept;
		ip daddr 198.51.100.30 udp dport 8302 dnat to jhash ip saddr . udp sport mod %d map { %s }
	}
	chain post {
		type nat hook postrouting priority 100; policy accept;
		ip saddr 10.2.0.0/24 masquerade
	}
}
table inet filter {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		ct status dnat accept
		ip saddr 10.2.0.0/24 accept
	}
}`

// balanced is a federation of dc1, and of dc2, which others reach at one address and port.
type balanced struct {
	land
	t        *testing.T
	gateways []*node
}

// balance has the balancer send to gateways, and to no other any more.
func (b *balanced) balance(gateways ...*node) {
	b.t.Helper()
	var to []string
	for i, g := range gateways {
		to = append(to, fmt.Sprintf("%d : %s", i, g.ip))
	}
	b.fabric.Firewall(b.router, fmt.Sprintf(balancer, len(to), strings.Join(to, ", ")))
	b.fabric.Forget(b.router)
}

func newBalanced(t *testing.T) *balanced {
	t.Helper()
	f := proctest.NewFabric(t)
	public, inside := f.Switch("public"), f.Switch("pods")
	b := &balanced{land: land{fabric: f}, t: t}
	b.router = f.Router("balancer", proctest.Leg{Switch: public, CIDR: "198.51.100.30/24"}, proctest.Leg{Switch: inside, CIDR: "10.2.0.1/24"})
	keys, wanKey := map[string]string{"dc1": keygen(t), "dc2": keygen(t)}, keygen(t)
	page := readPage(t, "Kubernetes with one UDP load balancer", keys["dc2"], wanKey)
	agent := func(s *proctest.Switch, name, dc, ip, gateway string, more spec) *node {
		more.host, more.name, more.dc, more.ip, more.key = s.Host(name, ip+"/24", gateway), name, dc, ip, keys[dc]
		return start(t, more)
	}
	web := map[string]any{"service": map[string]any{"name": "web", "port": 80}}
	b.a = agent(public, "a", "dc1", "198.51.100.10", "", spec{expect: 1, wanKey: wanKey})
	b.clientA = agent(public, "client-a", "dc1", "198.51.100.13", "", spec{lan: []string{b.a.ip}})
	b.b = agent(inside, "b", "dc2", "10.2.0.2", "10.2.0.1", spec{expect: 1, flags: []string{"-config-file=" + page[1]}})
	b.clientB = agent(inside, "client-b", "dc2", "10.2.0.3", "10.2.0.1", spec{lan: []string{b.b.ip}, config: web})
	for i := range 2 {
		b.gateways = append(b.gateways, agent(inside, fmt.Sprint("g", i), "dc2", fmt.Sprint("10.2.0.", 8+i), "10.2.0.1",
			spec{lan: []string{b.b.ip}, flags: []string{"-config-file=" + page[0]}}))
	}
	return b
}

// ready waits until a gateway carries for the server of dc2.
func (b *balanced) ready(g *node) {
	b.t.Helper()
	proctest.Until(b.t, patience, "gateway "+g.name+" is ready", func() error {
		if metrics, _ := g.asks("/metrics"); !strings.Contains(metrics, "\nlegate_gateway_servers 1\n") {
			return errors.New("no server is reached through it")
		}
		return nil
	})
}

// goesOn waits until all ways work, and says how long that took.
func (b *balanced) goesOn(what string) {
	b.t.Helper()
	took := proctest.Until(b.t, patience, "they go on when "+what, func() error { return b.across(what) })
	b.t.Logf("%s, and after %s all ways worked", what, took)
	if took > promised {
		b.t.Errorf("%s: stood still for %s", what, took)
	}
}

// A datacenter that others reach at one address and port, behind which are gateways with private
// addresses, as of Kubernetes with one load balancer for UDP: it does not matter which of them
// the balancer sends to, nor that it changes.
func TestGatewaysBehindOneBalancer(t *testing.T) {
	t.Parallel()
	b := newBalanced(t)
	g0, g1 := b.gateways[0], b.gateways[1]
	b.ready(g0)
	b.ready(g1)
	b.balance(g0)
	proctest.Until(t, patience, "the server shows where it is reached", func() error {
		if r := b.b.cli("members", "-wan", "-detailed"); !strings.Contains(r.Stdout, "via=198.51.100.30:8302,vsn") {
			return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
		}
		return nil
	})
	b.a.cliOut(t, 0, "join", "-wan", "-http-addr="+b.a.ip+":8500", "198.51.100.30")
	b.goesOn("the balancer has one gateway")
	proctest.Until(t, patience, "web.service.dc2.consul through DNS of dc1", func() error {
		if got := b.clientA.dig(t, "web.service.dc2.consul"); got != b.clientB.ip {
			return fmt.Errorf("dig answers %q", got)
		}
		return nil
	})
	b.balance(g1)
	b.goesOn("the balancer sends to the other one, and both live")
	g1.Kill()
	b.balance(g0)
	b.goesOn("the one that it sends to is killed")
	g1.start()
	b.ready(g1)
	b.balance(g0, g1)
	b.goesOn("it has two")
	g0.Kill()
	b.balance(g1)
	b.goesOn("one of them is killed")
	g0.start()
	b.ready(g0)
	b.balance(g0, g1)
	b.goesOn("it is back")
	g1.Kill()
	b.balance(g0)
	b.goesOn("the other one is killed")
	if r := b.a.cli("members", "-wan"); strings.Count(r.Stdout, " alive ") != 2 {
		t.Errorf("members at %s: %s%s", b.a.name, r.Stdout, r.Stderr)
	}
}
