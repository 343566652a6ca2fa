// Package logging builds the one slog logger of a process and adapts it to
// the libraries that want another kind.
//
// It formats, filters by level, adapts and lets others listen to what is
// logged; it opens no files and rotates nothing.
package logging

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
)

// LevelTrace is below slog.LevelDebug, for what happens on each packet.
const LevelTrace = slog.LevelDebug - 4

// ParseLevel reads TRACE, DEBUG, INFO, WARN or ERR(OR), in any case.
func ParseLevel(s string) (slog.Level, error) {
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "TRACE":
		return LevelTrace, nil
	case "DEBUG":
		return slog.LevelDebug, nil
	case "", "INFO":
		return slog.LevelInfo, nil
	case "WARN":
		return slog.LevelWarn, nil
	case "ERR", "ERROR":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("unknown log level %q: use TRACE, DEBUG, INFO, WARN or ERR", s)
}

// New returns a logger that writes one line a record to w, as text or as JSON.
// The level may be changed while it runs.
func New(w io.Writer, level *slog.LevelVar, asJSON bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: nameTrace}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// Discard returns a logger that drops everything.
func Discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func nameTrace(groups []string, a slog.Attr) slog.Attr {
	if a.Key != slog.LevelKey || len(groups) != 0 {
		return a
	}
	if level, ok := a.Value.Any().(slog.Level); ok && level == LevelTrace {
		return slog.String(slog.LevelKey, "TRACE")
	}
	return a
}

// HCLog returns an hclog.Logger that hands everything to l; for raft.
func HCLog(l *slog.Logger) hclog.Logger {
	h := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Trace})
	h.RegisterSink(sink{l})
	return h
}

// Std returns a *log.Logger that hands everything to l; for serf and
// memberlist, whose lines begin with a level in brackets. Their complaints are
// about what comes from the network, a line for each bad packet: above
// complaintsBurst at once and complaintsRate a second they are counted only, and
// the next one says how many were left out.
func Std(l *slog.Logger) *log.Logger {
	h := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Trace})
	h.RegisterSink(&calm{sink: sink{l}, rate: rate.NewLimiter(complaintsRate, complaintsBurst)})
	return h.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})
}

const (
	complaintsRate  = 1 // a second
	complaintsBurst = 30
)

// calm passes warnings and errors on no faster than rate.
type calm struct {
	sink
	rate *rate.Limiter
	left atomic.Int64 // out since the last line
}

// Accept implements hclog.SinkAdapter.
func (c *calm) Accept(name string, level hclog.Level, msg string, args ...interface{}) {
	if level >= hclog.Warn {
		if !c.rate.Allow() {
			c.left.Add(1)
			return
		}
		if n := c.left.Swap(0); n > 0 {
			args = append(args, "left_out_before", n)
		}
	}
	c.sink.Accept(name, level, msg, args...)
}

// sink passes hclog records on to slog.
type sink struct{ log *slog.Logger }

var _ hclog.SinkAdapter = sink{}

// Accept implements hclog.SinkAdapter.
func (s sink) Accept(_ string, level hclog.Level, msg string, args ...interface{}) {
	to := slog.LevelInfo
	switch level {
	case hclog.Trace:
		to = LevelTrace
	case hclog.Debug:
		to = slog.LevelDebug
	case hclog.Warn:
		to = slog.LevelWarn
	case hclog.Error:
		to = slog.LevelError
	}
	ctx := context.Background()
	if !s.log.Enabled(ctx, to) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			if text, ok := f[0].(string); ok {
				args[i] = fmt.Sprintf(text, f[1:]...)
			}
		}
	}
	s.log.Log(ctx, to, msg, args...)
}
