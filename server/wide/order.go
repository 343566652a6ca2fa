package wide

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
func (w *Wide) order(r *op.Reach) []string {
	out := slices.Clone(r.Listed)
	if !r.Others {
		return out
	}
	add := func(dc string) {
		if len(out) < maxDatacenters && !slices.Contains(r.Listed, dc) {
			out = append(out, dc)
		}
	}
	add(w.cfg.Datacenter)
	for _, dc := range w.Nearest() {
		add(dc)
	}
	return out
}

// Nearest lists the other datacenters by distance, in the order as before as long
// as none is clearly nearer than one in front of it. It is not to be changed.
func (w *Wide) Nearest() []string {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ordered.IsZero() && now.Sub(w.ordered) < reviewEvery/2 {
		return w.others
	}
	w.ordered = now
	known := w.cfg.Near.Datacenters()
	away := make(map[string]time.Duration, len(known))
	for _, dc := range known {
		away[dc] = math.MaxInt64
		if d, ok := w.cfg.Near.Distance(dc); ok {
			away[dc] = d
		}
	}
	list := slices.DeleteFunc(slices.Clone(w.others), func(dc string) bool { _, ok := away[dc]; return !ok })
	for _, dc := range known {
		if !slices.Contains(list, dc) {
			list = append(list, dc)
		}
	}
	for i := range list { // in order but for a few: each moves up as far as it is clearly nearer
		for j := i; j > 0 && nearer(away[list[j]], away[list[j-1]]); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	if !slices.Equal(list, w.others) {
		w.others = list
	}
	return w.others
}

func nearer(a, b time.Duration) bool {
	if a == math.MaxInt64 || b == math.MaxInt64 { // unknown is beyond all others
		return a < b
	}
	return a+max(clearly, b/100*clearShare) < b
}
