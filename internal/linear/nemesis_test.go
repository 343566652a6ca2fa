//go:build linux

package linear

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// fault is one thing that goes wrong. Healing is the same for all.
type fault struct {
	name string
	// outage says that writes stop as long as the fault lasts, so that the time
	// without a write says nothing.
	outage bool
	strike func(c *cluster, r *rand.Rand)
	// then waits for what becomes true after the end; nil for nothing besides
	// that all take writes.
	then func(c *cluster)
}

// faults are all that are known here, in the order in which the short form
// goes through them.
func faults() []fault {
	return []fault{
		{name: "kill the leader", strike: func(c *cluster, _ *rand.Rand) { c.kill(c.leader()) }},
		{name: "stop the leader", strike: func(c *cluster, _ *rand.Rand) { c.leader().Signal(syscall.SIGSTOP) }},
		{name: "isolate the leader", strike: func(c *cluster, _ *rand.Rand) { c.part(only(c.leader()), true, true) }},
		{name: "kill all", outage: true, strike: func(c *cluster, _ *rand.Rand) {
			for _, n := range c.servers {
				c.kill(n)
			}
		}},
		{name: "the leader hears nothing", strike: func(c *cluster, _ *rand.Rand) { c.part(only(c.leader()), true, false) }},
		{name: "the leader is not heard", strike: func(c *cluster, _ *rand.Rand) { c.part(only(c.leader()), false, true) }},
		{name: "bridge", strike: bridge},
		{name: "minority", strike: func(c *cluster, r *rand.Rand) { c.part(some(c, r), true, true) }},
		{name: "end the leader in good order", strike: func(c *cluster, _ *rand.Rand) {
			n := c.leader()
			n.Signal(syscall.SIGTERM)
			n.WaitExit(patience)
		}},
		{name: "kill some", strike: func(c *cluster, r *rand.Rand) { each(some(c, r), c.kill) }},
		{name: "stop some", strike: func(c *cluster, r *rand.Rand) {
			each(some(c, r), func(n *node) { n.Signal(syscall.SIGSTOP) })
		}},
		{name: "some hear nothing", strike: func(c *cluster, r *rand.Rand) { c.part(some(c, r), true, false) }},
		{name: "stutter of the leader", strike: stutter},
		{name: "kill and restart at once", strike: func(c *cluster, r *rand.Rand) {
			n := c.servers[r.IntN(len(c.servers))]
			c.kill(n)
			c.start(n)
		}},
		{name: "isolate the leader while another restarts", strike: restartBehind},
	}
}

func only(n *node) []*node { return []*node{n} }

func each(nodes []*node, do func(*node)) {
	for _, n := range nodes {
		do(n)
	}
}

// some returns at least one server and less than half of them.
func some(c *cluster, r *rand.Rand) []*node {
	var nodes []*node
	for _, i := range r.Perm(len(c.servers))[:1+r.IntN((len(c.servers)-1)/2)] {
		nodes = append(nodes, c.servers[i])
	}
	return nodes
}

// part cuts some servers from all others: from hearing them, from being
// heard, or both.
func (c *cluster) part(apart []*node, hear, heard bool) {
	c.t.Helper()
	inside := map[*node]bool{}
	for _, n := range apart {
		inside[n] = true
	}
	for _, a := range c.servers {
		for _, b := range c.servers {
			if inside[a] && !inside[b] && hear || !inside[a] && inside[b] && heard {
				deafen(a, b)
			}
		}
	}
	c.wall()
}

// bridge leaves two halves that see each other through one server only.
func bridge(c *cluster, r *rand.Rand) {
	c.t.Helper()
	order := r.Perm(len(c.servers))
	half := len(order) / 2
	for _, i := range order[:half] {
		for _, j := range order[half+1:] {
			deafen(c.servers[i], c.servers[j])
			deafen(c.servers[j], c.servers[i])
		}
	}
	c.wall()
}

// stutter stops the leader again and again for about its lease.
func stutter(c *cluster, r *rand.Rand) {
	c.t.Helper()
	n := c.leader()
	for range 5 {
		n.Signal(syscall.SIGSTOP)
		<-time.After(time.Duration(200+r.IntN(1500)) * time.Millisecond)
		n.Signal(syscall.SIGCONT)
		<-time.After(time.Duration(r.IntN(100)) * time.Millisecond)
	}
}

// restartBehind kills a follower and starts it again, cut from the leader: it
// has forgotten that there is one.
func restartBehind(c *cluster, r *rand.Rand) {
	c.t.Helper()
	leader := c.leader()
	c.part(only(leader), true, true)
	var followers []*node
	for _, n := range c.servers {
		if n != leader {
			followers = append(followers, n)
		}
	}
	n := followers[r.IntN(len(followers))]
	c.kill(n)
	c.start(n)
}

// fill takes what is left on the disk of a server. It returns how to give it
// back.
func fill(n *node) (free func() error, err error) {
	file := filepath.Join(filepath.Dir(n.dir), "ballast")
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, size := range []int{1 << 16, 1 << 12} {
		block := make([]byte, size)
		for {
			if _, err := f.Write(block); err != nil {
				break // it is full
			}
		}
	}
	return func() error { return os.Remove(file) }, nil
}
