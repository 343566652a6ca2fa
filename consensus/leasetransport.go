package consensus

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/consensus/early"
	"github.com/legate-project/legate/internal/lifecycle"
)

// leaseTransport is Raft's transport with what the lease needs: it notes which
// requests followers took, and keeps a node that has just started from voting.
// Such a node may have answered a leader before it died and cannot know: for
// the length of a lease it votes for nobody.
//
// And it ends Raft's loyalty to a leader that is silent with the lease. Raft
// refuses votes until its own timer notices, at one to three heartbeat
// timeouts, so that the first who noticed had to wait for the last.
type leaseTransport struct {
	raft.Transport
	lease        *lease
	node         func() *raft.Raft // nil until it has started
	down         <-chan struct{}   // closed when the node has failed or stops
	abstainUntil time.Duration     // until when it does not vote
	rpcs         chan raft.RPC

	// handed is set when a leader has told this node to be the next.
	handed atomic.Bool
	// voted hears to whom this node gave its vote, or refused it.
	voted     func(candidate raft.ServerID, term uint64, granted bool)
	votes     *votes
	followers *followers
	early     *early.Pipelines
	group     *lifecycle.Group // of what listens to Raft's answers
}

var (
	_ raft.Transport   = (*leaseTransport)(nil)
	_ raft.WithPreVote = (*leaseTransport)(nil)
	_ raft.WithClose   = (*leaseTransport)(nil)
)

// errNoPreVote is the answer of a transport that cannot ask for pre-votes.
var errNoPreVote = errors.New("consensus: the transport knows no pre-votes")

func newLeaseTransport(t raft.Transport, l *lease, node func() *raft.Raft, down <-chan struct{}) *leaseTransport {
	return &leaseTransport{Transport: t, lease: l, node: node, down: down, abstainUntil: l.clock() + l.length, rpcs: make(chan raft.RPC),
		voted: func(raft.ServerID, uint64, bool) {}, votes: newVotes(), followers: newFollowers(l.clock)}
}

// Consumer implements raft.Transport.
func (w *leaseTransport) Consumer() <-chan raft.RPC { return w.rpcs }

// forward hands requests of peers to Raft.
func (w *leaseTransport) forward(ctx context.Context) {
	for {
		var rpc raft.RPC
		select {
		case <-ctx.Done():
			return
		case rpc = <-w.Transport.Consumer():
		}
		if w.abstain(rpc) || w.voteDespiteLeader(&rpc) {
			continue
		}
		if _, ok := rpc.Command.(*raft.TimeoutNowRequest); ok {
			w.handed.Store(true)
		}
		w.listen(&rpc)
		select {
		case <-ctx.Done():
			return
		case w.rpcs <- rpc:
		}
	}
}

// abstain answers requests for votes in Raft's place while the node abstains.
func (w *leaseTransport) abstain(rpc raft.RPC) bool {
	if w.lease.clock() >= w.abstainUntil {
		return false
	}
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}
	switch ask := rpc.Command.(type) {
	case *raft.RequestVoteRequest:
		if ask.LeadershipTransfer { // the leader itself wants it so
			return false
		}
		w.votes.said(vote, false)
		w.voted(raft.ServerID(ask.ID), ask.Term, false)
		rpc.Respond(&raft.RequestVoteResponse{RPCHeader: header}, nil)
	case *raft.RequestPreVoteRequest:
		w.votes.said(preVote, false)
		rpc.Respond(&raft.RequestPreVoteResponse{RPCHeader: header}, nil)
	default:
		return false
	}
	return true
}

// voteDespiteLeader has Raft vote although it knows a leader, if that is silent. Whether
// the candidate's log suffices is Raft's to say; a pre-vote is answered here.
func (w *leaseTransport) voteDespiteLeader(rpc *raft.RPC) (answered bool) {
	r := w.node()
	if r == nil || r.State() != raft.Follower || time.Since(r.LastContact()) < w.lease.length {
		return false
	}
	switch ask := rpc.Command.(type) {
	case *raft.RequestVoteRequest:
		freed := *ask
		freed.LeadershipTransfer = true // the word for: whoever leads
		rpc.Command = &freed
	case *raft.RequestPreVoteRequest:
		voter := slices.Contains(w.lease.voters(), raft.ServerID(ask.ID))
		if leader, _ := r.LeaderWithID(); leader == "" || !voter || ask.Term <= r.CurrentTerm() || ask.LastLogIndex < r.LastIndex() {
			return false
		}
		w.votes.said(preVote, true)
		rpc.Respond(&raft.RequestPreVoteResponse{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}, Term: ask.Term, Granted: true}, nil)
		return true
	}
	return false
}

// AppendEntries implements raft.Transport. A node that has failed sends none:
// parts of Raft that do not end, because they wait for its disk, would keep
// followers loyal to it.
func (w *leaseTransport) AppendEntries(id raft.ServerID, to raft.ServerAddress, ask *raft.AppendEntriesRequest, answer *raft.AppendEntriesResponse) error {
	select {
	case <-w.down:
		return ErrStopped
	default:
	}
	sent, last := w.lease.clock(), uint64(0)
	if r := w.node(); r != nil {
		last = r.LastIndex()
	}
	err := w.Transport.AppendEntries(id, to, ask, answer)
	if err == nil && answer.Term == ask.Term {
		w.followers.answered(id, ask, answer, last)
		if answer.Success {
			w.lease.confirmed(id, ask.Term, sent)
		}
	}
	return err
}

// AppendEntriesPipeline implements raft.Transport.
func (w *leaseTransport) AppendEntriesPipeline(id raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := w.Transport.AppendEntriesPipeline(id, to)
	if err != nil {
		return nil, err
	}
	return w.early.Wrap(p)
}

// RequestPreVote implements raft.WithPreVote.
func (w *leaseTransport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, ask *raft.RequestPreVoteRequest, answer *raft.RequestPreVoteResponse) error {
	err := errNoPreVote
	if t, ok := w.Transport.(raft.WithPreVote); ok {
		err = t.RequestPreVote(id, to, ask, answer)
	}
	w.votes.heard(preVote, answer.Granted, err)
	return err
}

// Close implements raft.WithClose.
func (w *leaseTransport) Close() error {
	if t, ok := w.Transport.(raft.WithClose); ok {
		return t.Close()
	}
	return nil
}
