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
		messages = "Messages about members that this one made or took in, by kind: alive, suspect or dead. Worry: suspect and dead ones that go on while nobody fails."
		streams  = "Streams that were opened or accepted, by kind."
		degraded = "Times that this member doubted itself and waited longer before the next probe (probe), or called a member failed that fewer others suspected than it had hoped (timeout). Worry: probe that goes on."
		snapshot = "Seconds of work on the file of known members, by kind. Worry: above 0.1: the disk is slow, and events wait for it."
	)
	return []rule{
		{"memberlist.probeNode", seconds, "legate_gossip_probe_seconds", "", "Seconds of one whole probe of a member, indirect attempts included."},
		{"memberlist.gossip", seconds, "legate_gossip_round_seconds", "", "Seconds to send one round of gossip."},
		{"memberlist.pushPullNode", seconds, "legate_gossip_push_pull_seconds", "", "Seconds of one exchange of all members with another member. Worry: above 1 inside a datacenter."},
		{"memberlist.msg.alive", counter, "legate_gossip_messages_total", "alive", messages},
		{"memberlist.msg.suspect", counter, "legate_gossip_messages_total", "suspect", messages},
		{"memberlist.msg.dead", counter, "legate_gossip_messages_total", "dead", messages},
		{"memberlist.degraded.probe", counter, "legate_gossip_degraded_total", "probe", degraded},
		{"memberlist.degraded.timeout", counter, "legate_gossip_degraded_total", "timeout", degraded},
		{"memberlist.tcp.accept", counter, "legate_gossip_streams_total", "accepted", streams},
		{"memberlist.tcp.connect", counter, "legate_gossip_streams_total", "opened", streams},
		{"memberlist.queue.broadcasts", level, "legate_gossip_broadcast_queue_depth", "", "Broadcasts about members that waited at the last look, one each 30 s. Worry: above some hundred: too many members come and go."},
		{"serf.member.flap", counter, "legate_gossip_member_flaps_total", "", "Members that came back within a minute after they had failed. Worry: any: they or the network are overloaded."},
		{"serf.events", counter, "legate_gossip_user_events_total", "", "User events received."},
		{"serf.queries", counter, "legate_gossip_queries_total", "", "Queries of Serf received, such as changes of gossip keys."},
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
