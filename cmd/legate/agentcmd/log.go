package agentcmd

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/legate-project/legate/cmd/legate/agentcmd/logfile"
	"github.com/legate-project/legate/internal/logging"
)

// journalVar is what the service manager sets where the output goes to the journal:
// device and inode of the stream.
const journalVar = "JOURNAL_STREAM"

// openLog makes the log of the configuration: to the standard output, and to a file
// and to syslog if they are configured.
func (a *agentAction) openLog(stdout io.Writer) (closeLog func(), err error) {
	level, err := logging.ParseLevel(a.cfg.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("set the log level: %w", err)
	}
	a.level.Set(level)
	closeLog = func() {}
	var handlers []slog.Handler
	toJournal := isJournal(stdout)
	if toJournal {
		handlers = append(handlers, journal(stdout, &a.level, a.cfg.LogJSON))
		stdout = io.Discard
	}
	out, file, err := a.openFile(stdout)
	if err != nil {
		return nil, err
	}
	if file != nil {
		closeLog = func() { _ = file.Close() } // nothing is left that could report it
	}
	if file != nil || !toJournal {
		handlers = append(handlers, logging.New(out, &a.level, a.cfg.LogJSON).Handler())
	}
	if a.cfg.EnableSyslog {
		s, err := openSyslog("", "", a.cfg.SyslogFacility)
		if err != nil {
			closeLog()
			return nil, err
		}
		handlers = append(handlers, s.handler(&a.level))
		closeFile := closeLog
		closeLog = func() { s.Close(); closeFile() }
	}
	a.log = slog.New(handlers[0])
	if len(handlers) > 1 {
		a.log = slog.New(slog.NewMultiHandler(handlers...))
	}
	return closeLog, nil
}

// openFile returns what lines are written to, and the file that is part of it; nil for
// none.
func (a *agentAction) openFile(stdout io.Writer) (io.Writer, io.Closer, error) {
	path := a.cfg.LogFile
	if path == "" {
		return stdout, nil, nil
	}
	if strings.HasSuffix(path, string(filepath.Separator)) {
		path = filepath.Join(path, "legate.log")
	}
	file, err := logfile.Open(path, logfile.Rotation{Bytes: int64(a.cfg.LogRotateBytes), Age: a.cfg.LogRotateDuration, Keep: a.cfg.LogRotateMaxFiles})
	if err != nil {
		return nil, nil, err
	}
	return io.MultiWriter(stdout, file), file, nil
}

// isJournal reports whether what is written goes to the journal: the variable alone is
// inherited by whoever a service starts, with another output.
func isJournal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv(journalVar) == fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}

// journal writes lines as the journal takes them: a priority in front, and no time,
// which it notes itself.
func journal(w io.Writer, level slog.Leveler, asJSON bool) slog.Handler {
	to := func(priority string) slog.Handler {
		opts := &slog.HandlerOptions{Level: level, ReplaceAttr: untimed}
		out := prefixed{w, priority}
		if asJSON {
			return slog.NewJSONHandler(out, opts)
		}
		return slog.NewTextHandler(out, opts)
	}
	return severities{level: level, debug: to("<7>"), info: to("<6>"), warn: to("<4>"), err: to("<3>")} // sd-daemon(3)
}

// prefixed writes each line, which is one write, with something in front.
type prefixed struct {
	to     io.Writer
	prefix string
}

// Write implements io.Writer.
func (p prefixed) Write(b []byte) (int, error) {
	if _, err := p.to.Write(append([]byte(p.prefix), b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// untimed leaves out what systems that keep logs note themselves.
func untimed(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return a
}
