package consensus

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/legate-project/legate/internal/lifecycle"
)

// A follower has an entry while the leader's disk is still writing it. It counts as committed only then, for everybody.
func TestEntriesAreSentWhileTheLeaderWritesThem(t *testing.T) {
	n := newNetwork()
	var mu sync.Mutex
	gates := map[string]chan struct{}{} // of those whose disk stands still
	var members []*member
	var servers []Server
	for i := range 3 {
		id := fmt.Sprint("n", i)
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
				mu.Lock()
				gate := gates[id]
				mu.Unlock()
				if gate != nil {
					<-gate
				}
			}
			return nil
		}))
		m := newMember(t, n, id, fs)
		members, servers = append(members, m), append(servers, Server{ID: id, Address: id, Voter: true})
		m.start()
	}
	if err := members[0].node.Bootstrap(servers); err != nil {
		t.Fatal(err)
	}
	propose(t, members, "first=1")
	propose(t, members, "second=1")
	lead := leader(t, members)
	eventually(t, "a pipeline to each follower", func() bool { return lead.node.peers.early.Open() == 2 })
	propose(t, members, "third=1") // Raft's own requests go through them
	for _, m := range members {
		eventually(t, m.id+" has that", func() bool { return has(t, m, "third", "1") })
	}

	gate := make(chan struct{})
	mu.Lock()
	gates[lead.id] = gate
	mu.Unlock()
	open := sync.OnceFunc(func() { mu.Lock(); delete(gates, lead.id); mu.Unlock(); close(gate) })
	defer open()
	last := lead.node.raft.LastIndex()
	g := lifecycle.New("test")
	answered := make(chan error, 1)
	if err := g.Spawn("propose", func(ctx context.Context) {
		_, err := lead.node.Propose(ctx, []byte("fourth=1"))
		answered <- err
	}); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m != lead {
			eventually(t, m.id+" has what the leader is writing", func() bool { return m.node.raft.LastIndex() == last+1 })
		}
	}
	if got := lead.node.raft.LastIndex(); got != last {
		t.Errorf("the leader has entry %d, and its disk stands still", got)
	}
	<-time.After(10 * fast.Commit)
	for _, m := range members {
		if got := m.node.raft.CommitIndex(); got > last {
			t.Errorf("%s takes entry %d for committed, which the leader has not written", m.id, got)
		}
	}
	select {
	case err := <-answered:
		t.Errorf("answered before the leader had written: %v", err)
	default:
	}
	open()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	for _, m := range members {
		eventually(t, m.id+" has applied it", func() bool { return has(t, m, "fourth", "1") })
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
