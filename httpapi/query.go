package httpapi

import (
	"net"
	"net/http"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
)

func queryList(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	list, meta, err := query.List.Call(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.meta(&meta)
	return x.json(some(orEmpty(list)))
}

func queryCreate(x *exchange) error {
	res, err := querySet(x, &query.Create)
	if err != nil {
		return err
	}
	return x.json(struct{ ID string }{res.ID})
}

func queryUpdate(x *exchange) error {
	_, err := x.argument("Missing query ID")
	if err == nil {
		_, err = querySet(x, &query.Update)
	}
	if err == nil {
		x.empty(http.StatusOK)
	}
	return err
}

// querySet writes the query of the body under the ID of the path.
func querySet(x *exchange, o *op.Write[query.SetRequest, query.SetResult]) (*query.SetResult, error) {
	req := &query.SetRequest{}
	h, err := x.current()
	if err != nil {
		return nil, err
	}
	if err := x.decode(&req.Query); err != nil {
		return nil, err
	}
	if x.rest == "" && req.Query.ID != "" {
		return nil, refuse(http.StatusBadRequest, "ID must be empty when a prepared query is created")
	}
	req.Query.ID = x.rest
	res, meta, err := o.Call(x.ctx, x.s.cfg.Caller, h, req)
	x.datacenter(&meta)
	return res, err
}

func queryDelete(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	id, err := x.argument("Missing query ID")
	if err != nil {
		return err
	}
	_, meta, err := query.Delete.Call(x.ctx, x.s.cfg.Caller, h, &query.IDRequest{ID: id})
	if err == nil {
		x.datacenter(&meta)
		x.empty(http.StatusOK)
	}
	return err
}

func queryGet(x *exchange) error {
	return queryShow(x, &query.Get, &query.IDRequest{ID: x.rest}, func(q query.Queries) any { return q })
}

func queryExplain(x *exchange) error {
	return queryShow(x, &query.Explain, &query.NameRequest{Name: x.rest}, func(q query.Queries) any { return struct{ Query query.Query }{q[0]} })
}

func queryShow[Req any](x *exchange, o *op.Read[Req, query.Queries], req *Req, shape func(query.Queries) any) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	list, meta, err := o.Call(x.ctx, x.s.cfg.Caller, h, req)
	if err != nil {
		return err
	}
	x.meta(&meta)
	switch {
	case len(orEmpty(list)) > 0:
		return x.json(shape(*list))
	case meta.Filtered:
		return reasoned(http.StatusForbidden, op.CodeDenied.String(), "Permission denied: token lacks permission 'query:read'")
	}
	return reasoned(http.StatusNotFound, op.CodeNotFound.String(), "Query not found")
}

func queryExecute(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	if op.Wide(h.Datacenter) {
		return reasoned(http.StatusBadRequest, op.CodeInvalid.String(), "a prepared query is executed in one datacenter, and says itself which others stand in: "+
			"in its Service.Failover.Datacenters, "+op.Nearest+" is all others by distance")
	}
	if mesh, err := x.flag("connect"); mesh {
		return noMesh(x)
	} else if err != nil {
		return err
	}
	limit, _, err := x.number("limit")
	if err != nil {
		return err
	}
	req := &query.ExecuteRequest{Name: x.rest, Limit: limit, Agent: x.s.cfg.NodeName, AgentDatacenter: x.s.cfg.Datacenter}
	req.Address, _, _ = net.SplitHostPort(x.r.RemoteAddr) // none of a client on a Unix socket
	res, meta, err := query.Execute.Call(x.ctx, x.s.cfg.Caller, h, req)
	if err != nil {
		return err
	}
	x.meta(&meta)
	if res.Nodes, err = pick(&selection{}, res.Nodes, nil, fixInstance); err != nil {
		return err
	}
	res.Nodes = *x.seen(&res.Nodes, &op.Meta{Datacenter: res.Datacenter}).(*catalog.Instances)
	return x.json(res)
}
