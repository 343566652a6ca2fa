// Package server answers operations on a server: it is the Caller that local
// interfaces and remote agents share, and it carries out the leader's duties.
//
// It owns no sockets and no gossip pool; it is told of members and asks its
// collaborators through the interfaces below.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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
	"github.com/legate-project/legate/server/directory"
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
	results    *results
	group      *lifecycle.Group
	raft       Raft
	lan        LAN
	wan        WAN
	remote     Remote
	federation Federation
	between    transfer.Opener
	views      op.Subscriber  // results of other datacenters
	own        *directory.Own // nil without WAN gossip

	snapshots snapshotting

	flight   limiter
	blocked  limiter
	listings limiter
	followed limiter
	stall    time.Duration // how long a long result waits for its reader
	members  chan struct{} // wakes the reconciler; capacity 1
	coords   coordinates
	seen     atomic.Pointer[map[string]bool] // members, lower-cased, as the last round of reconciling saw them
	reigning atomic.Pointer[reign]

	mu       sync.Mutex // guards starting and ending reigns
	leads    bool       // as consensus said last
	started  time.Time  // when Start was called; zero before
	stopping bool
}

// reign is one time of leadership.
type reign struct {
	ctx    context.Context // ends with it
	end    context.CancelFunc
	group  *lifecycle.Group
	began  time.Time     // with a monotonic reading
	axis   time.Duration // how far the state's axis of time had got then
	timers *sessionTimers
}

var _ op.Caller = (*Server)(nil)

// New returns a server that answers nothing until Start.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	kept, err := newResults(cfg.State)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Log.With("component", "server"), metrics: newMetrics(cfg.Registerer),
		machine: state.New(), group: lifecycle.New("server"), members: make(chan struct{}, 1),
		flight: limiter{max: maxInFlight}, blocked: limiter{max: maxBlocked}, listings: limiter{max: maxListings}, followed: limiter{max: maxFollowed},
		stall: rpc.Stall, results: kept, snapshots: newSnapshotting(),
	}
	s.direct = s.directHandlers()
	return s, nil
}

// Parts are the collaborators that come to life after the server was made.
type Parts struct {
	Raft       Raft
	LAN        LAN
	WAN        WAN        // nil without WAN gossip
	Remote     Remote     // nil without WAN gossip
	Federation Federation // nil without WAN gossip
	// Views follows results of other datacenters; nil without WAN gossip.
	Views op.Subscriber
	// Between reaches servers of other datacenters for snapshots; nil without
	// WAN gossip.
	Between transfer.Opener
}

// Start begins the server's own work.
func (s *Server) Start(p Parts) error {
	s.mu.Lock()
	s.raft, s.lan, s.wan, s.remote, s.federation, s.between, s.views = p.Raft, p.LAN, p.WAN, p.Remote, p.Federation, p.Between, p.Views
	s.started = time.Now()
	if s.wan != nil {
		s.own = directory.NewOwn(s.cfg.State, s.log)
	}
	if s.leads && !s.stopping { // elected while gossip was still opening
		s.beginReign()
	}
	s.mu.Unlock()
	if err := s.group.Go("bootstrap", s.bootstrap); err != nil {
		return err
	}
	if s.wan == nil {
		return nil
	}
	return errors.Join(s.group.Go("flood join", s.floodJoin), s.group.Go("digest", s.own.Run))
}

// Machine applies what consensus commits.
func (s *Server) Machine() *state.Machine { return s.machine }

// MembersChanged tells the server that gossip in its datacenter changed. It
// never blocks.
func (s *Server) MembersChanged() {
	select {
	case s.members <- struct{}{}:
	default:
	}
}

// LeadershipChanged tells the server that it became leader, after an entry of
// its term was applied, or ceased to be. Calls come one after another.
func (s *Server) LeadershipChanged(leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endReign()
	if s.leads = leads; leads && !s.stopping && !s.started.IsZero() {
		s.beginReign()
	}
}

// endReign ends the leader's tasks, if there are any; s.mu is held.
func (s *Server) endReign() {
	old := s.reigning.Swap(nil)
	if old == nil {
		return
	}
	old.end()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := old.group.Stop(ctx); err != nil {
		s.log.Warn("leader tasks did not end in time", "error", err)
	}
}

// beginReign starts the leader's tasks; s.mu is held.
func (s *Server) beginReign() {
	r := &reign{group: lifecycle.New("leader tasks"), timers: newSessionTimers()}
	r.ctx, r.end = context.WithCancel(context.Background())
	if err := s.readAxis(r); err != nil {
		// The disk has failed or the server stops: nothing will be committed. If
		// it is neither, no delay ends before the next reign.
		s.log.Error("read how far time has got", "error", err)
	}
	s.reigning.Store(r)
	s.log.Info("this server leads the datacenter", "datacenter", s.cfg.Datacenter)
	for name, task := range map[string]func(context.Context){
		"reconcile": s.reconcileLoop, "coordinates": s.coordinateLoop, "tombstones": s.tombstoneLoop,
		"sessions": func(ctx context.Context) { s.sessionLoop(ctx, r) },
	} {
		if err := r.group.Go(name, task); err != nil {
			s.log.Error("start leader task", "task", name, "error", err)
		}
	}
}

// Stop ends the server's own work. Calls in progress end with their contexts.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.LeadershipChanged(false)
	return s.group.Stop(ctx)
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
	stopTimeout = 5 * time.Second
)

// limiter counts work in progress up to a bound.
type limiter struct {
	max int64
	n   atomic.Int64
}

func (l *limiter) enter() bool {
	if l.n.Add(1) > l.max {
		l.n.Add(-1)
		return false
	}
	return true
}

func (l *limiter) leave() { l.n.Add(-1) }
