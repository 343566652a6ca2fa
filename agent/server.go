package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/agent/certificates"
	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/agent/gateways"
	"github.com/legate-project/legate/agent/reach"
	"github.com/legate-project/legate/agent/recovery"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/federation"
	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/feed"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/op/transfer"
	"github.com/legate-project/legate/op/view"
	"github.com/legate-project/legate/server"
	"github.com/legate-project/legate/server/directory"
	"github.com/legate-project/legate/server/fanout"
	serverkeys "github.com/legate-project/legate/server/keyring"
	"github.com/legate-project/legate/server/neighbors"
	"github.com/legate-project/legate/server/standins"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/storage/raftlog"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/wan"
)

// serverParts are what a server has beyond a client.
type serverParts struct {
	a       *Agent
	state   *storage.State
	raft    *consensus.Node
	server  *server.Server
	rpc     *transport.Endpoint // inside the datacenter
	between *transport.Endpoint // between datacenters; nil without WAN
	wan     *wan.Membership     // nil without WAN
	// raftStreams are what Raft is connected by.
	raftStreams *consensus.TCPTransport
	authorities *identity.Derived  // of the WAN pool's keys; nil without keys or WAN
	router      *federation.Router // nil without WAN
	ways        *reach.Ways        // nil without WAN

	lanMu     sync.Mutex // guards selfLAN and telling of it
	selfLAN   lan.Server
	refresh   func()            // builds the routing table anew; nil without WAN
	removals  *removal.Spreader // nil without WAN
	records   *removal.Records
	fanout    *fanout.Caller       // nil without WAN
	directory *directory.Directory // nil without WAN
}

// serverList is the servers of the datacenter as gossip last told of them, so
// that no call has to read tags.
type serverList struct {
	servers atomic.Pointer[[]lan.Server]
	members atomic.Int64
}

// Servers implements client.Servers.
func (l *serverList) Servers() []lan.Server {
	if p := l.servers.Load(); p != nil {
		return *p
	}
	return nil
}

// NumMembers implements client.Servers.
func (l *serverList) NumMembers() int { return int(l.members.Load()) }

// members is the LAN pool as the server package sees it.
type members struct {
	*serverList
	pool *lan.Pool
}

// Members implements server.LAN.
func (m members) Members() []lan.Member { return m.pool.Members() }

// ForceLeave implements server.LAN.
func (m members) ForceLeave(name string, prune bool) error { return m.pool.ForceLeave(name, prune) }

// remote is the federation as the server package sees it: those who wait for
// the same wait as one.
type remote struct {
	op.Caller
	router *federation.Router
	fanout *fanout.Caller
}

// Datacenters implements server.Remote.
func (r remote) Datacenters() []string { return r.router.Datacenters() }

// Nearest implements server.Remote.
func (r remote) Nearest() []string { return r.fanout.Nearest() }

