package gossipsim

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/rtt"
)

// ErrNotYet is returned when a change has not spread in the time given.
var ErrNotYet = errors.New("not everybody has learned of it")

// News is how fast a federation learns, and what that costs.
type News struct {
	Servers            int
	Joined             time.Duration // until all know of a new server
	FirstFailed        time.Duration // until one knows of a failed server
	Failed             time.Duration // until all do
	Bytes, Packets     float64       // sent by a server in a second, when nothing happens
	BusyBytes          float64       // the same while one server comes and goes each minute
	FlapsOfThatServer  int           // how often one other saw it fail
	FailuresOfTheOther int           // how often anybody saw another server fail meanwhile
}

const (
	warmUp   = time.Minute
	quiet    = 5 * time.Minute
	patience = 5 * time.Minute
	flaps    = 5
)

// Learn lets a server join, watches the quiet, lets one flap and one fail.
func Learn(f *Federation) (News, error) {
	f.Run(warmUp)
	at := time.Now()
	added, err := f.Add(len(f.spec.RoundTrips) / 2)
	if err != nil {
		return News{}, err
	}
	f.Run(warmUp)
	n := News{Servers: len(f.Servers)}
	var ok bool
	if _, n.Joined, ok = f.Spread(gossip.Join, added.Name, at); !ok {
		return n, fmt.Errorf("%s joined: %w", added.Name, ErrNotYet)
	}
	n.Bytes, n.Packets = f.rate(func() { f.Run(quiet) })
	flapping := f.Servers[1]
	at = time.Now()
	n.BusyBytes, _ = f.rate(func() { f.Flap(flapping, flaps) })
	seen, others := f.Failures(at, flapping)
	n.FlapsOfThatServer, n.FailuresOfTheOther = seen/(len(f.Servers)-1), others
	f.Run(2 * warmUp)
	at = time.Now()
	f.Freeze(added, true)
	f.Run(patience)
	if n.FirstFailed, n.Failed, ok = f.Spread(gossip.Fail, added.Name, at); !ok {
		return n, fmt.Errorf("%s failed: %w", added.Name, ErrNotYet)
	}
	return n, nil
}

// Flap parts a server from all others for a minute and lets it come back for
// one, so many times.
func (f *Federation) Flap(s *Server, times int) {
	for range times {
		f.Freeze(s, true)
		f.Run(time.Minute)
		f.Freeze(s, false)
		f.Run(time.Minute)
	}
}

// Failures counts the failures that servers other than of saw since a time: of
// that one, and of all others.
func (f *Federation) Failures(since time.Time, of *Server) (its, others int) {
	for _, s := range f.Servers {
		if s == of {
			continue
		}
		for _, c := range s.Changes(since) {
			switch {
			case c.Kind != gossip.Fail:
			case of != nil && c.Of == of.Name:
				its++
			default:
				others++
			}
		}
	}
	return its, others
}

// rate is how much an average server sends in a second.
func (f *Federation) rate(during func()) (bytes, packets float64) {
	sum := func() (t Traffic) {
		for _, s := range f.Servers {
			sent := f.Sent(s)
			t.Bytes += sent.Bytes
			t.Packets += sent.Packets
		}
		return t
	}
	at, before := time.Now(), sum()
	during()
	after, per := sum(), time.Since(at).Seconds()*float64(len(f.Servers))
	return float64(after.Bytes-before.Bytes) / per, float64(after.Packets-before.Packets) / per
}

