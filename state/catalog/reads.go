package catalog

import (
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

func listServices(r storage.Reader, _ *op.Empty) (*ServiceTags, error) {
	list := ServiceTags{}
	for s, err := range servicesByName.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		tags := list[s.Service.Service]
		if tags == nil {
			tags = []string{}
		}
		for _, t := range s.Service.Tags {
			if !slices.Contains(tags, t) {
				tags = append(tags, t)
			}
		}
		list[s.Service.Service] = tags
	}
	return &list, nil
}

// instances yields the instances of a service that have all the tags.
func instances(r storage.Reader, req *ServiceRequest, each func(*Node, *ServiceRow) error) error {
	for s, err := range servicesByName.Scan(r, byService(req.Service)) {
		if err != nil {
			return err
		}
		if !hasTags(s.Service.Tags, req.Tags) {
			continue
		}
		n, err := nodes.Get(r, nodeKey(s.Node))
		if err != nil {
			return err
		}
		if n == nil { // cannot be: a node goes with its services
			continue
		}
		if err := each(n, s); err != nil {
			return err
		}
	}
	return nil
}

func hasTags(have, want []string) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.EqualFold(h, w) }) {
			return false
		}
	}
	return true
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
		ServicePort: s.Port, ServiceSocketPath: s.SocketPath, ServiceEnableTagOverride: s.EnableTagOverride,
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
	list := Checks{}
	for c, err := range checksByService.Scan(r, byService(req.Service)) {
		if err != nil {
			return nil, err
		}
		list = append(list, *c)
	}
	return &list, nil
}

func listStateChecks(r storage.Reader, req *StateRequest) (*Checks, error) {
	var prefix []byte
	if req.State != AnyState {
		prefix = storage.Key(req.State)
	}
	list := Checks{}
	for c, err := range checksByState.Scan(r, prefix) {
		if err != nil {
			return nil, err
		}
		list = append(list, *c)
	}
	return &list, nil
}
