package gateway

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of flows and of what agrees on them.
type metrics struct {
	requests *prometheus.CounterVec
	reg      prometheus.Registerer
	all      []prometheus.Collector
}

// questions are what may be asked, as the label of requests.
func questions() []string {
	return []string{doRegister, doOpen, doOffer, doClose, doList, doPaths, doPing}
}

func newMetrics(reg prometheus.Registerer, r *Relay) *metrics {
	m := &metrics{reg: reg, requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_gateway_requests_total", Help: "Requests about flows that were answered, by what they ask for and result. Worry: refused ones that go on.",
	}, []string{"request", "result"})}
	for _, q := range questions() {
		m.requests.WithLabelValues(q, "done")
		m.requests.WithLabelValues(q, "refused")
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	counter := func(name, help string, value func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	registrations := func(state string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_gateway_registrations", ConstLabels: prometheus.Labels{"state": state},
			Help: "Gateways that this server is to be reached through: those where it is registered, and those where that fails. Worry: failing for long."},
			func() float64 { return float64(value()) })
	}
	board := r.cfg.Board
	m.all = []prometheus.Collector{m.requests,
		gauge("legate_gateway_sessions", "Connections that agree on flows.", func() float64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			return float64(len(r.sessions))
		}),
		gauge("legate_gateway_servers", "Servers that are reached through this gateway. Worry: fewer than there are.", func() float64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			return float64(len(r.registered))
		}),
		registrations("registered", r.kept.registered.Load), registrations("failing", r.kept.failing.Load),
		gauge("legate_gateway_labels", "Ends of flows here: two of one that is carried, one of another. Worry: near 65535.", func() float64 {
			_, n := board.All()
			return float64(n)
		}),
		counter("legate_gateway_packets_total", "Packets that came over flows.", func() uint64 { t, _ := board.All(); return t.Packets }),
		counter("legate_gateway_bytes_total", "Bytes of packets that came over flows.", func() uint64 { t, _ := board.All(); return t.Bytes }),
		counter("legate_gateway_refused_packets_total", "Packets that were more than a pair of servers may send, or came before their flow. Worry: it rises.",
			func() uint64 { t, _ := board.All(); return t.Refused }),
		counter("legate_gateway_strange_packets_total", "Packets with a label that nobody has, or from another address than its neighbor's. Worry: it rises for long.", board.Strange),
	}
	reg.MustRegister(m.all...)
	return m
}

func (m *metrics) unregister() {
	for _, c := range m.all {
		m.reg.Unregister(c)
	}
}

// asked counts a request and how it ended.
func (m *metrics) asked(what, code string) {
	if !slices.Contains(questions(), what) {
		return
	}
	result := "done"
	if code != "" {
		result = "refused"
	}
	m.requests.WithLabelValues(what, result).Inc()
}
