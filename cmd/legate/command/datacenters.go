package command

import (
	"fmt"
	"slices"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/op"
)

// ManyDatacenters reports whether a name stands for several datacenters.
func ManyDatacenters(dc string) bool { return op.IsFanOut(dc) }

// Service is a service with the datacenters that have it, and its tags in any.
type Service struct{ Datacenters, Tags []string }

// ServicesOf lists the services of the datacenters that a name stands for. One that
// cannot be asked is told of; an error means that none could.
func ServicesOf(client *api.Client, dc string, q *api.QueryOptions, failed func(dc string, err error)) (map[string]*Service, error) {
	names, first, err := expand(client, dc)
	if err != nil {
		return nil, err
	}
	found := map[string]*Service{}
	answered := false
	for _, name := range names {
		one := *q
		one.Datacenter, one.UseCache = name, true
		services, _, askErr := client.Catalog().Services(&one)
		if askErr != nil {
			failed(name, askErr)
			err = askErr
			continue
		}
		answered = true
		for service, tags := range services {
			if found[service] == nil {
				found[service] = &Service{}
			}
			s := found[service]
			s.Datacenters = append(s.Datacenters, name)
			s.Tags = append(s.Tags, tags...)
		}
		if first {
			break
		}
	}
	for _, s := range found {
		slices.Sort(s.Tags)
		s.Tags = slices.Compact(s.Tags)
	}
	if !answered {
		return nil, fmt.Errorf("list services: %w", err)
	}
	return found, nil
}

// expand lists the datacenters that a name stands for, as the agent knows them; of
// those in an order the first that answers counts.
func expand(client *api.Client, dc string) (names []string, first bool, err error) {
	reach, err := op.ParseReach(dc)
	if err != nil {
		return nil, false, err
	}
	names = reach.Listed
	if !reach.Others {
		return names, reach.First, nil
	}
	known, err := client.Catalog().Datacenters()
	if err != nil {
		return nil, false, fmt.Errorf("list datacenters: %w", err)
	}
	for _, other := range known {
		if !slices.Contains(names, other) {
			names = append(names, other)
		}
	}
	return names, reach.First, nil
}