// bind returns host:port of a listener for other agents.
func (a *Agent) bind(host string, port int) string {
	if host == "" {
		host = a.cfg.BindAddr
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// startServer starts storage, consensus, gossip and federation, each stopped
// after all that stands on it.
func (a *Agent) startServer(ctx context.Context, id transport.Identity) error {
	s := &serverParts{a: a}
	a.server = s
	raftListener, err := s.openRPC(id)
	if err != nil {
		return err
	}
	log, err := s.openStorage()
	if err != nil {
		return errors.Join(err, raftListener.Close())
	}
	spool, err := a.dir.spool()
	if err != nil {
		return errors.Join(err, raftListener.Close())
	}
	s.server, err = server.New(server.Config{
		Datacenter: a.cfg.Datacenter, NodeName: a.cfg.NodeName, NodeID: a.id, Expect: a.expect(),
		HoldTimeout: a.cfg.Performance.RPCHoldTimeout,
		DefaultWait: a.cfg.DefaultQueryTime, MaxWait: a.cfg.MaxQueryTime, CoordinatePeriod: a.opts.Timing.CoordinatePeriod,
		SessionTTLMin: a.cfg.SessionTTLMin, Autopilot: firstAutopilot(&a.cfg.Autopilot), AutopilotPeriod: a.opts.Timing.AutopilotPeriod,
		Access: a.access(),
		State:  s.state, Transport: s.rpc, Streams: s.rpc, SpoolDir: spool, Version: a.opts.Version, Log: a.log, Registerer: a.reg,
	})
	if err != nil {
		return errors.Join(err, raftListener.Close())
	}
	list := &serverList{}
	a.servers = list
	s.server.SetRates(requestRates(a.cfg))
	if err := s.startRaft(id, raftListener, log, list); err != nil {
		return err
	}
	if err := s.startLAN(list); err != nil {
		return err
	}
	parts := server.Dependencies{Raft: s.raft, LAN: members{list, a.lan}, LANKeys: a.lan}
	if a.cfg.Ports.SerfWAN > 0 {
		if err := s.startWAN(); err != nil {
			return err
		}
		if err := s.openViews(); err != nil {
			return err
		}
		if err := errors.Join(s.removals.Start(), a.group.OnStop("removals", s.removals.Stop)); err != nil {
			return err
		}
		parts.WANKeys, parts.Rings = s.wan, serverkeys.Rings(a.keys)
		parts.WAN, parts.Remote, parts.Federation, parts.WANStreams, parts.Views = s.wan, remote{a.views, s.router, s.fanout}, federated{s}, s.between, a.views
		parts.Global = s.router.Subscriber(s.between)
	}
	a.caller, a.own, a.snapshots = s.server, s.server, s.server.Snapshots()
	if err := s.server.Start(parts); err != nil {
		return err
	}
	if err := a.group.OnStop("server", s.server.Stop); err != nil {
		return err
	}
	if err := s.serve(); err != nil || s.directory == nil {
		return err
	}
	keep := standins.New(standins.Config{Local: s.server.Local(), Views: a.views, Healthy: s.directory.Healthy, Log: a.log})
	return errors.Join(s.directory.Start(), a.group.Go("stand-ins", keep.Run))
}

// openViews puts what is kept of other datacenters in front of the calls to
// them.
func (s *serverParts) openViews() error {
	a := s.a
	group := lifecycle.New("neighbors")
	around := neighbors.New(neighbors.Config{
		Calls: s.router, Follow: s.router.Subscriber(s.between), Servers: s.others, Transport: s.rpc, Streams: s.rpc, Group: group,
		Knows: func(dc string) bool { return slices.Contains(s.router.Datacenters(), dc) },
	})
	singleFlight := view.NewSingleFlight(around)
	err := errors.Join(a.group.OnStop("neighbors", group.Stop), a.group.OnStop("calls to other datacenters", singleFlight.Stop))
	if err != nil {
		return err
	}
	s.fanout = fanout.New(fanout.Config{Datacenter: a.cfg.Datacenter, Local: s.server.Local(), Near: s.router, Log: a.log, Registerer: a.reg})
	if err := a.group.OnStop("answers of several datacenters", s.fanout.Stop); err != nil {
		return err
	}
	if a.views, err = view.New(view.Config{Datacenter: a.cfg.Datacenter, Next: s.fanout.Calls(singleFlight), Source: s.fanout.Results(around), BlockingReads: true,
		MaxStale: a.cfg.ViewMaxStale, Log: a.log, Registerer: a.reg}); err != nil {
		return err
	}
	if err := a.group.OnStop("views of other datacenters", a.views.Stop); err != nil {
		return err
	}
	s.directory = directory.New(directory.Config{Source: s.router.Subscriber(s.between), Datacenters: s.router.Datacenters, Log: a.log, Registerer: a.reg})
	s.fanout.Start(a.views, s.directory)
	return a.group.OnStop("directory", s.directory.Stop)
}

// others are the other live servers of this datacenter.
func (s *serverParts) others() []transport.Target {
	var out []transport.Target
	for _, srv := range s.a.lan.Servers() {
		if srv.ID != s.a.id && srv.Status == gossip.Alive {
			out = append(out, transport.Target{Addr: srv.RPCAddr(), NodeID: srv.ID, Name: srv.Name})
		}
	}
	return out
}

// firstAutopilot is what the files say of how servers are looked after.
func firstAutopilot(c *config.Autopilot) autopilot.Config {
	return autopilot.Config{CleanupDeadServers: c.CleanupDeadServers, LastContactThreshold: c.LastContactThreshold, MaxTrailingLogs: uint64(c.MaxTrailingLogs),
		MinQuorum: uint64(c.MinQuorum), ServerStabilizationTime: c.ServerStabilizationTime, RedundancyZoneTag: c.RedundancyZoneTag,
		DisableUpgradeMigration: c.DisableUpgradeMigration, UpgradeVersionTag: c.UpgradeVersionTag}
}

// expect is how many servers this one starts the datacenter with. One that never votes
// starts none: it is added.
func (a *Agent) expect() int {
	if a.cfg.ReadReplica {
		return 0
	}
	if a.cfg.Bootstrap || a.cfg.DevMode {
		return 1
	}
	return a.cfg.BootstrapExpect
}

func (a *Agent) raftAddress() string {
	return net.JoinHostPort(a.cfg.AdvertiseAddr, strconv.Itoa(a.cfg.Ports.Server))
}

// openRPC opens the port that agents of the datacenter call: QUIC for calls,
// TCP for Raft.
func (s *serverParts) openRPC(id transport.Identity) (net.Listener, error) {
	a := s.a
	addr := a.bind("", a.cfg.Ports.Server)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for Raft on %s (ports.server): %w", addr, err)
	}
	if s.rpc, err = a.endpoint("lan", addr, id); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for calls on %s (ports.server): %w", addr, err), listener.Close())
	}
	a.calls = s.rpc
	return listener, nil
}

