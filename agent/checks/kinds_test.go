package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/legate-project/legate/config"
)

// probe runs a definition once.
func probe(t *testing.T, d config.CheckDefinition, timeout time.Duration) Result {
	t.Helper()
	k, err := find(&d)
	if err != nil {
		t.Fatal(err)
	}
	p, err := k.make(&d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return p.Probe(ctx)
}

func TestScriptStatus(t *testing.T) {
	for _, c := range []struct {
		args           []string
		status, output string
	}{
		{[]string{"sh", "-c", "echo fine"}, Passing, "fine"},
		{[]string{"sh", "-c", "echo hm >&2; exit 1"}, Warning, "hm"},
		{[]string{"sh", "-c", "exit 2"}, Critical, ""},
		{[]string{"sh", "-c", "kill -9 $$"}, Critical, ""},
		{[]string{"/does/not/exist"}, Critical, "cannot run"},
		{[]string{"sh", "-c", "sleep 60"}, Critical, "Timed out"},
		{[]string{"echo", "$(id)"}, Passing, "$(id)"}, // no shell is involved
	} {
		timeout := 20 * time.Second // a busy machine is slow to start a shell
		if c.output == "Timed out" {
			timeout = 300 * time.Millisecond
		}
		r := probe(t, config.CheckDefinition{Args: c.args, Interval: time.Second}, timeout)
		if r.Status != c.status || !strings.Contains(r.Output, c.output) {
			t.Errorf("%q: %+v, want %s with %q", c.args, r, c.status, c.output)
		}
	}
}

func TestScriptThatFloodsIsCutToItsEnd(t *testing.T) {
	r := probe(t, config.CheckDefinition{Args: []string{"sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line$i; i=$((i+1)); done; echo the end"}, Interval: time.Second, OutputMaxSize: 1000}, 20*time.Second)
	if len(r.Output) > 1100 || !strings.HasSuffix(r.Output, "the end\n") || !strings.HasPrefix(r.Output, "Captured 1000 of") {
		t.Errorf("%s with %d bytes: %.80q … %q", r.Status, len(r.Output), r.Output, r.Output[max(0, len(r.Output)-20):])
	}
}

func TestScriptThatWritesWithoutEndIsKilled(t *testing.T) {
	begin := time.Now()
	r := probe(t, config.CheckDefinition{Args: []string{"yes"}, Interval: time.Second, OutputMaxSize: 1000}, 20*time.Second)
	if r.Status != Critical || !strings.HasPrefix(r.Output, "Killed: the script wrote more than 16777216 bytes\n") || len(r.Output) > 1200 {
		t.Errorf("%s: %.100q", r.Status, r.Output)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it was killed after %s", took)
	}
}

func TestScriptTakesItsChildrenWithIt(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	start := time.Now()
	r := probe(t, config.CheckDefinition{Args: []string{"sh", "-c", "sleep 300 & echo $! > " + pid + "; wait"}, Interval: time.Second}, 300*time.Millisecond)
	if r.Status != Critical || time.Since(start) > 5*time.Second {
		t.Fatalf("%+v after %s", r, time.Since(start))
	}
	b, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for gone := false; !gone; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		gone = syscall.Kill(child, 0) != nil || err != nil || strings.Contains(string(stat), ") Z ")
		select {
		case <-deadline:
			t.Fatalf("child %d still runs", child)
		case <-tick.C:
		}
	}
}

// children counts the processes that have a word in their environment.
func children(t *testing.T, word string) int {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range procs {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), word) { // those that ended have none
			n++
		}
	}
	return n
}

func TestAScriptThatForksWithoutEndHurtsOnlyItself(t *testing.T) {
	word := fmt.Sprintf("LEGATE_FORK_TEST=%d", os.Getpid())
	// Each generation starts the next in the background and does not wait for
	// it; none listens to a polite signal. 200 are enough to tell.
	script := `trap '' TERM INT HUP; i=0; while [ $i -lt 200 ]; do (trap '' TERM; yes flood & sleep 300) & i=$((i+1)); done; sleep 300`
	begin := time.Now()
	r := probe(t, config.CheckDefinition{Args: []string{"env", word, "sh", "-c", script}, Interval: time.Second, OutputMaxSize: 1000}, 500*time.Millisecond)
	if r.Status != Critical || len(r.Output) > 1000+len(script)+200 || time.Since(begin) > 10*time.Second {
		t.Errorf("%s with %d bytes of output after %v", r.Status, len(r.Output), time.Since(begin))
	}
	none(t, word)
}

