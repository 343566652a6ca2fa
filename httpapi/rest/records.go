package rest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// Target sets which datacenter a registration is for: that of the query, else
// that of the body. It returns the name to store.
func (x *Exchange) Target(h *op.Header, body string) string {
	if h.Datacenter == "" {
		h.Datacenter = body
	}
	if h.Datacenter == "" {
		return x.api.cfg.Datacenter
	}
	return h.Datacenter
}

// List answers with what pick makes of a result. A whole result is rendered
// once for all who get the same.
func (x *Exchange) List(sel *Selection, reply *op.Reply, pick func() (any, error)) error {
	render := func() ([]byte, error) {
		out, err := pick()
		if err != nil {
			return nil, err
		}
		return json.Marshal(x.Seen(out, &reply.Meta))
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
	x.Meta(&reply.Meta)
	return x.JSONBytes(http.StatusOK, b)
}

// Seen is a result as this agent's clients reach what is in it: see catalog.From.
func (x *Exchange) Seen(result any, m *op.Meta) any {
	if !x.api.cfg.TranslateWAN || m.Datacenter == x.api.cfg.Datacenter {
		return result
	}
	return catalog.From(result, x.api.cfg.Datacenter, m.Datacenter)
}

// maxLabel is the longest part of a DNS name (RFC 1035, section 2.3.4).
const maxLabel = 63

// WarnName notes in the log when DNS cannot carry a name.
func (x *Exchange) WarnName(what, name string) {
	plain := func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if len(name) > maxLabel || strings.ContainsFunc(name, plain) {
		x.api.log.Warn("name cannot be looked up by DNS: it has other characters than letters, digits and dashes, or more than 63", what, name)
	}
}

// Ask calls what a server answers from what it holds itself, and sets the headers
// of the answer. A missing result is the zero one.
func Ask[Req, Res any](x *Exchange, caller op.Caller, o *op.Direct[Req, Res], req *Req) (*Res, error) {
	h, err := x.Current()
	if err != nil {
		return nil, err
	}
	res, meta, err := o.Call(x.Ctx, caller, h, req)
	if err != nil {
		return nil, err
	}
	x.Datacenter(&meta)
	if res == nil {
		res = new(Res)
	}
	return res, nil
}
