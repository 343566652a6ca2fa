package wanem

import (
	"math/rand/v2"
	"time"
)

// Model says how long packets between sites take and which of them are lost.
// Network puts it into practice on sockets; a simulation asks it itself. It
// keeps no clock. It is not safe for concurrent use.
type Model struct {
	rand     *rand.Rand
	fallback Link
	links    map[pair]Link
	cut      map[string]bool
}

// Fate is what becomes of a packet.
type Fate int

// The fates: it arrives, the dice took it, or the link is cut.
const (
	Arrives Fate = iota
	Lost
	Severed
)

// NewModel returns a model without delays whose dice are seeded.
func NewModel(seed uint64) *Model {
	return &Model{rand: rand.New(rand.NewPCG(seed, seed)), links: map[pair]Link{}, cut: map[string]bool{}}
}

// Set changes the link between two sites, both directions.
func (m *Model) Set(a, b string, l Link) {
	m.links[pair{a, b}] = l
	m.links[pair{b, a}] = l
}

// SetDefault changes the link between sites for which Set was not called.
func (m *Model) SetDefault(l Link) { m.fallback = l }

// SetCut parts a site from all others, or ends that; links that are cut
// themselves stay cut.
func (m *Model) SetCut(site string, cut bool) { m.cut[site] = cut }

// Link is how packets go from one site to another.
func (m *Model) Link(from, to string) Link {
	l, ok := m.links[pair{from, to}]
	if !ok {
		l = m.fallback
	}
	l.Cut = l.Cut || m.cut[from] || m.cut[to]
	return l
}

// Throw decides about one packet: what becomes of it and, if it arrives, how
// long it takes. The time may be negative where the jitter is more than the
// way; it then takes none.
func (m *Model) Throw(l Link) (Fate, time.Duration) {
	switch {
	case l.Cut:
		return Severed, 0
	case l.Loss > 0 && m.rand.Float64() < l.Loss:
		return Lost, 0
	}
	wait := l.RTT / 2
	if l.Jitter > 0 {
		wait += time.Duration(m.rand.Int64N(int64(2*l.Jitter))) - l.Jitter
	}
	return Arrives, wait
}
