package consensus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// pilot is the node as autopilot sees it. Its futures begin when they are asked for
// their error, and end with the context and with the node: Raft never answers some of
// what it was asked shortly before it stopped, and takes no change while another one
// is not committed.
type pilot struct {
	n   *Node
	ctx context.Context
}

var _ autopilot.Raft = pilot{}

// Pilot is the node for who looks after the group until ctx ends.
func (n *Node) Pilot(ctx context.Context) autopilot.Raft { return pilot{n, ctx} }

// AddNonvoter implements autopilot.Raft.
func (p pilot) AddNonvoter(id raft.ServerID, address raft.ServerAddress, prev uint64, timeout time.Duration) raft.IndexFuture {
	return p.change(func() raft.IndexFuture { return p.n.raft.AddNonvoter(id, address, prev, timeout) })
}

// AddVoter implements autopilot.Raft.
func (p pilot) AddVoter(id raft.ServerID, address raft.ServerAddress, prev uint64, timeout time.Duration) raft.IndexFuture {
	return p.change(func() raft.IndexFuture { return p.n.raft.AddVoter(id, address, prev, timeout) })
}

// DemoteVoter implements autopilot.Raft.
func (p pilot) DemoteVoter(id raft.ServerID, prev uint64, timeout time.Duration) raft.IndexFuture {
	return p.change(func() raft.IndexFuture { return p.n.raft.DemoteVoter(id, prev, timeout) })
}

// RemoveServer implements autopilot.Raft.
func (p pilot) RemoveServer(id raft.ServerID, prev uint64, timeout time.Duration) raft.IndexFuture {
	return p.change(func() raft.IndexFuture { return p.n.raft.RemoveServer(id, prev, timeout) })
}

// LastIndex implements autopilot.Raft.
func (p pilot) LastIndex() uint64 { return p.n.raft.LastIndex() }

// Leader implements autopilot.Raft.
func (p pilot) Leader() raft.ServerAddress {
	_, address := p.n.Leader()
	return raft.ServerAddress(address)
}

// GetConfiguration implements autopilot.Raft.
func (p pilot) GetConfiguration() raft.ConfigurationFuture { return p.n.raft.GetConfiguration() }

// Stats implements autopilot.Raft.
func (p pilot) Stats() map[string]string { return p.n.raft.Stats() }

// State implements autopilot.Raft.
func (p pilot) State() raft.RaftState { return p.n.raft.State() }

// LeadershipTransferToServer implements autopilot.Raft. The lease is void meanwhile.
func (p pilot) LeadershipTransferToServer(id raft.ServerID, _ raft.ServerAddress) raft.Future {
	return asked(func() error { return p.n.TransferLeadership(p.ctx, string(id)) })
}

// asked is a future of what is done when it is asked.
type asked func() error

// Error implements raft.Future.
func (a asked) Error() error { return a() }

// change is a change of the group that has not begun.
type change struct {
	p     pilot
	begin func() raft.IndexFuture
	index atomic.Uint64
}

func (p pilot) change(begin func() raft.IndexFuture) raft.IndexFuture {
	return &change{p: p, begin: begin}
}

// Error implements raft.Future.
func (c *change) Error() error {
	return translate(c.p.n.await(c.p.ctx, asked(func() error {
		f := c.begin()
		err := f.Error()
		if err == nil {
			c.index.Store(f.Index())
		}
		return err
	})))
}

// Index implements raft.IndexFuture.
func (c *change) Index() uint64 { return c.index.Load() }

// AddNonvoter adds a server that has no vote, or changes the address of one, and waits
// until that is committed. Only the leader can.
func (n *Node) AddNonvoter(ctx context.Context, id, address string) error {
	f := pilot{n, ctx}.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), 0, 0)
	if err := f.Error(); err != nil {
		return fmt.Errorf("add the server %s without a vote: %w", id, err)
	}
	return nil
}

// LastLog is where the log of this node ends.
func (n *Node) LastLog() (index, term uint64, err error) {
	stats := n.raft.Stats()
	index, errIndex := strconv.ParseUint(stats["last_log_index"], 10, 64)
	term, errTerm := strconv.ParseUint(stats["last_log_term"], 10, 64)
	if err := errors.Join(errIndex, errTerm); err != nil {
		return 0, 0, fmt.Errorf("where the log ends: %w", err)
	}
	return index, term, nil
}

// Heard is what this leader knows of another server from its last answer: how long ago
// that came, since the term began if none did, and where its log ended, 0 if that is not
// known. heartbeat is how long a server that lives may be silent.
func (n *Node) Heard(id string) (ago, heartbeat time.Duration, lastIndex uint64) {
	_, ago = n.follower(raft.ServerID(id))
	return ago, n.cfg.Timing.Heartbeat, n.lastIndex(raft.ServerID(id))
}
