package server

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/server/leader"
	"github.com/legate-project/legate/server/listing"
	"github.com/legate-project/legate/server/results"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/transport"
)

// Do implements op.Caller. It is the one way by which anything is asked of
// this server: admit, authenticate, route, execute, record.
func (s *Server) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	start := time.Now()
	ctx, span := tracing.Start(ctx, call.Operation.OpName(), tracing.Server)
	reply, err := s.dispatch(ctx, call)
	s.metrics.record(call, s.label(call.Header.Datacenter), time.Since(start), err)
	if span.Recording() {
		s.trace(span, call, err)
	}
	return reply, err
}

// trace says what was asked of this server, and ends the span of it.
func (s *Server) trace(span tracing.Span, call *op.Call, err error) {
	span.Text("rpc.system", "legate")
	span.Text("rpc.method", call.Operation.OpName())
	span.Text("legate.datacenter", s.label(call.Header.Datacenter))
	span.Text("legate.consistency", call.Header.Consistency.String())
	if call.Header.MinIndex > 0 {
		span.Mark("legate.blocking")
	}
	if err != nil {
		span.Fail(op.ReasonOf(err))
	}
	span.End()
}

// label is a datacenter's name in metrics: what callers invent must not become
// labels.
func (s *Server) label(dc string) string {
	switch {
	case dc == "" || dc == s.cfg.Datacenter:
		return "local"
	case op.IsFanOut(dc):
		return "several"
	case s.remote == nil:
		return "unknown"
	}
	switch i := slices.Index(s.remote.Datacenters(), dc); {
	case i < 0:
		return "unknown"
	case i >= maxDatacenters:
		return "other"
	}
	return dc
}

func (s *Server) dispatch(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if s.group.Context().Err() != nil {
		return nil, op.ErrStopping
	}
	if !s.rates.On() || s.admitted(ctx, call.Operation) {
		return s.answer(ctx, call)
	}
	return nil, op.Errorf(op.CodeBusy, "rate limit exceeded, try again later (limits.request_limits of the server)")
}

// admitted reports whether who asks stays within the rates of this server. What says
// who leads, or that a server is there, is always answered.
func (s *Server) admitted(ctx context.Context, o op.Operation) bool {
	kind := o.OpKind()
	source := op.SourceOf(ctx)
	if source == "" || kind != op.KindRead && kind != op.KindWrite && kind != op.KindDirectRead || strings.HasPrefix(o.OpName(), "status.") {
		return true
	}
	return s.rates.Admit(source, kind == op.KindWrite)
}

// answer has the call answered where it must be.
func (s *Server) answer(ctx context.Context, call *op.Call) (*op.Reply, error) {
	call = s.withoutFederation(call)
	dc := call.Header.Datacenter
	elsewhere := dc != "" && dc != s.cfg.Datacenter
	if !elsewhere || op.IsFanOut(dc) { // federation has bounds for each datacenter: one that hangs costs no local caller
		limit := s.flight
		if call.Header.MinIndex > 0 {
			limit = s.blocked
		}
		if !limit.TryAcquire() {
			return nil, op.Errorf(op.CodeBusy, "server has %d calls in progress, its limit", limit.Max())
		}
		defer limit.Release()
	}
	if elsewhere {
		return s.toDatacenter(ctx, call)
	}
	if call.Header.Forwarded {
		a, err := s.access.Authorizer(call.Header.Token)
		if err != nil {
			return nil, err
		}
		return s.execute(ctx, a, call)
	}
	return s.hold(ctx, call, nil)
}

// withoutFederation is the call as a server asks that knows no other datacenters: its
// own is the nearest, and all there are.
func (s *Server) withoutFederation(call *op.Call) *op.Call {
	spread, ok := call.Operation.(op.FanOutable)
	if dc := call.Header.Datacenter; s.remote != nil || dc != op.Nearest && dc != op.All || !ok || !spread.FansOut() {
		return call
	}
	c := *call
	c.Header.Datacenter = ""
	return &c
}

// briefHold is how long a call of a client agent waits for a leader: this server may be
// cut off from the others, which the agent asks then.
const briefHold = 250 * time.Millisecond

// hold carries the call out, again while the datacenter has no leader and,
// what is safe to repeat, where the leader was lost on the way, up to
// HoldTimeout. Without an Authorizer it is for who shows the call's token.
func (s *Server) hold(ctx context.Context, call *op.Call, a rules.Authorizer) (*op.Reply, error) {
	var deadline time.Time
	for {
		reply, err := s.authenticated(ctx, a, call)
		if err == nil {
			return reply, nil
		}
		if !rpc.Retryable(err, call.Operation.OpKind()) {
			return nil, err
		}
		limit := s.cfg.HoldTimeout
		if call.ByAgent {
			limit = min(limit, briefHold)
		}
		if err := s.pause(ctx, &deadline, limit, err); err != nil {
			return nil, err
		}
	}
}

