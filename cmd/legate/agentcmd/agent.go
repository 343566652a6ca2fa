// Package agentcmd runs an agent in the foreground: configuration, log, signals, and
// the pace of the garbage collector. What an agent does is not decided here.
package agentcmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/legate-project/legate/cmd/legate/agentcmd/logfile"
	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/version"
)

const (
	// leaveTimeout is how long a graceful leave may take on top of the
	// configured drain time.
	leaveTimeout = 15 * time.Second
	// stopTimeout is how long stopping may take after that.
	stopTimeout = 15 * time.Second
)

// Process is a running agent as this command drives it. Done is closed
// when the agent ends by itself, for example because it was told to leave;
// Stop then returns why.
type Process interface {
	Start(ctx context.Context) error
	Leave(ctx context.Context) error
	Stop(ctx context.Context) error
	Reload(cfg *config.Config) error
	Done() <-chan struct{}
	// NodeID is the node's UUID.
	NodeID() string
}

// Options is what an agent is built from.
type Options struct {
	Config  *config.Config
	Log     *slog.Logger
	Level   *slog.LevelVar // of Log; a reload changes it
	Version string
	Load    func() (*config.Config, error) // reads the configuration again
}

// Build builds an agent without starting it.
type Build func(Options) (Process, error)

// Agent is the command agent.
func Agent(build Build) command.Command {
	return command.Command{
		Name: "agent", Synopsis: "Run an agent",
		About: "Runs an agent in the foreground: a client, or with -server a server. Flags override configuration files.\n" +
			"SIGHUP reads the configuration again. A first SIGINT or SIGTERM leaves or stops (leave_on_terminate,\nskip_leave_on_interrupt), a second one ends the process at once.",
		Example: "legate agent -dev\nlegate agent -server -bootstrap-expect=3 -data-dir=/var/lib/legate -retry-join=10.0.0.7\nlegate agent -config-dir=/etc/legate.d",
		New:     func() command.Action { return &agentAction{build: build} },
	}
}

type agentAction struct {
	build Build
	conf  *config.Flags

	process Process
	cfg     *config.Config
	loaded  string // the state of its files before it was read
	log     *slog.Logger
	level   slog.LevelVar
}

func (a *agentAction) Flags(fs *flag.FlagSet) { a.conf = config.RegisterFlags(fs) }

func (a *agentAction) Run(c *command.Call, _ []string) error {
	signals := make(chan os.Signal, command.SignalQueue)
	c.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	a.loaded = stateOf(a.conf.Files())
	cfg, warnings, err := config.Load(config.Sources{Flags: a.conf})
	for _, w := range warnings {
		fmt.Fprintln(c.Stderr, "Warning:", w)
	}
	if err != nil {
		return fmt.Errorf("the configuration has faults:\n%w", err)
	}
	a.cfg = cfg
	out, closeLog, err := openLog(c.Stdout, cfg)
	if err != nil {
		return err
	}
	defer closeLog()
	if err := a.setLevel(cfg); err != nil {
		return err
	}
	a.log = logging.New(out, &a.level, cfg.LogJSON)
	if cfg.EnableSyslog {
		s, err := openSyslog("", "", cfg.SyslogFacility)
		if err != nil {
			return err
		}
		defer s.Close()
		a.log = slog.New(slog.NewMultiHandler(a.log.Handler(), s.handler(&a.level)))
	}
	shared := a.log // the agent says itself where its lines come from
	a.log = slog.New(logging.Named(shared.Handler(), "agent", logging.Origin{Node: cfg.NodeName, Datacenter: cfg.Datacenter}))
	if os.Getenv("GOGC") == "" {
		paceGC()
	}
	removePid, err := writePid(cfg.PidFile)
	if err != nil {
		return err
	}
	defer removePid()
	a.process, err = a.build(Options{Config: cfg, Log: shared, Level: &a.level, Version: version.Release(), Load: a.load})
	if err != nil {
		return fmt.Errorf("build the agent: %w", err)
	}
	if err := banner(c.Stdout, cfg, a.process.NodeID()); err != nil {
		return fmt.Errorf("write the banner: %w", err)
	}
	return a.drive(signals)
}

func (a *agentAction) setLevel(cfg *config.Config) error {
	level, err := logging.ParseLevel(cfg.LogLevel)
	if err != nil {
		return fmt.Errorf("set the log level: %w", err)
	}
	a.level.Set(level)
	return nil
}

