package consensus

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// nudge is by how much Raft's heartbeat timeout is shortened for a moment. Raft
	// looks at once whether it is over when it becomes shorter.
	nudge = time.Millisecond
	// apart is the time between two followers that notice, in hundredths of the
	// heartbeat timeout: who notices first wins before the next begins. The leader's
	// last word came to two of them up to 20 apart (it speaks to each every 10 to 20),
	// and votes take a while under load.
	apart = 30
	// beginsAt is when a follower whose turn comes later begins to wait for it, in
	// hundredths of the heartbeat timeout: Raft's own look might come before.
	beginsAt = 90
)

// vigil has Raft notice at the end of the heartbeat timeout that its leader is
// silent, once for each silence. Raft itself looks at moments that lie one to two
// timeouts apart and have nothing to do with when the leader was heard last: up to
// three timeouts pass, and two followers may look at the same moment.
func (n *Node) vigil(ctx context.Context) {
	timeout := n.cfg.Timing.Heartbeat
	t := time.NewTimer(timeout)
	defer t.Stop()
	var noticed time.Time // the leader's last word, after which it was silent
	raftWaits := timeout
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		heard := n.raft.LastContact()
		silent, due, soon := time.Since(heard), timeout+n.turn()*timeout*apart/100, timeout*beginsAt/100
		waits, left := timeout, timeout
		switch {
		case n.raft.State() != raft.Follower || heard.IsZero() || heard.Equal(noticed):
		case silent >= due:
			n.looksAfter(timeout - nudge)
			raftWaits, noticed = timeout-nudge, heard
		case due == timeout, silent >= soon:
			waits, left = due, due-silent
		default:
			left = soon - silent
		}
		if waits != raftWaits {
			n.looksAfter(waits)
			raftWaits = waits
		}
		t.Reset(left)
	}
}

// turn is how many voters are to notice before this one: those with lower IDs that
// do not lead.
func (n *Node) turn() (before time.Duration) {
	_, leader := n.raft.LeaderWithID()
	for _, id := range n.lease.voters() {
		if id != leader && id < n.lease.self {
			before++
		}
	}
	return before
}

// looksAfter sets Raft's heartbeat timeout. An error leaves it as it was, and when Raft looks
// to its own time.
func (n *Node) looksAfter(d time.Duration) {
	c := n.raft.ReloadableConfig()
	c.HeartbeatTimeout, c.ElectionTimeout = d, max(n.cfg.Timing.Election, d)
	if err := n.raft.ReloadConfig(c); err != nil {
		n.cfg.Logger.Warn("set Raft's heartbeat timeout", "timeout", d, "error", err)
	}
}
