package transport

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/legate-project/legate/transport/identity"
)

// PathStats says how the connections to one target for one protocol are.
type PathStats struct {
	Target        Target
	Protocol      string
	Peer          identity.Peer // who answered there last; zero if nobody did yet
	Connections   int           // open, those that the peer made included
	InFlight      int           // streams in progress, both directions
	RTT           time.Duration // smallest smoothed round trip; 0 if unknown
	MinRTT        time.Duration // smallest round trip seen
	PacketsSent   uint64        // of the open connections, as all that follow
	PacketsLost   uint64
	BytesSent     uint64
	BytesRead     uint64
	BytesInFlight int     // bytes of requests, or of answers if more, in the last round trip
	Lossy         bool    // the protocol is for networks that lose packets
	Recent        float64 // share of packets lost lately, 0 to 1; only of lossy protocols
	Duplicating   bool    // small requests go on two connections because of that
	Err           error   // why there is no connection, if a dial failed last
}

// Loss is the share of lost packets, 0 to 1.
func (s PathStats) Loss() float64 {
	if s.PacketsSent == 0 {
		return 0
	}
	return float64(s.PacketsLost) / float64(s.PacketsSent)
}

// Stats returns the state of every path in use, in order of address and
// protocol.
func (e *Endpoint) Stats() []PathStats {
	e.mu.Lock()
	paths := slices.Collect(maps.Values(e.paths))
	e.mu.Unlock()
	out := make([]PathStats, 0, len(paths))
	for _, p := range paths {
		out = append(out, p.stats())
	}
	slices.SortFunc(out, func(a, b PathStats) int {
		return cmp.Or(cmp.Compare(a.Target.Addr, b.Target.Addr), cmp.Compare(a.Protocol, b.Protocol),
			cmp.Compare(a.Target.Name, b.Target.Name), cmp.Compare(a.Target.NodeID, b.Target.NodeID))
	})
	return out
}

func (p *path) stats() PathStats {
	p.mu.Lock()
	conns := slices.Collect(p.usable)
	s := PathStats{Target: p.key.target, Protocol: p.key.protocol}
	if p.lossy {
		p.measure(time.Now())
		s.Lossy, s.Recent, s.Duplicating = true, max(p.loss.Share(), p.pairs.Share()), p.lossyNow()
	}
	if p.failures > 0 {
		s.Err = p.lastErr
	}
	p.mu.Unlock()
	for _, c := range conns {
		if !c.alive() {
			continue
		}
		q := c.qc.ConnectionStats()
		s.Peer = c.remote.Peer
		s.Connections++
		s.InFlight += int(c.inFlight.Load())
		s.RTT = smaller(s.RTT, q.SmoothedRTT)
		s.MinRTT = smaller(s.MinRTT, q.MinRTT)
		s.PacketsSent += q.PacketsSent
		s.PacketsLost += q.PacketsLost
		s.BytesSent += q.BytesSent
		s.BytesRead += q.BytesReceived
		s.BytesInFlight += int(c.underWay(time.Now()))
	}
	return s
}

// smaller of two durations of which 0 is unknown.
func smaller(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (e *Endpoint) snapshot() []*conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.conns))
}

// Path returns the state of the connections to a target for a protocol; it is
// zero but for the target if there never were any.
func (e *Endpoint) Path(t Target, protocol string) PathStats {
	e.mu.Lock()
	p := e.paths[pathKey{t, protocol}]
	e.mu.Unlock()
	if p == nil {
		return PathStats{Target: t, Protocol: protocol}
	}
	return p.stats()
}

// RTT is the smallest smoothed round trip to a target for a protocol; 0 if no
// connection is open.
func (e *Endpoint) RTT(t Target, protocol string) time.Duration {
	e.mu.Lock()
	p := e.paths[pathKey{t, protocol}]
	e.mu.Unlock()
	if p == nil {
		return 0
	}
	return p.stats().RTT
}
