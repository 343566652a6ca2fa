package server

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/access"
	"github.com/legate-project/legate/server/results"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

const (
	// maxFollowed bounds the subscriptions to results of this datacenter.
	maxFollowed = 16384
	// leaderLost is after how long without its leader this server ends
	// subscriptions of those who would rather follow one that hears it.
	leaderLost = 2 * op.LeaderSilence
)

var _ op.Subscriber = (*Server)(nil)

// rights says what who follows may see. It is asked for each push: a subscription
// may outlive its token.
// The channel is closed when that may have changed; nil never is.
type rights func() (rules.Authorizer, <-chan struct{}, error)

func everything() (rules.Authorizer, <-chan struct{}, error) { return rules.AllowAll(), nil, nil }

// together is everything for as long as the datacenter that follows filters by what this
// one does.
func (s *Server) together(follower, home string) rights {
	if !s.access.Enabled() {
		return everything
	}
	return func() (rules.Authorizer, <-chan struct{}, error) {
		changed := s.copies.Changed()
		return rules.AllowAll(), changed, s.copies.Lost(follower, home)
	}
}

// errRights ends a subscription: what was pushed is no more what its token may see.
var errRights = op.Errorf(op.CodeDenied, "the rights of the token have changed")

// Subscribe implements op.Subscriber for agents of this datacenter: they get
// what their token may see.
func (s *Server) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	call = s.withoutFederation(call)
	token, dc := call.Header.Token, call.Header.Datacenter
	return s.subscribe(ctx, call, func() (rules.Authorizer, <-chan struct{}, error) {
		a, _, err := s.authorizer(token, dc)
		if err != nil {
			return nil, nil, err
		}
		changed, err := s.access.Changed(token)
		return a, changed, err
	}, push)
}

// Relayed is where another server of this datacenter follows results of a datacenter
// that it does not know itself: unfiltered, for what it hands on is filtered there.
func (s *Server) Relayed() op.Subscriber { return relayed{s} }

type relayed struct{ s *Server }

// Subscribe implements op.Subscriber.
func (r relayed) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	if dc := call.Header.Datacenter; dc == "" || dc == r.s.cfg.Datacenter || op.IsFanOut(dc) {
		return op.Errorf(op.CodeInvalid, "only results of another datacenter are passed on")
	}
	return r.s.subscribe(ctx, call, everything, push)
}

// WANSource is where servers of other datacenters follow results of this one:
// unfiltered, for what they hand on is filtered there.
func (s *Server) WANSource() op.Subscriber { return between{s} }

type between struct{ s *Server }

// Subscribe implements op.Subscriber.
func (b between) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	if dc := call.Header.Datacenter; dc != "" && dc != b.s.cfg.Datacenter {
		return &op.Error{Code: op.CodeUnknownDatacenter, Datacenter: dc, Text: "this server is of datacenter " + b.s.cfg.Datacenter}
	}
	if b.s.access.Enabled() && !call.Header.Filters {
		return op.Errorf(op.CodeUnsupported, "datacenter %s controls access, and the one that asks does not (acl.enabled): it is shown only what a token may see, when it is asked", b.s.cfg.Datacenter)
	}
	if call.Operation.OpName() == acl.Follow.Name { // who follows that is about to have the same
		return b.s.followGlobal(ctx, call, push)
	}
	follower, home := op.FollowerOf(ctx), call.Header.FiltersBy
	if b.s.access.Enabled() {
		if err := b.s.copies.Agrees(follower, home); err != nil {
			return err
		}
	}
	switch call.Operation.OpName() {
	case replication.Follow.Name:
		return b.s.followKeys(ctx, call, b.s.together(follower, home), push)
	case catalog.GetDigest.Name:
		return b.s.followDigest(ctx, call, b.s.together(follower, home), push)
	}
	return b.s.subscribe(ctx, call, b.s.together(follower, home), push)
}

// Local is this datacenter as this server alone answers for it, to be asked and
// followed without a caller's limits: what is answered is filtered by who asked
// for it.
func (s *Server) Local() Local { return Local{s} }

// Local is a Caller and a Subscriber.
type Local struct{ s *Server }

var (
	_ op.Caller     = Local{}
	_ op.Subscriber = Local{}
)

// Do implements op.Caller. What the leader must answer it filters by the token.
func (h Local) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	return h.s.hold(ctx, call, rules.AllowAll())
}

// Subscribe implements op.Subscriber.
func (h Local) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	return h.s.subscribe(ctx, call, everything, push)
}

