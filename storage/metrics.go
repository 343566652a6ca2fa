package storage

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// fsyncBuckets span a fast NVMe flush (50 µs) to a disk that is about to be
// called failed, in seconds.
func fsyncBuckets() []float64 {
	return []float64{.00005, .0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}
}

// engineMetrics count what happens to one Pebble instance. The label db is
// "log" or "state".
type engineMetrics struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector

	stalls           prometheus.Counter
	diskSlow         prometheus.Counter
	backgroundErrors prometheus.Counter
	flushes          prometheus.Counter
	compactions      prometheus.Counter
}

func newEngineMetrics(r prometheus.Registerer, db string) (*engineMetrics, error) {
	labels := prometheus.Labels{"db": db}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
	}
	m := &engineMetrics{
		registerer: r,
		stalls: counter("legate_storage_write_stalls_total",
			"Times that Pebble held back writes because flushes or compactions lag."),
		diskSlow: counter("legate_storage_disk_slow_total",
			"Disk operations that took longer than five seconds."),
		backgroundErrors: counter("legate_storage_background_errors_total",
			"Flushes and compactions that failed; the first makes the node stop."),
		flushes:     counter("legate_storage_flushes_total", "Memtables written to tables."),
		compactions: counter("legate_storage_compactions_total", "Compactions that ended."),
	}
	return m, m.register(m.stalls, m.diskSlow, m.backgroundErrors, m.flushes, m.compactions)
}

// register adds collectors that unregister takes away again. After an error
// nothing stays registered.
func (m *engineMetrics) register(cs ...prometheus.Collector) error {
	for _, c := range cs {
		if err := m.registerer.Register(c); err != nil {
			m.unregister()
			return fmt.Errorf("register the metrics of storage: %w", err)
		}
		m.registered = append(m.registered, c)
	}
	return nil
}

func (m *engineMetrics) unregister() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
	m.registered = nil
}

// listener counts Pebble's events and turns failures in the background into
// the fault. Pebble would retry a failed flush for ever and, once its memtables
// are full, stall every write.
func (m *engineMetrics) listener(f *fault) *pebble.EventListener {
	l := &pebble.EventListener{
		BackgroundError: func(err error) {
			m.backgroundErrors.Inc()
			if errors.Is(err, pebble.ErrClosed) {
				return
			}
			_ = f.fail(fmt.Errorf("in the background: %w", err))
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			_ = f.fail(fmt.Errorf("%w: %s: %w", ErrCorrupt, info.Path, info.Details))
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			m.diskSlow.Inc()
			f.log.Warn("disk is slow", "operation", info.OpType.String(), "file", info.Path, "took", info.Duration)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			m.stalls.Inc()
			f.log.Warn("writes are held back", "reason", info.Reason)
		},
		FlushEnd:      func(pebble.FlushInfo) { m.flushes.Inc() },
		CompactionEnd: func(pebble.CompactionInfo) { m.compactions.Inc() },
	}
	l.EnsureDefaults(nil)
	return l
}

// sizeGauge is of the bytes that an instance takes on disk.
func sizeGauge(db string, read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "legate_storage_disk_bytes", Help: "Bytes on disk.",
		ConstLabels: prometheus.Labels{"db": db},
	}, read)
}

// logMetrics are the Raft log's own.
type logMetrics struct {
	fsync      prometheus.Histogram
	batch      prometheus.Histogram
	cacheBytes prometheus.Gauge
	cacheMiss  prometheus.Counter
}

func newLogMetrics(m *engineMetrics, l *Log) (*logMetrics, error) {
	lm := &logMetrics{
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "legate_raft_log_fsync_seconds", Help: "Time to append one batch to the Raft log and sync it.",
			Buckets: fsyncBuckets(),
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "legate_raft_log_batch_entries", Help: "Entries per append to the Raft log.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		cacheBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legate_raft_log_cache_bytes", Help: "Bytes of log entries kept decoded in memory.",
		}),
		cacheMiss: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_raft_log_cache_misses_total", Help: "Entries that were read from the disk.",
		}),
	}
	first := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "legate_raft_log_first_index", Help: "Oldest entry of the Raft log; 0 when it is empty.",
	}, func() float64 { first, _ := l.bounds(); return float64(first) })
	last := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "legate_raft_log_last_index", Help: "Newest entry of the Raft log; 0 when it is empty.",
	}, func() float64 { _, last := l.bounds(); return float64(last) })
	return lm, m.register(lm.fsync, lm.batch, lm.cacheBytes, lm.cacheMiss, first, last)
}

// stateMetrics are the State's own.
type stateMetrics struct {
	commit   prometheus.Histogram
	rows     prometheus.Counter
	waiters  prometheus.GaugeFunc
	wakeups  prometheus.Counter
	replaced prometheus.Counter
}

func newStateMetrics(m *engineMetrics, s *State) (*stateMetrics, error) {
	sm := &stateMetrics{
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "legate_storage_commit_seconds", Help: "Time to commit one transaction of the state, without a sync.",
			Buckets: fsyncBuckets(),
		}),
		rows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_storage_rows_written_total", Help: "Rows, index rows and tombstones written to the state.",
		}),
		waiters: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "legate_storage_waiters", Help: "Blocking queries that wait for a change.",
		}, func() float64 { return float64(s.watches.count()) }),
		wakeups: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_storage_wakeups_total", Help: "Blocking queries woken by a commit.",
		}),
		replaced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_storage_replacements_total", Help: "Times that a received state took the place of this one.",
		}),
	}
	return sm, m.register(sm.commit, sm.rows, sm.waiters, sm.wakeups, sm.replaced)
}
