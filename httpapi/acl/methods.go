package acl

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/catalog"
)

// methodBody is an auth method as clients send it.
type methodBody struct {
	acl.Method
	MaxTokenTTL catalog.Duration
	Config      json.RawMessage
}

// methodEntry is an auth method in a list: without its configuration.
type methodEntry struct {
	*acl.Method
	MaxTokenTTL string `json:",omitempty"`
}

// shownMethod is an auth method as clients see it.
type shownMethod struct {
	methodEntry
	Config json.RawMessage
}

func entryOf(m *acl.Method) methodEntry {
	e := methodEntry{Method: m}
	if m.MaxTokenTTL != 0 {
		e.MaxTokenTTL = m.MaxTokenTTL.String()
	}
	return e
}

func showMethod(x *rest.Exchange, m *acl.Method) error {
	return x.JSON(shownMethod{entryOf(m), m.Config})
}

func (a *API) methods(x *rest.Exchange) error {
	return list(a, x, &acl.ListMethods, &op.Empty{}, entryOf)
}

func (a *API) method(x *rest.Exchange) error {
	name, err := nameOf(x, "Missing auth method name")
	if err != nil {
		return err
	}
	m, err := read(a, x, &acl.GetMethod, &acl.NamedRequest{Name: name})
	switch {
	case err != nil:
		return err
	case m == nil:
		return missing(http.StatusNotFound, "auth method")
	}
	return showMethod(x, m)
}

func (a *API) createMethod(x *rest.Exchange) error {
	return a.setMethod(x, &acl.SetMethodRequest{Create: true})
}

func (a *API) updateMethod(x *rest.Exchange) error { return a.setMethod(x, &acl.SetMethodRequest{}) }

func (a *API) setMethod(x *rest.Exchange, req *acl.SetMethodRequest) error {
	var body methodBody
	if err := x.Decode(&body); err != nil {
		return err
	}
	config := bytes.TrimSpace(body.Config)
	switch {
	case len(config) == 0 || bytes.Equal(config, []byte("null")):
		config = nil
	case config[0] != '{':
		return rest.Reasoned(http.StatusBadRequest, "invalid", "Request decode failed: Config: want an object")
	}
	req.Method = body.Method
	req.Method.MaxTokenTTL, req.Method.Config = time.Duration(body.MaxTokenTTL), config
	if !req.Create {
		if err := named(x, &req.Method.Name, "Auth Method name"); err != nil {
			return err
		}
	}
	m, err := write(a, x, &acl.SetMethod, req)
	if err != nil {
		return err
	}
	return showMethod(x, m)
}

func (a *API) deleteMethod(x *rest.Exchange) error {
	name, err := nameOf(x, "Missing auth method name")
	if err != nil {
		return err
	}
	return remove(a, x, &acl.DeleteMethod, &acl.NamedRequest{Name: name})
}

func (a *API) bindings(x *rest.Exchange) error {
	return list(a, x, &acl.ListBindings, &acl.BindingsRequest{AuthMethod: x.Get("authmethod")}, same[acl.Binding])
}

func (a *API) binding(x *rest.Exchange) error {
	id, err := x.Argument("Missing binding rule ID")
	if err != nil {
		return err
	}
	b, err := read(a, x, &acl.GetBinding, &acl.NamedRequest{ID: id})
	switch {
	case err != nil:
		return err
	case b == nil:
		return missing(http.StatusNotFound, "binding rule")
	}
	return x.JSON(b)
}

func (a *API) createBinding(x *rest.Exchange) error {
	return a.setBinding(x, &acl.SetBindingRequest{Create: true})
}

func (a *API) updateBinding(x *rest.Exchange) error { return a.setBinding(x, &acl.SetBindingRequest{}) }

func (a *API) setBinding(x *rest.Exchange, req *acl.SetBindingRequest) error {
	if err := x.Decode(&req.Binding); err != nil {
		return err
	}
	if !req.Create {
		if err := named(x, &req.Binding.ID, "Binding rule ID"); err != nil {
			return err
		}
	}
	b, err := write(a, x, &acl.SetBinding, req)
	if err != nil {
		return err
	}
	return x.JSON(b)
}

func (a *API) deleteBinding(x *rest.Exchange) error {
	id, err := x.Argument("Missing binding rule ID")
	if err != nil {
		return err
	}
	return remove(a, x, &acl.DeleteBinding, &acl.NamedRequest{ID: id})
}
