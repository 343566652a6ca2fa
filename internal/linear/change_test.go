//go:build linux

package linear

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
)

// changes are the faults in which the datacenter is another one afterwards.
// The first of them is in the short form.
func changes() []fault {
	return []fault{
		{name: "replace the leader", strike: func(c *cluster, _ *rand.Rand) { c.replace(c.leader()) }, then: (*cluster).grouped},
		{name: "replace a server", strike: func(c *cluster, r *rand.Rand) {
			c.replace(c.servers[r.IntN(len(c.servers))])
		}, then: (*cluster).grouped},
		{name: "replace a server while the leader is isolated", outage: true, strike: func(c *cluster, r *rand.Rand) {
			leader := c.leader()
			others := c.others(leader)
			c.replace(others[r.IntN(len(others))])
			c.part(only(leader), true, true)
		}, then: (*cluster).grouped},
		{name: "a server comes back with an empty disk", strike: func(c *cluster, r *rand.Rand) {
			n := c.servers[r.IntN(len(c.servers))]
			c.raze(n)
			c.start(n)
		}, then: (*cluster).grouped},
	}
}

// raze kills a server and destroys its disk.
func (c *cluster) raze(n *node) {
	c.t.Helper()
	c.kill(n)
	if err := os.RemoveAll(n.dir); err != nil {
		c.t.Fatal(err)
	}
}

// addresses is how many addresses there are for servers that come later.
const addresses = 100

// replace destroys a server, and one with another name, ID and address takes
// its place. Nobody tells the group.
func (c *cluster) replace(old *node) {
	c.t.Helper()
	c.raze(old)
	c.made++
	name := fmt.Sprintf("s%d", c.made)
	n := c.node(name, fmt.Sprintf("10.7.0.%d", 101+c.made%addresses), plain(c.t)(name))
	n.args = append(n.args, "-server", fmt.Sprintf("-bootstrap-expect=%d", len(c.servers)))
	c.mu.Lock()
	for i := range c.servers {
		if c.servers[i] == old {
			c.servers[i] = n
		}
	}
	c.mu.Unlock()
	c.start(n)
}

// grouped waits until the group is the servers that there are, all with a vote,
// and no other server is left among the members or nodes.
func (c *cluster) grouped() {
	c.t.Helper()
	took := c.until("the group is these servers", func() error {
		body, err := c.ask(http.MethodGet, c.agent, "/v1/operator/raft/configuration", "")
		if err != nil {
			return err
		}
		var group struct {
			Servers []struct {
				Node, Address string
				Voter         bool
			}
		}
		if err := json.Unmarshal([]byte(body), &group); err != nil {
			return err
		}
		voters := map[string]string{}
		for _, s := range group.Servers {
			if s.Voter {
				voters[s.Node] = s.Address
			}
		}
		nodes, err := c.ask(http.MethodGet, c.agent, "/v1/catalog/nodes", "")
		for _, n := range c.servers {
			if voters[n.name] != n.ip+":8300" || !strings.Contains(nodes, fmt.Sprintf("%q", n.name)) {
				err = errors.Join(err, fmt.Errorf("%s is missing", n.name))
			}
		}
		if len(group.Servers) != len(c.servers) || strings.Count(nodes, `"Node":`) != len(c.servers)+len(c.clients()) {
			err = errors.Join(err, errors.New("there are others"))
		}
		if err != nil {
			return fmt.Errorf("voters %v of %d servers, %d nodes: %w", voters, len(group.Servers), strings.Count(nodes, `"Node":`), err)
		}
		return nil
	})
	c.t.Logf("%20s the group is these servers %6.3f s later", "", took.Seconds())
}
