package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/op"
)

// several reports whether a name stands for several datacenters.
func several(dc string) bool { return op.Wide(dc) }

// expand lists the datacenters that a name stands for, as the agent knows them; of
// those in an order the first that answers counts.
func expand(client *api.Client, dc string) (names []string, firstOnly bool, err error) {
	reach, err := op.ReachOf(dc)
	if err != nil {
		return nil, false, err
	}
	names = reach.Listed
	if reach.Others {
		known, err := client.Catalog().Datacenters()
		if err != nil {
			return nil, false, fmt.Errorf("list datacenters: %w", err)
		}
		for _, other := range known {
			if !slices.Contains(names, other) {
				names = append(names, other)
			}
		}
	}
	return names, reach.First, nil
}

// serviceRow is a service with the datacenters that have it.
type serviceRow struct{ datacenters, tags []string }

// runSeveral lists the services of several datacenters with where they are. One
// that cannot be asked is told of.
func (a *servicesAction) runSeveral(c *call, client *api.Client, q *api.QueryOptions) error {
	names, firstOnly, err := expand(client, c.client.config().Datacenter)
	if err != nil {
		return err
	}
	rows := map[string]*serviceRow{}
	answered := false
	var last error
	for _, dc := range names {
		one := *q
		one.Datacenter, one.UseCache = dc, true
		services, _, err := client.Catalog().Services(&one)
		if err != nil {
			fmt.Fprintf(c.stderr, "%s: %s\n", dc, c.client.explain(err))
			last = err
			continue
		}
		answered = true
		for name, tags := range services {
			if rows[name] == nil {
				rows[name] = &serviceRow{}
			}
			rows[name].datacenters = append(rows[name].datacenters, dc)
			rows[name].tags = append(rows[name].tags, tags...)
		}
		if firstOnly {
			break
		}
	}
	if !answered {
		return fmt.Errorf("list services: %w", last)
	}
	return a.print(c, rows)
}

func (a *servicesAction) print(c *call, rows map[string]*serviceRow) error {
	if len(rows) == 0 {
		fmt.Fprintln(c.stdout, "No services match the given query - try expanding your search.")
		return nil
	}
	out := [][]string{{"Service", "DC"}}
	if a.tags {
		out[0] = append(out[0], "Tags")
	}
	for _, name := range sortedKeys(rows) {
		r := rows[name]
		line := []string{name, strings.Join(r.datacenters, ",")}
		if a.tags {
			slices.Sort(r.tags)
			line = append(line, strings.Join(slices.Compact(r.tags), ","))
		}
		out = append(out, line)
	}
	return table(c.stdout, out)
}
