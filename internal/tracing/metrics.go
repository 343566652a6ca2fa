package tracing

import "github.com/prometheus/client_golang/prometheus"

// metrics of spans on their way to the collector.
type metrics struct{ sent, failed, dropped prometheus.Counter }

func newMetrics(r prometheus.Registerer) *metrics {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_tracing_spans_total",
		Help: "Spans that were recorded, by what became of them: sent to the collector, failed to be sent, or dropped because too many waited." +
			" Worry: growing failures or drops, which leave holes in traces.",
	}, []string{"result"})
	r.MustRegister(spans)
	return &metrics{sent: spans.WithLabelValues("sent"), failed: spans.WithLabelValues("failed"), dropped: spans.WithLabelValues("dropped")}
}
