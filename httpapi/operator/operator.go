// Package operator is what operators ask of the servers of a datacenter, over HTTP.
package operator

import (
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/state/status"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	all, wan := &status.KeyringChange, &status.KeyringWAN
	return []rest.Route{
		{Path: "/v1/operator/raft/configuration", Get: a.raft},
		{Path: "/v1/operator/raft/transfer-leader", Post: a.transferLeader, Put: a.transferLeader},
		{Path: "/v1/operator/raft/peer", Delete: a.removePeer},
		{Path: "/v1/operator/keyring", Get: a.keyringList, Post: a.keyringChanges(all, status.KeysInstall), Put: a.keyringChanges(all, status.KeysUse), Delete: a.keyringChanges(all, status.KeysRemove)},
		{Path: "/v1/operator/keyring/wan", Get: a.keyringWANList, Post: a.keyringChanges(wan, status.KeysInstall), Put: a.keyringChanges(wan, status.KeysUse), Delete: a.keyringChanges(wan, status.KeysRemove)},
		{Path: "/v1/operator/usage", Get: a.usage},
		{Path: "/v1/operator/clocks", Get: a.clocks},
		{Path: "/v1/operator/autopilot/configuration", Get: a.autopilotConfiguration, Put: a.configureAutopilot},
		{Path: "/v1/operator/autopilot/health", Get: a.autopilotHealth},
		{Path: "/v1/operator/autopilot/state", Get: a.autopilotState},
		{Path: "/v1/operator/kv-replication", Get: a.replications, Put: a.replicate},
		{Path: "/v1/operator/kv-replication/pause", Put: a.changeReplication(replication.Pause)},
		{Path: "/v1/operator/kv-replication/resume", Put: a.changeReplication(replication.Resume)},
		{Path: "/v1/operator/kv-replication/remove", Put: a.changeReplication(replication.Remove)},
	}
}

func (a *API) raft(x *rest.Exchange) error {
	conf, err := rest.Ask(x, a.Caller, &status.Raft, &op.Empty{})
	if err != nil {
		return err
	}
	return x.JSON(&status.RaftConfiguration{Servers: rest.Some(conf.Servers), Index: conf.Index})
}

func (a *API) removePeer(x *rest.Exchange) error {
	peer := status.Peer{ID: x.Get("id"), Address: x.Get("address")}
	if (peer.ID == "") == (peer.Address == "") {
		return rest.Refuse(http.StatusBadRequest, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove")
	}
	_, err := rest.Ask(x, a.Caller, &status.RemovePeer, &peer)
	return err
}

// transferred is the answer to transfer-leader.
type transferred struct{ Success bool }

func (a *API) transferLeader(x *rest.Exchange) error {
	if _, err := rest.Ask(x, a.Caller, &status.TransferLeader, &status.Peer{ID: x.Get("id")}); err != nil {
		return err
	}
	return x.JSON(transferred{true})
}
