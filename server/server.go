// Package server answers operations on a server: it is the Caller that local
// interfaces and remote agents share. It decides who answers a call, answers what
// one domain can answer, and puts the rest together: the leader's duties (leader),
// results that are kept (results) and sorted (near), long ones (listing), prepared
// queries (queries), snapshots (snapshot).
//
// It owns no sockets and no gossip pool; it is told of members and asks its
// collaborators through the interfaces below.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/serf/coordinate"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/op/transfer"
	"github.com/legate-project/legate/server/abroad"
	"github.com/legate-project/legate/server/access"
	"github.com/legate-project/legate/server/clocks"
	"github.com/legate-project/legate/server/copies"
	"github.com/legate-project/legate/server/directory"
	"github.com/legate-project/legate/server/keyring"
	"github.com/legate-project/legate/server/leader"
	"github.com/legate-project/legate/server/limit"
	"github.com/legate-project/legate/server/listing"
	"github.com/legate-project/legate/server/login"
	"github.com/legate-project/legate/server/near"
	"github.com/legate-project/legate/server/queries"
	"github.com/legate-project/legate/server/rates"
	"github.com/legate-project/legate/server/replicas"
	"github.com/legate-project/legate/server/results"
	"github.com/legate-project/legate/server/snapshot"
	"github.com/legate-project/legate/server/votes"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/wan"
)

// Raft is what the server needs of its consensus node.
type Raft interface {
	Propose(ctx context.Context, command []byte) (any, error)
	ConfirmLeadership(ctx context.Context) (readIndex uint64, err error)
	LeaseRead() bool
	Leader() (id, address string)
	Bootstrap([]consensus.Server) error
	AddVoter(ctx context.Context, id, address string) error
	AddNonvoter(ctx context.Context, id, address string) error
	RemoveServer(ctx context.Context, id string) error
	TransferLeadership(ctx context.Context, id string) error
	Stats() map[string]string
	votes.Group
}

var _ Raft = (*consensus.Node)(nil)

// LAN is what the server needs of the gossip pool of its datacenter.
type LAN interface {
	Members() []lan.Member
	Servers() []lan.Server
	// FireEvent broadcasts a small message.
	FireEvent(name string, payload []byte) error
	// ForceLeave turns a failed member into one that left.
	ForceLeave(name string, prune bool) error
}

// WAN is what the server needs of the gossip pool of all datacenters.
type WAN interface {
	Servers() []wan.Server
	FloodJoin(ctx context.Context, servers []wan.Server) (int, error)
	CoordinateOf(name string) (*coordinate.Coordinate, bool)
	// RoundTrip is what this server's own probes of a member show.
	RoundTrip(name string) (time.Duration, bool)
	ForceLeave(name string, prune bool) error
}

// Remote carries calls to other datacenters.
type Remote interface {
	op.Caller
	// Datacenters lists the other known datacenters, nearest first.
	Datacenters() []string
	// Nearest is Datacenters in an order that does not sway with round trips.
	Nearest() []string
}

