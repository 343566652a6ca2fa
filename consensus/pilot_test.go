package consensus

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// suffrage maps the servers that a node knows to whether they vote.
func suffrage(t *testing.T, m *member) map[string]bool {
	t.Helper()
	servers, _, err := m.node.Configuration()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, s := range servers {
		out[s.ID] = s.Voter
	}
	return out
}

func TestAServerJoinsWithoutAVoteAndAutopilotGivesAndTakesIt(t *testing.T) {
	net := newNetwork()
	members := clusterOn(t, net, 3, nil)
	lead := leader(t, members)
	late := newMember(t, net, "late", vfs.NewMem())
	late.start()
	propose(t, members, "k=v")
	if err := lead.node.AddNonvoter(t.Context(), "late", "late"); err != nil {
		t.Fatal(err)
	}
	if got := suffrage(t, lead); len(got) != 4 || got["late"] {
		t.Errorf("after it joined: %v", got)
	}
	eventually(t, "it has what the others have", func() bool { return has(t, late, "k", "v") })
	eventually(t, "the leader knows how far it is", func() bool {
		ago, heartbeat, last := lead.node.Heard("late")
		index, term, err := lead.node.LastLog()
		return err == nil && term > 0 && last == index && ago < heartbeat
	})
	pilot := lead.node.Pilot(t.Context())
	if f := pilot.AddVoter("late", "late", 0, 0); f.Error() != nil || f.Index() == 0 || !suffrage(t, lead)["late"] {
		t.Errorf("a vote was not given: %v", suffrage(t, lead))
	}
	if err := pilot.DemoteVoter("late", 0, 0).Error(); err != nil || suffrage(t, lead)["late"] {
		t.Errorf("a vote was not taken: %v %v", err, suffrage(t, lead))
	}
	if err := pilot.RemoveServer("late", 0, 0).Error(); err != nil || len(suffrage(t, lead)) != 3 {
		t.Errorf("it was not removed: %v %v", err, suffrage(t, lead))
	}
	var other raft.Server
	for _, s := range pilot.GetConfiguration().Configuration().Servers {
		if string(s.ID) != lead.id {
			other = s
		}
	}
	if err := pilot.LeadershipTransferToServer(other.ID, other.Address).Error(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other one leads", func() bool { return leader(t, members).id == string(other.ID) })
	if err := pilot.AddVoter("late", "late", 0, 0).Error(); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a change by a server that leads no more: %v", err)
	}
}

// A leader that is cut off commits nothing: who looks after the group is not held by
// that when its time is over, nor when the node stops.
func TestChangesEndWithTheirContextAndWithTheNode(t *testing.T) {
	net := newNetwork()
	members := clusterOn(t, net, 3, nil)
	lead := leader(t, members)
	ctx, cancel := context.WithCancel(t.Context())
	pilot := lead.node.Pilot(ctx)
	cancel()
	if err := pilot.AddNonvoter("late", "late", 0, 0).Error(); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
	pilot = lead.node.Pilot(context.Background())
	node := lead.node
	lead.stop()
	if err := pilot.AddNonvoter("late", "late", 0, 0).Error(); err == nil {
		t.Error("a change was made by a node that has stopped")
	}
	if err := node.AddNonvoter(t.Context(), "late", "late"); err == nil {
		t.Error("a server was added by a node that has stopped")
	}
}
