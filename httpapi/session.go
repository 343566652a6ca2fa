package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/session"
)

// lockDelay is a delay as clients write it: text with a unit, or a number, of
// seconds below secondsBelow and else of nanoseconds.
type lockDelay time.Duration

const secondsBelow = 1000

// UnmarshalJSON implements json.Unmarshaler.
func (d *lockDelay) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
	case float64:
		if v < 0 || v > float64(session.MaxTTL) { // far above what is allowed; no overflow
			return fmt.Errorf("LockDelay %v is out of range", v)
		}
		if v < secondsBelow {
			v *= float64(time.Second)
		}
		*d = lockDelay(v)
	case string:
		t, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("LockDelay %q: use a number with a unit, such as 15s", v)
		}
		*d = lockDelay(t)
	default:
		return errors.New("LockDelay: use text such as \"15s\"")
	}
	return nil
}

// sessionBody is what a client sends to make a session. Nil is what it left out.
type sessionBody struct {
	Name          string
	Node          string
	LockDelay     *lockDelay
	Behavior      string
	TTL           string
	NodeChecks    []string
	Checks        []string // the old name of NodeChecks
	ServiceChecks []session.ServiceCheck
}

// session fills in what the client left out: the node is this one, its check
// what gossip says of it.
func (b *sessionBody) session(node string) session.Session {
	s := session.Session{Name: b.Name, Node: b.Node, LockDelay: session.DefaultLockDelay, Behavior: b.Behavior, TTL: b.TTL,
		NodeChecks: b.NodeChecks, ServiceChecks: b.ServiceChecks}
	if s.Node == "" {
		s.Node = node
	}
	if b.LockDelay != nil {
		s.LockDelay = time.Duration(*b.LockDelay)
	}
	switch {
	case s.NodeChecks != nil:
	case b.Checks != nil:
		s.NodeChecks = b.Checks
	default:
		s.NodeChecks = []string{catalog.SerfHealth}
	}
	return s
}

func sessionCreate(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	b, err := x.body(maxBody)
	if err != nil {
		return err
	}
	var body sessionBody
	if len(bytes.TrimSpace(b)) > 0 {
		if err := decodeJSON(b, &body); err != nil {
			return err
		}
	}
	req := &session.CreateRequest{Session: body.session(x.s.cfg.NodeName)}
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