// drive starts the agent and ends it when a signal says so or when it ends by
// itself.
func (a *agentAction) drive(signals <-chan os.Signal) error {
	work := lifecycle.New("agent command")
	started, err := command.Background(work, "start", a.process.Start)
	if err != nil {
		return err
	}
	files := watchFiles(a.conf, a.cfg.AutoReloadConfig, a.loaded)
	defer files.stop()
	for {
		select {
		case <-files.tick:
			if started == nil && files.changed() { // what changes before is loaded then
				a.log.Info("configuration files changed")
				a.reload(false)
			}
		case err := <-started:
			if err != nil {
				return errors.Join(fmt.Errorf("start the agent: %w", err), a.stop())
			}
			started = nil
			a.log.Info("agent started")
		case <-a.process.Done():
			return a.stop()
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				a.reload(started != nil)
				continue
			}
			return a.end(work, sig, signals, started)
		}
	}
}

// reload reads the configuration again. Whatever is wrong with it, the agent
// goes on with what it has.
func (a *agentAction) reload(starting bool) {
	if starting {
		a.log.Warn("not reloading: the agent is still starting")
		return
	}
	next, err := a.load()
	if err == nil {
		err = a.process.Reload(next)
	}
	if err != nil {
		a.log.Error("reload failed, the agent goes on as before", "error", err)
	}
}

// load reads the configuration again and says what of it needs a restart.
func (a *agentAction) load() (*config.Config, error) {
	next, warnings, err := config.Load(config.Sources{Flags: a.conf})
	for _, w := range warnings {
		a.log.Warn(w)
	}
	if err != nil {
		return nil, err
	}
	for _, change := range config.Changes(a.cfg, next) {
		if !change.Reload {
			a.log.Warn("a changed key needs a restart", "key", change.Key)
		}
	}
	return next, nil
}

// end leaves, if the configuration says so for this signal, and stops. A
// second signal breaks it off.
func (a *agentAction) end(work *lifecycle.Group, sig os.Signal, signals <-chan os.Signal, starting <-chan error) error {
	graceful := starting == nil &&
		((sig == syscall.SIGINT && !a.cfg.SkipLeaveOnInterrupt) || (sig == syscall.SIGTERM && a.cfg.LeaveOnTerminate))
	a.log.Info("ending", "signal", sig.String(), "leave", graceful)
	ended, err := command.Background(lifecycle.New("agent end"), "end", func(ctx context.Context) error {
		var errLeave error
		if graceful {
			errLeave = a.leave(ctx)
		}
		if starting != nil { // Start's context ends here
			ctx, cancel := context.WithTimeout(ctx, stopTimeout)
			defer cancel()
			errLeave = work.Stop(ctx)
		}
		return errors.Join(errLeave, a.stop())
	})
	if err != nil {
		return err
	}
	for {
		select {
		case err := <-ended:
			return err
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return fmt.Errorf("ended at once by a second signal (%s)", sig)
			}
		}
	}
}

func (a *agentAction) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout+a.cfg.Performance.LeaveDrainTime)
	defer cancel()
	if err := a.process.Leave(ctx); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}

func (a *agentAction) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := a.process.Stop(ctx); err != nil {
		return fmt.Errorf("stop the agent: %w", err)
	}
	return nil
}

// writePid writes the process ID and returns what removes it again.
func writePid(path string) (remove func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return nil, fmt.Errorf("write the process ID: %w", err)
	}
	return func() { _ = os.Remove(path) }, nil // a file left behind is overwritten next time
}

// openLog returns where log lines go: the standard output and, if configured,
// a file.
func openLog(stdout io.Writer, cfg *config.Config) (io.Writer, func(), error) {
	if cfg.LogFile == "" {
		return stdout, func() {}, nil
	}
	path := cfg.LogFile
	if strings.HasSuffix(path, string(filepath.Separator)) {
		path = filepath.Join(path, "legate.log")
	}
	file, err := logfile.Open(path, logfile.Rotation{Bytes: int64(cfg.LogRotateBytes), Age: cfg.LogRotateDuration, Keep: cfg.LogRotateMaxFiles})
	if err != nil {
		return nil, nil, err
	}
	return io.MultiWriter(stdout, file), func() { _ = file.Close() }, nil // nothing is left that could report it
}
