// Package clocks compares the clock of a server with those of the servers of its
// datacenter, and with that of one server of each other datacenter.
//
// It measures and shows. Nothing is decided by it, and no clock is set.
package clocks

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
)

const (
	// askTimeout is how long one server may take.
	askTimeout = 2 * time.Second
	// atOnce bounds how many are asked at a time, maxAsked how many of each kind.
	atOnce   = 32
	maxAsked = 256
)

// Config says whose clock it is and whom to ask.
type Config struct {
	Node, NodeID, Datacenter string
	Now                      func() time.Time
	// Servers lists those of this datacenter, To is how one of them is asked.
	Servers func() []lan.Server
	To      func(lan.Server) op.Caller
	// Others lists the other datacenters, Caller asks them.
	Others func() []string
	Caller op.Caller
}

// Clocks answers status.CompareClocks. It is safe for concurrent use.
type Clocks struct{ cfg Config }

// New returns what asks nobody yet.
func New(cfg Config) *Clocks { return &Clocks{cfg} }

// Handler answers the operation.
func (c *Clocks) Handler() op.Handler { return status.CompareClocks.Handle(c.compare) }

func (c *Clocks) compare(ctx context.Context, h op.Header, r *status.ClockRequest) (*status.Clocks, error) {
	out := &status.Clocks{Server: c.cfg.Node, Datacenter: c.cfg.Datacenter, Received: c.cfg.Now(), Others: []status.Clock{}}
	if r.Each {
		out.Others = c.others(ctx, h.Token)
	}
	out.Sent = c.cfg.Now()
	return out, nil
}

// others asks all at once.
func (c *Clocks) others(ctx context.Context, token string) []status.Clock {
	var all []status.Clock
	var asks []func(*status.Clock)
	for _, srv := range c.cfg.Servers() {
		if srv.ID == c.cfg.NodeID || srv.Status != gossip.Alive || len(all) == maxAsked {
			continue
		}
		all = append(all, status.Clock{Server: srv.Name, Datacenter: c.cfg.Datacenter})
		asks = append(asks, func(to *status.Clock) { c.ask(ctx, c.cfg.To(srv), op.Header{Forwarded: true}, to) })
	}
	for i, dc := range c.cfg.Others() {
		if i == maxAsked {
			break
		}
		all = append(all, status.Clock{Datacenter: dc})
		asks = append(asks, func(to *status.Clock) {
			c.ask(ctx, c.cfg.Caller, op.Header{Datacenter: dc, Token: token, Consistency: op.Stale}, to)
		})
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, ask := range asks {
		g.Go(func() error {
			ask(&all[i])
			return nil
		})
	}
	_ = g.Wait() // each says in its row what went wrong
	return all
}

// ask compares with one clock.
func (c *Clocks) ask(ctx context.Context, who op.Caller, h op.Header, to *status.Clock) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	begin := c.cfg.Now()
	got, _, err := status.CompareClocks.Call(ctx, who, h, &status.ClockRequest{})
	end := c.cfg.Now()
	switch {
	case op.CodeOf(err) == op.CodeUnsupported:
		to.Error = "it is of an earlier version, which does not say"
	case err != nil:
		to.Error = err.Error()
	case got == nil:
		to.Error = "it answered nothing"
	default:
		found := got.Beside(begin, end)
		if to.Server == "" {
			to.Server = found.Server
		}
		to.OffsetMS, to.WithinMS = found.OffsetMS, found.WithinMS
	}
}
