// Package kv is the key/value store over HTTP. Which writes win is decided behind its
// Caller.
package kv

import (
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
	// MaxValueSize of a key in bytes.
	MaxValueSize int
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/kv/", Get: a.get, Put: a.put, Delete: a.delete, Blocks: true},
	}
}

// get answers one entry, the entries below a prefix or the keys below it.
func (a *API) get(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	switch {
	case x.Has("keys"):
		return a.keys(x)
	case x.Has("recurse"):
		return a.list(x)
	}
	if x.Rest == "" {
		return rest.Refuse(http.StatusBadRequest, "Missing key name")
	}
	e, reply, err := kv.Get.Ask(x.Ctx, a.Caller, h, &kv.GetRequest{Key: x.Rest})
	if err != nil {
		return err
	}
	x.Meta(&reply.Meta)
	if e == nil {
		return x.Missing()
	}
	if x.Has("raw") {
		return x.Raw(e.Value)
	}
	buf := x.Buffer()
	defer x.Release(buf)
	b := append(buf.AvailableBuffer(), '[')
	b = append(AppendEntry(b, e), ']')
	buf.Write(b) // so that its memory is kept
	return x.JSONBytes(http.StatusOK, b)
}

// conditions reads what a write depends on.
func conditions(x *rest.Exchange, names ...string) (only string, err error) {
	for _, name := range names {
		if !x.Has(name) {
			continue
		}
		if only != "" {
			return "", rest.Refuse(http.StatusBadRequest, "Conflicting flags: "+only+" and "+name+" cannot be used together")
		}
		only = name
	}
	return only, nil
}

func (a *API) put(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	if x.Rest == "" {
		return rest.Refuse(http.StatusBadRequest, "Missing key name")
	}
	req := &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: x.Rest}}
	if err := setConditions(x, req); err != nil {
		return err
	}
	if req.Entry.Value, err = x.Body(int64(a.MaxValueSize)); err != nil {
		return err
	}
	res, meta, err := kv.Apply.Call(x.Ctx, a.Caller, h, req)
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.Truth(res != nil && res.OK)
}

// setConditions reads what a set depends on, and its flags.
func setConditions(x *rest.Exchange, req *kv.ApplyRequest) error {
	only, err := conditions(x, "cas", "acquire", "release")
	if err != nil {
		return err
	}
	if req.Entry.Flags, _, err = x.Number("flags"); err != nil {
		return err
	}
	switch only {
	case "cas":
		req.Verb = kv.CAS
		req.Entry.ModifyIndex, _, err = x.Number("cas")
		return err
	case "acquire", "release":
		if req.Entry.Session = x.Get(only); req.Entry.Session == "" {
			return rest.Refuse(http.StatusBadRequest, "Missing session")
		}
		req.Verb = kv.Lock
		if only == "release" {
			req.Verb = kv.Unlock
		}
	}
	return nil
}

func (a *API) delete(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	req := &kv.ApplyRequest{Verb: kv.Delete, Entry: kv.Entry{Key: x.Rest}}
	only, err := conditions(x, "recurse", "cas")
	if err != nil {
		return err
	}
	switch {
	case only == "recurse":
		req.Verb = kv.DeleteTree
	case x.Rest == "":
		return rest.Refuse(http.StatusBadRequest, "Missing key name")
	case only == "cas":
		req.Verb = kv.DeleteCAS
		if req.Entry.ModifyIndex, _, err = x.Number("cas"); err != nil {
			return err
		}
	}
	res, meta, err := kv.Apply.Call(x.Ctx, a.Caller, h, req)
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.Truth(res != nil && res.OK)
}
