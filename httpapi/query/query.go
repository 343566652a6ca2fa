// Package query is prepared queries over HTTP. Where one is executed is decided behind
// its Caller.
package query

import (
	"net"
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
	// NodeName and Datacenter say where "near the agent" is.
	NodeName, Datacenter string
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/query", Get: a.list, Post: a.create, Blocks: true},
		{Path: "/v1/query/", Get: a.get, Put: a.update, Delete: a.delete, Blocks: true},
		{Path: "/v1/query/*/execute", Get: a.execute, Blocks: true},
		{Path: "/v1/query/*/explain", Get: a.explain, Blocks: true},
	}
}

func (a *API) list(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	list, meta, err := query.List.Call(x.Ctx, a.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.Meta(&meta)
	return x.JSON(shown(rest.OrEmpty(list)))
}

func (a *API) create(x *rest.Exchange) error {
	res, err := a.set(x, &query.Create)
	if err != nil {
		return err
	}
	return x.JSON(struct{ ID string }{res.ID})
}

func (a *API) update(x *rest.Exchange) error {
	_, err := x.Argument("Missing query ID")
	if err == nil {
		_, err = a.set(x, &query.Update)
	}
	if err == nil {
		x.Empty(http.StatusOK)
	}
	return err
}

// set writes the query of the body under the ID of the path.
func (a *API) set(x *rest.Exchange, o *op.Write[query.SetRequest, query.SetResult]) (*query.SetResult, error) {
	req := &query.SetRequest{}
	h, err := x.Current()
	if err != nil {
		return nil, err
	}
	if err := x.Decode(&req.Query); err != nil {
		return nil, err
	}
	if x.Rest == "" && req.Query.ID != "" {
		return nil, rest.Refuse(http.StatusBadRequest, "ID must be empty when a prepared query is created")
	}
	req.Query.ID = x.Rest
	res, meta, err := o.Call(x.Ctx, a.Caller, h, req)
	x.Datacenter(&meta)
	return res, err
}

func (a *API) delete(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	id, err := x.Argument("Missing query ID")
	if err != nil {
		return err
	}
	_, meta, err := query.Delete.Call(x.Ctx, a.Caller, h, &query.IDRequest{ID: id})
	if err == nil {
		x.Datacenter(&meta)
		x.Empty(http.StatusOK)
	}
	return err
}

func (a *API) get(x *rest.Exchange) error {
	return show(x, a.Caller, &query.Get, &query.IDRequest{ID: x.Rest}, func(q query.Queries) any { return q })
}

func (a *API) explain(x *rest.Exchange) error {
	return show(x, a.Caller, &query.Explain, &query.NameRequest{Name: x.Rest}, func(q query.Queries) any { return struct{ Query query.Query }{q[0]} })
}

// show answers with what an operation finds of a query, in a shape.
func show[Req any](x *rest.Exchange, caller op.Caller, o *op.Read[Req, query.Queries], req *Req, shape func(query.Queries) any) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	list, meta, err := o.Call(x.Ctx, caller, h, req)
	if err != nil {
		return err
	}
	x.Meta(&meta)
	switch {
	case len(rest.OrEmpty(list)) > 0:
		return x.JSON(shape(shown(*list)))
	case meta.Filtered:
		a, err := x.Authorizer()
		if err != nil {
			return err
		}
		return &rules.DeniedError{Who: a.Who(), Resource: rules.Query, Access: rules.Read, Name: x.Rest}
	}
	return rest.Reasoned(http.StatusNotFound, op.CodeNotFound.String(), "Query not found")
}

func (a *API) execute(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	if op.IsFanOut(h.Datacenter) {
		return rest.Reasoned(http.StatusBadRequest, op.CodeInvalid.String(), "a prepared query is executed in one datacenter, and says itself which others stand in: "+
			"in its Service.Failover.Datacenters, "+op.Nearest+" is all others by distance")
	}
	connect, err := x.Flag("connect")
	if err != nil {
		return err
	}
	limit, _, err := x.Number("limit")
	if err != nil {
		return err
	}
	req := &query.ExecuteRequest{Name: x.Rest, Limit: limit, Connect: connect, Agent: a.NodeName, AgentDatacenter: a.Datacenter}
	req.Address, _, _ = net.SplitHostPort(x.R.RemoteAddr) // none of a client on a Unix socket
	res, meta, err := query.Execute.Call(x.Ctx, a.Caller, h, req)
	if err != nil {
		return err
	}
	x.Meta(&meta)
	if res.Nodes, err = rest.Pick(&rest.Selection{}, res.Nodes, nil, rest.FixInstance); err != nil {
		return err
	}
	res.Nodes = *x.Seen(&res.Nodes, &op.Meta{Datacenter: res.Datacenter}).(*catalog.Instances)
	return x.JSON(shownAnswer{res, rest.QueryMetaOf(&meta)})
}
