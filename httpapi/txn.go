package httpapi

import (
	"fmt"
	"net/http"

	"github.com/legate-project/legate/state/txn"
)

// txnAnswer is a transaction's result in the shape that clients know.
type txnAnswer struct {
	Results []txn.Item
	Errors  []txn.Error
}

func txnPut(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	req := &txn.Request{}
	if err := x.decodeTxn(req); err != nil {
		return err
	}
	for i := range req.Ops {
		if n := req.Ops[i].Node; n != nil && n.Node.Datacenter == "" {
			n.Node.Datacenter = x.target(&h, "")
		}
	}
	var res *txn.Result
	if req.ReadOnly() {
		found, meta, err := txn.Read.Call(x.ctx, x.s.cfg.Caller, h, req)
		if err != nil {
			return err
		}
		x.meta(&meta)
		res = found
	} else {
		done, meta, err := txn.Apply.Call(x.ctx, x.s.cfg.Caller, h, req)
		if err != nil {
			return err
		}
		x.datacenter(&meta)
		res = done
	}
	if res == nil {
		res = &txn.Result{}
	}
	if len(res.Errors) > 0 {
		return x.jsonStatus(http.StatusConflict, txnAnswer{Errors: res.Errors})
	}
	return x.json(txnAnswer{Results: shownItems(res.Results)})
}

// decodeTxn reads the operations, within the limits of a transaction.
func (x *exchange) decodeTxn(req *txn.Request) error {
	b, err := x.bodyWithin(int64(max(x.s.cfg.MaxTxnSize, x.s.cfg.MaxValueSize)), "limits.txn_max_req_len")
	if err != nil {
		return err
	}
	if err := decodeJSON(b, &req.Ops); err != nil {
		return err
	}
	if n := len(req.Ops); n > txn.MaxOps {
		return reasoned(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("Transaction contains too many operations (%d > %d)", n, txn.MaxOps))
	}
	for i := range req.Ops {
		if o := req.Ops[i].KV; o != nil && len(o.Value) > x.s.cfg.MaxValueSize {
			return reasoned(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("Value for key %q is too large (%d > %d bytes)", o.Key, len(o.Value), x.s.cfg.MaxValueSize))
		}
	}
	return nil
}

// shownItems gives items the shape that clients know.
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
			fixNode(&n)
			it.Node = &n
		case it.Service != nil:
			s := *it.Service
			fixService(&s)
			it.Service = &s
		case it.Check != nil:
			c := *it.Check
			fixCheck(&c)
			it.Check = &c
		}
		out = append(out, it)
	}
	return out
}
