//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/internal/proctest"
)

// promised is how long writes and reads across datacenters may stand still
// when servers die.
const promised = 15 * time.Second

// federation is two datacenters of three servers and a client each.
type federation struct {
	t       testing.TB
	servers [2][]*node
	clients [2]*node
}

func dcName(i int) string { return fmt.Sprintf("dc%d", i+1) }

func newFederation(t testing.TB) *federation {
	t.Helper()
	h := proctest.Loopback(t)
	f := &federation{t: t}
	for i := range f.servers {
		var lan []string
		for k := range 3 {
			lan = append(lan, h.Addr(i+1, k+1))
		}
		for k := range 3 {
			s := spec{host: h, name: fmt.Sprintf("s%d", k+1), dc: dcName(i), ip: lan[k], expect: 3, lan: lan}
			if i == 1 {
				s.wan = []string{h.Addr(1, 1), h.Addr(1, 2)}
			}
			n := newNode(t, s)
			n.launch()
			f.servers[i] = append(f.servers[i], n)
		}
		c := newNode(t, spec{host: h, name: "c", dc: dcName(i), ip: h.Addr(i+1, 9), lan: lan})
		c.launch()
		f.clients[i] = c
	}
	return f
}

// works writes and reads at home and across, from both clients, all at once.
func (f *federation) works(key string) error {
	var all errgroup.Group
	for _, c := range f.clients {
		for i := range f.servers {
			all.Go(func() error {
				if err := c.put(key+"/"+c.dc, "v", dcName(i)); err != nil {
					return fmt.Errorf("%s of %s writes to %s: %w", c.name, c.dc, dcName(i), err)
				}
				if err := c.get(key+"/"+c.dc, "v", dcName(i)); err != nil {
					return fmt.Errorf("%s of %s reads from %s: %w", c.name, c.dc, dcName(i), err)
				}
				return nil
			})
		}
	}
	return all.Wait()
}

// voters waits until the consensus group of a datacenter consists of exactly
// these nodes, by address.
func (f *federation) voters(timeout time.Duration, nodes ...*node) {
	f.t.Helper()
	proctest.Until(f.t, timeout, "voters of "+nodes[0].dc, func() error {
		peers, err := nodes[0].client.Status().Peers()
		if err != nil {
			return err
		}
		in := map[string]bool{}
		for _, p := range peers {
			in[p] = true
		}
		for _, n := range nodes {
			if !in[n.ip+":8300"] {
				return fmt.Errorf("%s at %s is not among %v", n.name, n.ip, peers)
			}
		}
		if len(peers) != len(nodes) {
			return fmt.Errorf("the voters are %v", peers)
		}
		return nil
	})
}

func TestFederationSurvivesKilledLeaders(t *testing.T) {
	t.Parallel()
	f := newFederation(t)
	proctest.Until(t, patience, "the federation works", func() error { return f.works("start") })
	leaders := [2]*node{awaitLeader(t, patience, f.servers[0]...), awaitLeader(t, patience, f.servers[1]...)}
	for _, l := range leaders {
		l.Kill()
	}
	took := proctest.Until(t, 2*promised, "works without its leaders", func() error { return f.works("killed") })
	t.Logf("works again %s after kill -9 of both leaders", took.Round(10*time.Millisecond))
	if took > promised {
		t.Errorf("stood still for %s", took)
	}
	for i, old := range leaders {
		if next := awaitLeader(t, promised, others(f.servers[i], old)...); next == old {
			t.Errorf("%s of %s still leads", old.name, old.dc)
		}
	}

	// The same data directory and address: back without help.
	leaders[0].start()
	// The same data directory, another address: back as well, as a voter.
	moved := leaders[1]
	moved.ip = moved.host.Addr(2, 77)
	moved.client = clientOf(t, moved.host, moved.ip, moved.token)
	moved.start()
	for i, servers := range f.servers {
		f.voters(patience, servers...)
		for _, s := range servers {
			proctest.Until(t, patience, "every server has what was written without it", func() error {
				return errors.Join(s.get("killed/dc1", "v", ""), s.get("killed/dc2", "v", dcName(1-i)))
			})
		}
	}
	// The one that moved has a vote that counts: without another server, its
	// datacenter still has a majority.
	rest := others(f.servers[1], moved)
	rest[0].Kill()
	took = proctest.Until(t, 2*promised, "works with the vote of the server that moved", func() error { return f.works("moved") })
	t.Logf("works again %s after one more kill -9", took.Round(10*time.Millisecond))
	if took > promised {
		t.Errorf("stood still for %s", took)
	}
	for _, n := range append(append(f.clients[:], f.servers[0]...), f.servers[1]...) {
		calm(t, n.name+" of "+n.dc, n.String())
	}
}
