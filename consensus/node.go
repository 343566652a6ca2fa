package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/consensus/early"
	"github.com/legate-project/legate/internal/lifecycle"
)

// Node is one running member, or member to be, of a Raft group. Its methods
// are safe for concurrent use.
type Node struct {
	cfg     Config
	raft    *raft.Raft
	started atomic.Pointer[raft.Raft] // raft, for what Raft's own goroutines call
	fsm     *fsm
	metrics *metrics
	group   *lifecycle.Group
	lease   *lease
	peers   *leaseTransport

	queue chan *proposal
	sent  chan sentEntry
	slots chan struct{}
	// answered says that an entry was, to who waits for that; capacity 1.
	answered chan struct{}
	confirm  chan *confirmation
	absence  absence
	reign    atomic.Int64  // when it began to lead last, by the lease's clock
	ready    atomic.Uint64 // the term in which this node led and had applied all before it; 0 for none

	waits   *lifecycle.Group // goroutines that wait for Raft; some for ever, see await
	closing chan struct{}    // closed when Stop begins: nothing new is taken
	stopOne sync.Once
	down    chan struct{} // closed when the node fails or Raft is about to stop
	downOne sync.Once
	gone    raft.Future // of Raft's end
	goneOne sync.Once
	failed  chan error // capacity 1
	failOne sync.Once
}

// Start runs a node. After an error nothing is left running; Log, State and
// Transport remain the caller's to close.
func Start(cfg Config) (_ *Node, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.withDefaults()
	if err := reconcile(cfg.Log, cfg.State, cfg.Address); err != nil {
		return nil, fmt.Errorf("start raft: %w", err)
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, metrics: m, group: lifecycle.New("consensus"),
		queue: make(chan *proposal, maxQueued), sent: make(chan sentEntry, maxInFlight),
		slots: make(chan struct{}, maxInFlight), answered: make(chan struct{}, 1), confirm: make(chan *confirmation, maxConfirmations),
		waits: lifecycle.New("raft futures"), closing: make(chan struct{}),
		down: make(chan struct{}), failed: make(chan error, 1),
	}
	j := newJournal(cfg.Log, n.fail)
	store := newSnapshotStore(cfg.State, j, m)
	n.fsm = &fsm{state: cfg.State, machine: cfg.Machine, store: store, metrics: m, fail: n.fail}
	n.fsm.applied.reach(cfg.State.Position().Index)
	n.watchPeers()
	j.storing = n.storing
	if n.raft, err = newRaft(&cfg, n.fsm, j, store, n.peers); err != nil {
		m.unregister()
		return nil, fmt.Errorf("start raft: %w", err)
	}
	n.started.Store(n.raft)
	if err := n.run(); err != nil {
		return nil, errors.Join(err, n.Stop(context.Background()))
	}
	return n, nil
}

// newRaft starts Raft. It runs on a goroutine of its own, because that is what
// the journal ends when Raft's term cannot be stored.
func newRaft(cfg *Config, f *fsm, j *journal, store *snapshotStore, peers raft.Transport) (*raft.Raft, error) {
	var r *raft.Raft
	err := errors.New("the term could not be stored")
	done := make(chan struct{})
	g := lifecycle.New("raft start")
	e := g.Spawn("start", func(context.Context) {
		defer close(done)
		r, err = raft.NewRaft(cfg.raftConfig(), f, j, j, store, peers)
	})
	if e != nil {
		return nil, e
	}
	<-done
	return r, errors.Join(err, j.Err())
}

// watchPeers makes the lease. Its voters are known once Raft runs.
func (n *Node) watchPeers() {
	n.lease = newLease(raft.ServerID(n.cfg.NodeID), n.cfg.Timing.Lease, func() []raft.ServerID {
		var ids []raft.ServerID
		r := n.started.Load()
		if r == nil {
			return nil
		}
		for _, s := range r.GetConfiguration().Configuration().Servers {
			if s.Suffrage == raft.Voter {
				ids = append(ids, s.ID)
			}
		}
		return ids
	})
	n.peers = newLeaseTransport(n.cfg.Transport, n.lease, n.started.Load, n.down)
	n.peers.voted = func(candidate raft.ServerID, term uint64, granted bool) {
		n.cfg.Logger.Info("this server was asked for its vote", "candidate", n.nameOf(candidate), "term", term, "granted", granted)
	}
	n.peers.group = n.group
	n.peers.early = early.New(n.group, func() uint64 { return n.started.Load().CommitIndex() })
}

