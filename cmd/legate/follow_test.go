package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lines is a writer that hands on line by line.
type lines struct {
	rest string
	to   chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest += string(p)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(p), nil
		}
		l.rest = rest
		l.to <- line
	}
}

// following is a command that goes on until it is told to end.
type following struct {
	t        *testing.T
	out, err chan string
	signals  chan<- os.Signal
	code     chan int
}

// follow runs a command against an agent.
func follow(t *testing.T, agent http.Handler, args ...string) *following {
	t.Helper()
	server := httptest.NewServer(agent)
	t.Cleanup(server.Close)
	got := make(chan chan<- os.Signal, 1)
	f := &following{t: t, out: make(chan string, 100), err: make(chan string, 100), code: make(chan int, 1)}
	a := &app{stdin: strings.NewReader(""), stdout: &lines{to: f.out}, stderr: &lines{to: f.err},
		notify: func(c chan<- os.Signal, _ ...os.Signal) { got <- c }}
	args = slices.Insert(args, 1, "-http-addr="+server.URL)
	go func() { f.code <- a.run(args) }()
	select {
	case f.signals = <-got:
	case <-time.After(patience):
		t.Fatal("does not start")
	}
	return f
}

func (f *following) expect(from <-chan string, want string) {
	f.t.Helper()
	select {
	case line := <-from:
		if !strings.Contains(line, want) {
			f.t.Fatalf("said %q, want %q", line, want)
		}
	case <-time.After(patience):
		f.t.Fatalf("did not say %q", want)
	}
}

func (f *following) expectExit(code int) {
	f.t.Helper()
	select {
	case got := <-f.code:
		if got != code {
			f.t.Fatalf("exit code %d, want %d", got, code)
		}
	case <-time.After(patience):
		f.t.Fatal("does not end")
	}
}

// oneKey is an agent that knows one key. A question with an index waits until
// the key is newer.
type oneKey struct {
	mu      sync.Mutex
	index   uint64
	value   string
	fail    int // answer this code
	changed chan struct{}
}

func newKey() *oneKey { return &oneKey{index: 1, changed: make(chan struct{})} }

func (k *oneKey) set(value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.index++
	k.value = value
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *oneKey) state() (uint64, string, int, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.index, k.value, k.fail, k.changed
}

