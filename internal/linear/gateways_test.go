//go:build linux

package linear

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

// behindGateways adds another datacenter as abroad does, which is reached, and reaches others,
// through gateways of its own.
func (c *cluster) behindGateways(size, gateways int) {
	c.t.Helper()
	for i := range size {
		name := fmt.Sprintf("f%d", i+1)
		n := c.node(name, fmt.Sprintf("10.7.0.%d", 51+i), plain(c.t)(name))
		n.dc = "dc2"
		n.args = append(n.args, "-server", fmt.Sprintf("-bootstrap-expect=%d", size))
		n.more = map[string]any{"federation": map[string]any{"reach": "gateways"}}
		c.far = append(c.far, n)
	}
	for i := range gateways {
		name := fmt.Sprintf("g%d", i+1)
		n := c.node(name, fmt.Sprintf("10.7.0.%d", 71+i), plain(c.t)(name))
		n.dc = "dc2"
		n.more = map[string]any{"gateway": map[string]any{"enabled": true}}
		c.farther = append(c.farther, n)
	}
	each(slices.Concat(c.far, c.farther), c.start)
	c.whole(patience)
}

// gatewayFaults are those of gateways, and of the ways to them.
func gatewayFaults() []fault {
	one := func(c *cluster, r *rand.Rand) *node { return c.farther[r.IntN(len(c.farther))] }
	cut := func(c *cluster, gateways []*node) {
		each(gateways, func(n *node) { deafen(n, c.servers...) })
		each(c.servers, func(n *node) { deafen(n, gateways...) })
		c.wall()
	}
	return []fault{
		{name: "kill a gateway", strike: func(c *cluster, r *rand.Rand) { c.kill(one(c, r)) }},
		{name: "the datacenters are cut off from each other", strike: func(c *cluster, _ *rand.Rand) { cut(c, c.farther) }},
		{name: "stop a gateway", strike: func(c *cluster, r *rand.Rand) { one(c, r).Signal(syscall.SIGSTOP) }},
		{name: "kill all gateways", strike: func(c *cluster, _ *rand.Rand) { each(c.farther, c.kill) }},
		{name: "a gateway is cut off from the other datacenter", strike: func(c *cluster, r *rand.Rand) { cut(c, only(one(c, r))) }},
		{name: "a gateway is cut off from its own datacenter", strike: func(c *cluster, r *rand.Rand) {
			g := only(one(c, r))
			each(g, func(n *node) { deafen(n, c.far...) })
			each(c.far, func(n *node) { deafen(n, g...) })
			c.wall()
		}},
		{name: "a gateway and the leader are killed", strike: func(c *cluster, r *rand.Rand) {
			c.kill(one(c, r))
			c.kill(c.leader())
		}},
		{name: "kill one who asks for the other datacenter", strike: func(c *cluster, r *rand.Rand) { c.kill(c.farHome(r)()) }},
	}
}

// TestWhatGatewaysCarryIsTheSame has half of the clients ask through another datacenter that only
// gateways reach; one judge looks at what all of them saw.
func TestWhatGatewaysCarryIsTheSame(t *testing.T) {
	t.Parallel()
	long, seed := longRun(t), seedOf(t)
	c := newCluster(t, 3, plain(t), func(c *cluster) {
		c.wanKey = base64.StdEncoding.EncodeToString([]byte("fedcba9876543210fedcba9876543210"))
	})
	if long == 0 {
		c.behindGateways(1, 2)
		all := gatewayFaults()[:2]
		run(t, c, seed, func(n int) (fault, bool) { return all[n%len(all)], n < len(all) })
		return
	}
	c.behindGateways(3, 2)
	all, end := chosen(slices.Concat(gatewayFaults(), gatewayFaults(), faults())), time.Now().Add(long)
	order := rand.New(rand.NewPCG(seed, 1)).Perm(len(all))
	run(t, c, seed, func(n int) (fault, bool) { return all[order[n%len(all)]], time.Now().Before(end) })
}
