package operator

import (
	"net/http"
	"time"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
)

// serverHealth is one server in the answer about health, in the shape of Consul.
type serverHealth struct {
	ID          string
	Name        string
	Address     string
	SerfStatus  string
	Version     string
	Leader      bool
	LastContact catalog.Duration
	LastTerm    uint64
	LastIndex   uint64
	Healthy     bool
	Voter       bool
	StableSince time.Time
}

// clusterHealth is the answer about health.
type clusterHealth struct {
	Healthy          bool
	FailureTolerance int
	Servers          []serverHealth
}

// serverState is one server in the answer about the state of autopilot.
type serverState struct {
	ID             string
	Name           string
	Address        string
	NodeStatus     string
	Version        string
	LastContact    catalog.Duration
	LastTerm       uint64
	LastIndex      uint64
	Healthy        bool
	StableSince    time.Time
	RedundancyZone string `json:",omitempty"`
	ReadReplica    bool
	Status         string
	Meta           map[string]string
	NodeType       string
}

// zone is a redundancy zone.
type zone struct {
	Servers          []string
	Voters           []string
	FailureTolerance int
}

// clusterState is the answer about the state of autopilot.
type clusterState struct {
	Healthy                    bool
	FailureTolerance           int
	OptimisticFailureTolerance int
	Servers                    map[string]serverState
	Leader                     string
	Voters                     []string
	ReadReplicas               []string        `json:",omitempty"`
	RedundancyZones            map[string]zone `json:",omitempty"`
}

// autopilotHealth says how the servers are: 429 if one of them is not well.
func (a *API) autopilotHealth(x *rest.Exchange) error {
	s, err := rest.Ask(x, a.Caller, &autopilot.Show, &op.Empty{})
	if err != nil {
		return err
	}
	out := clusterHealth{Healthy: s.Healthy, FailureTolerance: s.FailureTolerance, Servers: []serverHealth{}}
	for i := range s.Servers {
		srv := &s.Servers[i]
		out.Servers = append(out.Servers, serverHealth{ID: srv.ID, Name: srv.Name, Address: srv.Address, SerfStatus: srv.Gossip, Version: srv.Version,
			Leader: srv.State == autopilot.Leader, LastContact: catalog.Duration(srv.Stats.LastContact), LastTerm: srv.Stats.LastTerm, LastIndex: srv.Stats.LastIndex,
			Healthy: srv.Healthy, Voter: srv.State != autopilot.NonVoter, StableSince: srv.StableSince})
	}
	status := http.StatusOK
	if !s.Healthy {
		status = http.StatusTooManyRequests
	}
	return x.JSONStatus(status, out)
}

func (a *API) autopilotState(x *rest.Exchange) error {
	s, err := rest.Ask(x, a.Caller, &autopilot.Show, &op.Empty{})
	if err != nil {
		return err
	}
	out := clusterState{Healthy: s.Healthy, FailureTolerance: s.FailureTolerance, OptimisticFailureTolerance: s.Optimistic,
		Leader: s.Leader, Voters: rest.Some(s.Voters), Servers: map[string]serverState{}}
	for i := range s.Servers {
		srv := &s.Servers[i]
		replica := srv.Type == autopilot.TypeReadReplica
		if replica {
			out.ReadReplicas = append(out.ReadReplicas, srv.ID)
		}
		out.Servers[srv.ID] = serverState{ID: srv.ID, Name: srv.Name, Address: srv.Address, NodeStatus: srv.Gossip, Version: srv.Version,
			LastContact: catalog.Duration(srv.Stats.LastContact), LastTerm: srv.Stats.LastTerm, LastIndex: srv.Stats.LastIndex, Healthy: srv.Healthy,
			StableSince: srv.StableSince, RedundancyZone: srv.Zone, ReadReplica: replica, Status: srv.State, Meta: rest.Pairs(srv.Meta), NodeType: srv.Type}
	}
	for name, z := range s.Zones {
		if out.RedundancyZones == nil {
			out.RedundancyZones = map[string]zone{}
		}
		out.RedundancyZones[name] = zone{Servers: rest.Some(z.Servers), Voters: rest.Some(z.Voters), FailureTolerance: z.FailureTolerance}
	}
	return x.JSON(out)
}
