package logging

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// LimitWindow is how long lines of one kind are counted together.
	LimitWindow = 30 * time.Second
	// LimitLines is how many lines of one kind, from INFO on, a window shows.
	LimitLines = 20
	// LimitFine is the same below INFO: who asks for those wants to see them.
	LimitFine = 2000
	// limitKinds bounds how many kinds of a component, from INFO on and below it
	// each, are counted one by one; what comes on top is one kind for each level.
	// Libraries put names into their messages: while those of gossip are many, a
	// rare line of another component must not share with its repeats.
	limitKinds = 256
	// limitMessage is how much of a message says of which kind it is, in bytes.
	limitMessage = 256
	// limitSweep is how often windows that are over are told of.
	limitSweep = 5 * time.Second
)

// Limit is a handler that bounds how often lines of one kind are written: those
// with the same level, component and beginning of the message, whatever their
// attributes. The first of a window always pass. How many did not is told by a line of the same
// level when the window is over, as long as Run runs.
type Limit struct {
	next      slog.Handler
	component string
	s         *limits
}

var _ slog.Handler = (*Limit)(nil)

// limits is what all handlers derived from one Limit share.
type limits struct {
	mu         sync.Mutex
	kinds      map[kind]*window
	held       map[group]int // how many of kinds are of it
	suppressed atomic.Uint64
}

type kind struct {
	level              slog.Level
	component, message string
}

// group is what kinds have room in together.
type group struct {
	component string
	fine      bool
}

func (k kind) group() group { return group{k.component, k.level < slog.LevelInfo} }

type window struct {
	began      time.Time
	seen, left int
	first      slog.Handler // of the first line left out; nil if there is none
}

// NewLimit returns a Limit in front of a handler.
func NewLimit(next slog.Handler) *Limit {
	return &Limit{next: next, s: &limits{kinds: map[kind]*window{}, held: map[group]int{}}}
}

// Suppressed returns how many lines were left out so far.
func (l *Limit) Suppressed() uint64 { return l.s.suppressed.Load() }

// Enabled implements slog.Handler.
func (l *Limit) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (l *Limit) WithAttrs(attrs []slog.Attr) slog.Handler {
	to := &Limit{next: l.next.WithAttrs(attrs), component: l.component, s: l.s}
	for _, a := range attrs {
		if a.Key == ComponentKey {
			to.component = a.Value.String()
		}
	}
	return to
}

// WithGroup implements slog.Handler.
func (l *Limit) WithGroup(name string) slog.Handler {
	return &Limit{next: l.next.WithGroup(name), component: l.component, s: l.s}
}

// Handle implements slog.Handler.
func (l *Limit) Handle(ctx context.Context, r slog.Record) error {
	k := kind{r.Level, l.component, r.Message[:min(len(r.Message), limitMessage)]}
	pass, over := l.s.count(k, l.next)
	if over != nil {
		if err := over.tell(ctx); err != nil {
			return err
		}
	}
	if !pass {
		return nil
	}
	return l.next.Handle(ctx, r)
}

// count notes a line and says whether it passes. If the window before it is over
// and left lines out, it is returned.
func (s *limits) count(k kind, to slog.Handler) (pass bool, over *ended) {
	most := LimitLines
	if k.level < slog.LevelInfo {
		most = LimitFine
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.kinds[k]
	if w == nil && s.held[k.group()] >= limitKinds {
		k.message = ""
		w = s.kinds[k]
	}
	if w == nil {
		w = &window{began: now}
		k.message = strings.Clone(k.message) // not the whole of it
		s.kinds[k] = w
		s.held[k.group()]++
	}
	if now.Sub(w.began) >= LimitWindow {
		over = w.end(k, now)
		*w = window{began: now}
	}
	w.seen++
	if w.seen <= most {
		return true, over
	}
	if w.left == 0 {
		w.first = to
	}
	w.left++
	s.suppressed.Add(1)
	return false, over
}

// ended is a window that is over, of which something is to be told.
type ended struct {
	kind
	left int
	took time.Duration
	to   slog.Handler
}

func (w *window) end(k kind, now time.Time) *ended {
	if w.left == 0 {
		return nil
	}
	return &ended{kind: k, left: w.left, took: now.Sub(w.began), to: w.first}
}

// tell writes how many lines were left out.
func (e *ended) tell(ctx context.Context) error {
	message := e.message
	if message == "" {
		message = "lines of many kinds"
	}
	r := slog.NewRecord(time.Now(), e.level, fmt.Sprintf("%s … and %d more in %s", message, e.left, e.took.Round(time.Second)), 0)
	r.AddAttrs(slog.Int("suppressed", e.left))
	if !e.to.Enabled(ctx, e.level) {
		return nil
	}
	return e.to.Handle(ctx, r)
}

// Run tells of windows that are over until ctx ends, and then of all.
func (l *Limit) Run(ctx context.Context) {
	t := time.NewTicker(limitSweep)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			l.s.sweep(context.WithoutCancel(ctx), true)
			return
		case <-t.C:
			l.s.sweep(ctx, false)
		}
	}
}

// sweep forgets the windows that are over, or all, and tells of them. What a
// handler cannot write has nobody to be told to.
func (s *limits) sweep(ctx context.Context, all bool) {
	var over []*ended
	now := time.Now()
	s.mu.Lock()
	for k, w := range s.kinds {
		if !all && now.Sub(w.began) < LimitWindow {
			continue
		}
		if e := w.end(k, now); e != nil {
			over = append(over, e)
		}
		delete(s.kinds, k)
		if s.held[k.group()]--; s.held[k.group()] == 0 {
			delete(s.held, k.group())
		}
	}
	s.mu.Unlock()
	for _, e := range over {
		_ = e.tell(ctx)
	}
}
