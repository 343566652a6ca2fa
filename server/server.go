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
	"time"

	"github.com/hashicorp/serf/coordinate"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/op/transfer"
	"github.com/legate-project/legate/server/directory"
	"github.com/legate-project/legate/server/leader"
	"github.com/legate-project/legate/server/limit"
	"github.com/legate-project/legate/server/listing"
	"github.com/legate-project/legate/server/near"
	"github.com/legate-project/legate/server/queries"
	"github.com/legate-project/legate/server/results"
	"github.com/legate-project/legate/server/snapshot"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/wan"
)

// Raft is what the server needs of its consensus node.
type Raft interface {
	Propose(ctx context.Context, command []byte) (any, error)
	ConfirmLeadership(ctx context.Context) (readIndex uint64, err error)
	LeaseRead() bool
	Leader() (id, address string)
	LastContact() time.Duration
	Configuration() ([]consensus.Server, uint64, error)
	Bootstrap([]consensus.Server) error
	AddVoter(ctx context.Context, id, address string) error
	RemoveServer(ctx context.Context, id string) error
	TransferLeadership(ctx context.Context) error
	Stats() map[string]string
}

var _ Raft = (*consensus.Node)(nil)

// LAN is what the server needs of the gossip pool of its datacenter.
type LAN interface {
	Members() []lan.Member
	Servers() []lan.Server
	// FireEvent broadcasts a small message.
	FireEvent(name string, payload []byte) error
}

// WAN is what the server needs of the gossip pool of all datacenters.
type WAN interface {
	Servers() []wan.Server
	FloodJoin(ctx context.Context, servers []wan.Server) (int, error)
	CoordinateOf(name string) (*coordinate.Coordinate, bool)
	// RoundTrip is what this server's own probes of a member show.
	RoundTrip(name string) (time.Duration, bool)
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

	// HoldTimeout is how long a call waits for a leader to appear; default 7 s.
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

	State     *storage.State
	Transport rpc.RoundTripper // reaches the servers of this datacenter
	Streams   transfer.Opener  // the same for snapshots; nil forwards none
	// SpoolDir is where snapshots that are to be restored are kept meanwhile; ""
	// is the system's directory for temporary files.
	SpoolDir string
	// Version of the program, for people who look at a snapshot.
	Version    string
	Authorizer func(token string) (rules.Authorizer, error)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (c *Config) setDefaults() {
	for d, v := range map[*time.Duration]time.Duration{
		&c.HoldTimeout: 7 * time.Second, &c.DefaultWait: 5 * time.Minute, &c.MaxWait: 10 * time.Minute,
		&c.CoordinatePeriod: 5 * time.Second, &c.ReconcilePeriod: time.Minute,
		&c.TombstoneTTL: 15 * time.Minute, &c.TombstonePeriod: 30 * time.Second,
	} {
		if *d == 0 {
			*d = v
		}
	}
	if c.Authorizer == nil {
		c.Authorizer = func(string) (rules.Authorizer, error) { return rules.AllowAll(), nil }
	}
}

// Server answers operations. Its methods are safe for concurrent use.
type Server struct {
	cfg        Config
	log        *slog.Logger
	metrics    *metrics
	machine    *state.Machine
	direct     map[string]op.Handler
	results    *results.Store
	near       *near.Order
	long       *listing.Lister
	leader     *leader.Duties
	queries    *queries.Executor
	snapshots  *snapshot.Snapshots
	group      *lifecycle.Group
	raft       Raft
	lan        LAN
	wan        WAN
	remote     Remote
	federation Federation
	between    transfer.Opener
	views      op.Subscriber  // results of other datacenters
	own        *directory.Own // nil without WAN gossip

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
	s := &Server{
		cfg: cfg, log: cfg.Log.With("component", "server"), metrics: newMetrics(cfg.Registerer),
		machine: state.New(), group: lifecycle.New("server"), results: kept, near: near.New(kept),
		flight: limit.New(maxInFlight), blocked: limit.New(maxBlocked), followed: limit.New(maxFollowed),
	}
	s.long = listing.New(cfg.State, s.group.Context())
	s.leader = leader.New(s.leaderConfig())
	s.queries = queries.New(site{s}, queries.Config{Datacenter: cfg.Datacenter, Authorizer: cfg.Authorizer, Results: kept, Near: s.near,
		Group: s.group, Log: s.log, Registerer: cfg.Registerer})
	s.snapshots = snapshot.New(site{s}, s.leader, snapshot.Config{Datacenter: cfg.Datacenter, NodeName: cfg.NodeName, Version: cfg.Version,
		SpoolDir: cfg.SpoolDir, State: cfg.State, Authorizer: cfg.Authorizer, Group: s.group, Log: s.log, Registerer: cfg.Registerer})
	s.direct = s.directHandlers()
	return s, nil
}

func (s *Server) leaderConfig() leader.Config {
	c := &s.cfg
	return leader.Config{
		Datacenter: c.Datacenter, NodeName: c.NodeName, NodeID: c.NodeID, Expect: c.Expect,
		CoordinatePeriod: c.CoordinatePeriod, ReconcilePeriod: c.ReconcilePeriod,
		TombstoneTTL: c.TombstoneTTL, TombstonePeriod: c.TombstonePeriod, SessionTTLMin: c.SessionTTLMin,
		State: c.State, Machine: s.machine, Transport: c.Transport, Authorizer: c.Authorizer, Log: s.log, Registerer: c.Registerer,
	}
}

// Dependencies are the collaborators that come to life after the server was made.
type Dependencies struct {
	Raft       Raft
	LAN        LAN
	WAN        WAN        // nil without WAN gossip
	Remote     Remote     // nil without WAN gossip
	Federation Federation // nil without WAN gossip
	// Views follows results of other datacenters; nil without WAN gossip.
	Views op.Subscriber
	// WANStreams reaches servers of other datacenters for snapshots; nil without
	// WAN gossip.
	WANStreams transfer.Opener
}

// Start begins the server's own work.
func (s *Server) Start(p Dependencies) error {
	s.raft, s.lan, s.wan, s.remote, s.federation, s.between, s.views = p.Raft, p.LAN, p.WAN, p.Remote, p.Federation, p.WANStreams, p.Views
	if s.wan != nil {
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

// Snapshots saves and restores the state for operators.
func (s *Server) Snapshots() *snapshot.Snapshots { return s.snapshots }

// MembersChanged tells the server that gossip in its datacenter changed. It
// never blocks.
func (s *Server) MembersChanged() { s.leader.MembersChanged() }

// LeadershipChanged tells the server that it became leader, after an entry of
// its term was applied, or ceased to be. Calls come one after another.
func (s *Server) LeadershipChanged(leads bool) { s.leader.LeadershipChanged(leads) }

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
	if len(servers) < 2 {
		return nil
	}
	return s.raft.TransferLeadership(ctx)
}

// Limits on work in progress.
const (
	maxInFlight = 8192    // calls being carried out or forwarded
	maxBlocked  = 1 << 16 // reads waiting for something newer
)
