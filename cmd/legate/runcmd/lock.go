// Package runcmd has programs run: under a lock, at changes, on other agents, and at
// the user events that it fires.
//
// What runs is ended when the reason for it is gone; nothing of it outlives its
// command.
package runcmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/internal/lifecycle"
)

const (
	// lockKey is where the lock below a prefix is, for all who use it.
	lockKey = ".lock"
	// childGrace is how long a child may take to end after SIGTERM.
	childGrace = 5 * time.Second
	// monitorPause is the time between looks at a lock whose state is unknown.
	monitorPause = time.Second
)

// Lock is the command lock.
func Lock() command.Command {
	return command.Command{
		Name: "lock", Synopsis: "Run a command while holding a lock", Args: "PREFIX COMMAND...", Min: 2, Max: -1, Access: command.ToDatacenter,
		About: "Waits for the lock PREFIX/.lock, or with -n for one of that many slots, runs the command, and gives the lock back.\n" +
			"The command is ended (SIGTERM, after 5s SIGKILL) when the lock is lost: no two holders run at once. Its environment\n" +
			"has CONSUL_LOCK_HELD=true.",
		Example: "legate lock jobs/nightly ./run-nightly\nlegate lock -n=3 -timeout=30s jobs/import ./import\nlegate lock -shell=false -child-exit-code jobs/a ./a",
		New:     func() command.Action { return &lockAction{} },
	}
}

type lockAction struct {
	slots, retries                       int
	name                                 string
	timeout, try                         time.Duration
	childCode, passStdin, shell, verbose bool
}

func (a *lockAction) Flags(fs *flag.FlagSet) {
	fs.IntVar(&a.slots, "n", 1, "`number` of holders at a time; above 1 it is a semaphore.")
	fs.IntVar(&a.retries, "monitor-retry", 3, "`number` of tries, a second apart, before an agent that fails means that the lock is lost.")
	fs.StringVar(&a.name, "name", "", "`name` of the session that holds the lock.")
	fs.DurationVar(&a.timeout, "timeout", 0, "`duration` after which to give up waiting for the lock; 0 waits for ever.")
	fs.DurationVar(&a.try, "try", 0, "`duration`, an older name of -timeout.")
	fs.BoolVar(&a.childCode, "child-exit-code", false, "exit with 2 if the command fails; else its failure is only told.")
	fs.BoolVar(&a.passStdin, "pass-stdin", false, "give standard input to the command.")
	fs.BoolVar(&a.shell, "shell", true, "run the command with sh -c.")
	fs.BoolVar(&a.verbose, "verbose", false, "tell what happens.")
}

// holder is a lock or a semaphore of the official client.
type holder struct {
	acquire func(stop <-chan struct{}) (lost <-chan struct{}, err error)
	release func() error
	// remove takes the lock's own key away; the error says that it is in use.
	remove func() error
}

func (a *lockAction) holder(client *api.Client, prefix string) (*holder, error) {
	wait := max(a.timeout, a.try)
	if a.slots == 1 {
		l, err := client.LockOpts(&api.LockOptions{Key: path.Join(prefix, lockKey), SessionName: a.name,
			MonitorRetries: a.retries, MonitorRetryTime: monitorPause, LockTryOnce: wait > 0, LockWaitTime: wait})
		if err != nil {
			return nil, err
		}
		return &holder{l.Lock, l.Unlock, l.Destroy}, nil
	}
	s, err := client.SemaphoreOpts(&api.SemaphoreOptions{Prefix: prefix, Limit: a.slots, SessionName: a.name,
		MonitorRetries: a.retries, MonitorRetryTime: monitorPause, SemaphoreTryOnce: wait > 0, SemaphoreWaitTime: wait})
	if err != nil {
		return nil, err
	}
	return &holder{s.Acquire, s.Release, s.Destroy}, nil
}

