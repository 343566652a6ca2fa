package transport

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/transport/counted"
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
	key           counted.Link
	in, out       prometheus.Counter // streams
	first, second prometheus.Counter // calls that went on two connections, by whose answer came first
}

// of makes the series of a connection's protocol and datacenter exist.
func (m *metrics) of(c *conn) connSeries {
	k := counted.Link{Protocol: c.protocol, Datacenter: m.bounded(c.remote.Peer.Datacenter)}
	return connSeries{key: k,
		in: m.streams.WithLabelValues(k.Protocol, k.Datacenter, "in"), out: m.streams.WithLabelValues(k.Protocol, k.Datacenter, "out"),
		first: m.twice.WithLabelValues(k.Protocol, k.Datacenter, "first"), second: m.twice.WithLabelValues(k.Protocol, k.Datacenter, "second"),
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

// links reads the connections' own counters when it is scraped.
type links struct {
	*counted.Links
	totals map[counted.Link]counted.Totals // of connections that are closed; of the Endpoint's mutex, as its connections
}

func newLinks(e *Endpoint) *links {
	return &links{counted.NewLinks(e.counts), map[counted.Link]counted.Totals{}}
}

// closed is called in one step with the connection's end, with the mutex held:
// else its bytes would count twice or not at all for a scrape, which looks as if
// the agent had begun anew.
func (l *links) closed(c *conn) {
	k := c.series.key
	l.totals[k] = c.totals().Plus(l.totals[k])
}

func (c *conn) totals() counted.Totals {
	s := c.qc.ConnectionStats()
	return counted.Totals{PacketsSent: s.PacketsSent, PacketsLost: s.PacketsLost, BytesSent: s.BytesSent, BytesReceived: s.BytesReceived}
}

// counts is what all connections count.
func (e *Endpoint) counts() map[counted.Link]*counted.Live {
	rows := map[counted.Link]*counted.Live{}
	e.mu.Lock()
	for k, t := range e.metrics.links.totals {
		rows[k] = &counted.Live{Totals: t}
	}
	open := slices.Collect(maps.Keys(e.conns))
	e.mu.Unlock()
	for _, c := range open {
		s := c.qc.ConnectionStats()
		k := c.series.key
		r := rows[k]
		if r == nil {
			r = &counted.Live{}
			rows[k] = r
		}
		r.Connections++
		r.Window += s.CongestionWindow
		r.InFlight += c.inFlight.Load()
		r.UnderWay += c.underWay(time.Now())
		if rtt := s.SmoothedRTT.Seconds(); r.RoundTrip == 0 || rtt < r.RoundTrip {
			r.RoundTrip = rtt
		}
		r.Totals = r.Totals.Plus(c.totals())
	}
	for _, p := range e.Stats() {
		if r := rows[counted.Link{Protocol: p.Protocol, Datacenter: p.Peer.Datacenter}]; r != nil && p.Lossy {
			r.Lossy, r.Loss = true, max(r.Loss, p.Recent)
			if p.Duplicating {
				r.Doubling++
			}
		}
	}
	return rows
}
