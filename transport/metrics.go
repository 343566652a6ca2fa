package transport

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxDatacenters bounds the values of the datacenter label; what comes after
// is counted as "other".
const maxDatacenters = 64

// metrics are the package's series.
type metrics struct {
	reg        prometheus.Registerer
	collectors []prometheus.Collector

	streams    *prometheus.CounterVec
	failures   *prometheus.CounterVec
	datagrams  *prometheus.CounterVec
	twice      *prometheus.CounterVec
	links      *links
	datacenter struct {
		sync.Mutex
		seen map[string]bool
	}
}

func newMetrics(reg prometheus.Registerer, e *Endpoint) (*metrics, error) {
	m := &metrics{
		reg: reg,
		streams: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_quic_streams_opened_total",
			Help: "Streams opened, by protocol, remote datacenter and who opened them (out: this node).",
		}, []string{"protocol", "datacenter", "direction"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_quic_handshake_failures_total",
			Help: "Connections that did not come about, by reason.",
		}, []string{"reason"}),
		datagrams: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_quic_datagrams_dropped_total",
			Help: "Datagrams dropped before they were sent, by reason.",
		}, []string{"reason"}),
	}
	m.twice = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_quic_doubled_calls_total",
		Help: "Small calls that were sent on two connections at once because the path loses packets, by the copy that was answered first.",
	}, []string{"protocol", "datacenter", "won"})
	m.datacenter.seen = map[string]bool{}
	m.links = newLinks(e, m)
	for _, r := range reasons() {
		m.failures.WithLabelValues(r.label)
	}
	for _, label := range []string{"other", "unreachable", "refused_by_peer"} {
		m.failures.WithLabelValues(label)
	}
	for _, label := range []string{"connecting", "queue_full", "failed"} {
		m.datagrams.WithLabelValues(label)
	}
	for _, c := range []prometheus.Collector{m.streams, m.failures, m.datagrams, m.twice, m.links} {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, fmt.Errorf("register metrics of the transport: %w", err)
		}
		m.collectors = append(m.collectors, c)
	}
	return m, nil
}

func (m *metrics) unregister() {
	for _, c := range m.collectors {
		m.reg.Unregister(c)
	}
}

// bounded returns the value of the datacenter label.
func (m *metrics) bounded(dc string) string {
	m.datacenter.Lock()
	defer m.datacenter.Unlock()
	if m.datacenter.seen[dc] {
		return dc
	}
	if len(m.datacenter.seen) >= maxDatacenters {
		return "other"
	}
	m.datacenter.seen[dc] = true
	return dc
}

func (m *metrics) streamOpened(c *conn, direction string) {
	m.streams.WithLabelValues(c.protocol, m.bounded(c.remote.Peer.Datacenter), direction).Inc()
}

func (m *metrics) handshakeFailed(reason string) { m.failures.WithLabelValues(reason).Inc() }

func (m *metrics) dropped(reason string) { m.datagrams.WithLabelValues(reason).Inc() }

// doubled counts a call that went on two connections.
func (m *metrics) doubled(c *conn, second bool) {
	won := "first"
	if second {
		won = "second"
	}
	m.twice.WithLabelValues(c.protocol, m.bounded(c.remote.Peer.Datacenter), won).Inc()
}

func (m *metrics) closed(c *conn) { m.links.closed(c) }

func dialFailure(err error) string {
	switch {
	case errors.Is(err, ErrNoProtocol):
		return refusalOf(ErrNoProtocol).label
	case errors.Is(err, ErrRefused):
		return "refused_by_peer"
	}
	return "unreachable"
}

// linkKey is what the series of connections are labelled with.
type linkKey struct{ protocol, datacenter string }

// linkTotals are counters of connections that are closed.
type linkTotals struct{ packetsSent, packetsLost, bytesSent, bytesReceived uint64 }

// links reads the connections' own counters when it is scraped.
type links struct {
	e *Endpoint
	m *metrics

	roundTrip, connections, inFlight, underWay, loss, doubling, sent, lost, bytesOut, bytesIn *prometheus.Desc

	mu     sync.Mutex
	totals map[linkKey]linkTotals
}

