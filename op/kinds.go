package op

import (
	"context"

	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// Read is an operation answered from a read view of the state, once or again
// when something newer than the header's index exists.
type Read[Req, Res any] struct {
	Name      string
	Authorize func(rules.Authorizer, *Req) error
	// Query computes the result; nil means that there is none.
	Query func(storage.Reader, *Req) (*Res, error)
	// Filter removes what the caller may not see and reports whether there was
	// any. It is given a shallow copy: it replaces lists and maps, never changes
	// them. Nil where Authorize decides alone.
	Filter func(rules.Authorizer, *Res) bool
	// Part returns about max bytes of the result, those items that follow after
	// (nil: from the first), and what the next part follows; nil after the last.
	// Nil for results that are never long.
	Part func(r storage.Reader, req *Req, after []byte, max int) (part *Res, next []byte, err error)
	// Shared keeps results until something they were read from changes, for all
	// who ask the same: for queries that read many rows.
	Shared bool
	// FanOut is how it is answered for several datacenters at once; nil if it is
	// about one.
	FanOut *FanOut[Req, Res]
}

// Write is an operation that is replicated and answered by applying it.
type Write[Req, Res any] struct {
	Name      string
	Authorize func(rules.Authorizer, *Req) error
	// AuthorizeStored asks what depends on what is stored: on the leader, after
	// Prepare. It sees what is committed, not what is on its way. Nil where
	// Authorize decides alone.
	AuthorizeStored func(rules.Authorizer, storage.Reader, *Req) error
	// Prepare runs on the leader before the command is replicated; nil if
	// nothing needs to be fixed or checked there.
	Prepare func(Leader, *Req) error
	// Check refuses what does not fit what is stored, on the leader, after
	// AuthorizeStored: what must not be decided where it is applied, since another
	// version of the program may decide otherwise. It sees what is committed, not what
	// is on its way. Nil where there is nothing to check.
	Check func(storage.Reader, *Req) error
	// Home reports whether the write belongs to the home datacenter, where what is
	// global is written. The leader asks it, and hands the call on. Nil where nothing
	// is global.
	Home func(storage.Reader, *Req) (bool, error)
}

// Internal is a replicated command that only a leader proposes.
type Internal[Req, Res any] struct {
	Name string
}

// Direct is an operation that a server answers from what it holds itself.
type Direct[Req, Res any] struct {
	Name      string
	Authorize func(rules.Authorizer, *Req) error
	// Reads says that it changes nothing: it is safe to repeat, and goes where a
	// read with the same header would. It is not kept, shared or followed.
	Reads bool
}

// Call asks for the result of a read; nil means that there is none.
func (o *Read[Req, Res]) Call(ctx context.Context, c Caller, h Header, r *Req) (*Res, Meta, error) {
	return call[Res](ctx, c, NewCall(o, h, r))
}

// Ask is Call for who renders the result and keeps what is rendered with it:
// see Reply.Render.
func (o *Read[Req, Res]) Ask(ctx context.Context, c Caller, h Header, r *Req) (*Res, *Reply, error) {
	cl := NewCall(o, h, r)
	reply, err := c.Do(ctx, cl)
	if err != nil {
		return nil, nil, err
	}
	v, err := reply.Result(o)
	if err != nil {
		return nil, nil, err
	}
	res, _ := v.(*Res)
	return res, reply, nil
}

// Call carries out a write.
func (o *Write[Req, Res]) Call(ctx context.Context, c Caller, h Header, r *Req) (*Res, Meta, error) {
	return call[Res](ctx, c, NewCall(o, h, r))
}

// Call proposes the command; the caller must be the leader's own.
func (o *Internal[Req, Res]) Call(ctx context.Context, c Caller, h Header, r *Req) (*Res, Meta, error) {
	return call[Res](ctx, c, NewCall(o, h, r))
}

// Call asks a server.
func (o *Direct[Req, Res]) Call(ctx context.Context, c Caller, h Header, r *Req) (*Res, Meta, error) {
	return call[Res](ctx, c, NewCall(o, h, r))
}

func call[Res any](ctx context.Context, c Caller, cl *Call) (*Res, Meta, error) {
	reply, err := c.Do(ctx, cl)
	if err != nil {
		return nil, Meta{}, err
	}
	v, err := reply.Result(cl.Operation)
	if err != nil {
		return nil, reply.Meta, err
	}
	res, _ := v.(*Res)
	return res, reply.Meta, nil
}

// OpName implements Operation.
func (o *Read[Req, Res]) OpName() string { return o.Name }

// OpKind implements Operation.
func (o *Read[Req, Res]) OpKind() Kind { return KindRead }

// DecodeRequest implements Operation.
func (o *Read[Req, Res]) DecodeRequest(b []byte) (any, error) { return decoded[Req](b) }

// DecodeResult implements Operation.
func (o *Read[Req, Res]) DecodeResult(b []byte) (any, error) { return decodedResult[Res](b) }

// Allow implements Operation.
func (o *Read[Req, Res]) Allow(a rules.Authorizer, r any) error { return o.Authorize(a, r.(*Req)) }

// Run implements Queryable.
func (o *Read[Req, Res]) Run(r storage.Reader, req any) (any, error) {
	res, err := o.Query(r, req.(*Req))
	if err != nil || res == nil {
		return nil, err
	}
	return res, nil
}

// Hide implements Queryable.
func (o *Read[Req, Res]) Hide(a rules.Authorizer, result any) (any, bool) {
	if o.Filter == nil || result == nil || rules.Unlimited(a) {
		return result, false
	}
	shown := *result.(*Res)
	if !o.Filter(a, &shown) {
		return result, false
	}
	return &shown, true
}

// Sharable implements Queryable.
func (o *Read[Req, Res]) Sharable() bool { return o.Shared }

// OpName implements Operation.
func (o *Write[Req, Res]) OpName() string { return o.Name }

// OpKind implements Operation.
func (o *Write[Req, Res]) OpKind() Kind { return KindWrite }

// DecodeRequest implements Operation.
func (o *Write[Req, Res]) DecodeRequest(b []byte) (any, error) { return decoded[Req](b) }

// DecodeResult implements Operation.
func (o *Write[Req, Res]) DecodeResult(b []byte) (any, error) { return decodedResult[Res](b) }

// Allow implements Operation.
func (o *Write[Req, Res]) Allow(a rules.Authorizer, r any) error { return o.Authorize(a, r.(*Req)) }

// AllowStored implements Preparable.
func (o *Write[Req, Res]) AllowStored(a rules.Authorizer, r storage.Reader, req any) error {
	if o.AuthorizeStored == nil {
		return nil
	}
	return o.AuthorizeStored(a, r, req.(*Req))
}

// Checks implements Checkable.
func (o *Write[Req, Res]) Checks() bool { return o.Check != nil }

// CheckStored implements Checkable.
func (o *Write[Req, Res]) CheckStored(r storage.Reader, req any) error {
	return o.Check(r, req.(*Req))
}

// ForHome implements Preparable.
func (o *Write[Req, Res]) ForHome(r storage.Reader, req any) (bool, error) {
	if o.Home == nil {
		return false, nil
	}
	return o.Home(r, req.(*Req))
}

// Global implements Preparable.
func (o *Write[Req, Res]) Global() bool { return o.Home != nil }

// Ready implements Preparable.
func (o *Write[Req, Res]) Ready(l Leader, r any) error {
	if o.Prepare == nil {
		return nil
	}
	return o.Prepare(l, r.(*Req))
}

// OpName implements Operation.
func (o *Internal[Req, Res]) OpName() string { return o.Name }

// OpKind implements Operation.
func (o *Internal[Req, Res]) OpKind() Kind { return KindInternal }

// DecodeRequest implements Operation.
func (o *Internal[Req, Res]) DecodeRequest(b []byte) (any, error) { return decoded[Req](b) }

// DecodeResult implements Operation.
func (o *Internal[Req, Res]) DecodeResult(b []byte) (any, error) { return decodedResult[Res](b) }

// Allow implements Operation: nobody may ask for it from outside the leader.
func (o *Internal[Req, Res]) Allow(a rules.Authorizer, _ any) error {
	return &rules.DeniedError{Who: a.Who(), Resource: rules.Operator, Access: rules.Write, Name: o.Name}
}

// AllowStored implements Preparable: Allow has refused everybody.
func (o *Internal[Req, Res]) AllowStored(a rules.Authorizer, _ storage.Reader, r any) error {
	return o.Allow(a, r)
}

// ForHome implements Preparable: what a leader proposes is for its own datacenter.
func (o *Internal[Req, Res]) ForHome(storage.Reader, any) (bool, error) { return false, nil }

// Global implements Preparable.
func (o *Internal[Req, Res]) Global() bool { return false }

// Ready implements Preparable.
func (o *Internal[Req, Res]) Ready(Leader, any) error { return nil }

// OpName implements Operation.
func (o *Direct[Req, Res]) OpName() string { return o.Name }

// OpKind implements Operation.
func (o *Direct[Req, Res]) OpKind() Kind {
	if o.Reads {
		return KindDirectRead
	}
	return KindDirect
}

// DecodeRequest implements Operation.
func (o *Direct[Req, Res]) DecodeRequest(b []byte) (any, error) { return decoded[Req](b) }

// DecodeResult implements Operation.
func (o *Direct[Req, Res]) DecodeResult(b []byte) (any, error) { return decodedResult[Res](b) }

// Allow implements Operation.
func (o *Direct[Req, Res]) Allow(a rules.Authorizer, r any) error { return o.Authorize(a, r.(*Req)) }

// Handler is a Direct operation with the function that answers it.
type Handler struct {
	Operation Operation
	// LeaderOnly sends the call to the leader, whatever its consistency.
	LeaderOnly bool
	Answer     func(ctx context.Context, h Header, request any) (result any, err error)
}

// Handle binds the operation to the function that answers it on a server.
func (o *Direct[Req, Res]) Handle(f func(context.Context, Header, *Req) (*Res, error)) Handler {
	return Handler{Operation: o, Answer: func(ctx context.Context, h Header, r any) (any, error) {
		res, err := f(ctx, h, r.(*Req))
		if err != nil || res == nil {
			return nil, err
		}
		return res, nil
	}}
}

func decoded[Req any](b []byte) (any, error) {
	r, err := decode[Req](b)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func decodedResult[Res any](b []byte) (any, error) {
	if len(b) == 0 {
		return nil, nil
	}
	return decoded[Res](b)
}

// Filters reports whether results are filtered by what the caller may see.
func (o *Read[Req, Res]) Filters() bool { return o.Filter != nil }