// storing has entries sent while they are written, if this node leads: Raft says so on the goroutine that writes.
func (n *Node) storing(entries []*raft.Log) {
	r := n.started.Load()
	if r == nil || r.State() != raft.Leader || len(entries) == 0 {
		return
	}
	var prev raft.Log
	if n.cfg.Log.GetLog(entries[0].Index-1, &prev) == nil {
		n.peers.early.Storing(prev.Term, entries)
	}
}

func (n *Node) run() error {
	if err := n.metrics.watch(n); err != nil {
		return err
	}
	observations := make(chan raft.Observation, maxObservations)
	n.raft.RegisterObserver(raft.NewObserver(observations, false, wanted))
	return errors.Join(
		n.group.Go("failures", n.watchDisks),
		n.group.Go("requests", n.peers.forward),
		n.group.Go("observations", func(ctx context.Context) { n.observe(ctx, observations) }),
		n.group.Go("leadership", n.followLeadership),
		n.group.Go("vigil", n.vigil),
		n.group.Go("confirmations", n.confirmLoop),
		n.group.Go("answers", n.answerLoop),
		n.group.Go("proposals", n.proposeLoop),
	)
}

// watchDisks makes a failure of either disk that of the node, and takes a node
// that has failed or stops out of the group.
func (n *Node) watchDisks(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-n.cfg.Log.Failed():
		n.fail(n.cfg.Log.Err())
	case <-n.cfg.State.Failed():
		n.fail(n.cfg.State.Err())
	case <-n.down:
	}
	n.shutdown()
}

// shutdown ends Raft. Only the first of its futures waits and closes the
// transport, so that one is kept.
func (n *Node) shutdown() raft.Future {
	n.goneOne.Do(func() { n.gone = n.raft.Shutdown() })
	return n.gone
}

// fail records the first failure. It does not wait: Raft's own goroutines call it.
func (n *Node) fail(err error) {
	n.failOne.Do(func() {
		n.metrics.failed.Set(1)
		n.failed <- err
		n.takeDown()
	})
}

func (n *Node) takeDown() { n.downOne.Do(func() { close(n.down) }) }

// Failed yields the reason when the node stopped by itself. It leads no more
// by then; Stop is still to be called.
func (n *Node) Failed() <-chan error { return n.failed }

// drainLimit bounds how long Stop lets Raft answer what it has.
const drainLimit = time.Second

// Stop leaves the group without telling it, answers who still waits, and
// closes the transport. It waits as long as ctx allows.
func (n *Node) Stop(ctx context.Context) error {
	n.stopOne.Do(func() { close(n.closing) })
	n.drain(ctx)
	n.takeDown()
	err := wait(ctx, n.waits, n.shutdown(), nil)
	if err != nil {
		err = fmt.Errorf("stop raft: %w", err)
	}
	err = errors.Join(err, n.group.Stop(ctx))
	n.metrics.unregister()
	return err
}

// drain takes all slots: then Raft has answered every entry.
func (n *Node) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	for range maxInFlight {
		select {
		case n.slots <- struct{}{}:
		case <-ctx.Done():
			return
		case <-n.down:
			return
		}
	}
}

// await waits for a future as long as ctx allows and the node runs. Raft never
// answers some of what it was asked shortly before it stopped: then the caller
// goes on and the goroutine that waits stays.
func (n *Node) await(ctx context.Context, f raft.Future) error { return wait(ctx, n.waits, f, n.down) }

func wait(ctx context.Context, g *lifecycle.Group, f raft.Future, down <-chan struct{}) error {
	done := make(chan error, 1)
	if err := g.Spawn("future", func(context.Context) { done <- f.Error() }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-down:
		return raft.ErrRaftShutdown
	case <-ctx.Done():
		return ctx.Err()
	}
}

