package copies

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/storage"
)

// Bounds of what a follower is told.
const (
	// partOf is how many bytes of records one message has, about: the follower writes it
	// as one command. One record alone can be longer.
	partOf = 256 << 10
	// maxTouched is how many changed records are remembered for a follower that takes
	// its time; beyond, it begins anew.
	maxTouched = 1 << 15
	// patience is how long this server waits to get as far as the follower is.
	patience = 500 * time.Millisecond
	// deaf is how long this server may not have heard its leader.
	deaf = 2 * op.LeaderSilence
)

// source is one follower as the home sees it.
type source struct {
	c    *Copies
	req  *acl.FollowRequest
	best bool // the follower would rather follow the leader
	push func(*op.Reply) error
}

// Serve tells a server of another datacenter what is global here, as long as this
// datacenter is the home that it looks for. Nothing is gathered: a change goes out when
// it is committed.
func (c *Copies) Serve(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	request, err := call.Request()
	if err != nil {
		return err
	}
	s := source{c: c, req: request.(*acl.FollowRequest), best: call.Header.MustCurrent, push: push}
	feed := acl.FollowGlobal(c.cfg.State, maxTouched)
	defer feed.Close()
	if err := s.ready(ctx); err != nil {
		return err
	}
	c.metrics.followers.Inc()
	defer c.metrics.followers.Dec()
	if err := s.whole(feed); err != nil {
		return err
	}
	beat := time.NewTicker(op.Heartbeat - op.Heartbeat/10 + rand.N(op.Heartbeat/5)) // also while much changes
	defer beat.Stop()
	for {
		if err := s.next(ctx, feed, beat.C); err != nil {
			return err
		}
	}
}

// current refuses who looks for another home than this one.
func (s *source) current() error {
	c := s.c
	if !c.cfg.Enabled {
		return acl.ErrDisabled
	}
	// While the role is being given away there is something to be copied still.
	if rec := c.noted(); rec.Datacenter != c.cfg.Datacenter {
		e := acl.Moved(rec.Datacenter)
		e.Datacenter = rec.Datacenter
		return e
	} else if rec.Version < s.req.Version {
		return op.Errorf(op.CodeNoLeader, "server %s has not heard yet that its datacenter is the home", c.cfg.Server)
	}
	// Others hear of a commit up to 100 ms later than the leader.
	if c.cfg.LeaderSilence() > deaf || s.best && !c.cfg.Leads() {
		return op.ErrNoLeader
	}
	return nil
}

// ready waits until this server is as far as the follower is: it must not take it back.
func (s *source) ready(ctx context.Context) error {
	if err := s.current(); err != nil {
		return err
	}
	over := time.After(patience)
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		has := s.c.cfg.State.Index()
		if has >= s.req.Index {
			return nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return op.Errorf(op.CodeNoLeader, "server %s is at index %d and what was copied is of %d: it is behind, or its datacenter has lost data", s.c.cfg.Server, has, s.req.Index)
		}
	}
}

// tell pushes a message.
func (s *source) tell(ch *acl.Changes) error {
	return s.push(op.NewReply(op.Meta{Index: max(ch.Index, 1), KnownLeader: true, Datacenter: s.c.cfg.Datacenter, Consistency: op.Cached, LastContact: s.c.cfg.LeaderSilence()}, ch))
}

// whole tells of everything in which the follower differs.
func (s *source) whole(feed *storage.Changes) error {
	_, _, upTo := feed.TakeUpTo() // the view shows it, and what comes after is told of again
	v := s.c.cfg.State.View()
	err := s.differing(v, upTo)
	return errors.Join(err, v.Close())
}

func (s *source) differing(v *storage.View, upTo uint64) error {
	inv, err := acl.TakeInventory(v)
	if err != nil {
		return err
	}
	buckets, err := inv.Differing(s.req.Sums)
	if err != nil {
		return err
	}
	g := acl.NewGather(partOf, s.tell)
	for _, b := range buckets {
		if err := g.Bucket(b); err != nil {
			return err
		}
	}
	if len(buckets) > 0 {
		if err := g.In(v, buckets); err != nil {
			return err
		}
	}
	begun, err := acl.Bootstrapped(v)
	if err != nil {
		return err
	}
	return g.End(acl.Changes{Index: upTo, Begun: begun})
}

// next waits for something to tell, and tells it.
func (s *source) next(ctx context.Context, feed *storage.Changes, beat <-chan time.Time) error {
	home := s.c.Changed()
	last := acl.Changes{}
	select {
	case <-feed.Ready():
	case <-beat:
		if !s.best && !s.c.cfg.Leads() {
			return op.Errorf(op.CodeNoLeader, "server %s does not lead: its leader tells sooner, and is worth another try", s.c.cfg.Server)
		}
		var err error
		if last.Sum, last.Summed, err = s.c.sums.now(); err != nil {
			return stopping(err)
		}
		select {
		case <-feed.Ready(): // the checksum may be of what was not told yet
			last = acl.Changes{}
		default:
		}
	case <-home:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.current(); err != nil {
		return err
	}
	touched, whole, upTo := feed.TakeUpTo()
	if whole {
		return op.Errorf(op.CodeLost, "more has changed than is remembered: begin anew")
	}
	last.Index = upTo
	v := s.c.cfg.State.View()
	err := s.changes(v, touched, last)
	return stopping(errors.Join(err, v.Close()))
}

func (s *source) changes(v *storage.View, touched map[storage.Changed]struct{}, last acl.Changes) error {
	g := acl.NewGather(partOf, s.tell)
	for ch := range touched {
		if n, ok := acl.ChangedName(ch); ok {
			if err := g.Now(v, n); err != nil {
				return err
			}
		}
	}
	var err error
	if last.Begun, err = acl.Bootstrapped(v); err != nil {
		return err
	}
	return g.End(last)
}

// stopping is what a closed state means to who follows.
func stopping(err error) error {
	if errors.Is(err, storage.ErrClosed) {
		return op.ErrStopping
	}
	return err
}
