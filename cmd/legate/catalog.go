package main

import (
	"flag"
	"fmt"
	"sort"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/several"
)

// severalText says what else -datacenter may be.
const severalText = "With -datacenter=nearest, all or a list such as dc2,dc3 it looks in several datacenters."

// catalogCommands read the catalog.
func catalogCommands() []row {
	return []row{
		{name: "catalog datacenters", synopsis: "List the known datacenters, nearest first", remote: toAgent,
			about: "Lists the datacenters of the federation, the nearest first.", example: "legate catalog datacenters",
			action: func(*app) action { return datacentersAction{} }},
		{name: "catalog nodes", synopsis: "List the nodes of a datacenter", remote: toDC,
			about:   "Lists the nodes in the catalog, or those that offer a service. " + severalText,
			example: "legate catalog nodes\nlegate catalog nodes -service=web -near=_agent\nlegate catalog nodes -datacenter=dc2 -detailed\nlegate catalog nodes -service=web -datacenter=nearest",
			action:  func(*app) action { return &nodesAction{} }},
		{name: "catalog services", synopsis: "List the services of a datacenter", remote: toDC,
			about:   "Lists the names of the services in the catalog, or of one node. " + severalText,
			example: "legate catalog services -tags\nlegate catalog services -node=web-1\nlegate catalog services -datacenter=all",
			action:  func(*app) action { return &servicesAction{} }},
		rttRow(),
	}
}

type datacentersAction struct{ noFlags }

func (datacentersAction) run(c *call, _ []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	list, err := client.Catalog().Datacenters()
	if err != nil {
		return fmt.Errorf("list datacenters: %w", err)
	}
	for _, dc := range list {
		fmt.Fprintln(c.stdout, dc)
	}
	return nil
}

type nodesAction struct {
	detailed              bool
	near, service, filter string
	meta                  mapFlag
}

func (a *nodesAction) flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.detailed, "detailed", false, "show IDs in full, tagged addresses and meta.")
	fs.StringVar(&a.near, "near", "", "sort by round trip from this `node`; _agent is the local one.")
	fs.StringVar(&a.service, "service", "", "only nodes that offer this `service`.")
	fs.StringVar(&a.filter, "filter", "", "filter `expression`, evaluated by the server.")
	fs.Var(&a.meta, "node-meta", "only nodes with this meta `key=value`; may be repeated.")
}

func (a *nodesAction) run(c *call, _ []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	q := c.client.query()
	q.Near, q.NodeMeta, q.Filter = a.near, a.meta, a.filter
	nodes, err := a.read(client, q)
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	if len(nodes) == 0 {
		fmt.Fprintln(c.stdout, "No nodes match the given query - try expanding your search.")
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
	return table(c.stdout, rows)
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
	for _, key := range sortedKeys(m) {
		pairs = append(pairs, key+"="+m[key])
	}
	return strings.Join(pairs, ", ")
}

type servicesAction struct {
	node string
	tags bool
	meta mapFlag
}

func (a *servicesAction) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.node, "node", "", "only services of this `node`.")
	fs.BoolVar(&a.tags, "tags", false, "show the tags.")
	fs.Var(&a.meta, "node-meta", "only services on nodes with this meta `key=value`; may be repeated.")
}

func (a *servicesAction) run(c *call, _ []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	q := c.client.query()
	q.NodeMeta = a.meta
	var rows [][]string
	dc := c.client.config().Datacenter
	if several.Meant(dc) && a.node == "" {
		rows, err = a.ofSeveral(c, client, dc, q)
	} else {
		rows, err = a.ofOne(client, q)
	}
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		fmt.Fprintln(c.stdout, "No services match the given query - try expanding your search.")
		return nil
	}
	return table(c.stdout, rows)
}

// ofOne lists the services of one datacenter.
func (a *servicesAction) ofOne(client *api.Client, q *api.QueryOptions) (rows [][]string, err error) {
	services, err := a.read(client, q)
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	for _, name := range sortedKeys(services) {
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
func (a *servicesAction) ofSeveral(c *call, client *api.Client, dc string, q *api.QueryOptions) (rows [][]string, err error) {
	services, err := several.Services(client, dc, q, func(dc string, err error) {
		fmt.Fprintf(c.stderr, "%s: %s\n", dc, c.client.explain(err))
	})
	if err != nil || len(services) == 0 {
		return nil, err
	}
	rows = [][]string{{"Service", "DC"}}
	if a.tags {
		rows[0] = append(rows[0], "Tags")
	}
	for _, name := range sortedKeys(services) {
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
