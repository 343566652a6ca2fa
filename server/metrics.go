package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state"
)

// maxDatacenters bounds the values of the label datacenter.
const maxDatacenters = 256

// metrics of a server's calls.
type metrics struct {
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec
	// local are the series of calls to this datacenter, by operation: looked up
	// without locks on every call.
	local map[string]prometheus.Observer
}

// newMetrics registers the metrics. Every operation has its series from the
// start; those of other datacenters appear with the first call to them.
func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		local: map[string]prometheus.Observer{},
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "legate_rpc_seconds", Help: "Seconds that calls took on this server, waits of blocking reads left out, by operation and datacenter asked. Worry: a 99th percentile above 1 of local ones.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10), NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"operation", "datacenter"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_rpc_errors_total", Help: "Calls that failed, by operation, datacenter asked and code of the error. Worry: internal, and no-leader that goes on.",
		}, []string{"operation", "datacenter", "code"}),
	}
	r.MustRegister(m.seconds, m.errors)
	for _, o := range state.Operations() {
		m.local[o.OpName()] = m.seconds.WithLabelValues(o.OpName(), "local")
		m.errors.WithLabelValues(o.OpName(), "local", op.CodeInternal.String())
	}
	return m
}

func (m *metrics) record(call *op.Call, dc string, took time.Duration, err error) {
	name := call.Operation.OpName()
	if call.Header.MinIndex == 0 {
		series, ok := m.local[name]
		if dc != "local" || !ok {
			series = m.seconds.WithLabelValues(name, dc)
		}
		series.Observe(took.Seconds())
	}
	if err != nil && op.CodeOf(err) != op.CodeLong { // no failure: it is asked for again, in parts
		m.errors.WithLabelValues(name, dc, op.CodeOf(err).String()).Inc()
	}
}
