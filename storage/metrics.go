package storage

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/storage/engine"
)

// stateMetrics are the State's own.
type stateMetrics struct {
	commit   prometheus.Histogram
	rows     prometheus.Counter
	waiters  prometheus.GaugeFunc
	wakeups  prometheus.Counter
	replaced prometheus.Counter
}

func newStateMetrics(m *engine.Metrics, s *State) (*stateMetrics, error) {
	sm := &stateMetrics{
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "legate_storage_commit_seconds", Help: "Seconds to commit one transaction of the state, without a sync. Worry: a 99th percentile above 0.1: compactions lag or the processor is busy.",
			Buckets: engine.FsyncBuckets(),
		}),
		rows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_storage_rows_written_total", Help: "Rows, index rows and tombstones written to the state.",
		}),
		waiters: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "legate_storage_waiters", Help: "Blocking queries that wait for a change on this server.",
		}, func() float64 { waiting, _ := s.watches.Count(); return float64(waiting) }),
		wakeups: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_storage_wakeups_total", Help: "Blocking queries woken by a commit.",
		}),
		replaced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_storage_replacements_total", Help: "Times that a received state took the place of this one.",
		}),
	}
	return sm, m.Register(sm.commit, sm.rows, sm.waiters, sm.wakeups, sm.replaced)
}
