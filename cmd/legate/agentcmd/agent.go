// Package agentcmd runs an agent in the foreground: configuration, log, signals, and
// the pace of the garbage collector. What an agent does is not decided here.
package agentcmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/version"
)

const (
	// handOverTimeout is how long a server that stops waits for another to lead.
	handOverTimeout = 2 * time.Second
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
	// HandOver has another server lead.
	HandOver(ctx context.Context) error
	Stop(ctx context.Context) error
	Reload(cfg *config.Config) error
	Done() <-chan struct{}
	// NodeID is the node's UUID.
	NodeID() string
	Health
}

// Health is how an agent fares.
type Health interface {
	// Ready says whether it is one to send requests to.
	Ready(ctx context.Context, limit *time.Duration) ready.State
	// Alive returns an error unless its loops answer before ctx ends.
	Alive(ctx context.Context) error
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

	process    Process
	cfg        *config.Config
	loaded     string // the state of its files before it was read
	supervisor *supervisor
	log        *slog.Logger
	level      slog.LevelVar
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
	closeLog, err := a.openLog(c.Stdout)
	if err != nil {
		return err
	}
	defer closeLog()
	shared := a.log // the agent says itself where its lines come from
	a.log = slog.New(logging.Named(shared.Handler(), "agent", logging.Origin{Node: cfg.NodeName, Datacenter: cfg.Datacenter}))
	if os.Getenv("GOGC") == "" {
		paceGC()
	}
	pid, err := claimPid(cfg.PidFile)
	if err != nil {
		return err
	}
	defer pid.release()
	a.process, err = a.build(Options{Config: cfg, Log: shared, Level: &a.level, Version: version.Release(), Load: a.load})
	if err != nil {
		return fmt.Errorf("build the agent: %w", err)
	}
	if err := banner(c.Stdout, cfg, a.process.NodeID()); err != nil {
		return fmt.Errorf("write the banner: %w", err)
	}
	if a.supervisor, err = newSupervisor(a.process, a.log); err != nil {
		return err
	}
	defer a.supervisor.close()
	return a.drive(signals)
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
		case beat := <-a.supervisor.beats:
			close(beat)
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
			a.supervisor.stopping("ending by itself", stopTimeout)
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
	a.supervisor.reloading()
	defer a.supervisor.reloaded()
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
	a.supervisor.stopping("ending by "+sig.String(), leaveTimeout+a.cfg.Performance.LeaveDrainTime+2*stopTimeout)
	ended, err := command.Background(lifecycle.New("agent end"), "end", func(ctx context.Context) error {
		var errLeave error
		switch {
		case graceful:
			errLeave = a.leave(ctx)
		case starting == nil:
			a.handOver(ctx)
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

// handOver has another server lead before this one stops. Without a majority nobody
// takes over, and the agent stops all the same.
func (a *agentAction) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	if err := a.process.HandOver(ctx); err != nil {
		a.log.Warn("leadership was not handed over, the others will elect a leader", "error", err)
	}
}

func (a *agentAction) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := a.process.Stop(ctx); err != nil {
		return fmt.Errorf("stop the agent: %w", err)
	}
	return nil
}
