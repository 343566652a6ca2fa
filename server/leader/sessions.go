package leader

import (
	"context"
	"errors"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

// Periods of the leader's care for sessions.
const (
	settlePeriod = time.Second            // how late keys begin to be written that a session has let go
	sessionTick  = 250 * time.Millisecond // how late a TTL may be noticed
	sessionScan  = time.Second            // how often new sessions are looked for, while there are any
	passPeriod   = 5 * time.Second        // how often lock-delays that are over are forgotten, and the axis is noted
	// sessionGap is how long this process may have stood still before it gives
	// every session its whole time again: nobody could renew meanwhile.
	sessionGap = 2 * time.Second
)

// graceTTLs is how many TTLs a session lives without being renewed: a TTL is a
// lower bound.
const graceTTLs = 2

// readAxis begins the reign's clock where the state's axis of time stands.
func (d *Duties) readAxis(r *reign) error {
	v := d.cfg.State.View()
	at, err := session.Reached(v)
	r.axis, r.began = at, time.Now()
	return errors.Join(err, v.Close())
}

// clock is op.Leader.Clock: 0, which is always too early rather than too late,
// outside a reign.
func (d *Duties) clock() time.Duration {
	r := d.reigning.Load()
	if r == nil {
		return 0
	}
	return r.axis + time.Since(r.began)
}

// sessionLoop counts the TTLs of sessions and ends those that were not renewed.
// It runs while this server leads; each leader begins to count anew.
func (d *Duties) sessionLoop(ctx context.Context, r *reign) {
	defer d.metrics.timed.Set(0)
	var watch *storage.Watch
	var scanned, passed time.Time
	last := time.Now()
	every(ctx, sessionTick, func() {
		now := time.Now()
		if now.Sub(last) > sessionGap {
			r.timers.restart(now)
		}
		if (watch == nil || watch.Stale()) && now.Sub(scanned) >= sessionScan {
			var err error
			if watch, err = d.scanSessions(r, watch, now); err != nil {
				d.log.Warn("look for new sessions", "error", err)
			}
			scanned = now
		}
		d.expireSessions(ctx, r, now)
		if now.Sub(passed) >= passPeriod {
			d.passDelays(ctx)
			passed = now
		}
		d.metrics.timed.Set(float64(r.timers.len()))
		last = time.Now() // the work itself is no gap
	})
	if watch != nil {
		watch.Close()
	}
}

// scanSessions begins to count the TTLs of new sessions and forgets those that
// are gone. It returns a watch that says when to look again.
func (d *Duties) scanSessions(r *reign, old *storage.Watch, now time.Time) (*storage.Watch, error) {
	if old != nil {
		old.Close()
	}
	var list session.Sessions
	watch, err := d.cfg.State.Watch(func(v *storage.View) error {
		var err error
		list, err = session.WithTTL(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.timers.keep(list, now)
	return watch, nil
}

// expireSessions ends the sessions whose time is over, at most MaxExpiries with
// each command. From before the command is proposed a renewal is refused, so
// none is answered and then lost; if the command is not known to have been
// committed, the sessions have their whole time again.
func (d *Duties) expireSessions(ctx context.Context, r *reign, now time.Time) {
	for ctx.Err() == nil {
		due := r.timers.due(now, session.MaxExpiries)
		if len(due) == 0 {
			return
		}
		_, _, err := session.Expire.Call(ctx, d.Self(), op.Header{}, &session.ExpireRequest{Sessions: due, Clock: d.clock()})
		if err != nil {
			r.timers.again(due, time.Now())
			if ctx.Err() == nil {
				d.log.Warn("end sessions whose TTL has passed", "sessions", len(due), "error", err)
			}
			return
		}
		r.timers.ended(due)
		d.metrics.expired.Add(float64(len(due)))
	}
}

// Vouch has sessions without a TTL live on: at that moment the datacenter of their node
// said that it and its checks are there.
func (d *Duties) Vouch(list []session.Expiry, at time.Time) {
	if r := d.reigning.Load(); r != nil {
		r.timers.vouch(list, at)
	}
}

// EndSessions ends sessions, at most session.MaxExpiries, whose node or checks are gone.
func (d *Duties) EndSessions(ctx context.Context, list []session.Expiry) error {
	_, _, err := session.Expire.Call(ctx, d.Self(), op.Header{}, &session.ExpireRequest{Sessions: list, Clock: d.clock()})
	return err
}

// passDelays forgets lock-delays that are over and notes how far time has got,
// as long as there are any.
func (d *Duties) passDelays(ctx context.Context) {
	for ctx.Err() == nil {
		clock := d.clock()
		v := d.cfg.State.View()
		next, err := kv.NextDelay(v)
		if err = errors.Join(err, v.Close()); err == nil && next != nil {
			_, _, err = kv.Pass.Call(ctx, d.Self(), op.Header{}, &kv.PassRequest{Clock: clock})
		}
		if err != nil && ctx.Err() == nil {
			d.log.Warn("forget lock-delays that are over", "error", err)
		}
		// More than one command forgets may be over.
		if err != nil || next == nil || next.Until > clock {
			return
		}
	}
}

// lockLoop is a loop of its own, so that nothing waits for many keys.
func (d *Duties) lockLoop(ctx context.Context) {
	every(ctx, settlePeriod, func() { d.settleLocks(ctx) })
}

// settleLocks writes the keys that sessions of many keys have let go. Others write in
// between: each command takes some keys, and waits for the one before.
func (d *Duties) settleLocks(ctx context.Context) {
	for ctx.Err() == nil {
		v := d.cfg.State.View()
		left, err := kv.Unsettled(v)
		if err = errors.Join(err, v.Close()); err == nil && left {
			_, _, err = kv.Settle.Call(ctx, d.Self(), op.Header{}, &op.Empty{})
		}
		if err != nil && ctx.Err() == nil {
			d.log.Warn("write the keys that sessions have let go", "error", err)
		}
		if err != nil || !left {
			return
		}
	}
}

// renewSession starts the TTL of a session anew. It runs on the leader.
func (d *Duties) renewSession(_ context.Context, h op.Header, req *session.IDRequest) (*session.Session, error) {
	a, err := d.cfg.Authorizer(h.Token)
	if err != nil {
		return nil, err
	}
	r := d.reigning.Load()
	if r == nil {
		return nil, op.ErrNotLeader
	}
	found, err := d.findSession(req.ID)
	if err != nil {
		return nil, err
	}
	if err := rules.Require(a, rules.Session, rules.Write, found.Node); err != nil {
		return nil, err
	}
	if !found.Timed() {
		return found, nil
	}
	switch r.timers.renew(found, time.Now()) {
	case ending:
		return nil, unknownSession(req.ID)
	case begun: // it is new, or it ended since it was found
		return d.findSession(req.ID)
	}
	return found, nil
}

func (d *Duties) findSession(id string) (*session.Session, error) {
	v := d.cfg.State.View()
	found, err := session.Find(v, id)
	if err = errors.Join(err, v.Close()); err != nil {
		return nil, err
	}
	if found == nil {
		return nil, unknownSession(id)
	}
	return found, nil
}

func unknownSession(id string) error {
	return op.Errorf(op.CodeNotFound, "Session id '%s' not found", id)
}
