package leader

import (
	"context"
	"errors"
	"fmt"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
)

// reconcileVoters adds live servers to the consensus group, follows their
// addresses, and removes those that left. Failed ones stay: they may be back.
func (d *Duties) reconcileVoters(ctx context.Context, members []lan.Member) error {
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
			err = d.addVoter(ctx, srv, have)
		case m.Status == gossip.Left && in && !own && !alive[srv.ID]:
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

// addVoter brings a server into the group or changes its address there. Who is
// in the group at that address is not there any more: a server that lost its
// data comes back with another ID. Raft permits an address only once.
func (d *Duties) addVoter(ctx context.Context, srv lan.Server, have map[string]consensus.Server) error {
	addr := srv.RaftAddr()
	for id, other := range have {
		if id == srv.ID || other.Address != addr || id == d.cfg.NodeID {
			continue
		}
		d.log.Info("removing server whose address another has now from the consensus group", "id", id, "address", addr, "server", srv.Name)
		if err := d.raft.RemoveServer(ctx, id); err != nil {
			return err
		}
		delete(have, id)
	}
	d.log.Info("adding server to the consensus group", "server", srv.Name, "id", srv.ID, "address", addr)
	if err := d.raft.AddVoter(ctx, srv.ID, addr); err != nil {
		return err
	}
	have[srv.ID] = consensus.Server{ID: srv.ID, Address: addr, Voter: true}
	return nil
}