// A host that died says nothing. What waits for it fails at the latest after
// the silence and one period of keep-alives, and a new call goes to the next
// server after the time for a handshake: inside a datacenter at about the time
// that an election takes, across a WAN soon enough that writes stand still for
// less than 15 s, with several keep-alives in which lost packets are repeated.
const (
	lanHandshake = time.Second
	lanDeaf      = 500 * time.Millisecond // QUIC has repeated a request four times
	lanSilence   = 6 * time.Second
	lanKeepAlive = 2 * time.Second
	wanSilence   = 9 * time.Second
	wanKeepAlive = 3 * time.Second
)

// wraps puts an emulated network under the endpoint between datacenters.
func (a *Agent) wraps(c *transport.Config) {
	if a.opts.WrapWAN != nil {
		c.Conn = a.opts.WrapWAN(c.Conn)
	}
}

// endpoint opens a QUIC endpoint that is closed when the agent stops.
func (a *Agent) endpoint(name, addr string, id transport.Identity, changes ...func(*transport.Config)) (*transport.Endpoint, error) {
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	key, err := a.dir.resetKey()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reset key: %w", err), conn.Close())
	}
	cfg := transport.Config{Name: name, Conn: conn, Identity: id, StatelessResetKey: key,
		Log: a.log.With("component", "transport", "network", name), Registerer: a.reg}
	cfg.IdleTimeout, cfg.KeepAlive, cfg.Gate, cfg.AcceptTimeout = wanSilence, wanKeepAlive, a.limits.WAN, a.limits.Handshake
	cfg.SmallPackets = name != "lan"
	if name == "lan" {
		cfg.HandshakeTimeout, cfg.IdleTimeout, cfg.KeepAlive = lanHandshake, lanSilence, lanKeepAlive
		cfg.DeafAfter, cfg.Gate = lanDeaf, a.limits.RPC
	}
	for _, change := range changes {
		change(&cfg)
	}
	e, err := transport.New(cfg)
	if err != nil {
		return nil, errors.Join(err, cfg.Conn.Close())
	}
	return e, a.group.OnStop(name+" endpoint", e.Close)
}

func (s *serverParts) openStorage() (*raftlog.Log, error) {
	a := s.a
	var fs vfs.FS = vfs.Default
	dir := a.dir.sub("raft")
	if dir == "" {
		fs, dir = vfs.NewMem(), "raft"
	}
	cache := pebble.NewCache(storage.DefaultMemory)
	defer cache.Unref() // the instances hold their own references
	open := func(name string) storage.Options {
		return storage.Options{Dir: filepath.Join(dir, name), FS: fs, Cache: cache, Log: a.log,
			Registerer: a.reg, OnFatal: func(err error) { a.finish(&FatalError{err}) }}
	}
	log, err := raftlog.Open(open("log"))
	if err != nil {
		return nil, fmt.Errorf("open the Raft log in %s: %w", dir, err)
	}
	if err := a.group.OnStop("raft log", func(context.Context) error { return log.Close() }); err != nil {
		return nil, err
	}
	if s.state, err = storage.OpenState(open("state"), state.Tables()...); err != nil {
		return nil, fmt.Errorf("open the state in %s: %w", dir, err)
	}
	if err := a.group.OnStop("state", func(context.Context) error { return s.state.Close() }); err != nil {
		return nil, err
	}
	if a.dir.path == "" {
		return log, nil
	}
	return log, recovery.Follow(a.dir.path, a.id, log, s.state, a.log)
}

// startLAN joins nobody yet: see startJoins.
func (s *serverParts) startLAN(list *serverList) error {
	a := s.a
	self := lan.Server{Name: a.cfg.NodeName, ID: a.id, Datacenter: a.cfg.Datacenter, RPCPort: a.cfg.Ports.Server,
		WANPort: max(a.cfg.Ports.SerfWAN, 0), ReadReplica: a.cfg.ReadReplica, Build: version.Build(), Version: a.opts.Version, Level: s.server.Level(a.cfg.FeatureLevel)}
	if a.cfg.AdvertiseAddrWAN != a.cfg.AdvertiseAddr {
		self.WANAddr = a.cfg.AdvertiseAddrWAN
	}
	if n := a.expect(); n == 1 {
		self.Bootstrap = true
		self.Expect = 1
	} else {
		self.Expect = n
	}
	s.selfLAN = self
	return a.openLAN(self, list, func() { s.server.MembersChanged() })
}

