package federation

import (
	"time"

	"github.com/legate-project/legate/op/rpc"
)

// Status is how another datacenter is seen from this server.
type Status struct {
	Datacenter string
	Servers    int           // known to the WAN pool, those that left aside
	Alive      int           // of them, as gossip says
	Answering  int           // of them, as calls and probes say
	RTT        time.Duration // smallest smoothed round trip; 0 while no connection is open
	Loss       float64       // share of packets lost lately on the way there, the worst of its servers', 0 to 1
	Doubling   bool          // small calls go on two connections because of it
	// Of the open connections for calls, to all of its servers.
	Connections              int
	BytesUnderWay            int
	BytesSent, BytesRead     uint64
	PacketsSent, PacketsLost uint64
	Calls                    int // in flight from here
	Blocked                  int // reads that wait for something newer
	Breaker                  Breaker
	P95                      time.Duration // of reads lately; 0 while unknown
	LastContact              time.Time     // when it answered last; zero if never
	LastError                string        // why the last call or probe that failed did
}

// Status lists the other known datacenters, nearest first.
func (r *Router) Status() []Status {
	t := r.table.Load()
	out := make([]Status, 0, len(t.nearest))
	for _, name := range t.nearest {
		out = append(out, r.statusOf(t.datacenters[name]))
	}
	return out
}

func (r *Router) statusOf(dc *datacenter) Status {
	s := Status{Datacenter: dc.name, Servers: len(dc.members), Breaker: dc.breaker(), P95: time.Duration(dc.load.pace.p95.Load()),
		Calls: int(dc.load.inFlight.Load()), Blocked: int(dc.load.blocked.Load())}
	var heard int64
	var last error
	for _, m := range dc.members {
		heard = max(heard, m.heard.Load())
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
			s.BytesUnderWay += p.UnderWay
			s.BytesSent, s.BytesRead = s.BytesSent+p.BytesSent, s.BytesRead+p.BytesRead
			s.PacketsSent, s.PacketsLost = s.PacketsSent+p.PacketsSent, s.PacketsLost+p.PacketsLost
			s.Loss, s.Doubling = max(s.Loss, p.Recent), s.Doubling || p.Doubling
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
