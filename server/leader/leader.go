// Package leader is what a server does because it leads its datacenter: it
// prepares commands and has them replicated, keeps the catalog and the consensus
// group in line with gossip, counts the TTLs of sessions, forgets lock-delays and
// deletions that are over, and writes coordinates in batches. It also starts the
// first consensus group of a new datacenter.
//
// Its tasks run from the moment that consensus reports leadership to the moment
// that it is lost: a reign. It answers no reads, and it does not decide which
// server a call is for.
package leader

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

// stopTimeout is how long the end of a reign waits for its tasks.
const stopTimeout = 5 * time.Second

// Raft is what a leader needs of its consensus node.
type Raft interface {
	Propose(ctx context.Context, command []byte) (any, error)
	Configuration() ([]consensus.Server, uint64, error)
	Bootstrap([]consensus.Server) error
	AddVoter(ctx context.Context, id, address string) error
	AddNonvoter(ctx context.Context, id, address string) error
	RemoveServer(ctx context.Context, id string) error
}

// LAN is what a leader needs of the gossip pool of its datacenter.
type LAN interface {
	Members() []lan.Member
	Servers() []lan.Server
}

// Config says for which server, and how often what is done.
type Config struct {
	Datacenter, NodeName, NodeID string
	// Expect is how many servers must be seen before the first of them starts
	// consensus; 1 starts alone, 0 never starts it.
	Expect int
	// CoordinatePeriod is how often gathered coordinates are written.
	CoordinatePeriod time.Duration
	// ReconcilePeriod is how often all members are compared with the catalog.
	ReconcilePeriod time.Duration
	// TombstoneTTL is how long deletions are remembered for blocking queries.
	// They are collected each TombstonePeriod.
	TombstoneTTL, TombstonePeriod time.Duration
	// SessionTTLMin is the shortest TTL that a session may have.
	SessionTTLMin time.Duration
	// AccessControl has the leader keep what access control always needs, and remove
	// tokens that have ended.
	AccessControl bool
	// AtHome reports whether what is global is written in this datacenter; nil for always.
	AtHome func() bool
	// Tasks are what else is done while this server leads, by name.
	Tasks map[string]func(context.Context)
	// Conditions are asked before a command is replicated, by the name of its operation and
	// with its request: what it needs beyond what is stored here. An error refuses it.
	Conditions map[string]func(ctx context.Context, request any) error
	// InitialManagement is the secret of a management token that is always there; "" for
	// none. Never logged.
	InitialManagement string
	// BootstrapReset is op.Leader's.
	BootstrapReset func() uint64

	State      *storage.State
	Machine    *state.Machine
	Transport  rpc.RoundTripper // reaches the servers of this datacenter
	Authorizer func(token string) (rules.Authorizer, error)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Duties are what one server does while it leads. Its methods are safe for
// concurrent use; what needs consensus or gossip works from Start on.
type Duties struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	group   *lifecycle.Group
	raft    Raft
	lan     LAN
	members chan struct{} // wakes the reconciler; capacity 1
	coords  coordinates
	seen    atomic.Pointer[map[string]bool] // members, lower-cased, as the last round of reconciling saw them

	reigning atomic.Pointer[reign]
	late     atomic.Pointer[behind]

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

// New returns the duties of a server that does not lead yet.
func New(cfg Config) *Duties {
	return &Duties{cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Registerer), group: lifecycle.New("leadership"), members: make(chan struct{}, 1)}
}

// Handlers list what only a leader answers, from what it holds itself.
func (d *Duties) Handlers() []op.Handler {
	update, renew := coordinate.Update.Handle(d.updateCoordinate), session.Renew.Handle(d.renewSession)
	update.LeaderOnly, renew.LeaderOnly = true, true
	return []op.Handler{update, renew}
}

// Start begins the reign if consensus has reported leadership already, and
// starts consensus itself once, when it is this server's turn.
func (d *Duties) Start(raft Raft, pool LAN) error {
	d.mu.Lock()
	d.raft, d.lan, d.started = raft, pool, time.Now()
	if d.leads && !d.stopping { // elected while gossip was still opening
		d.beginReign()
	}
	d.mu.Unlock()
	return d.group.Go("bootstrap", d.bootstrap)
}

// Stop ends the reign and whatever else is done.
func (d *Duties) Stop(ctx context.Context) error {
	d.mu.Lock()
	d.stopping = true
	d.mu.Unlock()
	d.LeadershipChanged(false)
	return d.group.Stop(ctx)
}

// MembersChanged says that gossip in the datacenter changed. It never blocks.
func (d *Duties) MembersChanged() {
	select {
	case d.members <- struct{}{}:
	default:
	}
}

// LeadershipChanged says that this server became leader, after an entry of its
// term was applied, or ceased to be. Calls come one after another.
func (d *Duties) LeadershipChanged(leads bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.endReign()
	if d.leads = leads; leads && !d.stopping && !d.started.IsZero() {
		d.beginReign()
	}
}

// Reign is closed when the reign ends; nil if there is none.
func (d *Duties) Reign() <-chan struct{} {
	if r := d.reigning.Load(); r != nil {
		return r.ctx.Done()
	}
	return nil
}

// Renew begins the reign anew after the state was replaced: who waits and what
// the leader knew of the old state ends with the old one.
func (d *Duties) Renew() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reigning.Load() == nil || d.stopping {
		return // the next leader begins with the new state anyway
	}
	d.endReign()
	d.beginReign()
}

// endReign ends the leader's tasks, if there are any; d.mu is held.
func (d *Duties) endReign() {
	old := d.reigning.Swap(nil)
	if old == nil {
		return
	}
	old.end()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := old.group.Stop(ctx); err != nil {
		d.log.Warn("leader tasks did not end in time", "error", err)
	}
}

// beginReign starts the leader's tasks; d.mu is held.
func (d *Duties) beginReign() {
	r := &reign{group: lifecycle.New("leader tasks"), timers: newSessionTimers()}
	r.ctx, r.end = context.WithCancel(context.Background())
	if err := d.readAxis(r); err != nil {
		// The disk has failed or the server stops: nothing will be committed. If
		// it is neither, no delay ends before the next reign.
		d.log.Error("read how far time has got", "error", err)
	}
	d.reigning.Store(r)
	d.log.Info("this server leads the datacenter")
	tasks := map[string]func(context.Context){
		"reconcile": d.reconcileLoop, "coordinates": d.coordinateLoop, "tombstones": d.tombstoneLoop,
		"sessions": func(ctx context.Context) { d.sessionLoop(ctx, r) }, "tokens": d.tokenLoop, "locks": d.lockLoop,
	}
	maps.Copy(tasks, d.cfg.Tasks)
	for name, task := range tasks {
		if err := r.group.Go(name, task); err != nil {
			d.log.Error("start leader task", "task", name, "error", err)
		}
	}
}

// every calls f each period until ctx ends.
func every(ctx context.Context, period time.Duration, f func()) {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}
