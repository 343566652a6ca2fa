// Package operator is what operators ask of the servers of a datacenter, over HTTP.
package operator

import (
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/operator/raft/configuration", Get: a.raft},
		{Path: "/v1/operator/raft/transfer-leader", Later: "POST"},
		{Path: "/v1/operator/raft/peer", Later: "DELETE"},
		{Path: "/v1/operator/keyring", Later: "GET POST PUT DELETE"},
		{Path: "/v1/operator/usage", Later: "GET"},
		{Path: "/v1/operator/autopilot/configuration", Later: "GET PUT"},
		{Path: "/v1/operator/autopilot/health", Later: "GET"},
		{Path: "/v1/operator/autopilot/state", Later: "GET"},
	}
}

func (a *API) raft(x *rest.Exchange) error {
	conf, err := rest.Ask(x, a.Caller, &status.Raft, &op.Empty{})
	if err != nil {
		return err
	}
	return x.JSON(&status.RaftConfiguration{Servers: rest.Some(conf.Servers), Index: conf.Index})
}
