package leader

import (
	"context"
	"errors"
	"fmt"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
)

// reconcileServers adds live servers to the consensus group, without a vote,
// follows their addresses, and removes those that left. Failed ones stay: they may
// be back. Who votes is decided in server/votes alone.
func (d *Duties) reconcileServers(ctx context.Context, members []lan.Member) error {
	servers, _, err := d.raft.Configuration()
	if err != nil {
		return fmt.Errorf("read raft configuration: %w", err)
	}
	have := map[string]consensus.Server{}
	for _, srv := range servers {
		have[srv.ID] = srv
	}
	alive := map[string]bool{} // by ID: a server that was renamed left under its old name
	for _, m := range members {
		if srv, ok := gossip.ServerOf(m); ok && m.Status == gossip.Alive {
			alive[srv.ID] = true
		}
	}
	var errs []error
	for _, m := range members {
		srv, ok := gossip.ServerOf(m)
		if !ok || ctx.Err() != nil {
			continue
		}
		var err error
		old, in := have[srv.ID]
		own := srv.ID == d.cfg.NodeID
		switch {
		case m.Status == gossip.Alive && (in || !own) && old.Address != srv.RaftAddr():
			err = d.addServer(ctx, srv, have)
		case m.Status == gossip.Left && old.Address != "" && !own && !alive[srv.ID]:
			d.log.Info("removing server that left from the consensus group", "server", m.Name, "id", srv.ID)
			err = d.raft.RemoveServer(ctx, srv.ID)
			delete(have, srv.ID)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("server %s: %w", m.Name, WireError(err)))
		}
	}
	return errors.Join(errs...)
}

// addServer brings a server into the group or changes its address there, where it
// keeps its vote. Who is in the group at that address is not there any more: a server that lost its
// data comes back with another ID. Raft permits an address only once.
func (d *Duties) addServer(ctx context.Context, srv lan.Server, have map[string]consensus.Server) error {
	addr := srv.RaftAddr()
	for id, other := range have {
		if id == srv.ID || other.Address != addr || id == d.cfg.NodeID {
			continue
		}
		d.log.Info("removing server whose address another has now from the consensus group", "id", id, "address", addr, "server", srv.Name)
		if err := d.raft.RemoveServer(ctx, id); err != nil {
			return err
		}
		have[id] = consensus.Server{ID: id, Voter: other.Voter} // if it has only moved, it comes in this round, too
	}
	voter := have[srv.ID].Voter
	add := d.raft.AddNonvoter
	if voter {
		add = d.raft.AddVoter
	}
	d.log.Info("adding server to the consensus group", "server", srv.Name, "id", srv.ID, "address", addr, "voter", voter)
	if err := add(ctx, srv.ID, addr); err != nil {
		return err
	}
	have[srv.ID] = consensus.Server{ID: srv.ID, Address: addr, Voter: voter}
	return nil
}
