package fanout

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/legate-project/legate/op"
)

// part is what one datacenter says to a question. It is guarded by asking.mu, but
// for what its goroutine was started with.
type part struct {
	end   context.CancelFunc
	began time.Time
	round int // of deciding, in which it was wanted last
	// patience is how long it is waited for before the next in an order is asked.
	patience time.Duration

	reply  *op.Reply // its last result
	meta   op.Meta   // of that, or of what was said since
	heard  time.Time
	err    error // why there is none
	failed int   // attempts in a row
}

// want returns the part of a datacenter, which it begins to ask if it does not yet.
func (a *asking) want(dc string, o op.Queryable, request any) *part {
	key := partKey{dc, o.OpName(), request == a.request}
	p := a.parts[key]
	if p == nil {
		p = &part{}
		a.parts[key] = p
	}
	p.round = a.round
	if p.end == nil {
		a.begin(p, dc, o, request)
	}
	return p
}

// begin asks a datacenter, unless there is no room for that now.
func (a *asking) begin(p *part, dc string, o op.Queryable, request any) {
	p.err, p.began, p.patience = nil, time.Now(), stagger
	if a.now && dc == a.caller.cfg.Datacenter { // it answers without its leader, if a little later
		p.patience += localDeadline
	}
	if a.caller.parts.Add(1) > maxParts {
		a.caller.parts.Add(-1)
		p.err = op.Errorf(op.CodeBusy, "too many datacenters are being asked at once")
		return
	}
	ctx, end := context.WithCancel(a.ctx)
	err := a.caller.group.Spawn("part", func(context.Context) {
		defer a.caller.parts.Add(-1)
		a.follow(ctx, p, dc, o, request)
	})
	if err != nil {
		a.caller.parts.Add(-1)
		end()
		p.err = op.ErrStopping
		return
	}
	p.end = end
}

// follow keeps a part current until ctx ends.
func (a *asking) follow(ctx context.Context, p *part, dc string, o op.Queryable, request any) {
	h := op.Header{Datacenter: dc, Consistency: op.Cached, Hops: a.call.Header.Hops}
	source := a.caller.there
	if dc == a.caller.cfg.Datacenter {
		h.Datacenter, h.Near, source = "", a.call.Header.Near, a.caller.cfg.Local
		if a.now {
			a.local(ctx, p, o, request)
			return
		}
	}
	for ctx.Err() == nil {
		err := source.Subscribe(ctx, op.NewCall(o, h, request), func(r *op.Reply) error { a.heard(p, r); return nil })
		if ctx.Err() != nil {
			return
		}
		a.lost(p, err)
		t := time.NewTimer(reaskAfter/2 + rand.N(reaskAfter))
		select {
		case <-ctx.Done():
			t.Stop()
		case <-t.C:
		}
	}
}

// local asks this datacenter as the caller wants it to be asked; if it cannot
// answer so, with what this server has.
func (a *asking) local(ctx context.Context, p *part, o op.Queryable, request any) {
	h := a.call.Header
	h.Datacenter, h.MinIndex, h.MaxWait = "", 0, 0
	patient, stop := context.WithTimeout(ctx, localDeadline)
	r, err := a.caller.cfg.Local.Do(patient, op.NewCall(o, h, request))
	stop()
	if err != nil && ctx.Err() == nil && (op.CodeOf(err).Retry() != op.RetryNever || errors.Is(err, context.DeadlineExceeded)) {
		h.Consistency, h.MaxAge, h.MustCurrent = op.Cached, 0, false
		r, err = a.caller.cfg.Local.Do(ctx, op.NewCall(o, h, request))
	}
	if err != nil {
		a.lost(p, err)
		return
	}
	a.heard(p, r)
}

// heard notes a word of a datacenter.
func (a *asking) heard(p *part, r *op.Reply) {
	a.mu.Lock()
	news := p.err != nil || r.Meta.Index > 0 || (p.meta.Age > 0) != (r.Meta.Age > 0)
	p.meta, p.heard, p.err, p.failed = r.Meta, time.Now(), nil, 0
	if r.Meta.Index > 0 {
		p.reply = r
	}
	a.mu.Unlock()
	if news {
		a.signal()
	}
}

// lost notes why a datacenter says nothing any more. What it said last stands
// until the next attempt fails as well, unless it is known to be of no use.
func (a *asking) lost(p *part, err error) {
	a.mu.Lock()
	p.failed++
	switch op.CodeOf(err) {
	case op.CodeLost, op.CodeStopping, op.CodeBusy:
		if p.failed == 1 {
			break
		}
		fallthrough
	default:
		p.reply = nil
	}
	p.err = err
	a.mu.Unlock()
	a.signal()
}

func (a *asking) signal() {
	select {
	case a.moved <- struct{}{}:
	default:
	}
}

// The states of a part.
type state uint8

const (
	pending state = iota
	answered
	failed
)

func (p *part) state() state {
	switch {
	case p.reply != nil:
		return answered
	case p.err != nil:
		return failed
	}
	return pending
}

// age of what a part says; 0 if it is current.
func (p *part) age(now time.Time) time.Duration {
	age := p.meta.Age
	if p.meta.LastContact > op.LeaderSilence {
		age = max(age, p.meta.LastContact)
	}
	if age > 0 {
		age += now.Sub(p.heard)
	}
	return age
}
