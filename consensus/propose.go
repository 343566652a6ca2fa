package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/internal/tracing"
)

// Bounds of the way of a command to Raft.
const (
	// maxQueued commands wait; further ones are refused, so that what waits is
	// answered before its callers give up.
	maxQueued = 16_384
	// maxInFlight entries are with Raft. While these are written, the next
	// commands gather; more entries in flight would only be smaller ones.
	maxInFlight = 4
	// While an entry is with Raft, another goes beside it only when it is worth
	// the syncs, packets and wake-ups of its own on every server: when it is of so
	// many commands or bytes.
	besideCommands = 32
	besideBytes    = 64 << 10
	// enqueueLimit is how long Raft may take to accept an entry.
	enqueueLimit = 5 * time.Second
)

// The stages of a proposal. Whoever leaves the first one decides whether the
// caller may be sure that nothing happens any more.
const (
	proposalQueued int32 = iota
	proposalTaken
	proposalAbandoned
)

type proposal struct {
	command []byte
	stage   atomic.Int32
	done    chan result // capacity 1
	times   *times      // nil unless the caller traces; its fields are set before done has the result
}

// times are when a proposal went to Raft, was committed and was applied.
type times struct{ sent, committed, applied time.Time }

// sentEntry is an entry that Raft has, with the proposals in it.
type sentEntry struct {
	future    raft.ApplyFuture
	proposals []*proposal
	began     time.Time
}

// Propose replicates a command and returns what the Machine answered here, its
// error included. The command must not be changed any more. The package
// comment says which errors leave the outcome open; a context that ends while
// Raft has the command gives both ErrLost and the context's error.
func (n *Node) Propose(ctx context.Context, command []byte) (any, error) {
	ctx, span := tracing.Start(ctx, "raft.propose", tracing.Internal)
	if !span.Recording() {
		return n.propose(ctx, &proposal{command: command, done: make(chan result, 1)})
	}
	defer span.End()
	span.Number("legate.command.bytes", int64(len(command)))
	value, err := n.propose(ctx, &proposal{command: command, done: make(chan result, 1), times: &times{}})
	switch {
	case errors.Is(err, ErrLost):
		span.Fail("lost")
	case err != nil:
		span.Fail("refused") // by Raft, or by what the command is to do
	}
	return value, err
}

func (n *Node) propose(ctx context.Context, p *proposal) (any, error) {
	command := p.command
	if len(command) > MaxCommandBytes {
		return nil, fmt.Errorf("propose %d bytes: %w", len(command), ErrTooLarge)
	}
	if n.raft.State() != raft.Leader {
		n.metrics.refused.Inc()
		return nil, fmt.Errorf("propose: %w", ErrNotLeader)
	}
	select {
	case <-n.closing:
		return nil, fmt.Errorf("propose: %w", ErrStopped)
	default:
	}
	select {
	case n.queue <- p:
	default:
		n.metrics.refused.Inc()
		return nil, fmt.Errorf("propose: %w", ErrOverloaded)
	}
	select {
	case r := <-p.done:
		p.trace(ctx)
		return r.value, r.err
	case <-n.down:
		return p.giveUp(ErrStopped)
	case <-ctx.Done():
		return p.giveUp(ctx.Err())
	}
}

// trace records when what happened to a proposal that was answered.
func (p *proposal) trace(ctx context.Context) {
	if p.times == nil || p.times.applied.IsZero() {
		return
	}
	tracing.Record(ctx, "raft.replicate", p.times.sent, p.times.committed)
	tracing.Record(ctx, "apply", p.times.committed, p.times.applied)
}

// giveUp takes the proposal back if Raft does not have it yet. An answer that
// came meanwhile stands.
func (p *proposal) giveUp(why error) (any, error) {
	if p.stage.CompareAndSwap(proposalQueued, proposalAbandoned) {
		return nil, fmt.Errorf("propose: %w", why)
	}
	select {
	case r := <-p.done:
		return r.value, r.err
	default:
		if errors.Is(why, ErrStopped) {
			return nil, fmt.Errorf("propose: %w: the node stops", ErrLost)
		}
		return nil, fmt.Errorf("propose: %w: %w", ErrLost, why)
	}
}

