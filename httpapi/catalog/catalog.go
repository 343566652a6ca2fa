// Package catalog is the catalog of nodes and services over HTTP. It keeps nothing.
package catalog

import (
	"maps"
	"slices"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/status"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/catalog/register", Put: a.register},
		{Path: "/v1/catalog/deregister", Put: a.deregister},
		{Path: "/v1/catalog/datacenters", Get: a.datacenters},
		{Path: "/v1/catalog/nodes", Get: a.nodes, Blocks: true},
		{Path: "/v1/catalog/services", Get: a.services, Blocks: true},
		{Path: "/v1/catalog/service/", Get: a.service, Blocks: true},
		{Path: "/v1/catalog/node/", Get: a.node, Blocks: true},
		{Path: "/v1/catalog/node-services/", Get: a.nodeServices, Blocks: true},
		{Path: "/v1/catalog/connect/", Get: a.connect, Blocks: true},
		{Path: "/v1/catalog/gateway-services/", Mesh: "GET"},
	}
}

func (a *API) register(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	var req catalog.RegisterRequest
	if err := x.Decode(&req); err != nil {
		return err
	}
	req.Datacenter = x.Target(&h, req.Datacenter)
	_, meta, err := catalog.Register.Call(x.Ctx, a.Caller, h, &req)
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	if req.Service != nil {
		x.WarnName("service", req.Service.Service)
	}
	return x.Truth(true)
}

func (a *API) deregister(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	var req catalog.DeregisterRequest
	if err := x.Decode(&req); err != nil {
		return err
	}
	req.Datacenter = x.Target(&h, req.Datacenter)
	_, meta, err := catalog.Deregister.Call(x.Ctx, a.Caller, h, &req)
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.Truth(true)
}

func (a *API) datacenters(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	if op.IsFanOut(h.Datacenter) { // a client that asks several for everything asks for their names first
		h.Datacenter = ""
	}
	list, meta, err := status.Datacenters.Call(x.Ctx, a.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	x.Cached(false)
	if list == nil || list.Texts == nil {
		return x.JSON([]string{})
	}
	return x.JSON(list.Texts)
}

func (a *API) nodes(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	sel, err := x.SelectionOf(&catalog.Node{})
	if err != nil {
		return err
	}
	list, reply, err := catalog.ListNodes.Ask(x.Ctx, a.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	return x.List(sel, reply, func() (any, error) {
		return rest.Pick(sel, rest.OrEmpty(list), func(n *catalog.Node) map[string]string { return n.Meta }, rest.FixNode)
	})
}

// services answers the names of services with their tags; with ?filter, those of
// the instances that it chooses.
func (a *API) services(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	sel, err := x.SelectionOf(&catalog.ServiceNode{ServiceTags: []string{""}})
	if err != nil {
		return err
	}
	req := &catalog.ServicesRequest{NodeMeta: sel.TakePairs()}
	if x.Get("filter") != "" {
		return a.namesOf(x, h, sel, req)
	}
	list, meta, err := catalog.ListServices.Call(x.Ctx, a.Caller, h, req)
	if err != nil {
		return err
	}
	out := map[string][]string{}
	if list != nil {
		for name, tags := range *list {
			out[name] = rest.Some(tags)
		}
	}
	x.Meta(&meta)
	return x.JSON(out)
}

// namesOf answers the names of those services that have an instance which is
// selected, each with the tags of all such.
func (a *API) namesOf(x *rest.Exchange, h op.Header, sel *rest.Selection, req *catalog.ServicesRequest) error {
	list, meta, err := catalog.ListAllServiceNodes.Call(x.Ctx, a.Caller, h, req)
	if err != nil {
		return err
	}
	chosen, err := rest.Pick(sel, rest.OrEmpty(list), nil, rest.FixServiceNode)
	if err != nil {
		return err
	}
	out := map[string][]string{}
	for i := range chosen {
		name := chosen[i].ServiceName
		out[name] = append(out[name], chosen[i].ServiceTags...)
	}
	for name, tags := range out {
		slices.Sort(tags)
		out[name] = rest.Some(slices.Compact(tags))
	}
	x.Meta(&meta)
	return x.JSON(out)
}

func (a *API) service(x *rest.Exchange) error { return a.instances(x, false) }

// connect lists the instances through which a mesh reaches a service.
func (a *API) connect(x *rest.Exchange) error { return a.instances(x, true) }

func (a *API) instances(x *rest.Exchange, connect bool) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	name, err := x.Argument("Missing service name")
	if err != nil {
		return err
	}
	sel, err := x.SelectionOf(&catalog.ServiceNode{ServiceTags: []string{""}})
	if err != nil {
		return err
	}
	req := &catalog.ServiceRequest{Service: name, Tags: x.All("tag"), NodeMeta: sel.TakePairs(), Connect: connect}
	list, reply, err := catalog.ListServiceNodes.Ask(x.Ctx, a.Caller, h, req)
	if err != nil {
		return err
	}
	return x.List(sel, reply, func() (any, error) { return rest.Pick(sel, rest.OrEmpty(list), nil, rest.FixServiceNode) })
}

// found asks for a node with its services and applies ?filter to them;
// nil if there is no such node.
func (a *API) found(x *rest.Exchange) (*catalog.NodeServices, error) {
	h, err := x.Header()
	if err != nil {
		return nil, err
	}
	name, err := x.Argument("Missing node name")
	if err != nil {
		return nil, err
	}
	sel, err := x.SelectionOf(&catalog.Service{Tags: []string{""}})
	if err != nil {
		return nil, err
	}
	found, meta, err := catalog.GetNodeServices.Call(x.Ctx, a.Caller, h, &catalog.NodeRequest{Node: name})
	if err != nil {
		return nil, err
	}
	if found == nil || found.Node == nil {
		x.Meta(&meta)
		return nil, nil
	}
	node := *found.Node
	rest.FixNode(&node)
	out := &catalog.NodeServices{Node: &node, Services: map[string]*catalog.Service{}}
	for id, s := range found.Services {
		service := *s
		rest.FixService(&service)
		ok, err := sel.Pass(&service)
		if err != nil {
			return nil, err
		}
		if ok {
			out.Services[id] = &service
		}
	}
	x.Meta(&meta)
	return x.Seen(out, &meta).(*catalog.NodeServices), nil
}

func (a *API) node(x *rest.Exchange) error {
	out, err := a.found(x)
	if err != nil {
		return err
	}
	return x.JSON(out) // null without such a node
}

func (a *API) nodeServices(x *rest.Exchange) error {
	found, err := a.found(x)
	if err != nil {
		return err
	}
	out := struct {
		Node     *catalog.Node
		Services []*catalog.Service
	}{Services: []*catalog.Service{}}
	if found != nil {
		out.Node = found.Node
		for _, id := range slices.Sorted(maps.Keys(found.Services)) {
			out.Services = append(out.Services, found.Services[id])
		}
	}
	return x.JSON(out)
}
