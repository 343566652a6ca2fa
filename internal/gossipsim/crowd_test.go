package gossipsim

import (
	"math"
	"os"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/gossip"
)

// gather simulates the pool of a datacenter of so many members.
func gather(t *testing.T, members int) (c Crowd) {
	t.Helper()
	simulate(t, Spec{RoundTrips: [][]time.Duration{{0}}, Servers: members - 1, Pace: gossip.LAN, Seed: 7}, func(t *testing.T, f *Federation) {
		var err error
		if c, err = Gather(f); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%+v", c)
	return c
}

// A datacenter learns of a member that came within seconds, and of one that is gone within a
// time that grows with the logarithm of the pool; its members are quiet meanwhile.
func TestACrowdLearns(t *testing.T) {
	sizes := []int{25, 50}
	if os.Getenv(reportTo) != "" {
		sizes = []int{25, 100, 250, 500}
	}
	for _, members := range sizes {
		c := gather(t, members)
		if c.Joined > 3*time.Second {
			t.Errorf("a new one of %d members is known to all after %v", members, c.Joined)
		}
		if limit := time.Duration(5*math.Log2(float64(members))) * time.Second / 2; c.Failed > limit {
			t.Errorf("of %d members, one that is gone is known as such after %v, more than %v", members, c.Failed, limit)
		}
		if c.Wrong > 0 {
			t.Errorf("of %d members, live ones were taken for failed %d times", members, c.Wrong)
		}
		if c.Bytes > 3000 || c.Packets > 10 {
			t.Errorf("each of %d members sends %.0f bytes and %.1f packets a second", members, c.Bytes, c.Packets)
		}
	}
}
