package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MaxListeners of one Tee: each gets every line formatted anew.
	MaxListeners = 16
	// listenerQueue is how many lines wait for a listener that is slower than
	// the log; what comes on top is lost to it.
	listenerQueue = 512
)

// ErrTooManyListeners is returned by Listen at the limit of a Tee.
var ErrTooManyListeners = errors.New("too many listeners to the log")

// Tee is a handler whose records others can listen to while it runs, also
// those below the level of the handler that it wraps. It never waits for a
// listener; while there is none it costs one atomic load.
type Tee struct {
	next slog.Handler
	hub  *hub
	// with is what WithAttrs and WithGroup did to this handler, for the
	// handlers of listeners.
	with []func(slog.Handler) slog.Handler
}

var _ slog.Handler = (*Tee)(nil)

// hub is what all handlers derived from one Tee share.
type hub struct {
	mu   sync.Mutex // held by those who replace all
	all  atomic.Pointer[[]*Listener]
	most int
	lost atomic.Uint64
}

// NewTee returns a Tee in front of a handler.
func NewTee(next slog.Handler) *Tee {
	h := &hub{most: MaxListeners}
	h.all.Store(&[]*Listener{})
	return &Tee{next: next, hub: h}
}

// Enabled implements slog.Handler.
func (t *Tee) Enabled(ctx context.Context, level slog.Level) bool {
	for _, l := range *t.hub.all.Load() {
		if level >= l.level {
			return true
		}
	}
	return t.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (t *Tee) Handle(ctx context.Context, r slog.Record) error {
	for _, l := range *t.hub.all.Load() {
		if r.Level >= l.level {
			l.take(ctx, t.with, r)
		}
	}
	if !t.next.Enabled(ctx, r.Level) {
		return nil
	}
	return t.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (t *Tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return t.derived(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (t *Tee) WithGroup(name string) slog.Handler {
	return t.derived(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (t *Tee) derived(with func(slog.Handler) slog.Handler) *Tee {
	return &Tee{next: with(t.next), hub: t.hub, with: append(slices.Clip(t.with), with)}
}

// Listen returns a listener that gets a line for each record from the level
// on: as New writes them or, with asJSON, as one object a line with the fields
// that clients of go-hclog know. It fails with ErrTooManyListeners.
func (t *Tee) Listen(level slog.Level, asJSON bool) (*Listener, error) {
	l := &Listener{hub: t.hub, level: level, json: asJSON, lines: make(chan []byte, listenerQueue)}
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	all := *t.hub.all.Load()
	if len(all) >= t.hub.most {
		return nil, ErrTooManyListeners
	}
	all = append(slices.Clip(all), l)
	t.hub.all.Store(&all)
	return l, nil
}

// Lost returns how many lines listeners lost so far.
func (t *Tee) Lost() uint64 { return t.hub.lost.Load() }

// Listeners returns how many listen now.
func (t *Tee) Listeners() int { return len(*t.hub.all.Load()) }

// Listener is one who listens to a log. It must be closed.
type Listener struct {
	hub   *hub
	level slog.Level
	json  bool
	lines chan []byte
	lost  atomic.Int64
}

// Lines returns the lines, each with its newline.
func (l *Listener) Lines() <-chan []byte { return l.lines }

// Lost returns a line that says how many were dropped since the last call
// because nobody took them, or nil if none was.
func (l *Listener) Lost() []byte {
	n := l.lost.Swap(0)
	if n == 0 {
		return nil
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, fmt.Sprintf("%d lines dropped", n), 0)
	r.AddAttrs(slog.String("component", "monitor"))
	return l.format(context.Background(), nil, r)
}

// Close ends the listening; lines that wait can still be read.
func (l *Listener) Close() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(*l.hub.all.Load()), func(o *Listener) bool { return o == l })
	l.hub.all.Store(&all)
}

func (l *Listener) take(ctx context.Context, with []func(slog.Handler) slog.Handler, r slog.Record) {
	if len(l.lines) == cap(l.lines) { // do not format what will be lost
		l.lose()
		return
	}
	select {
	case l.lines <- l.format(ctx, with, r):
	default:
		l.lose()
	}
}

func (l *Listener) lose() {
	l.lost.Add(1)
	l.hub.lost.Add(1)
}

// format returns the record as a line.
func (l *Listener) format(ctx context.Context, with []func(slog.Handler) slog.Handler, r slog.Record) []byte {
	var out bytes.Buffer
	opts := &slog.HandlerOptions{Level: LevelTrace, ReplaceAttr: nameTrace}
	var h slog.Handler = slog.NewTextHandler(&out, opts)
	if l.json {
		opts.ReplaceAttr = hclogNames
		h = slog.NewJSONHandler(&out, opts)
	}
	for _, f := range with {
		h = f(h)
	}
	if err := h.Handle(ctx, r); err != nil { // a value that cannot be shown: its message still can
		b, _ := json.Marshal(map[string]string{"@message": r.Message, "error": err.Error()}) // text cannot fail
		return append(b, '\n')
	}
	return out.Bytes()
}

// hclogNames gives the fields of a record the names that go-hclog has for
// them.
func hclogNames(groups []string, a slog.Attr) slog.Attr {
	if len(groups) != 0 {
		return a
	}
	switch {
	case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
		return slog.String("@timestamp", a.Value.Time().Format("2006-01-02T15:04:05.000000Z07:00"))
	case a.Key == slog.LevelKey:
		name := nameTrace(groups, a).Value.String()
		return slog.String("@level", strings.ToLower(name))
	case a.Key == slog.MessageKey:
		return slog.String("@message", a.Value.String())
	case a.Key == "component":
		return slog.String("@module", a.Value.String())
	}
	return a
}
