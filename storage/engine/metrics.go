package engine

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// FsyncBuckets span a fast NVMe flush (50 µs) to a disk that is about to be
// called failed, in seconds.
func FsyncBuckets() []float64 {
	return []float64{.00005, .0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}
}

// Metrics count what happens to one Pebble instance. The label db is
// "log" or "state".
type Metrics struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector

	stalls           prometheus.Counter
	diskSlow         prometheus.Counter
	backgroundErrors prometheus.Counter
	flushes          prometheus.Counter
	compactions      prometheus.Counter
}

// NewMetrics registers the series of one instance, "log" or "state".
func NewMetrics(r prometheus.Registerer, db string) (*Metrics, error) {
	labels := prometheus.Labels{"db": db}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
	}
	m := &Metrics{
		registerer: r,
		stalls: counter("legate_storage_write_stalls_total",
			"Times that Pebble held back writes because flushes or compactions lag. Worry: any that goes on: the disk is too slow for the load."),
		diskSlow: counter("legate_storage_disk_slow_total",
			"Disk operations that took longer than five seconds. Worry: any: the disk fails."),
		backgroundErrors: counter("legate_storage_background_errors_total",
			"Flushes and compactions that failed; the first makes the node stop. Worry: any."),
		flushes:     counter("legate_storage_flushes_total", "Memtables written to tables."),
		compactions: counter("legate_storage_compactions_total", "Compactions that ended."),
	}
	return m, m.Register(m.stalls, m.diskSlow, m.backgroundErrors, m.flushes, m.compactions)
}

// Register adds collectors that unregister takes away again. After an error
// nothing stays registered.
func (m *Metrics) Register(cs ...prometheus.Collector) error {
	for _, c := range cs {
		if err := m.registerer.Register(c); err != nil {
			m.Unregister()
			return fmt.Errorf("register the metrics of storage: %w", err)
		}
		m.registered = append(m.registered, c)
	}
	return nil
}

// Unregister takes away what was registered.
func (m *Metrics) Unregister() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
	m.registered = nil
}

// listener counts Pebble's events and turns failures in the background into
// the fault. Pebble would retry a failed flush for ever and, once its memtables
// are full, stall every write.
func (m *Metrics) listener(f *Fault) *pebble.EventListener {
	l := &pebble.EventListener{
		BackgroundError: func(err error) {
			m.backgroundErrors.Inc()
			if errors.Is(err, pebble.ErrClosed) {
				return
			}
			_ = f.Fail(fmt.Errorf("in the background: %w", err))
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			_ = f.Fail(fmt.Errorf("%w: %s: %w", ErrCorrupt, info.Path, info.Details))
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

// SizeGauge is of the bytes that an instance takes on disk.
func SizeGauge(db string, read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "legate_storage_disk_bytes", Help: "Bytes on disk. Worry: near what the disk has.",
		ConstLabels: prometheus.Labels{"db": db},
	}, read)
}
