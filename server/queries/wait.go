package queries

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/results"
	"github.com/legate-project/legate/state/query"
)

// Pauses of queries that wait for another answer.
const (
	// reaskAfter is how long after a datacenter was lost, or did not answer, it
	// is asked again, give or take a quarter.
	reaskAfter = 500 * time.Millisecond
	// reviewEvery is how often it is looked at whether other datacenters stand in
	// now: because one is new, or another one is nearer.
	reviewEvery = 5 * time.Second
	// lookAgainAfter keeps a server that lags behind another one of its datacenter
	// from being asked without pause.
	lookAgainAfter = 100 * time.Millisecond
)

// wait answers when the index is another one than the caller has, or with what
// there is when the time is over.
func (x *execution) wait(ctx context.Context) (*query.Answer, error) {
	var ends results.Ends
	leads := !x.e.server.Anywhere(&x.h)
	if leads {
		if ends.Reign = x.e.server.Reign(); ends.Reign == nil {
			return nil, op.ErrNotLeader
		}
	}
	timer := time.NewTimer(x.e.server.Wait(x.h.MaxWait))
	defer timer.Stop()
	ends.Time = timer.C
	x.e.metrics.waiting.Inc()
	defer x.e.metrics.waiting.Dec()
	for first := true; ; first = false {
		d, err := x.decide(ctx)
		if err != nil {
			return nil, err
		}
		if d.answer.Meta.Index != x.h.MinIndex {
			d.release()
			return x.vouched(d.answer, leads)
		}
		if !first { // what moved was of no consequence
			pause(ctx, lookAgainAfter)
		}
		again, err := x.await(ctx, d, ends)
		d.release()
		switch {
		case err != nil:
			return nil, err
		case !again:
			return x.vouched(d.answer, leads)
		}
	}
}

// vouched is the answer, unless it is the leader's and this server leads no more.
func (x *execution) vouched(a *query.Answer, leads bool) (*query.Answer, error) {
	if leads && !x.e.server.Leads() {
		return nil, op.ErrNotLeader
	}
	return a, nil
}

// await reports true when the answer may be another one, false when the time is
// over.
func (x *execution) await(ctx context.Context, d *decision, end results.Ends) (bool, error) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	moved := make(chan struct{}, len(d.asked))
	for _, src := range d.asked {
		if err := x.e.cfg.Group.Spawn("query watch", func(context.Context) { x.follow(following, d, src, moved) }); err != nil {
			return false, op.ErrStopping
		}
	}
	review := time.NewTicker(reviewEvery)
	defer review.Stop()
	for {
		select {
		case <-d.query.Watch.Changed():
			return true, nil
		case <-d.here.Watch.Changed():
			return true, nil
		case <-moved:
			return true, nil
		case <-review.C:
			if x.reviewed(d) {
				return true, nil
			}
		case <-end.Time:
			return false, nil
		case <-end.Reign:
			return false, op.ErrNotLeader
		case <-ctx.Done():
			return false, ctx.Err()
		case <-x.e.cfg.Group.Context().Done():
			return false, op.ErrStopping
		}
	}
}

// reviewed reports whether other datacenters stand in than when it was decided.
func (x *execution) reviewed(d *decision) bool {
	return d.failover != nil && !slices.Equal(d.standIns, x.standIns(d.failover))
}

// errMoved ends a subscription that has told what it was for.
var errMoved = errors.New("the datacenter has another answer")

// follow says when a datacenter may have another answer than it had.
func (x *execution) follow(ctx context.Context, d *decision, src source, moved chan<- struct{}) {
	h := x.toward(src.dc, d.token)
	h.MustCurrent = true
	for {
		err := x.e.server.Subscribe(ctx, op.NewCall(&query.Select, h, d.selection), func(r *op.Reply) error {
			if r.Meta.Index == 0 || r.Meta.Index == src.index {
				return nil
			}
			return errMoved
		})
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, errMoved) {
			pause(ctx, reaskAfter-reaskAfter/4+rand.N(reaskAfter/2))
			if src.index == 0 { // as silent as it was
				continue
			}
		}
		moved <- struct{}{}
		return
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