// translate maps Raft's errors to this package's. What is not known to have been
// refused may have reached the log: ErrLost. The end of a context stays what it is.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// Barrier returns when everything committed before it is applied here. Only
// the leader can.
func (n *Node) Barrier(ctx context.Context) error {
	if err := translate(n.await(ctx, n.raft.Barrier(0))); err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	return nil
}

// WaitApplied returns when the entry at the Raft index is applied here.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	if err := n.fsm.applied.wait(ctx, n.down, index); err != nil {
		return fmt.Errorf("wait for entry %d: %w", index, err)
	}
	return nil
}

// Leader returns who leads as far as this node knows; empty when it does not,
// or has heard nothing for so long that an election is likely: what is sent to
// such a leader hangs, what waits for the next one goes on with it.
func (n *Node) Leader() (id, address string) {
	a, i := n.raft.LeaderWithID()
	if n.LastContact() > n.cfg.Timing.Heartbeat*doubtTenths/10 {
		return "", ""
	}
	return string(i), string(a)
}

// doubtTenths is how much of the heartbeat timeout a leader may be silent, in
// tenths. Raft sends a heartbeat after one to two of them.
const doubtTenths = 6

// LastContact is the time since the last word from the leader: 0 on the
// leader, the longest duration when there never was one.
func (n *Node) LastContact() time.Duration {
	if n.raft.State() == raft.Leader {
		return 0
	}
	last := n.raft.LastContact()
	if last.IsZero() {
		return 1<<63 - 1
	}
	return time.Since(last)
}

// Stats are Raft's own, for people and for autopilot.
func (n *Node) Stats() map[string]string { return n.raft.Stats() }

// Snapshot marks the state now, so that the log can be cut. ok is false when
// nothing was applied since the start.
func (n *Node) Snapshot(ctx context.Context) (ok bool, err error) {
	err = n.await(ctx, n.raft.Snapshot())
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take a snapshot: %w", err)
	}
	return true, nil
}

// Bootstrap makes the servers the first configuration of a new group.
// ErrBootstrapped when this node has been part of one.
func (n *Node) Bootstrap(servers []Server) error {
	var c raft.Configuration
	for _, s := range servers {
		suffrage := raft.Nonvoter
		if s.Voter {
			suffrage = raft.Voter
		}
		c.Servers = append(c.Servers, raft.Server{
			Suffrage: suffrage, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address),
		})
	}
	err := n.await(context.Background(), n.raft.BootstrapCluster(c))
	if errors.Is(err, raft.ErrCantBootstrap) {
		return fmt.Errorf("bootstrap: %w", ErrBootstrapped)
	}
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

// Configuration returns the servers of the newest configuration that this
// node knows, committed or not, and the index of the newest one applied here.
func (n *Node) Configuration() ([]Server, uint64, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, 0, fmt.Errorf("read the configuration: %w", err)
	}
	var servers []Server
	for _, s := range f.Configuration().Servers {
		servers = append(servers, Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter, LastIndex: n.lastIndex(s.ID)})
	}
	return servers, n.cfg.State.Position().ConfigurationIndex, nil
}

// lastIndex is where the log of a server ends, 0 if that is not known here.
func (n *Node) lastIndex(id raft.ServerID) uint64 {
	if id == n.lease.self {
		return n.raft.LastIndex()
	}
	if n.raft.State() != raft.Leader {
		return 0
	}
	known, _ := n.peers.followers.of(id, n.raft.CurrentTerm())
	return known.last
}

// AddVoter adds a server, or changes its address, and waits until that is
// committed. Only the leader can.
func (n *Node) AddVoter(ctx context.Context, id, address string) error {
	f := pilot{n, ctx}.AddVoter(raft.ServerID(id), raft.ServerAddress(address), 0, 0)
	if err := f.Error(); err != nil {
		return fmt.Errorf("add the server %s: %w", id, err)
	}
	return nil
}

// RemoveServer takes a server out and waits until that is committed. Only the
// leader can.
func (n *Node) RemoveServer(ctx context.Context, id string) error {
	if err := (pilot{n, ctx}).RemoveServer(raft.ServerID(id), 0, 0).Error(); err != nil {
		return fmt.Errorf("remove the server %s: %w", id, err)
	}
	return nil
}