// authenticated carries the call out for who shows its token, unless an Authorizer is
// given. A token that this server does not know may be one that was made a moment ago:
// the leader knows.
func (s *Server) authenticated(ctx context.Context, a rules.Authorizer, call *op.Call) (*op.Reply, error) {
	if a == nil {
		var err error
		a, err = s.access.Authorizer(call.Header.Token)
		if op.CodeOf(err) == op.CodeDenied && !s.raft.LeaseRead() {
			return s.toLeader(ctx, call)
		}
		if err != nil {
			return nil, err
		}
	}
	return s.execute(ctx, a, call)
}

// pause lets a moment pass before what failed with an error is tried again. It
// returns an error once there is no sense in that any more: the one that it was
// given, after a time from the first pause.
func (s *Server) pause(ctx context.Context, deadline *time.Time, limit time.Duration, err error) error {
	now := time.Now()
	if deadline.IsZero() {
		*deadline = now.Add(limit)
	}
	pause := 20*time.Millisecond + rand.N(60*time.Millisecond)
	if now.Add(pause).After(*deadline) {
		return err
	}
	select {
	case <-ctx.Done():
		return err
	case <-s.group.Context().Done():
		return op.ErrStopping
	case <-s.elected.next():
		return nil
	case <-time.After(pause):
		return nil
	}
}

// execute carries the call out here or hands it to the leader.
func (s *Server) execute(ctx context.Context, a rules.Authorizer, call *op.Call) (*op.Reply, error) {
	switch o := call.Operation.(type) {
	case op.Queryable:
		return s.read(ctx, a, call, o)
	case op.Preparable:
		return s.write(ctx, a, call, o)
	}
	h, ok := s.direct[call.Operation.OpName()]
	if !ok {
		return nil, op.Errorf(op.CodeUnsupported, "operation %q is unknown to this server", call.Operation.OpName())
	}
	if (h.LeaderOnly || call.Operation.OpKind() == op.KindDirectRead && !s.anywhere(&call.Header)) && !s.raft.LeaseRead() {
		return s.toLeader(ctx, call)
	}
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	if err := call.Operation.Allow(a, request); err != nil {
		return nil, err
	}
	result, err := h.Answer(ctx, call.Header, request)
	if err != nil {
		return nil, err
	}
	meta := s.meta(op.Default, 0)
	if d, ok := result.(metaDescriber); ok {
		d.Describe(&meta)
	}
	return op.NewReply(meta, result), nil
}

// metaDescriber is a result that fills in its own meta.
type metaDescriber interface{ Describe(*op.Meta) }

func (s *Server) read(ctx context.Context, a rules.Authorizer, call *op.Call, o op.Queryable) (*op.Reply, error) {
	h := &call.Header
	anywhere := s.anywhere(h)
	if !anywhere && !s.raft.LeaseRead() {
		return s.toLeader(ctx, call)
	}
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	if err := o.Allow(a, request); err != nil {
		return nil, err
	}
	if h.Consistency == op.Consistent {
		if _, err := s.raft.ConfirmLeadership(ctx); err != nil {
			return nil, leader.WireError(err)
		}
	}
	p, inParts := o.(op.Partial)
	if inParts = inParts && p.HasParts() && call.Take != op.TakeWhole; inParts {
		o = listing.Short(p, h.MinIndex > 0)
	}
	res, err := s.query(ctx, a, o, call, !anywhere)
	if errors.Is(err, storage.ErrClosed) {
		return nil, op.ErrStopping
	}
	if err != nil {
		return nil, err
	}
	defer res.Release()
	if h.MinIndex > 0 && rules.Identity(a) != nil { // rights may have changed meanwhile
		if a, err = s.access.Authorizer(h.Token); err == nil {
			err = o.Allow(a, request)
		}
		if err != nil {
			return nil, err
		}
	}
	meta := s.local(h, anywhere, res.Index)
	if listing.IsLong(res.Value) {
		return s.long.Begin(ctx, a, call, p, meta)
	}
	seen := res.For(o, a)
	reply, err := s.reply(meta, seen, h.Near)
	if err == nil && h.Consistency == op.Cached && meta.Hit && meta.Age == 0 && seen.Rendered != nil && h.Near == "" {
		if granted, ok := s.access.Lasting(h.Token, "", a); ok {
			reply.While(&lasting{s, res.Watch, granted})
		}
	}
	return reply, err
}

