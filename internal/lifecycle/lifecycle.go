// Package lifecycle owns every goroutine of Legate.
//
// A Group starts named goroutines and keeps named stop functions. Stopping a
// Group runs its stop functions and ends its goroutines in reverse order of
// their start; a stop that runs out of time returns an error that names who
// is still running. No other package contains a go statement.
//
// A Group does not restart what ended and does not recover panics: a panic in
// a goroutine is a programmer's error and ends the process.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

// ErrStopped is returned by Go and OnStop after Stop was called.
var ErrStopped = errors.New("lifecycle: group is stopped")

// grace is what each goroutine gets to end when the time for all is used up.
const grace = 20 * time.Millisecond

// Group is a set of goroutines and stop functions with one owner.
// Its methods are safe for concurrent use.
type Group struct {
	name   string
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	stopped bool
	done    chan struct{} // closed when the first Stop has finished
	err     error         // result of the first Stop
	steps   []*step       // what to undo, in order of start
	crowd   map[string]int
	crowdWG sync.WaitGroup
}

// step is one thing that Stop undoes: a goroutine or a stop function.
type step struct {
	name   string
	cancel context.CancelFunc          // nil for stop functions
	done   chan struct{}               // closed when the goroutine ended; nil for stop functions
	stop   func(context.Context) error // nil for goroutines
}

// New returns an empty group. The name appears in errors.
func New(name string) *Group {
	ctx, cancel := context.WithCancel(context.Background())
	return &Group{name: name, ctx: ctx, cancel: cancel, done: make(chan struct{}), crowd: map[string]int{}}
}

// Context is cancelled when Stop begins. It is for calls that should not
// outlive the group; goroutines get a context of their own from Go.
func (g *Group) Context() context.Context { return g.ctx }

// Go starts a long-lived goroutine. Its context ends when Stop reaches it,
// which is after everything started later has ended. run must return soon
// after that.
func (g *Group) Go(name string, run func(ctx context.Context)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return ErrStopped
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &step{name: name, cancel: cancel, done: make(chan struct{})}
	g.steps = append(g.steps, s)
	go func() {
		defer close(s.done)
		defer cancel()
		run(ctx)
	}()
	return nil
}

// Spawn starts a short-lived goroutine, one of many with the same name (a
// handler of one stream, one attempt of a call). Its context is the group's:
// it ends when Stop begins. The caller bounds how many it starts.
func (g *Group) Spawn(name string, run func(ctx context.Context)) error {
	g.mu.Lock()
	if g.stopped {
		g.mu.Unlock()
		return ErrStopped
	}
	g.crowd[name]++
	g.crowdWG.Add(1)
	g.mu.Unlock()
	go func() {
		defer func() {
			g.mu.Lock()
			if g.crowd[name]--; g.crowd[name] == 0 {
				delete(g.crowd, name)
			}
			g.mu.Unlock()
			g.crowdWG.Done()
		}()
		run(g.ctx)
	}()
	return nil
}

// OnStop registers a function that Stop calls when everything started after
// it has ended.
func (g *Group) OnStop(name string, stop func(ctx context.Context) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return ErrStopped
	}
	g.steps = append(g.steps, &step{name: name, stop: stop})
	return nil
}

// Stop cancels Context, waits for spawned goroutines, then undoes the steps
// in reverse order of their start. It waits for each no longer than ctx
// allows and goes on with the next, so that one that hangs does not keep the
// others open; the error names all that hung or failed. Later calls wait for
// the first and return its result.
func (g *Group) Stop(ctx context.Context) error {
	g.mu.Lock()
	if g.stopped {
		g.mu.Unlock()
		select {
		case <-g.done:
			return g.err
		case <-ctx.Done():
			return fmt.Errorf("stop %s: still stopping: %w", g.name, ctx.Err())
		}
	}
	g.stopped = true
	steps := g.steps
	g.steps = nil
	g.mu.Unlock()

	g.cancel()
	var errs []error
	if err := g.waitCrowd(ctx); err != nil {
		errs = append(errs, err)
	}
	for i := len(steps) - 1; i >= 0; i-- {
		if err := steps[i].undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %s: %w", g.name, steps[i].name, err))
		}
	}
	g.err = errors.Join(errs...)
	close(g.done)
	return g.err
}

func (g *Group) waitCrowd(ctx context.Context) error {
	gone := make(chan struct{})
	go func() { g.crowdWG.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	// As in undo: whoever ends by now is not accused.
	select {
	case <-gone:
		return nil
	case <-time.After(grace):
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.crowd) == 0 { // the last one ends right now
		return nil
	}
	names := make([]string, 0, len(g.crowd))
	for name, n := range g.crowd {
		names = append(names, fmt.Sprintf("%s (%d)", name, n))
	}
	sort.Strings(names)
	return fmt.Errorf("stop %s: still running: %s", g.name, strings.Join(names, ", "))
}

func (s *step) undo(ctx context.Context) error {
	if s.stop != nil {
		return s.stop(ctx)
	}
	s.cancel()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	// The time was used up, perhaps by another: whoever is done is not accused.
	select {
	case <-s.done:
		return nil
	case <-time.After(grace):
		return errors.New("goroutine is still running")
	}
}
