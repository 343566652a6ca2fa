package httpapi

import (
	"net/http"
	"slices"

	"github.com/legate-project/legate/httpapi/shape"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// What the web interface asks for.

func uiNodes(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	sel, err := x.selectionOf(&catalog.NodeInfo{Services: []catalog.Service{{}}, Checks: catalog.Checks{{}}})
	if err != nil {
		return err
	}
	list, reply, err := catalog.DumpNodes.Ask(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	return x.list(sel, reply, func() (any, error) {
		return pick(sel, orEmpty(list), func(n *catalog.NodeInfo) map[string]string { return n.Meta }, fixNodeInfo)
	})
}

func uiNode(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	name, err := x.argument("Missing node name")
	if err != nil {
		return err
	}
	found, meta, err := catalog.DumpNode.Call(x.ctx, x.s.cfg.Caller, h, &catalog.NodeRequest{Node: name})
	if err != nil {
		return err
	}
	x.meta(&meta)
	if found == nil {
		x.empty(http.StatusNotFound)
		return nil
	}
	node := *found
	fixNodeInfo(&node)
	return x.json(x.seen(&node, &meta))
}

func fixNodeInfo(n *catalog.NodeInfo) {
	n.TaggedAddresses, n.Meta = orNull(n.TaggedAddresses), orNull(n.Meta)
	n.Services, n.Checks = slices.Clone(n.Services), slices.Clone(n.Checks)
	for i := range n.Services {
		fixService(&n.Services[i])
	}
	for i := range n.Checks {
		fixCheck(&n.Checks[i])
	}
	n.Services, n.Checks = some(n.Services), some(n.Checks)
}

func uiServices(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	one := []string{""}
	sel, err := x.selectionOf(&shape.Summary{Tags: one, Nodes: one, ExternalSources: one})
	if err != nil {
		return err
	}
	list, reply, err := catalog.DumpServices.Ask(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	return x.list(sel, reply, func() (any, error) {
		out := make([]shape.Summary, 0, len(orEmpty(list)))
		for _, s := range orEmpty(list) {
			out = append(out, shape.SummaryOf(reply.Meta.Datacenter, &s))
		}
		return pick(sel, out, nil, func(*shape.Summary) {})
	})
}

func uiOverview(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	found, meta, err := catalog.Summarize.Call(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	out := catalog.Summary{}
	if found != nil {
		out = *found
	}
	x.meta(&meta)
	return x.json(&catalog.Summary{Nodes: some(out.Nodes), Services: some(out.Services), Checks: some(out.Checks)})
}
