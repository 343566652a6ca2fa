package server

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/legate-project/legate/op"
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
)

// long stands for a result that is longer than op.ShortBytes.
type long struct{}

// brief reads no more of a result than what is short. Where somebody waits for
// it to change, it goes through the rest, too, for the index.
type brief struct {
	op.Partial
	through bool
}

// OpName keeps what it yields apart from whole results.
func (b brief) OpName() string { return b.Partial.OpName() + " in brief" }

// Run implements op.Queryable.
func (b brief) Run(r storage.Reader, request any) (any, error) {
	part, next, err := b.RunPart(r, request, nil, op.ShortBytes)
	if err != nil || next == nil {
		return part, err
	}
	for b.through && next != nil {
		if _, next, err = b.RunPart(r, request, next, op.PartBytes); err != nil {
			return nil, err
		}
	}
	return long{}, nil
}

// list begins a long result. It goes through all of it once before: the index
// and whether anything was hidden are told before the first part.
func (s *Server) list(ctx context.Context, a rules.Authorizer, call *op.Call, o op.Partial, meta op.Meta) (*op.Reply, error) {
	if call.Take != op.TakeParts {
		return nil, op.Errorf(op.CodeLong, "the result of %s is longer than %d bytes: ask for it in parts", o.OpName(), op.ShortBytes)
	}
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	if !s.listings.enter() {
		return nil, op.Errorf(op.CodeBusy, "server makes %d long results, its limit", maxListings)
	}
	l := &listing{o: o, a: a, request: request, view: s.cfg.State.View(), leave: s.listings.leave, stall: s.stall}
	index, some, err := l.survey(ctx, &meta)
	meta.Index = max(index, 1)
	if err != nil || !some {
		l.Close()
	}
	switch {
	case errors.Is(err, storage.ErrClosed):
		return nil, op.ErrStopping
	case err != nil:
		return nil, err
	case !some:
		return op.NewReply(meta, nil), nil
	}
	l.begin(s.group.Context())
	return op.ReplyInParts(meta, l), nil
}

// listing is a long result, read from one view part by part. The view goes when
// it has been read, is closed, nobody asks for the next part for too long, or
// the server stops.
type listing struct {
	o       op.Partial
	a       rules.Authorizer
	request any
	leave   func()
	stall   time.Duration
	idle    *time.Timer
	last    time.Time
	undo    func() bool

	mu    sync.Mutex
	view  *storage.View // nil once it has ended
	after []byte
	end   error // of Next once the view is gone
}

var _ op.Parts = (*listing)(nil)

// survey goes through the result once.
func (l *listing) survey(ctx context.Context, meta *op.Meta) (index uint64, some bool, err error) {
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
		some = some || !hidden || !empty(shown)
		after = next
	}
	return l.view.Index(), some, nil
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
	l.idle = time.AfterFunc(l.stall, func() { l.close(op.Errorf(op.CodeTimeout, "the result was not read for %v", l.stall)) })
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
		l.idle.Reset(l.stall)
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
	l.view, l.end = nil, why
	if l.idle != nil {
		l.idle.Stop()
		l.undo()
	}
	l.leave()
}
