package votes

import (
	"sync/atomic"

	autopilot "github.com/hashicorp/raft-autopilot"
	"github.com/prometheus/client_golang/prometheus"
)

const healthyHelp = "1 while all servers of the consensus group are healthy, on the leader: alive, heard of, and with nearly all of the log; else 0. Worry: 0 for minutes."

// metrics are what a leader sees of the servers; others show none, since they do not
// know.
type metrics struct {
	seen               atomic.Pointer[autopilot.State]
	healthy, tolerance *prometheus.Desc
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		healthy: prometheus.NewDesc("legate_autopilot_healthy", healthyHelp, nil, nil),
		tolerance: prometheus.NewDesc("legate_autopilot_failure_tolerance",
			"Healthy voters that may fail before the datacenter has no leader, on the leader. Worry: 0 where there are three servers or more.", nil, nil),
	}
	r.MustRegister(m)
	return m
}

func (m *metrics) show(s *autopilot.State) { m.seen.Store(s) }

// forget is for who leads no more.
func (m *metrics) forget() { m.seen.Store(nil) }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.healthy
	ch <- m.tolerance
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.seen.Load()
	if s == nil {
		return
	}
	healthy := 0.0
	if s.Healthy {
		healthy = 1
	}
	ch <- prometheus.MustNewConstMetric(m.healthy, prometheus.GaugeValue, healthy)
	ch <- prometheus.MustNewConstMetric(m.tolerance, prometheus.GaugeValue, float64(s.FailureTolerance))
}