func (k *oneKey) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/agent/self" {
		_, _ = io.WriteString(w, "{}")
		return
	}
	after, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	for {
		index, value, fail, changed := k.state()
		switch {
		case fail != 0:
			http.Error(w, "cannot", fail)
			return
		case index > after:
			w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
			fmt.Fprintf(w, `[{"Key":"k","Value":%q}]`, value)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func TestWatchRunsTheCommandForEachStateOneAtATime(t *testing.T) {
	dir := t.TempDir()
	door := filepath.Join(dir, "door")
	if err := syscall.Mkfifo(door, 0o600); err != nil {
		t.Skip("no pipes with names here:", err)
	}
	key := newKey()
	f := follow(t, key, "watch", "-type=key", "-key=k", fmt.Sprintf("mkdir %s/busy && cat && echo at $CONSUL_INDEX && read x <%s; rmdir %s/busy", dir, door, dir))
	open := func() {
		t.Helper()
		if err := os.WriteFile(door, []byte("go\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.expect(f.out, `"Key":"k"`)
	f.expect(f.out, "at 1")
	key.set("YQ==") // while the command runs
	open()
	f.expect(f.out, `"Value":"YQ=="`)
	f.expect(f.out, "at 2")
	open()
	key.set("Yg==")
	f.expect(f.out, `"Value":"Yg=="`)
	f.expect(f.out, "at 3")
	f.signals <- syscall.SIGTERM // ends the command, too: its door is closed
	f.expectExit(0)
}

func TestWatchEndsWithItsCommand(t *testing.T) {
	f := follow(t, newKey(), "watch", "-type=key", "-key=k", "exit 3")
	f.expect(f.err, "Error: run the command: exit status 3")
	f.expectExit(1)
	f = follow(t, newKey(), "watch", "-type=key", "-key=k", "-shell=false", "echo", "a b", "$HOME")
	f.expect(f.out, "a b $HOME")
	f.signals <- syscall.SIGINT
	f.expectExit(0)
}

// alive says whether a process runs. One that nobody has buried does not.
func alive(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return syscall.Kill(pid, 0) == nil && !strings.Contains(string(stat), ") Z ")
}

func TestNothingOfTheCommandOutlivesWatch(t *testing.T) {
	t.Parallel()
	f := follow(t, newKey(), "watch", "-type=key", "-key=/k", "trap '' TERM; sleep 1000 & echo $!; wait")
	var pid int
	select {
	case line := <-f.out:
		pid, _ = strconv.Atoi(line)
	case <-time.After(patience):
	}
	if pid == 0 || !alive(pid) {
		t.Fatalf("the command runs no process %d", pid)
	}
	f.signals <- syscall.SIGINT
	f.expectExit(0)
	deadline := time.NewTimer(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for alive(pid) {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("process %d outlives watch", pid)
		}
	}
}

func TestWatchWaitsForTheAgentAndSaysSo(t *testing.T) {
	key := newKey()
	key.fail = http.StatusInternalServerError
	f := follow(t, key, "watch", "-type=key", "-key=k", "cat")
	f.expect(f.err, "Warning: the agent answered 500: cannot")
	f.expect(f.err, "The next try is in 5s.")
	f.signals <- syscall.SIGINT
	f.expectExit(0)

	key.fail = http.StatusForbidden
	f = follow(t, key, "watch", "-type=key", "-key=k", "cat")
	f.expect(f.err, "Error: the agent answered 403: cannot")
	f.expectExit(1)

	key.fail = http.StatusInternalServerError // who only wants to see it does not wait
	f = follow(t, key, "watch", "-type=key", "-key=k")
	f.expect(f.err, "Error: the agent answered 500: cannot")
	f.expectExit(1)
}

func TestMonitor(t *testing.T) {
	end := make(chan struct{})
	asked := make(chan string, 2)
	agent := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.String()
		fmt.Fprint(w, "one\n\ntwo\n")
		w.(http.Flusher).Flush()
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	f := follow(t, agent, "monitor", "-log-level=debug", "-log-json")
	f.expect(asked, "/v1/agent/monitor?logjson=true&loglevel=debug")
	f.expect(f.out, "one")
	f.expect(f.out, "")
	f.expect(f.out, "two")
	f.signals <- syscall.SIGINT
	f.expectExit(0)

	f = follow(t, agent, "monitor")
	f.expect(asked, "/v1/agent/monitor?loglevel=INFO")
	f.expect(f.out, "one")
	close(end)
	f.expect(f.err, "the agent ended the stream")
	f.expectExit(1)
}

// debugged are the answers of an agent with a secret in many places.
func debugged(logFile string) map[string]string {
	return map[string]string{
		"GET /v1/agent/self": `{"Config":{"NodeName":"n1","Version":"9.9"},"DebugConfig":{"log_file":"` + logFile + `","encrypt":"SECRET","acl":{"token_ttl":"30s",
			"tokens":{"agent":"SECRET"}},"services":[{"name":"web","token":"SECRET","checks":[{"header":{"Authorization":["SECRET"]}}]}]},"Stats":{"serf_lan":{"encrypted":"true"}}}`,
		"GET /v1/agent/host": `{"Host":{"os":"linux"}}`, "GET /v1/agent/members": `[{"Name":"n1"}]`, "GET /v1/operator/raft/configuration": `{"Servers":[]}`,
		"GET /v1/agent/metrics": `{"Gauges":[{"Value":1}]}`, "GET /v1/agent/monitor": "line one\nline two\n",
		"GET /debug/pprof/heap": "heap", "GET /debug/pprof/goroutine": "goroutine", "GET /debug/pprof/profile": "profile", "GET /debug/pprof/trace": "trace",
	}
}

// unpack reads an archive of debug that only its owner may read.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the archive's mode is %v, %v", info.Mode(), err)
	}
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	archive := tar.NewReader(zip)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil || header.Mode != 0o600 {
			t.Errorf("%s: mode %o, %v", header.Name, header.Mode, err)
		}
		files[header.Name] = string(text)
	}
}

func TestDebug(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"l.log", "l-1.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("in "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "l-1.log"), old, old); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "x")
	r := legate(t, debugged(filepath.Join(dir, "l.log")), "", "debug", "-duration=250ms", "-interval=100ms", "-since=10m", "-output="+out)
	if r.code != 0 || !strings.Contains(r.out, "Saved debug archive: "+out+".tar.gz") {
		t.Fatalf("code %d: %s%s", r.code, r.out, r.err)
	}
	files := unpack(t, out+".tar.gz")
	for name, want := range map[string]string{"agent.json": `"token_ttl": "30s"`, "host.json": "linux", "members.json": "n1", "raft.json": "Servers", "legate.log": "line one\nline two\n",
		"metrics.json": "{\"Gauges\":[{\"Value\":1}]}\n{\"Gauges\"", "profile.prof": "profile", "trace.prof": "trace", "heap-000.prof": "heap", "goroutine-001.prof": "goroutine", "file-l.log": "in l.log"} {
		if got := files["x/"+name]; !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name, text := range files {
		if strings.Contains(text, "SECRET") || strings.Contains(name, "l-1") {
			t.Errorf("%s should not be there:\n%s", name, text)
		}
	}
	if !strings.Contains(files["x/agent.json"], `"encrypted": "true"`) {
		t.Errorf("what is no secret is hidden: %s", files["x/agent.json"])
	}
	var index debugIndex
	if err := json.Unmarshal([]byte(files["x/index.json"]), &index); err != nil || index.Node != "n1" || index.AgentVersion != "9.9" || index.End.Before(index.Begin) {
		t.Errorf("the index is %+v, %v", index, err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left behind: %v", err)
	}
	if r := legate(t, debugged(""), "", "debug", "-output="+out); r.code != 1 || !strings.Contains(r.err, "choose another -output") {
		t.Errorf("over an archive: code %d: %s", r.code, r.err)
	}
}

func TestDebugSaysWhatItCouldNotCollect(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x")
	r := legate(t, map[string]string{"GET /v1/agent/self": `{}`, "GET /v1/agent/host": "403!Permission denied"}, "", "debug",
		"-duration=100ms", "-interval=100ms", "-capture=host", "-capture=pprof", "-capture=cluster", "-since=1s", "-archive=false", "-output="+out)
	for _, want := range []string{"not collected: host: the agent answered 403: Permission denied", "they take enable_debug", "members: the agent answered 404", "set log_file"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("%q is not said: %s", want, r.err)
		}
	}
	index, err := os.ReadFile(filepath.Join(out, "index.json"))
	if r.code != 0 || err != nil || !strings.Contains(string(index), "Permission denied") {
		t.Errorf("code %d, the index is %s, %v", r.code, index, err)
	}
	if r := legate(t, nil, "", "debug", "-output="+out+"2"); r.code != 1 {
		t.Errorf("without an agent: code %d", r.code)
	} else if _, err := os.Stat(out + "2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory is left behind: %v", err)
	}
}

func TestAnInterruptedDebugKeepsWhatItHas(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x")
	f := follow(t, &fakeAgent{answers: debugged("")}, "debug", "-duration=1h", "-capture=metrics", "-output="+out)
	f.expect(f.out, "Collecting from node n1 for 1h0m0s")
	f.signals <- syscall.SIGINT
	f.expect(f.out, "Saved debug archive")
	f.expectExit(0)
	if files := unpack(t, out+".tar.gz"); files["x/index.json"] == "" {
		t.Errorf("the archive has %v", files)
	}
}
