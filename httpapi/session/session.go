// Package session is sessions over HTTP: what a client leaves out is filled in here.
package session

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
	// NodeName is the node of sessions that name none, Datacenter where it is.
	NodeName, Datacenter string
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/session/create", Put: a.create},
		{Path: "/v1/session/destroy/", Put: a.destroy},
		{Path: "/v1/session/renew/", Put: a.renew},
		{Path: "/v1/session/info/", Get: a.info, Blocks: true},
		{Path: "/v1/session/node/", Get: a.node, Blocks: true},
		{Path: "/v1/session/list", Get: a.list, Blocks: true},
		{Path: "/v1/session/keys/", Get: a.keys, Blocks: true},
	}
}

func (a *API) create(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	b, err := x.Body(rest.MaxBody)
	if err != nil {
		return err
	}
	var body Session
	if len(bytes.TrimSpace(b)) > 0 {
		if err := rest.DecodeJSON(b, &body); err != nil {
			return err
		}
	}
	req := &session.CreateRequest{Session: body.Session(a, cmp.Or(h.Datacenter, a.Datacenter))}
	create := &session.Create
	if req.Session.NodeDatacenter != "" {
		create = &session.Bind
	}
	res, meta, err := create.Call(x.Ctx, a.Caller, h, req)
	if op.CodeOf(err) == op.CodeInvalid { // clients know these as 500
		return rest.Reasoned(http.StatusInternalServerError, op.CodeInvalid.String(), op.AsError(err).Text)
	}
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.JSON(struct{ ID string }{res.ID})
}

func (a *API) destroy(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	id, err := x.Argument("Missing session")
	if err != nil {
		return err
	}
	_, meta, err := session.Destroy.Call(x.Ctx, a.Caller, h, &session.DestroyRequest{ID: id})
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.Truth(true)
}

func (a *API) renew(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	id, err := x.Argument("Missing session")
	if err != nil {
		return err
	}
	found, meta, err := session.Renew.Call(x.Ctx, a.Caller, h, &session.IDRequest{ID: id})
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.JSON(shownSessions(&session.Sessions{*found}))
}

func (a *API) info(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	id, err := x.Argument("Missing session")
	if err != nil {
		return err
	}
	list, meta, err := session.Get.Call(x.Ctx, a.Caller, h, &session.IDRequest{ID: id})
	return a.sessions(x, list, &meta, err)
}

func (a *API) node(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	node, err := x.Argument("Missing node name")
	if err != nil {
		return err
	}
	list, meta, err := session.ListNode.Call(x.Ctx, a.Caller, h, &session.NodeRequest{Node: node})
	return a.sessions(x, list, &meta, err)
}

func (a *API) list(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	list, meta, err := session.List.Call(x.Ctx, a.Caller, h, &op.Empty{})
	return a.sessions(x, list, &meta, err)
}

// keys answers what a session holds. As with info, a session that is none holds nothing.
func (a *API) keys(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	id, err := x.Argument("Missing session")
	if err != nil {
		return err
	}
	limit, given, err := x.Number("limit")
	switch {
	case err != nil:
		return err
	case given && (limit == 0 || limit > kv.MaxHeld):
		return rest.Refuse(http.StatusBadRequest, fmt.Sprintf("Invalid value for ?limit: want a number from 1 to %d", kv.MaxHeld))
	}
	held, meta, err := kv.ListHeld.Call(x.Ctx, a.Caller, h, &kv.HeldRequest{Session: id, Limit: int(limit)})
	if err != nil {
		return err
	}
	x.Meta(&meta)
	out := *cmp.Or(held, &kv.Held{})
	out.Keys = rest.Some(out.Keys)
	return x.JSON(&out)
}

// sessions answers a list of them, or the error of asking for it.
func (a *API) sessions(x *rest.Exchange, list *session.Sessions, meta *op.Meta, err error) error {
	if err != nil {
		return err
	}
	x.Meta(meta)
	return x.JSON(shownSessions(list))
}

// shownSessions is the list with [] for checks that are none: it may be shared,
// so it is copied.
func shownSessions(list *session.Sessions) session.Sessions {
	out := session.Sessions{}
	for _, s := range rest.OrEmpty(list) {
		s.NodeChecks = rest.Some(s.NodeChecks)
		out = append(out, s)
	}
	return out
}
