package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/transport"
)

// Do implements op.Caller. It is the one way by which anything is asked of
// this server: admit, authenticate, route, execute, record.
func (s *Server) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	start := time.Now()
	reply, err := s.dispatch(ctx, call)
	s.metrics.record(call, s.label(call.Header.Datacenter), time.Since(start), err)
	return reply, err
}

// label is a datacenter's name in metrics: what callers invent must not become
// labels.
func (s *Server) label(dc string) string {
	switch {
	case dc == "" || dc == s.cfg.Datacenter:
		return "local"
	case op.Wide(dc):
		return "several"
	case s.remote != nil && slices.Contains(s.remote.Datacenters(), dc):
		return dc
	}
	return "unknown"
}

func (s *Server) dispatch(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if s.group.Context().Err() != nil {
		return nil, op.ErrStopping
	}
	call = s.alone(call)
	dc := call.Header.Datacenter
	elsewhere := dc != "" && dc != s.cfg.Datacenter
	if !elsewhere || op.Wide(dc) { // federation has bounds for each datacenter: one that hangs costs no local caller
		limit := &s.flight
		if call.Header.MinIndex > 0 {
			limit = &s.blocked
		}
		if !limit.enter() {
			return nil, op.Errorf(op.CodeBusy, "server has %d calls in progress, its limit", limit.max)
		}
		defer limit.leave()
	}
	authorizer, err := s.cfg.Authorizer(call.Header.Token)
	switch {
	case err != nil:
		return nil, err
	case elsewhere && s.remote == nil:
		return nil, &op.Error{Code: op.CodeUnknownDatacenter, Text: "No path to datacenter", Datacenter: dc}
	case elsewhere:
		return s.away(ctx, authorizer, call)
	case call.Header.Led:
		return s.execute(ctx, authorizer, call)
	}
	return s.hold(ctx, call, authorizer)
}

// alone is the call as a server asks that knows no other datacenters: its own is
// the nearest, and all there are.
func (s *Server) alone(call *op.Call) *op.Call {
	spread, ok := call.Operation.(op.Spreadable)
	if dc := call.Header.Datacenter; s.remote != nil || dc != op.Nearest && dc != op.All || !ok || !spread.Spreads() {
		return call
	}
	c := *call
	c.Header.Datacenter = ""
	return &c
}

// hold carries the call out, again while the datacenter has no leader and,
// what is safe to repeat, where the leader was lost on the way, up to
// HoldTimeout.
func (s *Server) hold(ctx context.Context, call *op.Call, a rules.Authorizer) (*op.Reply, error) {
	var deadline time.Time
	for {
		reply, err := s.execute(ctx, a, call)
		if err == nil {
			return reply, nil
		}
		if !rpc.Again(err, call.Operation.OpKind()) {
			return nil, err
		}
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(s.cfg.HoldTimeout)
		}
		pause := 20*time.Millisecond + rand.N(60*time.Millisecond)
		if now.Add(pause).After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-s.group.Context().Done():
			return nil, op.ErrStopping
		case <-time.After(pause):
		}
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
	if (h.LeaderOnly || call.Operation.OpKind() == op.KindReading && !s.anywhere(&call.Header)) && !s.raft.LeaseRead() {
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
	if d, ok := result.(described); ok {
		d.Describe(&meta)
	}
	return op.NewReply(meta, result), nil
}

// described is a result that says itself what is said beside it.
type described interface{ Describe(*op.Meta) }

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
			return nil, raftError(err)
		}
	}
	p, inParts := o.(op.Partial)
	if inParts = inParts && p.HasParts() && call.Take != op.TakeWhole; inParts {
		o = brief{p, h.MinIndex > 0}
	}
	res, err := s.query(ctx, o, call, request, !anywhere)
	if errors.Is(err, storage.ErrClosed) {
		return nil, op.ErrStopping
	}
	if err != nil {
		return nil, err
	}
	defer res.release()
	meta := s.local(h, anywhere, res.index)
	if _, long := res.value.(long); long {
		return s.list(ctx, a, call, p, meta)
	}
	shown, filtered := o.Hide(a, res.value)
	sorted, err := s.sort(h.Near, &shown)
	if err != nil {
		return nil, err
	}
	if filtered || sorted || res.watch == nil {
		meta.Filtered = filtered
		return op.NewReply(meta, shown), nil
	}
	return op.Share(meta, res.value, &res.rendered), nil
}

// query runs the read once or, with a minimum index, until it is newer or its
// time is over. As leader it ends early when leadership is lost.
func (s *Server) query(ctx context.Context, o op.Queryable, call *op.Call, request any, leads bool) (*result, error) {
	h := &call.Header
	if h.MinIndex == 0 {
		return s.once(o, call, request)
	}
	var ends ends
	if leads {
		r := s.reigning.Load()
		if r == nil {
			return nil, op.ErrNotLeader
		}
		ends.reign = r.ctx.Done()
	}
	timer := time.NewTimer(s.wait(h.MaxWait))
	defer timer.Stop()
	ends.time = timer.C
	res, err := s.until(ctx, o, call, request, ends)
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
		res.release()
		return nil, err
	}
	return res, nil
}

