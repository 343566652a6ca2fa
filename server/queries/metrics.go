package queries

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	// executed are the queries that were carried out, by where the answer came
	// from.
	executed *prometheus.CounterVec
	waiting  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		executed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_query_executions_total", Help: "Prepared queries that this server carried out, by where the instances were found; waiting ones count again with each look. Worry: failover or empty where local is usual.",
		}, []string{"answer"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legate_query_waiting", Help: "Prepared queries that wait on this server for another answer.",
		}),
	}
	for _, answer := range []string{answerLocal, answerFailover, answerEmpty} {
		m.executed.WithLabelValues(answer)
	}
	r.MustRegister(m.executed, m.waiting)
	return m
}
