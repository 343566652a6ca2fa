package httpapi

import (
	"bytes"
	"net/http"

	"github.com/legate-project/legate/httpapi/shape"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/session"
)

func sessionCreate(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	b, err := x.body(maxBody)
	if err != nil {
		return err
	}
	var body shape.Session
	if len(bytes.TrimSpace(b)) > 0 {
		if err := decodeJSON(b, &body); err != nil {
			return err
		}
	}
	req := &session.CreateRequest{Session: body.Session(x.s.cfg.NodeName)}
	res, meta, err := session.Create.Call(x.ctx, x.s.cfg.Caller, h, req)
	if op.CodeOf(err) == op.CodeInvalid { // clients know these as 500
		return reasoned(http.StatusInternalServerError, op.CodeInvalid.String(), op.AsError(err).Text)
	}
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	return x.json(struct{ ID string }{res.ID})
}

func sessionDestroy(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	id, err := x.argument("Missing session")
	if err != nil {
		return err
	}
	_, meta, err := session.Destroy.Call(x.ctx, x.s.cfg.Caller, h, &session.DestroyRequest{ID: id})
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	return x.truth(true)
}

func sessionRenew(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	id, err := x.argument("Missing session")
	if err != nil {
		return err
	}
	found, meta, err := session.Renew.Call(x.ctx, x.s.cfg.Caller, h, &session.IDRequest{ID: id})
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	return x.json(shownSessions(&session.Sessions{*found}))
}

func sessionInfo(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	id, err := x.argument("Missing session")
	if err != nil {
		return err
	}
	list, meta, err := session.Get.Call(x.ctx, x.s.cfg.Caller, h, &session.IDRequest{ID: id})
	return x.sessions(list, &meta, err)
}

func sessionNode(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	node, err := x.argument("Missing node name")
	if err != nil {
		return err
	}
	list, meta, err := session.ListNode.Call(x.ctx, x.s.cfg.Caller, h, &session.NodeRequest{Node: node})
	return x.sessions(list, &meta, err)
}

func sessionList(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	list, meta, err := session.List.Call(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	return x.sessions(list, &meta, err)
}

// sessions answers a list of them, or the error of asking for it.
func (x *exchange) sessions(list *session.Sessions, meta *op.Meta, err error) error {
	if err != nil {
		return err
	}
	x.meta(meta)
	return x.json(shownSessions(list))
}

// shownSessions is the list with [] for checks that are none: it may be shared,
// so it is copied.
func shownSessions(list *session.Sessions) session.Sessions {
	out := session.Sessions{}
	for _, s := range orEmpty(list) {
		s.NodeChecks = some(s.NodeChecks)
		out = append(out, s)
	}
	return out
}
