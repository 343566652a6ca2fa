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
	"unicode"
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
// on, in the forms of go-hclog, which clients know: "TIME [LEVEL] component:
// message: key=value" or, with asJSON, one object a line. It fails with
// ErrTooManyListeners.
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
	var err error
	if l.json {
		err = through(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: LevelTrace, ReplaceAttr: hclogNames}), with).Handle(ctx, r)
	} else {
		err = bracketed(ctx, &out, with, r)
	}
	if err != nil { // a value that cannot be shown: its message still can
		b, _ := json.Marshal(map[string]string{"@message": r.Message, "error": err.Error()}) // text cannot fail
		return append(b, '\n')
	}
	return out.Bytes()
}

// through is the handler with what WithAttrs and WithGroup did to a Tee.
func through(h slog.Handler, with []func(slog.Handler) slog.Handler) slog.Handler {
	for _, f := range with {
		h = f(h)
	}
	return h
}

// bracketed writes the record as go-hclog does. The attributes are written by
// slog; its own first words, which ReplaceAttr is shown before any attribute
// of the record, and the component are left out there and stand in front.
func bracketed(ctx context.Context, out *bytes.Buffer, with []func(slog.Handler) slog.Handler, r slog.Record) error {
	var attrs bytes.Buffer
	component, own := "", 0
	h := through(slog.NewTextHandler(&attrs, &slog.HandlerOptions{Level: LevelTrace, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		switch {
		case own > 0:
			own--
			return slog.Attr{}
		case len(groups) == 0 && a.Key == "component":
			component = a.Value.String() + ": "
			return slog.Attr{}
		}
		return a
	}}), with)
	at, message := r.Time, r.Message
	r.Time = time.Time{}
	own = 2 // level and message; without a time slog shows none
	if err := h.Handle(ctx, r); err != nil {
		return err
	}
	colon := ": "
	if attrs.Len() <= 1 {
		colon = ""
	}
	fmt.Fprintf(out, "%s %-7s %s%s%s", at.UTC().Format("2006-01-02T15:04:05.000Z0700"), "["+levelName(r.Level)+"]", component, oneLine(message), colon)
	_, err := attrs.WriteTo(out)
	return err
}

// levelName is the level as go-hclog writes it.
func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "TRACE"
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < slog.LevelWarn:
		return "INFO"
	case l < slog.LevelError:
		return "WARN"
	}
	return "ERROR"
}

// oneLine keeps a message from looking like several.
func oneLine(s string) string {
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
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
