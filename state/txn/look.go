package txn

import (
	"errors"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
)

// lookAll carries out a transaction that only reads.
func lookAll(r storage.Reader, req *Request) (*Result, error) {
	return Run(req, func(o *Op) ([]Item, error) { return Look(r, o) })
}

// Run carries out the operations in order with the function. A *op.Error of it
// is the operation's; the others are carried out all the same, to say what is
// wrong with them. Any other error ends the transaction.
func Run(r *Request, each func(*Op) ([]Item, error)) (*Result, error) {
	res := &Result{Results: []Item{}}
	for i := range r.Ops {
		o := &r.Ops[i]
		if why := o.Wrong(); why != "" {
			res.Errors = append(res.Errors, Error{OpIndex: i, What: cut(why), op: o})
			continue
		}
		items, err := each(o)
		var failed *op.Error
		switch {
		case errors.As(err, &failed):
			res.Errors = append(res.Errors, Error{OpIndex: i, What: cut(failed.Text), op: o})
		case err != nil:
			return nil, err
		}
		res.Results = append(res.Results, items...)
	}
	if len(res.Errors) > 0 {
		res.Results, res.found = nil, res.Results
	}
	return res, nil
}

// maxWhat is how many bytes of text say what is wrong with one operation: names of
// any length may be in it.
const maxWhat = 1024

func cut(text string) string {
	if len(text) <= maxWhat {
		return text
	}
	return strings.ToValidUTF8(text[:maxWhat], "") + "…"
}

// failed is an operation's failure.
func failed(format string, args ...any) error { return op.Errorf(op.CodeConflict, format, args...) }

// Look carries out an operation that only reads.
func Look(r storage.Reader, o *Op) ([]Item, error) {
	switch {
	case o.KV != nil:
		return lookKV(r, o.KV)
	case o.Node != nil:
		n, err := catalog.FindNode(r, &o.Node.Node)
		if err == nil && n == nil {
			err = failed("node %q doesn't exist", orElse(o.Node.Node.Node, o.Node.Node.ID))
		}
		return item(Item{Node: n}, err)
	case o.Service != nil:
		s, err := catalog.FindService(r, o.Service.Node, orElse(o.Service.Service.ID, o.Service.Service.Service))
		if err == nil && s == nil {
			err = failed("service %q on node %q doesn't exist", o.Service.Service.ID, o.Service.Node)
		}
		return item(Item{Service: s}, err)
	}
	c, err := catalog.FindCheck(r, o.Check.Check.Node, orElse(o.Check.Check.CheckID, o.Check.Check.Name))
	if err == nil && c == nil {
		err = failed("check %q on node %q doesn't exist", o.Check.Check.CheckID, o.Check.Check.Node)
	}
	return item(Item{Check: c}, err)
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func item(it Item, err error) ([]Item, error) {
	if err != nil {
		return nil, err
	}
	return []Item{it}, nil
}

func lookKV(r storage.Reader, o *KVOp) ([]Item, error) {
	if o.Verb == GetTree {
		return tree(r, o.Key)
	}
	e, err := kv.Get.Query(r, &kv.GetRequest{Key: o.Key})
	if err != nil {
		return nil, err
	}
	switch {
	case o.Verb == CheckNotExists:
		if e != nil {
			return nil, failed("key %q exists", o.Key)
		}
		return nil, nil
	case e == nil && o.Verb == GetOrEmpty:
		return []Item{{KV: &kv.Entry{Key: o.Key}}}, nil
	case e == nil:
		return nil, failed("key %q doesn't exist", o.Key)
	}
	switch o.Verb {
	case CheckIndex:
		if e.ModifyIndex != o.Index {
			return nil, failed("failed index check for key %q, current modify index %d != %d", o.Key, e.ModifyIndex, o.Index)
		}
	case CheckSession:
		if !strings.EqualFold(e.Session, o.Session) {
			return nil, failed("failed session check for key %q, current session %q != %q", o.Key, e.Session, o.Session)
		}
	default:
		return []Item{{KV: e}}, nil
	}
	return []Item{Bare(e)}, nil
}

// Bare shows an entry without its value.
func Bare(e *kv.Entry) Item {
	bare := *e
	bare.Value = nil
	return Item{KV: &bare}
}

func tree(r storage.Reader, prefix string) ([]Item, error) {
	list, err := kv.List.Query(r, &kv.ListRequest{Prefix: prefix})
	if err != nil {
		return nil, err
	}
	items := make([]Item, len(*list))
	for i := range *list {
		items[i].KV = &(*list)[i]
	}
	return items, nil
}