// take says that the proposal goes to Raft now, unless it was given up.
func (p *proposal) take() bool { return p.stage.CompareAndSwap(proposalQueued, proposalTaken) }

// proposeLoop packs what waits into entries.
func (n *Node) proposeLoop(ctx context.Context) {
	var carry *proposal // did not fit any more
	for {
		if carry == nil {
			select {
			case <-n.closing:
				return
			case <-ctx.Done():
				return
			case carry = <-n.queue:
			}
		}
		select {
		case <-n.closing:
			return
		case <-ctx.Done():
			return
		case n.slots <- struct{}{}:
		}
		var batch []*proposal
		batch, carry = n.gather(ctx, carry)
		if len(batch) == 0 {
			<-n.slots
			continue
		}
		n.send(batch)
	}
}

// gather takes what waits, from first on, up to the bounds of an entry. What is
// little waits for more as long as another entry is with Raft.
func (n *Node) gather(ctx context.Context, first *proposal) (batch []*proposal, carry *proposal) {
	bytes := 0
	for p := first; p != nil; p = n.next(ctx, len(batch), bytes) {
		if len(batch) > 0 && bytes+len(p.command) > maxEntryBytes {
			carry = p
			break
		}
		batch = append(batch, p)
		if bytes += len(p.command); len(batch) == maxEntryCommands {
			break
		}
	}
	return slices.DeleteFunc(batch, func(p *proposal) bool { return !p.take() }), carry
}

// next returns the next proposal for an entry of so many, or nil when that goes to
// Raft as it is.
func (n *Node) next(ctx context.Context, commands, bytes int) *proposal {
	for {
		select {
		case p := <-n.queue:
			return p
		default:
		}
		if len(n.slots) <= 1 || commands >= besideCommands || bytes >= besideBytes {
			return nil
		}
		select {
		case p := <-n.queue:
			return p
		case <-n.answered:
		case <-n.closing:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *Node) send(batch []*proposal) {
	commands := make([][]byte, len(batch))
	for i, p := range batch {
		commands[i] = p.command
	}
	n.metrics.perEntry.Observe(float64(len(batch)))
	began := time.Now()
	f := n.raft.ApplyLog(raft.Log{Data: encodeCommands(commands)}, enqueueLimit)
	n.sent <- sentEntry{f, batch, began} // a slot is held: there is room
}

// answerLoop hands out what the FSM answered, in the order of the entries.
func (n *Node) answerLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-n.sent:
			n.answer(ctx, e)
			<-n.slots
			select {
			case n.answered <- struct{}{}:
			default: // it was told already and looks again
			}
		}
	}
}

func (n *Node) answer(ctx context.Context, e sentEntry) {
	o, err := outcome{}, translate(n.await(ctx, e.future))
	if err == nil {
		var ok bool
		if o, ok = e.future.Response().(outcome); !ok || o.err != nil || len(o.results) != len(e.proposals) {
			err = errors.Join(ErrLost, o.err)
		}
	}
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w: the node stops", ErrLost) // Raft has the entry
	}
	if err != nil {
		n.countUnanswered(err, len(e.proposals))
		for _, p := range e.proposals {
			p.done <- result{err: fmt.Errorf("propose: %w", err)}
		}
		return
	}
	since(n.metrics.commit, e.began)
	ended := time.Now()
	for i, p := range e.proposals {
		if p.times != nil {
			*p.times = times{e.began, o.began, ended}
		}
		p.done <- o.results[i]
	}
}

func (n *Node) countUnanswered(err error, commands int) {
	if errors.Is(err, ErrLost) {
		n.metrics.lost.Add(float64(commands))
	} else {
		n.metrics.refused.Add(float64(commands))
	}
}