// once runs the read, or takes its kept result.
func (s *Server) once(o op.Queryable, call *op.Call, request any) (*result, error) {
	if o.Sharable() {
		return s.kept(o, call, request)
	}
	v := s.cfg.State.View()
	defer v.Close()
	value, err := o.Run(v, request)
	return &result{value: value, index: v.Index()}, err
}

func (s *Server) kept(o op.Queryable, call *op.Call, request any) (*result, error) {
	body, err := call.Body()
	if err != nil {
		return nil, err
	}
	return s.results.get(o, request, o.OpName()+"\x00"+string(body), call.Header.MinIndex > 0)
}

// ends is what ends a wait besides a change and the caller's context. A wait is
// cheap: thousands wake together, so they share no context that each would have
// to be added to and taken from.
type ends struct {
	time  <-chan time.Time
	reign <-chan struct{} // nil unless this server must lead
}

// until returns the read's result when it is newer than the call's index and says
// something else, or when the wait ends. All who wait for the same wait for one
// result. What the caller has is known only if it is what was read at the call's
// index: who has an older index, perhaps of another server, is answered with
// whatever is newer.
func (s *Server) until(ctx context.Context, o op.Queryable, call *op.Call, request any, end ends) (*result, error) {
	var has *content
	for {
		res, err := s.kept(o, call, request)
		if err != nil || res.index > call.Header.MinIndex && res.content != has {
			return res, err
		}
		if res.index == call.Header.MinIndex {
			has = res.content
		}
		select {
		case <-res.watch.Changed():
			res.release()
		case <-ctx.Done():
			return res, nil
		case <-end.time:
			return res, nil
		case <-end.reign:
			return res, nil
		}
	}
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
	if err := o.Allow(a, request); err != nil {
		return nil, err
	}
	return s.commit(ctx, a, call, o)
}

// commit prepares the command, asks whether the caller may do that to what is
// stored, replicates it and returns what applying it gave.
func (s *Server) commit(ctx context.Context, a rules.Authorizer, call *op.Call, o op.Preparable) (*op.Reply, error) {
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	if err := o.Ready(op.Leader{Now: time.Now(), NewID: uuid.NewString, Clock: s.clock(), MinTTL: s.cfg.SessionTTLMin}, request); err != nil {
		return nil, err
	}
	if !rules.Unlimited(a) {
		v := s.cfg.State.View()
		err := o.AllowStored(a, v, request)
		if err = errors.Join(err, v.Close()); err != nil {
			return nil, err
		}
	}
	call.Changed()
	body, err := call.Body()
	if err != nil {
		return nil, err
	}
	// What the servers could not decode would end all of them, again at every
	// start: requests made in this process have met no bounds yet.
	if _, err := o.DecodeRequest(body); err != nil {
		return nil, op.Malformed(o, err)
	}
	command, err := s.machine.Encode(o, body)
	if err != nil {
		return nil, err
	}
	result, err := s.raft.Propose(ctx, command)
	if err != nil {
		return nil, raftError(err)
	}
	return op.NewReply(s.meta(op.Default, 0), result), nil
}

// self is the Caller of leader tasks: it commits without asking who calls.
func (s *Server) self() op.Caller {
	return op.CallerFunc(func(ctx context.Context, call *op.Call) (*op.Reply, error) {
		o, ok := call.Operation.(op.Preparable)
		if !ok {
			return nil, fmt.Errorf("%s is not a command", call.Operation.OpName())
		}
		return s.commit(ctx, rules.AllowAll(), call, o)
	})
}

// toLeader hands the call to the leader, once.
func (s *Server) toLeader(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if call.Header.Led {
		return nil, op.ErrNotLeader
	}
	id, _ := s.raft.Leader()
	if id == "" || id == s.cfg.NodeID { // elected but not established yet
		return nil, op.ErrNoLeader
	}
	leader, ok := s.findServer(id)
	if !ok {
		return nil, op.Errorf(op.CodeNoLeader, "Raft leader not found in server lookup mapping")
	}
	if _, err := call.Body(); err != nil {
		return nil, err
	}
	led := *call
	led.Header.Led = true
	reply, err := rpc.TryEach(ctx, s.cfg.Transport, []transport.Target{{Addr: rpcAddr(leader), NodeID: leader.ID, Name: leader.Name}}, &led, nil)
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

// raftError turns what consensus says into what crosses the wire.
func raftError(err error) error {
	var e *op.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, consensus.ErrNotLeader):
		return op.ErrNotLeader
	case errors.Is(err, consensus.ErrOverloaded):
		return op.Errorf(op.CodeBusy, "too many commands wait to be replicated")
	case errors.Is(err, consensus.ErrTooLarge):
		return op.Errorf(op.CodeTooLarge, "command is larger than %d bytes", consensus.MaxCommandBytes)
	case errors.Is(err, consensus.ErrStopped):
		return op.ErrStopping
	case errors.Is(err, consensus.ErrLost):
		return op.Errorf(op.CodeLost, "leadership was lost before the command was known to be committed: %v", err)
	case errors.Is(err, context.DeadlineExceeded):
		return op.Errorf(op.CodeTimeout, "command was not committed before the deadline")
	}
	return err
}
