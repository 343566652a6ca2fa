package local

import "github.com/prometheus/client_golang/prometheus"

// metrics of anti-entropy.
type metrics struct {
	done, failed          prometheus.Counter
	sent, refused, broken prometheus.Counter // writes
}

func newMetrics(r prometheus.Registerer) *metrics {
	syncs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_local_syncs_total", Help: "Rounds of anti-entropy between this agent and the catalog, by outcome. Worry: failed ones that go on.",
	}, []string{"outcome"})
	writes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_local_writes_total", Help: "Registrations and deregistrations that anti-entropy sent to the catalog, by outcome. Worry: refused: the token may not register.",
	}, []string{"outcome"})
	r.MustRegister(syncs, writes)
	return &metrics{done: syncs.WithLabelValues("ok"), failed: syncs.WithLabelValues("failed"),
		sent: writes.WithLabelValues("ok"), refused: writes.WithLabelValues("refused"), broken: writes.WithLabelValues("failed")}
}

func (m *metrics) wrote(err error) {
	switch {
	case err == nil:
		m.sent.Inc()
	case refused(err):
		m.refused.Inc()
	default:
		m.broken.Inc()
	}
}

func (m *metrics) syncs(err error) {
	if err != nil {
		m.failed.Inc()
		return
	}
	m.done.Inc()
}
