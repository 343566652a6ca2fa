package consensus

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// clocked returns a lease of 500 ms among voters, and its clock.
func clocked(voters ...raft.ServerID) (*lease, *time.Duration) {
	now := new(time.Duration)
	l := newLease("a", 500*time.Millisecond, func() []raft.ServerID { return voters })
	l.clock = func() time.Duration { return *now }
	*now = time.Hour
	return l, now
}

func TestALeaseCountsFromWhatWasSent(t *testing.T) {
	l, now := clocked("a", "b", "c")
	if l.holds(7) {
		t.Error("there is a lease before anybody answered")
	}
	sent := *now
	*now += 5 * time.Second // the process was stopped while the answer was under way
	l.confirmed("b", 7, sent)
	if l.holds(7) || l.since(7, *now) {
		t.Error("an answer of long ago gives a lease")
	}
	l.confirmed("b", 7, *now)
	if !l.holds(7) || l.holds(6) || l.holds(8) {
		t.Error("a quorum gives a lease of its own term, and of no other")
	}
	*now += 499 * time.Millisecond
	if !l.holds(7) {
		t.Error("the lease ends early")
	}
	*now += time.Millisecond
	if l.holds(7) {
		t.Error("the lease outlives its length")
	}
	l.confirmed("c", 6, *now) // of another term
	if l.holds(7) {
		t.Error("an answer of an older term gives a lease")
	}
}

func TestALeaseTakesAQuorum(t *testing.T) {
	l, now := clocked("a", "b", "c", "d", "e")
	l.confirmed("b", 1, *now)
	l.confirmed("x", 1, *now) // no voter
	if l.holds(1) {
		t.Error("two of five give a lease")
	}
	*now += 100 * time.Millisecond
	l.confirmed("c", 1, *now)
	*now += 399 * time.Millisecond
	if !l.holds(1) {
		t.Error("three of five give no lease until the oldest of them is over")
	}
	*now += time.Millisecond
	if l.holds(1) {
		t.Error("the lease outlives the answer that made the quorum")
	}
	if oneVoter, _ := clocked("a"); !oneVoter.holds(1) || !oneVoter.since(1, 0) {
		t.Error("a single server has no lease")
	}
}

func TestALeaseIsBarred(t *testing.T) {
	l, now := clocked("a", "b", "c")
	l.confirmed("b", 3, *now)
	l.revoke(3)
	l.confirmed("c", 3, *now)
	if l.holds(3) {
		t.Error("there is a lease while leadership is handed over")
	}
	if l.confirmed("c", 4, *now); !l.holds(4) {
		t.Error("a later term has no lease")
	}
	l.reinstate()
	*now += time.Millisecond
	if l.confirmed("b", 4, *now); !l.holds(4) {
		t.Error("there is no lease after that")
	}
}

// late is a transport whose heartbeats are answered when the test says so.
type late struct {
	*raft.InmemTransport
	answers chan chan struct{} // nil while they are answered at once
	hold    chan struct{}      // closed: hold answers
}

func (l *late) AppendEntries(id raft.ServerID, to raft.ServerAddress, ask *raft.AppendEntriesRequest, answer *raft.AppendEntriesResponse) error {
	err := l.InmemTransport.AppendEntries(id, to, ask, answer)
	select {
	case <-l.hold:
		release := make(chan struct{})
		l.answers <- release
		<-release
	default:
	}
	return err
}

func TestAnAnswerThatWasUnderWayDoesNotConfirm(t *testing.T) {
	holds := map[string]*late{}
	n := newNetwork() // its times leave Raft the leader for all of the test
	members := clusterOn(t, n, 3, func(c *Config) {
		l := &late{n.transport(c.NodeID), make(chan chan struct{}, 16), make(chan struct{})}
		holds[c.NodeID] = l
		c.Transport = l
		c.Timing = Timing{Heartbeat: time.Second, Election: time.Second, Lease: time.Second, Commit: 5 * time.Millisecond}
	})
	lead := leader(t, members)
	l := holds[lead.id]
	close(l.hold)
	first, second := <-l.answers, <-l.answers // heartbeats that the followers took
	lead.net.cut(lead.id)                     // from now on nobody hears of this leader
	confirmed := make(chan error, 1)
	go func() {
		_, err := lead.node.ConfirmLeadership(t.Context())
		confirmed <- err
	}()
	<-time.After(100 * time.Millisecond) // Raft is asked
	close(first)
	close(second)
	go func() {
		for release := range l.answers {
			close(release)
		}
	}()
	if err := <-confirmed; !errors.Is(err, ErrNotLeader) {
		t.Errorf("leadership is confirmed by answers to older requests: %v", err)
	}
}

