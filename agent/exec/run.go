package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	// chunk bounds what one key holds of the output, in bytes.
	chunk = 4 << 10
	// chunkEvery is how long output waits for more.
	chunkEvery = 500 * time.Millisecond
	// beatEvery is how often an empty chunk says that the command still runs.
	beatEvery = 5 * time.Second
	// pipeDelay is how long output is read after the command has ended but
	// something that it started holds the pipe.
	pipeDelay = 100 * time.Millisecond
	// unknownCode is the exit code of a command that could not be run or was
	// killed.
	unknownCode = 255
)

// run carries out the job and stores its output. An error says that it was
// broken off; a command that fails is none.
func (k *keys) run(ctx context.Context, s *Job) (code int, err error) {
	args := s.Args
	switch {
	case len(s.Script) > 0:
		file, remove, err := scriptFile(s.Script)
		if err != nil {
			return 0, err
		}
		defer remove()
		args = []string{"sh", "-c", file} // which also runs what names no interpreter
	case s.Command != "":
		args = []string{"sh", "-c", s.Command}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &output{more: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	// It is a child of this job: run waits for it below.
	if err := k.e.group.Spawn("command", func(context.Context) { ended <- command(ctx, args, out) }); err != nil {
		return 0, err
	}
	w := &writer{keys: k, out: out}
	failure := w.follow(ctx, ended)
	if failure != nil { // nobody waits for it any more, or the store is lost
		cancel()
		<-ended
		return 0, failure
	}
	return codeOf(w.result), nil
}

// scriptFile writes the text of a script to a file that only this user can run.
func scriptFile(text []byte) (name string, remove func(), err error) {
	f, err := os.CreateTemp("", "legate-exec-")
	if err != nil {
		return "", nil, fmt.Errorf("write the script: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o700), f.Close()); err != nil {
		return "", nil, errors.Join(fmt.Errorf("write the script: %w", err), os.Remove(f.Name()))
	}
	return f.Name(), func() { _ = os.Remove(f.Name()) }, nil
}

// command runs until it ends or ctx does; then all of its group is killed.
func command(ctx context.Context, args []string, out *output) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeDelay
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left running goes, too
	}
	if err != nil && cmd.ProcessState == nil {
		_, _ = fmt.Fprintf(out, "%v\n", err) // it was not even started
	}
	return err
}

func codeOf(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	return unknownCode
}

// output holds what the command printed and was not stored yet.
type output struct {
	mu      sync.Mutex
	pending []byte
	total   int
	dropped bool
	more    chan struct{} // capacity 1: there is something to store
}

// Write implements io.Writer for the command. It never fails: a command does
// not end because it prints too much.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	room := maxOutput - o.total
	if len(p) > room {
		o.dropped = true
	}
	take := p[:min(len(p), room)]
	o.pending = append(o.pending, take...)
	o.total += len(take)
	full := len(o.pending) >= chunk
	o.mu.Unlock()
	if full {
		select {
		case o.more <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

// take returns up to a chunk.
func (o *output) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.pending), chunk)
	b := append([]byte(nil), o.pending[:n]...)
	if o.pending = o.pending[n:]; len(o.pending) == 0 {
		o.pending = nil
	}
	return b
}

// writer stores output as it comes.
type writer struct {
	*keys
	out    *output
	next   int
	result error // of the command
}

// follow stores output until the command has ended and all of it is stored.
func (w *writer) follow(ctx context.Context, ended <-chan error) error {
	flush, beat := time.NewTicker(chunkEvery), time.NewTicker(beatEvery)
	defer flush.Stop()
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case w.result = <-ended:
			return w.last(ctx)
		case <-w.out.more:
		case <-flush.C:
		case <-beat.C:
			if err := w.store(ctx, nil); err != nil {
				return err
			}
		}
		for b := w.out.take(); len(b) > 0; b = w.out.take() {
			if err := w.store(ctx, b); err != nil {
				return err
			}
		}
	}
}

// last stores what is left.
func (w *writer) last(ctx context.Context) error {
	for b := w.out.take(); len(b) > 0; b = w.out.take() {
		if err := w.store(ctx, b); err != nil {
			return err
		}
	}
	if w.out.dropped {
		return w.store(ctx, fmt.Appendf(nil, "\n[output ends here: more than %d bytes are not kept]\n", maxOutput))
	}
	return nil
}

func (w *writer) store(ctx context.Context, b []byte) error {
	name := fmt.Sprintf("out/%05x", w.next)
	w.next++
	return w.put(ctx, name, b)
}
