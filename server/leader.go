package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/catalog"
)

// Name, texts of the check by which the leader shows what gossip says of a
// node; clients know them.
const (
	serfHealthName   = "Serf Health Status"
	serfHealthAlive  = "Agent alive and reachable"
	serfHealthFailed = "Agent not live or unreachable"
	consulService    = "consul"
)

// reconcileLoop keeps the catalog and the consensus group in line with gossip.
// It runs while this server leads: at once, when members change, and each
// ReconcilePeriod.
func (s *Server) reconcileLoop(ctx context.Context) {
	t := time.NewTicker(s.cfg.ReconcilePeriod)
	defer t.Stop()
	for {
		start := time.Now()
		if err := s.reconcile(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("reconcile members", "error", err)
		}
		s.metrics.reconciles.Observe(time.Since(start).Seconds())
		select {
		case <-ctx.Done():
			return
		case <-s.members:
		case <-t.C:
		}
	}
}

func (s *Server) reconcile(ctx context.Context) error {
	members := s.lan.Members()
	if err := s.reconcileVoters(ctx, members); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, m := range members {
		seen[strings.ToLower(m.Name)] = true
		var err error
		switch m.Status {
		case gossip.Alive:
			err = s.memberAlive(ctx, m)
		case gossip.Failed:
			err = s.memberHealth(ctx, m, catalog.Critical, serfHealthFailed)
		case gossip.Left:
			err = s.forget(ctx, m.Name)
		}
		if err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
	}
	return s.forgetUnseen(ctx, seen)
}

// memberAlive registers a live member; what is so already is not written.
func (s *Server) memberAlive(ctx context.Context, m lan.Member) error {
	if srv, ok := gossip.ServerOf(m); ok {
		return s.register(ctx, m, catalog.Passing, serfHealthAlive, &catalog.Service{
			ID: consulService, Service: consulService, Port: srv.RaftPort, Tags: []string{},
			Weights: catalog.Weights{Passing: 1, Warning: 1},
			Meta:    map[string]string{"version": srv.Build, "raft_version": "3"},
		})
	}
	return s.memberHealth(ctx, m, catalog.Passing, serfHealthAlive)
}

func (s *Server) memberHealth(ctx context.Context, m lan.Member, health, output string) error {
	return s.register(ctx, m, health, output, nil)
}

func (s *Server) register(ctx context.Context, m lan.Member, health, output string, svc *catalog.Service) error {
	check := catalog.Check{Node: m.Name, CheckID: catalog.SerfHealth, Name: serfHealthName, Status: health, Output: output}
	known, same, err := s.inCatalog(m, &check, svc)
	if err != nil || same {
		return err
	}
	if !known && health != catalog.Passing {
		return nil // a failed member that was never seen alive here
	}
	_, _, err = catalog.Register.Call(ctx, s.self(), op.Header{}, &catalog.RegisterRequest{
		ID: m.Tags["id"], Node: m.Name, Address: m.Addr, Datacenter: s.cfg.Datacenter,
		TaggedAddresses: map[string]string{"lan": m.Addr, "lan_ipv4": m.Addr},
		SkipNodeUpdate:  known, Service: svc, Checks: []catalog.Check{check},
	})
	return err
}

// inCatalog reports whether the catalog has the member at its address, and
// whether check and service are there just so.
func (s *Server) inCatalog(m lan.Member, check *catalog.Check, svc *catalog.Service) (known, same bool, err error) {
	v := s.cfg.State.View()
	defer v.Close()
	res, err := catalog.GetNodeServices.Query(v, &catalog.NodeRequest{Node: m.Name})
	if err != nil || res == nil {
		return false, false, err
	}
	if known = res.Node.Address == m.Addr && res.Node.ID == m.Tags["id"]; !known {
		return false, false, nil
	}
	if svc != nil && (res.Services[svc.ID] == nil || !res.Services[svc.ID].Same(svc)) {
		return true, false, nil
	}
	checks, err := catalog.ListNodeChecks.Query(v, &catalog.NodeRequest{Node: m.Name})
	if err != nil {
		return false, false, err
	}
	for i := range *checks {
		if c := &(*checks)[i]; c.CheckID == check.CheckID {
			return true, c.Status == check.Status && c.Output == check.Output, nil
		}
	}
	return true, false, nil
}

