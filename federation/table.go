package federation

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/transport"
)

// table is the routing table: immutable, replaced whole.
type table struct {
	datacenters map[string]*datacenter
	nearest     []string                    // other datacenters by distance
	left        []string                    // those of which every server left, by name
	targets     map[string]transport.Target // their servers and those that are leaving, by node ID
	alive       map[string]transport.Target // of them, those that gossip holds alive
}

// datacenter is one other datacenter in a table.
type datacenter struct {
	name     string
	members  []member      // servers that have not left, nearest first
	alive    int           // of them, as gossip says
	distance time.Duration // round trip to its median server
	load     *load         // outlives tables
}

// load is what a datacenter's calls share across tables.
type load struct {
	inFlight, blocked atomic.Int64
	roundRobin        atomic.Uint64
	latency           latency
	wasBroken         atomic.Bool
	brokenAt          atomic.Int64 // when it broke, in Unix nanoseconds

	mu       sync.Mutex
	suspects map[string]time.Time // node ID → asked last until then; bounded by the servers seen
	servers  map[string]*health   // by node ID; those of the table
}

// newTable builds the table as seen from the coordinate self.
func newTable(own string, self *coordinate.Coordinate, peers []Peer, old *table) *table {
	t := &table{datacenters: map[string]*datacenter{}, targets: map[string]transport.Target{}, alive: map[string]transport.Target{}}
	distances := map[string][]time.Duration{}
	sorted := deduplicate(peers)
	slices.SortStableFunc(sorted, func(a, b Peer) int { return cmp.Compare(a.distance(self), b.distance(self)) })
	for _, p := range sorted {
		if p.Datacenter == own || p.Status == gossip.Left {
			continue
		}
		if p.Status == gossip.Leaving { // it finishes what it was asked, and gets nothing new
			t.targets[p.ID], t.alive[p.ID] = TargetOf(p.Server), TargetOf(p.Server)
			continue
		}
		dc := t.datacenters[p.Datacenter]
		if dc == nil {
			dc = &datacenter{name: p.Datacenter, load: oldLoad(old, p.Datacenter)}
			t.datacenters[p.Datacenter] = dc
			t.nearest = append(t.nearest, p.Datacenter)
		}
		distances[p.Datacenter] = append(distances[p.Datacenter], p.distance(self))
		alive := p.Status == gossip.Alive
		dc.members = append(dc.members, member{TargetOf(p.Server), p.Damped, dc.load.gossip(p.ID, alive)})
		t.targets[p.ID] = TargetOf(p.Server)
		if alive {
			dc.alive++
			t.alive[p.ID] = TargetOf(p.Server)
		}
	}
	t.left = left(own, peers, t)
	for name, ds := range distances {
		t.datacenters[name].distance = ds[(len(ds)-1)/2] // sorted already: the median
		t.datacenters[name].load.keep(t.datacenters[name].members)
	}
	slices.SortFunc(t.nearest, func(a, b string) int {
		return cmp.Or(cmp.Compare(t.datacenters[a].distance, t.datacenters[b].distance), strings.Compare(a, b))
	})
	return t
}

// deduplicate lists the servers of a datacenter once: one that was given another name is a
// member twice until gossip forgets the old one. The one that lives counts.
func deduplicate(peers []Peer) []Peer {
	type server struct{ datacenter, id string }
	out := make([]Peer, 0, len(peers))
	at := make(map[server]int, len(peers)) // place in out
	for _, p := range peers {
		k := server{p.Datacenter, p.ID}
		i, twice := at[k]
		switch {
		case !twice:
			at[k] = len(out)
			out = append(out, p)
		case presence(p.Status) > presence(out[i].Status):
			out[i] = p
		}
	}
	return out
}

// presence orders what gossip says of a server by how much of it is there.
func presence(s gossip.Status) int {
	switch s {
	case gossip.Alive:
		return 3
	case gossip.Leaving:
		return 2
	case gossip.Failed:
		return 1
	}
	return 0
}

// missing says why a datacenter has no server in the table.
func (t *table) missing(name string, removed func(string) bool) op.Code {
	switch {
	case removed(name):
		return op.CodeRemovedDatacenter
	case slices.Contains(t.left, name):
		return op.CodeLeftDatacenter
	}
	return op.CodeUnknownDatacenter
}

// left lists the datacenters that are known and have no server in the table.
func left(own string, peers []Peer, t *table) []string {
	var out []string
	for _, p := range peers {
		if p.Datacenter != own && t.datacenters[p.Datacenter] == nil && !slices.Contains(out, p.Datacenter) {
			out = append(out, p.Datacenter)
		}
	}
	slices.Sort(out)
	return out
}

// answers reports whether a server that has not left answered just now.
func (t *table) answers(id string, now time.Time) bool {
	for _, dc := range t.datacenters {
		for _, m := range dc.members {
			if m.target.NodeID == id {
				return m.fresh(now)
			}
		}
	}
	return false
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
	l := &load{suspects: map[string]time.Time{}, servers: map[string]*health{}}
	l.latency.budget = hedgeBurst
	return l
}

// of returns the health of a server.
func (l *load) of(id string) *health {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.servers[id]
	if h == nil { // gone from the table while a call went on
		h = &health{}
	}
	return h
}

// gossip returns the health of a server of which gossip says whether it lives.
func (l *load) gossip(id string, alive bool) *health {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, known := l.servers[id]
	if !known {
		h = &health{}
		l.servers[id] = h
	}
	h.gossip(alive, known, time.Now())
	return h
}

// keep forgets the servers that are not among the members.
func (l *load) keep(members []member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	still := make(map[string]*health, len(members))
	for _, m := range members {
		still[m.target.NodeID] = m.health
	}
	l.servers = still
	maps.DeleteFunc(l.suspects, func(id string, _ time.Time) bool { return still[id] == nil })
}

// order lists the servers that are to be asked: in turn, so that load spreads,
// those that failed a call lately behind the others, and those that are damped
// behind all that are not.
func (d *datacenter) order() []transport.Target {
	n := len(d.members)
	if n == 0 {
		return nil
	}
	out := make([]transport.Target, 0, n)
	start := int(d.load.roundRobin.Add(1) % uint64(n))
	now := time.Now()
	d.load.mu.Lock()
	defer d.load.mu.Unlock()
	var late, damped, dampedLate []transport.Target
	for i := range n {
		m := d.members[(start+i)%n]
		if m.open.Load() {
			continue
		}
		list, behind := &out, &late
		if m.damped {
			list, behind = &damped, &dampedLate
		}
		if until, ok := d.load.suspects[m.target.NodeID]; ok {
			if now.Before(until) {
				list = behind
			} else {
				delete(d.load.suspects, m.target.NodeID)
			}
		}
		*list = append(*list, m.target)
	}
	return append(append(append(out, late...), damped...), dampedLate...)
}

// attempts lists the servers that one call is sent to.
func (d *datacenter) attempts() []transport.Target {
	targets := d.order()
	return targets[:min(len(targets), maxAttempts)]
}

// suspect has a server asked last for a while.
func (l *load) suspect(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.suspects[id] = time.Now().Add(suspectFor)
}
