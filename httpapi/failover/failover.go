// Package failover is over HTTP which datacenters stand in for services of this one, and why
// a service is answered from where it is.
package failover

import (
	"net/http"
	"strings"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	acl "github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/failover"
)

// API is what the area depends on.
type API struct {
	Caller     op.Caller
	Datacenter string
	// Rule returns the rule that this agent answers by, nil for none; it is nil in agents that
	// follow none.
	Rule func(service string) *failover.Rule
	// Configured is the failover of dns_config, by service, and OnlyPassing what else that says.
	Configured func() (failover map[string][]string, onlyPassing bool)
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/failover", Get: a.list, Blocks: true},
		{Path: "/v1/failover/", Put: a.set, Delete: a.remove},
		{Path: "/v1/failover/explain/", Get: a.explain},
	}
}

func (a *API) list(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	list, meta, err := failover.List.Call(x.Ctx, a.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	rules := failover.Rules{}
	if list != nil {
		rules = append(rules, *list...)
	}
	x.Meta(&meta)
	return x.JSON(rules)
}

func (a *API) set(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	name, err := x.Argument("Missing service name")
	if err != nil {
		return err
	}
	var body struct{ Datacenters []string }
	if err := x.Decode(&body); err != nil {
		return err
	}
	rule, meta, err := failover.Set.Call(x.Ctx, a.Caller, h, &failover.Rule{Service: name, Datacenters: body.Datacenters})
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.JSON(rule)
}

func (a *API) remove(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	name, err := x.Argument("Missing service name")
	if err != nil {
		return err
	}
	res, meta, err := failover.Delete.Call(x.Ctx, a.Caller, h, &failover.ServiceRequest{Service: name})
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.Truth(res != nil && res.Deleted)
}

func (a *API) explain(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	name, err := x.Argument("Missing service name")
	if err != nil {
		return err
	}
	if h.Datacenter != "" && h.Datacenter != a.Datacenter {
		return rest.Refuse(http.StatusBadRequest, "this explains what agents of "+a.Datacenter+" answer: ask an agent of "+h.Datacenter)
	}
	name = strings.ToLower(name)
	if err := x.Require(acl.Service, acl.Read, name); err != nil {
		return err
	}
	why, err := a.reasons(x.Ctx, h.Token, name)
	if err != nil {
		return err
	}
	return x.JSON(why)
}
