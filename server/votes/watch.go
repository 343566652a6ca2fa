package votes

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	state "github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/transport"
)

// watch is what a leader sees, during one reign.
type watch struct {
	v     *Votes
	ctx   context.Context
	group *lifecycle.Group
	raft  Group

	healthy map[raft.ServerID]bool // as last seen; NotifyState's, whose calls come one after another

	mu      sync.Mutex
	leaving map[raft.ServerID]bool // whom gossip is being told of
}

var _ autopilot.ApplicationIntegration = (*watch)(nil)

// config is the configuration of the datacenter, or what it will be.
func (w *watch) config() (*state.Config, bool, error) {
	view := w.v.cfg.State.View()
	c, err := state.Find(view)
	if closed := view.Close(); err == nil {
		err = closed
	}
	if err == nil && c == nil {
		first := w.v.cfg.First
		return &first, false, nil
	}
	return c, true, err
}

// AutopilotConfig implements autopilot.ApplicationIntegration.
func (w *watch) AutopilotConfig() *autopilot.Config {
	c, _, err := w.config()
	if err != nil { // the disk has failed or the server stops
		w.v.log.Debug("read the configuration", "error", err)
		return nil
	}
	return &autopilot.Config{CleanupDeadServers: c.CleanupDeadServers, LastContactThreshold: c.LastContactThreshold, MaxTrailingLogs: c.MaxTrailingLogs,
		MinQuorum: uint(min(c.MinQuorum, maxServers)), ServerStabilizationTime: c.ServerStabilizationTime}
}

// writeFirst gives a datacenter without a configuration that of this server's files, as
// soon as all its servers know that command: also after the restore of a snapshot that
// has none. It ends with the reign.
func (w *watch) writeFirst() {
	t := time.NewTimer(firstPause)
	defer t.Stop()
	said := false
	for {
		_, there, err := w.config()
		if err == nil && !there {
			c := w.v.cfg.First
			c.ModifyIndex = 0
			_, _, err = state.Set.Call(w.ctx, w.v.cfg.Self(), op.Header{}, &state.SetRequest{Config: c, CAS: true})
		}
		t.Reset(firstPause)
		if there {
			t.Reset(w.v.cfg.Period)
		}
		if err != nil && !said && w.ctx.Err() == nil { // once, not five times a second
			said = true
			w.v.log.Info("the first autopilot configuration is not written yet", "error", err)
		}
		select {
		case <-w.ctx.Done():
			return
		case <-t.C:
		}
	}
}

// KnownServers implements autopilot.ApplicationIntegration: those of gossip. Of several
// members with one ID the one that lives counts.
func (w *watch) KnownServers() map[raft.ServerID]*autopilot.Server {
	c, _, err := w.config()
	if err != nil {
		c = &w.v.cfg.First
	}
	out := map[raft.ServerID]*autopilot.Server{}
	for _, srv := range w.v.cfg.Servers() {
		id := raft.ServerID(srv.ID)
		if old := out[id]; old != nil && (old.NodeStatus == autopilot.NodeAlive || srv.Status != gossip.Alive) || len(out) >= maxServers {
			continue
		}
		build, _, _ := strings.Cut(srv.Build, ":")
		known := &autopilot.Server{ID: id, Name: srv.Name, Address: raft.ServerAddress(srv.RaftAddr()), NodeStatus: statusOf(srv.Status), Version: build,
			RaftVersion: 3, IsLeader: srv.ID == w.v.cfg.NodeID, Meta: w.meta(srv.Name), NodeType: autopilot.NodeVoter}
		f := facts{replica: srv.ReadReplica}
		if c.RedundancyZoneTag != "" {
			f.zone = known.Meta[c.RedundancyZoneTag]
		}
		if f.replica {
			known.NodeType = state.TypeReadReplica
		}
		known.Ext = f
		out[id] = known
	}
	return out
}

func statusOf(s gossip.Status) autopilot.NodeStatus {
	switch s {
	case gossip.Alive:
		return autopilot.NodeAlive
	case gossip.Failed:
		return autopilot.NodeFailed
	case gossip.Left:
		return autopilot.NodeLeft
	}
	return autopilot.NodeUnknown
}

// meta is the metadata of a node; nil if the catalog does not have it.
func (w *watch) meta(node string) map[string]string {
	view := w.v.cfg.State.View()
	defer func() { _ = view.Close() }() // a view that only read
	n, err := catalog.GetNode.Query(view, &catalog.NodeRequest{Node: node})
	if err != nil || n == nil {
		return nil
	}
	return n.Meta
}

