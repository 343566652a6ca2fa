package feed

import "github.com/prometheus/client_golang/prometheus"

// metrics of the subscriptions that are served.
type metrics struct {
	subscriptions          prometheus.Gauge
	pushes, bytes, refused prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		subscriptions: prometheus.NewGauge(prometheus.GaugeOpts{Name: "legate_feed_subscriptions", Help: "Subscriptions of other agents to results of this server."}),
		pushes:        prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_feed_pushes_total", Help: "Results that were pushed to subscribers."}),
		bytes:         prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_feed_pushed_bytes_total", Help: "Bytes of the results that were pushed to subscribers."}),
		refused:       prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_feed_refused_total", Help: "Subscriptions that were refused because there were too many. Worry: any: those agents get aged answers."}),
	}
	r.MustRegister(m.subscriptions, m.pushes, m.bytes, m.refused)
	return m
}
