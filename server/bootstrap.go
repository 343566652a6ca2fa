package server

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/transport"
)

const (
	bootstrapPeriod = 250 * time.Millisecond
	peerTimeout     = 2 * time.Second
	floodPeriod     = 30 * time.Second
	floodSoon       = time.Second
)

// bootstrap starts consensus once: when Expect servers are seen, none of which
// has a consensus group yet, the one with the lowest ID starts it for all. The
// others hear of it from their leader. It ends when this server is in a group.
func (s *Server) bootstrap(ctx context.Context) {
	t := time.NewTicker(bootstrapPeriod)
	defer t.Stop()
	for {
		servers, _, err := s.raft.Configuration()
		if err == nil && len(servers) > 0 {
			return
		}
		if group := s.firstGroup(); group != nil && s.noneStarted(ctx) {
			if err := s.raft.Bootstrap(asRaft(group)); err != nil {
				s.log.Error("start consensus", "error", err)
			} else {
				s.log.Info("expected servers are here, starting consensus", "servers", len(group))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// firstGroup returns the servers to start with if this one is to start them.
func (s *Server) firstGroup() []lan.Server {
	if s.cfg.Expect < 1 {
		return nil
	}
	var group []lan.Server
	for _, srv := range s.lan.Servers() {
		if srv.Status == gossip.Alive && srv.Expect == s.cfg.Expect {
			group = append(group, srv)
		}
	}
	slices.SortFunc(group, func(a, b lan.Server) int { return strings.Compare(a.ID, b.ID) })
	if len(group) < s.cfg.Expect || group[0].ID != s.cfg.NodeID {
		return nil
	}
	return group
}

// noneStarted asks every other live server of the datacenter, also those that
// expect another number, whether it is in a consensus group already; who does
// not answer might be.
func (s *Server) noneStarted(ctx context.Context) bool {
	for _, srv := range s.lan.Servers() {
		if srv.ID == s.cfg.NodeID || srv.Status != gossip.Alive {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, peerTimeout)
		to := transport.Target{Addr: rpcAddr(srv), NodeID: srv.ID, Name: srv.Name}
		ask := op.CallerFunc(func(ctx context.Context, c *op.Call) (*op.Reply, error) {
			return rpc.Send(ctx, s.cfg.Transport, to, c)
		})
		peers, _, err := status.Peers.Call(ctx, ask, op.Header{Led: true}, &op.Empty{})
		cancel()
		if err != nil {
			s.log.Debug("server does not answer yet, consensus is not started", "node", srv.Name, "error", err)
			return false
		}
		if peers != nil && len(peers.Texts) > 0 {
			s.log.Info("server is in a consensus group already, waiting to be added to it", "node", srv.Name)
			return false
		}
	}
	return true
}

func rpcAddr(srv lan.Server) string { return net.JoinHostPort(srv.Addr, strconv.Itoa(srv.RPCPort)) }

func raftAddr(srv lan.Server) string { return net.JoinHostPort(srv.Addr, strconv.Itoa(srv.RaftPort)) }

func asRaft(group []lan.Server) []consensus.Server {
	out := make([]consensus.Server, 0, len(group))
	for _, srv := range group {
		out = append(out, consensus.Server{ID: srv.ID, Address: raftAddr(srv), Voter: true})
	}
	return out
}

// floodJoin brings the other servers of this datacenter into the WAN pool as
// soon as they appear in the LAN pool.
func (s *Server) floodJoin(ctx context.Context) {
	next := floodSoon
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
		next = floodPeriod
		if s.wanLacks() {
			next = floodSoon
			if _, err := s.wan.FloodJoin(ctx, s.lan.Servers()); err != nil {
				s.log.Debug("join servers of this datacenter to the WAN pool", "error", err)
			}
		}
	}
}

// wanLacks reports whether a live server of this datacenter is not in the WAN
// pool.
func (s *Server) wanLacks() bool {
	in := map[string]bool{}
	for _, srv := range s.wan.Servers() {
		if srv.Status == gossip.Alive {
			in[srv.ID] = true
		}
	}
	for _, srv := range s.lan.Servers() {
		if srv.Status == gossip.Alive && srv.WANPort > 0 && !in[srv.ID] {
			return true
		}
	}
	return false
}
