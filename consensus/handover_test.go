package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// Who hands over to a server that is dead is told so, as often as it is tried, and writes
// go on: neither waits for the server to return. Where any will do it is one that lives.
func TestHandingOverToADeadServerHoldsNothingUp(t *testing.T) {
	t.Parallel()
	net := newNetwork()
	members := clusterOn(t, net, 3, func(c *Config) { // no elections, however busy the machine is
		c.Timing.Heartbeat, c.Timing.Election, c.Timing.Lease = time.Second, time.Second, 500*time.Millisecond
	})
	propose(t, members, "early=1")
	lead := leader(t, members)
	dead := members[slices.IndexFunc(members, func(m *member) bool { return m != lead })]
	net.cut(dead.id)
	write(t, members, 500*time.Millisecond) // which it lacks
	goesOn := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for {
			_, err := lead.node.Propose(ctx, []byte("late=1"))
			if err == nil {
				return
			}
			if !errors.Is(err, ErrNotLeader) || ctx.Err() != nil {
				t.Fatalf("no write after who leads tried to hand over: %v", err)
			}
		}
	}
	eventually(t, "it is known to be silent", func() bool {
		return errors.Is(lead.node.TransferLeadership(t.Context(), dead.id), ErrSilent)
	})
	goesOn()
	if err := lead.node.TransferLeadership(t.Context(), ""); err != nil {
		t.Errorf("hand over to who lives: %v", err)
	}
}

// write proposes for a time.
func write(t *testing.T, members []*member, limit time.Duration) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n, end := 0, time.Now().Add(limit); time.Now().Before(end); n++ {
		propose(t, members, fmt.Sprintf("k=%d", n))
		<-tick.C
	}
}