func (a *lockAction) Run(c *command.Call, args []string) error {
	prefix := strings.TrimPrefix(args[0], "/")
	switch {
	case a.slots < 1:
		return fmt.Errorf("-n is %d: want at least 1", a.slots)
	case a.retries < 0 || a.timeout < 0 || a.try < 0:
		return errors.New("-monitor-retry, -timeout and -try cannot be negative")
	case prefix == "":
		return errors.New("PREFIX is empty: name where the lock is")
	}
	command := args[1:]
	if a.name == "" {
		a.name = fmt.Sprintf("Lock for %q at %q", strings.Join(command, " "), prefix)
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	h, err := a.holder(client, prefix)
	if err != nil {
		return fmt.Errorf("prepare the lock: %w", err)
	}
	ctx, stop, err := c.Interruptible()
	if err != nil {
		return err
	}
	defer stop()
	a.tell(c, "Waiting for the lock at %s", prefix)
	lost, err := h.acquire(ctx.Done())
	switch {
	case err != nil:
		return fmt.Errorf("wait for the lock at %s: %w", prefix, err)
	case lost == nil && ctx.Err() != nil:
		return errors.New("interrupted while waiting for the lock")
	case lost == nil:
		return fmt.Errorf("the lock at %s was not free within %s", prefix, max(a.timeout, a.try))
	}
	a.tell(c, "Got the lock, running the command")
	failure := a.hold(c, command, ctx.Done(), lost)
	return errors.Join(failure, a.giveBack(c, h))
}

func (a *lockAction) tell(c *command.Call, format string, args ...any) {
	if a.verbose {
		fmt.Fprintf(c.Stderr, format+"\n", args...)
	}
}

// giveBack releases the lock and takes its key away if nobody wants it.
func (a *lockAction) giveBack(c *command.Call, h *holder) error {
	switch err := h.release(); {
	case errors.Is(err, api.ErrLockNotHeld), errors.Is(err, api.ErrSemaphoreNotHeld): // it was lost, and that was told
	case err != nil:
		return fmt.Errorf("give the lock back: %w", err)
	}
	switch err := h.remove(); {
	case err == nil, errors.Is(err, api.ErrLockInUse), errors.Is(err, api.ErrSemaphoreInUse):
		a.tell(c, "Gave the lock back")
	default:
		return fmt.Errorf("clean up the lock: %w", err)
	}
	return nil
}

// hold runs the command until it ends, the lock is lost or a signal came.
func (a *lockAction) hold(c *command.Call, args []string, interrupted, lost <-chan struct{}) error {
	if a.shell {
		args = []string{"sh", "-c", strings.Join(args, " ")}
	}
	child := exec.Command(args[0], args[1:]...)
	// A group of its own, so that all of it ends.
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	child.Env = append(os.Environ(), "CONSUL_LOCK_HELD=true")
	child.Stdout, child.Stderr = c.Stdout, c.Stderr
	if a.passStdin {
		child.Stdin = c.Stdin
	}
	child.WaitDelay = childGrace
	if err := child.Start(); err != nil {
		return fmt.Errorf("start the command: %w", err)
	}
	ended := make(chan error, 1)
	work := lifecycle.New("child")
	if err := work.Spawn("wait", func(context.Context) { ended <- child.Wait() }); err != nil {
		return err
	}
	var why error
	select {
	case err := <-ended:
		return a.outcome(c, err)
	case <-lost:
		why = errors.New("the lock was lost: the command was ended")
	case <-interrupted:
		why = errors.New("interrupted: the command was ended")
	}
	a.tell(c, "Ending the command")
	end(child, ended)
	return why
}

// outcome of a command that ended by itself.
func (a *lockAction) outcome(c *command.Call, err error) error {
	switch {
	case err == nil:
		return nil
	case a.childCode:
		return &command.Exit{Code: command.ExitNoMatch, Text: fmt.Sprintf("the command failed: %v", err)}
	}
	fmt.Fprintf(c.Stderr, "Warning: the command failed: %v\n", err)
	return nil
}

// end has a child and all of its group end.
func end(child *exec.Cmd, ended <-chan error) {
	group := -child.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM) // who is gone needs none
	grace := time.NewTimer(childGrace)
	defer grace.Stop()
	gone := false
	select {
	case <-ended:
		gone = true
	case <-grace.C:
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // also what the child left behind
	if gone {
		return
	}
	// The lock is given back when it runs no more. What sleeps in the kernel is
	// not waited for for ever.
	last := time.NewTimer(childGrace)
	defer last.Stop()
	select {
	case <-ended:
	case <-last.C:
	}
}
