// Package listing makes results that are too long for one message: read from one
// view of the state, handed out in parts, filtered for who asked. It bounds how
// many there are at a time and how long each may hold its view. It does not
// decide which server reads, nor how parts travel.
package listing

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/server/limit"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// Bounds of long results that are read from this server's state. Each holds a
// view, and no more than a part.
const (
	maxListings = 64
	// maxListing is how long one may take, however slow its reader: a view keeps
	// what was deleted since.
	maxListing = 15 * time.Minute
	// maxKept is how many bytes of parts all results together keep from the time that they
	// are gone through to the time that they are told. What is longer is read twice.
	maxKept = 32 << 20
)

// long stands for a result that is longer than op.ShortBytes.
type long struct{}

// IsLong reports whether that is what a read by Short found: too much.
func IsLong(result any) bool {
	_, ok := result.(long)
	return ok
}

// Short is the read that goes no further into a result than what is short: it
// yields the result, or one that IsLong. Where somebody waits for a change it goes
// through the rest, too, for the index.
func Short(o op.Partial, waits bool) op.Queryable { return short{o, waits} }

type short struct {
	op.Partial
	through bool
}

// OpName keeps what it yields apart from whole results.
func (s short) OpName() string { return s.Partial.OpName() + " in brief" }

// Run implements op.Queryable.
func (s short) Run(r storage.Reader, request any) (any, error) {
	part, next, err := s.RunPart(r, request, nil, op.ShortBytes)
	if err != nil || next == nil {
		return part, err
	}
	for s.through && next != nil {
		if _, next, err = s.RunPart(r, request, next, op.PartBytes); err != nil {
			return nil, err
		}
	}
	return long{}, nil
}

// Lister makes long results of one state. It is safe for concurrent use.
type Lister struct {
	state    *storage.State
	stopping context.Context // ends every result that is being read
	limit    *limit.Limit
	kept     atomic.Int64 // bytes, of at most room
	room     int64
	stall    time.Duration // how long a result waits for its reader
}

// New returns a lister whose results end with the context.
func New(state *storage.State, stopping context.Context) *Lister {
	return &Lister{state: state, stopping: stopping, limit: limit.New(maxListings), room: maxKept, stall: rpc.StallTimeout}
}

// Begin begins a long result. It goes through all of it once before: the index
// and whether anything was hidden are told before the first part. What it reads it keeps for
// its reader, if there is room.
func (l *Lister) Begin(ctx context.Context, a rules.Authorizer, call *op.Call, o op.Partial, meta op.Meta) (*op.Reply, error) {
	if call.Take != op.TakeParts {
		return nil, op.Errorf(op.CodeLong, "the result of %s is longer than %d bytes: ask for it in parts", o.OpName(), op.ShortBytes)
	}
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	if !l.limit.TryAcquire() {
		return nil, op.Errorf(op.CodeBusy, "server makes %d long results, its limit", maxListings)
	}
	one := &listing{o: o, a: a, request: request, view: l.state.View(), lister: l}
	index, some, err := one.survey(ctx, &meta)
	meta.Index = max(index, 1)
	if err != nil || !some {
		one.Close()
	}
	switch {
	case errors.Is(err, storage.ErrClosed):
		return nil, op.ErrStopping
	case err != nil:
		return nil, err
	case !some:
		return op.NewReply(meta, nil), nil
	}
	one.begin(l.stopping)
	return op.ReplyInParts(meta, one), nil
}

// listing is a long result, read from one view part by part. The view goes when
// it has been read, is closed, nobody asks for the next part for too long, or
// the server stops.
type listing struct {
	o       op.Partial
	a       rules.Authorizer
	request any
	lister  *Lister
	idle    *time.Timer
	last    time.Time
	undo    func() bool

	mu    sync.Mutex
	view  *storage.View // nil once it has ended
	kept  []*op.Reply   // parts that come next; all there are, unless after says more
	bytes int64         // of kept
	after []byte
	more  bool  // behind after
	end   error // of Next once the view is gone
}

var _ op.Parts = (*listing)(nil)

// survey goes through the result once.
func (l *listing) survey(ctx context.Context, meta *op.Meta) (index uint64, some bool, err error) {
	keep := true
	for after, first := []byte(nil), true; first || after != nil; first = false {
		if ctx.Err() != nil {
			return 0, false, ctx.Err()
		}
		part, next, err := l.o.RunPart(l.view, l.request, after, op.PartBytes)
		if err != nil {
			return 0, false, err
		}
		shown, hidden := l.o.Hide(l.a, part)
		meta.Filtered = meta.Filtered || hidden
		one := !hidden || !empty(shown)
		some = some || one
		if keep && one {
			keep = l.keep(shown)
		}
		if after = next; keep {
			l.after, l.more = next, next != nil
		}
	}
	return l.view.Index(), some, nil
}

// keep keeps a part, and says whether there was room.
func (l *listing) keep(part any) bool {
	sized, ok := part.(msgp.Sizer)
	if !ok {
		return false
	}
	size := int64(sized.Msgsize())
	if l.lister.kept.Add(size) > l.lister.room {
		l.lister.kept.Add(-size)
		return false
	}
	l.bytes += size
	l.kept = append(l.kept, op.NewReply(op.Meta{}, part))
	return true
}

// empty reports whether a part has no items. Parts are lists: those without
// items are encoded as one byte.
func empty(part any) bool {
	body, err := op.NewReply(op.Meta{}, part).Body()
	return err == nil && len(body) <= 1
}

func (l *listing) begin(stopping context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now().Add(maxListing)
	l.idle = time.AfterFunc(l.lister.stall, func() { l.close(op.Errorf(op.CodeTimeout, "the result was not read for %v", l.lister.stall)) })
	l.undo = context.AfterFunc(stopping, func() { l.close(op.ErrStopping) })
}

// Next implements op.Parts.
func (l *listing) Next() (*op.Reply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.view != nil {
		if time.Now().After(l.last) {
			l.drop(op.Errorf(op.CodeTimeout, "the result was not read within %v", maxListing))
			break
		}
		l.idle.Reset(l.lister.stall)
		if len(l.kept) > 0 {
			return l.nextKept(), nil
		}
		part, next, err := l.o.RunPart(l.view, l.request, l.after, op.PartBytes)
		if err != nil {
			l.drop(err)
			break
		}
		l.after = next
		if next == nil {
			l.drop(io.EOF)
		}
		if shown, hidden := l.o.Hide(l.a, part); !hidden || !empty(shown) {
			return op.NewReply(op.Meta{}, shown), nil
		}
	}
	return nil, l.end
}

// nextKept gives the next part that was kept; l.mu is held.
func (l *listing) nextKept() *op.Reply {
	reply := l.kept[0]
	if l.kept = l.kept[1:]; len(l.kept) == 0 && !l.more {
		l.drop(io.EOF)
	}
	return reply
}

// Close implements op.Parts.
func (l *listing) Close() { l.close(op.Errorf(op.CodeLost, "the result was given up")) }

func (l *listing) close(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(why)
}

// drop lets the view go; l.mu is held.
func (l *listing) drop(why error) {
	if l.view == nil {
		return
	}
	if err := l.view.Close(); err != nil && errors.Is(why, io.EOF) {
		why = err
	}
	l.lister.kept.Add(-l.bytes)
	l.view, l.end, l.kept, l.bytes = nil, why, nil, 0
	if l.idle != nil {
		l.idle.Stop()
		l.undo()
	}
	l.lister.limit.Release()
}
