package rates

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	reads, writes prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	over := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_rpc_rate_exceeded_total",
		Help: "Calls above the rates of limits.request_limits: refused in the mode enforcing, counted alone in the mode permissive."}, []string{"kind"})
	if reg != nil {
		reg.MustRegister(over)
	}
	return &metrics{reads: over.WithLabelValues("read"), writes: over.WithLabelValues("write")}
}
