// Package fanout answers reads that are asked of several datacenters at once: of the
// nearest that has what is asked, of all, of a list, or of the first in an order. It
// scatters the question, gathers what comes, and decides the answer from that.
//
// This datacenter's part comes from this server, that of each other one from what
// is kept and followed of it, so one that cannot be reached still answers, with
// its age. Which datacenter is worth asking says the directory. The answer names
// what became of asking each. Its index only tells whether two answers are the
// same: it is made of the datacenters and indexes that the answer was decided
// from. Answers hold what everybody may see: who hands them on filters them. The
// package keeps none of them.
package fanout

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/directory"
)

// Bounds of answering.
const (
	// maxDatacenters bounds those that one answer is made of, maxParts what is
	// asked or followed of datacenters at once: each is a goroutine.
	maxDatacenters = 256
	maxParts       = 1 << 16
	// partDeadline is how long the answer of a datacenter is waited for when others
	// have answered, lastDeadline when none has: longer than it takes to find that
	// one cannot be reached.
	partDeadline = time.Second
	lastDeadline = 3 * time.Second
	// localDeadline is how long the own leader is waited for before this server
	// answers with what it has.
	localDeadline = partDeadline / 2
	// stagger is how long the first in an order is waited for before the next is
	// asked too.
	stagger = 400 * time.Millisecond
	// reviewEvery is how often it is looked at what comes without an event: that
	// others are nearer, or that one has fallen silent.
	reviewEvery = time.Second
	// reaskAfter is how long after one failed it is asked again, give or take a half.
	reaskAfter = 500 * time.Millisecond
	// usualWait and longestWait bound how long a caller waits for another answer.
	usualWait   = 5 * time.Minute
	longestWait = 10 * time.Minute
)

// Local is the own datacenter, asked without a token's limits.
type Local interface {
	op.Caller
	op.Subscriber
}

// Near orders the other datacenters.
type Near interface {
	// Datacenters lists the other datacenters, nearest first.
	Datacenters() []string
	// Distance is the round trip to one; false while it is unknown.
	Distance(dc string) (time.Duration, bool)
}

// Config says what answers are made of.
type Config struct {
	Datacenter string
	Local      Local
	Near       Near
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Caller answers what is asked of several datacenters. It is safe for concurrent
// use.
type Caller struct {
	cfg       Config
	log       *slog.Logger
	metrics   *metrics
	group     *lifecycle.Group
	there     op.Subscriber
	directory *directory.Directory
	parts     atomic.Int64

	mu      sync.Mutex
	others  []string // by distance; never changed in place
	ordered time.Time
}

var (
	_ op.Caller     = (*Caller)(nil)
	_ op.Subscriber = (*Caller)(nil)
)

// New returns a Caller that answers nothing until Start.
func New(cfg Config) *Caller {
	// Logs and metrics say wide: dashboards and filters of operators know it so.
	c := &Caller{cfg: cfg, log: cfg.Log.With("component", "wide"), group: lifecycle.New("wide")}
	c.metrics = newMetrics(cfg.Registerer, func() float64 { return float64(c.parts.Load()) })
	return c
}

// Start says where results of other datacenters are followed, and what is known
// of their services. It is called once, before the first question.
func (c *Caller) Start(there op.Subscriber, d *directory.Directory) { c.there, c.directory = there, d }

// Stop ends what is being asked and followed.
func (c *Caller) Stop(ctx context.Context) error { return c.group.Stop(ctx) }

// Calls answers what is asked of several datacenters, and hands the rest to next.
func (c *Caller) Calls(next op.Caller) op.Caller {
	return op.CallerFunc(func(ctx context.Context, call *op.Call) (*op.Reply, error) {
		if op.IsFanOut(call.Header.Datacenter) {
			return c.Do(ctx, call)
		}
		return next.Do(ctx, call)
	})
}

// Results lets results of several datacenters be followed, and the rest at next.
func (c *Caller) Results(next op.Subscriber) op.Subscriber { return results{c, next} }

type results struct {
	caller *Caller
	next   op.Subscriber
}

// Subscribe implements op.Subscriber.
func (r results) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	if op.IsFanOut(call.Header.Datacenter) {
		return r.caller.Subscribe(ctx, call, push)
	}
	return r.next.Subscribe(ctx, call, push)
}

// Do implements op.Caller for reads that can be asked of several datacenters. With
// an index it waits for another answer.
func (c *Caller) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	d, err := c.once(ctx, call)
	if err != nil {
		return nil, err
	}
	if call.Header.MinIndex == 0 || d.meta.Index != call.Header.MinIndex {
		return d.reply(), nil
	}
	wait := call.Header.MaxWait
	if wait <= 0 {
		wait = usualWait
	}
	wait = min(wait, longestWait)
	waiting, stop := context.WithTimeout(ctx, wait+wait/16)
	defer stop()
	a, err := c.ask(waiting, call, false)
	if err != nil {
		return nil, err
	}
	defer a.close()
	last := d
	for {
		d, err := a.next(waiting, nil)
		if err == nil && d.meta.Index != call.Header.MinIndex { // as this server has it, which may be behind
			d, err = c.once(waiting, call)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case waiting.Err() != nil:
			return last.reply(), nil
		case err != nil:
			return nil, err
		case d.meta.Index != call.Header.MinIndex:
			return d.reply(), nil
		}
		last = d
	}
}

// once answers with what there is now.
func (c *Caller) once(ctx context.Context, call *op.Call) (*decision, error) {
	a, err := c.ask(ctx, call, true)
	if err != nil {
		return nil, err
	}
	defer a.close()
	return a.next(ctx, nil)
}

// Subscribe implements op.Subscriber.
func (c *Caller) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	a, err := c.ask(ctx, call, false)
	if err != nil {
		return err
	}
	defer a.close()
	beat := time.NewTicker(op.Heartbeat)
	defer beat.Stop()
	var last *decision
	for {
		d, err := a.next(ctx, beat.C)
		if err != nil {
			return err
		}
		same := last != nil && d.meta.Index == last.meta.Index
		if same && !d.due && d.sameStates(last) {
			continue
		}
		var r *op.Reply
		if same {
			m := d.meta
			m.Index = 0
			r = op.NewReply(m, nil)
		} else {
			r = d.reply()
		}
		if last != nil && last.dc != d.dc {
			c.metrics.changes.Inc()
		}
		if err := push(r); err != nil {
			return err
		}
		last = d
	}
}
