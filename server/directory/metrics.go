package directory

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a directory. What is known is looked up when it is asked for.
type metrics struct {
	d             *Directory
	deltas        *prometheus.CounterVec
	services, age *prometheus.Desc
	watches       prometheus.GaugeFunc
}

var _ prometheus.Collector = (*metrics)(nil)

func newMetrics(r prometheus.Registerer, d *Directory) *metrics {
	labels := []string{"datacenter"}
	m := &metrics{d: d,
		deltas: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_directory_deltas_total",
			Help: "Messages about the health of services that came from another datacenter."}, labels),
		services: prometheus.NewDesc("legate_directory_services", "Services that are known of another datacenter.", labels, nil),
		age:      prometheus.NewDesc("legate_directory_age_seconds", "Seconds since what is known of another datacenter's services was current; 0 while it is or nothing is known. Worry: above 60: the datacenter cannot be reached.", labels, nil),
		watches: prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_directory_watched_services",
			Help: "Services whose health in other datacenters somebody waits for."}, func() float64 {
			d.mu.RLock()
			defer d.mu.RUnlock()
			return float64(len(d.watchers))
		}),
	}
	r.MustRegister(m.deltas, m.watches, m)
	return m
}

func (m *metrics) forget(dc string) { m.deltas.DeleteLabelValues(dc) }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.services
	to <- m.age
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	now := time.Now()
	m.d.mu.RLock()
	defer m.d.mu.RUnlock()
	for dc, g := range m.d.digests {
		age, services := 0.0, 0
		if g.services != nil {
			age, services = g.age(now).Seconds(), g.services.services()
		}
		to <- prometheus.MustNewConstMetric(m.services, prometheus.GaugeValue, float64(services), dc)
		to <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, age, dc)
	}
}
