package gossipsim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/legate-project/legate/internal/gossip"
)

// Newcomers is how fast servers that come at the same time learn of each other, and all others of them.
type Newcomers struct {
	Servers, New int
	// Longest is until one that is there knew another one, counted from when both were there, and Who
	// these were; Late is how many took longer than lateNews, or did not in the end.
	Longest time.Duration
	Who     string
	Late    int
	Bytes   float64 // sent by a server in a second meanwhile
}

const (
	// atOnce is how many come together, comeEvery how often.
	atOnce    = 4
	comeEvery = 30 * time.Second
	lateNews  = 10 * time.Second
)

// Come has servers come, atOnce at a time, to datacenters chosen at random.
func Come(f *Federation, times int) (Newcomers, error) {
	f.Run(warmUp)
	rng := rand.New(rand.NewPCG(f.spec.Seed, 2))
	came := map[*Server]time.Time{}
	var err error
	n := Newcomers{}
	n.Bytes, _ = f.rate(func() {
		for range times {
			for range atOnce {
				at := time.Now()
				s, failed := f.Add(rng.IntN(len(f.spec.RoundTrips)))
				if failed != nil {
					err = errors.Join(err, failed)
					continue
				}
				came[s] = at
			}
			f.Run(comeEvery)
		}
	})
	f.Run(warmUp)
	n.Servers, n.New = len(f.Servers), len(came)
	for of, at := range came {
		for _, s := range f.Servers {
			if s == of {
				continue
			}
			both := at
			if later := came[s]; later.After(both) {
				both = later
			}
			took := time.Since(both) // and still not
			if learned, ok := s.Learned(gossip.Join, of.Name, at); ok {
				took = learned.Sub(both)
			}
			if took > lateNews {
				n.Late++
			}
			if took > n.Longest {
				n.Longest, n.Who = took, fmt.Sprintf("%s of %s", s.Name, of.Name)
			}
		}
	}
	return n, err
}
