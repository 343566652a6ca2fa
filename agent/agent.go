// Package agent builds a client or a server out of the other rooms and owns
// their start, stop and reload.
//
// It decides who is wired to whom and in which order they live; what each
// does is its own business. Two agents fit in one process.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/agent/certificates"
	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/agent/exec"
	"github.com/legate-project/legate/agent/failover"
	"github.com/legate-project/legate/agent/keyring"
	"github.com/legate-project/legate/agent/limits"
	"github.com/legate-project/legate/agent/local"
	"github.com/legate-project/legate/agent/memberlog"
	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/agent/rights"
	"github.com/legate-project/legate/agent/watches"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/dns"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/metrics"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/transfer"
	"github.com/legate-project/legate/op/view"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// Options make an Agent.
type Options struct {
	Config *config.Config
	Log    *slog.Logger
	// Level, if set, is changed by a reload of log_level.
	Level *slog.LevelVar
	// Load reads the configuration again for a reload that comes through the
	// HTTP API; nil refuses those.
	Load func() (*config.Config, error)
	// Version of this build, for people.
	Version string
	// WrapWAN, if set, wraps the socket of the traffic between datacenters.
	WrapWAN func(net.PacketConn) net.PacketConn
	// Timing overrides timers; the zero value takes the configuration's.
	Timing Timing
}

// Timing shortens timers where many agents live in one process for a while.
type Timing struct {
	// FastGossip takes the pace of loopback for both pools.
	FastGossip bool
	// LAN and WAN change single times of gossip.
	LAN, WAN gossip.Timing
	// Raft timeouts: heartbeat and election; 0 takes the multiplier's.
	RaftHeartbeat time.Duration
	// SyncPeriod and CoordinatePeriod of the agent's own state.
	SyncPeriod, CoordinatePeriod time.Duration
	// AutopilotPeriod is how often the leader looks at the servers.
	AutopilotPeriod time.Duration
	// MetricsInterval of /v1/agent/metrics/stream.
	MetricsInterval time.Duration
}

// Agent is one running agent. Its methods are safe for concurrent use.
type Agent struct {
	opts Options
	cfg  *config.Config                // as started
	live atomic.Pointer[config.Config] // as reloaded: what a reload changes counts from here
	log  *slog.Logger
	logs *logging.Tee   // all that log writes
	calm *logging.Limit // of what repeats
	// members writes what happens to the members of the pools.
	members *memberlog.Log
	tokens  *tokens
	group   *lifecycle.Group
	dir     *dataDir
	keys    keyring.Rings
	gateway struct { // what it is to other datacenters, if it is one
		shows *identity.Delegated
		keys  *identity.Bestowed // nil without gossip keys
	}
	id      string
	self    identity.Peer
	certs   *certificates.Certificates
	reg     *metrics.Registry
	tracer  *tracing.Tracer // nil unless traces are sent
	lan     *lan.Pool
	servers *serverList         // servers of the datacenter
	calls   *transport.Endpoint // to servers of the datacenter
	limits  *limits.Limits
	caller  op.Caller
	own     op.Caller     // for what the agent does by itself
	rights  rights.Source // what its own callers may do
	views   *view.Views   // nil on a server without WAN
	events  *events.Ring
	// failover knows which services fail over to other datacenters.
	failover *failover.Follower
	exec     atomic.Pointer[exec.Exec] // nil unless remote execution is enabled
	// watches run the handlers of the configuration.
	watches *watches.Watches
	// snapshots makes and restores them.
	snapshots transfer.Handler
	local     *local.State
	// localState is local once gossip may look at it.
	localState atomic.Pointer[local.State]
	readiness  *ready.Readiness
	pulse      ready.Pulse                // see Alive
	server     *serverParts               // nil on a client
	dns        atomic.Pointer[dns.Server] // nil without DNS
	reload     sync.Mutex                 // held by the reload that is carried out
	http       []net.Addr
	https      []net.Addr

	once sync.Once
	done chan struct{} // closed when the agent left by request or failed
	mu   sync.Mutex
	err  error // why done was closed; nil for a leave
}

