// Package acl is access control over HTTP: tokens, policies, roles, auth methods and
// binding rules, and what the rules that are built in make of a name.
//
// It decides nothing: rights are asked by the operations that it calls, and by the
// agent's Authorizer for what needs no datacenter.
package acl

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
	// Config is the acl block. Without access control every route refuses.
	Config config.ACL
	// NodeName and Datacenter of the agent.
	NodeName, Datacenter string
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	rows := []rest.Route{
		{Path: "/v1/acl/bootstrap", Put: a.bootstrap},
		{Path: "/v1/acl/login", Post: a.login},
		{Path: "/v1/acl/logout", Post: a.logout},
		{Path: "/v1/acl/replication", Get: a.replication},
		{Path: "/v1/acl/policies", Get: a.policies, Blocks: true},
		{Path: "/v1/acl/policy", Put: a.createPolicy},
		{Path: "/v1/acl/policy/", Get: a.policy, Put: a.updatePolicy, Delete: a.deletePolicy, Blocks: true},
		{Path: "/v1/acl/policy/name/", Get: a.policyByName, Blocks: true},
		{Path: "/v1/acl/roles", Get: a.roles, Blocks: true},
		{Path: "/v1/acl/role", Put: a.createRole},
		{Path: "/v1/acl/role/name/", Get: a.roleByName, Blocks: true},
		{Path: "/v1/acl/role/", Get: a.role, Put: a.updateRole, Delete: a.deleteRole, Blocks: true},
		{Path: "/v1/acl/binding-rules", Get: a.bindings, Blocks: true},
		{Path: "/v1/acl/binding-rule", Put: a.createBinding},
		{Path: "/v1/acl/binding-rule/", Get: a.binding, Put: a.updateBinding, Delete: a.deleteBinding, Blocks: true},
		{Path: "/v1/acl/auth-methods", Get: a.methods, Blocks: true},
		{Path: "/v1/acl/auth-method", Put: a.createMethod},
		{Path: "/v1/acl/auth-method/", Get: a.method, Put: a.updateMethod, Delete: a.deleteMethod, Blocks: true},
		{Path: "/v1/acl/tokens", Get: a.tokens, Blocks: true},
		{Path: "/v1/acl/token", Put: a.createToken},
		{Path: "/v1/acl/token/self", Get: a.self, Blocks: true},
		{Path: "/v1/acl/token/", Get: a.token, Put: a.updateToken, Delete: a.deleteToken, Blocks: true},
		{Path: "/v1/acl/token/*/clone", Put: a.cloneToken},
		{Path: "/v1/acl/templated-policies", Get: a.templates},
		{Path: "/v1/acl/templated-policy/name/", Get: a.template},
		{Path: "/v1/acl/templated-policy/preview/", Post: a.preview},
		{Path: "/v1/internal/acl/authorize", Post: a.authorize},
		{Path: "/v1/internal/acl/rules", Post: a.readRules},
	}
	if !a.Config.Enabled {
		for i := range rows {
			refuse(&rows[i])
		}
	}
	return rows
}

// refuse answers a row's methods as clients know it of an agent without access control.
func refuse(row *rest.Route) {
	disabled := func(*rest.Exchange) error {
		return rest.Reasoned(http.StatusUnauthorized, op.CodeUnsupported.String(), acl.ErrDisabled.Text)
	}
	for _, h := range []*rest.Handler{&row.Get, &row.Put, &row.Post, &row.Delete} {
		if *h != nil {
			*h = disabled
		}
	}
	row.Blocks = false
}

// read asks for what the datacenter has, and says of the answer what is to be said.
func read[Req, Res any](a *API, x *rest.Exchange, o *op.Read[Req, Res], req *Req) (*Res, error) {
	h, err := x.Header()
	if err != nil {
		return nil, err
	}
	res, meta, err := o.Call(x.Ctx, a.Caller, h, req)
	if err == nil {
		meta.Filtered = false // secrets are hidden here, but no record is
		x.Meta(&meta)
	}
	return res, err
}

// nameOf is the name at the end of a path. The official client escapes it twice.
func nameOf(x *rest.Exchange, missing string) (string, error) {
	name, err := x.Argument(missing)
	if err != nil {
		return "", err
	}
	if name, err = url.QueryUnescape(name); err != nil {
		return "", rest.Reasoned(http.StatusBadRequest, "invalid", "Invalid URL path: "+err.Error())
	}
	return name, nil
}

// list answers with all that an operation finds, in a shape.
func list[Req any, List ~[]T, T, Shape any](a *API, x *rest.Exchange, o *op.Read[Req, List], req *Req, shape func(*T) Shape) error {
	found, err := read(a, x, o, req)
	if err != nil {
		return err
	}
	out := []Shape{}
	for i := range rest.OrEmpty(found) {
		out = append(out, shape(&(*found)[i]))
	}
	return x.JSON(out)
}

// same is the shape of records that are shown as they are.
func same[T any](v *T) *T { return v }

// write carries a change out.
func write[Req, Res any](a *API, x *rest.Exchange, o *op.Write[Req, Res], req *Req) (*Res, error) {
	h, err := x.Current()
	if err != nil {
		return nil, err
	}
	res, meta, err := o.Call(x.Ctx, a.Caller, h, req)
	x.Datacenter(&meta)
	return res, err
}

// remove carries a deletion out. That there was nothing is no error.
func remove[Req any](a *API, x *rest.Exchange, o *op.Write[Req, op.Empty], req *Req) error {
	if _, err := write(a, x, o, req); err != nil {
		return err
	}
	return x.Truth(true)
}

// named takes the ID or name of what is changed from the path. The body may repeat it.
func named(x *rest.Exchange, given *string, what string) error {
	arg, err := x.Argument("Missing " + what)
	if err != nil {
		return err
	}
	if *given != "" && !strings.EqualFold(*given, arg) {
		return rest.Refuse(http.StatusBadRequest, what+" in URL and payload do not match")
	}
	*given = arg
	return nil
}

// missing is the answer to who asks for what is not there. Clients match on the end of
// it, and take 404 for "there is none".
func missing(status int, what string) error {
	return rest.Reasoned(status, op.CodeNotFound.String(), what+" does not exist: "+acl.ErrNotFound.Text)
}
