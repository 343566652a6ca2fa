package leader

import (
	"context"
	"slices"
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
)

// bootstrap starts consensus once: when Expect servers are seen, none of which
// has a consensus group yet, the one with the lowest ID starts it for all. The
// others hear of it from their leader. It ends when this server is in a group.
func (d *Duties) bootstrap(ctx context.Context) {
	t := time.NewTicker(bootstrapPeriod)
	defer t.Stop()
	for {
		servers, _, err := d.raft.Configuration()
		if err == nil && len(servers) > 0 {
			return
		}
		if group := d.firstGroup(); group != nil && d.noneStarted(ctx) {
			if err := d.raft.Bootstrap(asRaft(group)); err != nil {
				d.log.Error("start consensus", "error", err)
			} else {
				d.log.Info("expected servers are here, starting consensus", "servers", len(group))
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
func (d *Duties) firstGroup() []lan.Server {
	if d.cfg.Expect < 1 {
		return nil
	}
	var group []lan.Server
	for _, srv := range d.lan.Servers() {
		if srv.Status == gossip.Alive && srv.Expect == d.cfg.Expect && !srv.ReadReplica {
			group = append(group, srv)
		}
	}
	slices.SortFunc(group, func(a, b lan.Server) int { return strings.Compare(a.ID, b.ID) })
	if len(group) < d.cfg.Expect || group[0].ID != d.cfg.NodeID {
		return nil
	}
	return group
}

// noneStarted asks every other live server of the datacenter, also those that
// expect another number, whether it is in a consensus group already; who does
// not answer might be.
func (d *Duties) noneStarted(ctx context.Context) bool {
	for _, srv := range d.lan.Servers() {
		if srv.ID == d.cfg.NodeID || srv.Status != gossip.Alive {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, peerTimeout)
		to := transport.Target{Addr: srv.RPCAddr(), NodeID: srv.ID, Name: srv.Name}
		ask := op.CallerFunc(func(ctx context.Context, c *op.Call) (*op.Reply, error) {
			return rpc.Send(ctx, d.cfg.Transport, to, c)
		})
		peers, _, err := status.Peers.Call(ctx, ask, op.Header{Forwarded: true}, &op.Empty{})
		cancel()
		if err != nil {
			d.log.Debug("server does not answer yet, consensus is not started", "server", srv.Name, "error", err)
			return false
		}
		if peers != nil && len(peers.Texts) > 0 {
			d.log.Info("server is in a consensus group already, waiting to be added to it", "server", srv.Name)
			return false
		}
	}
	return true
}

func asRaft(group []lan.Server) []consensus.Server {
	out := make([]consensus.Server, 0, len(group))
	for _, srv := range group {
		out = append(out, consensus.Server{ID: srv.ID, Address: srv.RaftAddr(), Voter: true})
	}
	return out
}
