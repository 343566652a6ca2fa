// Package links keeps what a server knows of the links between datacenters: which
// datacenters it reaches directly, and through whose servers it reaches the others.
//
// It promises that a path goes through two servers at most, of two datacenters that are neither the own
// one nor the one that it leads to; that a path in use is left for a better one only if that is
// clearly better; and that what is remembered is bounded by the datacenters that it is asked of.
// It neither asks nor dials.
package links

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// MaxTransits bounds the servers that carry a flow.
	MaxTransits = 2
	// MaxPaths bounds the paths to one datacenter that are remembered.
	MaxPaths = 8
	// maxDatacenters bounds those of which something is remembered.
	maxDatacenters = 1024
	// freshFor is how long what others said is good enough to choose by.
	freshFor = 5 * time.Second
	// nothingFor is the same where nobody knew a way.
	nothingFor = time.Second
	// clearly is how much better, as a share of the cost, a path must be than the one in use, and
	// atLeast by how much: so two that are alike are not taken in turn.
	clearly = 0.8
	atLeast = 2 * time.Millisecond
	// A lost packet costs lossTrips round trips and lossWait more until QUIC sends it again
	// (RFC 9002 section 6.2), and a call has lossPackets of them in turn.
	lossPackets = 4
	lossTrips   = 2
	lossWait    = 25 * time.Millisecond
	// avoidFor is how long a path that failed is tried last; it doubles, up to avoidMost, each time.
	avoidFor  = 10 * time.Second
	avoidMost = 10 * time.Minute
	// firstPause and lastPause bound the time until a direct link that is broken is tried again. One that
	// breaks within unstableFor of its healing goes on with its pause.
	firstPause  = time.Second
	lastPause   = 30 * time.Second
	unstableFor = 5 * time.Minute
)

// State is what is known of the direct link to a datacenter.
type State int

// The states.
const (
	Unknown State = iota // nothing speaks against it
	Whole                // it was used
	Doubted              // a connection over it fell silent, or a dial took long
	Broken               // others were reached there, and this way was not
)

// Path leads to a datacenter.
type Path struct {
	// Through are the servers, node.datacenter, that carry flows there, in order; none is the direct way.
	Through []string
	// RTT is the round trip, the sum of those of its links, and Loss the share of packets lost on
	// it, 0 to 1.
	RTT  time.Duration
	Loss float64
}

// Key tells paths apart.
func (p Path) Key() string { return strings.Join(p.Through, " ") }

// Datacenters are those that it leads through.
func (p Path) Datacenters() []string {
	var out []string
	for _, s := range p.Through {
		out = append(out, Datacenter(s))
	}
	return out
}

// Datacenter is that of a server, node.datacenter.
func Datacenter(server string) string { return server[strings.LastIndexByte(server, '.')+1:] }

// Cost is what a call over the path is expected to take.
func (p Path) Cost() time.Duration {
	again := float64(lossTrips*p.RTT + lossWait)
	return p.RTT + time.Duration(lossPackets*p.Loss*again)
}

// Then is the path that goes on over another.
func (p Path) Then(next Path) Path {
	return Path{Through: append(slices.Clone(p.Through), next.Through...), RTT: p.RTT + next.RTT, Loss: 1 - (1-p.Loss)*(1-next.Loss)}
}

// Table is safe for concurrent use.
type Table struct {
	own string

	mu  sync.Mutex
	dcs map[string]*state
}

type state struct {
	direct State
	next   time.Time // when the direct link is tried again, if it is broken or in doubt
	pause  time.Duration
	healed time.Time

	heard  time.Time // when others were last asked
	paths  []Path    // as they said, those that make sense
	from   []string  // datacenters that reach it directly
	chosen string    // key of the path in use
	failed map[string]failure

	changes uint64 // how often another path was taken
}

// failure is why a path is tried last.
type failure struct {
	until time.Time
	pause time.Duration
}

