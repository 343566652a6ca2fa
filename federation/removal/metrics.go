package removal

import "github.com/prometheus/client_golang/prometheus"

// The results of an exchange of records.
const (
	answered = "answered"
	silent   = "silent"
)

// metrics of the records of removed datacenters.
type metrics struct {
	exchanges *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, r *Records) *metrics {
	m := &metrics{exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_federation_record_exchanges_total", Help: "Exchanges with other servers of which datacenters are removed, by result. Worry: silent ones that go on.",
	}, []string{"result"})}
	m.exchanges.WithLabelValues(answered)
	m.exchanges.WithLabelValues(silent)
	reg.MustRegister(m.exchanges, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "legate_federation_removed_datacenters", Help: "Datacenters that are removed from the federation and refused. Worry: not the same on all servers.",
	}, func() float64 {
		n := 0
		for _, rec := range r.List() {
			if rec.Removed {
				n++
			}
		}
		return float64(n)
	}))
	return m
}

func (m *metrics) exchanged(err error) {
	result := answered
	if err != nil {
		result = silent
	}
	m.exchanges.WithLabelValues(result).Inc()
}
