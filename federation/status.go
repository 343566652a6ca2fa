package federation

import (
	"fmt"
	"strings"
	"time"

	"github.com/legate-project/legate/op/rpc"
)

// State of another datacenter in one word.
type State string

// The states.
const (
	Up          State = "up"          // all of its servers answer
	Degraded    State = "degraded"    // it is asked, and something is wrong
	Unreachable State = "unreachable" // none of its servers answers
	Removed     State = "removed"     // it is refused here until it is allowed again
	Left        State = "left"        // all of its servers left the federation
)

// Status is how another datacenter is seen from this server.
type Status struct {
	Datacenter  string
	State       State
	Reason      string        // why it is not up, for people
	Servers     int           // known to the WAN pool, those that left aside
	Alive       int           // of them, as gossip says
	Answering   int           // of them, as calls and probes say
	RTT         time.Duration // smallest smoothed round trip; 0 while no connection is open
	Loss        float64       // share of packets lost lately on the way there, the worst of its servers', 0 to 1
	Duplicating bool          // small calls go on two connections because of it
	// Of the open connections for calls, to all of its servers.
	Connections, Streams     int
	BytesInFlight            int
	BytesSent, BytesRead     uint64
	PacketsSent, PacketsLost uint64
	Calls                    int // in flight from here
	Blocked                  int // reads that wait for something newer
	Breaker                  Breaker
	P95                      time.Duration // of reads lately; 0 while unknown
	Way                      Way           // how it is reached
	LastContact              time.Time     // when it answered last; zero if never
	LastError                string        // why the last call or probe that failed did
}

// Way is how a datacenter is reached.
type Way struct {
	Through     []string // datacenters whose servers carry what is said there, in order; none if it is reached directly
	ReachedFrom []string // datacenters that say that they reach it, while it is not reached directly from here
}

// Status lists the other known datacenters, nearest first, then those that left.
// What was removed is not known here.
func (r *Router) Status() []Status {
	t := r.table.Load()
	out := make([]Status, 0, len(t.nearest)+len(t.left))
	for _, name := range t.nearest {
		s := r.statusOf(t.datacenters[name])
		s.judge(t.datacenters[name])
		out = append(out, s)
	}
	for _, name := range t.left {
		out = append(out, Status{Datacenter: name, State: Left, Reason: "all of its servers left the federation, or this one did"})
	}
	return out
}

// judge sets the state and the reason for it.
func (s *Status) judge(dc *datacenter) {
	if s.Breaker != Closed {
		s.State = Unreachable
		if s.Reason = "none of its servers answers"; s.Alive == 0 {
			s.Reason = "none of its servers answers, and gossip holds them failed"
		} else if from := s.Way.ReachedFrom; len(from) > 0 {
			s.Reason = "unreachable from here, reachable from " + strings.Join(from, ", ")
		}
		return
	}
	var why []string
	if n := s.Servers - s.Answering; n > 0 {
		why = append(why, fmt.Sprintf("%d of %d servers do not answer", n, s.Servers))
	}
	if n := s.Servers - s.Alive; n > 0 && s.Alive < s.Answering {
		why = append(why, fmt.Sprintf("gossip holds %d of %d servers failed", n, s.Servers))
	}
	if n := dc.damped(); n > 0 {
		why = append(why, fmt.Sprintf("%d of %d servers failed again and again of late", n, s.Servers))
	}
	if s.Duplicating {
		why = append(why, fmt.Sprintf("%.1f %% of the packets are lost", 100*s.Loss))
	}
	if s.State = Up; len(why) > 0 {
		s.State, s.Reason = Degraded, strings.Join(why, ", ")
	}
}

func (d *datacenter) damped() (n int) {
	for _, m := range d.members {
		if m.damped {
			n++
		}
	}
	return n
}

func (r *Router) statusOf(dc *datacenter) Status {
	s := Status{Datacenter: dc.name, Servers: len(dc.members), Breaker: dc.breaker(), P95: time.Duration(dc.load.latency.p95.Load()),
		Calls: int(dc.load.inFlight.Load()), Blocked: int(dc.load.blocked.Load()), Way: r.cfg.Way(dc.name)}
	var heard int64
	var last error
	for _, m := range dc.members {
		heard = max(heard, m.lastAnswer.Load())
		if !m.open.Load() {
			s.Answering++
		}
		m.mu.Lock()
		if m.alive {
			s.Alive++
		}
		if m.err != nil && (m.doubt.Load() || m.open.Load() || last == nil) {
			last = m.err
		}
		m.mu.Unlock()
		for _, protocol := range []string{rpc.Protocol, rpc.BulkProtocol} {
			p := r.cfg.Transport.Path(m.target, protocol)
			s.Connections += p.Connections
			s.Streams += p.InFlight
			s.BytesInFlight += p.BytesInFlight
			s.BytesSent, s.BytesRead = s.BytesSent+p.BytesSent, s.BytesRead+p.BytesRead
			s.PacketsSent, s.PacketsLost = s.PacketsSent+p.PacketsSent, s.PacketsLost+p.PacketsLost
			s.Loss, s.Duplicating = max(s.Loss, p.Recent), s.Duplicating || p.Duplicating
			if p.RTT > 0 && (s.RTT == 0 || p.RTT < s.RTT) {
				s.RTT = p.RTT
			}
		}
	}
	if heard > 0 {
		s.LastContact = time.Unix(0, heard)
	}
	if last != nil {
		s.LastError = last.Error()
	}
	return s
}
