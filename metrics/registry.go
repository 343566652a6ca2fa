// Package metrics is the Prometheus registry of one agent: what packages
// register with it, the Go runtime and the process, and what memberlist and
// Serf count, brought over from the process-wide go-metrics.
//
// Several agents in one process have a registry each. Of other packages'
// metrics it names those that Consul has names for, to show them under these as
// well, and to send them to a statsd server.
package metrics

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// maxScrapes bounds scrapes at the same time; more are answered 503.
const maxScrapes = 8

// Registry is the registry of one agent. It is a prometheus.Registerer and
// Gatherer, safe for concurrent use.
type Registry struct {
	reg        *prometheus.Registry
	names      []string
	gossip     *gossip
	failed     prometheus.Counter
	pushErrors *prometheus.CounterVec

	intervals intervals
	filter    atomic.Pointer[Filter] // nil: all is shown
}

var (
	_ prometheus.Registerer = (*Registry)(nil)
	_ prometheus.Gatherer   = (*Registry)(nil)
)

// NewRegistry returns the registry of the agent with this node name. It gets
// the gossip samples that are labelled with that name or one of the others by
// which gossip pools know the agent (a server is node.datacenter in the WAN
// pool) until Close. Of two registries that claim a name the later one gets
// its samples.
func NewRegistry(node string, others ...string) *Registry {
	r := &Registry{reg: prometheus.NewRegistry(), names: append([]string{node}, others...),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_metrics_gather_errors_total", Help: "Errors while metrics were gathered for a scrape. Worry: any.",
		})}
	r.intervals.born = time.Now()
	r.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), r.failed)
	r.pushErrors = newPushErrors(r.reg)
	r.gossip = newGossip(r.reg)
	shared().claim(r.names, r.gossip)
	return r
}

// Close ends the flow of gossip samples into the registry. What it holds can
// still be gathered.
func (r *Registry) Close() { shared().release(r.names, r.gossip) }

// Register implements prometheus.Registerer.
func (r *Registry) Register(c prometheus.Collector) error { return r.reg.Register(c) }

// MustRegister implements prometheus.Registerer.
func (r *Registry) MustRegister(cs ...prometheus.Collector) { r.reg.MustRegister(cs...) }

// Unregister implements prometheus.Registerer.
func (r *Registry) Unregister(c prometheus.Collector) bool { return r.reg.Unregister(c) }

// Gather implements prometheus.Gatherer.
func (r *Registry) Gather() ([]*dto.MetricFamily, error) { return r.reg.Gather() }

// With returns a Registerer that adds the label to everything registered
// through it, for parts that an agent has several of.
func (r *Registry) With(label, value string) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{label: value}, r.reg)
}

// Handler serves the metrics in the text format of Prometheus, OpenMetrics or
// protobuf, as the client asks. With those under Consul's names OpenMetrics is not
// spoken: it would give Consul's counters another name.
func (r *Registry) Handler(names Names) http.Handler {
	from := prometheus.Gatherer(r.reg)
	if names.Compat {
		from = &compat{r, names}
	}
	return promhttp.HandlerFor(counting{from, r.failed}, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: !names.Compat,
	})
}

// counting gathers and counts what failed. That an answer could not be sent is no
// failure of ours: who scrapes has given up.
type counting struct {
	from   prometheus.Gatherer
	failed prometheus.Counter
}

// Gather implements prometheus.Gatherer.
func (c counting) Gather() ([]*dto.MetricFamily, error) {
	families, err := c.from.Gather()
	var several prometheus.MultiError
	switch {
	case errors.As(err, &several):
		c.failed.Add(float64(len(several)))
	case err != nil:
		c.failed.Inc()
	}
	return families, err
}

// unusable reports whether a gathering gave nothing at all.
func unusable(families []*dto.MetricFamily, err error) bool {
	var several prometheus.MultiError
	return err != nil && (len(families) == 0 || !errors.As(err, &several))
}
