package watches

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api/watch"
)

const (
	// grace is how long a handler may go on after SIGTERM.
	grace = 5 * time.Second
	// maxOutput is how much of a script's output an error shows, in bytes.
	maxOutput = 4 << 10
)

// State is what a handler is told.
type State struct {
	Index uint64
	JSON  []byte
}

// script runs a program with the state on its standard input.
type script struct{ args []string }

// newScript reads args, a program with its arguments, or handler, a line for the
// shell.
func newScript(args, line any) (handler, error) {
	text, _ := line.(string)
	switch list := args.(type) {
	case nil:
		if text == "" {
			return nil, errors.New("it names no handler: set args, or handler_type = \"http\" with http_handler_config")
		}
		return script{[]string{"sh", "-c", text}}, nil
	case []any:
		s := script{}
		for i, a := range list {
			arg, ok := a.(string)
			if !ok {
				return nil, fmt.Errorf("args[%d] is no string", i)
			}
			s.args = append(s.args, arg)
		}
		if len(s.args) > 0 && text == "" {
			return s, nil
		}
	case []string:
		if len(list) > 0 && text == "" {
			return script{list}, nil
		}
	default:
		return nil, errors.New("args is no list of strings")
	}
	return nil, errors.New("it needs either args or handler")
}

func (s script) handle(ctx context.Context, state State) error {
	out := &head{}
	if err := Run(ctx, s.args, state, out, out); err != nil {
		return fmt.Errorf("run %s: %w: %q", s.args[0], err, out.b)
	}
	return nil
}

// Run runs a handler with the state on its standard input and the index in
// CONSUL_INDEX. It is in a process group of its own: when ctx ends it is told to
// end, and all that it started is killed a while later. One that does not read
// its input to the end does well, too.
func Run(ctx context.Context, args []string, state State, stdout, stderr io.Writer) error {
	child := exec.CommandContext(ctx, args[0], args[1:]...)
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	child.Cancel = func() error { return syscall.Kill(-child.Process.Pid, syscall.SIGTERM) }
	child.WaitDelay = grace
	child.Env = append(os.Environ(), "CONSUL_INDEX="+strconv.FormatUint(state.Index, 10))
	child.Stdin = bytes.NewReader(state.JSON)
	child.Stdout, child.Stderr = stdout, stderr
	err := child.Run()
	if child.Process != nil && ctx.Err() != nil {
		_ = syscall.Kill(-child.Process.Pid, syscall.SIGKILL) // what did not end; mostly nobody is left
	}
	return err
}

// head keeps the beginning of what is written to it.
type head struct{ b []byte }

// Write implements io.Writer; it never fails.
func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), maxOutput-len(h.b))]...)
	return len(p), nil
}

// request sends the state to an HTTP server.
type request struct {
	conf   *watch.HttpHandlerConfig
	client *http.Client
}

func newRequest(conf *watch.HttpHandlerConfig) (handler, error) {
	// No connection is kept: changes are rare, and nothing would close it when the
	// watch ends.
	r := &request{conf: conf, client: &http.Client{Timeout: conf.Timeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{InsecureSkipVerify: conf.TLSSkipVerify}, DisableKeepAlives: true}}}
	_, err := r.make(context.Background(), nil)
	return r, err
}

func (r *request) make(ctx context.Context, state []byte) (*http.Request, error) {
	method := r.conf.Method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, r.conf.Path, bytes.NewReader(state))
	if err != nil {
		return nil, fmt.Errorf("http_handler_config: %w", err)
	}
	if req.URL.Host == "" {
		return nil, fmt.Errorf("http_handler_config: path is %q: want a URL", r.conf.Path)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, values := range r.conf.Header {
		for _, v := range values {
			req.Header.Add(name, v)
		}
	}
	return req, nil
}

func (r *request) handle(ctx context.Context, state State) error {
	req, err := r.make(ctx, state.JSON)
	if err != nil {
		return err
	}
	req.Header.Set("X-Consul-Index", strconv.FormatUint(state.Index, 10))
	answer, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it was read as far as it matters
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxOutput))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", r.conf.Path, err)
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s: %q", r.conf.Path, answer.Status, text)
	}
	return nil
}
