package federation

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/transport"
)

// The circuit breaker. A call that fails, or calls that wait without an answer
// of any kind, only cast doubt on a server: a probe of our own decides, so that
// neither slow work nor the short patience of a caller opens it. A datacenter's
// breaker is open while those of all its servers are. Then calls fail at once,
// and probes on their own schedule find out when the servers answer again.
const (
	// lateTrips is how many round trips calls may wait without an answer of the
	// server before it is probed; lateLeast is the least.
	lateTrips = 5
	lateLeast = time.Second
	// probeTrips bounds a probe, which any server answers at once: QUIC sends a
	// lost request again within two round trips. probeLeast is the least,
	// probeMost the most.
	probeTrips = 4
	probeLeast = time.Second
	probeMost  = 3 * time.Second
	// probeEvery is the time between probes of an open server that gossip holds
	// alive; one that failed there is probed ever more rarely, up to probeSlow.
	probeEvery = time.Second
	probeSlow  = 30 * time.Second
	// freshFor is how long an answer outweighs that gossip holds the server dead.
	freshFor = 2 * time.Second
	// watchEvery is how often servers are looked at.
	watchEvery = 200 * time.Millisecond
)

// health is what calls and probes show of one server. It outlives tables.
type health struct {
	lastAnswer   atomic.Int64 // when an answer of any kind came last, Unix ns
	waiting      atomic.Int64 // calls that wait for an answer, blocking reads left out
	waitingSince atomic.Int64 // when the first call after lastAnswer began, Unix ns
	roundTrip    atomic.Int64 // round trip when it was last looked at, ns; 0 while unknown
	open         atomic.Bool  // the server's breaker: it is not asked
	doubt        atomic.Bool  // a call failed since the last answer
	probing      atomic.Bool

	mu    sync.Mutex
	alive bool                                  // says gossip
	next  time.Time                             // probe, while open
	pause time.Duration                         // until the one after
	err   error                                 // why the last call or probe failed
	reads map[*context.CancelCauseFunc]struct{} // in progress; bounded as calls in flight are
}

// errBreakerOpen ends reads whose server turns out not to answer.
var errBreakerOpen = errors.New("the server answers nothing")

// member is a server of a table with its health.
type member struct {
	target transport.Target
	damped bool // it failed again and again of late
	*health
}

// began and ended frame a call.
func (h *health) began() {
	h.waiting.Add(1)
	if h.waitingSince.Load() <= h.lastAnswer.Load() {
		h.waitingSince.Store(time.Now().UnixNano())
	}
}

func (h *health) ended() { h.waiting.Add(-1) }

// answered notes that the server lives.
func (h *health) answered() {
	h.lastAnswer.Store(time.Now().UnixNano())
	if h.doubt.Load() {
		h.doubt.Store(false)
	}
	if h.open.Load() {
		h.open.Store(false)
		h.mu.Lock()
		h.pause = 0
		h.mu.Unlock()
	}
}

// failed notes that a call did not get through.
func (h *health) failed(err error) {
	h.mu.Lock()
	h.err = err
	h.mu.Unlock()
	h.doubt.Store(true)
}

// late reports whether calls wait for a server of which nothing is heard.
func (h *health) late(now time.Time, patience time.Duration) bool {
	return h.waiting.Load() > 0 && now.UnixNano()-max(h.lastAnswer.Load(), h.waitingSince.Load()) > int64(patience)
}

// gossip notes what the WAN pool says of the server. One that failed there is
// not asked until a probe gets through, but if it answered just now: then a
// probe decides, since gossip is the first to fail on a busy machine. One that is
// back is probed at once.
func (h *health) gossip(alive, known bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known && alive == h.alive {
		return
	}
	h.alive, h.next, h.pause = alive, now, 0
	switch {
	case alive:
	case h.fresh(now):
		h.doubt.Store(true)
	default:
		h.open.Store(true)
	}
}

// fresh reports whether the server answered just now.
func (h *health) fresh(now time.Time) bool {
	return now.UnixNano()-h.lastAnswer.Load() < int64(freshFor)
}

// probeDue reports whether a probe of the server is.
func (h *health) probeDue(now time.Time, patience time.Duration) bool {
	if h.probing.Load() {
		return false
	}
	if !h.open.Load() {
		return h.doubt.Load() || h.late(now, patience)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return !now.Before(h.next)
}

// openBreaker opens the server's breaker after a probe that got no answer.
func (h *health) openBreaker(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.alive || h.pause == 0:
		h.pause = probeEvery
	default:
		h.pause = min(2*h.pause, probeSlow)
	}
	h.next = now.Add(h.pause)
	h.open.Store(true)
	for end := range h.reads {
		(*end)(errBreakerOpen)
	}
}