// openLAN opens the LAN pool and keeps list current.
func (a *Agent) openLAN(self lan.Server, list *serverList, changed func()) error {
	var pool atomic.Pointer[lan.Pool]
	var one sync.Mutex // what was read later is stored later
	refresh := func() {
		if p := pool.Load(); p != nil {
			one.Lock()
			servers := p.Servers()
			list.servers.Store(&servers)
			list.members.Store(int64(p.NumMembers()))
			one.Unlock()
			changed()
		}
	}
	p, err := lan.Start(lan.Config{
		Self: self, Client: !a.cfg.Server, BindAddr: orElse(a.cfg.SerfLANBind, a.cfg.BindAddr), BindPort: a.cfg.Ports.SerfLAN,
		AdvertiseAddr: a.cfg.AdvertiseAddr, AdvertisePort: a.cfg.Ports.SerfLAN, Keyring: a.keys.LAN, Allowed: networks(a.cfg.SerfLANAllowedCIDRs), Gate: a.limits.Gossip, ForgetAfter: a.cfg.AdvertiseReconnectTimeout, Gateway: reach.GatewayAddr(a.cfg), GatewayTCP: max(a.cfg.Ports.GatewayTCP, 0),
		SnapshotPath: a.dir.sub(gossipFolder, "local.snapshot"), RejoinAfterLeave: a.cfg.RejoinAfterLeave,
		Profile: a.profile(gossip.LAN), Timing: a.lanTiming(), OnChange: func(e lan.Event) {
			if e.Kind == gossip.User {
				a.takeEvent(e)
				return
			}
			a.members.Event("lan", e, func(string) bool { return false })
			refresh()
			a.forgetFailed(e)
		},
		Log: a.log.With("component", "gossip", "pool", "lan"), Registerer: a.reg,
	})
	if err != nil {
		return fmt.Errorf("open the LAN pool on port %d (ports.serf_lan): %w", a.cfg.Ports.SerfLAN, err)
	}
	a.lan = p
	pool.Store(p)
	refresh()
	return a.group.OnStop("LAN pool", p.Stop)
}

