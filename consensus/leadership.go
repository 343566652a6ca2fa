package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Bounds and times of leadership.
const (
	maxObservations  = 256
	maxConfirmations = 16_384
	// barrierPause is the wait before a new leader tries its barrier again.
	barrierPause = 50 * time.Millisecond
	// maxVerifies is how often Raft is asked in one confirmation: it also counts
	// answers to what was sent before it was asked, of which there is at most one
	// to a follower.
	maxVerifies = 8
)

// followLeadership turns Raft's notices, of which a quick gain after a loss
// swallows the loss, into an exact sequence for OnLeadership.
func (n *Node) followLeadership(ctx context.Context) {
	told := false
	tell := func(leader bool) {
		if told != leader {
			told = leader
			n.cfg.OnLeadership(leader)
		}
	}
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			n.ready.Store(0)
			tell(false)
			return
		case <-n.raft.LeaderCh():
			n.ready.Store(0)
			tell(false)
		case <-retry.C:
		}
		if n.raft.State() != raft.Leader || told {
			continue
		}
		if err := n.settle(ctx); err != nil {
			retry.Reset(barrierPause)
			continue
		}
		tell(true)
	}
}

// settle waits until everything of earlier terms is applied, so that this
// node may answer as the leader.
func (n *Node) settle(ctx context.Context) error {
	term := n.raft.CurrentTerm()
	if err := n.await(ctx, n.raft.Barrier(0)); err != nil {
		return err
	}
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		return ErrNotLeader
	}
	n.ready.Store(term)
	return nil
}

// LeaseRead says whether this node leads, has applied an entry of its own term,
// and no other node can lead yet: what it reads then is the newest. The lease
// is counted by the monotonic clock, also while the process is stopped; it is
// void on a machine that was suspended with all its clocks.
func (n *Node) LeaseRead() bool {
	term, ok := n.leads()
	return ok && n.lease.holds(term)
}

// leads says whether this node leads as far as it knows, and has applied an
// entry of its own term.
func (n *Node) leads() (term uint64, ok bool) {
	term = n.ready.Load()
	return term, term != 0 && n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}

// confirmation is a caller of ConfirmLeadership.
type confirmation struct {
	done chan confirmed // capacity 1
}

type confirmed struct {
	index uint64
	err   error
}

// ConfirmLeadership asks a quorum whether this node still leads, once for all
// who ask meanwhile, and returns the Raft index up to which a node must have
// applied (WaitApplied) to see everything that was acknowledged before the
// call. ErrNotLeader where it does not lead or cannot answer yet.
func (n *Node) ConfirmLeadership(ctx context.Context) (readIndex uint64, err error) {
	c := &confirmation{done: make(chan confirmed, 1)}
	select {
	case n.confirm <- c:
	case <-n.down:
		return 0, fmt.Errorf("confirm leadership: %w", ErrStopped)
	default:
		return 0, fmt.Errorf("confirm leadership: %w", ErrOverloaded)
	}
	select {
	case r := <-c.done:
		return r.index, r.err
	case <-n.down:
		return 0, fmt.Errorf("confirm leadership: %w", ErrStopped)
	case <-ctx.Done():
		return 0, fmt.Errorf("confirm leadership: %w", ctx.Err())
	}
}

// Alive returns nil when Raft's loop has answered, whoever leads; an error when ctx ends
// before.
func (n *Node) Alive(ctx context.Context) error {
	answered := make(chan struct{})
	if err := n.waits.Spawn("alive", func(context.Context) {
		_ = n.raft.VerifyLeader().Error() // which answer it is says who leads, not whether the loop runs
		close(answered)
	}); err != nil {
		return fmt.Errorf("ask Raft's loop: %w", err)
	}
	select {
	case <-answered:
		return nil
	case <-n.down:
		return fmt.Errorf("ask Raft's loop: %w", ErrStopped)
	case <-ctx.Done():
		return fmt.Errorf("ask Raft's loop: %w", ctx.Err())
	}
}

// confirmLoop serves rounds: all who came before a round share its answer.
func (n *Node) confirmLoop(ctx context.Context) {
	for {
		var round []*confirmation
		select {
		case <-ctx.Done():
			return
		case c := <-n.confirm:
			round = append(round, c)
		}
		for more := true; more; {
			select {
			case c := <-n.confirm:
				round = append(round, c)
			default:
				more = false
			}
		}
		index, err := n.confirmOnce(ctx)
		for _, c := range round {
			c.done <- confirmed{index, err}
		}
	}
}

// confirmOnce reads the index before it asks: what was acknowledged until then
// was applied here first.
func (n *Node) confirmOnce(ctx context.Context) (uint64, error) {
	began, from := time.Now(), n.lease.clock()
	term, ok := n.leads()
	if !ok {
		return 0, fmt.Errorf("confirm leadership: %w", ErrNotLeader)
	}
	index := n.cfg.State.Position().Index
	for range maxVerifies {
		if err := n.await(ctx, n.raft.VerifyLeader()); err != nil {
			return 0, fmt.Errorf("confirm leadership: %w", errors.Join(ErrNotLeader, err))
		}
		if n.lease.since(term, from) {
			since(n.metrics.verify, began)
			return index, nil
		}
	}
	return 0, fmt.Errorf("confirm leadership: no quorum answered in %d rounds: %w", maxVerifies, ErrNotLeader)
}

func wanted(o *raft.Observation) bool {
	switch o.Data.(type) {
	case raft.RaftState, raft.LeaderObservation:
		return true
	}
	return false
}
