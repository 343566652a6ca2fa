package consensus

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// course is what this node has seen of elections: it counts and tells.
type course struct {
	n         *Node
	candidate time.Time     // since when this node is one; zero when it is none
	leader    raft.ServerID // the last that was known
	known     bool          // it still leads, as far as this node knows
	since     time.Time     // when it became known
	absent    time.Time     // the last word of one, while known is false
}

// observe follows elections, changes of the leader and times without one.
func (n *Node) observe(ctx context.Context, observations <-chan raft.Observation) {
	n.leaderless() // what was before the observations began
	c := course{n: n, absent: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-observations:
			switch data := o.Data.(type) {
			case raft.RaftState:
				c.state(data)
			case raft.LeaderObservation:
				c.leads(data.LeaderID)
			}
		}
	}
}

// state notes a new state of this node.
func (c *course) state(to raft.RaftState) {
	m, log := c.n.metrics, c.n.cfg.Logger.With("term", c.n.raft.CurrentTerm())
	switch to {
	case raft.Candidate:
		if c.candidate.IsZero() {
			c.candidate = time.Now()
			m.elections.Inc()
			log.Info("this server begins an election", c.why()...)
		}
		return
	case raft.Leader:
		c.n.reign.Store(int64(c.n.lease.clock()))
		m.elected.Inc()
		if !c.candidate.IsZero() {
			m.electionsWon.Inc()
			since(m.won, c.candidate)
			log.Info("this server won the election", "took", time.Since(c.candidate))
		}
	case raft.Follower:
		m.followed.Inc()
		if !c.candidate.IsZero() {
			m.electionsLost.Inc()
			since(m.lostElection, c.candidate)
			log.Info("this server lost the election", "took", time.Since(c.candidate))
		}
	}
	c.candidate = time.Time{}
}

// why is the reason for an election that this node begins now.
func (c *course) why() []any {
	switch {
	case c.n.peers.handed.Swap(false):
		return []any{"why", "the leader hands over to this server", "leader", c.n.nameOf(c.leader)}
	case string(c.leader) == c.n.cfg.NodeID:
		return []any{"why", "this server led, and has lost touch with the others"}
	case c.leader == "":
		return []any{"why", "no leader was heard since the start"}
	}
	return []any{"why", "no word from the leader", "leader", c.n.nameOf(c.leader), "last_contact", c.silence()}
}

// silence is for how long nothing was heard of the last leader; 0 of this node.
func (c *course) silence() time.Duration {
	if string(c.leader) == c.n.cfg.NodeID {
		return 0
	}
	return min(c.n.LastContact(), time.Since(c.since))
}

// leads notes who leads; "" if nobody is known to.
func (c *course) leads(id raft.ServerID) {
	c.n.absence.note(id != "")
	log := c.n.cfg.Logger.With("term", c.n.raft.CurrentTerm())
	if id == "" {
		if c.known {
			c.known, c.absent = false, time.Now().Add(-c.silence())
			log.Warn("no leader is known", "was", c.n.nameOf(c.leader))
		}
		return
	}
	if c.known && id == c.leader {
		return
	}
	attrs := []any{"leader", c.n.nameOf(id), "id", string(id)}
	if !c.known {
		attrs = append(attrs, "absent", time.Since(c.absent))
	}
	log.Info("a leader is known", attrs...)
	if id != c.leader {
		c.n.metrics.leaderChanges.Inc()
	}
	c.leader, c.known, c.since = id, true, time.Now()
	c.n.cfg.OnLeader()
}

// nameOf is a server's name, or its ID while that is not known.
func (n *Node) nameOf(id raft.ServerID) string {
	if name := n.cfg.NameOf(string(id)); name != "" {
		return name
	}
	return string(id)
}
