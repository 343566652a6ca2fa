package checks

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/legate-project/legate/config"
)

const (
	// dockerHost is where the engine listens unless DOCKER_HOST says otherwise.
	dockerHost = "unix:///var/run/docker.sock"
	// maxDockerAnswer is how many bytes of an answer are read, output aside: the
	// engine sends a few hundred.
	maxDockerAnswer = 64 << 10
	// dockerPort is where an engine listens that is reached over TCP.
	dockerPort = "2375"
	// maxFrames of one command's output are read: the engine sends what the command
	// wrote at a time, and never an empty one.
	maxFrames = 1 << 20
	// dockerPoll is the time between two looks at a command whose output has ended:
	// the engine notes the exit code a little later.
	dockerPoll = 20 * time.Millisecond
)

// dockerProbe runs a command in a container, through the Docker engine's HTTP
// API: exit code 0 passes, 1 warns, all others are critical.
//
// The engine has no call that ends a command. One that outlives its timeout
// goes on in the container, and the check does not start another beside it.
type dockerProbe struct {
	container string
	command   []string
	limit     int
	base      string // of URLs
	client    *http.Client
	last      string // the command of the last run, if it may be running still
}

func newDocker(d *config.CheckDefinition) (Prober, error) {
	if len(d.Args) == 0 || d.Args[0] == "" {
		return nil, fmt.Errorf("check %q: a check in a container needs args, the command to run there", d.Name)
	}
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = dockerHost
	}
	p := &dockerProbe{container: d.DockerContainerID, command: d.Args, limit: outputLimit(d)}
	if d.Shell != "" && len(d.Args) == 1 {
		p.command = []string{d.Shell, "-c", d.Args[0]}
	}
	scheme, addr, _ := strings.Cut(strings.TrimSuffix(host, "/"), "://")
	switch {
	case addr == "":
		return nil, fmt.Errorf("check %q: DOCKER_HOST is %q: want unix:///path or tcp://host:port", d.Name, host)
	case scheme == "unix":
		p.base = "http://docker"
	case scheme == "tcp" && os.Getenv("DOCKER_TLS_VERIFY") == "":
		var err error
		if addr, err = dockerAddr(host, addr); err != nil {
			return nil, fmt.Errorf("check %q: %w", d.Name, err)
		}
		p.base = "http://" + addr
	case scheme == "tcp":
		return nil, fmt.Errorf("check %q: DOCKER_TLS_VERIFY is set, but this agent speaks to the Docker engine without TLS: let it use the engine's socket", d.Name)
	default:
		return nil, fmt.Errorf("check %q: DOCKER_HOST is %q: this agent knows unix:// and tcp://", d.Name, host)
	}
	p.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, scheme, addr)
		},
		DisableKeepAlives:      true, // one that outlives the engine would fail a run
		MaxResponseHeaderBytes: maxHTTPHeader,
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // the engine sends none
	return p, nil
}

// dockerAddr returns host and port of a DOCKER_HOST that is a TCP address.
func dockerAddr(host, addr string) (string, error) {
	u, err := url.Parse(host)
	if err == nil && u.Host == addr && u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), dockerPort)
	}
	if name, port, split := net.SplitHostPort(addr); err != nil || split != nil || name == "" || port != u.Port() && port != dockerPort {
		return "", fmt.Errorf("DOCKER_HOST is %q: want tcp://host:port", host)
	}
	return addr, nil
}

// Probe implements Prober.
func (p *dockerProbe) Probe(ctx context.Context) Result {
	out := &tail{limit: p.limit}
	code, err := p.run(ctx, out)
	text := out.String()
	switch {
	case ctx.Err() != nil: // without the command: its arguments may be secret, and the catalog shows what is said here
		return Result{Critical, "Timed out running check\n" + text}
	case err != nil:
		return Result{Critical, fmt.Sprintf("%v\n%s", err, text)}
	case code == 0:
		return Result{Passing, text}
	case code == 1:
		return Result{Warning, text}
	}
	return Result{Critical, text}
}