func (s *Server) subscribe(ctx context.Context, call *op.Call, who rights, push func(*op.Reply) error) error {
	o, ok := call.Operation.(op.Queryable)
	if !ok {
		return op.Errorf(op.CodeUnsupported, "%s cannot be followed", call.Operation.OpName())
	}
	request, err := call.Request()
	if err != nil {
		return err
	}
	may := func() (rules.Authorizer, <-chan struct{}, error) {
		a, changed, err := who()
		if err != nil {
			return nil, nil, err
		}
		return a, changed, o.Allow(a, request)
	}
	first, _, err := may()
	if err != nil {
		return err
	}
	now := func() (rules.Authorizer, <-chan struct{}, error) { // as long as that is what it began with
		a, changed, err := may()
		if err == nil && !access.Same(a, first) {
			err = errRights
		}
		return a, changed, err
	}
	dc := call.Header.Datacenter
	if dc == "" || dc == s.cfg.Datacenter {
		if !s.followed.TryAcquire() {
			return op.Errorf(op.CodeBusy, "server has %d subscriptions, its limit", s.followed.Max())
		}
		defer s.followed.Release()
		f := following{s: s, o: o, call: call, request: request, now: now, push: push}
		return f.run(ctx)
	}
	if s.views == nil {
		return &op.Error{Code: op.CodeUnknownDatacenter, Text: "No path to datacenter", Datacenter: dc}
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if err := s.guard(ctx, end, now); err != nil {
		return err
	}
	err = s.views.Subscribe(ctx, call, func(r *op.Reply) error {
		a, _, err := now()
		if err != nil {
			return err
		}
		if r, err = s.shown(o, a, r); err != nil {
			return err
		}
		return push(r)
	})
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}

// guard ends a subscription to another datacenter as soon as its rights are others: what
// it follows may say nothing for seconds.
func (s *Server) guard(ctx context.Context, end context.CancelCauseFunc, now rights) error {
	_, changed, err := now()
	if err != nil || changed == nil {
		return err
	}
	err = s.group.Spawn("rights of a subscription", func(stopping context.Context) {
		var err error
		for err == nil {
			select {
			case <-changed:
				_, changed, err = now()
			case <-stopping.Done():
				err = op.ErrStopping
			case <-ctx.Done():
				return
			}
		}
		end(err)
	})
	if err != nil {
		return op.ErrStopping
	}
	return nil
}

// shown is the reply without what the caller may not see.
func (s *Server) shown(o op.Queryable, a rules.Authorizer, r *op.Reply) (*op.Reply, error) {
	if rules.Unlimited(a) || r.Meta.Index == 0 {
		return r, nil
	}
	result, err := r.Result(o)
	if err != nil {
		return nil, err
	}
	shown, filtered := o.Hide(a, result)
	if !filtered {
		return r, nil
	}
	m := r.Meta
	m.Filtered = true
	return op.NewReply(m, shown), nil
}

// following is one subscription to a result of this datacenter.
type following struct {
	s       *Server
	o       op.Queryable
	call    *op.Call
	request any
	now     rights // its error ends it: what it began with is no more what it may see
	push    func(*op.Reply) error
}

// run pushes the result whenever it is another one. While push takes its time
// nothing is read: what comes next is the newest then.
func (f *following) run(ctx context.Context) error {
	beat := time.NewTimer(0)
	defer beat.Stop()
	<-beat.C
	beat.Reset(heartbeat())
	var last uint64
	for {
		a, revoked, err := f.now()
		if err != nil {
			return err
		}
		if f.call.Header.MustCurrent && f.s.leaderSilence() > leaderLost {
			return op.ErrNoLeader
		}
		res, err := f.s.results.Of(f.o, f.call, f.request)
		if errors.Is(err, storage.ErrClosed) {
			return op.ErrStopping
		}
		if err != nil {
			return err
		}
		if err := f.tell(res, a, &last); err != nil {
			res.Release()
			return err
		}
		for same := true; same; {
			select {
			case <-res.Watch.Changed():
				same = false
			case <-revoked:
				_, revoked, err = f.now()
			case <-beat.C:
				beat.Reset(heartbeat())
				if _, revoked, err = f.now(); err == nil { // a token may have ended, which changes nothing stored
					err = f.beat()
				}
			case <-ctx.Done():
				err = ctx.Err()
			case <-f.s.group.Context().Done():
				err = op.ErrStopping
			}
			if err != nil {
				res.Release()
				return err
			}
		}
		res.Release()
	}
}

// beat pushes that nothing has changed.
func (f *following) beat() error {
	m := f.s.meta(op.Cached, 0)
	m.Index = 0
	if err := f.push(op.NewReply(m, nil)); err != nil {
		return err
	}
	if f.call.Header.MustCurrent && f.s.leaderSilence() > leaderLost {
		return op.ErrNoLeader
	}
	return nil
}

// tell pushes a result unless it is the last one again.
func (f *following) tell(res *results.Result, a rules.Authorizer, last *uint64) error {
	meta := f.s.meta(op.Cached, res.Index)
	if meta.Index == *last {
		return nil
	}
	*last = meta.Index
	reply, err := f.s.reply(meta, res.For(f.o, a), f.call.Header.Near)
	if err != nil {
		return err
	}
	return f.push(reply)
}

// heartbeat is the time to the next one.
func heartbeat() time.Duration { return op.Heartbeat - op.Heartbeat/10 + rand.N(op.Heartbeat/5) }

// leaderSilence is how long this server has not heard its leader.
func (s *Server) leaderSilence() time.Duration { return s.meta(op.Stale, 0).LastContact }

// toDatacenter asks another datacenter. What comes from a view holds what everybody may
// see: the caller is asked about here.
func (s *Server) toDatacenter(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if s.remote == nil {
		return nil, &op.Error{Code: op.CodeUnknownDatacenter, Text: "No path to datacenter", Datacenter: call.Header.Datacenter}
	}
	o, ok := call.Operation.(op.Queryable)
	kept := ok && (call.Header.Consistency == op.Cached || call.Header.MinIndex > 0)
	token := call.Header.Token
	a, show, err := s.authorizer(token, call.Header.Datacenter)
	switch {
	case err != nil && (kept || op.IsFanOut(call.Header.Datacenter)):
		return nil, err
	case show != token:
		c := *call
		c.Header.Token = show
		call = &c
	}
	if op.IsFanOut(call.Header.Datacenter) {
		if spread, ok := call.Operation.(op.FanOutable); !ok || !spread.FansOut() {
			return nil, op.Errorf(op.CodeInvalid, "%s cannot be asked of several datacenters (%q): name one", call.Operation.OpName(), call.Header.Datacenter)
		}
	} else if !kept { // who owns the answer decides
		return s.remote.Do(ctx, call)
	}
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	if err := o.Allow(a, request); err != nil {
		return nil, err
	}
	reply, err := s.remote.Do(ctx, call)
	if err != nil {
		return nil, err
	}
	if call.Header.MinIndex > 0 { // rights may have changed meanwhile
		if a, _, err = s.authorizer(call.Header.Token, call.Header.Datacenter); err == nil {
			err = o.Allow(a, request)
		}
		if err != nil {
			return nil, err
		}
	}
	result := reply.Lasting()
	if reply, err = s.shown(o, a, reply); err == nil {
		reply.While(s.lasting(token, call.Header.Datacenter, a, result))
	}
	return reply, err
}

// authorizer answers for who shows the secret where a call is answered: here, in
// another datacenter, or in several. The secret that it returns is the one to show there.
func (s *Server) authorizer(secret, dc string) (rules.Authorizer, string, error) {
	switch {
	case dc == "" || dc == s.cfg.Datacenter:
		a, err := s.access.Authorizer(secret)
		return a, secret, err
	case op.IsFanOut(dc) && s.remote != nil:
		return s.access.Everywhere(secret, s.remote.Datacenters())
	}
	return s.access.Elsewhere(secret, dc)
}

// anywhere reports whether any server may answer the read, this one as it is
// now.
func (s *Server) anywhere(h *op.Header) bool {
	switch h.Consistency {
	case op.Stale:
		return h.MaxStale == 0 || s.raft.LastContact() <= h.MaxStale
	case op.Cached:
		age := s.leaderSilence()
		return age <= op.LeaderSilence || !h.MustCurrent && (h.MaxAge == 0 || age <= h.MaxAge)
	}
	return false
}

// local makes the meta of a read that any server may answer.
func (s *Server) local(h *op.Header, anywhere bool, index uint64) op.Meta {
	m := s.meta(h.Consistency, index)
	switch {
	case !anywhere && (h.Consistency == op.Stale || h.Consistency == op.Cached):
		m.Consistency = op.Default
	case h.Consistency == op.Cached: // this server holds all there is
		m.Hit = true
		if m.LastContact > op.LeaderSilence {
			m.Age = m.LastContact
		}
	}
	return m
}