// reply is the answer of a result as its caller sees it, in order of distance.
func (s *Server) reply(meta op.Meta, seen results.Seen, nearTo string) (*op.Reply, error) {
	shown := seen.Value
	sorted, err := s.near.Sort(nearTo, &shown)
	if err != nil {
		return nil, err
	}
	meta.Filtered = seen.Filtered
	if sorted || seen.Rendered == nil {
		return op.NewReply(meta, shown), nil
	}
	return op.Share(meta, shown, seen.Rendered), nil
}

// query runs the read once or, with a minimum index, until it is newer or its
// time is over. As leader it ends early when leadership is lost.
func (s *Server) query(ctx context.Context, a rules.Authorizer, o op.Queryable, call *op.Call, leads bool) (*results.Result, error) {
	h := &call.Header
	if h.MinIndex == 0 {
		return s.results.Once(o, call)
	}
	var ends results.Ends
	if leads {
		if ends.Reign = s.leader.Reign(); ends.Reign == nil {
			return nil, op.ErrNotLeader
		}
	}
	timer := time.NewTimer(s.wait(h.MaxWait))
	defer timer.Stop()
	ends.Time = timer.C
	res, err := s.results.Until(ctx, o, call, a, ends)
	if err != nil {
		return nil, err
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case leads && !s.raft.LeaseRead():
		err = op.ErrNotLeader
	}
	if err != nil {
		res.Release()
		return nil, err
	}
	return res, nil
}

// wait bounds what a caller asked for and adds up to a sixteenth, so that many
// who asked together do not come back together.
func (s *Server) wait(asked time.Duration) time.Duration {
	switch {
	case asked <= 0:
		asked = s.cfg.DefaultWait
	case asked > s.cfg.MaxWait:
		asked = s.cfg.MaxWait
	}
	return asked + rand.N(asked/16+1)
}

func (s *Server) write(ctx context.Context, a rules.Authorizer, call *op.Call, o op.Preparable) (*op.Reply, error) {
	if !s.raft.LeaseRead() {
		return s.toLeader(ctx, call)
	}
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	if o.Global() {
		home, err := s.atHome(o, request)
		switch {
		case err != nil:
			return nil, err
		case home != "":
			return s.elsewhere(ctx, call, home)
		}
		// What is prepared here may be refused because the home has moved, and goes
		// there as it came.
		body, err := call.Body()
		if err != nil {
			return nil, err
		}
		call = op.Received(call.Operation, call.Header, body)
	}
	if err := o.Allow(a, request); err != nil {
		return nil, err
	}
	result, err := s.leader.Commit(ctx, a, call, o)
	if err != nil {
		return nil, err
	}
	return op.NewReply(s.meta(op.Default, 0), result), nil
}

// atHome names the home datacenter if a write belongs there and that is another one.
func (s *Server) atHome(o op.Preparable, request any) (string, error) {
	v := s.cfg.State.View()
	home, away := s.copies.Home(v)
	if away == nil && home == s.cfg.Datacenter {
		return "", v.Close()
	}
	global, err := o.ForHome(v, request)
	if err = errors.Join(err, v.Close()); err != nil || !global {
		return "", err
	}
	return home, away
}

// toLeader hands the call to the leader, once.
func (s *Server) toLeader(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if call.Header.Forwarded {
		return nil, op.ErrNotLeader
	}
	id, _ := s.raft.Leader()
	if id == "" || id == s.cfg.NodeID { // elected but not established yet
		return nil, op.ErrNoLeader
	}
	to, ok := s.findServer(id)
	if !ok {
		return nil, op.Errorf(op.CodeNoLeader, "Raft leader not found in server lookup mapping")
	}
	if _, err := call.Body(); err != nil {
		return nil, err
	}
	forwarded := *call
	forwarded.Header.Forwarded = true
	reply, err := rpc.TryEach(ctx, s.cfg.Transport, []transport.Target{{Addr: to.RPCAddr(), NodeID: to.ID, Name: to.Name}}, &forwarded, nil)
	if err == nil {
		reply.Meta.Leader = id
	}
	return reply, err
}

func (s *Server) findServer(id string) (lan.Server, bool) {
	for _, srv := range s.lan.Servers() {
		if srv.ID == id {
			return srv, true
		}
	}
	return lan.Server{}, false
}

// meta describes an answer of this server.
func (s *Server) meta(c op.Consistency, index uint64) op.Meta {
	id, _ := s.raft.Leader()
	m := op.Meta{Index: max(index, 1), KnownLeader: id != "", Datacenter: s.cfg.Datacenter, Consistency: c}
	if id != s.cfg.NodeID {
		m.LastContact = min(s.raft.LastContact(), op.Longest)
	}
	return m
}
