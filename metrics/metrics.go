package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The names of the two gossip pools, as the pool label of samples has them.
const (
	poolLAN = "lan"
	poolWAN = "wan"
)

// kind of a sample in go-metrics, and what becomes of its value.
type kind uint8

const (
	counter kind = iota + 1 // added
	seconds                 // a sample in milliseconds, observed in seconds
	level                   // a sample that is the latest level
)

// rule says what becomes of one sample of memberlist or Serf.
type rule struct {
	key   string // parts joined by dots
	kind  kind
	name  string
	value string // of the label "kind"; empty for metrics without it
	help  string
}

// rules names all samples that are kept; others are dropped. What
// internal/gossip itself measures exactly (members, events, Serf's queues, health
// score, round trips) is not here again.
func rules() []rule {
	const (
		messages = "Messages about members that memberlist handled, by kind."
		streams  = "Streams that memberlist opened or accepted, by kind."
		degraded = "Times that a node doubting itself waited longer, by kind."
		snapshot = "Time of work on the snapshot of members, by kind."
	)
	return []rule{
		{"memberlist.probeNode", seconds, "legate_gossip_probe_seconds", "", "Time of one whole probe of a member, indirect attempts included."},
		{"memberlist.gossip", seconds, "legate_gossip_round_seconds", "", "Time of one round of gossip."},
		{"memberlist.pushPullNode", seconds, "legate_gossip_push_pull_seconds", "", "Time of one full exchange of members with another."},
		{"memberlist.msg.alive", counter, "legate_gossip_messages_total", "alive", messages},
		{"memberlist.msg.suspect", counter, "legate_gossip_messages_total", "suspect", messages},
		{"memberlist.msg.dead", counter, "legate_gossip_messages_total", "dead", messages},
		{"memberlist.degraded.probe", counter, "legate_gossip_degraded_total", "probe", degraded},
		{"memberlist.degraded.timeout", counter, "legate_gossip_degraded_total", "timeout", degraded},
		{"memberlist.tcp.accept", counter, "legate_gossip_streams_total", "accepted", streams},
		{"memberlist.tcp.connect", counter, "legate_gossip_streams_total", "opened", streams},
		{"memberlist.tcp.sent", counter, "legate_gossip_stream_sent_bytes_total", "", "Bytes sent on streams."},
		{"memberlist.udp.sent", counter, "legate_gossip_packet_sent_bytes_total", "", "Bytes sent in packets."},
		{"memberlist.udp.received", counter, "legate_gossip_packet_received_bytes_total", "", "Bytes received in packets."},
		{"memberlist.queue.broadcasts", level, "legate_gossip_broadcast_queue_depth", "", "Broadcasts of memberlist that waited at the last look, one each 30 s."},
		{"serf.member.flap", counter, "legate_gossip_member_flaps_total", "", "Members that came back soon after they had failed."},
		{"serf.events", counter, "legate_gossip_user_events_total", "", "User events received."},
		{"serf.queries", counter, "legate_gossip_queries_total", "", "Queries received."},
		{"serf.snapshot.appendLine", seconds, "legate_gossip_snapshot_seconds", "append", snapshot},
		{"serf.snapshot.compact", seconds, "legate_gossip_snapshot_seconds", "compact", snapshot},
	}
}

// series is where the samples of one key and pool go.
type series struct {
	kind    kind
	add     prometheus.Counter
	observe prometheus.Observer
	set     prometheus.Gauge
}

// seriesKey finds a series without allocating.
type seriesKey struct{ key, pool string }

// gossip holds the series of one registry; it does not change once made.
type gossip struct{ series map[seriesKey]series }

// newGossip registers all series, so that they exist at zero.
func newGossip(r prometheus.Registerer) *gossip {
	g := &gossip{series: map[seriesKey]series{}}
	counters, histograms, gauges := map[string]*prometheus.CounterVec{}, map[string]*prometheus.HistogramVec{}, map[string]*prometheus.GaugeVec{}
	for _, rule := range rules() {
		labels := []string{"pool"}
		if rule.value != "" {
			labels = append(labels, "kind")
		}
		switch rule.kind {
		case counter:
			if counters[rule.name] == nil {
				counters[rule.name] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: rule.name, Help: rule.help}, labels)
				r.MustRegister(counters[rule.name])
			}
		case seconds:
			if histograms[rule.name] == nil {
				histograms[rule.name] = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: rule.name, Help: rule.help,
					Buckets:                     prometheus.ExponentialBuckets(0.0001, 4, 9), // 0.1 ms to 6.6 s
					NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
				}, labels)
				r.MustRegister(histograms[rule.name])
			}
		case level:
			if gauges[rule.name] == nil {
				gauges[rule.name] = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: rule.name, Help: rule.help}, labels)
				r.MustRegister(gauges[rule.name])
			}
		}
		for _, pool := range []string{poolLAN, poolWAN} {
			values := []string{pool, rule.value}[:len(labels)]
			s := series{kind: rule.kind}
			switch rule.kind {
			case counter:
				s.add = counters[rule.name].WithLabelValues(values...)
			case seconds:
				s.observe = histograms[rule.name].WithLabelValues(values...)
			case level:
				s.set = gauges[rule.name].WithLabelValues(values...)
			}
			g.series[seriesKey{rule.key, pool}] = s
		}
	}
	return g
}
