// Package catalogcmd reads the catalog and changes what the local agent registers
// in it.
package catalogcmd

import (
	"flag"
	"fmt"
	"sort"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// severalText says what else -datacenter may be.
const severalText = "With -datacenter=nearest, all or a list such as dc2,dc3 it looks in several datacenters."

// Datacenters is the command catalog datacenters.
func Datacenters() command.Command {
	return command.Command{
		Name: "catalog datacenters", Synopsis: "List the known datacenters, nearest first", Access: command.ToAgent,
		About: "Lists the datacenters of the federation, the nearest first.", Example: "legate catalog datacenters",
		New: func() command.Action { return datacentersAction{} },
	}
}

type datacentersAction struct{ command.NoFlags }

func (datacentersAction) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	list, err := client.Catalog().Datacenters()
	if err != nil {
		return fmt.Errorf("list datacenters: %w", err)
	}
	for _, dc := range list {
		fmt.Fprintln(c.Stdout, dc)
	}
	return nil
}

// Nodes is the command catalog nodes.
func Nodes() command.Command {
	return command.Command{
		Name: "catalog nodes", Synopsis: "List the nodes of a datacenter", Access: command.ToDatacenter,
		About:   "Lists the nodes in the catalog, or those that offer a service. " + severalText,
		Example: "legate catalog nodes\nlegate catalog nodes -service=web -near=_agent\nlegate catalog nodes -datacenter=dc2 -detailed\nlegate catalog nodes -service=web -datacenter=nearest",
		New:     func() command.Action { return &nodesAction{} },
	}
}

type nodesAction struct {
	detailed              bool
	near, service, filter string
	meta                  command.MapFlag
}

func (a *nodesAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.detailed, "detailed", false, "show IDs in full, tagged addresses and meta.")
	fs.StringVar(&a.near, "near", "", "sort by round trip from this `node`; _agent is the local one.")
	fs.StringVar(&a.service, "service", "", "only nodes that offer this `service`.")
	fs.StringVar(&a.filter, "filter", "", "filter `expression`, evaluated by the server.")
	fs.Var(&a.meta, "node-meta", "only nodes with this meta `key=value`; may be repeated.")
}

func (a *nodesAction) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	q := c.Client.Query()
	q.Near, q.NodeMeta, q.Filter = a.near, a.meta, a.filter
	nodes, err := a.read(client, q)
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	if len(nodes) == 0 {
		fmt.Fprintln(c.Stdout, "No nodes match the given query - try expanding your search.")
		return nil
	}
	rows := [][]string{{"Node", "ID", "Address", "DC"}}
	if a.detailed {
		rows = [][]string{{"Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"}}
	}
	for _, n := range nodes {
		if a.detailed {
			rows = append(rows, []string{n.Node, n.ID, n.Address, n.Datacenter, pairsText(n.TaggedAddresses), pairsText(n.Meta)})
			continue
		}
		id, _, _ := strings.Cut(n.ID, "-")
		rows = append(rows, []string{n.Node, id, n.Address, n.Datacenter})
	}
	return command.Table(c.Stdout, rows)
}

// read returns the nodes in the order of the answer, each once.
func (a *nodesAction) read(client *api.Client, q *api.QueryOptions) ([]*api.Node, error) {
	if a.service == "" {
		nodes, _, err := client.Catalog().Nodes(q)
		return nodes, err
	}
	instances, _, err := client.Catalog().Service(a.service, "", q)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var nodes []*api.Node
	for _, s := range instances {
		at := s.Datacenter + "/" + s.Node
		if seen[at] {
			continue
		}
		seen[at] = true
		nodes = append(nodes, &api.Node{ID: s.ID, Node: s.Node, Address: s.Address, Datacenter: s.Datacenter,
			TaggedAddresses: s.TaggedAddresses, Meta: s.NodeMeta})
	}
	return nodes, nil
}

func pairsText(m map[string]string) string {
	pairs := make([]string, 0, len(m))
	for _, key := range command.SortedKeys(m) {
		pairs = append(pairs, key+"="+m[key])
	}
	return strings.Join(pairs, ", ")
}

// Services is the command catalog services.
func Services() command.Command {
	return command.Command{
		Name: "catalog services", Synopsis: "List the services of a datacenter", Access: command.ToDatacenter,
		About:   "Lists the names of the services in the catalog, or of one node. " + severalText,
		Example: "legate catalog services -tags\nlegate catalog services -node=web-1\nlegate catalog services -datacenter=all",
		New:     func() command.Action { return &servicesAction{} },
	}
}

type servicesAction struct {
	node string
	tags bool
	meta command.MapFlag
}

func (a *servicesAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.node, "node", "", "only services of this `node`.")
	fs.BoolVar(&a.tags, "tags", false, "show the tags.")
	fs.Var(&a.meta, "node-meta", "only services on nodes with this meta `key=value`; may be repeated.")
}

func (a *servicesAction) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	q := c.Client.Query()
	q.NodeMeta = a.meta
	var rows [][]string
	dc := c.Client.Config().Datacenter
	if command.ManyDatacenters(dc) && a.node == "" {
		rows, err = a.ofSeveral(c, client, dc, q)
	} else {
		rows, err = a.ofOne(client, q)
	}
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		fmt.Fprintln(c.Stdout, "No services match the given query - try expanding your search.")
		return nil
	}
	return command.Table(c.Stdout, rows)
}

// ofOne lists the services of one datacenter.
func (a *servicesAction) ofOne(client *api.Client, q *api.QueryOptions) (rows [][]string, err error) {
	services, err := a.read(client, q)
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	for _, name := range command.SortedKeys(services) {
		line := []string{name}
		if a.tags {
			tags := append([]string(nil), services[name]...)
			sort.Strings(tags)
			line = append(line, strings.Join(tags, ","))
		}
		rows = append(rows, line)
	}
	return rows, nil
}

// ofSeveral lists the services of several datacenters with where they are.
func (a *servicesAction) ofSeveral(c *command.Call, client *api.Client, dc string, q *api.QueryOptions) (rows [][]string, err error) {
	services, err := command.ServicesOf(client, dc, q, func(dc string, err error) {
		fmt.Fprintf(c.Stderr, "%s: %s\n", dc, c.Client.Explain(err))
	})
	if err != nil || len(services) == 0 {
		return nil, err
	}
	rows = [][]string{{"Service", "DC"}}
	if a.tags {
		rows[0] = append(rows[0], "Tags")
	}
	for _, name := range command.SortedKeys(services) {
		line := []string{name, strings.Join(services[name].Datacenters, ",")}
		if a.tags {
			line = append(line, strings.Join(services[name].Tags, ","))
		}
		rows = append(rows, line)
	}
	return rows, nil
}

func (a *servicesAction) read(client *api.Client, q *api.QueryOptions) (map[string][]string, error) {
	if a.node == "" {
		services, _, err := client.Catalog().Services(q)
		return services, err
	}
	node, _, err := client.Catalog().Node(a.node, q)
	if err != nil || node == nil {
		return nil, err
	}
	services := map[string][]string{}
	for _, s := range node.Services {
		services[s.Service] = append(services[s.Service], s.Tags...)
	}
	return services, nil
}
