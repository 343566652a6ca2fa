package view

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
)

// metrics of views. The label datacenter has those of which something is held.
type metrics struct {
	hits, misses, aged, refused, passed prometheus.Counter
	idled, evicted, noRoom              prometheus.Counter
	pushes                              *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, v *Views) *metrics {
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_view_answers_total",
		Help: "Reads that were asked of views: hit and miss were current, aged was not, refused got an error, passed was asked of a server instead. Worry: refused, or aged for minutes."}, []string{"result"})
	ends := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_view_evictions_total",
		Help: "Views that were dropped because nobody asked (idle) or for others (room), and views that found no room (refused). Worry: room or refused that goes on: more is asked for than is kept."}, []string{"reason"})
	m := &metrics{
		hits: answers.WithLabelValues("hit"), misses: answers.WithLabelValues("miss"), aged: answers.WithLabelValues("aged"),
		refused: answers.WithLabelValues("refused"), passed: answers.WithLabelValues("passed"),
		idled: ends.WithLabelValues("idle"), evicted: ends.WithLabelValues("room"), noRoom: ends.WithLabelValues("refused"),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_view_pushes_total",
			Help: "Results that were pushed to views, by datacenter that owns them."}, []string{"datacenter"}),
	}
	r.MustRegister(answers, ends, m.pushes, newHoldings(v))
	return m
}

// label is a datacenter's name in metrics, or a word for several: what callers list
// must not become labels.
func label(dc string) string {
	if op.IsFanOut(dc) {
		return "several"
	}
	return dc
}

// holdings is computed when it is asked for.
type holdings struct {
	v                           *Views
	views, streams, bytes, ages *prometheus.Desc
}

func newHoldings(v *Views) *holdings {
	d := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"datacenter"}, nil)
	}
	return &holdings{v: v,
		views:   d("legate_view_views", "Views that hold a result, by datacenter that owns it."),
		streams: d("legate_view_subscriptions", "Views that are being pushed to, by datacenter that owns the results."),
		bytes:   d("legate_view_bytes", "Bytes of memory that views take, estimated, by datacenter that owns the results."),
		ages:    d("legate_view_oldest_age_seconds", "Seconds since the oldest result in a view was current, 0 if all are, by datacenter that owns it. Worry: above 60: the datacenter cannot be reached."),
	}
}

// Describe implements prometheus.Collector.
func (h *holdings) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{h.views, h.streams, h.bytes, h.ages} {
		to <- d
	}
}

// Collect implements prometheus.Collector. The own datacenter is always there.
func (h *holdings) Collect(to chan<- prometheus.Metric) {
	all := h.v.Status()
	own := Status{Datacenter: h.v.cfg.Datacenter}
	for _, s := range all {
		if s.Datacenter == own.Datacenter {
			own = s
			continue
		}
		h.send(to, s)
	}
	h.send(to, own)
}

func (h *holdings) send(to chan<- prometheus.Metric, s Status) {
	for _, g := range []struct {
		desc  *prometheus.Desc
		value float64
	}{{h.views, float64(s.Views)}, {h.streams, float64(s.Streams)}, {h.bytes, float64(s.Bytes)}, {h.ages, s.Oldest.Seconds()}} {
		to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value, s.Datacenter)
	}
}