// none waits until no process has the word in its environment.
func none(t *testing.T, word string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for children(t, word) > 0 {
		select {
		case <-deadline:
			t.Fatalf("%d processes of the script still run", children(t, word))
		case <-tick.C:
		}
	}
}

// What leaves the group of a script that is killed goes with it all the same, and
// nothing else does.
func TestKilledScriptTakesThoseWithItThatLeftItsGroup(t *testing.T) {
	word := fmt.Sprintf("LEGATE_SETSID_TEST=%d", os.Getpid())
	other := exec.Command("setsid", "env", runVariable+"=another", "sleep", "300")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	for name, script := range map[string]string{
		"one that hangs":               `setsid sleep 300 >/dev/null 2>&1 & setsid -f sleep 300 >/dev/null 2>&1; sleep 300`,
		"one that floods":              `setsid yes >/dev/null 2>&1 & setsid -f sleep 300 >/dev/null 2>&1; yes`,
		"one whose children have more": `i=0; while [ $i -lt 20 ]; do setsid -f setsid sh -c 'setsid -f sleep 300; sleep 300' >/dev/null 2>&1; i=$((i+1)); done; sleep 300`,
	} {
		r := probe(t, config.CheckDefinition{Args: []string{"env", word, "sh", "-c", script}, Interval: time.Second}, 500*time.Millisecond)
		if r.Status != Critical {
			t.Errorf("%s: %+v", name, r)
		}
		none(t, word)
	}
	if other.ProcessState != nil || syscall.Kill(other.Process.Pid, 0) != nil || children(t, runVariable+"=another") != 1 {
		t.Error("a process that no script has started was killed, too")
	}
}

// A script may start a daemon, or a few; one that leaves more and more does not go
// on doing so.
func TestScriptThatLeavesProcessesBehindIsBounded(t *testing.T) {
	word := fmt.Sprintf("LEGATE_DAEMON_TEST=%d", os.Getpid())
	d := config.CheckDefinition{Args: []string{"env", word, "sh", "-c", `i=0; while [ $i -lt 11 ]; do setsid -f sleep 300 >/dev/null 2>&1; sleep 300 & i=$((i+1)); done`}, Interval: time.Second}
	p, err := newScript(&d)
	if err != nil {
		t.Fatal(err)
	}
	for run, left := range []int{11, 22} {
		if r := p.Probe(t.Context()); r.Status != Passing {
			t.Fatalf("run %d: %+v", run, r)
		}
		deadline := time.After(10 * time.Second)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for children(t, word) != left { // those in its group go
			select {
			case <-deadline:
				t.Fatalf("run %d: %d processes are left, want %d", run, children(t, word), left)
			case <-tick.C:
			}
		}
	}
	if r := p.Probe(t.Context()); r.Status != Critical || !strings.HasPrefix(r.Output, "Killed: the script left more than 32 processes behind") {
		t.Errorf("%+v", r)
	}
	none(t, word)
}

func TestScriptsAboveTheBoundWaitForTheirTurn(t *testing.T) {
	places := newTurns()
	for range maxScripts {
		places.scripts <- struct{}{} // another script runs
	}
	p := &scriptProbe{args: []string{"true"}, limit: 100, turns: places}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if r := p.Probe(ctx); r.Status != Critical || !strings.Contains(r.Output, "other scripts") {
		t.Errorf("without a turn: %+v", r)
	}
	<-places.scripts
	if r := p.Probe(t.Context()); r.Status != Passing || len(places.scripts) != maxScripts-1 {
		t.Errorf("with a turn: %+v, %d turns are still taken", r, len(places.scripts))
	}
}

