package gossipsim

import (
	"math/rand/v2"
	"time"
)

// idleTimes are after how long without use connections might be closed, to see what that costs.
func idleTimes() []time.Duration {
	return []time.Duration{time.Minute, 2 * time.Minute}
}

// uses follows which pairs of servers have something to say to each other. The network's mutex
// guards it.
type uses struct {
	last map[[2]*end]time.Time
	of   map[time.Duration]*Connections
}

// Connections are those of all servers, if they are closed after a time without use.
type Connections struct {
	Opened int           // how often one was made
	Open   time.Duration // for how long they were open, all together
}

func newUses() *uses {
	u := &uses{last: map[[2]*end]time.Time{}, of: map[time.Duration]*Connections{}}
	u.forget()
	return u
}

// forget begins to count anew; which connections are open stays.
func (u *uses) forget() {
	for _, idle := range idleTimes() {
		u.of[idle] = &Connections{}
	}
}

// used notes that two servers said something to each other.
func (u *uses) used(a, b *end, now time.Time) {
	pair := [2]*end{a, b}
	if b.addr.Compare(a.addr) < 0 {
		pair = [2]*end{b, a}
	}
	gap := now.Sub(u.last[pair]) // of the first time it is beyond all
	u.last[pair] = now
	a.recent[b], b.recent[a] = now, now
	for idle, c := range u.of {
		if gap > idle {
			c.Opened++
		}
		c.Open += min(gap, idle)
	}
}

// Partial is what gossip does where a share of the links between datacenters is missing.
type Partial struct {
	Servers, Links, Missing int
	// After is what went wrong in the minutes after the links were lost, and Calm in the time after
	// those.
	After, Calm    Calm
	Bytes, Packets float64 // sent by a server in a second of the calm time
	// Connections are those of the calm time, by the time without use after which they are closed, and
	// Time is how long it was.
	Connections map[time.Duration]Connections
	Time        time.Duration
}

// storm is how long it may take until all have found out that links are gone.
const storm = 5 * time.Minute

// LosePart cuts a share of the links and lets the storm pass.
func LosePart(f *Federation, share float64) (Partial, error) {
	f.Run(2 * warmUp)
	p := Partial{Servers: len(f.Servers), Connections: map[time.Duration]Connections{}}
	dice := rand.New(rand.NewPCG(f.spec.Seed, 1))
	for i := range f.spec.RoundTrips {
		for j := range i {
			p.Links++
			if dice.Float64() < share {
				f.Cut(i, j, true)
				p.Missing++
			}
		}
	}
	var err error
	p.After, err = Watch(f, storm)
	return p, err
}

// Watch watches the calm time after that.
func (p *Partial) Watch(f *Federation, d time.Duration) (err error) {
	p.Time = d
	f.net.mu.Lock()
	f.net.uses.forget()
	f.net.mu.Unlock()
	p.Bytes, p.Packets = f.rate(func() { p.Calm, err = Watch(f, d) })
	p.Calm.Suspicions -= p.After.Suspicions
	p.Calm.Refutations -= p.After.Refutations
	f.net.mu.Lock()
	defer f.net.mu.Unlock()
	for idle, c := range f.net.uses.of {
		p.Connections[idle] = *c
	}
	return err
}
