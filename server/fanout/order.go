package fanout

import (
	"math"
	"slices"
	"time"

	"github.com/legate-project/legate/op"
)

// A datacenter comes before another only if it is clearly nearer: round trips that
// sway must not turn answers around.
const (
	clearly    = 2 * time.Millisecond
	clearShare = 10 // of the longer one, in per cent
)

// order lists the datacenters of a reach in the order in which they count.
func (c *Caller) order(r *op.Reach) []string {
	out := slices.Clone(r.Listed)
	if !r.Others {
		return out
	}
	add := func(dc string) {
		if len(out) < maxDatacenters && !slices.Contains(r.Listed, dc) && !slices.Contains(r.LeftOut, dc) {
			out = append(out, dc)
		}
	}
	add(c.cfg.Datacenter)
	for _, dc := range c.Nearest() {
		add(dc)
	}
	return out
}

// Nearest lists the other datacenters by distance, in the order as before as long
// as none is clearly nearer than one in front of it. It is not to be changed.
func (c *Caller) Nearest() []string {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ordered.IsZero() && now.Sub(c.ordered) < reviewEvery/2 {
		return c.others
	}
	c.ordered = now
	known := c.cfg.Near.Datacenters()
	distance := make(map[string]time.Duration, len(known))
	for _, dc := range known {
		distance[dc] = math.MaxInt64
		if d, ok := c.cfg.Near.Distance(dc); ok {
			distance[dc] = d
		}
	}
	list := slices.DeleteFunc(slices.Clone(c.others), func(dc string) bool { _, ok := distance[dc]; return !ok })
	for _, dc := range known {
		if !slices.Contains(list, dc) {
			list = append(list, dc)
		}
	}
	for i := range list { // in order but for a few: each moves up as far as it is clearly nearer
		for j := i; j > 0 && nearer(distance[list[j]], distance[list[j-1]]); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	if !slices.Equal(list, c.others) {
		c.others = list
	}
	return c.others
}

func nearer(a, b time.Duration) bool {
	if a == math.MaxInt64 || b == math.MaxInt64 { // unknown is beyond all others
		return a < b
	}
	return a+max(clearly, b/100*clearShare) < b
}