// FetchServerStats implements autopilot.ApplicationIntegration. Servers say of themselves
// how they are. Of one that does not answer the leader's own word counts: while it takes
// part in Raft it stays as it was, else it has been silent for so long.
func (w *watch) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)() // the first one is not asked with it
	var mu sync.Mutex
	out := map[raft.ServerID]*autopilot.ServerStats{}
	var g errgroup.Group
	g.SetLimit(asksAtOnce)
	for _, srv := range w.v.cfg.Servers() {
		id := raft.ServerID(srv.ID)
		if servers[id] == nil || srv.Status != gossip.Alive {
			continue
		}
		g.Go(func() error {
			if stats := w.ask(ctx, srv); stats != nil {
				mu.Lock()
				out[id] = &autopilot.ServerStats{LastContact: stats.LastContact, LastTerm: stats.LastTerm, LastIndex: stats.LastIndex}
				mu.Unlock()
			}
			return nil
		})
	}
	_ = g.Wait() // who does not answer is missing in the map
	w.addSilent(out)
	return out
}

// ask asks one server; nil for no answer.
func (w *watch) ask(ctx context.Context, srv lan.Server) *state.Stats {
	if srv.ID == w.v.cfg.NodeID {
		stats, err := w.v.stats(ctx, op.Header{}, &op.Empty{})
		if err != nil {
			return nil
		}
		return stats
	}
	to := transport.Target{Addr: srv.RPCAddr(), NodeID: srv.ID, Name: srv.Name}
	caller := op.CallerFunc(func(ctx context.Context, c *op.Call) (*op.Reply, error) {
		return rpc.Send(ctx, w.v.cfg.Transport, to, c)
	})
	stats, _, err := state.ServerStats.Call(ctx, caller, op.Header{Forwarded: true}, &op.Empty{})
	if err != nil && ctx.Err() == nil {
		w.v.log.Debug("server does not say how it is", "server", srv.Name, "error", err)
	}
	return stats
}

// addSilent adds what the leader knows of those that did not answer.
func (w *watch) addSilent(out map[raft.ServerID]*autopilot.ServerStats) {
	servers, _, err := w.raft.Configuration()
	if err != nil {
		return
	}
	for _, srv := range servers {
		id := raft.ServerID(srv.ID)
		if out[id] != nil || srv.ID == w.v.cfg.NodeID {
			continue
		}
		if ago, heartbeat, last := w.raft.Heard(srv.ID); ago > heartbeat {
			out[id] = &autopilot.ServerStats{LastContact: ago, LastIndex: last}
		}
	}
}

// RemoveFailedServer implements autopilot.ApplicationIntegration: gossip is told that the
// server left, from which the rest follows. It may take some seconds until others know.
func (w *watch) RemoveFailedServer(srv *autopilot.Server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leaving[srv.ID] || w.ctx.Err() != nil {
		return
	}
	if w.leaving == nil {
		w.leaving = map[raft.ServerID]bool{}
	}
	w.leaving[srv.ID] = true
	w.v.log.Info("removing a server that is dead", "server", srv.Name, "id", srv.ID, "address", srv.Address)
	err := w.group.Spawn("force-leave", func(context.Context) {
		err := w.v.cfg.ForceLeave(srv.Name)
		w.mu.Lock()
		delete(w.leaving, srv.ID)
		w.mu.Unlock()
		if err != nil {
			w.v.log.Warn("remove a server that is dead", "server", srv.Name, "error", err)
		}
	})
	if err != nil { // the reign is over
		delete(w.leaving, srv.ID)
	}
}

// NotifyState implements autopilot.ApplicationIntegration. Nobody else has the state yet.
// The library leaves StableSince at when it saw a server first: it compares the health
// with itself. So it is set here, on which all rests that waits for a while.
func (w *watch) NotifyState(s *autopilot.State) {
	if w.ctx.Err() != nil {
		return
	}
	w.v.metrics.show(s)
	now, seen := time.Now(), make(map[raft.ServerID]bool, len(s.Servers))
	for id, srv := range s.Servers {
		seen[id] = srv.Health.Healthy
		if was, known := w.healthy[id]; known && was != srv.Health.Healthy {
			srv.Health.StableSince = now
			w.v.log.Info("the health of a server changed", "server", cmp.Or(srv.Server.Name, string(id)), "healthy", srv.Health.Healthy,
				"gossip", srv.Server.NodeStatus, "last_contact", srv.Stats.LastContact, "last_index", srv.Stats.LastIndex)
		}
	}
	w.healthy = seen
}
