package gateway

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/legate-project/legate/transport"
)

const (
	// measuredFor is how long a measured round trip through a gateway is good enough to choose by.
	measuredFor = time.Minute
	// measureTime bounds one measurement, and measureWait how long a dial waits for those of gateways
	// that nothing is known of. Once one has answered, the others have measureMore: what takes longer
	// is no better.
	measureTime = 3 * time.Second
	measureWait = stagger
	measureMore = 50 * time.Millisecond
	// maxMeasured bounds what is remembered.
	maxMeasured = 4096
	// A gateway takes the place of the one that was used if a round trip through it takes less than
	// this share of that, and less by muchLess.
	clearly  = 0.8
	muchLess = 2 * time.Millisecond
)

// pair is a gateway and a server that is reached through it.
type pair struct{ gateway, server string }

// measured is the round trip to a server through a gateway, 0 if nobody could say.
type measured struct {
	rtt   time.Duration
	since time.Time
}

// nearest puts that gateway first which the server is reached through in the shortest time: the
// round trip of both links. One that was used stays unless another is clearly better. A gateway
// that lies about its link is taken for better than it is, which gets it packets that it could
// have had anyway.
func (r *Relay) nearest(ctx context.Context, w Way, gateways []string) []string {
	if len(gateways) < 2 || w.Through != nil {
		return gateways
	}
	r.measure(ctx, w.Server, gateways)
	r.mu.Lock()
	defer r.mu.Unlock()
	trip := func(gateway string) time.Duration {
		if m := r.measured[pair{gateway, w.Server}]; m.rtt > 0 {
			return m.rtt
		}
		return math.MaxInt64
	}
	out := slices.Clone(gateways)
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(trip(a), trip(b)) })
	if at := slices.Index(out, r.used[w.Server]); at > 0 {
		used, best := trip(out[at]), trip(out[0])
		if used < math.MaxInt64 && (float64(best) > clearly*float64(used) || used-best < muchLess) {
			out = slices.Insert(slices.Delete(out, at, at+1), 0, r.used[w.Server])
		}
	}
	return out
}

// uses notes through which gateway a server is reached now.
func (r *Relay) uses(gateway, server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.used) >= maxMeasured {
		clear(r.used)
	}
	r.used[server] = gateway
}

// measure asks those gateways how far a server is of which that is not known, or not any more. It
// waits for who was never asked, for a moment.
func (r *Relay) measure(ctx context.Context, server string, gateways []string) {
	var stale []string
	first := false
	r.mu.Lock()
	if len(r.measured) >= maxMeasured {
		clear(r.measured)
	}
	for _, g := range gateways {
		p := pair{g, server}
		m, known := r.measured[p]
		if known && time.Since(m.since) < measuredFor {
			continue
		}
		r.measured[p] = measured{m.rtt, time.Now()} // one at a time
		stale, first = append(stale, g), first || !known
	}
	r.mu.Unlock()
	told := make(chan bool, len(stale))
	for _, g := range stale {
		err := r.group.Spawn("measure a gateway", func(ctx context.Context) {
			told <- r.measureOne(ctx, pair{g, server})
		})
		if err != nil {
			told <- false
		}
	}
	if !first {
		return
	}
	over := time.NewTimer(measureWait)
	defer over.Stop()
	answered := false
	for range stale {
		select {
		case ok := <-told:
			if ok && !answered {
				answered = true
				over.Reset(measureMore)
			}
		case <-over.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// measureOne asks one gateway, and reports whether it answered.
func (r *Relay) measureOne(ctx context.Context, p pair) bool {
	ctx, cancel := context.WithTimeout(ctx, measureTime)
	defer cancel()
	remote, err := r.cfg.Endpoint.Reach(ctx, transport.Target{Addr: p.gateway}, Protocol)
	if err != nil {
		return false
	}
	s, err := r.session(remote)
	if err != nil {
		return false
	}
	a, err := s.ask(ctx, request{Do: doPing, Server: p.server})
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measured[p] = measured{max(remote.Link.RTT(), 1) + min(max(a.RTT, 0), maxTrip), time.Now()}
	return true
}

// distance is the round trip to a server that is registered here; 0 if it is not.
func (r *Relay) distance(server string) time.Duration {
	r.mu.Lock()
	s := r.registered[server]
	r.mu.Unlock()
	if s == nil {
		return 0
	}
	return s.remote.Link.RTT()
}