// forget removes a node that left from the catalog.
func (s *Server) forget(ctx context.Context, node string) error {
	if strings.EqualFold(node, s.cfg.NodeName) {
		return nil // ourselves, on the way out: the next leader does it
	}
	v := s.cfg.State.View()
	known, err := catalog.HasNode(v, node)
	v.Close()
	if err != nil || !known {
		return err
	}
	s.log.Info("node left, removing it from the catalog", "node", node)
	_, _, err = catalog.Deregister.Call(ctx, s.self(), op.Header{}, &catalog.DeregisterRequest{Node: node})
	return err
}

// forgetUnseen removes nodes that were members once (they have a serfHealth
// check) and are no longer known to gossip. Nodes registered from outside have
// no such check and stay.
func (s *Server) forgetUnseen(ctx context.Context, seen map[string]bool) error {
	v := s.cfg.State.View()
	checks, err := catalog.ListStateChecks.Query(v, &catalog.StateRequest{State: catalog.AnyState})
	v.Close()
	if err != nil {
		return err
	}
	for i := range *checks {
		c := &(*checks)[i]
		if c.CheckID != catalog.SerfHealth || seen[strings.ToLower(c.Node)] {
			continue
		}
		if err := s.forget(ctx, c.Node); err != nil {
			return err
		}
	}
	return nil
}

// reconcileVoters adds live servers to the consensus group, follows their
// addresses, and removes those that left. Failed ones stay: they may be back.
func (s *Server) reconcileVoters(ctx context.Context, members []lan.Member) error {
	servers, _, err := s.raft.Configuration()
	if err != nil {
		return fmt.Errorf("read raft configuration: %w", err)
	}
	have := map[string]consensus.Server{}
	for _, srv := range servers {
		have[srv.ID] = srv
	}
	for _, m := range members {
		srv, ok := gossip.ServerOf(m)
		if !ok || srv.ID == s.cfg.NodeID {
			continue
		}
		addr := raftAddr(srv)
		old, in := have[srv.ID]
		switch {
		case m.Status == gossip.Alive && (!in || old.Address != addr):
			s.log.Info("adding server to the consensus group", "node", m.Name, "id", srv.ID, "address", addr)
			err = s.raft.AddVoter(ctx, srv.ID, addr)
		case m.Status == gossip.Left && in:
			s.log.Info("removing server that left from the consensus group", "node", m.Name, "id", srv.ID)
			err = s.raft.RemoveServer(ctx, srv.ID)
		}
		if err != nil {
			return fmt.Errorf("server %s: %w", m.Name, raftError(err))
		}
	}
	return nil
}

// tombstoneLoop forgets deletions that are older than TombstoneTTL. It runs
// while this server leads; a new leader counts from its own start.
func (s *Server) tombstoneLoop(ctx context.Context) {
	type mark struct {
		at    time.Time
		index uint64
	}
	var marks []mark // bounded by TombstoneTTL / TombstonePeriod
	every(ctx, s.cfg.TombstonePeriod, func() {
		now := time.Now()
		marks = append(marks, mark{now, s.cfg.State.Index()})
		upTo := uint64(0)
		for len(marks) > 0 && now.Sub(marks[0].at) >= s.cfg.TombstoneTTL {
			upTo, marks = marks[0].index, marks[1:]
		}
		for upTo > 0 && ctx.Err() == nil {
			res, _, err := state.Collect.Call(ctx, s.self(), op.Header{}, &state.CollectRequest{UpTo: upTo})
			if err != nil {
				s.log.Warn("collect tombstones", "error", err)
				return
			}
			if !res.More {
				return
			}
		}
	})
}