func newLinks(e *Endpoint, m *metrics) *links {
	by := []string{"protocol", "datacenter"}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("legate_quic_"+name, help+", by protocol and remote datacenter.", by, nil)
	}
	return &links{
		e: e, m: m, totals: map[linkKey]linkTotals{},
		roundTrip:   desc("round_trip_seconds", "Smallest smoothed round trip among the open connections, absent while there is none"),
		connections: desc("connections", "Open connections"),
		inFlight:    desc("streams_in_flight", "Streams in progress"),
		underWay:    desc("bytes_under_way", "Bytes of requests, or of answers if more, in the last round trip"),
		loss:        desc("loss_ratio", "Share of packets lost lately on the way there, the worst of the servers'; of protocols for networks that lose packets"),
		doubling:    desc("doubling_paths", "Servers to which small calls go on two connections because packets are lost"),
		sent:        desc("packets_sent_total", "Packets sent"),
		lost:        desc("packets_lost_total", "Packets taken for lost"),
		bytesOut:    desc("bytes_sent_total", "Bytes sent"),
		bytesIn:     desc("bytes_received_total", "Bytes received"),
	}
}

// Describe implements prometheus.Collector.
func (l *links) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.roundTrip, l.connections, l.inFlight, l.underWay, l.loss, l.doubling, l.sent, l.lost, l.bytesOut, l.bytesIn} {
		ch <- d
	}
}

func (l *links) keyOf(c *conn) linkKey {
	return linkKey{c.protocol, l.m.bounded(c.remote.Peer.Datacenter)}
}

func (l *links) closed(c *conn) {
	s := c.qc.ConnectionStats()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keyOf(c)
	l.totals[k] = l.totals[k].plus(s.PacketsSent, s.PacketsLost, s.BytesSent, s.BytesReceived)
}

func (t linkTotals) plus(sent, lost, out, in uint64) linkTotals {
	return linkTotals{t.packetsSent + sent, t.packetsLost + lost, t.bytesSent + out, t.bytesReceived + in}
}

// Collect implements prometheus.Collector.
func (l *links) Collect(ch chan<- prometheus.Metric) {
	type live struct {
		connections, inFlight     int64
		roundTrip, underWay, loss float64
		doubling                  float64
		lossy                     bool
		totals                    linkTotals
	}
	rows := map[linkKey]*live{}
	l.mu.Lock()
	for k, t := range l.totals {
		rows[k] = &live{totals: t}
	}
	l.mu.Unlock()
	for _, c := range l.e.snapshot() {
		s := c.qc.ConnectionStats()
		k := l.keyOf(c)
		r := rows[k]
		if r == nil {
			r = &live{}
			rows[k] = r
		}
		r.connections++
		r.inFlight += c.inFlight.Load()
		r.underWay += c.underWay(time.Now())
		if rtt := s.SmoothedRTT.Seconds(); r.roundTrip == 0 || rtt < r.roundTrip {
			r.roundTrip = rtt
		}
		r.totals = r.totals.plus(s.PacketsSent, s.PacketsLost, s.BytesSent, s.BytesReceived)
	}
	for _, p := range l.e.Stats() {
		if r := rows[linkKey{p.Protocol, p.Peer.Datacenter}]; r != nil && p.Lossy {
			r.lossy, r.loss = true, max(r.loss, p.Recent)
			if p.Doubling {
				r.doubling++
			}
		}
	}
	for k, r := range rows {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, k.protocol, k.datacenter)
		}
		counter := func(d *prometheus.Desc, v uint64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), k.protocol, k.datacenter)
		}
		// A round trip that nobody measures now is no number: neither 0 nor what it
		// was before a cut, which would look well.
		if r.connections > 0 {
			gauge(l.roundTrip, r.roundTrip)
		}
		if r.lossy {
			gauge(l.loss, r.loss)
			gauge(l.doubling, r.doubling)
		}
		gauge(l.underWay, r.underWay)
		gauge(l.connections, float64(r.connections))
		gauge(l.inFlight, float64(r.inFlight))
		counter(l.sent, r.totals.packetsSent)
		counter(l.lost, r.totals.packetsLost)
		counter(l.bytesOut, r.totals.bytesSent)
		counter(l.bytesIn, r.totals.bytesReceived)
	}
}
