package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// checkList answers with the checks that an operation returns. The request is
// made of the argument and of what ?node-meta asks for.
func checkList[Req any](x *exchange, o *op.Read[Req, catalog.Checks], missing string, req func(arg string, meta []string) *Req) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	arg, err := x.argument(missing)
	if err != nil {
		return err
	}
	sel, err := x.selectionOf(&catalog.Check{ServiceTags: []string{""}})
	if err != nil {
		return err
	}
	list, reply, err := o.Ask(x.ctx, x.s.cfg.Caller, h, req(arg, sel.takePairs()))
	if err != nil {
		return err
	}
	return x.list(sel, reply, func() (any, error) { return pick(sel, orEmpty(list), nil, fixCheck) })
}

// healthNode is about one node: ?node-meta says nothing more.
func healthNode(x *exchange) error {
	return checkList(x, &catalog.ListNodeChecks, "Missing node name", func(arg string, _ []string) *catalog.NodeRequest {
		return &catalog.NodeRequest{Node: arg}
	})
}

func healthChecks(x *exchange) error {
	return checkList(x, &catalog.ListServiceChecks, "Missing service name", func(arg string, meta []string) *catalog.ServiceRequest {
		return &catalog.ServiceRequest{Service: arg, NodeMeta: meta}
	})
}

func healthState(x *exchange) error {
	return checkList(x, &catalog.ListStateChecks, "Missing check state", func(arg string, meta []string) *catalog.StateRequest {
		return &catalog.StateRequest{State: arg, NodeMeta: meta}
	})
}

func healthService(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	name, err := x.argument("Missing service name")
	if err != nil {
		return err
	}
	req := &catalog.ServiceRequest{Service: name, Tags: x.all("tag")}
	if req.PassingOnly, err = x.flag("passing"); err != nil {
		return err
	}
	sel, err := x.selectionOf(&catalog.Instance{Node: &catalog.Node{}, Service: &catalog.Service{Tags: []string{""}},
		Checks: catalog.Checks{{ServiceTags: []string{""}}}})
	if err != nil {
		return err
	}
	req.NodeMeta = sel.takePairs()
	list, reply, err := catalog.ListInstances.Ask(x.ctx, x.s.cfg.Caller, h, req)
	if err != nil {
		return err
	}
	return x.list(sel, reply, func() (any, error) { return pick(sel, orEmpty(list), nil, fixInstance) })
}

// list answers with what pick makes of a result. A whole result is rendered
// once for all who get the same.
func (x *exchange) list(sel *selection, reply *op.Reply, pick func() (any, error)) error {
	render := func() ([]byte, error) {
		out, err := pick()
		if err != nil {
			return nil, err
		}
		return json.Marshal(x.seen(out, &reply.Meta))
	}
	var b []byte
	var err error
	if sel.filter == nil && sel.meta == nil {
		b, err = reply.Render("json", render)
	} else {
		b, err = render()
	}
	if err != nil {
		return err
	}
	x.meta(&reply.Meta)
	return x.jsonBytes(http.StatusOK, b)
}

func fixInstance(i *catalog.Instance) {
	node, service := *i.Node, *i.Service
	fixNode(&node)
	fixService(&service)
	checks := make(catalog.Checks, len(i.Checks))
	for n := range i.Checks {
		checks[n] = i.Checks[n]
		fixCheck(&checks[n])
	}
	*i = catalog.Instance{Node: &node, Service: &service, Checks: checks}
}

// seen is a result as this agent's clients reach what is in it: see catalog.From.
func (x *exchange) seen(result any, m *op.Meta) any {
	if !x.s.cfg.TranslateWAN || m.Datacenter == x.s.cfg.Datacenter {
		return result
	}
	return catalog.From(result, x.s.cfg.Datacenter, m.Datacenter)
}