// New checks the options and claims the data directory. The agent must be
// stopped even if it was never started.
func New(o Options) (*Agent, error) {
	a := &Agent{opts: o, cfg: o.Config, group: lifecycle.New("agent " + o.Config.NodeName), done: make(chan struct{}),
		readiness: ready.New(o.Config.Performance.RPCHoldTimeout), pulse: ready.NewPulse()}
	a.logs = logging.NewTee(o.Log.Handler())
	a.calm = logging.NewLimit(a.logs)
	a.log = slog.New(logging.Named(a.calm, "agent", logging.Origin{Node: o.Config.NodeName, Datacenter: o.Config.Datacenter}))
	a.members = memberlog.New(a.log)
	a.live.Store(o.Config)
	var err error
	if a.dir, err = openDataDir(o.Config); err != nil {
		return nil, err
	}
	if a.id, err = a.dir.nodeID(o.Config.NodeID, a.freshID); err != nil {
		return nil, errors.Join(err, a.dir.close())
	}
	if a.tokens, err = openTokens(o.Config, a.dir); err != nil {
		return nil, errors.Join(err, a.dir.close())
	}
	a.self = identity.Peer{Federation: o.Config.Federation.Name, Datacenter: o.Config.Datacenter, NodeID: a.id, Name: o.Config.NodeName, Server: o.Config.Server}
	a.reg = metrics.NewRegistry(o.Config.NodeName, o.Config.NodeName+"."+o.Config.Datacenter)
	if a.limits, err = limits.New(o.Config.Limits, a.reg); err != nil {
		return nil, errors.Join(err, a.dir.close())
	}
	registerMetrics(a)
	a.events = a.newEvents()
	a.watches = watches.New(watches.Config{Client: a.ownClient, Log: a.log})
	if _, err := watches.Parse(o.Config.Watches); err != nil {
		return nil, errors.Join(err, a.dir.close())
	}
	if err := errors.Join(a.group.Go("log limits", a.calm.Run), a.group.Go("log of members", a.members.Run)); err != nil {
		return nil, err
	}
	if err := a.group.OnStop("metrics", func(context.Context) error { a.reg.Close(); return nil }); err != nil {
		return nil, err
	}
	return a, a.group.OnStop("data directory", func(context.Context) error { return a.dir.close() })
}

// Start brings the agent up: storage, consensus, gossip, then the interfaces.
// If it fails, what was started is stopped again.
func (a *Agent) Start(ctx context.Context) error {
	err := a.start(ctx)
	if err == nil {
		return nil
	}
	stop, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	// Done stays open: who waits for both is to see this error.
	return errors.Join(err, a.group.Stop(stop))
}

// stopTimeout bounds the clean-up of a failed start.
const stopTimeout = 10 * time.Second

func (a *Agent) start(ctx context.Context) error {
	if err := a.startTracing(); err != nil {
		return err
	}
	identity, err := a.openIdentity()
	if err != nil {
		return err
	}
	build := a.startClient
	if a.cfg.Server {
		if err := a.startSeen(); err != nil {
			return err
		}
		build = a.startServer
	}
	if err := build(ctx, identity); err != nil {
		return err
	}
	if err := a.renewConnections(); err != nil {
		return err
	}
	if err := a.startRights(); err != nil {
		return err
	}
	if err := a.startLocal(); err != nil {
		return err
	}
	if err := a.startExec(); err != nil {
		return err
	}
	if err := a.startMetrics(); err != nil {
		return err
	}
	if err := a.startJoins(); err != nil {
		return err
	}
	if err := a.startInterfaces(); err != nil {
		return err
	}
	if err := a.startWatches(); err != nil {
		return err
	}
	return a.startPulse()
}

// Done is closed when the agent has left on request, or cannot go on; Err
// tells which.
func (a *Agent) Done() <-chan struct{} { return a.done }

// Err returns why the agent cannot go on, nil if it left on request.
func (a *Agent) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// finish closes Done, the first time with the reason that stands.
func (a *Agent) finish(reason error) {
	a.once.Do(func() {
		a.mu.Lock()
		a.err = reason
		a.mu.Unlock()
		close(a.done)
	})
}

// Stop ends everything in reverse order of its start, without leaving: others
// will see this agent fail. It returns what did not end in time.
// If the agent could not go on, the error says why.
func (a *Agent) Stop(ctx context.Context) error {
	a.readiness.Leave()
	err := a.group.Stop(ctx)
	a.finish(nil)
	return errors.Join(a.Err(), err)
}

// Leave says goodbye: leadership moves on, then the WAN and the LAN pool hear
// that this agent leaves. A server goes on answering before that, for
// leave_drain_time. It does not stop the agent.
func (a *Agent) Leave(ctx context.Context) error {
	a.readiness.Leave()
	var errs []error
	if a.server != nil {
		a.server.drain(ctx, a.cfg.Performance.LeaveDrainTime)
		if err := a.server.leave(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if a.lan == nil {
		return errors.Join(errs...)
	}
	if s := a.localState.Load(); s != nil {
		// What is sent after the others have removed this node would bring it back.
		if err := s.Leave(ctx); err != nil {
			errs = append(errs, fmt.Errorf("end anti-entropy: %w", err))
		}
	}
	a.log.Info("leaving the LAN pool")
	if err := a.lan.Leave(); err != nil {
		errs = append(errs, fmt.Errorf("leave the LAN pool: %w", err))
	}
	if a.server != nil {
		a.server.awaitRemoval(ctx)
	}
	return errors.Join(errs...)
}

// HandOver has another server lead, if this one does: to stop costs no election then.
func (a *Agent) HandOver(ctx context.Context) error {
	if a.server == nil {
		return nil
	}
	return a.server.server.Leave(ctx)
}

// NodeID returns the node's UUID.
func (a *Agent) NodeID() string { return a.id }

// Caller carries operations from this agent.
func (a *Agent) Caller() op.Caller { return a.caller }

// HTTPAddrs returns where the HTTP interface listens.
func (a *Agent) HTTPAddrs() []net.Addr { return a.http }

// FatalError is why an agent had to stop by itself.
type FatalError struct{ Err error }

// Error implements error.
func (e *FatalError) Error() string { return "agent cannot go on: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *FatalError) Unwrap() error { return e.Err }
