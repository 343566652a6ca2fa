package httpapi

import (
	"net/http"

	"github.com/legate-project/legate/httpapi/kvjson"
	"github.com/legate-project/legate/state/kv"
)

// kvGet answers one entry, the entries below a prefix or the keys below it.
func kvGet(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	if len(x.params) > 0 {
		switch {
		case x.has("keys"):
			return kvKeys(x)
		case x.has("recurse"):
			return kvList(x)
		}
	}
	if x.rest == "" {
		return refuse(http.StatusBadRequest, "Missing key name")
	}
	e, reply, err := kv.Get.Ask(x.ctx, x.s.cfg.Caller, h, &kv.GetRequest{Key: x.rest})
	if err != nil {
		return err
	}
	x.meta(&reply.Meta)
	if e == nil {
		x.empty(http.StatusNotFound)
		return nil
	}
	if len(x.params) > 0 && x.has("raw") {
		out := x.w.Header()
		out["Content-Type"], out["X-Content-Type-Options"], out["Content-Security-Policy"] = plainText, noSniff, sandbox
		x.write(http.StatusOK, e.Value)
		return nil
	}
	buf := x.buffer()
	defer x.release(buf)
	b := append(buf.AvailableBuffer(), '[')
	b = append(kvjson.AppendEntry(b, e), ']')
	buf.Write(b) // so that its memory is kept
	return x.jsonBytes(http.StatusOK, b)
}

// conditions reads what a write depends on.
func (x *exchange) conditions(names ...string) (only string, err error) {
	for _, name := range names {
		if !x.has(name) {
			continue
		}
		if only != "" {
			return "", refuse(http.StatusBadRequest, "Conflicting flags: "+only+" and "+name+" cannot be used together")
		}
		only = name
	}
	return only, nil
}

func kvPut(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	if x.rest == "" {
		return refuse(http.StatusBadRequest, "Missing key name")
	}
	req := &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: x.rest}}
	if len(x.params) > 0 {
		if err := kvConditions(x, req); err != nil {
			return err
		}
	}
	if req.Entry.Value, err = x.body(int64(x.s.cfg.MaxValueSize)); err != nil {
		return err
	}
	res, meta, err := kv.Apply.Call(x.ctx, x.s.cfg.Caller, h, req)
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	return x.truth(res != nil && res.OK)
}

func kvConditions(x *exchange, req *kv.ApplyRequest) error {
	only, err := x.conditions("cas", "acquire", "release")
	if err != nil {
		return err
	}
	if req.Entry.Flags, _, err = x.number("flags"); err != nil {
		return err
	}
	switch only {
	case "cas":
		req.Verb = kv.CAS
		req.Entry.ModifyIndex, _, err = x.number("cas")
		return err
	case "acquire", "release":
		if req.Entry.Session = x.get(only); req.Entry.Session == "" {
			return refuse(http.StatusBadRequest, "Missing session")
		}
		req.Verb = kv.Lock
		if only == "release" {
			req.Verb = kv.Unlock
		}
	}
	return nil
}

func kvDelete(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	req := &kv.ApplyRequest{Verb: kv.Delete, Entry: kv.Entry{Key: x.rest}}
	only, err := x.conditions("recurse", "cas")
	if err != nil {
		return err
	}
	switch {
	case only == "recurse":
		req.Verb = kv.DeleteTree
	case x.rest == "":
		return refuse(http.StatusBadRequest, "Missing key name")
	case only == "cas":
		req.Verb = kv.DeleteCAS
		if req.Entry.ModifyIndex, _, err = x.number("cas"); err != nil {
			return err
		}
	}
	res, meta, err := kv.Apply.Call(x.ctx, x.s.cfg.Caller, h, req)
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	return x.truth(res != nil && res.OK)
}