// Config says who the server is and whom it works with.
type Config struct {
	Datacenter string
	NodeName   string
	NodeID     string
	// Expect is how many servers must be seen before the first of them starts
	// consensus; 1 starts alone, 0 never starts it.
	Expect int

	// HoldTimeout is how long a call waits for a leader to appear; 0 does not wait.
	HoldTimeout time.Duration
	// DefaultWait and MaxWait bound blocking reads; defaults 5 and 10 minutes.
	DefaultWait, MaxWait time.Duration
	// CoordinatePeriod is how often gathered coordinates are written; default 5 s.
	CoordinatePeriod time.Duration
	// ReconcilePeriod is how often all members are compared with the catalog;
	// default 60 s.
	ReconcilePeriod time.Duration
	// TombstoneTTL is how long deletions are remembered for blocking queries;
	// default 15 minutes. They are collected each TombstonePeriod; default 30 s.
	TombstoneTTL, TombstonePeriod time.Duration
	// SessionTTLMin is the shortest TTL that a session may have; default 10 s.
	SessionTTLMin time.Duration
	// Autopilot is how the servers are looked after in a datacenter where nobody has
	// said that yet; zero is autopilot.Default. They are looked at each
	// AutopilotPeriod; default 2 s.
	Autopilot       autopilot.Config
	AutopilotPeriod time.Duration

	State     *storage.State
	Transport rpc.RoundTripper // reaches the servers of this datacenter
	Streams   transfer.Opener  // the same for snapshots; nil forwards none
	// SpoolDir is where snapshots that are to be restored are kept meanwhile; ""
	// is the system's directory for temporary files.
	SpoolDir string
	// Version of the program, for people who look at a snapshot.
	Version    string
	Access     Access
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Access says how access is controlled.
type Access struct {
	// Enabled switches it on; without it everybody may do everything.
	Enabled  bool
	Settings rules.Settings
	// InitialManagement is the secret of a management token that the leader makes; ""
	// for none. Never logged.
	InitialManagement string
	// BootstrapReset returns the index that an operator has left on this server to have
	// access control bootstrapped once more, 0 for none; nil has none.
	BootstrapReset func() uint64
	// Home is the datacenter where policies, roles and global tokens are written as long
	// as nobody has moved that; "" for this one.
	Home string
}

func (c *Config) setDefaults() {
	for d, v := range map[*time.Duration]time.Duration{
		&c.DefaultWait: 5 * time.Minute, &c.MaxWait: 10 * time.Minute,
		&c.CoordinatePeriod: 5 * time.Second, &c.ReconcilePeriod: time.Minute,
		&c.TombstoneTTL: 15 * time.Minute, &c.TombstonePeriod: 30 * time.Second,
	} {
		if *d == 0 {
			*d = v
		}
	}
	if c.Autopilot == (autopilot.Config{}) {
		c.Autopilot = autopilot.Default()
	}
}

// Server answers operations. Its methods are safe for concurrent use.
type Server struct {
	cfg        Config
	log        *slog.Logger
	metrics    *metrics
	machine    *state.Machine
	direct     map[string]op.Handler
	access     *access.Resolver
	rates      *rates.Limiter
	results    *results.Store
	near       *near.Order
	long       *listing.Lister
	leader     *leader.Duties
	copies     *copies.Copies
	replicas   *replicas.Replicas
	abroad     *abroad.Nodes
	votes      *votes.Votes
	queries    *queries.Executor
	logins     *login.Logins
	snapshots  *snapshot.Snapshots
	keyrings   *keyring.Keyrings
	clocks     *clocks.Clocks
	group      *lifecycle.Group
	elected    elected
	raft       Raft
	lan        LAN
	wan        WAN
	remote     Remote
	federation Federation
	between    transfer.Opener
	views      op.Subscriber  // results of other datacenters
	own        *directory.Own // nil without WAN gossip

	hearsUntil atomic.Int64 // Unix nanoseconds: see hears

	flight   *limit.Limit
	blocked  *limit.Limit
	followed *limit.Limit
}

var _ op.Caller = (*Server)(nil)

// New returns a server that answers nothing until Start.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	kept, err := results.New(cfg.State)
	if err != nil {
		return nil, err
	}
	s := &Server{rates: rates.New(cfg.Registerer),
		cfg: cfg, log: cfg.Log.With("component", "server"), metrics: newMetrics(cfg.Registerer),
		machine: state.New(), group: lifecycle.New("server"), results: kept, near: near.New(kept),
		flight: limit.New(maxInFlight), blocked: limit.New(maxBlocked), followed: limit.New(maxFollowed),
	}
	s.long = listing.New(cfg.State, s.group.Context())
	s.copies, s.replicas, s.votes = s.newCopies(), s.newReplicas(), s.newVotes()
	s.access, err = access.New(access.Config{Enabled: cfg.Access.Enabled, Settings: cfg.Access.Settings, Datacenter: cfg.Datacenter,
		State: cfg.State, Home: homeAsked{s}, Registerer: cfg.Registerer})
	if err != nil {
		return nil, err
	}
	s.abroad = abroad.New(abroad.Config{Datacenter: cfg.Datacenter, State: cfg.State, Leader: func() abroad.Leader { return s.leader }, Log: s.log, Registerer: cfg.Registerer})
	s.leader = leader.New(s.leaderConfig())
	s.queries = queries.New(site{s}, queries.Config{Datacenter: cfg.Datacenter, Authorizer: s.access.Authorizer, Results: kept, Near: s.near,
		Group: s.group, Log: s.log, Registerer: cfg.Registerer})
	s.snapshots = snapshot.New(site{s}, s.leader, snapshot.Config{Datacenter: cfg.Datacenter, NodeName: cfg.NodeName, Version: cfg.Version,
		SpoolDir: cfg.SpoolDir, State: cfg.State, Authorizer: s.access.Authorizer, Group: s.group, Log: s.log, Registerer: cfg.Registerer})
	s.logins, err = login.New(site{s}, login.Config{Enabled: cfg.Access.Enabled, Datacenter: cfg.Datacenter,
		State: cfg.State, Context: s.group.Context(), Log: s.log, Registerer: cfg.Registerer})
	if err != nil {
		return nil, err
	}
	s.clocks = s.newClocks()
	s.direct = s.directHandlers()
	return s, nil
}

