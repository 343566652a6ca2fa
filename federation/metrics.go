package federation

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
)

// maxDatacenters bounds the values of the label datacenter: the names are up to
// whoever is a member of the WAN pool. The nearest have series, further ones none.
const maxDatacenters = 256

// metrics of calls to other datacenters.
type metrics struct {
	reg     prometheus.Registerer
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec
	hedges  *prometheus.CounterVec
	wins    *prometheus.CounterVec
	probes  *prometheus.CounterVec
	opened  *prometheus.CounterVec
	live    *prometheus.GaugeVec

	mu     sync.RWMutex
	series map[string]bool // datacenters that have series
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_federation_" + name, Help: help}, append([]string{"datacenter"}, more...))
	}
	m := &metrics{
		reg: r, series: map[string]bool{},
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "legate_federation_call_seconds", Help: "Seconds of calls to another datacenter, waits of blocking reads left out. Worry: a median above two round trips.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"datacenter"}),
		errors: counter("call_errors_total", "Calls to another datacenter that failed, by code of the error. Worry: unreachable ones that go on.", "code"),
		hedges: counter("hedges_total", "Reads that were sent to a second server because the first was late. Worry: more than a tenth of the calls: a server is slow."),
		wins:   counter("hedges_won_total", "Of those, the ones that the second server answered first."),
		probes: counter("probes_total", "Probes of servers of another datacenter that were doubted or not asked, by result. Worry: silent ones that go on.", "result"),
		opened: counter("breaker_opened_total", "How often calls to another datacenter began to fail at once. Worry: more than 3 in half an hour."),
		live: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "legate_federation_live_servers", Help: "Servers of another datacenter that gossip holds alive. Worry: 0, or fewer than there are.",
		}, []string{"datacenter"}),
	}
	r.MustRegister(m.seconds, m.errors, m.hedges, m.wins, m.probes, m.opened, m.live)
	return m
}

// The results of a probe.
const (
	probeAnswered = "answered"
	probeSilent   = "silent"
)

// servers makes the series of every datacenter exist before its first call, and
// ends those of datacenters that are not in the table any more: they were removed,
// or left.
func (m *metrics) servers(t *table) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.series {
		if t.datacenters[name] == nil {
			delete(m.series, name)
			for _, v := range []interface {
				DeletePartialMatch(prometheus.Labels) int
			}{m.seconds, m.errors, m.hedges, m.wins, m.probes, m.opened, m.live} {
				v.DeletePartialMatch(prometheus.Labels{"datacenter": name})
			}
		}
	}
	for _, name := range t.nearest {
		if !m.series[name] && len(m.series) >= maxDatacenters {
			continue
		}
		m.live.WithLabelValues(name).Set(float64(t.datacenters[name].alive))
		if m.series[name] {
			continue
		}
		m.series[name] = true
		m.seconds.WithLabelValues(name)
		m.hedges.WithLabelValues(name)
		m.wins.WithLabelValues(name)
		m.opened.WithLabelValues(name)
		m.probes.WithLabelValues(name, probeAnswered)
		m.probes.WithLabelValues(name, probeSilent)
		m.errors.WithLabelValues(name, op.CodeUnreachableDatacenter.String())
	}
}

// shown reports whether a datacenter has series.
func (m *metrics) shown(name string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.series[name]
}

// of has something counted of a datacenter unless it has no series, or they have ended:
// a call can end after its datacenter was removed.
func (m *metrics) of(dc string, count func()) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.series[dc] {
		count()
	}
}

func (m *metrics) record(call *op.Call, dc string, took time.Duration, err error) {
	m.of(dc, func() {
		if call.Header.MinIndex == 0 {
			m.seconds.WithLabelValues(dc).Observe(took.Seconds())
		}
		if err != nil && op.CodeOf(err) != op.CodeLong { // no failure: it is asked for again, in parts
			m.errors.WithLabelValues(dc, op.CodeOf(err).String()).Inc()
		}
	})
}

func (m *metrics) hedged(dc string) { m.of(dc, func() { m.hedges.WithLabelValues(dc).Inc() }) }
func (m *metrics) won(dc string)    { m.of(dc, func() { m.wins.WithLabelValues(dc).Inc() }) }

func (m *metrics) probed(dc string, answered bool) {
	result := probeSilent
	if answered {
		result = probeAnswered
	}
	m.of(dc, func() { m.probes.WithLabelValues(dc, result).Inc() })
}

// broke counts that a datacenter's breaker has opened.
func (m *metrics) broke(dc string) { m.of(dc, func() { m.opened.WithLabelValues(dc).Inc() }) }

// watch adds what is read when it is asked for.
func (m *metrics) watch(r *Router) {
	by := []string{"datacenter"}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("legate_federation_"+name, help, by, nil)
	}
	m.reg.MustRegister(&gauges{router: r,
		breaker:  desc("breaker_open", "1 while calls to another datacenter fail at once because none of its servers answers, else 0. Worry: 1."),
		servers:  desc("answering_servers", "Servers of another datacenter that calls are made to. Worry: fewer than legate_federation_live_servers."),
		inFlight: desc("calls_in_flight", "Calls to another datacenter that wait for an answer, blocking reads left out. Worry: rising without end."),
		blocked:  desc("blocked_reads", "Reads of another datacenter that wait for something newer."),
		contact:  desc("last_contact_timestamp_seconds", "When another datacenter answered last, Unix time; absent before the first answer. Worry: more than 60 seconds ago."),
		state: prometheus.NewDesc("legate_federation_state", "1 for the state that another datacenter is in: up, degraded, unreachable or left; 0 for the others. Worry: degraded or unreachable.",
			[]string{"datacenter", "state"}, nil),
		p95: desc("read_p95_seconds", "95th percentile in seconds of the last reads of another datacenter, after which a second server is asked; absent while unknown. Worry: above three round trips."),
	})
}

// gauges reads the router's state when it is scraped.
type gauges struct {
	router                                                   *Router
	breaker, servers, inFlight, blocked, contact, p95, state *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.breaker, g.servers, g.inFlight, g.blocked, g.contact, g.p95, g.state} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	status := g.router.Status()
	for _, s := range status[:min(len(status), maxDatacenters)] { // with those that left, which have no other series
		for _, state := range []State{Up, Degraded, Unreachable, Left} {
			v := 0.0
			if s.State == state {
				v = 1
			}
			ch <- prometheus.MustNewConstMetric(g.state, prometheus.GaugeValue, v, s.Datacenter, string(state))
		}
	}
	for name, dc := range g.router.table.Load().datacenters {
		if !g.router.metrics.shown(name) {
			continue
		}
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
		}
		open, answering, heard := 0.0, 0, int64(0)
		for _, m := range dc.members {
			heard = max(heard, m.lastAnswer.Load())
			if !m.open.Load() {
				answering++
			}
		}
		if answering == 0 {
			open = 1
		}
		gauge(g.breaker, open)
		gauge(g.servers, float64(answering))
		gauge(g.inFlight, float64(dc.load.inFlight.Load()))
		gauge(g.blocked, float64(dc.load.blocked.Load()))
		if heard > 0 {
			gauge(g.contact, float64(heard)/float64(time.Second))
		}
		if p := dc.load.latency.p95.Load(); p > 0 {
			gauge(g.p95, time.Duration(p).Seconds())
		}
	}
}
