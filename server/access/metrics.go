package access

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	resolved prometheus.Counter
	unknown  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		resolved: prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_acl_resolved_total",
			Help: "Tokens that were resolved from the state, because nothing was kept of them or it had changed."}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_acl_unknown_total",
			Help: "Calls with a secret that stands for nothing, or for a token that has ended."}),
	}
	if reg != nil {
		reg.MustRegister(m.resolved, m.unknown)
	}
	return m
}
