package catalog

import (
	"cmp"
	"slices"

	"github.com/legate-project/legate/op"
)

// How reads are answered for several datacenters at once. Lists follow one another
// in the order of the datacenters; each entry says which one it is of.
var (
	fanOutNodes           = op.FanOut[op.Empty, Nodes]{Merge: mergeLists[Nodes](nodeIn)}
	fanOutNode            = op.FanOut[NodeRequest, Node]{Merge: firstNode, Anywhere: true}
	fanOutServices        = op.FanOut[ServicesRequest, ServiceTags]{Merge: mergeTags}
	fanOutServiceNodes    = op.FanOut[ServiceRequest, ServiceNodes]{Merge: mergeLists[ServiceNodes](serviceNodeIn), Probe: probeHealthy}
	fanOutAllServiceNodes = op.FanOut[ServicesRequest, ServiceNodes]{Merge: mergeLists[ServiceNodes](serviceNodeIn)}
	fanOutInstances       = op.FanOut[ServiceRequest, Instances]{Merge: mergeLists[Instances](instanceIn), Probe: probeSelf}
	fanOutChecks          = op.FanOut[ServiceRequest, Checks]{Merge: mergeLists[Checks](checkIn), Probe: probeHealthy}
	fanOutStates          = op.FanOut[StateRequest, Checks]{Merge: mergeLists[Checks](checkIn)}
)

// mergeLists joins lists; in gives an entry its datacenter if it does not say it.
func mergeLists[L ~[]T, T any](in func(item T, dc string) T) func([]op.DatacenterResult[L]) *L {
	return func(parts []op.DatacenterResult[L]) *L {
		n := 0
		for _, p := range parts {
			if p.Result != nil {
				n += len(*p.Result)
			}
		}
		out := make(L, 0, n)
		for _, p := range parts {
			if p.Result == nil {
				continue
			}
			for i := range *p.Result {
				out = append(out, in((*p.Result)[i], p.Datacenter))
			}
		}
		return &out
	}
}

func nodeIn(n Node, dc string) Node {
	n.Datacenter = cmp.Or(n.Datacenter, dc)
	return n
}

func serviceNodeIn(n ServiceNode, dc string) ServiceNode {
	n.Datacenter = cmp.Or(n.Datacenter, dc)
	return n
}

func instanceIn(i Instance, dc string) Instance {
	if i.Node.Datacenter == "" {
		n := nodeIn(*i.Node, dc)
		i.Node = &n
	}
	return i
}

func checkIn(c Check, dc string) Check {
	c.Datacenter = dc
	return c
}

func firstNode(parts []op.DatacenterResult[Node]) *Node {
	for _, p := range parts {
		if p.Result != nil {
			n := nodeIn(*p.Result, p.Datacenter)
			return &n
		}
	}
	return nil
}

func mergeTags(parts []op.DatacenterResult[ServiceTags]) *ServiceTags {
	out := ServiceTags{}
	for _, p := range parts {
		if p.Result == nil {
			continue
		}
		for name, tags := range *p.Result {
			all := append(slices.Clone(out[name]), tags...)
			slices.Sort(all)
			out[name] = slices.Compact(all)
		}
	}
	return &out
}

// probeSelf looks for an instance that is at least warning; with PassingOnly those
// that are not passing are left out already. The directory counts instances by their own
// names, and the proxies through which a mesh reaches a service have others.
func probeSelf(r *ServiceRequest) op.Probe {
	p := op.Probe{Service: r.Service, Request: r, Has: hasInstances}
	if r.Connect {
		p.Service = ""
	}
	if !r.HealthyOnly {
		q := *r
		q.HealthyOnly = true
		p.Request = &q
	}
	return p
}

func probeHealthy(r *ServiceRequest) op.Probe {
	p := probeSelf(r)
	p.Operation = &ListInstances
	return p
}

func hasInstances(result any) bool {
	list, _ := result.(*Instances)
	return list != nil && len(*list) > 0
}
