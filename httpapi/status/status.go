// Package status tells over HTTP who leads a datacenter and who votes in it.
package status

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
		{Path: "/v1/status/leader", Get: a.leader},
		{Path: "/v1/status/peers", Get: a.peers},
	}
}

func (a *API) leader(x *rest.Exchange) error {
	leader, err := rest.Ask(x, a.Caller, &status.Leader, &op.Empty{})
	if err != nil {
		return err
	}
	return x.JSON(leader.Text)
}

func (a *API) peers(x *rest.Exchange) error {
	peers, err := rest.Ask(x, a.Caller, &status.Peers, &op.Empty{})
	if err != nil {
		return err
	}
	return x.JSON(rest.Some(peers.Texts))
}
