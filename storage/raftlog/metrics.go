package raftlog

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/storage/engine"
)

// logMetrics are the Raft log's own.
type logMetrics struct {
	fsync      prometheus.Histogram
	batch      prometheus.Histogram
	cacheBytes prometheus.Gauge
	cacheMiss  prometheus.Counter
}

func newLogMetrics(m *engine.Metrics, l *Log) (*logMetrics, error) {
	lm := &logMetrics{
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "legate_raft_log_fsync_seconds", Help: "Seconds to append one batch to the Raft log and sync it. Worry: a 99th percentile above 0.05: the disk is slow, and every write waits for it.",
			Buckets: engine.FsyncBuckets(),
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "legate_raft_log_batch_entries", Help: "Entries per append to the Raft log.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		cacheBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legate_raft_log_cache_bytes", Help: "Bytes of log entries kept decoded in memory.",
		}),
		cacheMiss: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_raft_log_cache_misses_total", Help: "Entries of the Raft log that were read from the disk instead of memory. Worry: many: a follower is far behind.",
		}),
	}
	first := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "legate_raft_log_first_index", Help: "Oldest entry of the Raft log; 0 when it is empty.",
	}, func() float64 { first, _ := l.bounds(); return float64(first) })
	last := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "legate_raft_log_last_index", Help: "Newest entry of the Raft log; 0 when it is empty.",
	}, func() float64 { _, last := l.bounds(); return float64(last) })
	return lm, m.Register(lm.fsync, lm.batch, lm.cacheBytes, lm.cacheMiss, first, last)
}
