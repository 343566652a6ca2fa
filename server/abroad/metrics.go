package abroad

import "github.com/prometheus/client_golang/prometheus"

// metrics of nodes of other datacenters.
type metrics struct {
	followed  prometheus.Gauge
	unvouched prometheus.Gauge
	ended     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		followed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legate_session_nodes_abroad", Help: "Nodes of other datacenters that this server follows as leader for the sessions on them; 0 on others. Worry: near 1024, the bound.",
		}),
		unvouched: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legate_session_nodes_abroad_unvouched", Help: "Those of them whose datacenter does not say now whether they are there: sessions without a TTL end after 45 s of that. Worry: above 0.",
		}),
		ended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_session_abroad_ended_total", Help: "Sessions that this server ended as leader because the node in another datacenter or one of its checks failed or was gone.",
		}),
	}
	r.MustRegister(m.followed, m.unvouched, m.ended)
	return m
}
