package server

import (
	"context"
	"time"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/federation"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/transfer"
	"github.com/legate-project/legate/server/leader"
	"github.com/legate-project/legate/server/login"
	"github.com/legate-project/legate/server/queries"
	"github.com/legate-project/legate/server/snapshot"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/transport"
)

// site is the server as the packages below it see it.
type site struct{ s *Server }

var (
	_ queries.Server  = site{}
	_ snapshot.Server = site{}
	_ login.Server    = site{}
)

// Do implements op.Caller.
func (v site) Do(ctx context.Context, call *op.Call) (*op.Reply, error) { return v.s.Do(ctx, call) }

// Subscribe implements op.Subscriber.
func (v site) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	return v.s.Subscribe(ctx, call, push)
}

// Home implements login.Server.
func (v site) Home(r storage.Reader) (string, error) { return v.s.copies.Home(r) }

// Elsewhere implements login.Server.
func (v site) Elsewhere(ctx context.Context, call *op.Call, home string) (*op.Reply, error) {
	return v.s.elsewhere(ctx, call, home)
}

// Self implements login.Server.
func (v site) Self() op.Caller { return v.s.leader.Self() }

// Nearest implements queries.Server.
func (v site) Nearest() []string {
	if v.s.remote == nil {
		return nil
	}
	return v.s.remote.Nearest()
}

// Anywhere implements queries.Server.
func (v site) Anywhere(h *op.Header) bool { return v.s.anywhere(h) }

// Answer implements queries.Server.
func (v site) Answer(h *op.Header, anywhere bool) op.Meta { return v.s.local(h, anywhere, 0) }

// Meta implements snapshot.Server.
func (v site) Meta(c op.Consistency, index uint64) op.Meta { return v.s.meta(c, index) }

// ConfirmLeadership implements queries.Server and snapshot.Server.
func (v site) ConfirmLeadership(ctx context.Context) error {
	if _, err := v.s.raft.ConfirmLeadership(ctx); err != nil {
		return leader.WireError(err)
	}
	return nil
}

// Leads implements queries.Server.
func (v site) Leads() bool { return v.s.raft.LeaseRead() }

// Reign implements queries.Server.
func (v site) Reign() <-chan struct{} { return v.s.leader.Reign() }

// Wait implements queries.Server.
func (v site) Wait(asked time.Duration) time.Duration { return v.s.wait(asked) }

// Hold implements snapshot.Server.
func (v site) Hold(ctx context.Context, again func(error) bool, try func() error) error {
	var deadline time.Time
	for {
		err := try()
		if err == nil || !again(err) {
			return err
		}
		if err := v.s.pause(ctx, &deadline, v.s.cfg.HoldTimeout, err); err != nil {
			return err
		}
	}
}

// Group implements snapshot.Server.
func (v site) Group() ([]consensus.Server, error) {
	servers, _, err := v.s.raft.Configuration()
	return servers, err
}

// Route implements snapshot.Server.
func (v site) Route(h *op.Header, anywhere bool) ([]transport.Target, transfer.Opener, error) {
	s := v.s
	if s.group.Context().Err() != nil {
		return nil, nil, op.ErrStopping
	}
	if dc := h.Datacenter; dc != "" && dc != s.cfg.Datacenter {
		return s.remoteTargets(dc)
	}
	if anywhere || s.raft.LeaseRead() {
		return nil, nil, nil
	}
	id, _ := s.raft.Leader()
	switch {
	case id == "" || id == s.cfg.NodeID: // elected but not established yet
		return nil, nil, op.ErrNoLeader
	case h.Forwarded:
		return nil, nil, op.ErrNotLeader
	}
	to, ok := s.findServer(id)
	if !ok || s.cfg.Streams == nil {
		return nil, nil, op.Errorf(op.CodeNoLeader, "Raft leader not found in server lookup mapping")
	}
	h.Forwarded = true
	return []transport.Target{{Addr: to.RPCAddr(), NodeID: to.ID, Name: to.Name}}, s.cfg.Streams, nil
}

// remoteTargets are the live servers of another datacenter.
func (s *Server) remoteTargets(dc string) ([]transport.Target, transfer.Opener, error) {
	unknown := &op.Error{Code: op.CodeUnknownDatacenter, Text: "No path to datacenter", Datacenter: dc}
	if s.wan == nil || s.between == nil {
		return nil, nil, unknown
	}
	var targets []transport.Target
	for _, srv := range s.wan.Servers() {
		if srv.Datacenter != dc {
			continue
		}
		unknown = &op.Error{Code: op.CodeUnreachableDatacenter, Text: "No path to datacenter", Datacenter: dc}
		if srv.Status == gossip.Alive {
			targets = append(targets, federation.TargetOf(srv))
		}
	}
	if targets == nil {
		return nil, nil, unknown
	}
	return targets, s.between, nil
}
