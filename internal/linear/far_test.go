//go:build linux

package linear

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// abroad adds another datacenter. Half of the clients are there and ask its
// servers for what is in this one, as some of the watchers do.
func (c *cluster) abroad(size int) {
	c.t.Helper()
	for i := range size {
		name := fmt.Sprintf("f%d", i+1)
		n := c.node(name, fmt.Sprintf("10.7.0.%d", 51+i), plain(c.t)(name))
		n.dc = "dc2"
		n.args = append(n.args, "-server", fmt.Sprintf("-bootstrap-expect=%d", size))
		c.far = append(c.far, n)
	}
	each(c.far, c.start)
	c.whole(patience)
}

// farAgent adds a client agent to the other datacenter.
func (c *cluster) farAgent(name, ip string) {
	c.t.Helper()
	n := c.node(name, ip, plain(c.t)(name))
	n.dc = "dc2"
	c.farther = append(c.farther, n)
	c.start(n)
}

// farHome moves from server to server of the other datacenter.
func (c *cluster) farHome(r *rand.Rand) func() *node {
	return func() *node { return c.far[r.IntN(len(c.far))] }
}

// asking is the path as it is asked of a node: for the datacenter that is
// judged.
func (n *node) asking(path string) string {
	if n.dc == "dc1" {
		return path
	}
	if strings.Contains(path, "?") {
		return path + "&dc=dc1"
	}
	return path + "?dc=dc1"
}

// farFaults are those between datacenters, and in the one that asks.
func farFaults() []fault {
	cut := func(from, to []*node) {
		each(from, func(n *node) { deafen(n, to...) })
	}
	near := func(c *cluster) []*node { return append(c.clients(), c.servers...) }
	return []fault{
		{name: "the datacenters are cut off from each other", strike: func(c *cluster, _ *rand.Rand) {
			cut(c.far, near(c))
			cut(near(c), c.far)
			c.wall()
		}},
		{name: "the asking datacenter hears nothing of the other", strike: func(c *cluster, _ *rand.Rand) {
			cut(c.far, near(c))
			c.wall()
		}},
		{name: "the asking datacenter is not heard by the other", strike: func(c *cluster, _ *rand.Rand) {
			cut(near(c), c.far)
			c.wall()
		}},
		{name: "the asking datacenter reaches no leader", strike: func(c *cluster, _ *rand.Rand) {
			cut(c.far, only(c.leader()))
			c.wall()
		}},
		{name: "kill one who asks for the other datacenter", strike: func(c *cluster, r *rand.Rand) { c.kill(c.farHome(r)()) }},
		{name: "the leader is killed and the datacenters are cut", strike: func(c *cluster, _ *rand.Rand) {
			c.kill(c.leader())
			cut(c.far, near(c))
			cut(near(c), c.far)
			c.wall()
		}},
	}
}

// TestAnotherDatacenterIsToldTheSame has half of the clients ask through
// another datacenter; one judge looks at what all of them saw.
func TestAnotherDatacenterIsToldTheSame(t *testing.T) {
	t.Parallel()
	long, seed := longRun(t), seedOf(t)
	c := newCluster(t, 3, plain(t))
	if long == 0 {
		c.abroad(1)
		all := append(farFaults()[:1], faults()[0])
		run(t, c, seed, func(n int) (fault, bool) { return all[n%len(all)], n < len(all) })
		return
	}
	c.abroad(3)
	all, end := chosen(slices.Concat(farFaults(), farFaults(), everything())), time.Now().Add(long)
	order := rand.New(rand.NewPCG(seed, 1)).Perm(len(all))
	run(t, c, seed, func(n int) (fault, bool) { return all[order[n%len(all)]], time.Now().Before(end) })
}
