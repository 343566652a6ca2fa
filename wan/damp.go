package wan

import (
	"log/slog"
	"math"
	"sync"
	"time"
)

// A server that fails and comes back again and again is damped, as unstable
// routes are in BGP (RFC 2439): each failure adds one to its penalty, which
// halves each dampHalfLife. It is damped from dampAbove on and until the
// penalty has fallen below dampBelow. Three failures within minutes are no
// accident; after the last of them the server has been stable for eight
// minutes when it is trusted again, after many of them for thirteen.
const (
	dampHalfLife = 5 * time.Minute
	dampAbove    = 2.5
	dampBelow    = 1
	dampMost     = 6 // of the penalty: it bounds how long a server stays damped
	// dampedServers bounds how many servers have a penalty.
	dampedServers = 4096
)

// damper keeps the penalties of servers. It is safe for concurrent use.
type damper struct {
	log     *slog.Logger
	metrics *poolMetrics

	mu        sync.Mutex
	penalties map[string]*penalty // by name in the pool
}

type penalty struct {
	value  float64 // at the time at
	at     time.Time
	damped bool
	since  int // failures since it was damped
}

func newDamper(log *slog.Logger, m *poolMetrics) *damper {
	return &damper{log: log, metrics: m, penalties: map[string]*penalty{}}
}

func (p *penalty) now(t time.Time) float64 {
	return p.value * math.Exp2(-t.Sub(p.at).Seconds()/dampHalfLife.Seconds())
}

// failed notes a failure.
func (d *damper) failed(name string, at time.Time) {
	d.metrics.flapped(datacenterOf(name))
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.penalties[name]
	if p == nil {
		d.sweep(at)
		if len(d.penalties) >= dampedServers {
			return
		}
		p = &penalty{}
		d.penalties[name] = p
	}
	p.value, p.at = min(p.now(at)+1, dampMost), at
	p.since++
	if !p.damped && p.value >= dampAbove {
		p.damped, p.since = true, 0
		d.metrics.damped(datacenterOf(name), 1)
		d.log.Warn("server fails and comes back again and again: it is asked last until it is stable", "server", name)
	}
}

// isDamped tells whether a server is damped.
func (d *damper) isDamped(name string, at time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.penalties[name]
	if p == nil {
		return false
	}
	d.settle(name, p, at)
	return p.damped
}

// settle ends what is over.
func (d *damper) settle(name string, p *penalty, at time.Time) {
	if p.now(at) >= dampBelow {
		return
	}
	if p.damped {
		p.damped = false
		d.metrics.damped(datacenterOf(name), -1)
		d.log.Info("server is stable again", "server", name, "failures_since", p.since)
	}
	if p.now(at) < dampBelow/16. {
		delete(d.penalties, name)
	}
}

func (d *damper) sweep(at time.Time) {
	for name, p := range d.penalties {
		d.settle(name, p, at)
	}
}

// forget drops the penalty of a server that is no member any more.
func (d *damper) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.penalties[name]; p != nil && p.damped {
		d.metrics.damped(datacenterOf(name), -1)
	}
	delete(d.penalties, name)
}
