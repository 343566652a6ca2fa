package federation

import (
	"cmp"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/wan"
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
	sorted := slices.Clone(peers)
	rtt.SortByDistance(sorted, self, func(p Peer) *coordinate.Coordinate { return p.Coordinate })
	coords := map[string][]*coordinate.Coordinate{}
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
		coords[p.Datacenter] = append(coords[p.Datacenter], p.Coordinate)
		if p.Status == gossip.Alive {
			target := transport.Target{Addr: net.JoinHostPort(p.Addr, strconv.Itoa(p.WANPort)), NodeID: p.ID, Name: wan.FullName(p.Name, p.Datacenter)}
			dc.targets = append(dc.targets, target)
			t.alive[p.ID] = target
		}
	}
	distance := map[string]time.Duration{}
	for name, cs := range coords {
		d, ok := rtt.Median(self, cs)
		if !ok {
			d = math.MaxInt64
		}
		distance[name] = d
	}
	slices.SortFunc(t.nearest, func(a, b string) int {
		return cmp.Or(cmp.Compare(distance[a], distance[b]), strings.Compare(a, b))
	})
	return t
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
