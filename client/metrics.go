package client

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
)

// metrics of a client agent's calls.
type metrics struct {
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec
	// exceeded counts calls that were not made.
	exceeded prometheus.Counter
	of       map[op.Kind]prometheus.Observer // seconds by kind, found once
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "legate_client_call_seconds", Help: "Seconds of this client agent's calls to servers, waits of blocking reads left out, by kind of operation. Worry: a 99th percentile above 1.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10), NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"kind"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_client_call_errors_total", Help: "Calls of this client agent that failed, by code of the error. Worry: no-leader and no-server that go on.",
		}, []string{"code"}),
	}
	m.exceeded = prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_client_rate_exceeded_total",
		Help: "Calls of this client agent that were refused because they are more than limits.rpc_rate. Worry: any that goes on."})
	r.MustRegister(m.seconds, m.errors, m.exceeded)
	m.of = map[op.Kind]prometheus.Observer{}
	for _, k := range []op.Kind{op.KindRead, op.KindWrite, op.KindInternal, op.KindDirect, op.KindDirectRead} {
		m.of[k] = m.seconds.WithLabelValues(k.String())
	}
	for _, c := range []op.Code{op.CodeInternal, op.CodeNoLeader, op.CodeNoServer, op.CodeTimeout, op.CodeLost} {
		m.errors.WithLabelValues(c.String())
	}
	return m
}

func (m *metrics) record(call *op.Call, took time.Duration, err error) {
	if call.Header.MinIndex == 0 {
		m.of[call.Operation.OpKind()].Observe(took.Seconds())
	}
	if err != nil && op.CodeOf(err) != op.CodeLong { // no failure: it is asked for again, in parts
		m.errors.WithLabelValues(op.CodeOf(err).String()).Inc()
	}
}