func (s *Server) leaderConfig() leader.Config {
	c := &s.cfg
	return leader.Config{
		Datacenter: c.Datacenter, NodeName: c.NodeName, NodeID: c.NodeID, Expect: c.Expect,
		CoordinatePeriod: c.CoordinatePeriod, ReconcilePeriod: c.ReconcilePeriod,
		TombstoneTTL: c.TombstoneTTL, TombstonePeriod: c.TombstonePeriod, SessionTTLMin: c.SessionTTLMin,
		AccessControl: c.Access.Enabled, AtHome: s.copies.AtHome, Tasks: map[string]func(context.Context){"home": s.copies.Keep, "copies": s.copies.Follow, "replication": s.replicas.Run, "autopilot": s.votes.Run,
			"nodes abroad": s.abroad.Run},
		Conditions:        map[string]func(context.Context, any) error{session.Bind.Name: s.abroad.Admit},
		InitialManagement: c.Access.InitialManagement, BootstrapReset: c.Access.BootstrapReset,
		State: c.State, Machine: s.machine, Transport: c.Transport, Authorizer: s.access.Authorizer, Log: s.log, Registerer: c.Registerer,
	}
}

// Dependencies are the collaborators that come to life after the server was made.
type Dependencies struct {
	Raft       Raft
	LAN        LAN
	WAN        WAN        // nil without WAN gossip
	Remote     Remote     // nil without WAN gossip
	Federation Federation // nil without WAN gossip
	// Global follows what is global at another datacenter, and nobody's results; nil
	// without WAN gossip.
	Global op.Subscriber
	// Views follows results of other datacenters; nil without WAN gossip.
	Views op.Subscriber
	// WANStreams reaches servers of other datacenters for snapshots; nil without
	// WAN gossip.
	WANStreams transfer.Opener
	// LANKeys and WANKeys ask the members of the pools for their keys; nil where
	// there are none.
	LANKeys, WANKeys keyring.Pool
	// Rings are the keys that this server has itself.
	Rings keyring.Rings
}

// Start begins the server's own work.
func (s *Server) Start(p Dependencies) error {
	s.keyrings = keyring.New(keyring.Config{Datacenter: s.cfg.Datacenter, LAN: p.LANKeys, WAN: p.WANKeys, Rings: p.Rings, Others: s.others, Caller: s, Everywhere: s.changesKeysEverywhere})
	s.raft, s.lan, s.wan, s.remote, s.federation, s.between, s.views = p.Raft, p.LAN, p.WAN, p.Remote, p.Federation, p.WANStreams, p.Views
	if s.wan != nil {
		s.copies.Connect(copies.Links{Federation: s.federation, Calls: s.remote, Follow: p.Global})
		s.replicas.Connect(replicas.Links{Calls: s, Follow: p.Global})
		s.abroad.Connect(s.views)
		s.own = directory.NewOwn(s.cfg.State, s.log)
	}
	if err := s.leader.Start(s.raft, s.lan); err != nil {
		return err
	}
	if s.wan == nil {
		return nil
	}
	return errors.Join(s.group.Go("flood join", s.floodJoin), s.group.Go("digest", s.own.Run))
}

// Machine applies what consensus commits.
func (s *Server) Machine() *state.Machine { return s.machine }

// SetRates changes how many calls a second this server admits.
func (s *Server) SetRates(r rates.Settings) { s.rates.Set(r) }

// Limits reports whether calls are admitted up to a rate.
func (s *Server) Limits() bool { return s.rates.On() }

// Snapshots saves and restores the state for operators.
func (s *Server) Snapshots() *snapshot.Snapshots { return s.snapshots }

// Authorizer says what who shows a secret may do in this datacenter, as this server
// knows it; see access.Resolver.
func (s *Server) Authorizer(secret string) (rules.Authorizer, error) {
	return s.access.Authorizer(secret)
}

// MembersChanged tells the server that gossip in its datacenter changed. It
// never blocks.
func (s *Server) MembersChanged() { s.leader.MembersChanged() }

// LeadershipChanged tells the server that it became leader, after an entry of
// its term was applied, or ceased to be. Calls come one after another.
func (s *Server) LeadershipChanged(leads bool) {
	s.leader.LeadershipChanged(leads)
	if leads {
		s.elected.tell()
	}
}

// LeaderKnown tells the server that it became known who leads. It never blocks.
func (s *Server) LeaderKnown() { s.elected.tell() }

// Stop ends the server's own work. Calls in progress end with their contexts.
func (s *Server) Stop(ctx context.Context) error {
	err := s.leader.Stop(ctx)
	return errors.Join(err, s.group.Stop(ctx))
}

// Leads reports whether this server leads and may answer as leader.
func (s *Server) Leads() bool { return s.raft.LeaseRead() }

// Leave gives up leadership if it is held and there are others to take it.
func (s *Server) Leave(ctx context.Context) error {
	if !s.raft.LeaseRead() {
		return nil
	}
	servers, _, err := s.raft.Configuration()
	if err != nil {
		return fmt.Errorf("read raft configuration: %w", err)
	}
	if !slices.ContainsFunc(servers, func(srv consensus.Server) bool { return srv.Voter && srv.ID != s.cfg.NodeID }) {
		return nil
	}
	return s.raft.TransferLeadership(ctx, "")
}

// Limits on work in progress.
const (
	maxInFlight = 8192    // calls being carried out or forwarded
	maxBlocked  = 1 << 16 // reads waiting for something newer
)
