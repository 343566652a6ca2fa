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
	electionsWon      prometheus.Counter
	electionsLost     prometheus.Counter
	won, lostElection prometheus.Observer // how long they took
	leaderChanges     prometheus.Counter
	elected, followed prometheus.Counter
	transfers         prometheus.Counter
	transferDone      prometheus.Counter
	transferFailed    prometheus.Counter
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
	m.commit = histogram("commit_seconds", "Seconds from handing an entry to Raft until it is applied on the leader. "+
		"Worry: a 99th percentile above 0.1: slow disks, a slow follower or too much load.", buckets())
	m.apply = histogram("apply_seconds", "Seconds to apply a batch of committed entries to the state.", buckets())
	m.commands = counter("commands_applied_total", "Commands applied to the state.")
	m.perEntry = histogram("entry_commands", "Commands that shared a log entry.", prometheus.ExponentialBuckets(1, 2, 13))
	m.lost = counter("commands_lost_total", "Commands proposed here whose outcome stayed unknown. Worry: any without a change of the leader.")
	m.refused = counter("commands_refused_total", "Commands refused because too many waited or this server did not lead. "+
		"Worry: any while there is a leader: it has more to do than it can.")
	m.elections = counter("elections_total", "Elections that this server began. Worry: more than one an hour without a restart or a lost server.")
	m.electionsWon = counter("elections_won_total", "Elections that this server began and won.")
	m.electionsLost = counter("elections_lost_total", "Elections that this server began and that another won, or that ended because another leads. "+
		"Worry: more than a few in a row: votes are split, or this server is cut off in one direction.")
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "legate_raft_election_seconds",
		Help: "Seconds from beginning an election to its end, by result. Worry: above 5.", Buckets: buckets()}, []string{"result"})
	m.won, m.lostElection = took.WithLabelValues("won"), took.WithLabelValues("lost")
	m.leaderChanges = counter("leader_changes_total", "Times that this server learned of another leader. Worry: more than one an hour without a restart.")
	m.elected = counter("leaderships_total", "Times that this server became the leader.")
	m.followed = counter("followerships_total", "Times that this server became a follower again.")
	m.transfers = counter("transfers_started_total", "Leaderships that this server began to hand over to another.")
	handed := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_raft_transfers_total",
		Help: "Leaderships that this server handed over, by result. Worry: failed: the server that stops leads until its lease is over."}, []string{"result"})
	m.transferDone, m.transferFailed = handed.WithLabelValues("done"), handed.WithLabelValues("failed")
	m.verify = histogram("verify_leader_seconds", "Seconds to confirm leadership with a quorum, for consistent reads.", buckets())
	m.mark = histogram("snapshot_seconds", "Seconds that a local snapshot took, which is a mark in the state.", buckets())
	m.checkpoint = histogram("checkpoint_seconds", "Seconds to prepare the state for being sent to a follower.", buckets())
	m.installed = counter("snapshots_installed_total", "States received from a leader and made current. Worry: one after another: the server cannot keep up.")
	m.failed = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "legate_raft_failed", Help: "1 when the server's Raft node has stopped because of a failure, else 0. Worry: 1.",
	})
	m.registered = append(m.registered, m.failed, took, handed)
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
		{"leader", "1 while this server leads and is sure of it, else 0. Worry: no server of the datacenter has 1.", func() float64 {
			if n.LeaseRead() {
				return 1
			}
			return 0
		}},
		{"term", "Current term, a number that each election raises.", func() float64 { return float64(n.raft.CurrentTerm()) }},
		{"commit_index", "Newest entry known to be committed.", func() float64 { return float64(n.raft.CommitIndex()) }},
		{"applied_index", "Newest entry applied to the state. Worry: falling behind legate_raft_commit_index.", func() float64 {
			return float64(n.cfg.State.Position().Index)
		}},
		{"last_contact_seconds", "Seconds since the last word from the leader, or since the start if there was none; 0 on the leader. Worry: above 1.", func() float64 {
			return min(n.LastContact(), n.lease.clock()).Seconds()
		}},
		{"leader_absent_seconds", "Seconds since this server knew a leader last; 0 while it knows one. Worry: above 5.", func() float64 {
			_, current := n.leaderless()
			return current.Seconds()
		}},
		{"servers", "Servers of the newest configuration that this server knows.", func() float64 { return float64(n.count(func(Server) bool { return true })) }},
		{"voters", "Of them, the ones that vote. Worry: an even number, or fewer than three.", func() float64 {
			return float64(n.count(func(s Server) bool { return s.Voter }))
		}},
		{"commands_waiting", "Commands that wait to be handed to Raft. Worry: more than some thousand for minutes.", func() float64 { return float64(len(n.queue)) }},
	}
	cs := []prometheus.Collector{n.peers.votes.asked, n.peers.votes.given, newStanding(n), prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "legate_raft_leaderless_seconds_total", Help: "Seconds in which this server knew no leader. Worry: rising by more than 5 in an hour.",
	}, func() float64 {
		total, _ := n.leaderless()
		return total.Seconds()
	})}
	for _, g := range gauges {
		cs = append(cs, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_raft_" + g.name, Help: g.help}, g.read))
	}
	for _, c := range cs {
		if err := m.registerer.Register(c); err != nil {
			return fmt.Errorf("register the metrics of raft: %w", err)
		}
		m.registered = append(m.registered, c)
	}
	return nil
}

// count counts servers of the newest configuration; none while the node stops.
func (n *Node) count(these func(Server) bool) (found int) {
	servers, _, err := n.Configuration()
	if err != nil {
		return 0
	}
	for _, s := range servers {
		if these(s) {
			found++
		}
	}
	return found
}

func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
	m.registered = nil
}

func since(h prometheus.Observer, began time.Time) { h.Observe(time.Since(began).Seconds()) }
