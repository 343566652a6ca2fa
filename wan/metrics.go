package wan

import (
	"fmt"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// maxDatacenters bounds the values of the datacenter label; what is above it
// is counted as "other".
const maxDatacenters = 256

// poolMetrics are the series of the WAN pool beside those of gossip itself.
type poolMetrics struct {
	reg        prometheus.Registerer
	collectors []prometheus.Collector

	suspicions  *prometheus.CounterVec
	flaps       *prometheus.CounterVec
	dampedNow   *prometheus.GaugeVec
	refutations prometheus.Counter
	tempered    prometheus.Counter
	refused     prometheus.Counter

	mu          sync.Mutex
	datacenters map[string]bool
}

func newMetrics(reg prometheus.Registerer, own string) (*poolMetrics, error) {
	byDC := []string{"datacenter"}
	m := &poolMetrics{
		reg: reg, datacenters: map[string]bool{},
		suspicions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_wan_suspicions_total",
			Help: "Servers of a datacenter that did not answer this server's probes, whichever way it asked. Worry: more than a few an hour.",
		}, byDC),
		flaps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_wan_server_failures_total", Help: "Failures of servers as this one learned of them, by their datacenter. Worry: any without a stopped server.",
		}, byDC),
		dampedNow: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "legate_wan_damped_servers", Help: "Servers that failed again and again and are asked last, by their datacenter. Worry: above 0.",
		}, byDC),
		refutations: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_wan_refutations_total", Help: "How often this server told the others that it is alive although one doubted it, or that its tags changed. Worry: rising: others do not reach it, look at its network and its load.",
		}),
		tempered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_wan_tempered_deaths_total", Help: "Claims that a server is dead that were taken as suspicions, because nobody had suspected it. Worry: without a cut before them: a member has a wrong picture.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_wan_oversized_exchanges_total", Help: "Exchanges of state that were refused because of what they claim to hold. Worry: any: a member sends what no member should.",
		}),
	}
	m.datacenter(own)
	for _, c := range []prometheus.Collector{m.suspicions, m.flaps, m.dampedNow, m.refutations, m.tempered, m.refused} {
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

// datacenter makes the series of a datacenter exist and returns its label.
func (m *poolMetrics) datacenter(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.datacenters[name] {
		if len(m.datacenters) >= maxDatacenters {
			return "other"
		}
		m.datacenters[name] = true
		m.suspicions.WithLabelValues(name)
		m.flaps.WithLabelValues(name)
		m.dampedNow.WithLabelValues(name)
	}
	return name
}

func (m *poolMetrics) suspected(dc string) { m.suspicions.WithLabelValues(m.datacenter(dc)).Inc() }
func (m *poolMetrics) flapped(dc string)   { m.flaps.WithLabelValues(m.datacenter(dc)).Inc() }

func (m *poolMetrics) damped(dc string, by float64) {
	m.dampedNow.WithLabelValues(m.datacenter(dc)).Add(by)
}

// datacenterOf reads the datacenter from a name in the pool; a datacenter's name
// has no dots.
func datacenterOf(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