// NewTable returns a table of a server of a datacenter.
func NewTable(own string) *Table { return &Table{own: own, dcs: map[string]*state{}} }

// of is what is known of a datacenter; t.mu is held.
func (t *Table) of(dc string) *state {
	s := t.dcs[dc]
	if s == nil {
		s = &state{failed: map[string]failure{}}
		if len(t.dcs) < maxDatacenters {
			t.dcs[dc] = s
		}
	}
	return s
}

// Keep forgets the datacenters that are not among those given.
func (t *Table) Keep(dcs map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for dc := range t.dcs {
		if !dcs[dc] {
			delete(t.dcs, dc)
		}
	}
}

// Direct is the state of the direct link.
func (t *Table) Direct(dc string) State {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.dcs[dc]; s != nil {
		return s.direct
	}
	return Unknown
}

// Works notes that the direct link was used, and reports whether it was broken.
func (t *Table) Works(dc string) (healed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(dc)
	if healed = s.direct == Broken; healed {
		s.healed = time.Now()
		s.changes++
	}
	if s.direct == Doubted && s.healed.IsZero() {
		s.pause = 0 // it was no more than a doubt
	}
	s.direct, s.chosen = Whole, ""
	return healed
}

// Doubt notes that the direct link may be dead: it is to be tried now.
func (t *Table) Doubt(dc string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(dc)
	if s.direct == Doubted || s.direct == Broken {
		return
	}
	s.direct, s.next = Doubted, time.Now()
	if s.pause == 0 || time.Since(s.healed) > unstableFor {
		s.pause = firstPause
	}
}

// Breaks notes that the direct link does not work, and reports whether that is new.
func (t *Table) Breaks(dc string) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(dc)
	if s.direct == Broken {
		return false
	}
	if s.direct != Doubted && (s.pause == 0 || time.Since(s.healed) > unstableFor) {
		s.pause = firstPause
	}
	s.direct, s.next = Broken, time.Now().Add(s.pause)
	return true
}

// Due returns the datacenters whose direct link is to be tried now, n at most: each is due again
// after a pause that doubles.
func (t *Table) Due(n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	var out []string
	for dc, s := range t.dcs {
		if (s.direct == Broken || s.direct == Doubted) && len(out) < n && !now.Before(s.next) {
			s.pause = min(2*s.pause, lastPause)
			s.next = now.Add(s.pause)
			out = append(out, dc)
		}
	}
	return out
}

// BrokenOnes are the datacenters whose direct link is broken, in order.
func (t *Table) BrokenOnes() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for dc, s := range t.dcs {
		if s.direct == Broken {
			out = append(out, dc)
		}
	}
	slices.Sort(out)
	return out
}

// Heard notes what others said of a datacenter just now: the paths through them, and who
// reaches it directly, whether it carries or not.
func (t *Table) Heard(dc string, paths []Path, from []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(dc)
	s.heard, s.paths, s.from = time.Now(), nil, from
	for _, p := range paths {
		if t.sound(dc, p) {
			s.paths = append(s.paths, p)
		}
	}
	slices.SortStableFunc(s.paths, func(a, b Path) int {
		return cmp.Or(cmp.Compare(a.Cost(), b.Cost()), cmp.Compare(len(a.Through), len(b.Through)), cmp.Compare(a.Key(), b.Key()))
	})
	s.paths = s.paths[:min(len(s.paths), MaxPaths)]
	for key := range s.failed {
		if !slices.ContainsFunc(s.paths, func(p Path) bool { return p.Key() == key }) {
			delete(s.failed, key)
		}
	}
}

// sound reports whether a path is short and leads nowhere twice.
func (t *Table) sound(dc string, p Path) bool {
	if len(p.Through) == 0 || len(p.Through) > MaxTransits {
		return false
	}
	seen := []string{t.own, dc}
	for _, by := range p.Datacenters() {
		if by == "" || slices.Contains(seen, by) {
			return false
		}
		seen = append(seen, by)
	}
	return true
}

