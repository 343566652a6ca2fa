package votes

import (
	"context"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/legate-project/legate/op"
	state "github.com/legate-project/legate/state/autopilot"
)

// show tells how the servers are. A leader that has not looked yet is asked again.
func (v *Votes) show(context.Context, op.Header, *op.Empty) (*state.State, error) {
	a := v.running.Load()
	if a == nil {
		return nil, op.ErrNotLeader
	}
	s := a.GetState()
	if s == nil || s.Leader == "" {
		return nil, op.ErrNotLeader
	}
	return shown(s), nil
}

func shown(s *autopilot.State) *state.State {
	out := &state.State{Healthy: s.Healthy, FailureTolerance: s.FailureTolerance, Optimistic: s.FailureTolerance, Leader: string(s.Leader), Servers: []state.Server{}}
	for _, id := range s.Voters {
		out.Voters = append(out.Voters, string(id))
	}
	ids := make([]raft.ServerID, 0, len(s.Servers))
	for id := range s.Servers {
		ids = append(ids, id)
	}
	autopilot.SortServers(ids, s)
	for _, id := range ids {
		srv := s.Servers[id]
		f := factsOf(srv)
		if srv.Health.Healthy && !srv.HasVotingRights() && !f.replica {
			out.Optimistic++
		}
		out.Servers = append(out.Servers, state.Server{ID: string(id), Name: srv.Server.Name, Address: string(srv.Server.Address), Gossip: string(srv.Server.NodeStatus),
			Version: srv.Server.Version, Healthy: srv.Health.Healthy, StableSince: srv.Health.StableSince.UTC(), State: standing(srv.State),
			Type: string(srv.Server.NodeType), Zone: f.zone, Meta: srv.Server.Meta,
			Stats: state.Stats{LastContact: min(srv.Stats.LastContact, op.Longest), LastTerm: srv.Stats.LastTerm, LastIndex: srv.Stats.LastIndex}})
	}
	for name, z := range count(s).zones {
		if out.Zones == nil {
			out.Zones = map[string]state.Zone{}
		}
		shown := state.Zone{FailureTolerance: -1}
		for i, srv := range append(append([]*autopilot.ServerState(nil), z.voters...), z.standby...) {
			shown.Servers = append(shown.Servers, string(srv.Server.ID))
			if i < len(z.voters) {
				shown.Voters = append(shown.Voters, string(srv.Server.ID))
			}
			if srv.Health.Healthy {
				shown.FailureTolerance++
			}
		}
		shown.FailureTolerance = max(shown.FailureTolerance, 0)
		out.Zones[name] = shown
	}
	return out
}

// standing is what a server is in the consensus group.
func standing(s autopilot.RaftState) string {
	switch s {
	case autopilot.RaftLeader:
		return state.Leader
	case autopilot.RaftVoter:
		return state.Voter
	}
	return state.NonVoter
}
