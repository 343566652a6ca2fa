package checks

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/config"
)

// engine speaks the part of the Docker engine's API that runs commands. There
// is one container, web; what a command does is its first word.
type engine struct {
	mu      sync.Mutex
	execs   map[string][]string // commands by ID
	ended   map[string]bool
	asked   map[string]int // for the state of a command
	started int
	release chan struct{} // closed when hanging commands may end
}

func newEngine() *engine {
	return &engine{execs: map[string][]string{}, ended: map[string]bool{}, asked: map[string]int{}, release: make(chan struct{})}
}

func (e *engine) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /containers/{id}/exec", e.create)
	mux.HandleFunc("POST /exec/{id}/start", e.start)
	mux.HandleFunc("GET /exec/{id}/json", e.inspect)
	return mux
}

func (e *engine) create(w http.ResponseWriter, r *http.Request) {
	var body struct {
		AttachStdout, AttachStderr, Tty bool
		Cmd                             []string
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || !body.AttachStdout || !body.AttachStderr || body.Tty {
		http.Error(w, `{"message":"bad request"}`, http.StatusBadRequest)
		return
	}
	if r.PathValue("id") != "web" {
		http.Error(w, fmt.Sprintf(`{"message":"No such container: %s"}`, r.PathValue("id")), http.StatusNotFound)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	id := fmt.Sprint("exec", len(e.execs))
	e.execs[id] = body.Cmd
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"Id":%q}`, id)
}

// frame is output as the engine sends it.
func frame(stream byte, text string) []byte {
	b := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[4:], uint32(len(text)))
	return append(b, text...)
}

// start takes the connection over, as the engine does: the output ends with it.
func (e *engine) start(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	e.mu.Lock()
	cmd := e.execs[id]
	e.started++
	e.mu.Unlock()
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Fprint(rw, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
	switch cmd[0] {
	case "both":
		rw.Write(frame(1, "said "))
		rw.Write(frame(2, "and "))
		rw.Write(frame(1, ""))
		rw.Write(frame(1, "done"))
	case "long":
		rw.Write(frame(1, strings.Repeat("x", 100_000)+"the end"))
	case "flood":
		for block := frame(1, strings.Repeat("x", 1<<20)); ; {
			if _, err := rw.Write(block); err != nil {
				return // and the command runs on
			}
		}
	case "nothing":
		for block := bytes.Repeat(frame(1, ""), 1<<10); ; {
			if _, err := rw.Write(block); err != nil {
				return
			}
		}
	case "odd":
		fmt.Fprint(rw, "no frames at all")
	case "short":
		rw.Write(frame(1, "cut off")[:12])
	case "hang":
		rw.Write(frame(1, "begun"))
		rw.Flush()
		<-e.release
	default:
		rw.Write(frame(1, strings.Join(cmd, "|")))
	}
	rw.Flush()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended[id] = true
}

func (e *engine) inspect(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := r.PathValue("id")
	e.asked[id]++
	code := 0
	if cmd := e.execs[id]; cmd[0] == "exit" {
		fmt.Sscan(cmd[1], &code)
	}
	if !e.ended[id] || e.asked[id] < 3 { // the end is noted a little after the output ends
		fmt.Fprint(w, `{"Running":true,"ExitCode":null}`)
		return
	}
	fmt.Fprintf(w, `{"Running":false,"ExitCode":%d}`, code)
}

// engineOnSocket serves an engine where DOCKER_HOST says.
func engineOnSocket(t *testing.T) *engine {
	t.Helper()
	e, path := newEngine(), filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(e.handler())
	server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.CloseClientConnections)
	t.Setenv("DOCKER_HOST", "unix://"+path)
	return e
}

func TestCommandsInContainers(t *testing.T) {
	engineOnSocket(t)
	for _, c := range []struct {
		container, shell string
		args             []string
		status, output   string
	}{
		{"web", "", []string{"exit", "0"}, Passing, "exit|0"},
		{"web", "", []string{"exit", "1"}, Warning, "exit|1"},
		{"web", "", []string{"exit", "2"}, Critical, "exit|2"},
		{"web", "", []string{"exit", "127"}, Critical, "exit|127"},
		{"web", "", []string{"both"}, Passing, "said and done"},
		{"web", "", []string{"long"}, Passing, "the end"},
		{"web", "/bin/bash", []string{"curl x | grep ok"}, Passing, "/bin/bash|-c|curl x | grep ok"},
		{"web", "/bin/bash", []string{"check", "-v"}, Passing, "check|-v"},
		{"web", "", []string{"flood"}, Critical, "wrote more than"},
		{"web", "", []string{"nothing"}, Critical, "without end"},
		{"web", "", []string{"odd"}, Critical, "no frames"},
		{"web", "", []string{"short"}, Critical, "4 of 7 bytes"},
		{"gone", "", []string{"true"}, Critical, "404 Not Found: No such container: gone"},
		{"../x", "", []string{"true"}, Critical, "No such container: ../x"},
	} {
		d := config.CheckDefinition{Name: "c", DockerContainerID: c.container, Shell: c.shell, Args: c.args, Interval: time.Second}
		if err := Validate(&d); err != nil {
			t.Fatal(err)
		}
		r := probe(t, d, 20*time.Second)
		if r.Status != c.status || !strings.Contains(r.Output, c.output) || len(r.Output) > DefaultOutput+200 {
			t.Errorf("%s %q: %s %.300q, want %s with %q", c.container, c.args, r.Status, r.Output, c.status, c.output)
		}
	}
}

// A command that hangs is started once: the engine cannot end it.
func TestACommandInAContainerDoesNotPileUp(t *testing.T) {
	e := engineOnSocket(t)
	d := &config.CheckDefinition{Name: "c", DockerContainerID: "web", Args: []string{"hang"}}
	p, err := newDocker(d)
	if err != nil {
		t.Fatal(err)
	}
	run := func(timeout time.Duration) Result {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return p.Probe(ctx)
	}
	if r := run(300 * time.Millisecond); r.Status != Critical || !strings.HasPrefix(r.Output, "Timed out") || !strings.Contains(r.Output, "begun") || strings.Contains(r.Output, "hang") {
		t.Errorf("one that hangs: %+v", r)
	}
	for range 3 {
		if r := run(20 * time.Second); r.Status != Critical || !strings.Contains(r.Output, "still running") {
			t.Errorf("while it hangs: %+v", r)
		}
	}
	e.mu.Lock()
	started := e.started
	e.mu.Unlock()
	if started != 1 {
		t.Errorf("%d were started", started)
	}
	close(e.release)
	deadline := time.Now().Add(20 * time.Second)
	for run(20*time.Second).Status != Passing {
		if time.Now().After(deadline) {
			t.Fatal("it does not run again after the one that hung has ended")
		}
	}
}

func TestWhereTheDockerEngineIs(t *testing.T) {
	tcp := httptest.NewServer(newEngine().handler())
	defer tcp.Close()
	d := config.CheckDefinition{Name: "c", DockerContainerID: "web", Args: []string{"exit", "0"}, Interval: time.Second}
	t.Setenv("DOCKER_HOST", "tcp://"+tcp.Listener.Addr().String()+"/")
	if r := probe(t, d, 20*time.Second); r.Status != Passing {
		t.Errorf("over TCP: %+v", r)
	}
	t.Setenv("DOCKER_HOST", "unix:///does/not/exist")
	if r := probe(t, d, 20*time.Second); r.Status != Critical || !strings.Contains(r.Output, "ask the Docker engine") {
		t.Errorf("nobody listens: %+v", r)
	}
	t.Setenv("DOCKER_HOST", "")
	p, err := newDocker(&d)
	if err != nil || p.(*dockerProbe).base != "http://docker" {
		t.Errorf("by default: %+v, %v", p, err)
	}
	for host, base := range map[string]string{"tcp://engine": "http://engine:2375", "tcp://[::1]": "http://[::1]:2375", "tcp://[::1]:99/": "http://[::1]:99", "tcp://::1": "", "tcp://e:1/v1": "", "tcp://:2375": ""} {
		t.Setenv("DOCKER_HOST", host)
		p, err := newDocker(&d)
		if (err != nil) != (base == "") || err == nil && p.(*dockerProbe).base != base {
			t.Errorf("%s: %+v, %v", host, p, err)
		}
	}
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	for _, host := range []string{"ssh://host", "/var/run/docker.sock", "tcp://", "tcp://127.0.0.1:2376"} {
		t.Setenv("DOCKER_HOST", host)
		if err := Validate(&d); err == nil || !strings.Contains(err.Error(), "DOCKER_") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// What is no engine is told from one, and is sent nowhere else.
func TestWhatIsNoDockerEngine(t *testing.T) {
	elsewhere := 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /containers/moved/exec", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("POST /containers/empty/exec", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, _ *http.Request) { elsewhere++; fmt.Fprint(w, `{"Id":"x"}`) })
	server := httptest.NewServer(mux)
	defer server.Close()
	t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
	for container, want := range map[string]string{"moved": "307", "empty": "no ID", "none": "404"} {
		d := config.CheckDefinition{Name: "c", DockerContainerID: container, Args: []string{"true"}, Interval: time.Second}
		if r := probe(t, d, 20*time.Second); r.Status != Critical || !strings.Contains(r.Output, want) {
			t.Errorf("%s: %+v, want %q", container, r, want)
		}
	}
	if elsewhere > 0 {
		t.Error("the check went where it was sent")
	}
}

// The same runner, interval and thresholds as for other kinds; the timeout is
// that of scripts.
func TestTheRunnerRunsCommandsInContainers(t *testing.T) {
	engineOnSocket(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	d := &config.CheckDefinition{Name: "c", DockerContainerID: "web", Args: []string{"exit", "1"}, Interval: time.Second}
	err := NewRunner().Run(ctx, d, time.Millisecond, func(r Result) {
		got = append(got, r.Status+" "+r.Output)
		cancel()
	})
	if err != nil || !slices.Equal(got, []string{"warning exit|1"}) {
		t.Errorf("%q, %v", got, err)
	}
	if kind, err := KindOf(d); kind != "docker" || err != nil {
		t.Errorf("kind %q, %v", kind, err)
	}
}
