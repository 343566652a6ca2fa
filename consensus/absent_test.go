package consensus

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A server that was away for so long that Raft's own pauses between attempts have
// grown to seconds has the entries it missed soon after its return.
func TestAServerThatReturnsIsToldAtOnce(t *testing.T) {
	t.Parallel()
	const away, soon, attempts = 6 * time.Second, 2 * time.Second, 3 // Raft alone: up to 4 s more
	net := newNetwork()
	members := clusterOn(t, net, 3, func(c *Config) { // no elections, however busy the machine is
		c.Timing.Heartbeat, c.Timing.Election, c.Timing.Lease = 2*time.Second, 2*time.Second, time.Second
	})
	for attempt := range attempts {
		propose(t, members, "early=1")
		lead := leader(t, members)
		late := members[slices.IndexFunc(members, func(m *member) bool { return m != lead })]
		last := fmt.Sprint("last", attempt)
		net.cut(late.id)
		write(t, members, away)
		propose(t, members, last+"=1")
		same := leader(t, members) == lead
		net.heal(late.id)
		began := time.Now()
		eventually(t, "it has all", func() bool { return has(t, late, last, "1") })
		if !same {
			continue // the new one had not tried for long
		}
		if took := time.Since(began); took > soon {
			t.Errorf("it has all %s after its return, want less than %s", took, soon)
		}
		return
	}
	t.Error("the leader changed each time")
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
