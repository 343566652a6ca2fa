package checks

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/legate-project/legate/config"
)

const (
	// ScriptTimeout is the default of scripts.
	ScriptTimeout = 30 * time.Second
	// maxScripts bounds the scripts that one Runner runs at once: one that is
	// above it waits for its turn within its own timeout.
	maxScripts = 32
	// maxHanging is how many of those run at once that ran into their timeout the
	// time before. They have places of their own, so that scripts that hang, however
	// many, keep none that end from running.
	maxHanging = 8
	// pipeDelay is how long output is still read when the script has ended but
	// something that it started holds the pipe.
	pipeDelay = 100 * time.Millisecond
	// maxScriptOutput is how many bytes of one run are read at most, whatever is
	// kept of them: a script that writes without end would keep a core busy until
	// its timeout. Above it, it is killed and critical.
	maxScriptOutput = 16 << 20
)

// scriptProbe runs a command without a shell: exit code 0 passes, 1 warns, all
// others are critical.
type scriptProbe struct {
	args  []string
	limit int
	turns *turns
	mark  mark
	hung  bool // the last time that it ran
}

// turns are the places that scripts take while they run.
type turns struct{ scripts, hanging chan struct{} }

func newTurns() *turns {
	return &turns{scripts: make(chan struct{}, maxScripts), hanging: make(chan struct{}, maxHanging)}
}

func newScript(d *config.CheckDefinition) (Prober, error) {
	if d.Args[0] == "" {
		return nil, fmt.Errorf("check %q: the first of args is the command, it cannot be empty", d.Name)
	}
	return &scriptProbe{args: d.Args, limit: outputLimit(d), turns: newTurns()}, nil
}

// Probe implements Prober.
func (p *scriptProbe) Probe(ctx context.Context) Result {
	places := p.turns.scripts
	if p.hung {
		places = p.turns.hanging
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		return Result{Critical, "not run: too many other scripts are running"}
	}
	run, kill := context.WithCancel(ctx)
	defer kill()
	out := &tail{limit: p.limit, flooded: kill}
	cmd := exec.CommandContext(run, p.args[0], p.args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	// A group of its own, so that what it starts is killed with it; the mark is for
	// what leaves the group.
	cmd.Env = p.mark.begin()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeDelay
	err := cmd.Run()
	if cmd.Process != nil {
		// What the script left running in its group goes, too.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	text := out.String()
	flood := run.Err() != nil
	p.hung = ctx.Err() != nil
	var exit *exec.ExitError
	switch {
	case p.hung: // without the command: its arguments may be secret, and the catalog shows what is said here
		return Result{Critical, "Timed out running check\n" + p.mark.killed() + text}
	case flood:
		return Result{Critical, fmt.Sprintf("Killed: the script wrote more than %d bytes\n%s%s", maxScriptOutput, p.mark.killed(), text)}
	}
	if cmd.Process != nil {
		if swarm := p.mark.ended(cmd.Process.Pid); swarm != "" {
			return Result{Critical, swarm + text}
		}
	}
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return Result{Passing, text}
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return Result{Warning, text}
	case errors.As(err, &exit):
		return Result{Critical, text}
	}
	return Result{Critical, fmt.Sprintf("cannot run the check: %v", err)}
}

// tail keeps the end of what is written to it: what a script says last is what
// matters.
type tail struct {
	mu    sync.Mutex
	limit int
	b     []byte
	lost  int

	read    int
	flooded func() // called when more than maxScriptOutput was written
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if t.read += n; t.read > maxScriptOutput {
		t.flooded()
	}
	if n > t.limit {
		t.lost += n - t.limit
		p = p[n-t.limit:]
	}
	if over := len(t.b) + len(p) - t.limit; over > 0 {
		t.lost += over
		t.b = append(t.b[:0], t.b[over:]...)
	}
	t.b = append(t.b, p...)
	return n, nil
}

// String is what was kept, with a word on what was not.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost > 0 {
		return fmt.Sprintf("Captured %d of %d bytes\n...\n%s", len(t.b), len(t.b)+t.lost, t.b)
	}
	return string(t.b)
}

func outputLimit(d *config.CheckDefinition) int {
	if d.OutputMaxSize > 0 {
		return d.OutputMaxSize
	}
	return DefaultOutput
}
