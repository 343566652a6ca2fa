package consensus

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

// The kinds of votes, and what became of one: the values of labels.
const (
	vote    = "vote"
	preVote = "pre-vote"

	granted = "granted"
	refused = "refused"
	failed  = "failed" // no answer came
)

// votes counts what candidates asked of others, and what this node said to
// candidates. Raft tells of neither.
type votes struct{ asked, given *prometheus.CounterVec }

func newVotes() *votes {
	v := &votes{
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_raft_votes_asked_total",
			Help: "Votes and pre-votes that this server asked of others, one for each server asked, by what they answered. " +
				"Worry: failed ones that go on, the servers do not reach each other.",
		}, []string{"kind", "result"}),
		given: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_raft_votes_given_total",
			Help: "Votes and pre-votes that other servers asked of this one, by what it answered. " +
				"Worry: refused pre-votes that go on, a server does not hear a leader that this one hears.",
		}, []string{"kind", "result"}),
	}
	for _, kind := range []string{vote, preVote} {
		for _, result := range []string{granted, refused} {
			v.asked.WithLabelValues(kind, result)
			v.given.WithLabelValues(kind, result)
		}
		v.asked.WithLabelValues(kind, failed)
	}
	return v
}

// heard counts an answer to what this node asked.
func (v *votes) heard(kind string, yes bool, err error) {
	result := verdict(yes)
	if err != nil {
		result = failed
	}
	v.asked.WithLabelValues(kind, result).Inc()
}

// said counts what this node answered.
func (v *votes) said(kind string, yes bool) { v.given.WithLabelValues(kind, verdict(yes)).Inc() }

func verdict(yes bool) string {
	if yes {
		return granted
	}
	return refused
}

// RequestVote implements raft.Transport.
func (w *leaseTransport) RequestVote(id raft.ServerID, to raft.ServerAddress, ask *raft.RequestVoteRequest, answer *raft.RequestVoteResponse) error {
	err := w.Transport.RequestVote(id, to, ask, answer)
	w.votes.heard(vote, answer.Granted, err)
	return err
}

// listen puts itself between Raft and a candidate to hear Raft's answer. There
// is one goroutine for each request that Raft has taken, which is one or two.
func (w *leaseTransport) listen(rpc *raft.RPC) {
	var asked *raft.RequestVoteRequest
	switch ask := rpc.Command.(type) {
	case *raft.RequestVoteRequest:
		asked = ask
	case *raft.RequestPreVoteRequest:
	default:
		return
	}
	to, answer := rpc.RespChan, make(chan raft.RPCResponse, 1)
	err := w.group.Spawn("answer to a candidate", func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case a := <-answer:
			switch r := a.Response.(type) {
			case *raft.RequestVoteResponse:
				w.votes.said(vote, r.Granted)
				if asked != nil {
					w.voted(raft.ServerID(asked.ID), asked.Term, r.Granted)
				}
			case *raft.RequestPreVoteResponse:
				w.votes.said(preVote, r.Granted)
			}
			to <- a // transports give it room
		}
	})
	if err == nil { // else the node stops
		rpc.RespChan = answer
	}
}

// absence is the time in which this node knows no leader.
type absence struct {
	mu    sync.Mutex
	total time.Duration
	since time.Time // zero while there is a leader
}

// note tells whether there is a leader now, and returns for how long there has
// been none, in all and without a break.
func (a *absence) note(leader bool) (total, current time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	switch {
	case leader && !a.since.IsZero():
		a.total += now.Sub(a.since)
		a.since = time.Time{}
	case !leader && a.since.IsZero():
		a.since = now
	}
	if !a.since.IsZero() {
		current = now.Sub(a.since)
	}
	return a.total + current, current
}

// leaderless is absence.note of what Raft knows now.
func (n *Node) leaderless() (total, current time.Duration) {
	_, id := n.raft.LeaderWithID()
	return n.absence.note(id != "")
}
