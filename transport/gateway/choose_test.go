package gateway

import (
	"net"
	"slices"
	"testing"
	"time"
)

// slow is a socket from which everything takes a while.
type slow struct {
	*net.UDPConn
	by time.Duration
}

func (s slow) WriteTo(b []byte, to net.Addr) (int, error) {
	b = slices.Clone(b)
	time.AfterFunc(s.by, func() { _, _ = s.UDPConn.WriteTo(b, to) })
	return len(b), nil
}

const slowBy = 40 * time.Millisecond

// The gateway that a server is reached through in the shortest time is taken, whichever is
// named first.
func TestTheNearestGatewayIsTaken(t *testing.T) {
	a, b, far, near := open(t, "a"), open(t, "b"), open(t, "slow", carries), open(t, "g", carries)
	a.knows(b)
	b.knows(a)
	b.reachedBy(t, far, near)
	a.uses(far, near)
	if _, err := a.call(t, b); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	used, trips := a.used[b.name], []time.Duration{a.measured[pair{far.addr(), b.name}].rtt, a.measured[pair{near.addr(), b.name}].rtt}
	a.mu.Unlock()
	if used != near.addr() {
		t.Errorf("reached through %s, want %s: the round trips are %v", used, near.addr(), trips)
	}
	if trips[0] != 0 && trips[0] < max(2*slowBy, trips[1]) {
		t.Errorf("the round trips are %v, of which the first takes %s more on each link", trips, slowBy)
	}
}

// One row is what is known of gateways, the one that was used, and the order in which they are
// asked.
func TestGatewaysAreAskedInOrder(t *testing.T) {
	n := open(t, "a")
	const server = "b.dc-b"
	ms := time.Millisecond
	for _, c := range []struct {
		trips map[string]time.Duration
		used  string
		want  []string
	}{
		{nil, "", []string{"g1", "g2", "g3"}},
		{map[string]time.Duration{"g1": 30 * ms, "g2": 10 * ms, "g3": 20 * ms}, "", []string{"g2", "g3", "g1"}},
		{map[string]time.Duration{"g2": 10 * ms}, "", []string{"g2", "g1", "g3"}},
		{map[string]time.Duration{"g1": 11 * ms, "g2": 10 * ms, "g3": 20 * ms}, "g1", []string{"g1", "g2", "g3"}},
		{map[string]time.Duration{"g1": 2 * ms, "g2": ms / 2, "g3": 20 * ms}, "g1", []string{"g1", "g2", "g3"}},
		{map[string]time.Duration{"g1": 20 * ms, "g2": 10 * ms, "g3": 20 * ms}, "g1", []string{"g2", "g1", "g3"}},
		{map[string]time.Duration{"g2": 10 * ms}, "g1", []string{"g2", "g1", "g3"}},
	} {
		n.mu.Lock()
		n.measured, n.used = map[pair]measured{}, map[string]string{server: c.used}
		for _, g := range []string{"g1", "g2", "g3"} {
			n.measured[pair{g, server}] = measured{c.trips[g], time.Now()}
		}
		n.mu.Unlock()
		if got := n.nearest(t.Context(), Way{Server: server}, []string{"g1", "g2", "g3"}); !slices.Equal(got, c.want) {
			t.Errorf("%v, used %q: %v, want %v", c.trips, c.used, got, c.want)
		}
	}
}
