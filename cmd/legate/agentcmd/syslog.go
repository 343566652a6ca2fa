package agentcmd

import (
	"context"
	"fmt"
	"log/slog"
	"log/syslog"
	"os"
	"slices"
	"strings"
	"syscall"
)

// system is the system's log.
type system struct{ *syslog.Writer }

// openSyslog connects to the log of the system, or to the one at an address.
func openSyslog(network, address, facility string) (system, error) {
	names := []string{"KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP",
		"", "", "", "", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6", "LOCAL7"} // RFC 5424, section 6.2.1
	number := slices.Index(names, strings.ToUpper(facility))
	if number < 0 {
		return system{}, fmt.Errorf("syslog_facility: %q is none", facility)
	}
	w, err := syslog.Dial(network, address, syslog.Priority(number<<3)|syslog.LOG_INFO, "legate")
	if err != nil {
		return system{}, fmt.Errorf("send the log to syslog (enable_syslog): %w", err)
	}
	return system{w}, nil
}

// handler writes records with the severity of their level. Syslog notes the time
// itself.
func (s system) handler(level slog.Leveler) slog.Handler {
	to := func(write func(string) error) slog.Handler {
		w := lines(write)
		return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		}})
	}
	return severities{level: level, debug: to(s.Debug), info: to(s.Info), warn: to(s.Warning), err: to(s.Err)}
}

// lines writes each line by a function.
type lines func(string) error

// Write implements io.Writer.
func (l lines) Write(b []byte) (int, error) { return len(b), l(strings.TrimSuffix(string(b), "\n")) }

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