// Total sums a counter over all servers.
func (f *Federation) Total(metric string) (float64, error) {
	sum := 0.
	for _, s := range f.Servers {
		n, err := s.Total(metric)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// Calm is what went wrong in a time in which no server failed.
type Calm struct {
	Servers     int
	Failures    int // of live servers, as seen by all
	Suspicions  float64
	Refutations float64
}

// Watch lets time pass.
func Watch(f *Federation, d time.Duration) (Calm, error) {
	at := time.Now()
	f.Run(d)
	_, others := f.Failures(at, nil)
	c := Calm{Servers: len(f.Servers), Failures: others}
	var errs [2]error
	c.Suspicions, errs[0] = f.Total("legate_wan_suspicions_total")
	c.Refutations, errs[1] = f.Total("legate_wan_refutations_total")
	return c, errors.Join(errs[:]...)
}

// Accuracy says how true the round trips are that servers know.
type Accuracy struct {
	Median float64 // relative error of the estimate for two servers, as `rtt -wan` has it
	P90    float64
	Order  float64 // share of pairs of datacenters in the right order, by coordinates
	Probed float64 // the same by the round trips of the server's own probes
}

const (
	// viewpoints is how many servers are asked.
	viewpoints = 10
	// apart is by how much two datacenters must differ for their order to count.
	apart = 10 * time.Millisecond
)

// Measure compares what servers know with the network.
func Measure(f *Federation) Accuracy {
	var errs []float64
	var pairs, byCoordinate, byProbe int
	for v := 0; v < len(f.Servers); v += max(1, len(f.Servers)/viewpoints) {
		view := f.look(v)
		errs = append(errs, view.errors(f)...)
		for a := range f.spec.RoundTrips {
			for b := range a {
				true1, true2 := f.spec.RoundTrips[view.site][a], f.spec.RoundTrips[view.site][b]
				if a == view.site || b == view.site || (true1-true2).Abs() <= apart {
					continue
				}
				pairs++
				byCoordinate += right(view.estimated, a, b, true1 < true2)
				byProbe += right(view.probed, a, b, true1 < true2)
			}
		}
	}
	slices.Sort(errs)
	out := Accuracy{Median: math.NaN(), P90: math.NaN(), Order: float64(byCoordinate) / float64(pairs), Probed: float64(byProbe) / float64(pairs)}
	if len(errs) > 0 {
		out.Median, out.P90 = errs[len(errs)/2], errs[len(errs)*9/10]
	}
	return out
}

// view is what one server knows.
type view struct {
	site              int
	coordinates       []*coordinate.Coordinate // by server, nil if unknown
	estimated, probed map[int]time.Duration    // by datacenter, the median of its servers
}

func (f *Federation) look(v int) view {
	s, per := f.Servers[v], f.spec.Servers
	out := view{site: v / per, estimated: map[int]time.Duration{}, probed: map[int]time.Duration{}}
	for site := range f.spec.RoundTrips {
		var estimated, probed []time.Duration
		for i := site * per; i < (site+1)*per; i++ {
			c, _ := s.Pool.CoordinateOf(f.Servers[i].Name)
			out.coordinates = append(out.coordinates, c)
			if d, ok := rtt.Distance(s.Pool.Coordinate(), c); ok {
				estimated = append(estimated, d)
			}
			if d, ok := s.Pool.RoundTrip(f.Servers[i].Name); ok {
				probed = append(probed, d)
			}
		}
		for of, list := range map[*map[int]time.Duration][]time.Duration{&out.estimated: estimated, &out.probed: probed} {
			if slices.Sort(list); len(list) > 0 {
				(*of)[site] = list[(len(list)-1)/2]
			}
		}
	}
	return out
}

// errors are the relative errors of all estimates that can be made.
func (v view) errors(f *Federation) []float64 {
	var out []float64
	for i, a := range v.coordinates {
		for j, b := range v.coordinates[:i] {
			is := f.spec.RoundTrips[i/f.spec.Servers][j/f.spec.Servers]
			if d, ok := rtt.Distance(a, b); ok && is > 0 {
				out = append(out, math.Abs(float64(d-is))/float64(is))
			}
		}
	}
	return out
}

// right is 1 if both are known and in the right order.
func right(known map[int]time.Duration, a, b int, less bool) int {
	x, ok := known[a]
	y, both := known[b]
	if ok && both && (x < y) == less {
		return 1
	}
	return 0
}
