package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state"
)

// metrics of a server's calls.
type metrics struct {
	seconds    *prometheus.HistogramVec
	errors     *prometheus.CounterVec
	reconciles prometheus.Histogram
	expired    prometheus.Counter
	timed      prometheus.Gauge
	// executed are the prepared queries that were carried out, by where the
	// answer came from.
	executed *prometheus.CounterVec
	waiting  prometheus.Gauge
	saved    prometheus.Histogram
	restored prometheus.Histogram
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
			Name: "legate_rpc_seconds", Help: "Time that calls took on this server, waits of blocking reads left out, by operation and datacenter asked.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10), NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"operation", "datacenter"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_rpc_errors_total", Help: "Calls that failed, by operation, datacenter asked and code of the error.",
		}, []string{"operation", "datacenter", "code"}),
		reconciles: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "legate_leader_reconcile_seconds", Help: "Time that the leader took to bring the catalog in line with gossip.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
		}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_session_expired_total", Help: "Sessions that this server ended as leader because their TTL passed.",
		}),
		timed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legate_session_ttl_timers", Help: "Sessions whose TTL this server counts as leader; 0 on others.",
		}),
	}
	m.executed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_query_executions_total", Help: "Prepared queries that this server carried out, by where the instances were found; waiting ones count again with each look.",
	}, []string{"answer"})
	for _, answer := range []string{answerLocal, answerFailover, answerEmpty} {
		m.executed.WithLabelValues(answer)
	}
	m.waiting = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "legate_query_waiting", Help: "Prepared queries that wait on this server for another answer.",
	})
	m.saved, m.restored = snapshotSeconds("save", "made and read"), snapshotSeconds("restore", "received, verified and restored")
	r.MustRegister(m.seconds, m.errors, m.reconciles, m.expired, m.timed, m.saved, m.restored, m.executed, m.waiting)
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

func snapshotSeconds(what, done string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "legate_snapshot_" + what + "_seconds", Help: "Time in which a snapshot for an operator was " + done + ".",
		Buckets: prometheus.ExponentialBuckets(0.01, 4, 10),
	})
}
