package clustercmd

import (
	"flag"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/serf/coordinate"

	"github.com/legate-project/legate/cmd/legate/command"
)

// RTT is the command rtt.
func RTT() command.Command {
	return command.Command{
		Name: "rtt", Synopsis: "Estimate the round trip between two nodes", Args: "NODE [NODE]", Min: 1, Max: 2, Access: command.ToAgent,
		About:   "Estimates the round trip between two nodes from their network coordinates; nothing is sent to them. The second\nnode is the local agent's when it is left out. With -wan both are servers, named node.datacenter.",
		Example: "legate rtt web-1 web-2\nlegate rtt -wan server-1.dc1 server-1.dc2",
		New:     func() command.Action { return &rttAction{} },
	}
}

type rttAction struct{ wan, measured bool }

func (a *rttAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.wan, "wan", false, "use the servers' WAN coordinates.")
	fs.BoolVar(&a.measured, "measured", false, "with -wan, print also what the agent's server has measured.")
}

func (a *rttAction) Run(c *command.Call, args []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	names := args
	if len(names) == 1 {
		own, err := a.self(client)
		if err != nil {
			return err
		}
		names = []string{args[0], own}
	}
	source, find := "LAN", a.lan
	if a.wan {
		source, find = "WAN", a.servers
	}
	coords, err := find(client, names)
	if err != nil {
		return err
	}
	for i, name := range names {
		if coords[i] == nil {
			more := "servers of other datacenters are compared with -wan"
			if a.wan {
				more = "legate members -wan lists the servers"
			}
			return fmt.Errorf("no coordinate is known for node %q: that of a new one takes some seconds; %s", name, more)
		}
	}
	if !coords[0].IsCompatibleWith(coords[1]) {
		return fmt.Errorf("the coordinates of %q and %q cannot be compared", names[0], names[1])
	}
	probed := ""
	if a.wan && a.measured {
		if probed, err = measured(client, names); err != nil {
			return err
		}
	}
	ms := coords[0].DistanceTo(coords[1]).Seconds() * 1000
	fmt.Fprintf(c.Stdout, "Estimated %s <-> %s rtt: %.3f ms (using %s coordinates)\n%s", names[0], names[1], ms, source, probed)
	return nil
}

// self is the name of the agent's own node in the pool.
func (a *rttAction) self(client *api.Client) (string, error) {
	self, err := client.Agent().Self()
	if err != nil {
		return "", fmt.Errorf("ask the agent for its name: %w", err)
	}
	name, _ := self["Config"]["NodeName"].(string)
	dc, _ := self["Config"]["Datacenter"].(string)
	if name == "" || (a.wan && dc == "") {
		return "", fmt.Errorf("the agent did not tell its name: give both nodes")
	}
	if a.wan {
		name += "." + dc
	}
	return name, nil
}

// lan finds the coordinates of nodes of the agent's datacenter. Two that have
// coordinates of the same segment are compared there.
func (a *rttAction) lan(client *api.Client, names []string) ([]*coordinate.Coordinate, error) {
	entries, _, err := client.Coordinate().Nodes(nil)
	if err != nil {
		return nil, fmt.Errorf("read coordinates: %w", err)
	}
	segments := map[string][]*coordinate.Coordinate{}
	found := make([]*coordinate.Coordinate, len(names))
	for _, e := range entries {
		for i, name := range names {
			if e.Node != name {
				continue
			}
			if segments[e.Segment] == nil {
				segments[e.Segment] = make([]*coordinate.Coordinate, len(names))
			}
			segments[e.Segment][i] = e.Coord
			found[i] = e.Coord
		}
	}
	for _, segment := range command.SortedKeys(segments) {
		if pair := segments[segment]; pair[0] != nil && pair[1] != nil {
			return pair, nil
		}
	}
	return found, nil
}

// servers finds the WAN coordinates of servers named node.datacenter.
func (a *rttAction) servers(client *api.Client, names []string) ([]*coordinate.Coordinate, error) {
	for _, name := range names {
		if !strings.Contains(name, ".") {
			return nil, fmt.Errorf("%q is not the name of a server in the federation: with -wan nodes are named node.datacenter", name)
		}
	}
	datacenters, err := client.Coordinate().Datacenters()
	if err != nil {
		return nil, fmt.Errorf("read WAN coordinates: %w", err)
	}
	found := make([]*coordinate.Coordinate, len(names))
	for _, dc := range datacenters {
		for _, e := range dc.Coordinates {
			for i, name := range names {
				if name == e.Node+"."+dc.Datacenter || (name == e.Node && strings.HasSuffix(e.Node, "."+dc.Datacenter)) {
					found[i] = e.Coord
				}
			}
		}
	}
	return found, nil
}
