package federation

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
)

// metrics of calls to other datacenters. The label datacenter is bounded by
// the members of the WAN pool.
type metrics struct {
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec
	hedges  *prometheus.CounterVec
	live    *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "legate_federation_call_seconds", Help: "Time of calls to another datacenter, waits of blocking reads left out.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"datacenter"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_federation_call_errors_total", Help: "Calls to another datacenter that failed, by code of the error.",
		}, []string{"datacenter", "code"}),
		hedges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_federation_hedges_total", Help: "Reads that were sent to a second server because the first was late.",
		}, []string{"datacenter"}),
		live: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "legate_federation_live_servers", Help: "Servers of another datacenter that can be asked.",
		}, []string{"datacenter"}),
	}
	r.MustRegister(m.seconds, m.errors, m.hedges, m.live)
	return m
}

// servers makes the series of every datacenter exist before its first call.
func (m *metrics) servers(t *table) {
	m.live.Reset()
	for name, dc := range t.datacenters {
		m.live.WithLabelValues(name).Set(float64(len(dc.targets)))
		m.seconds.WithLabelValues(name)
		m.hedges.WithLabelValues(name)
		m.errors.WithLabelValues(name, op.CodeUnreachableDatacenter.String())
	}
}

func (m *metrics) record(call *op.Call, dc string, took time.Duration, err error) {
	if call.Header.MinIndex == 0 {
		m.seconds.WithLabelValues(dc).Observe(took.Seconds())
	}
	if err != nil && op.CodeOf(err) != op.CodeLong { // no failure: it is asked for again, in parts
		m.errors.WithLabelValues(dc, op.CodeOf(err).String()).Inc()
	}
}
