package consensus

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// TransferLeadership hands over to the voter with an ID, or to the most current other
// one that answers if that is empty; best effort. ErrUnknownServer for an ID that is no
// other voter, ErrSilent where it does not answer. An error leaves this node leading, or
// not. The lease is void meanwhile: the others vote for the new leader however fresh the
// word of this one is.
func (n *Node) TransferLeadership(ctx context.Context, id string) error {
	transfer := n.raft.LeadershipTransfer
	if id != "" || n.raft.State() == raft.Leader {
		to, err := n.heir(raft.ServerID(id))
		if err != nil {
			return fmt.Errorf("transfer leadership: %w", err)
		}
		transfer = func() raft.Future { return n.raft.LeadershipTransferToServer(to.ID, to.Address) }
	}
	n.lease.revoke(n.raft.CurrentTerm())
	n.metrics.transfers.Inc()
	if err := n.await(ctx, transfer()); err != nil {
		n.lease.reinstate()
		n.metrics.transferFailed.Inc()
		return fmt.Errorf("transfer leadership: %w", err)
	}
	n.metrics.transferDone.Inc()
	return nil
}

// heir is the voter that leadership is handed to: whose log ends last, and of equals who
// was heard last. Raft itself would take one that is dead, and refuse commands for as long
// as it waits for it.
func (n *Node) heir(id raft.ServerID) (heir raft.Server, err error) {
	var last uint64
	var heard time.Duration // ago
	err = ErrUnknownServer
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter || s.ID == n.lease.self || id != "" && s.ID != id {
			continue
		}
		_, silent := n.follower(s.ID)
		ends := n.lastIndex(s.ID)
		switch {
		case n.raft.State() == raft.Leader && silent > n.cfg.Timing.Heartbeat:
			if heir.ID == "" {
				err = fmt.Errorf("server %s: %w for %s", s.ID, ErrSilent, silent.Round(time.Millisecond))
			}
		case heir.ID == "" || ends > last || ends == last && silent < heard:
			heir, last, heard, err = s, ends, silent, nil
		}
	}
	return heir, err
}
