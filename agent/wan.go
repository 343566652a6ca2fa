package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/agent/reach"
	"github.com/legate-project/legate/federation"
	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/view"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/server"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/wan"
)

// startWAN opens the one port between datacenters: gossip and calls.
func (s *serverParts) startWAN() error {
	a := s.a
	addr := a.bind(a.cfg.SerfWANBind, a.cfg.Ports.SerfWAN)
	id, err := s.identityWAN()
	if err != nil {
		return err
	}
	s.ways = reach.New(reach.Config{Agent: a.cfg, Gateways: a.lan.Gateways, Refuse: s.refuse, Identity: id, Log: a.log, Registerer: a.reg})
	if s.between, err = a.endpoint("wan", addr, id, a.wraps, s.ways.Under); err != nil {
		return fmt.Errorf("listen for other datacenters on %s (ports.serf_wan): %w", addr, err)
	}
	if err := errors.Join(s.ways.Open(s.between), a.group.OnStop("flows", s.ways.Stop)); err != nil {
		return err
	}
	if err := s.openRemovals(); err != nil {
		return err
	}
	s.router = federation.New(federation.Config{Datacenter: a.cfg.Datacenter, Transport: s.between, Ping: &status.Ping,
		Removed: s.records.Removed, Filters: s.server.FiltersBy, Way: s.ways.Way, Log: a.log, Registerer: a.reg})
	if err := a.group.OnStop("federation", s.router.Stop); err != nil {
		return err
	}
	var pool atomic.Pointer[wan.Membership]
	var one sync.Mutex // what was read later is routed by later
	refresh := func() {
		if p := pool.Load(); p != nil {
			one.Lock()
			s.routes(p)
			one.Unlock()
			s.removals.MembersChanged()
		}
	}
	damped := func(member string) bool { p := pool.Load(); return p != nil && p.Damped(member) }
	s.refresh = refresh
	p, err := wan.NewMembership(wan.Config{
		Self: wan.Server{Name: a.cfg.NodeName, ID: a.id, Datacenter: a.cfg.Datacenter, RPCPort: a.cfg.Ports.Server,
			WANPort: a.cfg.Ports.SerfWAN, Build: version.Build(), Version: a.opts.Version, Removals: s.records.Digest(), Transit: a.cfg.Federation.Transit},
		Behind: s.ways.Behind, Refuse: s.refuse, Allowed: networks(a.cfg.SerfWANAllowedCIDRs),
		Federation: a.cfg.Federation.Name, Endpoint: s.between, Keyring: a.keys.WAN, AdvertiseAddr: a.cfg.AdvertiseAddrWAN, AdvertisePort: a.cfg.Ports.SerfWAN,
		SnapshotPath: a.dir.sub(gossipFolder, "remote.snapshot"), RejoinAfterLeave: a.cfg.RejoinAfterLeave,
		Profile: a.profile(gossip.WAN), Timing: a.wanTiming(), OnChange: func(e wan.Event) { a.members.Event("wan", e, damped); refresh() },
		Log: a.log.With("component", "gossip", "pool", "wan"), Registerer: a.reg,
	})
	if err != nil {
		return fmt.Errorf("open the WAN pool: %w", err)
	}
	s.wan = p
	context.AfterFunc(a.group.Context(), p.CancelDials) // a join must not hold up the stop
	pool.Store(p)
	refresh()
	if err := s.ways.Keep(p.ReachedBy); err != nil {
		return err
	}
	if err := a.group.OnStop("WAN pool", p.Stop); err != nil {
		return err
	}
	// Coordinates move without an event: look at them from time to time.
	return a.group.Go("routes", func(ctx context.Context) {
		t := time.NewTicker(routesPeriod)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				refresh()
			}
		}
	})
}

// routesPeriod is how often the order of datacenters follows the coordinates.
const routesPeriod = 10 * time.Second

// routes tells federation of the members of the WAN pool.
func (s *serverParts) routes(p *wan.Membership) {
	measured := map[string]time.Duration{}
	for _, path := range s.between.Stats() {
		if path.RTT > 0 {
			measured[path.Peer.NodeID] = path.RTT
		}
	}
	var peers []federation.Peer
	servers, self := p.Servers(), p.Coordinate()
	s.ways.Learn(servers, func(srv wan.Server) time.Duration {
		c, _ := p.CoordinateOf(wan.FullName(srv.Name, srv.Datacenter))
		if d, ok := rtt.Distance(self, c); ok {
			return d
		}
		return math.MaxInt64
	})
	for _, srv := range servers {
		peer := federation.Peer{Server: srv}
		name := wan.FullName(srv.Name, srv.Datacenter)
		peer.Coordinate, _ = p.CoordinateOf(name)
		peer.Measured = measured[srv.ID]
		peers = append(peers, peer)
	}
	s.router.Update(self, peers)
}

// removedFile keeps which datacenters were removed from the federation.
const removedFile = "removed.json"

// openRemovals reads which datacenters are removed.
func (s *serverParts) openRemovals() error {
	path := s.a.dir.sub(gossipFolder, removedFile)
	var kept []byte
	var save func([]byte) error
	if path != "" {
		var err error
		if kept, err = os.ReadFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read which datacenters are removed: %w", err)
		}
		save = func(b []byte) error { return writeFile(path, b) }
	}
	var err error
	if s.records, err = removal.Open(s.a.cfg.Datacenter, kept, save); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.removals = removal.New(removal.Config{
		Datacenter: s.a.cfg.Datacenter, Name: wan.FullName(s.a.cfg.NodeName, s.a.cfg.Datacenter), Records: s.records,
		Transport: s.between, Servers: func() []wan.Server { return s.wan.AllServers() }, Changed: s.removalsChanged, Log: s.a.log, Registerer: s.a.reg,
	})
	return nil
}

