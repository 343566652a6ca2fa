package metrics

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
)

const (
	// Interval is how long the counters and samples under Consul's names are
	// gathered for, as in Consul.
	Interval = 10 * time.Second
	// forgotten is how long nobody must have asked for intervals to end: what
	// nobody reads is not gathered.
	forgotten = 10 * time.Minute
)

// interval is two gatherings and the time between them.
type interval struct {
	from, to []*dto.MetricFamily
	length   time.Duration
}

// intervals keeps the last whole interval.
type intervals struct {
	asked atomic.Int64 // nanoseconds of the Unix epoch; 0 is never

	mu    sync.Mutex
	since time.Time // when the running interval began; zero when none runs
	from  []*dto.MetricFamily
	last  interval
	born  time.Time
}

// Run ends an interval each time, until ctx does. While it is not run, and in
// the first interval after a time in which nobody asked, counters and samples
// cover the agent's life.
func (r *Registry) Run(ctx context.Context, each time.Duration) {
	tick := time.NewTicker(each)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			r.turn(now)
		}
	}
}

// turn ends an interval and begins the next one.
func (r *Registry) turn(now time.Time) {
	i := &r.intervals
	if asked := i.asked.Load(); asked == 0 || now.Sub(time.Unix(0, asked)) > forgotten {
		i.mu.Lock()
		i.since, i.from, i.last = time.Time{}, nil, interval{}
		i.mu.Unlock()
		return
	}
	families, err := r.reg.Gather()
	if err != nil {
		r.failed.Inc()
	}
	if unusable(families, err) {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.since.IsZero() {
		i.last = interval{from: i.from, to: families, length: now.Sub(i.since)}
	}
	i.since, i.from = now, families
}

// lately is the last whole interval, else the time since the registry was
// made.
func (r *Registry) lately(now []*dto.MetricFamily) interval {
	i := &r.intervals
	i.asked.Store(time.Now().UnixNano())
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.last.length > 0 {
		return i.last
	}
	return interval{to: now, length: time.Since(i.born)}
}
