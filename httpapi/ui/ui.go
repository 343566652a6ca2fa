// Package ui is what the web interface asks for, over HTTP.
package ui

import (
	"net/http"
	"slices"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/internal/ui/nodes", Get: a.nodes, Blocks: true},
		{Path: "/v1/internal/ui/node/", Get: a.node, Blocks: true},
		{Path: "/v1/internal/ui/services", Get: a.services, Blocks: true},
		{Path: "/v1/internal/ui/catalog-overview", Get: a.overview, Blocks: true},
		{Path: "/v1/internal/ui/exported-services", Mesh: "GET"},
		{Path: "/v1/internal/ui/metrics-proxy/", Mesh: "GET"},
		{Path: "/v1/internal/ui/gateway-services-nodes/", Mesh: "GET"},
		{Path: "/v1/internal/ui/gateway-intentions/", Mesh: "GET"},
		{Path: "/v1/internal/ui/service-topology/", Mesh: "GET"},
	}
}

// What the web interface asks for.

func (a *API) nodes(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	sel, err := x.SelectionOf(&catalog.NodeInfo{Services: []catalog.Service{{}}, Checks: catalog.Checks{{}}})
	if err != nil {
		return err
	}
	list, reply, err := catalog.DumpNodes.Ask(x.Ctx, a.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	return x.List(sel, reply, func() (any, error) {
		return rest.Pick(sel, rest.OrEmpty(list), func(n *catalog.NodeInfo) map[string]string { return n.Meta }, fixNodeInfo)
	})
}

func (a *API) node(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	name, err := x.Argument("Missing node name")
	if err != nil {
		return err
	}
	found, meta, err := catalog.DumpNode.Call(x.Ctx, a.Caller, h, &catalog.NodeRequest{Node: name})
	if err != nil {
		return err
	}
	x.Meta(&meta)
	if found == nil {
		x.Empty(http.StatusNotFound)
		return nil
	}
	node := *found
	fixNodeInfo(&node)
	return x.JSON(x.Seen(&node, &meta))
}

func fixNodeInfo(n *catalog.NodeInfo) {
	n.TaggedAddresses, n.Meta = rest.OrNull(n.TaggedAddresses), rest.OrNull(n.Meta)
	n.Services, n.Checks = slices.Clone(n.Services), slices.Clone(n.Checks)
	for i := range n.Services {
		rest.FixService(&n.Services[i])
	}
	for i := range n.Checks {
		rest.FixCheck(&n.Checks[i])
	}
	n.Services, n.Checks = rest.Some(n.Services), rest.Some(n.Checks)
}

func (a *API) services(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	one := []string{""}
	sel, err := x.SelectionOf(&Summary{Tags: one, Nodes: one, ExternalSources: one})
	if err != nil {
		return err
	}
	list, reply, err := catalog.DumpServices.Ask(x.Ctx, a.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	return x.List(sel, reply, func() (any, error) {
		out := make([]Summary, 0, len(rest.OrEmpty(list)))
		for _, s := range rest.OrEmpty(list) {
			out = append(out, SummaryOf(reply.Meta.Datacenter, &s))
		}
		return rest.Pick(sel, out, nil, func(*Summary) {})
	})
}

func (a *API) overview(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	found, meta, err := catalog.Summarize.Call(x.Ctx, a.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	out := catalog.Summary{}
	if found != nil {
		out = *found
	}
	x.Meta(&meta)
	return x.JSON(&catalog.Summary{Nodes: rest.Some(out.Nodes), Services: rest.Some(out.Services), Checks: rest.Some(out.Checks)})
}
