package fanout

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Values of labels.
const (
	reachFirst = "first"
	reachAll   = "all"

	resultLocal   = "local"
	resultOther   = "other"
	resultAged    = "aged"
	resultNone    = "none"
	resultFailed  = "failed"
	resultSeveral = "several"
)

// metrics of answers of several datacenters.
type metrics struct {
	decisions *prometheus.CounterVec
	changes   prometheus.Counter
}

func newMetrics(r prometheus.Registerer, parts func() float64) *metrics {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_wide_decisions_total",
			Help: "Answers by which datacenters gave them: the first that has what is asked (local, other, aged: it cannot be reached, none, failed) or all (several, failed). Worry: failed, or other where local is usual."},
			[]string{"reach", "result"}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_wide_changes_total",
			Help: "Times that another datacenter came to answer what is being followed."}),
	}
	for _, result := range []string{resultLocal, resultOther, resultAged, resultNone, resultFailed} {
		m.decisions.WithLabelValues(reachFirst, result)
	}
	m.decisions.WithLabelValues(reachAll, resultSeveral)
	m.decisions.WithLabelValues(reachAll, resultFailed)
	r.MustRegister(m.decisions, m.changes, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_wide_parts",
		Help: "Results of single datacenters that are asked or followed for answers of several."}, parts))
	return m
}

func (m *metrics) answered(reach, result string) prometheus.Counter {
	return m.decisions.WithLabelValues(reach, result)
}