// whileClosed returns a context for a read that ends when the breaker opens: what
// waits for the server then may as well ask another. ok is false if it is open.
func (h *health) whileClosed(ctx context.Context) (_ context.Context, done func(), ok bool) {
	ctx, end := context.WithCancelCause(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open.Load() {
		end(errBreakerOpen)
		return ctx, nil, false
	}
	if h.reads == nil {
		h.reads = map[*context.CancelCauseFunc]struct{}{}
	}
	h.reads[&end] = struct{}{}
	return ctx, func() {
		h.mu.Lock()
		delete(h.reads, &end)
		h.mu.Unlock()
		end(nil)
	}, true
}

// probeLoop probes servers that are doubted or not asked.
func (r *Router) probeLoop(ctx context.Context) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		for _, dc := range r.table.Load().datacenters {
			for _, m := range dc.members {
				r.probeIfDue(dc, m)
			}
			r.noteBreaker(dc)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-r.kick:
		}
	}
}

// noteBreaker counts and tells when a datacenter's breaker opens and closes. Only
// probeLoop calls it.
func (r *Router) noteBreaker(dc *datacenter) {
	broken, now := dc.broken(), time.Now()
	if dc.load.wasBroken.Swap(broken) == broken {
		return
	}
	log := r.log.With("peer_datacenter", dc.name, "servers", len(dc.members))
	if !broken {
		log.Info("datacenter is reached again", "took", now.Sub(time.Unix(0, dc.load.brokenAt.Load())))
		return
	}
	dc.load.brokenAt.Store(now.UnixNano())
	r.metrics.broke(dc.name)
	log.Warn("datacenter is cut off: none of its servers answers", dc.cutReason())
}

// cutReason is why none of the servers is taken to answer.
func (d *datacenter) cutReason() slog.Attr {
	if err := d.lastError(); err != nil {
		return slog.Any("error", err)
	}
	return slog.String("why", "gossip holds them failed")
}

// lastError is an error of a server's last call that did not get through; nil if
// none did not: gossip alone says that they failed.
func (d *datacenter) lastError() error {
	for _, m := range d.members {
		m.mu.Lock()
		err := m.err
		m.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// probeIfDue probes one server if that is due, and the others with it that are asked: a
// call that moves on to the next should not be the first to learn of that one.
func (r *Router) probeIfDue(dc *datacenter, m member) {
	rtt := r.cfg.Transport.RTT(m.target, rpc.Protocol)
	m.roundTrip.Store(int64(rtt))
	if !m.probeDue(time.Now(), max(lateLeast, lateTrips*rtt)) {
		return
	}
	r.spawnProbe(dc, m, rtt)
	if m.open.Load() {
		return
	}
	for _, other := range dc.members {
		if !other.open.Load() {
			r.spawnProbe(dc, other, r.cfg.Transport.RTT(other.target, rpc.Protocol))
		}
	}
}

// spawnProbe probes one server unless it is being probed.
func (r *Router) spawnProbe(dc *datacenter, m member, rtt time.Duration) {
	if !m.probing.CompareAndSwap(false, true) {
		return
	}
	err := r.group.Spawn("probe", func(ctx context.Context) {
		defer m.probing.Store(false)
		ctx, cancel := context.WithTimeout(ctx, min(max(probeLeast, probeTrips*rtt), probeMost))
		defer cancel()
		r.probe(ctx, dc, m)
	})
	if err != nil {
		m.probing.Store(false)
	}
}

// probe asks one server for what every server answers by itself at once. Any
// answer counts, an error of the server's as well.
func (r *Router) probe(ctx context.Context, dc *datacenter, m member) {
	before := m.lastAnswer.Load()
	call := op.NewCall(r.cfg.Ping, op.Header{Datacenter: dc.name}, &op.Empty{})
	_, err := rpc.Send(ctx, observedTransport{Transport: r.cfg.Transport, router: r, dc: dc, probe: true}, m.target, call)
	ok := m.lastAnswer.Load() != before
	r.metrics.probed(dc.name, ok)
	if ok || r.group.Context().Err() != nil {
		return
	}
	m.openBreaker(time.Now())
	m.failed(err)
	r.log.Debug("server of another datacenter does not answer", "peer_datacenter", dc.name, "server", m.target.Name, "error", err)
}

// broken reports whether the datacenter's breaker is open: none of its servers
// is to be asked.
func (d *datacenter) broken() bool {
	for _, m := range d.members {
		if !m.open.Load() {
			return false
		}
	}
	return true
}

// Breaker is the state of a circuit breaker.
type Breaker string

// The states of a breaker.
const (
	Closed   Breaker = "closed"    // calls are made
	Open     Breaker = "open"      // calls fail at once
	HalfOpen Breaker = "half-open" // as open, and a probe is under way
)

func (d *datacenter) breaker() Breaker {
	if !d.broken() {
		return Closed
	}
	for _, m := range d.members {
		if m.probing.Load() {
			return HalfOpen
		}
	}
	return Open
}

// wake has the servers looked at now.
func (r *Router) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}
