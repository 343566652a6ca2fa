package federation

import (
	"context"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/feed"
	"github.com/legate-project/legate/transport"
)

// Subscriber is where results of other datacenters are followed, over the
// endpoint on which the router's calls go.
func (r *Router) Subscriber(via feed.Opener) op.Subscriber { return &subscriber{r, via} }

type subscriber struct {
	r   *Router
	via feed.Opener
}

// Subscribe implements op.Subscriber. For who holds a result already, a
// datacenter whose breakers are all open is tried at one server in turn: it may
// be back before a probe says so.
func (s *subscriber) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	name := call.Header.Datacenter
	dc, err := s.r.find(name)
	if err != nil {
		return err
	}
	targets := dc.order()
	if n := uint64(len(dc.members)); len(targets) == 0 && n > 0 && call.Header.MinIndex > 0 {
		targets = []transport.Target{dc.members[dc.load.roundRobin.Add(1)%n].target}
	}
	if len(targets) > maxAttempts {
		targets = targets[:maxAttempts]
	}
	if s.r.cfg.Filters != nil {
		c := *call
		c.Header.FiltersBy, c.Header.Filters = s.r.cfg.Filters()
		call = &c
	}
	began := false
	err = feed.FollowEach(ctx, s.via, targets, call, feed.Sink{
		Push:   func(reply *op.Reply) error { began = true; return push(reply) },
		Failed: func(t transport.Target) { dc.load.suspect(t.NodeID) },
	})
	if !began && (len(targets) == 0 || unreachable(err, op.KindRead)) {
		s.r.log.Debug("datacenter cannot be followed", "peer_datacenter", name, "error", err)
		return &op.Error{Code: op.CodeUnreachableDatacenter, Text: noPath, Datacenter: name}
	}
	return err
}