func TestScriptsThatHangLeaveThePlacesToOthers(t *testing.T) {
	places := newTurns()
	hangs := &scriptProbe{args: []string{"sh", "-c", "sleep 60 # secret"}, limit: 100, turns: places}
	probe := func() Result {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		return hangs.Probe(ctx)
	}
	if r := probe(); r.Status != Critical || strings.Contains(r.Output, "secret") {
		t.Errorf("a script that hangs: %+v, want critical without its arguments", r)
	}
	for range maxHanging {
		places.hanging <- struct{}{}
	}
	if r := probe(); !strings.Contains(r.Output, "not run") {
		t.Errorf("it took a place of those that end: %+v", r)
	}
	<-places.hanging
	hangs.args = []string{"true"}
	if r := hangs.Probe(t.Context()); r.Status != Passing || hangs.hung {
		t.Errorf("once it ends: %+v, still among those that hang: %v", r, hangs.hung)
	}
}

func TestUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := config.CheckDefinition{UDP: conn.LocalAddr().String(), Interval: time.Second}
	if r := probe(t, d, 200*time.Millisecond); r.Status != Passing {
		t.Errorf("a listener that does not answer: %+v", r)
	}
	conn.Close()
	if r := probe(t, d, 2*time.Second); r.Status != Critical {
		t.Errorf("nobody listens: %+v", r)
	}
}

func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := health.NewServer()
	h.SetServingStatus("up", grpc_health_v1.HealthCheckResponse_SERVING)
	h.SetServingStatus("down", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, h)
	go s.Serve(l)
	defer s.Stop()
	for service, want := range map[string]string{"": Passing, "/up": Passing, "/down": Critical, "/unknown": Critical} {
		if r := probe(t, config.CheckDefinition{GRPC: l.Addr().String() + service, Interval: time.Second}, 2*time.Second); r.Status != want {
			t.Errorf("%q: %+v, want %s", service, r, want)
		}
	}
	if r := probe(t, config.CheckDefinition{GRPC: l.Addr().String(), GRPCUseTLS: true, Interval: time.Second}, 500*time.Millisecond); r.Status != Critical {
		t.Errorf("TLS against plain text: %+v", r)
	}
}

func TestTLSAndH2Ping(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	addr := srv.Listener.Addr().String()
	for name, c := range map[string]struct {
		def  config.CheckDefinition
		want string
	}{
		"tcp":                    {config.CheckDefinition{TCP: addr}, Passing},
		"tcp and tls, unknown":   {config.CheckDefinition{TCP: addr, TCPUseTLS: true}, Critical},
		"tcp and tls, unchecked": {config.CheckDefinition{TCP: addr, TCPUseTLS: true, TLSSkipVerify: true}, Passing},
		"h2":                     {config.CheckDefinition{H2Ping: addr, H2PingUseTLS: true, TLSSkipVerify: true}, Passing},
		"h2 of an unknown":       {config.CheckDefinition{H2Ping: addr, H2PingUseTLS: true}, Critical},
	} {
		c.def.Interval = time.Second
		if r := probe(t, c.def, 2*time.Second); r.Status != c.want {
			t.Errorf("%s: %+v, want %s", name, r, c.want)
		}
	}
}

// What a definition says of TLS reaches the handshake.
func TestTLSOptions(t *testing.T) {
	names := make(chan string, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != "are you well" {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		select {
		case names <- h.ServerName:
		default: // one that is tried again
		}
		return nil, nil
	}}
	srv.StartTLS()
	defer srv.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: srv.TLS.Certificates, GetConfigForClient: srv.TLS.GetConfigForClient})))
	grpc_health_v1.RegisterHealthServer(g, health.NewServer())
	go g.Serve(l)
	defer g.Stop()
	addr := srv.Listener.Addr().String()
	for name, d := range map[string]config.CheckDefinition{
		"http": {HTTP: srv.URL, Method: "POST", Body: "are you well"},
		"tcp":  {TCP: addr, TCPUseTLS: true},
		"h2":   {H2Ping: addr, H2PingUseTLS: true},
		"grpc": {GRPC: l.Addr().String(), GRPCUseTLS: true},
	} {
		d.Interval, d.TLSServerName = time.Second, "inside.example"
		for skip, want := range map[bool]string{true: Passing, false: Critical} {
			d.TLSSkipVerify = skip
			timeout := 5 * time.Second
			if name == "grpc" && !skip { // it tries again until its time is over
				timeout = 300 * time.Millisecond
			}
			if r := probe(t, d, timeout); r.Status != want {
				t.Errorf("%s, certificate unchecked %v: %+v, want %s", name, skip, r, want)
			}
			if got := <-names; got != "inside.example" {
				t.Errorf("%s: server name %q", name, got)
			}
		}
	}
}

