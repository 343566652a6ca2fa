package httpapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/status"
)

// target sets which datacenter a registration is for: that of the query, else
// that of the body. It returns the name to store.
func (x *exchange) target(h *op.Header, body string) string {
	if h.Datacenter == "" {
		h.Datacenter = body
	}
	if h.Datacenter == "" {
		return x.s.cfg.Datacenter
	}
	return h.Datacenter
}

func catalogRegister(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	var req catalog.RegisterRequest
	if err := x.decode(&req); err != nil {
		return err
	}
	req.Datacenter = x.target(&h, req.Datacenter)
	_, meta, err := catalog.Register.Call(x.ctx, x.s.cfg.Caller, h, &req)
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	if req.Service != nil {
		x.warnName("service", req.Service.Service)
	}
	return x.truth(true)
}

func catalogDeregister(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	var req catalog.DeregisterRequest
	if err := x.decode(&req); err != nil {
		return err
	}
	req.Datacenter = x.target(&h, req.Datacenter)
	_, meta, err := catalog.Deregister.Call(x.ctx, x.s.cfg.Caller, h, &req)
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	return x.truth(true)
}

func catalogDatacenters(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	if op.Wide(h.Datacenter) { // a client that asks several for everything asks for their names first
		h.Datacenter = ""
	}
	list, meta, err := status.Datacenters.Call(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	x.cached(false)
	if list == nil || list.Texts == nil {
		return x.json([]string{})
	}
	return x.json(list.Texts)
}

func catalogNodes(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	sel, err := x.selectionOf(&catalog.Node{})
	if err != nil {
		return err
	}
	list, reply, err := catalog.ListNodes.Ask(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	return x.list(sel, reply, func() (any, error) {
		return pick(sel, orEmpty(list), func(n *catalog.Node) map[string]string { return n.Meta }, fixNode)
	})
}

// namedTags is what ?filter sees of a service in the list of names.
type namedTags struct {
	ServiceName string
	ServiceTags []string
}

func catalogServices(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	sel, err := x.selectionOf(&namedTags{ServiceTags: []string{""}})
	if err != nil {
		return err
	}
	list, meta, err := catalog.ListServices.Call(x.ctx, x.s.cfg.Caller, h, &catalog.ServicesRequest{NodeMeta: sel.takePairs()})
	if err != nil {
		return err
	}
	out := map[string][]string{}
	if list != nil {
		for name, tags := range *list {
			ok, err := sel.pass(&namedTags{name, tags})
			if err != nil {
				return err
			}
			if ok {
				out[name] = some(tags)
			}
		}
	}
	x.meta(&meta)
	return x.json(out)
}

func catalogService(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	name, err := x.argument("Missing service name")
	if err != nil {
		return err
	}
	sel, err := x.selectionOf(&catalog.ServiceNode{ServiceTags: []string{""}})
	if err != nil {
		return err
	}
	req := &catalog.ServiceRequest{Service: name, Tags: x.all("tag"), NodeMeta: sel.takePairs()}
	list, reply, err := catalog.ListServiceNodes.Ask(x.ctx, x.s.cfg.Caller, h, req)
	if err != nil {
		return err
	}
	return x.list(sel, reply, func() (any, error) { return pick(sel, orEmpty(list), nil, fixServiceNode) })
}

// nodeServices asks for a node with its services and applies ?filter to them;
// nil if there is no such node.
func (x *exchange) nodeServices() (*catalog.NodeServices, error) {
	h, err := x.header()
	if err != nil {
		return nil, err
	}
	name, err := x.argument("Missing node name")
	if err != nil {
		return nil, err
	}
	sel, err := x.selectionOf(&catalog.Service{Tags: []string{""}})
	if err != nil {
		return nil, err
	}
	found, meta, err := catalog.GetNodeServices.Call(x.ctx, x.s.cfg.Caller, h, &catalog.NodeRequest{Node: name})
	if err != nil {
		return nil, err
	}
	if found == nil || found.Node == nil {
		x.meta(&meta)
		return nil, nil
	}
	node := *found.Node
	fixNode(&node)
	out := &catalog.NodeServices{Node: &node, Services: map[string]*catalog.Service{}}
	for id, s := range found.Services {
		service := *s
		fixService(&service)
		ok, err := sel.pass(&service)
		if err != nil {
			return nil, err
		}
		if ok {
			out.Services[id] = &service
		}
	}
	x.meta(&meta)
	return x.seen(out, &meta).(*catalog.NodeServices), nil
}

func catalogNode(x *exchange) error {
	out, err := x.nodeServices()
	if err != nil {
		return err
	}
	return x.json(out) // null without such a node
}

func catalogNodeServices(x *exchange) error {
	found, err := x.nodeServices()
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
	return x.json(out)
}

// orEmpty returns the list that a result points at.
func orEmpty[L ~[]T, T any](list *L) []T {
	if list == nil {
		return nil
	}
	return *list
}

// some is the list, [] rather than null in JSON.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// pairs is the map, {} rather than null in JSON.
func pairs[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// orNull is the map, null rather than {} in JSON.
func orNull[V any](m map[string]V) map[string]V {
	if len(m) == 0 {
		return nil
	}
	return m
}

// The fix functions give records the shape that clients know: which lists and
// maps are empty and which are null.

func fixNode(n *catalog.Node) {
	n.TaggedAddresses, n.Meta = orNull(n.TaggedAddresses), orNull(n.Meta)
}

func fixService(s *catalog.Service) { s.Tags, s.Meta = some(s.Tags), orNull(s.Meta) }

func fixServiceNode(n *catalog.ServiceNode) {
	n.TaggedAddresses, n.NodeMeta = orNull(n.TaggedAddresses), orNull(n.NodeMeta)
	n.ServiceTags, n.ServiceMeta = some(n.ServiceTags), pairs(n.ServiceMeta)
}

func fixCheck(c *catalog.Check) { c.ServiceTags = some(c.ServiceTags) }

// maxLabel is the longest part of a DNS name (RFC 1035, section 2.3.4).
const maxLabel = 63

// warnName notes in the log when DNS cannot carry a name.
func (x *exchange) warnName(what, name string) {
	plain := func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if len(name) > maxLabel || strings.ContainsFunc(name, plain) {
		x.s.log.Warn("name cannot be looked up by DNS: it has other characters than letters, digits and dashes, or more than 63", what, name)
	}
}
