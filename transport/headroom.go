package transport

import (
	"math"
	"sync"
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
// lossMemory. One is what its connections took for lost; but quic-go does not
// count a packet that it sends again because a timer ran out, as happens where
// few calls are made, and knows nothing of losses that only answers suffer. The
// other is requests that go on two connections, a few each second also while
// all is well: both copies have one answer, so if one comes much later, a packet
// of it was lost, either way.
const (
	lossMemory = 30 * time.Second
	lossSample = 200 * time.Millisecond // between looks at the counters
	// pairEvery is the time between requests that go twice to learn about loss;
	// in lossMemory 1 % makes about twenty copies late.
	pairEvery = 60 * time.Millisecond
	// pairPackets is how many packets a pair has: two requests, two answers.
	pairPackets = 4
	// pairConns is how many connections that takes.
	pairConns = 2
	// lossyAbove and calmBelow are apart so that a path at the edge does not go to
	// and fro. Below 0.3 % fewer than one call in a hundred is late, and the p99
	// needs no help.
	lossyAbove = 0.003
	calmBelow  = 0.001
	lossyLeast = 2  // lost packets are needed to call a path lossy: one is chance
	calmLeast  = 50 // sent packets are needed to call it calm again
)

// traffic counts the bytes of the last span: those of the running span and the
// share that still counts of the one before.
type traffic struct {
	mu     sync.Mutex
	begin  time.Time
	now    int64
	before int64
}

func (t *traffic) roll(at time.Time, span time.Duration) {
	switch passed := at.Sub(t.begin); {
	case passed >= 2*span:
		t.begin, t.now, t.before = at, 0, 0
	case passed >= span:
		t.begin, t.now, t.before = t.begin.Add(span), 0, t.now
	}
}

func (t *traffic) add(at time.Time, span time.Duration, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roll(at, span)
	t.now += int64(n)
}

func (t *traffic) level(at time.Time, span time.Duration) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roll(at, span)
	left := 1 - float64(at.Sub(t.begin))/float64(span)
	return float64(t.now) + max(0, left)*float64(t.before)
}

// span is the round trip over which traffic is counted.
func (c *conn) span() time.Duration {
	return min(max(c.qc.ConnectionStats().SmoothedRTT, time.Millisecond), time.Second)
}

// wrote and came count the bytes of a request and of an answer.
func (c *conn) wrote(n int) { c.sent.add(time.Now(), c.span(), n+perMessage) }
func (c *conn) came(n int)  { c.read.add(time.Now(), c.span(), n+perMessage) }

// underWay is how many bytes are on their way, in the direction in which it is
// more.
func (c *conn) underWay(at time.Time) float64 {
	span := c.span()
	return max(c.sent.level(at, span), c.read.level(at, span))
}

// fill is the used share of the congestion window; above 1 what is sent waits.
func (c *conn) fill(at time.Time) float64 {
	window := c.qc.ConnectionStats().CongestionWindow
	if window == 0 {
		return math.MaxFloat64
	}
	return c.underWay(at) / float64(window)
}

// loss is what a path remembers of packets.
type loss struct {
	at         time.Time
	sent, lost float64
	lossy      bool
}

// seen are a connection's counters when they were looked at last.
type seen struct{ sent, lost uint64 }

// note takes the counters' growth since the last look; p.mu is held.
func (l *loss) note(at time.Time, sent, lost float64) {
	keep := math.Exp(-at.Sub(l.at).Seconds() / lossMemory.Seconds())
	l.at = at
	l.sent = max(0, l.sent*keep+sent)
	l.lost = max(0, l.lost*keep+lost) // what was taken for lost may come after all
	switch share := l.share(); {
	case !l.lossy && share > lossyAbove && l.lost >= lossyLeast:
		l.lossy = true
	case l.lossy && share < calmBelow && l.sent >= calmLeast:
		l.lossy = false
	}
}

func (l *loss) share() float64 {
	if l.sent == 0 {
		return 0
	}
	return min(1, l.lost/l.sent)
}

// measure looks at the counters of the path's connections, not too often; p.mu
// is held.
func (p *path) measure(now time.Time) {
	if now.Sub(p.loss.at) < lossSample {
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
	p.loss.note(now, sent, lost)
}

// choose returns the two connections with the most room, how many are healthy
// and how full they are on average; p.mu is held.
func (p *path) choose(now time.Time) (first, second *conn, healthy int, fill float64) {
	best, next := math.Inf(1), math.Inf(1)
	for c := range p.usable {
		if !c.alive() || c.isSilent() {
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
func (p *path) lossyNow() bool { return p.loss.lossy || p.pairs.lossy }

// pair takes in what a request that went on two connections shows.
func (p *path) pair(late bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lost := 0.0
	if late {
		lost = 1
	}
	p.pairs.note(time.Now(), pairPackets, lost)
}

// load is how many streams are in flight on the path's connections; p.mu is
// held.
func (p *path) load() (n int64) {
	for c := range p.usable {
		n += c.inFlight.Load()
	}
	return n
}
