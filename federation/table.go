package federation

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/transport"
)

// table is the routing table: immutable, replaced whole.
type table struct {
	datacenters map[string]*datacenter
	nearest     []string                    // other datacenters by distance
	alive       map[string]transport.Target // by node ID
}

// datacenter is one other datacenter in a table.
type datacenter struct {
	name    string
	targets []transport.Target // live servers, nearest first
	failed  []transport.Target // servers that gossip has lost
	away    time.Duration      // round trip to its median server
	load    *load              // outlives tables
}

// load is what a datacenter's calls share across tables.
type load struct {
	inFlight, blocked atomic.Int64
	turn              atomic.Uint64

	mu       sync.Mutex
	suspects map[string]time.Time // node ID → asked last until then; bounded by the servers seen
}

// newTable builds the table as seen from the coordinate self.
func newTable(own string, self *coordinate.Coordinate, peers []Peer, old *table) *table {
	t := &table{datacenters: map[string]*datacenter{}, alive: map[string]transport.Target{}}
	away := map[string][]time.Duration{}
	sorted := slices.Clone(peers)
	slices.SortStableFunc(sorted, func(a, b Peer) int { return cmp.Compare(a.distance(self), b.distance(self)) })
	for _, p := range sorted {
		if p.Datacenter == own || p.Status == gossip.Left {
			continue
		}
		dc := t.datacenters[p.Datacenter]
		if dc == nil {
			dc = &datacenter{name: p.Datacenter, load: oldLoad(old, p.Datacenter)}
			t.datacenters[p.Datacenter] = dc
			t.nearest = append(t.nearest, p.Datacenter)
		}
		away[p.Datacenter] = append(away[p.Datacenter], p.distance(self))
		if p.Status == gossip.Alive {
			dc.targets = append(dc.targets, TargetOf(p.Server))
			t.alive[p.ID] = TargetOf(p.Server)
		}
		if p.Status == gossip.Failed {
			dc.failed = append(dc.failed, TargetOf(p.Server))
		}
	}
	for name, ds := range away {
		t.datacenters[name].away = ds[(len(ds)-1)/2] // sorted already: the median
	}
	slices.SortFunc(t.nearest, func(a, b string) int {
		return cmp.Or(cmp.Compare(t.datacenters[a].away, t.datacenters[b].away), strings.Compare(a, b))
	})
	return t
}

// distance is the round trip to the peer: measured, else estimated, else
// beyond all others.
func (p Peer) distance(self *coordinate.Coordinate) time.Duration {
	if p.Measured > 0 {
		return p.Measured
	}
	if d, ok := rtt.Distance(self, p.Coordinate); ok {
		return d
	}
	return math.MaxInt64
}

func oldLoad(old *table, dc string) *load {
	if old != nil {
		if d := old.datacenters[dc]; d != nil {
			return d.load
		}
	}
	return &load{suspects: map[string]time.Time{}}
}

// order lists the live servers in the order to ask them: in turn, so that load
// spreads, those that failed lately last.
func (d *datacenter) order() []transport.Target {
	n := len(d.targets)
	if n == 0 {
		return nil
	}
	out := make([]transport.Target, 0, n)
	start := int(d.load.turn.Add(1) % uint64(n))
	now := time.Now()
	d.load.mu.Lock()
	defer d.load.mu.Unlock()
	var late []transport.Target
	for i := range n {
		t := d.targets[(start+i)%n]
		if until, ok := d.load.suspects[t.NodeID]; ok {
			if now.Before(until) {
				late = append(late, t)
				continue
			}
			delete(d.load.suspects, t.NodeID)
		}
		out = append(out, t)
	}
	return append(out, late...)
}

// suspect has a server asked last for a while.
func (l *load) suspect(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.suspects[id] = time.Now().Add(suspectFor)
}
