package transport

import (
	"errors"
	"fmt"
	"maps"
	"slices"
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
			Help: "Streams opened, by protocol, other datacenter and who opened them (out: this agent).",
		}, []string{"protocol", "datacenter", "direction"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_quic_handshake_failures_total",
			Help: "Connections that did not come about, by reason. Worry: any that goes on, but for unreachable while a server is down.",
		}, []string{"reason"}),
		datagrams: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_quic_datagrams_dropped_total",
			Help: "Datagrams dropped before they were sent, by reason. Worry: queue_full.",
		}, []string{"reason"}),
	}
	m.twice = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_quic_doubled_calls_total",
		Help: "Small calls that were sent on two connections at once because the path loses packets, by protocol, other datacenter and the copy that was answered first. Worry: rising for hours: the path is bad.",
	}, []string{"protocol", "datacenter", "won"})
	m.datacenter.seen = map[string]bool{}
	m.links = newLinks(e)
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

// connSeries are the series that a connection counts in, found once.
type connSeries struct {
	key           linkKey
	in, out       prometheus.Counter // streams
	first, second prometheus.Counter // calls that went on two connections, by whose answer came first
}

// of makes the series of a connection's protocol and datacenter exist.
func (m *metrics) of(c *conn) connSeries {
	k := linkKey{c.protocol, m.bounded(c.remote.Peer.Datacenter)}
	return connSeries{key: k,
		in: m.streams.WithLabelValues(k.protocol, k.datacenter, "in"), out: m.streams.WithLabelValues(k.protocol, k.datacenter, "out"),
		first: m.twice.WithLabelValues(k.protocol, k.datacenter, "first"), second: m.twice.WithLabelValues(k.protocol, k.datacenter, "second"),
	}
}

func (m *metrics) handshakeFailed(reason string) { m.failures.WithLabelValues(reason).Inc() }

func (m *metrics) dropped(reason string) { m.datagrams.WithLabelValues(reason).Inc() }

// doubled counts a call that went on two connections.
func (s connSeries) doubled(second bool) {
	if second {
		s.second.Inc()
		return
	}
	s.first.Inc()
}

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

	roundTrip, connections, window, inFlight, underWay, loss, doubling, sent, lost, bytesOut, bytesIn *prometheus.Desc

	totals map[linkKey]linkTotals // of the Endpoint's mutex, as its connections
}

func newLinks(e *Endpoint) *links {
	by := []string{"protocol", "datacenter"}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("legate_quic_"+name, help, by, nil)
	}
	return &links{
		e: e, totals: map[linkKey]linkTotals{},
		roundTrip: desc("round_trip_seconds", "Smallest smoothed round trip in seconds among the open connections, by protocol and other datacenter; "+
			"absent while there is no connection. Worry: absent, or twice the usual."),
		connections: desc("connections", "Open connections, by protocol and other datacenter. Worry: 0 of legate-gossip/1 to a datacenter that is in use."),
		window: desc("congestion_window_bytes", "Bytes that may be under way at once on all open connections, as congestion control allows, by protocol and other datacenter. "+
			"Worry: below 30000 for minutes under load: packets are lost."),
		inFlight: desc("streams_in_flight", "Streams in progress, by protocol and other datacenter. Worry: rising without end."),
		underWay: desc("bytes_under_way", "Bytes of requests, or of answers if more, in the last round trip, by protocol and other datacenter. "+
			"Worry: near legate_quic_congestion_window_bytes for minutes."),
		loss: desc("loss_ratio", "Share of packets lost lately on the way there, 0 to 1, the worst of the servers', by protocol and other datacenter; "+
			"only of protocols that are used between datacenters. Worry: above 0.02."),
		doubling: desc("doubling_paths", "Servers to which small calls go on two connections because packets are lost, by protocol and other datacenter. Worry: above 0 for hours."),
		sent:     desc("packets_sent_total", "Packets sent, by protocol and other datacenter."),
		lost:     desc("packets_lost_total", "Packets taken for lost, by protocol and other datacenter. Worry: more than 2 % of those sent."),
		bytesOut: desc("bytes_sent_total", "Bytes sent, headers of UDP and IP not counted, by protocol and other datacenter."),
		bytesIn:  desc("bytes_received_total", "Bytes received, headers of UDP and IP not counted, by protocol and other datacenter."),
	}
}

// Describe implements prometheus.Collector.
func (l *links) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.roundTrip, l.connections, l.window, l.inFlight, l.underWay, l.loss, l.doubling, l.sent, l.lost, l.bytesOut, l.bytesIn} {
		ch <- d
	}
}

// closed is called in one step with the connection's end, with the mutex held:
// else its bytes would count twice or not at all for a scrape, which looks as if
// the agent had begun anew.
func (l *links) closed(c *conn) {
	s, k := c.qc.ConnectionStats(), c.series.key
	l.totals[k] = l.totals[k].plus(s.PacketsSent, s.PacketsLost, s.BytesSent, s.BytesReceived)
}

func (t linkTotals) plus(sent, lost, out, in uint64) linkTotals {
	return linkTotals{t.packetsSent + sent, t.packetsLost + lost, t.bytesSent + out, t.bytesReceived + in}
}

// Collect implements prometheus.Collector.
func (l *links) Collect(ch chan<- prometheus.Metric) {
	type live struct {
		connections, inFlight     int64
		window                    uint64
		roundTrip, underWay, loss float64
		doubling                  float64
		lossy                     bool
		totals                    linkTotals
	}
	rows := map[linkKey]*live{}
	l.e.mu.Lock()
	for k, t := range l.totals {
		rows[k] = &live{totals: t}
	}
	open := slices.Collect(maps.Keys(l.e.conns))
	l.e.mu.Unlock()
	for _, c := range open {
		s := c.qc.ConnectionStats()
		k := c.series.key
		r := rows[k]
		if r == nil {
			r = &live{}
			rows[k] = r
		}
		r.connections++
		r.window += s.CongestionWindow
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
			if p.Duplicating {
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
		gauge(l.window, float64(r.window))
		gauge(l.inFlight, float64(r.inFlight))
		counter(l.sent, r.totals.packetsSent)
		counter(l.lost, r.totals.packetsLost)
		counter(l.bytesOut, r.totals.bytesSent)
		counter(l.bytesIn, r.totals.bytesReceived)
	}
}
