// Package federation is the membership of datacenters over HTTP: how they see each
// other, and how one is added or leaves.
package federation

import (
	"context"
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/status"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
	// Server reports whether this agent is one, and so part of the federation.
	Server func() bool
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/federation/status", Get: a.status},
		{Path: "/v1/federation/leave", Put: a.Quit},
		{Path: "/v1/federation/primary", Get: a.primary},
		{Path: "/v1/federation/primary/", Put: a.move},
		{Path: "/v1/federation/datacenters", Get: a.datacenters},
		{Path: "/v1/federation/datacenters/", Put: a.change, Delete: a.change},
	}
}

// status shows how the federation is seen, and what the probes of the server
// that answers show: with ?local by that server alone, else by each datacenter.
func (a *API) status(x *rest.Exchange) error {
	local, err := x.Flag("local")
	if err != nil {
		return err
	}
	views, err := rest.Ask(x, a.Caller, &status.Federation, &status.FederationRequest{Each: !local, Probes: true})
	if err != nil {
		return err
	}
	return x.JSON(rest.Some(views.Views))
}

// datacenters lists the datacenters with their states, the server's own
// first.
func (a *API) datacenters(x *rest.Exchange) error {
	views, err := rest.Ask(x, a.Caller, &status.Federation, &status.FederationRequest{})
	if err != nil {
		return err
	}
	list := []status.Named{}
	for _, v := range views.Views {
		list = append(list, status.Named{Datacenter: v.Datacenter, State: status.Up})
		for _, l := range v.Links {
			if l.Datacenter == v.Datacenter { // by the others
				list[0].State, list[0].Reason = l.State, l.Reason
				continue
			}
			list = append(list, status.Named{Datacenter: l.Datacenter, State: l.State, Reason: l.Reason})
		}
	}
	return x.JSON(list)
}

func (a *API) change(x *rest.Exchange) error {
	req := status.Membership{Removed: true}
	var err error
	if x.R.Method == http.MethodDelete {
		req.Force, err = x.Flag("force")
	} else {
		err = x.Decode(&req)
	}
	if err != nil {
		return err
	}
	if req.Datacenter, err = x.Argument("Missing datacenter"); err != nil {
		return err
	}
	done, err := rest.Ask(x, a.Caller, &status.Change, &req)
	if err != nil {
		return err
	}
	done.Missed = rest.Some(done.Missed)
	return x.JSON(done)
}

// primary shows which datacenter is the home of what is global, and how the copies of
// all stand.
func (a *API) primary(x *rest.Exchange) error {
	all, err := rest.Ask(x, a.Caller, &acl.ShowHome, &op.Empty{})
	if err != nil {
		return err
	}
	return x.JSON(all)
}

// move makes the datacenter in the path the home; with ?force, or Force in a body, without
// the one that is.
func (a *API) move(x *rest.Exchange) error {
	force, err := x.Flag("force")
	req := acl.MoveRequest{Force: force}
	if err == nil && x.R.ContentLength > 0 {
		err = x.Decode(&req)
	}
	if err != nil {
		return err
	}
	to, err := x.Argument("Missing datacenter")
	if err != nil {
		return err
	}
	h, err := x.Current()
	if err != nil {
		return err
	}
	h.Datacenter = to
	done, _, err := acl.MoveHome.Call(context.WithoutCancel(x.Ctx), a.Caller, h, &req)
	if err != nil {
		return err
	}
	done.Missed = rest.Some(done.Missed)
	return x.JSON(done)
}

// Quit has servers leave the federation: this one, or all of the datacenter. It
// takes ?all or a body with All.
func (a *API) Quit(x *rest.Exchange) error {
	all, err := x.Flag("all")
	req := status.QuitRequest{All: all}
	if err == nil && x.R.ContentLength > 0 {
		err = x.Decode(&req)
	}
	switch {
	case err != nil:
		return err
	case !req.All && !a.Server():
		return rest.Refuse(http.StatusBadRequest, "this agent is a client and no part of the federation: ask a server, or have all of them leave (all)")
	}
	x.Ctx = context.WithoutCancel(x.Ctx)
	done, err := rest.Ask(x, a.Caller, &status.Quit, &req)
	if err != nil {
		return err
	}
	return x.JSON(&status.Changed{Told: done.Told, Missed: rest.Some(done.Missed)})
}