// errStillRunning says why a command was not run.
var errStillRunning = errors.New("not run: the command of an earlier run is still running in the container")

func (p *dockerProbe) run(ctx context.Context, out *tail) (code int, err error) {
	if p.last != "" {
		state, err := p.inspect(ctx, p.last)
		if err == nil && state.Running {
			return 0, errStillRunning
		}
		p.last = "" // it ended, or the engine knows nothing of it any more
	}
	var made struct{ ID string }
	create := map[string]any{"AttachStdout": true, "AttachStderr": true, "Cmd": p.command}
	if err := p.call(ctx, "POST", "/containers/"+url.PathEscape(p.container)+"/exec", create, &made); err != nil {
		return 0, fmt.Errorf("run a command in the container %s: %w", p.container, err)
	}
	if made.ID == "" {
		return 0, fmt.Errorf("run a command in the container %s: the Docker engine gave it no ID", p.container)
	}
	p.last = made.ID
	if err := p.output(ctx, made.ID, out); err != nil {
		return 0, fmt.Errorf("run a command in the container %s: %w", p.container, err)
	}
	for {
		state, err := p.inspect(ctx, made.ID)
		switch {
		case err != nil:
			return 0, fmt.Errorf("ask for the end of a command in the container %s: %w", p.container, err)
		case !state.Running && state.ExitCode != nil:
			p.last = ""
			return *state.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(dockerPoll):
		}
	}
}

// execState is what the engine says of a command.
type execState struct {
	Running  bool
	ExitCode *int // none while it runs
}

func (p *dockerProbe) inspect(ctx context.Context, id string) (s execState, err error) {
	return s, p.call(ctx, "GET", "/exec/"+url.PathEscape(id)+"/json", nil, &s)
}

// call asks the engine for something.
func (p *dockerProbe) call(ctx context.Context, method, path string, body, answer any) error {
	resp, err := p.ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDockerAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("read the answer of the Docker engine: %w", err)
	}
	return nil
}

// ask sends a request; an answer that is an error is returned as one.
func (p *dockerProbe) ask(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "Legate Health Check")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the Docker engine: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var fault struct{ Message string }
	_ = json.NewDecoder(io.LimitReader(resp.Body, maxDockerAnswer)).Decode(&fault) // the status says enough
	return nil, fmt.Errorf("the Docker engine answers %s: %s", resp.Status, fault.Message)
}

// output starts a command and reads what it says until it has ended. The stream
// has frames: a byte that says which output it is, three zeros, the length in four
// bytes, and the bytes (Docker Engine API, "Attach to a container").
func (p *dockerProbe) output(ctx context.Context, id string, out *tail) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	flooded := false
	out.flooded = func() { flooded = true; cancel() }
	resp, err := p.ask(ctx, "POST", "/exec/"+url.PathEscape(id)+"/start", map[string]any{"Detach": false, "Tty": false})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for frames := 0; err == nil && !flooded; frames++ {
		err = copyFrame(out, resp.Body)
		flooded = flooded || frames == maxFrames
	}
	switch {
	case flooded:
		return fmt.Errorf("the command wrote more than %d bytes, or a little at a time without end, and is not heard any more", maxScriptOutput)
	case errors.Is(err, io.EOF):
		return nil
	}
	return fmt.Errorf("read the output: %w", err)
}

// errFrame says that a stream is not what it should be.
var errFrame = errors.New("the Docker engine sends no frames of output")

// copyFrame reads one frame; at the end of the stream it returns io.EOF.
func copyFrame(out io.Writer, stream io.Reader) error {
	const headerLength, lengthAt, stderr = 8, 4, 2
	var header [headerLength]byte
	if _, err := io.ReadFull(stream, header[:]); err != nil {
		return err
	}
	if header[0] > stderr || header[1]|header[2]|header[3] != 0 {
		return errFrame
	}
	n := int64(binary.BigEndian.Uint32(header[lengthAt:]))
	if copied, err := io.CopyN(out, stream, n); err != nil {
		return fmt.Errorf("%d of %d bytes came: %w", copied, n, io.ErrUnexpectedEOF)
	}
	return nil
}
