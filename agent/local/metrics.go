package local

import "github.com/prometheus/client_golang/prometheus"

// metrics of anti-entropy.
type metrics struct {
	done, failed prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	syncs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_local_syncs_total", Help: "Rounds of anti-entropy between this agent and the catalog, by outcome.",
	}, []string{"outcome"})
	r.MustRegister(syncs)
	return &metrics{done: syncs.WithLabelValues("ok"), failed: syncs.WithLabelValues("failed")}
}

func (m *metrics) syncs(err error) {
	if err != nil {
		m.failed.Inc()
		return
	}
	m.done.Inc()
}
