package agentcmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"log/syslog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/legate-project/legate/internal/lifecycle"
)

const (
	// syslogQueue is how many lines wait for the system's log at most; more are lost.
	syslogQueue = 1024
	// syslogEnd is how long it may take what is left at the end.
	syslogEnd = time.Second
)

// system is the system's log. Lines go there on a goroutine of its own: one that
// takes nothing for a while does not hold up the agent.
type system struct {
	to    *syslog.Writer
	queue chan entry
	lost  atomic.Uint64
	group *lifecycle.Group
}

// entry is a line with what writes it.
type entry struct {
	write func(string) error
	text  string
}

// openSyslog connects to the log of the system, or to the one at an address.
func openSyslog(network, address, facility string) (*system, error) {
	names := []string{"KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP",
		"", "", "", "", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6", "LOCAL7"} // RFC 5424, section 6.2.1
	number := slices.Index(names, strings.ToUpper(facility))
	if number < 0 {
		return nil, fmt.Errorf("syslog_facility: %q is none", facility)
	}
	w, err := syslog.Dial(network, address, syslog.Priority(number<<3)|syslog.LOG_INFO, "legate")
	if err != nil {
		return nil, fmt.Errorf("send the log to syslog (enable_syslog): %w", err)
	}
	s := &system{to: w, queue: make(chan entry, syslogQueue), group: lifecycle.New("syslog")}
	return s, s.group.Go("write to syslog", s.run)
}

// Close writes what is left, within syslogEnd.
func (s *system) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), syslogEnd)
	defer cancel()
	_ = errors.Join(s.group.Stop(ctx), s.to.Close()) // nothing is left that could report it
}

// run writes lines as they come and, when ctx ends, those that wait.
func (s *system) run(ctx context.Context) {
	for {
		select {
		case e := <-s.queue:
			s.write(e)
			continue
		case <-ctx.Done():
		}
		select {
		case e := <-s.queue:
			s.write(e)
		default:
			return
		}
	}
}

// write sends a line, and before it how many were lost. What syslog does not take
// is lost, too: there is nobody else to tell.
func (s *system) write(e entry) {
	if n := s.lost.Swap(0); n > 0 {
		_ = s.to.Warning(fmt.Sprintf("msg=\"lines of the log are lost: syslog did not take them in time\" lines=%d", n))
	}
	_ = e.write(e.text)
}

// take queues a line for a function that writes it.
func (s *system) take(write func(string) error, text string) {
	select {
	case s.queue <- entry{write, text}:
	default:
		s.lost.Add(1)
	}
}

// handler writes records with the severity of their level. Syslog notes the time
// itself.
func (s *system) handler(level slog.Leveler) slog.Handler {
	to := func(write func(string) error) slog.Handler {
		w := lines(func(text string) { s.take(write, text) })
		return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: untimed})
	}
	return severities{level: level, debug: to(s.to.Debug), info: to(s.to.Info), warn: to(s.to.Warning), err: to(s.to.Err)}
}

// lines hands each line to a function.
type lines func(string)

// Write implements io.Writer.
func (l lines) Write(b []byte) (int, error) {
	l(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// severities hands records to the handler of their severity.
type severities struct {
	level                  slog.Leveler
	debug, info, warn, err slog.Handler
}

var _ slog.Handler = severities{}

// Enabled implements slog.Handler.
func (s severities) Enabled(_ context.Context, level slog.Level) bool {
	return level >= s.level.Level()
}

// Handle implements slog.Handler.
func (s severities) Handle(ctx context.Context, r slog.Record) error {
	to := s.debug
	switch {
	case r.Level >= slog.LevelError:
		to = s.err
	case r.Level >= slog.LevelWarn:
		to = s.warn
	case r.Level >= slog.LevelInfo:
		to = s.info
	}
	return to.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (s severities) WithAttrs(attrs []slog.Attr) slog.Handler {
	return s.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (s severities) WithGroup(name string) slog.Handler {
	return s.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (s severities) with(do func(slog.Handler) slog.Handler) slog.Handler {
	return severities{level: s.level, debug: do(s.debug), info: do(s.info), warn: do(s.warn), err: do(s.err)}
}

// inode tells a file from another one that took its name; 0 if it is not known.
func inode(info os.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
