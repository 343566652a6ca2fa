// Package votes decides who votes in the consensus group of a datacenter: the leader
// watches the servers, gives a vote to those that have been healthy for a while, takes
// it from those that must not have one, and has dead ones leave where that raises how
// many more may fail.
//
// It adds no servers to the group and follows no addresses: that is server/leader. It
// forgets nobody that only restarts. Watching and carrying out are raft-autopilot's; what
// is to be done is decided in promoter.go.
package votes

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	autopilot "github.com/hashicorp/raft-autopilot"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	state "github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/storage"
)

const (
	// defaultPeriod is how often the servers are looked at.
	defaultPeriod = 2 * time.Second
	// firstPause is the wait before it is tried again to write the first
	// configuration.
	firstPause = 200 * time.Millisecond
	// stopTimeout bounds the wait for what gossip is told.
	stopTimeout = 2 * time.Second
	// maxServers bounds what is looked at: more are no consensus group.
	maxServers = 256
	// asksAtOnce bounds how many servers are asked at a time.
	asksAtOnce = 16
)

// Group is the consensus node of this server.
type Group interface {
	// Pilot is the node as the library wants it, until ctx ends.
	Pilot(ctx context.Context) autopilot.Raft
	Configuration() ([]consensus.Server, uint64, error)
	LastContact() time.Duration
	LastLog() (index, term uint64, err error)
	Heard(id string) (ago, heartbeat time.Duration, lastIndex uint64)
}

// Config says for which server, and with whom it works.
type Config struct {
	NodeID string
	// First is the configuration of a datacenter that has none.
	First state.Config
	// Period is how often the servers are looked at; default 2 s.
	Period time.Duration
	// Group and Servers are asked from Run on.
	Group   func() Group
	Servers func() []lan.Server
	// Self writes for the datacenter itself.
	Self func() op.Caller
	// ForceLeave has gossip take a dead server for one that left.
	ForceLeave func(name string) error

	State      *storage.State
	Transport  rpc.RoundTripper // reaches the servers of this datacenter
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Votes is what one server does about votes while it leads, and says of itself to who
// leads. Its methods are safe for concurrent use.
type Votes struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	running atomic.Pointer[autopilot.Autopilot]
}

// New returns what watches nobody until Run.
func New(cfg Config) *Votes {
	if cfg.Period == 0 {
		cfg.Period = defaultPeriod
	}
	return &Votes{cfg: cfg, log: cfg.Log.With("component", "autopilot"), metrics: newMetrics(cfg.Registerer)}
}

// Handlers list what a server answers about itself, and what only the leader knows.
func (v *Votes) Handlers() []op.Handler {
	show := state.Show.Handle(v.show)
	show.LeaderOnly = true
	return []op.Handler{state.ServerStats.Handle(v.stats), show}
}

// Run watches the servers while this one leads: until ctx ends and nothing of it is left.
func (v *Votes) Run(ctx context.Context) {
	group := lifecycle.New("autopilot")
	w := &watch{v: v, ctx: ctx, group: group, raft: v.cfg.Group()}
	log := logging.HCLog(slog.New(until{v.log.Handler(), ctx}))
	a := autopilot.New(w.raft.Pilot(ctx), w, autopilot.WithLogger(log), autopilot.WithPromoter(promoter{time.Now}),
		autopilot.WithUpdateInterval(v.cfg.Period), autopilot.WithReconcileInterval(v.cfg.Period))
	a.Start(ctx)
	v.running.Store(a)
	w.writeFirst()
	v.running.Store(nil)
	<-a.Stop()
	v.metrics.forget()
	stop, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := group.Stop(stop); err != nil {
		v.log.Warn("gossip still tells of servers that are gone", "error", err)
	}
}

// until is a log that ends with a context: what fails because a reign is over is no
// failure.
type until struct {
	slog.Handler
	ctx context.Context
}

// Enabled implements slog.Handler.
func (u until) Enabled(ctx context.Context, level slog.Level) bool {
	return u.ctx.Err() == nil && u.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (u until) WithAttrs(attrs []slog.Attr) slog.Handler {
	return until{u.Handler.WithAttrs(attrs), u.ctx}
}

// WithGroup implements slog.Handler.
func (u until) WithGroup(name string) slog.Handler { return until{u.Handler.WithGroup(name), u.ctx} }

// stats is what this server says of itself.
func (v *Votes) stats(context.Context, op.Header, *op.Empty) (*state.Stats, error) {
	g := v.cfg.Group()
	index, term, err := g.LastLog()
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", v.cfg.NodeID, err)
	}
	return &state.Stats{LastContact: min(g.LastContact(), op.Longest), LastIndex: index, LastTerm: term}, nil
}
