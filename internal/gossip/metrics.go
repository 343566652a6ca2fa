package gossip

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// maxDatacenters bounds the values of the datacenter label; members of what
// is above it are counted as "other".
const maxDatacenters = 64

// poolMetrics are the series of one pool. What memberlist and Serf count
// themselves goes to go-metrics with the labels pool and node.
type poolMetrics struct {
	reg        prometheus.Registerer
	collectors []prometheus.Collector
	ready      atomic.Bool // the pool may be asked
	otherKeys  atomic.Int64

	probes      *prometheus.HistogramVec
	mu          sync.Mutex
	datacenters map[string]prometheus.Observer // of probes

	rejected, dropped                                      prometheus.Counter
	suspicions, refutations                                prometheus.Counter
	packetSent, packetReceived, streamSent, streamReceived prometheus.Counter
	events                                                 *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, p *Pool) (*poolMetrics, error) {
	labels := prometheus.Labels{"pool": p.cfg.Pool}
	m := &poolMetrics{reg: reg, datacenters: map[string]prometheus.Observer{}}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_gossip_" + name, Help: help, ConstLabels: labels})
		m.collectors = append(m.collectors, c)
		return c
	}
	m.rejected = counter("coordinates_rejected_total", "Network coordinates of members that were malformed or out of range. Worry: any: a member is broken.")
	m.dropped = counter("events_dropped_total", "Events dropped because their reader was too slow; it looks at all members instead. Worry: any: the agent is overloaded.")
	m.suspicions = counter("suspicions_total", "Times that this member suspected another of having failed, which answered no probe directly or through others. "+
		"Worry: more than a few an hour while nobody fails: packets are lost, or this or the other member is overloaded.")
	m.refutations = counter("refutations_total", "Times that this member told the others that it lives because one suspected it. "+
		"Worry: more than a few an hour: look at its network and its load.")
	m.packetSent = counter("packet_sent_bytes_total", "Bytes sent in packets, headers of UDP and IP not counted.")
	m.packetReceived = counter("packet_received_bytes_total", "Bytes received in packets, headers of UDP and IP not counted.")
	m.streamSent = counter("stream_sent_bytes_total", "Bytes sent on streams, which exchange the whole list of members.")
	m.streamReceived = counter("stream_received_bytes_total", "Bytes received on streams, which exchange the whole list of members.")
	m.probes = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "legate_gossip_probe_round_trip_seconds", ConstLabels: labels,
		Help:                        "Round trip in seconds of probes that were answered, by the datacenter of the member. Worry: a median far above the usual one.",
		Buckets:                     []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .2, .4, .8, 1.6, 3.2},
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
	}, []string{"datacenter"})
	m.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_gossip_events_total", ConstLabels: labels,
		Help: "Changes of members and user events, by kind; resync stands for events that were dropped. Worry: fail without a stopped agent.",
	}, []string{"kind"})
	for _, k := range kinds() {
		m.events.WithLabelValues(k.String())
	}
	all := append(m.collectors, m.probes, m.events, newState(m, p, labels))
	m.collectors = nil
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, fmt.Errorf("register metrics: %w", err)
		}
		m.collectors = append(m.collectors, c)
	}
	return m, nil
}

// probesOf is the series of a datacenter, which exists from then on.
func (m *poolMetrics) probesOf(datacenter string) prometheus.Observer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.datacenters[datacenter] == nil && len(m.datacenters) >= maxDatacenters {
		datacenter = "other"
	}
	if m.datacenters[datacenter] == nil {
		m.datacenters[datacenter] = m.probes.WithLabelValues(datacenter)
	}
	return m.datacenters[datacenter]
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

	members, queue, health, keys, otherKeys *prometheus.Desc
}

func newState(m *poolMetrics, p *Pool, labels prometheus.Labels) *state {
	return &state{m: m, p: p,
		queues: map[string]string{"intent": "intent_queue", "event": "event_queue", "query": "query_queue"},
		members: prometheus.NewDesc("legate_gossip_members", "Members, by status and datacenter. Worry: failed ones.",
			[]string{"status", "datacenter"}, labels),
		queue: prometheus.NewDesc("legate_gossip_queue_depth", "Broadcasts of Serf that wait to be sent, by queue. Worry: more than a thousand for minutes: too many changes or events.",
			[]string{"queue"}, labels),
		health: prometheus.NewDesc("legate_gossip_health_score",
			"This member's doubt in itself, 0 to 7: 0 is healthy, more slows its probes. Worry: above 0 for minutes: it is overloaded or packets are lost.", nil, labels),
		keys: prometheus.NewDesc("legate_gossip_keys",
			"Gossip keys that this member accepts, 0 if it has none. Worry: more than 1 while no key is rotated, or not the same on all members: see legate keyring -list.", nil, labels),
		otherKeys: prometheus.NewDesc("legate_gossip_members_with_other_keys",
			"Members that live and had other gossip keys than this one, or did not say, when this one asked last: one server of each pool does each 10 minutes, and who rotates keys. Worry: above 0 for longer than a rotation takes: they missed a step, see legate keyring -list.", nil, labels),
	}
}

// Describe implements prometheus.Collector.
func (s *state) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.members
	ch <- s.queue
	ch <- s.health
	ch <- s.keys
	ch <- s.otherKeys
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
	gauge(s.keys, float64(len(s.p.cfg.Keyring.Keys())))
	gauge(s.otherKeys, float64(s.m.otherKeys.Load()))
}

func number(text string) float64 {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return f
}
