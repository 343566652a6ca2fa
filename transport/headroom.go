package transport

import (
	"math"
	"time"
)

// Choice among the connections of a path that may lose packets. quic-go says
// how large a congestion window is and not how much of it is in use, so what
// was sent and what came within the last round trip is counted here: that is
// what is under way. The peer's window, which bounds the answers, is not
// known; with the same loss both ways it is about as large as ours.
const (
	// perMessage is what a message costs a window beside its own bytes: a packet's
	// and a stream's overhead, and the acknowledgement.
	perMessage = 60
	// copiesBelow is the used share of its window up to which a connection takes
	// second copies: they must not make first ones wait. moreAbove is the mean
	// share above which another connection is dialled. In a simulation of 512
	// callers over 80 ms with 1 % loss, up to 16 connections with these carried
	// 5,400 to 5,600 calls a second. On 8 with both at 0.5 it was 4,900: calls
	// waited for the windows.
	copiesBelow = 0.3
	moreAbove   = 0.4
	// lossyConns is how many connections a path that loses packets has at
	// least: each loss shrinks one window only.
	lossyConns = 4
)

// Loss of a path is learned from two sources, with the past forgotten over
// counted.LossMemory. One is what its connections took for lost; but quic-go does not
// count a packet that it sends again because a timer ran out, as happens where
// few calls are made, and knows nothing of losses that only answers suffer. The
// other is requests that go on two connections, a few each second also while
// all is well: both copies have one answer, so if one comes much later, a packet
// of it was lost, either way.
const (
	lossSample = 200 * time.Millisecond // between looks at the counters
	// pairEvery is the time between requests that go twice to learn about loss;
	// in counted.LossMemory 1 % makes about twenty copies late.
	pairEvery = 60 * time.Millisecond
	// pairPackets is how many packets a pair has: two requests, two answers.
	pairPackets = 4
	// pairConns is how many connections that takes.
	pairConns = 2
)

// span is the round trip over which traffic is counted.
func (c *conn) span() time.Duration {
	return min(max(c.qc.ConnectionStats().SmoothedRTT, time.Millisecond), time.Second)
}

// wrote and came count the bytes of a request and of an answer.
func (c *conn) wrote(n int) { c.sent.Add(time.Now(), c.span(), n+perMessage) }
func (c *conn) came(n int)  { c.read.Add(time.Now(), c.span(), n+perMessage) }

// underWay is how many bytes are on their way, in the direction in which it is
// more.
func (c *conn) underWay(at time.Time) float64 {
	span := c.span()
	return max(c.sent.Level(at, span), c.read.Level(at, span))
}

// fill is the used share of the congestion window; above 1 what is sent waits.
func (c *conn) fill(at time.Time) float64 {
	window := c.qc.ConnectionStats().CongestionWindow
	if window == 0 {
		return math.MaxFloat64
	}
	return c.underWay(at) / float64(window)
}

// seen are a connection's counters when they were looked at last.
type seen struct{ sent, lost uint64 }

// measure looks at the counters of the path's connections, not too often; p.mu
// is held.
func (p *path) measure(now time.Time) {
	if now.Sub(p.loss.At) < lossSample {
		return
	}
	var sent, lost float64
	for c := range p.usable {
		s := c.qc.ConnectionStats()
		c.seenMu.Lock()
		sent += float64(s.PacketsSent - c.seen.sent)
		lost += float64(int64(s.PacketsLost - c.seen.lost))
		c.seen = seen{s.PacketsSent, s.PacketsLost}
		c.seenMu.Unlock()
	}
	p.loss.Note(now, sent, lost)
}

// choose returns the two connections with the most room, how many are healthy
// and how full they are on average; p.mu is held.
func (p *path) choose(now time.Time) (first, second *conn, healthy int, fill float64) {
	best, next := math.Inf(1), math.Inf(1)
	for c := range p.usable {
		if !c.fit() {
			continue
		}
		f := c.fill(now)
		healthy++
		fill += f
		switch {
		case f < best:
			second, next = first, best
			first, best = c, f
		case f < next:
			second, next = c, f
		}
	}
	if next > copiesBelow {
		second = nil
	}
	return first, second, healthy, fill / float64(max(healthy, 1))
}

// spread picks for a path whose network may lose packets, and sees to it that
// there are connections enough; p.mu is held. second is nil unless a small
// request is to go on both.
func (p *path) spread(load func() int64) (first, second *conn) {
	now := time.Now()
	p.measure(now)
	first, second, healthy, fill := p.choose(now)
	if first == nil {
		return nil, nil
	}
	switch {
	case healthy >= p.size:
	case healthy < pairConns, fill > moreAbove,
		healthy < lossyConns && (p.lossyNow() || load() >= int64(healthy)*p.grow):
		p.dial()
	}
	switch {
	case second == nil, p.lossyNow():
	case now.Sub(p.paired) < pairEvery:
		second = nil
	default:
		p.paired = now
	}
	return first, second
}

// lossyNow reports whether small requests are to go on two connections; p.mu is
// held.
func (p *path) lossyNow() bool { return p.loss.Lossy || p.pairs.Lossy }

// pair takes in what a request that went on two connections shows.
func (p *path) pair(late bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lost := 0.0
	if late {
		lost = 1
	}
	p.pairs.Note(time.Now(), pairPackets, lost)
}

// load is how many streams are in flight on the path's connections; p.mu is
// held.
func (p *path) load() (n int64) {
	for c := range p.usable {
		n += c.inFlight.Load()
	}
	return n
}
