package httpapi

import (
	"net/http"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// checkList answers with the checks that an operation returns.
func checkList[Req any](x *exchange, o *op.Read[Req, catalog.Checks], missing string, req func(arg string) *Req) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	arg, err := x.argument(missing)
	if err != nil {
		return err
	}
	sel, err := x.selection()
	if err != nil {
		return err
	}
	if sel.meta != nil {
		return refuse(http.StatusBadRequest, "?node-meta is not supported for lists of checks")
	}
	list, meta, err := o.Call(x.ctx, x.s.cfg.Caller, h, req(arg))
	if err != nil {
		return err
	}
	out, err := pick(sel, orEmpty(list), nil, fixCheck)
	if err != nil {
		return err
	}
	x.meta(&meta)
	return x.json(out)
}

func healthNode(x *exchange) error {
	return checkList(x, &catalog.ListNodeChecks, "Missing node name", func(arg string) *catalog.NodeRequest {
		return &catalog.NodeRequest{Node: arg}
	})
}

func healthChecks(x *exchange) error {
	return checkList(x, &catalog.ListServiceChecks, "Missing service name", func(arg string) *catalog.ServiceRequest {
		return &catalog.ServiceRequest{Service: arg}
	})
}

func healthState(x *exchange) error {
	return checkList(x, &catalog.ListStateChecks, "Missing check state", func(arg string) *catalog.StateRequest {
		return &catalog.StateRequest{State: arg}
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
	sel, err := x.selection()
	if err != nil {
		return err
	}
	list, meta, err := catalog.ListInstances.Call(x.ctx, x.s.cfg.Caller, h, req)
	if err != nil {
		return err
	}
	out, err := pick(sel, orEmpty(list), func(i *catalog.Instance) map[string]string { return i.Node.Meta }, fixInstance)
	if err != nil {
		return err
	}
	x.meta(&meta)
	return x.json(out)
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
