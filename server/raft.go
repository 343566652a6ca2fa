package server

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/server/announce"
	"github.com/legate-project/legate/server/clocks"
	"github.com/legate-project/legate/server/leader"
	"github.com/legate-project/legate/server/votes"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/wan"
)

func (s *Server) statusRaft(context.Context, op.Header, *op.Empty) (*status.RaftConfiguration, error) {
	servers, index, err := s.raft.Configuration()
	if err != nil {
		return nil, err
	}
	out := &status.RaftConfiguration{Index: index, Servers: []status.RaftServer{}}
	for _, srv := range servers {
		out.Servers = append(out.Servers, s.raftServer(srv))
	}
	return out, nil
}

// raftServer shows a member of the consensus group with the name that gossip has for it.
func (s *Server) raftServer(srv consensus.Server) status.RaftServer {
	known, _ := s.findServer(srv.ID)
	leader, _ := s.raft.Leader()
	return status.RaftServer{ID: srv.ID, Node: cmp.Or(known.Name, "(unknown)"), Address: srv.Address,
		Leader: srv.ID == leader, ProtocolVersion: "3", Voter: srv.Voter, LastIndex: srv.LastIndex}
}

func (s *Server) removePeer(ctx context.Context, _ op.Header, r *status.Peer) (*status.RaftServer, error) {
	servers, _, err := s.raft.Configuration()
	if err != nil {
		return nil, err
	}
	for _, srv := range servers {
		switch {
		case r.ID != "" && srv.ID != r.ID || r.ID == "" && srv.Address != r.Address:
			continue
		case srv.ID == s.cfg.NodeID:
			return nil, op.Errorf(op.CodeInvalid, "%s leads: have another server lead before it is removed (operator raft transfer-leader)", s.cfg.NodeName)
		}
		s.cfg.Log.Info("removing a server from the consensus group as an operator asked", "id", srv.ID, "address", srv.Address)
		if err := s.raft.RemoveServer(ctx, srv.ID); err != nil {
			return nil, leader.WireError(err)
		}
		removed := s.raftServer(srv)
		return &removed, nil
	}
	if r.ID != "" {
		return nil, op.Errorf(op.CodeInvalid, "id %q was not found in the Raft configuration", r.ID)
	}
	return nil, op.Errorf(op.CodeInvalid, "address %q was not found in the Raft configuration", r.Address)
}

func (s *Server) transferLeader(ctx context.Context, _ op.Header, r *status.Peer) (*op.Empty, error) {
	servers, _, err := s.raft.Configuration()
	if err != nil {
		return nil, err
	}
	voters := 0
	for _, srv := range servers {
		if srv.Voter {
			voters++
		}
	}
	switch {
	case r.ID == s.cfg.NodeID:
		return nil, op.Errorf(op.CodeInvalid, "id %q leads already", r.ID)
	case voters < 2:
		return nil, op.Errorf(op.CodeInvalid, "there is no other voter that could lead")
	}
	s.cfg.Log.Info("handing leadership over as an operator asked", "to", cmp.Or(r.ID, "any"))
	err = s.raft.TransferLeadership(ctx, r.ID)
	switch {
	case errors.Is(err, consensus.ErrUnknownServer):
		return nil, op.Errorf(op.CodeInvalid, "id %q is of no voter in the Raft configuration", r.ID)
	case err != nil:
		return nil, op.Errorf(op.CodeConflict, "leadership was not handed over: %v", err)
	}
	return nil, nil
}

// newVotes makes what decides who votes.
func (s *Server) newVotes() *votes.Votes {
	c := &s.cfg
	return votes.New(votes.Config{NodeID: c.NodeID, First: c.Autopilot, Period: c.AutopilotPeriod, Group: func() votes.Group { return s.raft },
		Servers: func() []lan.Server { return s.lan.Servers() }, Self: func() op.Caller { return s.leader.Self() }, ForceLeave: s.forceLeave,
		State: c.State, Transport: c.Transport, Log: c.Log, Registerer: c.Registerer})
}

// newClocks compares the clocks of the servers; how they are asked is as for votes.
func (s *Server) newClocks() *clocks.Clocks {
	c := &s.cfg
	return clocks.New(clocks.Config{Node: c.NodeName, NodeID: c.NodeID, Datacenter: c.Datacenter, Now: time.Now,
		Servers: func() []lan.Server { return s.lan.Servers() }, Others: s.others, Caller: s,
		To: func(srv lan.Server) op.Caller {
			to := transport.Target{Addr: srv.RPCAddr(), NodeID: srv.ID, Name: srv.Name}
			return op.CallerFunc(func(ctx context.Context, call *op.Call) (*op.Reply, error) {
				return rpc.Send(ctx, c.Transport, to, call)
			})
		}})
}

// newAnnouncer fires events in several datacenters.
func (s *Server) newAnnouncer() *announce.Announcer {
	return announce.New(announce.Config{Datacenter: s.cfg.Datacenter, Others: s.others, Caller: s})
}

// forceLeave has both pools take a dead server of this datacenter for one that left.
func (s *Server) forceLeave(name string) error {
	err := s.lan.ForceLeave(name, false)
	if s.wan == nil {
		return err
	}
	away := s.wan.ForceLeave(wan.FullName(name, s.cfg.Datacenter), false)
	if errors.Is(away, gossip.ErrUnknownMember) { // it may never have been there
		away = nil
	}
	return errors.Join(err, away)
}

// Level is the feature level that this server shows the others: the highest that it knows,
// or the one that is configured. It warns where that comes too late for a way back.
func (s *Server) Level(configured int) uint16 {
	level, written := cmp.Or(uint16(configured), version.Level), s.cfg.State.Level()
	if level < written {
		s.cfg.Log.Warn("feature_level does not keep the way back open: what takes a higher level was written already",
			"feature_level", level, "written", written, "first_version", version.OfLevel(written))
	}
	return level
}