func TestWhoHasJustStartedVotesForNobody(t *testing.T) {
	l, now := clocked("a", "b", "c")
	_, inner := raft.NewInmemTransport("a")
	w := newLeaseTransport(inner, l, func() *raft.Raft { return nil }, nil)
	ask := func(command any) (silent bool) {
		answers := make(chan raft.RPCResponse, 1)
		return w.abstain(raft.RPC{Command: command, RespChan: answers})
	}
	if w.Close() != nil || !ask(&raft.RequestVoteRequest{}) || !ask(&raft.RequestPreVoteRequest{}) {
		t.Error("it votes")
	}
	if ask(&raft.AppendEntriesRequest{}) || ask(&raft.RequestVoteRequest{LeadershipTransfer: true}) {
		t.Error("it does not hear its leader")
	}
	if *now += 500 * time.Millisecond; ask(&raft.RequestVoteRequest{}) {
		t.Error("it does not vote later")
	}
}

func TestWhoHeardNothingForALeaseVotes(t *testing.T) {
	members := cluster(t, 3, func(c *Config) {
		c.Timing = Timing{Heartbeat: time.Second, Election: time.Second, Lease: 100 * time.Millisecond, Commit: 5 * time.Millisecond}
	})
	lead := leader(t, members)
	follower := members[0]
	if follower == lead {
		follower = members[1]
	}
	w := follower.node.peers
	ask := func() raft.RPC {
		return raft.RPC{Command: &raft.RequestVoteRequest{Term: follower.node.raft.CurrentTerm() + 1}, RespChan: make(chan raft.RPCResponse, 1)}
	}
	preVote := func(from string, term uint64, last uint64) bool {
		answers := make(chan raft.RPCResponse, 1)
		rpc := raft.RPC{RespChan: answers, Command: &raft.RequestPreVoteRequest{
			RPCHeader: raft.RPCHeader{ID: []byte(from)}, Term: term, LastLogIndex: last}}
		return w.voteDespiteLeader(&rpc) && (<-answers).Response.(*raft.RequestPreVoteResponse).Granted
	}
	eventually(t, "a heartbeat comes", func() bool { return follower.node.raft.LastContact().After(time.Now().Add(-50 * time.Millisecond)) })
	if rpc := ask(); w.voteDespiteLeader(&rpc) || rpc.Command.(*raft.RequestVoteRequest).LeadershipTransfer {
		t.Error("it lets a leader go that it has just heard")
	}
	lead.net.cut(lead.id)
	eventually(t, "the lease is over", func() bool { return time.Since(follower.node.raft.LastContact()) > 100*time.Millisecond })
	term, last := follower.node.raft.CurrentTerm(), follower.node.raft.LastIndex()
	rpc := ask()
	if w.voteDespiteLeader(&rpc) || !rpc.Command.(*raft.RequestVoteRequest).LeadershipTransfer {
		t.Error("it stays loyal to a silent leader")
	}
	if preVote("stranger", term+1, last) || preVote(lead.id, term, last) || preVote(lead.id, term+1, last-1) {
		t.Error("it encourages who cannot win")
	}
	if !preVote(members[2].id, term+1, last) {
		t.Error("it does not encourage who can win")
	}
}

func TestANodeThatHasFailedSendsNoHeartbeats(t *testing.T) {
	l, _ := clocked("a", "b")
	_, inner := raft.NewInmemTransport("a")
	_, peer := raft.NewInmemTransport("b")
	inner.Connect("b", peer)
	down := make(chan struct{})
	w := newLeaseTransport(inner, l, func() *raft.Raft { return nil }, down)
	close(down)
	err := w.AppendEntries("b", "b", &raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{})
	select {
	case rpc := <-peer.Consumer():
		t.Errorf("it sends %+v", rpc.Command)
	default:
	}
	if !errors.Is(err, ErrStopped) {
		t.Errorf("a request of a failed node: %v", err)
	}
}
