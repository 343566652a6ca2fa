//go:build linux

package proctest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/lifecycle"
)

const (
	// tailLines is how much of a process's output a failed test shows.
	tailLines = 80
	// commandTimeout bounds a command that should end by itself.
	commandTimeout = 60 * time.Second
	// reapTimeout is how long a killed process may take to be gone.
	reapTimeout = 10 * time.Second
)

// Process is a running program.
type Process struct {
	Name string
	*Output

	t      testing.TB
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone and its output is complete
}

// Start runs the program with args on the host. The process is killed when the
// test ends.
func Start(t testing.TB, h *Host, name string, args ...string) *Process {
	t.Helper()
	return start(t, h, name, command(context.Background(), args))
}

// StartTool runs a program of the system on the host, as Start does.
func StartTool(t testing.TB, h *Host, name string, args ...string) *Process {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return start(t, h, name, cmd)
}

func start(t testing.TB, h *Host, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Name: name, Output: newOutput(), t: t, cmd: cmd, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.Output, p.Output
	if err := h.Inside(p.cmd.Start); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	group := lifecycle.New("process " + name)
	if err := group.Go("wait", func(context.Context) {
		_ = p.cmd.Wait() // the state is in cmd.ProcessState
		close(p.exited)
	}); err != nil {
		t.Fatalf("wait for %s: %v", name, err)
	}
	t.Cleanup(p.cleanup)
	return p
}

// command prepares the program under test. It dies with the test run and
// takes nothing from the environment that would change what it does.
func command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Getenv(BinaryVar), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CONSUL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

func (p *Process) cleanup() {
	p.Kill()
	if p.t.Failed() {
		p.t.Logf("--- end of the output of %s (pid %d, %v)\n%s", p.Name, p.Pid(), p.cmd.ProcessState, p.Tail(tailLines))
	}
}

// Pid returns the process ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal; to a process that is gone it does nothing.
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("send %s to %s: %v", sig, p.Name, err)
	}
}

// Kill kills the process at once (kill -9) and waits until it is gone.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	select {
	case <-p.exited:
	case <-time.After(reapTimeout):
		p.t.Errorf("%s does not die", p.Name)
	}
}

// Exited says whether the process is gone.
func (p *Process) Exited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// WaitExit waits for the end of the process and returns its exit code, -1 if a
// signal ended it.
func (p *Process) WaitExit(timeout time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(timeout):
		p.t.Fatalf("%s has not ended within %s", p.Name, timeout)
		return 0
	}
}

// WaitLine waits for a line of output with all of texts, from a mark on, and
// returns it.
func (p *Process) WaitLine(mark int, timeout time.Duration, texts ...string) string {
	p.t.Helper()
	line, ok := p.Wait(mark, timeout, texts...)
	if !ok {
		p.t.Fatalf("%s has not said %q within %s", p.Name, texts, timeout)
	}
	return line
}

// Memory returns the resident memory now and its highest value so far, in
// bytes.
func (p *Process) Memory() (now, peak uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return 0, 0, fmt.Errorf("read the memory of %s: %w", p.Name, err)
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseUint(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			peak = kib << 10
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("the status of %s shows no memory", p.Name)
	}
	return now, peak, nil
}

// Result is what a command that ended left.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs the program with args on the host until it ends.
func Run(t testing.TB, h *Host, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	cmd := command(ctx, args)
	return finish(t, h, cmd)
}

// Tool runs a program of the system on the host, with a standard input, and
// returns its output. The test ends here if it fails.
func Tool(t testing.TB, h *Host, stdin string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	r := finish(t, h, cmd)
	if r.Code != 0 {
		t.Fatalf("%q ended with %d: %s%s", args, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

func finish(t testing.TB, h *Host, cmd *exec.Cmd) Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := h.Inside(cmd.Start); err != nil {
		t.Fatalf("start %q: %v", cmd.Args, err)
	}
	if err := cmd.Wait(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatalf("run %q: %v", cmd.Args, err)
		}
	}
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}