// Reached are the datacenters that said they reach one directly.
func (t *Table) Reached(dc string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.dcs[dc]; s != nil {
		return slices.Clone(s.from)
	}
	return nil
}

// Fresh reports whether what others said is new enough to choose by.
func (t *Table) Fresh(dc string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.dcs[dc]
	if s == nil || s.heard.IsZero() {
		return false
	}
	if len(s.paths) == 0 {
		return time.Since(s.heard) < nothingFor
	}
	return time.Since(s.heard) < freshFor
}

// Paths are the ways through others, in the order in which they are to be tried: the one in use
// first, unless another is clearly better, and those that failed lately last.
func (t *Table) Paths(dc string) []Path {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.dcs[dc]
	if s == nil {
		return nil
	}
	now := time.Now()
	var good, bad []Path
	for _, p := range s.paths {
		if now.Before(s.failed[p.Key()].until) {
			bad = append(bad, p)
		} else {
			good = append(good, p)
		}
	}
	at := slices.IndexFunc(good, func(p Path) bool { return p.Key() == s.chosen })
	if at > 0 && !clearlyBetter(good[0], good[at]) {
		inUse := good[at]
		good = slices.Insert(slices.Delete(good, at, at+1), 0, inUse)
	}
	return append(good, bad...)
}

func clearlyBetter(p, inUse Path) bool {
	a, b := p.Cost(), inUse.Cost()
	return float64(a) < clearly*float64(b) && b-a > atLeast
}

// Chose notes which path is in use, and reports whether that is news.
func (t *Table) Chose(dc string, p Path) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(dc)
	if news = s.chosen != p.Key(); news {
		s.changes++
	}
	s.chosen = p.Key()
	delete(s.failed, p.Key())
	return news
}

// Failed notes that a path led nowhere.
func (t *Table) Failed(dc string, p Path) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(dc)
	if len(s.failed) >= 2*MaxPaths {
		return
	}
	f := s.failed[p.Key()]
	f.pause = min(max(avoidFor, 2*f.pause), avoidMost)
	f.until = time.Now().Add(f.pause)
	s.failed[p.Key()] = f
}

// Lost is Failed, and what others said is old: something has changed.
func (t *Table) Lost(dc string, p Path) {
	t.Failed(dc, p)
	t.Stale(dc)
}

// Stale notes that what others said is old.
func (t *Table) Stale(dc string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(dc).heard = time.Time{}
}

// Shown is how a datacenter is reached, for people.
type Shown struct {
	Direct State
	// Through are the datacenters that carry there, with the path's measure; none if it is reached directly.
	Through []string
	RTT     time.Duration
	Loss    float64
	// From are datacenters that say that they reach it directly.
	From []string
}

// Of is how a datacenter is reached.
func (t *Table) Of(dc string) Shown {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.dcs[dc]
	if s == nil {
		return Shown{}
	}
	out := Shown{Direct: s.direct}
	if s.direct != Broken && s.chosen == "" {
		return out
	}
	out.From = slices.Clone(s.from)
	for _, p := range s.paths {
		if p.Key() == s.chosen {
			out.Through, out.RTT, out.Loss = p.Datacenters(), p.RTT, p.Loss
		}
	}
	return out
}

// Changes is how often another path to a datacenter was taken.
func (t *Table) Changes(dc string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.dcs[dc]; s != nil {
		return s.changes
	}
	return 0
}

// Better is the path that is clearly better than the one in use; false if there is none.
func (t *Table) Better(dc string) (Path, bool) {
	paths := t.Paths(dc)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.dcs[dc]
	if s == nil || s.direct != Broken || s.chosen == "" || len(paths) == 0 || paths[0].Key() == s.chosen {
		return Path{}, false
	}
	return paths[0], true
}
