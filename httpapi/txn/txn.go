// Package txn is transactions over HTTP: it bounds them in size and number of
// operations; what they do is decided behind its Caller.
package txn

import (
	"fmt"
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/txn"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
	// MaxValueSize of a key and MaxTxnSize of a body, in bytes.
	MaxValueSize, MaxTxnSize int
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/txn", Put: a.put},
	}
}

// txnAnswer is a transaction's result in the shape that clients know.
type txnAnswer struct {
	Results         []txn.Item
	Errors          []txn.Error
	*rest.QueryMeta // of what was read
}

func (a *API) put(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	req := &txn.Request{}
	if err := a.decodeTxn(x, req); err != nil {
		return err
	}
	for i := range req.Ops {
		if n := req.Ops[i].Node; n != nil && n.Node.Datacenter == "" {
			n.Node.Datacenter = x.Target(&h, "")
		}
	}
	var res *txn.Result
	var about *rest.QueryMeta
	if req.ReadOnly() {
		found, meta, err := txn.Read.Call(x.Ctx, a.Caller, h, req)
		if err != nil {
			return err
		}
		x.Meta(&meta)
		read := rest.QueryMetaOf(&meta)
		res, about = found, &read
	} else {
		done, meta, err := txn.Apply.Call(x.Ctx, a.Caller, h, req)
		if err != nil {
			return err
		}
		x.Datacenter(&meta)
		res = done
	}
	if res == nil {
		res = &txn.Result{}
	}
	if len(res.Errors) > 0 {
		return x.JSONStatus(http.StatusConflict, txnAnswer{Errors: res.Errors, QueryMeta: about})
	}
	return x.JSON(txnAnswer{Results: shownItems(res.Results), QueryMeta: about})
}

// decodeTxn reads the operations, within the limits of a transaction.
func (a *API) decodeTxn(x *rest.Exchange, req *txn.Request) error {
	b, err := x.BodyWithin(int64(max(a.MaxTxnSize, a.MaxValueSize)), "limits.txn_max_req_len")
	if err != nil {
		return err
	}
	if err := rest.DecodeJSON(b, &req.Ops); err != nil {
		return err
	}
	if n := len(req.Ops); n > txn.MaxOps {
		return rest.Reasoned(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("Transaction contains too many operations (%d > %d)", n, txn.MaxOps))
	}
	for i := range req.Ops {
		if o := req.Ops[i].KV; o != nil && len(o.Value) > a.MaxValueSize {
			return rest.Reasoned(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("Value for key %q is too large (%d > %d bytes)", o.Key, len(o.Value), a.MaxValueSize))
		}
	}
	return nil
}

// shownItems gives items the shape that clients know: unlike in other answers, tags
// that are none are null.
func shownItems(items []txn.Item) []txn.Item {
	out := make([]txn.Item, 0, len(items))
	for _, it := range items {
		switch {
		case it.KV != nil && len(it.KV.Value) == 0:
			e := *it.KV
			e.Value = nil // null, not ""
			it.KV = &e
		case it.Node != nil:
			n := *it.Node
			rest.FixNode(&n)
			it.Node = &n
		case it.Service != nil:
			s := *it.Service
			s.Tags, s.Meta = noneIsNull(s.Tags), rest.OrNull(s.Meta)
			it.Service = &s
		case it.Check != nil:
			c := *it.Check
			c.ServiceTags = noneIsNull(c.ServiceTags)
			it.Check = &c
		}
		out = append(out, it)
	}
	return out
}

func noneIsNull(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}
