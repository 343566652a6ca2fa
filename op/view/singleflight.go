package view

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/op"
)

const (
	// maxShared bounds the calls that are shared at a time; above it each
	// caller waits by itself.
	maxShared = 1 << 16
	// longestWait is asked for on behalf of all: the server bounds it.
	longestWait = 10 * time.Minute
	// usualWait is how long a caller waits that does not say.
	usualWait = 5 * time.Minute
)

// SingleFlight is a Caller in front of another one: blocking reads of the same
// result, for something newer than the same index, are one call. It keeps no
// answers once they are given. It is safe for concurrent use.
type SingleFlight struct {
	next  op.Caller
	group *lifecycle.Group

	mu     sync.Mutex
	shared map[string]*flight
}

var _ op.Caller = (*SingleFlight)(nil)

// flight is one call on behalf of several callers. What comes after done is set
// before it is closed.
type flight struct {
	end     context.CancelFunc
	waiting int  // callers; guarded by SingleFlight.mu
	joined  bool // somebody came after it was begun; guarded by SingleFlight.mu

	done     chan struct{}
	meta     op.Meta
	result   any
	err      error
	rendered op.Rendered
}

// NewSingleFlight puts a SingleFlight in front of next.
func NewSingleFlight(next op.Caller) *SingleFlight {
	return &SingleFlight{next: next, group: lifecycle.New("shared waits"), shared: map[string]*flight{}}
}

// Stop ends the calls that are shared; who waits gets their error.
func (w *SingleFlight) Stop(ctx context.Context) error { return w.group.Stop(ctx) }

// Do implements op.Caller.
func (w *SingleFlight) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if call.Header.MinIndex == 0 || call.Operation.OpKind() != op.KindRead {
		return w.next.Do(ctx, call)
	}
	key, err := keyOf(call)
	if err != nil {
		return nil, err
	}
	s, ok := w.join(ctx, key, call)
	if !ok {
		return w.next.Do(ctx, call)
	}
	timer := time.NewTimer(waitOf(&call.Header))
	defer timer.Stop()
	select {
	case <-s.done:
		if call.Take == op.TakeParts && op.CodeOf(s.err) == op.CodeLong { // the wait is shared, the result is not
			return w.next.Do(ctx, call.InParts())
		}
		if s.err != nil {
			return nil, s.err
		}
		return op.Share(s.meta, s.result, &s.rendered), nil
	case <-ctx.Done():
		w.leave(key, s)
		return nil, ctx.Err()
	case <-timer.C: // this caller's time is over: it gets what there is
		w.leave(key, s)
		now := *call
		now.Header.MinIndex = 0
		return w.next.Do(ctx, &now)
	}
}

// keyOf is the same for calls that may be answered by one.
func keyOf(call *op.Call) (string, error) {
	body, err := call.Body()
	if err != nil {
		return "", err
	}
	h := &call.Header
	b := make([]byte, 0, 128+len(body))
	for _, s := range []string{call.Operation.OpName(), h.Datacenter, h.Token, h.Near} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = append(b, byte(h.Consistency))
	b = binary.AppendUvarint(b, h.MinIndex)
	b = binary.AppendVarint(b, int64(h.MaxStale))
	return string(append(b, body...)), nil
}

// join adds a caller to the call for key, which it begins if there is none, as part of
// this caller's trace. It is false if no call can be shared now.
func (w *SingleFlight) join(asker context.Context, key string, call *op.Call) (*flight, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.shared[key]; s != nil {
		s.waiting++
		s.joined = true
		return s, true
	}
	if len(w.shared) >= maxShared {
		return nil, false
	}
	s := &flight{waiting: 1, done: make(chan struct{})}
	c := *call
	c.Header.MaxWait = longestWait
	c.Take = min(c.Take, op.TakeShort)
	ctx, end := context.WithCancel(tracing.Carry(w.group.Context(), asker))
	s.end = end
	if w.group.Spawn("shared wait", func(context.Context) { w.run(ctx, key, s, &c) }) != nil {
		end()
		return nil, false
	}
	w.shared[key] = s
	return s, true
}

// run carries the call out for all.
func (w *SingleFlight) run(ctx context.Context, key string, s *flight, call *op.Call) {
	defer s.end()
	reply, err := w.next.Do(ctx, call)
	if w.close(key, s) && err == nil && call.Header.Consistency != op.Stale {
		// The answer may have been on its way already when the last one came,
		// who is promised nothing older than its question.
		call.Header.MinIndex = 0
		reply, err = w.next.Do(ctx, call)
	}
	if err == nil {
		s.meta = reply.Meta
		s.result, err = reply.Result(call.Operation)
	}
	s.err = err
	close(s.done)
}

// close lets nobody join any more. It returns whether somebody has.
func (w *SingleFlight) close(key string, s *flight) (joined bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shared[key] == s {
		delete(w.shared, key)
	}
	return s.joined
}

// leave takes a caller away; the last one ends the call.
func (w *SingleFlight) leave(key string, s *flight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.waiting--; s.waiting > 0 {
		return
	}
	if w.shared[key] == s {
		delete(w.shared, key)
	}
	s.end()
}
