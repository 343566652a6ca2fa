package consensus

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

// followers is what a leader knows of the others' logs from their answers to
// heartbeats and to entries that are not sent in a pipeline: each tells where
// the log ends. Several of them come in each heartbeat timeout.
type followers struct {
	clock func() time.Duration

	mu sync.Mutex
	by map[raft.ServerID]follower
}

// follower is the newest answer of one server.
type follower struct {
	term   uint64 // in which it was asked
	at     time.Duration
	behind uint64 // entries that its log lacked of what there was when it was asked
	last   uint64 // where its log ended
}

func newFollowers(clock func() time.Duration) *followers {
	return &followers{clock: clock, by: map[raft.ServerID]follower{}}
}

// answered notes an answer; last is where the leader's log ended when it asked.
func (f *followers) answered(id raft.ServerID, ask *raft.AppendEntriesRequest, answer *raft.AppendEntriesResponse, last uint64) {
	ends := answer.LastLog // before the entries were taken
	if n := len(ask.Entries); n > 0 && answer.Success {
		ends = max(ends, ask.Entries[n-1].Index)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by[id] = follower{term: ask.Term, at: f.clock(), last: ends, behind: last - min(last, ends)}
}

// of returns what is known of a server since the beginning of a term.
func (f *followers) of(id raft.ServerID, term uint64) (follower, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.by[id]
	return known, known.term == term && term != 0
}

// keep forgets who is not in the configuration any more.
func (f *followers) keep(servers []raft.Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.by) <= len(servers) {
		return
	}
	kept := make(map[raft.ServerID]follower, len(servers))
	for _, s := range servers {
		if known, ok := f.by[s.ID]; ok {
			kept[s.ID] = known
		}
	}
	f.by = kept
}

// standing shows the node's state and, while it leads, its followers. The label
// peer has the servers of Raft's configuration.
type standing struct {
	n                   *Node
	state, lag, contact *prometheus.Desc
}

func newStanding(n *Node) *standing {
	return &standing{n: n,
		state: prometheus.NewDesc("legate_raft_state",
			"1 for the state that this server is in: follower, candidate, leader or shutdown; 0 for the others. Worry: candidate for more than some seconds.",
			[]string{"state"}, nil),
		lag: prometheus.NewDesc("legate_raft_peer_lag_entries",
			"Entries of the log that another server lacks, on the leader. Worry: rising for minutes, or near raft_trailing_logs: then the server needs the whole state.",
			[]string{"peer"}, nil),
		contact: prometheus.NewDesc("legate_raft_peer_last_contact_seconds",
			"Seconds since another server answered last, on the leader. Worry: above 1 while the server lives.",
			[]string{"peer"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (s *standing) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.state
	ch <- s.lag
	ch <- s.contact
}

// Collect implements prometheus.Collector.
func (s *standing) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	now := s.n.raft.State()
	for state, label := range map[raft.RaftState]string{
		raft.Follower: "follower", raft.Candidate: "candidate", raft.Leader: "leader", raft.Shutdown: "shutdown",
	} {
		v := 0.0
		if state == now {
			v = 1
		}
		gauge(s.state, v, label)
	}
	if now != raft.Leader {
		return
	}
	servers := s.n.raft.GetConfiguration().Configuration().Servers
	s.n.peers.followers.keep(servers)
	shown := map[string]bool{}
	for _, server := range servers {
		if string(server.ID) == s.n.cfg.NodeID {
			continue
		}
		name := s.n.cfg.NameOf(string(server.ID))
		if name == "" || shown[name] { // of two with one name
			name = string(server.ID)
		}
		shown[name] = true
		lag, contact := s.n.follower(server.ID)
		gauge(s.lag, lag, name)
		gauge(s.contact, contact.Seconds(), name)
	}
}

// follower is how far behind another server is and how long ago it answered
// this leader. One that has not in this term lacks everything and is silent
// since the term began, as far as is known.
func (n *Node) follower(id raft.ServerID) (lag float64, contact time.Duration) {
	last, now := n.raft.LastIndex(), n.peers.followers.clock()
	known, ok := n.peers.followers.of(id, n.raft.CurrentTerm())
	if !ok {
		return float64(last), now - time.Duration(n.reign.Load())
	}
	contact = now - known.at
	if contact > n.cfg.Timing.Heartbeat { // what came since then is missing too
		return float64(last - min(last, known.last)), contact
	}
	return float64(known.behind), contact
}