func TestH2PingOfPlainText(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	d := config.CheckDefinition{H2Ping: srv.Listener.Addr().String(), Interval: time.Second}
	if r := probe(t, d, 2*time.Second); r.Status != Passing {
		t.Errorf("%+v", r)
	}
	srv.Close()
	if r := probe(t, d, 2*time.Second); r.Status != Critical {
		t.Errorf("nobody listens: %+v", r)
	}
}

// A Runner begins a check at a moment of its own, runs it each interval, none
// shorter than the shortest, and ends a run with its timeout.
func TestRunnerKeepsIntervalAndTimeout(t *testing.T) {
	const many = 40
	var mu sync.Mutex
	runs := map[string][]time.Time{}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		runs[r.URL.Path] = append(runs[r.URL.Path], time.Now())
		mu.Unlock()
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
	}))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
	defer cancel()
	begin := time.Now()
	hung := make(chan Result, 10)
	var wg sync.WaitGroup
	runner := NewRunner()
	for i := range many {
		d := &config.CheckDefinition{HTTP: fmt.Sprintf("%s/%d", srv.URL, i), Interval: time.Millisecond}
		wg.Go(func() {
			if err := runner.Run(ctx, d, MinInterval, func(Result) {}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		d := &config.CheckDefinition{HTTP: srv.URL + "/hang", Interval: 1500 * time.Millisecond, Timeout: 100 * time.Millisecond}
		if err := runner.Run(ctx, d, MinInterval, func(r Result) { hung <- r }); err != nil {
			t.Error(err)
		}
	})
	if r := <-hung; r.Status != Critical || time.Since(begin) > 3*time.Second {
		t.Errorf("one that hangs: %+v after %s", r, time.Since(begin))
	}
	wg.Wait()
	mu.Lock() // a request that was given up may still be served
	defer mu.Unlock()
	early := 0
	for path, at := range runs {
		if path == "/hang" {
			continue
		}
		if at[0].Sub(begin) < MinInterval/2 {
			early++
		}
		if len(at) < 2 || len(at) > 4 {
			t.Errorf("%s ran %d times in 3.5 s, want each second", path, len(at))
		}
	}
	if early < many/8 || early > many-many/8 {
		t.Errorf("%d of %d checks began in the first half of their interval", early, many)
	}
}

// systemctl is asked where there is one.
func TestOSServiceOfSystemd(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	d := config.CheckDefinition{OSService: "nginx", Interval: time.Second}
	if r := probe(t, d, 5*time.Second); r.Status != Critical || !strings.Contains(r.Output, "systemd is not present") {
		t.Errorf("without systemd: %+v", r)
	}
	script := "#!/bin/sh\n[ \"$*\" = 'is-active -- nginx' ] && echo active && exit 0\necho inactive; exit 3\n"
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for unit, want := range map[string]string{"nginx": Passing, "other": Critical} {
		d.OSService = unit
		if r := probe(t, d, 5*time.Second); r.Status != want {
			t.Errorf("%s: %+v, want %s", unit, r, want)
		}
	}
}

func TestOSService(t *testing.T) {
	for state, want := range map[string]string{"active": Passing, "activating": Warning, "failed": Critical, "inactive": Critical} {
		p := &osServiceProbe{unit: "x", run: func(context.Context, string) (string, error) { return state, nil }}
		if r := p.Probe(t.Context()); r.Status != want {
			t.Errorf("%s: %+v, want %s", state, r, want)
		}
	}
	p := &osServiceProbe{unit: "x", run: func(context.Context, string) (string, error) { return "", errNoSystemd }}
	if r := p.Probe(t.Context()); r.Status != Critical || !strings.Contains(r.Output, "systemd is not present") {
		t.Errorf("%+v", r)
	}
}