// refuse returns why the servers of a datacenter are refused, nil if they are not.
// Those of the own one are not, whatever the others think of it.
func (s *serverParts) refuse(datacenter string) error {
	if datacenter == s.a.cfg.Datacenter {
		return nil
	}
	return s.records.Refuse(datacenter)
}

// removalsChanged takes the servers of what was removed out of the routing table,
// closes their connections and shows the others what this server knows.
func (s *serverParts) removalsChanged(changed []removal.Record) {
	s.refresh()
	for _, rec := range changed {
		if rec.Home {
			s.server.HomeChanged()
			continue
		}
		if why := s.refuse(rec.Datacenter); why != nil {
			s.a.views.Forget(rec.Datacenter, &op.Error{Code: op.CodeRemovedDatacenter, Text: "No path to datacenter", Datacenter: rec.Datacenter})
			s.between.Expel(func(p identity.Peer) bool { return p.Datacenter == rec.Datacenter }, why.Error())
		}
	}
	if err := s.wan.Announce(s.records.Digest()); err != nil {
		s.a.log.Warn("the others were not shown which datacenters are removed", "error", err)
	}
}

// federated is the federation as the server package shows and changes it.
type federated struct{ s *serverParts }

var _ server.Federation = federated{}

// Status implements server.Federation.
func (f federated) Status() []federation.Status { return f.s.router.Status() }

// Views implements server.Federation.
func (f federated) Views() []view.Status { return f.s.a.views.Status() }

// Registrations implements server.Federation.
func (f federated) Registrations() []status.Registration { return f.s.ways.Registrations() }

// Removed implements server.Federation.
func (f federated) Removed() []removal.Record {
	var out []removal.Record
	for _, rec := range f.s.records.List() {
		if rec.Removed {
			out = append(out, rec)
		}
	}
	return out
}

// Home implements server.Federation.
func (f federated) Home() (removal.Record, bool) { return f.s.records.Home() }

// Since implements server.Federation.
func (f federated) Since(datacenter string) int64 { return f.s.records.Since(datacenter) }

// Counts implements server.Federation.
func (f federated) Counts(rec removal.Record) bool { return f.s.records.Counts(rec) }

// SetHome implements server.Federation.
func (f federated) SetHome(ctx context.Context, rec removal.Record) (told int, missed []string, err error) {
	return f.s.removals.SetHome(ctx, rec)
}

// SetRemoved implements server.Federation. What has failed is also marked as left,
// so that nobody tries to reach it.
func (f federated) SetRemoved(ctx context.Context, datacenter string, removed bool) (told int, missed []string, err error) {
	told, missed, err = f.s.removals.Set(ctx, datacenter, removed)
	if err != nil || !removed {
		return told, missed, err
	}
	for _, srv := range f.s.wan.AllServers() {
		if srv.Datacenter == datacenter && srv.Status == gossip.Failed {
			if err := f.s.wan.ForceLeave(wan.FullName(srv.Name, datacenter), false); err != nil {
				f.s.a.log.Warn("a server of the datacenter that was removed is tried again until it is forgotten", "error", err)
			}
		}
	}
	return told, missed, nil
}

// Quit implements server.Federation: this server leaves the WAN pool, and the others
// of its datacenter do not join it again.
func (f federated) Quit(ctx context.Context) error {
	f.s.a.log.Info("leaving the federation, not the datacenter")
	if err := f.s.showWANPort(0); err != nil {
		return err
	}
	err := f.s.wan.Quit(ctx)
	if err != nil && !f.s.wan.Left() {
		err = errors.Join(err, f.s.showWANPort(f.s.a.cfg.Ports.SerfWAN)) // it is in the pool still
	}
	f.s.refresh()
	return err
}

// joinWAN joins other datacenters, also after Quit.
func (s *serverParts) joinWAN(addrs []string) (int, error) {
	left := s.wan.Left()
	n, err := s.wan.Join(addrs)
	if left && !s.wan.Left() {
		if err := s.showWANPort(s.a.cfg.Ports.SerfWAN); err != nil {
			s.a.log.Warn("the others of the datacenter do not know that this server takes part in the federation again", "error", err)
		}
		s.refresh()
	}
	return n, err
}

// showWANPort tells the datacenter where this server takes part in the federation, 0
// for nowhere.
func (s *serverParts) showWANPort(port int) error {
	if err := s.show(func(self *lan.Server) { self.WANPort = port }); err != nil {
		return fmt.Errorf("tell the datacenter whether this server is in the federation: %w", err)
	}
	return nil
}

// show tells the datacenter what changed about this server.
func (s *serverParts) show(change func(*lan.Server)) error {
	s.lanMu.Lock()
	defer s.lanMu.Unlock()
	old := s.selfLAN
	change(&s.selfLAN)
	if s.selfLAN == old {
		return nil
	}
	if err := s.a.lan.SetSelf(s.selfLAN); err != nil {
		s.selfLAN = old // so that another try is one
		return err
	}
	return nil
}