// networks parses networks that the configuration has checked.
func networks(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range list {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func (a *Agent) profile(usual gossip.Profile) gossip.Profile {
	if a.cfg.DevMode || a.opts.Timing.FastGossip {
		return gossip.Local
	}
	return usual
}

// lanTiming is what the configuration changes of the LAN pool's profile.
func (a *Agent) lanTiming() gossip.Timing {
	return timing(a.opts.Timing.LAN, a.cfg.GossipLAN, a.cfg.ReconnectTimeoutLAN)
}

// wanTiming is the same of the WAN pool's.
func (a *Agent) wanTiming() gossip.Timing {
	return timing(a.opts.Timing.WAN, a.cfg.GossipWAN, a.cfg.ReconnectTimeoutWAN)
}

func timing(t gossip.Timing, c config.Gossip, reconnect time.Duration) gossip.Timing {
	set := func(to *time.Duration, d time.Duration) {
		if *to == 0 {
			*to = d
		}
	}
	set(&t.GossipInterval, c.GossipInterval)
	set(&t.ProbeInterval, c.ProbeInterval)
	set(&t.ProbeTimeout, c.ProbeTimeout)
	set(&t.ReconnectTimeout, reconnect)
	t.GossipNodes = cmp.Or(t.GossipNodes, c.GossipNodes)
	t.SuspicionMult = cmp.Or(t.SuspicionMult, c.SuspicionMult)
	t.RetransmitMult = cmp.Or(t.RetransmitMult, c.RetransmitMult)
	return t
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// sourceOf is on whose behalf another agent calls, where calls are admitted up to a
// rate. Servers of this datacenter hand on what they have admitted themselves.
func (s *serverParts) sourceOf(p identity.Peer) string {
	switch {
	case !s.server.Limits(), p.Server && p.Datacenter == s.a.cfg.Datacenter:
		return ""
	case p.Server:
		return p.Datacenter
	}
	return p.NodeID
}

// serve begins to answer calls: of agents of this datacenter on one endpoint,
// of servers of other datacenters on the other.
func (s *serverParts) serve() error {
	operations := append(state.Operations(), events.Operations()...)
	answers := rpc.NewServer(s.server, operations, s.a.tracer)
	answers.Limit(s.sourceOf)
	here := func(p identity.Peer) error {
		if p.Datacenter != s.a.cfg.Datacenter {
			return fmt.Errorf("this server is of datacenter %s", s.a.cfg.Datacenter)
		}
		return nil
	}
	pushes := feed.NewServer(s.server, operations, "lan", s.a.reg)
	pushes.Relay(s.server.Relayed())
	err := errors.Join(s.rpc.Handle(rpc.Protocol, answers.Protocol(true, here)), s.rpc.Handle(rpc.PartsProtocol, answers.Parts(here)),
		s.rpc.Handle(transfer.Protocol, transfer.Serve(s.server.Snapshots(), here)), s.rpc.Handle(feed.Protocol, pushes.Protocol(here)))
	if err == nil && s.a.cfg.AutoEncrypt.AllowTLS {
		err = s.rpc.Handle(certificates.EnrollProtocol, s.a.certs.Grants(here))
	}
	if err == nil {
		desk := gateways.Desk{LAN: s.a.keys.LAN, WAN: s.a.keys.WAN, Keys: s.authorities, Files: s.a.certs.Identity(), Caller: s.server, Log: s.a.log.With("component", "gateway")}
		if s.records != nil {
			desk.Removed = s.records.RemovedOthers
		}
		err = s.rpc.Handle(gateways.Protocol, desk.Protocol(here))
	}
	if err != nil || s.between == nil {
		return err
	}
	servers := func(p identity.Peer) error {
		if !p.Server {
			return errors.New("only servers call other datacenters")
		}
		return s.refuse(p.Datacenter)
	}
	small := answers.Protocol(false, servers)
	small.Lossy, small.PoolSize = true, betweenConns
	bulk := answers.Protocol(false, servers)
	bulk.Grow = 1
	pushes = feed.NewServer(s.server.WANSource(), append(operations, &catalog.GetDigest, &acl.Follow, &replication.Follow), "wan", s.a.reg)
	return errors.Join(s.between.Handle(removal.Protocol, s.removals.Handler()), s.between.Handle(rpc.Protocol, small), s.between.Handle(rpc.BulkProtocol, bulk),
		s.between.Handle(rpc.PartsProtocol, answers.Parts(servers)), s.between.Handle(transfer.Protocol, transfer.Serve(s.server.Snapshots(), servers)),
		s.between.Handle(feed.Protocol, pushes.Protocol(servers)))
}

// betweenConns is the most connections for small calls to one server of another
// datacenter. A few do; more are dialled only while their congestion windows
// fill up: at 1 % loss one carries about 0.1 MB/s of small calls over 80 ms.
const betweenConns = 16

// drain goes on answering for the time given, with another server in the lead: whoever
// sees that this one leaves has time to go elsewhere, and it still belongs to everything
// that answers come from. Without others there is nowhere to go.
func (s *serverParts) drain(ctx context.Context, at time.Duration) {
	if at == 0 || !s.hasOthers() {
		return
	}
	s.giveAway(ctx)
	s.a.log.Info("leaving, and still answering", "leave_drain_time", at)
	select {
	case <-ctx.Done():
	case <-time.After(at):
	}
}

// giveAway has another server lead, if this one does.
func (s *serverParts) giveAway(ctx context.Context) {
	if err := s.server.Leave(ctx); err != nil {
		s.a.log.Warn("leadership was not handed over, the others will elect a leader", "error", err)
	}
}

// leave gives leadership away and says goodbye to the WAN.
func (s *serverParts) leave(ctx context.Context) error {
	s.giveAway(ctx)
	if s.wan == nil {
		return nil
	}
	s.a.log.Info("leaving the WAN pool")
	if err := s.wan.Leave(); err != nil {
		return fmt.Errorf("leave the WAN pool: %w", err)
	}
	return nil
}

// removalTimeout is how long a server that left waits to be let go.
const removalTimeout = 5 * time.Second

// awaitRemoval waits until the leader took this server out of the consensus
// group, for a while: it then owes nobody a vote.
func (s *serverParts) awaitRemoval(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, removalTimeout)
	defer cancel()
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for s.hasOthers() {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// hasOthers reports whether this server belongs to a consensus group of several.
func (s *serverParts) hasOthers() bool {
	servers, _, err := s.raft.Configuration()
	return err == nil && len(servers) > 1 && slices.ContainsFunc(servers, func(srv consensus.Server) bool { return srv.ID == s.a.id })
}
