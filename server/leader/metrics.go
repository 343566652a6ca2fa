package leader

import "github.com/prometheus/client_golang/prometheus"

// metrics of what a leader does.
type metrics struct {
	reconciles prometheus.Histogram
	expired    prometheus.Counter
	timed      prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		reconciles: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "legate_leader_reconcile_seconds", Help: "Seconds that the leader took to bring the catalog in line with gossip. Worry: above 10.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
		}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_session_expired_total", Help: "Sessions that this server ended as leader because their TTL passed. Worry: a jump: clients hang or cannot reach their agents.",
		}),
		timed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legate_session_ttl_timers", Help: "Sessions whose TTL this server counts as leader; 0 on others.",
		}),
	}
	r.MustRegister(m.reconciles, m.expired, m.timed)
	return m
}
