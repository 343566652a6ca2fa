package events

import "github.com/prometheus/client_golang/prometheus"

// metrics of the events that came.
type metrics struct{ received, filtered, invalid prometheus.Counter }

func newMetrics(r prometheus.Registerer) *metrics {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_user_events_total", Help: "User events that came by gossip: taken, filtered because meant for others, or invalid. Worry: invalid.",
	}, []string{"result"})
	r.MustRegister(v)
	return &metrics{received: v.WithLabelValues("taken"), filtered: v.WithLabelValues("filtered"), invalid: v.WithLabelValues("invalid")}
}
