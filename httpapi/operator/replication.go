package operator

import (
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/replication"
)

// wantedRule is the body that makes a rule.
type wantedRule struct {
	Datacenter string
	Prefix     string
	// Target is Prefix where the body does not say it.
	Target *string
	Mode   string
	Force  bool
}

func (a *API) replications(x *rest.Exchange) error {
	list, err := rest.Ask(x, a.Caller, &replication.List, &op.Empty{})
	if err != nil {
		return err
	}
	list.Rules = rest.Some(list.Rules)
	return x.JSON(list)
}

func (a *API) replicate(x *rest.Exchange) error {
	var body wantedRule
	if err := x.Decode(&body); err != nil {
		return err
	}
	req := replication.CreateRequest{Datacenter: body.Datacenter, Prefix: body.Prefix, Target: body.Prefix, Mode: body.Mode, Force: body.Force}
	if body.Target != nil {
		req.Target = *body.Target
	}
	rule, err := rest.Ask(x, a.Caller, &replication.Create, &req)
	if err != nil {
		return err
	}
	return x.JSON(rule)
}

// changeReplication is the handler of a change of the rule whose target the body names.
func (a *API) changeReplication(change string) func(*rest.Exchange) error {
	return func(x *rest.Exchange) error {
		var body struct{ Target *string }
		if err := x.Decode(&body); err != nil {
			return err
		}
		if body.Target == nil {
			return rest.Refuse(http.StatusBadRequest, "Missing Target: the prefix that keys are copied to")
		}
		h, err := x.Current()
		if err != nil {
			return err
		}
		_, meta, err := replication.Change.Call(x.Ctx, a.Caller, h, &replication.ChangeRequest{Target: *body.Target, Change: change})
		if err != nil {
			return err
		}
		x.Datacenter(&meta)
		return x.Truth(true)
	}
}
