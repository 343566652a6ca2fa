package testcluster

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/wanem"
)

// Shape is which datacenters reach each other.
type Shape string

// The shapes.
const (
	// Mesh has all reach all.
	Mesh Shape = "mesh"
	// Star has all reach the first alone, whose servers carry for the others.
	Star Shape = "star"
	// Partial lacks the link between the last two; the first one's servers carry.
	Partial Shape = "partial"
	// NAT lets nothing into the last but answers: it is reached through two gateways of the first.
	NAT Shape = "nat"
	// Gateways lets nothing into any: each is reached through a gateway of its own.
	Gateways Shape = "gateways"
)

// shapes are the shapes, with the datacenters that each has at least.
func shapes() map[Shape]int {
	return map[Shape]int{"": 1, Mesh: 1, Star: 3, Partial: 3, NAT: 2, Gateways: 2}
}

// Described is what is said of a shape behind the number of datacenters; nothing of Mesh.
func (s Shape) Described() string {
	switch s {
	case Star:
		return ", which reach each other through the first"
	case Partial:
		return ", of which the last two reach each other through the first"
	case NAT:
		return ", of which the last is reached through two gateways of the first"
	case Gateways:
		return ", which reach each other through a gateway each"
	}
	return ""
}

// gatewaysOf is how many gateways the i-th datacenter has.
func (s *Spec) gatewaysOf(i int) int {
	switch {
	case s.Shape == Gateways:
		return 1
	case s.Shape == NAT && i == 0:
		return 2
	}
	return 0
}

// linked reports whether the i-th and the j-th datacenter reach each other, i before j.
func (s *Spec) linked(i, j int) bool {
	switch s.Shape {
	case Star:
		return i == 0
	case Partial:
		return i != s.Datacenters-2 || j != s.Datacenters-1
	}
	return true
}

// shut reports whether nothing gets into the i-th datacenter.
func (s *Spec) shut(i int) bool {
	return s.Shape == Gateways || s.Shape == NAT && i == s.Datacenters-1
}

// gatewaySite is where the gateways of the i-th datacenter are, for the emulated network.
func gatewaySite(i int) string { return Datacenter(i) + " gateways" }

// layOut sets the links of the emulated network.
func (c *Cluster) layOut() {
	for i := range c.spec.Datacenters {
		if c.spec.shut(i) {
			c.net.Shut(Datacenter(i))
		}
		for j := range i {
			l := c.spec.Link(j, i)
			l.Cut = !c.spec.linked(j, i)
			c.links[[2]int{j, i}] = l
			c.set(j, i, l)
		}
		for k := range c.spec.gatewaysOf(i) {
			c.add(&Node{Datacenter: Datacenter(i), Gateway: true, Name: fmt.Sprintf("%s-gateway%d", Datacenter(i), k+1), site: gatewaySite(i)}, c.spec.Servers+c.spec.Clients+k)
		}
	}
}

// set changes a link, also that of the gateways at its ends.
func (c *Cluster) set(i, j int, l wanem.Link) {
	for _, a := range []string{Datacenter(i), gatewaySite(i)} {
		for _, b := range []string{Datacenter(j), gatewaySite(j)} {
			c.net.Set(a, b, l)
		}
	}
}

// add gives a node its address, the k-th of its datacenter.
func (c *Cluster) add(n *Node, k int) {
	n.IP = fmt.Sprintf("127.%d.%d.%d", c.spec.Network, 10+c.site(n.Datacenter)+1, k+1)
	c.nodes = append(c.nodes, n)
	c.net.Register(netip.AddrPortFrom(netip.MustParseAddr(n.IP), 0), n.site)
}

// reach configures how an agent reaches other datacenters and is reached by them.
func (c *Cluster) reach(n *Node, cfg *config.Config) {
	i := c.site(n.Datacenter)
	cfg.Gateway.Enabled = n.Gateway
	if !n.Server {
		return
	}
	if c.spec.Key != nil && (c.spec.Shape == NAT || c.spec.Shape == Gateways) { // gateways must not have the key of the servers
		cfg.EncryptWANKey = append([]byte(nil), c.spec.Key...)
		cfg.EncryptWANKey[0] ^= 0xff
	}
	switch c.spec.Shape {
	case Star, Partial:
		cfg.Federation.Transit = i == 0
	case NAT:
		if c.spec.shut(i) {
			cfg.Federation.Reach = config.ReachGateways
			for _, g := range c.gateways(0) {
				cfg.Federation.Gateways = append(cfg.Federation.Gateways, net.JoinHostPort(g.IP, strconv.Itoa(cfg.Ports.SerfWAN)))
			}
		}
	case Gateways:
		cfg.Federation.Reach = config.ReachGateways
	}
}

// gateways are those of the i-th datacenter.
func (c *Cluster) gateways(i int) (out []*Node) {
	for _, n := range c.In(Datacenter(i)) {
		if n.Gateway {
			out = append(out, n)
		}
	}
	return out
}

// door is where servers of other datacenters join the federation: at the first server, or at the
// gateway that it is behind.
func (c *Cluster) door() string {
	if list := c.gateways(0); c.spec.Shape == Gateways && len(list) > 0 {
		return list[0].IP
	}
	return c.nodes[0].IP
}
