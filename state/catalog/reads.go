package catalog

import (
	"iter"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

func listNodes(r storage.Reader, _ *op.Empty) (*Nodes, error) {
	list := Nodes{}
	for n, err := range nodes.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		list = append(list, *n)
	}
	return &list, nil
}

func getNode(r storage.Reader, req *NodeRequest) (*Node, error) {
	return nodes.Get(r, nodeKey(req.Node))
}

func listServices(r storage.Reader, req *ServicesRequest) (*ServiceTags, error) {
	list := ServiceTags{}
	if len(req.NodeMeta) > 0 {
		return &list, addServicesOf(r, req.NodeMeta, list)
	}
	for s, err := range serviceNames.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		if tags := list[s.Name]; s.Tagged {
			list[s.Name] = append(tags, s.Tag)
		} else {
			list[s.Name] = tags
		}
	}
	return &list, nil
}

func listAllServiceNodes(r storage.Reader, req *ServicesRequest) (*ServiceNodes, error) {
	list := ServiceNodes{}
	for n, err := range nodes.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		if !hasMeta(n, req.NodeMeta) {
			continue
		}
		for s, err := range services.Scan(r, nodeKey(n.Node)) {
			if err != nil {
				return nil, err
			}
			list = append(list, flatten(n, &s.Service))
		}
	}
	return &list, nil
}

// addServicesOf adds to the list what runs on the nodes that have the pairs.
func addServicesOf(r storage.Reader, meta []string, list ServiceTags) error {
	for n, err := range nodes.Scan(r, nil) {
		if err != nil {
			return err
		}
		if !hasMeta(n, meta) {
			continue
		}
		for s, err := range services.Scan(r, nodeKey(n.Node)) {
			if err != nil {
				return err
			}
			list[s.Service.Service] = append(list[s.Service.Service], s.Service.Tags...)
		}
	}
	for name, tags := range list {
		slices.Sort(tags)
		list[name] = slices.Compact(tags)
	}
	return nil
}

// hasMeta reports whether a node has all the pairs, each "key:value". A key
// has no colon.
func hasMeta(n *Node, pairs []string) bool {
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, ":")
		if got, ok := n.Meta[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// instances yields the instances of a service that fit and are on a node that
// has all the metadata.
func instances(r storage.Reader, req *ServiceRequest, each func(*Node, *ServiceRow) error) error {
	index := servicesByName
	if req.Connect {
		index = servicesByConnect
	}
	for s, err := range index.Scan(r, byService(req.Service)) {
		if err != nil {
			return err
		}
		if !req.Fits(&s.Service) {
			continue
		}
		n, err := nodes.Get(r, nodeKey(s.Node))
		if err != nil {
			return err
		}
		if n == nil || !hasMeta(n, req.NodeMeta) { // nil cannot be: a node goes with its services
			continue
		}
		if err := each(n, s); err != nil {
			return err
		}
	}
	return nil
}

// Fits reports whether an instance has the tags and ports that are asked for.
func (r *ServiceRequest) Fits(s *Service) bool {
	for _, want := range r.Tags {
		if slices.ContainsFunc(s.Tags, func(tag string) bool { return strings.EqualFold(tag, want) }) {
			continue
		}
		if _, ok := s.Ports.Named(want); !ok || !r.OrPort {
			return false
		}
	}
	_, ok := s.Ports.Named(r.Port)
	return ok || r.Port == ""
}

func listServiceNodes(r storage.Reader, req *ServiceRequest) (*ServiceNodes, error) {
	list := ServiceNodes{}
	err := instances(r, req, func(n *Node, s *ServiceRow) error {
		list = append(list, flatten(n, &s.Service))
		return nil
	})
	return &list, err
}

func flatten(n *Node, s *Service) ServiceNode {
	return ServiceNode{ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter, TaggedAddresses: n.TaggedAddresses,
		NodeMeta: n.Meta, ServiceKind: s.Kind, ServiceID: s.ID, ServiceName: s.Service, ServiceTags: s.Tags,
		ServiceAddress: s.Address, ServiceTaggedAddresses: s.TaggedAddresses, ServiceWeights: s.Weights, ServiceMeta: s.Meta,
		ServicePort: s.Port, ServicePorts: s.Ports, ServiceSocketPath: s.SocketPath, ServiceEnableTagOverride: s.EnableTagOverride,
		ServiceProxy: s.Proxy, ServiceConnect: s.Connect, ServiceLocality: s.Locality,
		CreateIndex: s.CreateIndex, ModifyIndex: s.ModifyIndex}
}

func listInstances(r storage.Reader, req *ServiceRequest) (*Instances, error) {
	list := Instances{}
	err := instances(r, req, func(n *Node, s *ServiceRow) error {
		cs := Checks{}
		for _, id := range []string{"", s.Service.ID} {
			for c, err := range checksByInstance.Scan(r, byInstance(n.Node, id)) {
				if err != nil {
					return err
				}
				cs = append(cs, *c)
			}
		}
		switch status := cs.Status(); {
		case req.PassingOnly && status != Passing, req.HealthyOnly && status == Critical:
			return nil
		}
		list = append(list, Instance{Node: n, Service: &s.Service, Checks: cs})
		return nil
	})
	return &list, err
}

func getNodeServices(r storage.Reader, req *NodeRequest) (*NodeServices, error) {
	n, err := nodes.Get(r, nodeKey(req.Node))
	if err != nil || n == nil {
		return nil, err
	}
	out := &NodeServices{Node: n, Services: map[string]*Service{}}
	for s, err := range services.Scan(r, nodeKey(req.Node)) {
		if err != nil {
			return nil, err
		}
		out.Services[s.Service.ID] = &s.Service
	}
	return out, nil
}

func listNodeChecks(r storage.Reader, req *NodeRequest) (*Checks, error) {
	list := Checks{}
	for c, err := range checks.Scan(r, nodeKey(req.Node)) {
		if err != nil {
			return nil, err
		}
		list = append(list, *c)
	}
	return &list, nil
}

func listServiceChecks(r storage.Reader, req *ServiceRequest) (*Checks, error) {
	return checksOn(r, checksByService.Scan(r, byService(req.Service)), req.NodeMeta)
}

func listStateChecks(r storage.Reader, req *StateRequest) (*Checks, error) {
	found := checksByState.Scan(r, storage.Key(req.State))
	if req.State == AnyState { // in the order of Checks, not of their states
		found = checks.Scan(r, nil)
	}
	return checksOn(r, found, req.NodeMeta)
}

// checksOn collects the checks that are on nodes with all the metadata.
func checksOn(r storage.Reader, found iter.Seq2[*Check, error], meta []string) (*Checks, error) {
	list := Checks{}
	fits := map[string]bool{} // by node
	for c, err := range found {
		if err != nil {
			return nil, err
		}
		if len(meta) > 0 {
			ok, known := fits[c.Node]
			if !known {
				n, err := nodes.Get(r, nodeKey(c.Node))
				if err != nil {
					return nil, err
				}
				ok = n != nil && hasMeta(n, meta)
				fits[c.Node] = ok
			}
			if !ok {
				continue
			}
		}
		list = append(list, *c)
	}
	return &list, nil
}
