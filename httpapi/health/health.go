// Package health is the health of nodes and services over HTTP. It runs no checks.
package health

import (
	"context"
	"strings"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
	// Failover is which datacenters a question for passing instances goes to that names none,
	// as op.Header.Datacenter says it, by the service in lower case; empty for the own one
	// alone. It returns what ends when that may be others, too. Nil is the own one for all.
	Failover func(service string) (string, context.Context)
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/health/node/", Get: a.node, Blocks: true},
		{Path: "/v1/health/checks/", Get: a.checks, Blocks: true},
		{Path: "/v1/health/state/", Get: a.state, Blocks: true},
		{Path: "/v1/health/service/", Get: a.service, Blocks: true},
		{Path: "/v1/health/connect/", Get: a.connect, Blocks: true},
		{Path: "/v1/health/ingress/", Get: a.ingress, Blocks: true},
	}
}

// checkList answers with the checks that an operation returns. The request is
// made of the argument and of what ?node-meta asks for.
func checkList[Req any](x *rest.Exchange, caller op.Caller, o *op.Read[Req, catalog.Checks], missing string, req func(arg string, meta []string) *Req) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	arg, err := x.Argument(missing)
	if err != nil {
		return err
	}
	sel, err := x.SelectionOf(&catalog.Check{ServiceTags: []string{""}})
	if err != nil {
		return err
	}
	list, reply, err := o.Ask(x.Ctx, caller, h, req(arg, sel.TakePairs()))
	if err != nil {
		return err
	}
	return x.List(sel, reply, func() (any, error) { return rest.Pick(sel, rest.OrEmpty(list), nil, rest.FixCheck) })
}

// node is about one node: ?node-meta says nothing more.
func (a *API) node(x *rest.Exchange) error {
	return checkList(x, a.Caller, &catalog.ListNodeChecks, "Missing node name", func(arg string, _ []string) *catalog.NodeRequest {
		return &catalog.NodeRequest{Node: arg}
	})
}

func (a *API) checks(x *rest.Exchange) error {
	return checkList(x, a.Caller, &catalog.ListServiceChecks, "Missing service name", func(arg string, meta []string) *catalog.ServiceRequest {
		return &catalog.ServiceRequest{Service: arg, NodeMeta: meta}
	})
}

func (a *API) state(x *rest.Exchange) error {
	return checkList(x, a.Caller, &catalog.ListStateChecks, "Missing check state", func(arg string, meta []string) *catalog.StateRequest {
		return &catalog.StateRequest{State: arg, NodeMeta: meta}
	})
}

func (a *API) service(x *rest.Exchange) error { return a.instances(x, false) }

// connect lists the instances through which a mesh reaches a service.
func (a *API) connect(x *rest.Exchange) error { return a.instances(x, true) }

// ingress lists the gateways through which a service is reached from outside a
// mesh: none, as nothing here says which gateway leads where.
func (a *API) ingress(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	name, err := x.Argument("Missing service name")
	if err != nil {
		return err
	}
	_, meta, err := catalog.ListInstances.Call(x.Ctx, a.Caller, h, &catalog.ServiceRequest{Service: name, Connect: true})
	if err != nil {
		return err
	}
	x.Partial()
	x.Meta(&meta)
	return x.JSON(catalog.Instances{})
}

// instances answers with the instances of a service or, with connect, those
// through which a mesh reaches it.
func (a *API) instances(x *rest.Exchange, connect bool) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	name, err := x.Argument("Missing service name")
	if err != nil {
		return err
	}
	req := &catalog.ServiceRequest{Service: name, Tags: x.All("tag"), Connect: connect}
	if req.PassingOnly, err = x.Flag("passing"); err != nil {
		return err
	}
	sel, err := x.SelectionOf(&catalog.Instance{Node: &catalog.Node{}, Service: &catalog.Service{Tags: []string{""}},
		Checks: catalog.Checks{{ServiceTags: []string{""}}}})
	if err != nil {
		return err
	}
	req.NodeMeta = sel.TakePairs()
	list, reply, err := a.ask(x, h, req)
	if err != nil {
		return err
	}
	return x.List(sel, reply, func() (any, error) { return rest.Pick(sel, rest.OrEmpty(list), nil, rest.FixInstance) })
}

// ask asks for instances: for passing ones of a service that fails over, other datacenters as
// well. Who waits while the rules change is answered by the new ones.
func (a *API) ask(x *rest.Exchange, h op.Header, req *catalog.ServiceRequest) (*catalog.Instances, *op.Reply, error) {
	if h.Datacenter != "" || !req.PassingOnly || a.Failover == nil {
		return catalog.ListInstances.Ask(x.Ctx, a.Caller, h, req)
	}
	service := strings.ToLower(req.Service)
	for {
		order, rules := a.Failover(service)
		if order == "" && h.MinIndex >= op.OpaqueFrom { // of an answer while it failed over
			h.MinIndex = 0
		}
		ctx, cancel := context.WithCancel(x.Ctx)
		stop := context.AfterFunc(rules, cancel)
		list, reply, err := a.inOrder(ctx, order, h, req)
		stop()
		cancel()
		if err == nil || x.Ctx.Err() != nil || rules.Err() == nil {
			return list, reply, err
		}
		if now, _ := a.Failover(service); now != order {
			h.MinIndex = 0
		}
	}
}

// inOrder asks the datacenters of an order, of which the first is the own one. Where those
// cannot be asked, or the token means less there, the own one alone answers.
func (a *API) inOrder(ctx context.Context, order string, h op.Header, req *catalog.ServiceRequest) (*catalog.Instances, *op.Reply, error) {
	if order != "" {
		wide := h
		wide.Datacenter = order
		list, reply, err := catalog.ListInOrder(ctx, a.Caller, wide, req)
		if err == nil && (!reply.Meta.Filtered || another(order, reply) && list != nil && len(*list) > 0) || ctx.Err() != nil {
			return list, reply, err
		}
		if h.MinIndex >= op.OpaqueFrom {
			h.MinIndex = 0
		}
	}
	return catalog.ListInstances.Ask(ctx, a.Caller, h, req)
}

// another reports whether another datacenter than the first of an order has answered.
func another(order string, r *op.Reply) bool {
	return r.Meta.Datacenter != "" && r.Meta.Datacenter != op.FirstOf(order)
}
