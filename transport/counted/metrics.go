package counted

import "github.com/prometheus/client_golang/prometheus"

// Link is what the series of connections are labelled with.
type Link struct{ Protocol, Datacenter string }

// Totals only grow.
type Totals struct{ PacketsSent, PacketsLost, BytesSent, BytesReceived uint64 }

// Plus is the sum.
func (t Totals) Plus(o Totals) Totals {
	return Totals{t.PacketsSent + o.PacketsSent, t.PacketsLost + o.PacketsLost, t.BytesSent + o.BytesSent, t.BytesReceived + o.BytesReceived}
}

// Live is what the connections of a link show now: seconds, bytes and shares, as the help of
// the series says.
type Live struct {
	Connections, InFlight     int64
	Window                    uint64
	RoundTrip, UnderWay, Loss float64
	Doubling                  float64
	Lossy                     bool
	Totals
}

// Links shows what connections count, when it is scraped.
type Links struct {
	read func() map[Link]*Live

	roundTrip, connections, window, inFlight, underWay, loss, doubling, sent, lost, bytesOut, bytesIn *prometheus.Desc
}

// NewLinks returns a collector of what read returns; that is called for each scrape.
func NewLinks(read func() map[Link]*Live) *Links {
	by := []string{"protocol", "datacenter"}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("legate_quic_"+name, help, by, nil)
	}
	return &Links{
		read: read,
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
func (l *Links) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.roundTrip, l.connections, l.window, l.inFlight, l.underWay, l.loss, l.doubling, l.sent, l.lost, l.bytesOut, l.bytesIn} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (l *Links) Collect(ch chan<- prometheus.Metric) {
	for k, r := range l.read() {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, k.Protocol, k.Datacenter)
		}
		counter := func(d *prometheus.Desc, v uint64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), k.Protocol, k.Datacenter)
		}
		// A round trip that nobody measures now is no number: neither 0 nor what it
		// was before a cut, which would look well.
		if r.Connections > 0 {
			gauge(l.roundTrip, r.RoundTrip)
		}
		if r.Lossy {
			gauge(l.loss, r.Loss)
			gauge(l.doubling, r.Doubling)
		}
		gauge(l.underWay, r.UnderWay)
		gauge(l.connections, float64(r.Connections))
		gauge(l.window, float64(r.Window))
		gauge(l.inFlight, float64(r.InFlight))
		counter(l.sent, r.PacketsSent)
		counter(l.lost, r.PacketsLost)
		counter(l.bytesOut, r.BytesSent)
		counter(l.bytesIn, r.BytesReceived)
	}
}
