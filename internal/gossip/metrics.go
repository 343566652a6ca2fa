package gossip

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// maxDatacenters bounds the values of the datacenter label; members of what
// is above it are counted as "other".
const maxDatacenters = 64

// poolMetrics are the series of one pool. What memberlist and Serf count
// themselves (suspicions among it) goes to go-metrics with the labels pool and
// node.
type poolMetrics struct {
	reg        prometheus.Registerer
	collectors []prometheus.Collector
	ready      atomic.Bool // the pool may be asked

	probes   prometheus.Histogram
	rejected prometheus.Counter
	events   *prometheus.CounterVec
	dropped  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, p *Pool) (*poolMetrics, error) {
	labels := prometheus.Labels{"pool": p.cfg.Pool}
	m := &poolMetrics{
		reg: reg,
		probes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "legate_gossip_probe_round_trip_seconds", ConstLabels: labels,
			Help:                        "Round trip of answered probes.",
			Buckets:                     []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .2, .4, .8, 1.6, 3.2},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_gossip_coordinates_rejected_total", ConstLabels: labels,
			Help: "Coordinates of members that were malformed or out of range.",
		}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_gossip_events_total", ConstLabels: labels,
			Help: "Changes of members and user events, by kind.",
		}, []string{"kind"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_gossip_events_dropped_total", ConstLabels: labels,
			Help: "Events dropped because their reader was too slow.",
		}),
	}
	for _, k := range kinds() {
		m.events.WithLabelValues(k.String())
	}
	for _, c := range []prometheus.Collector{m.probes, m.rejected, m.events, m.dropped, newState(m, p, labels)} {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, fmt.Errorf("register metrics: %w", err)
		}
		m.collectors = append(m.collectors, c)
	}
	return m, nil
}

func (m *poolMetrics) unregister() {
	for _, c := range m.collectors {
		m.reg.Unregister(c)
	}
}

func (m *poolMetrics) event(k Kind) { m.events.WithLabelValues(k.String()).Inc() }

// state reads the pool when it is scraped.
type state struct {
	m      *poolMetrics
	p      *Pool
	queues map[string]string // label to name in Stats

	members, queue, health *prometheus.Desc
}

func newState(m *poolMetrics, p *Pool, labels prometheus.Labels) *state {
	return &state{m: m, p: p,
		queues: map[string]string{"intent": "intent_queue", "event": "event_queue", "query": "query_queue"},
		members: prometheus.NewDesc("legate_gossip_members", "Members, by status and datacenter.",
			[]string{"status", "datacenter"}, labels),
		queue: prometheus.NewDesc("legate_gossip_queue_depth", "Broadcasts that wait to be sent, by queue.",
			[]string{"queue"}, labels),
		health: prometheus.NewDesc("legate_gossip_health_score",
			"This node's doubt in itself: 0 is healthy, more slows its probes.", nil, labels),
	}
}

// Describe implements prometheus.Collector.
func (s *state) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.members
	ch <- s.queue
	ch <- s.health
}

// Collect implements prometheus.Collector.
func (s *state) Collect(ch chan<- prometheus.Metric) {
	if !s.m.ready.Load() {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counts := map[string]map[Status]int{}
	for _, m := range s.p.Members() {
		dc := m.Tags["dc"]
		if counts[dc] == nil && len(counts) >= maxDatacenters {
			dc = "other"
		}
		if counts[dc] == nil {
			counts[dc] = map[Status]int{}
		}
		counts[dc][m.Status]++
	}
	for dc, by := range counts {
		for _, status := range []Status{Alive, Leaving, Left, Failed} {
			gauge(s.members, float64(by[status]), status.String(), dc)
		}
	}
	stats := s.p.Stats()
	for label, name := range s.queues {
		gauge(s.queue, number(stats[name]), label)
	}
	gauge(s.health, number(stats["health_score"]))
}

func number(text string) float64 {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return f
}
