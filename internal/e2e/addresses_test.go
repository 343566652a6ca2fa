//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/legate-project/legate/internal/proctest"
)

// move gives a node that does not run another address.
func (n *node) move(ip string) {
	n.ip = ip
	n.client = clientOf(n.t, n.host, ip, n.token)
}

// soonFailed has who is gone taken for failed within seconds.
func soonFailed() map[string]any {
	soon := map[string]any{"probe_interval": "300ms", "probe_timeout": "200ms", "suspicion_mult": 2}
	return map[string]any{"gossip_lan": soon, "gossip_wan": soon, "performance": map[string]any{"raft_multiplier": 1}}
}

// TestAllServersMoveAtOnce: a datacenter is stopped and started in another network. The
// servers find each other by retry_join and go on with what they had, and so does a client
// agent that ran meanwhile and knows none of the new addresses.
func TestAllServersMoveAtOnce(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	servers := make([]*node, 3)
	addrs := func(net int) []string { return []string{h.Addr(net, 1), h.Addr(net, 2), h.Addr(net, 3)} }
	for i := range servers {
		servers[i] = start(t, spec{host: h, name: fmt.Sprint("s", i+1), dc: "dc1", ip: addrs(1)[i], expect: 3, lan: addrs(1), config: soonFailed()})
	}
	agent := start(t, spec{host: h, name: "agent", dc: "dc1", ip: h.Addr(1, 9), lan: addrs(1), config: soonFailed()})
	proctest.Until(t, patience, "a client agent writes", func() error { return agent.put("k", "v", "") })
	for _, n := range servers {
		n.Kill()
	}
	for i, n := range servers {
		n.move(addrs(2)[i])
		n.lan = addrs(2)
		n.start()
	}
	took := proctest.Until(t, patience, "the servers go on where they are now", func() error {
		return errors.Join(servers[0].get("k", "v", ""), servers[1].put("moved", "v", ""))
	})
	t.Logf("they go on after %s", took)
	took = proctest.Until(t, patience, "the client agent finds them", func() error { return agent.get("moved", "v", "") })
	t.Logf("the agent finds them after %s", took)
	proctest.Until(t, patience, "the group knows the new addresses", func() error {
		peers, err := agent.client.Status().Peers()
		if slices.Sort(peers); err == nil && !slices.Equal(peers, []string{h.Addr(2, 1) + ":8300", h.Addr(2, 2) + ":8300", h.Addr(2, 3) + ":8300"}) {
			err = fmt.Errorf("the peers are %v", peers)
		}
		return err
	})
	for _, n := range append(servers, agent) {
		calm(t, n.name, n.String())
	}
}

// TestAPublicAddressChanges: the address under which other datacenters reach a
// datacenter is another one after a restart.
func TestAPublicAddressChanges(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	home := start(t, spec{host: h, name: "home", dc: "dc1", ip: h.Addr(1, 1), expect: 1, config: soonFailed()})
	public := func(ip string) []string { return []string{"-serf-wan-bind=" + ip, "-advertise-wan=" + ip} }
	away := start(t, spec{host: h, name: "away", dc: "dc2", ip: h.Addr(2, 1), expect: 1, wan: []string{home.ip}, config: soonFailed(),
		flags: public(h.Addr(2, 7))})
	work := func(what string) {
		t.Helper()
		took := proctest.Until(t, patience, what, func() error {
			return errors.Join(home.put(what, "v", "dc2"), away.put(what, "v", "dc1"))
		})
		t.Logf("%s after %s", what, took)
	}
	work("the federation works")
	away.Signal(syscall.SIGTERM)
	away.WaitExit(patience)
	away.flags = public(h.Addr(2, 8))
	away.start()
	work("it works again")
	contains(t, "the members", home.run(t, 0, "members -wan"), away.flags[1][len("-advertise-wan="):]+":8302  alive")
	for _, n := range []*node{home, away} {
		calm(t, n.name, n.String())
	}
}
