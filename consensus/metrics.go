package consensus

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// buckets span an apply in memory to an election that goes badly, in seconds.
func buckets() []float64 {
	return []float64{.0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30}
}

// metrics are those of one node.
type metrics struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector

	commit            prometheus.Histogram
	apply             prometheus.Histogram
	commands          prometheus.Counter
	perEntry          prometheus.Histogram
	lost              prometheus.Counter
	refused           prometheus.Counter
	elections         prometheus.Counter
	election          prometheus.Histogram
	leaderChanges     prometheus.Counter
	elected, followed prometheus.Counter
	verify            prometheus.Histogram
	mark              prometheus.Histogram
	checkpoint        prometheus.Histogram
	installed         prometheus.Counter
	failed            prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{registerer: r}
	histogram := func(name, help string, b []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "legate_raft_" + name, Help: help, Buckets: b})
		m.registered = append(m.registered, h)
		return h
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_raft_" + name, Help: help})
		m.registered = append(m.registered, c)
		return c
	}
	m.commit = histogram("commit_seconds", "Time from handing an entry to Raft until it is applied here.", buckets())
	m.apply = histogram("apply_seconds", "Time to apply a batch of committed entries to the state.", buckets())
	m.commands = counter("commands_applied_total", "Commands applied to the state.")
	m.perEntry = histogram("entry_commands", "Commands that shared a log entry.", prometheus.ExponentialBuckets(1, 2, 13))
	m.lost = counter("commands_lost_total", "Commands proposed here whose outcome stayed unknown.")
	m.refused = counter("commands_refused_total", "Commands refused because too many waited or this node did not lead.")
	m.elections = counter("elections_total", "Elections that this node began.")
	m.election = histogram("election_seconds", "Time from beginning an election to the end of being a candidate.", buckets())
	m.leaderChanges = counter("leader_changes_total", "Times that this node learned of another leader.")
	m.elected = counter("leaderships_total", "Times that this node became the leader.")
	m.followed = counter("followerships_total", "Times that this node became a follower again.")
	m.verify = histogram("verify_leader_seconds", "Time to confirm leadership with a quorum.", buckets())
	m.mark = histogram("snapshot_seconds", "Time of a local snapshot.", buckets())
	m.checkpoint = histogram("checkpoint_seconds", "Time to prepare the state for sending.", buckets())
	m.installed = counter("snapshots_installed_total", "States received from a leader and made current.")
	m.failed = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "legate_raft_failed", Help: "1 when the node has stopped because of a failure.",
	})
	m.registered = append(m.registered, m.failed)
	for i, c := range m.registered {
		if err := r.Register(c); err != nil {
			m.registered = m.registered[:i]
			m.unregister()
			return nil, fmt.Errorf("register the metrics of raft: %w", err)
		}
	}
	return m, nil
}

// watch adds the gauges that are read off the node.
func (m *metrics) watch(n *Node) error {
	gauges := []struct {
		name, help string
		read       func() float64
	}{
		{"leader", "1 while this node leads.", func() float64 {
			if n.LeaseRead() {
				return 1
			}
			return 0
		}},
		{"term", "Current term.", func() float64 { return float64(n.raft.CurrentTerm()) }},
		{"commit_index", "Newest entry known to be committed.", func() float64 { return float64(n.raft.CommitIndex()) }},
		{"applied_index", "Newest entry applied to the state.", func() float64 { return float64(n.cfg.State.Position().Index) }},
		{"last_contact_seconds", "Time since the last word from the leader; 0 on the leader.", func() float64 {
			return n.LastContact().Seconds()
		}},
		{"servers", "Servers of the newest configuration that this node knows.", func() float64 {
			servers, _, err := n.Configuration()
			if err != nil { // the node is stopping
				return 0
			}
			return float64(len(servers))
		}},
		{"commands_waiting", "Commands that wait to be handed to Raft.", func() float64 { return float64(len(n.queue)) }},
	}
	for _, g := range gauges {
		c := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_raft_" + g.name, Help: g.help}, g.read)
		if err := m.registerer.Register(c); err != nil {
			return fmt.Errorf("register the metrics of raft: %w", err)
		}
		m.registered = append(m.registered, c)
	}
	return nil
}

func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
	m.registered = nil
}

func since(h prometheus.Histogram, began time.Time) { h.Observe(time.Since(began).Seconds()) }
