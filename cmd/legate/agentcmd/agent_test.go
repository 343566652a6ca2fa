package agentcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/lifecycle"
)

// fakeProcess records what the command does with an agent.
type fakeProcess struct {
	did       chan string // Start, Leave, Stop, Reload <log level>
	done      chan struct{}
	startErr  error
	stopErr   error
	badLevel  string // a reload with this log level fails
	hangStart bool
	starting  <-chan time.Time // how long a start takes; nil for no time
	hangLeave bool
	state     atomic.Pointer[ready.State] // nil is ready
	dead      atomic.Bool                 // its loops do not answer
}

var _ Process = (*fakeProcess)(nil)

func newFakeProcess() *fakeProcess {
	return &fakeProcess{did: make(chan string, 100), done: make(chan struct{})}
}

func (f *fakeProcess) Start(ctx context.Context) error {
	f.did <- "Start"
	if f.hangStart {
		<-ctx.Done()
		return ctx.Err()
	}
	if f.starting != nil {
		<-f.starting
	}
	return f.startErr
}

func (f *fakeProcess) Leave(ctx context.Context) error {
	f.did <- "Leave"
	if f.hangLeave {
		<-ctx.Done()
	}
	return nil
}

func (f *fakeProcess) HandOver(context.Context) error {
	f.did <- "HandOver"
	return nil
}

func (f *fakeProcess) Stop(context.Context) error { f.did <- "Stop"; return f.stopErr }

func (f *fakeProcess) Reload(cfg *config.Config) error {
	f.did <- "Reload " + cfg.LogLevel
	if cfg.LogLevel == f.badLevel {
		return errors.New("no such thing")
	}
	return nil
}

func (f *fakeProcess) Done() <-chan struct{} { return f.done }

func (f *fakeProcess) Ready(context.Context, *time.Duration) ready.State {
	if s := f.state.Load(); s != nil {
		return *s
	}
	return ready.State{Status: ready.Ready}
}

func (f *fakeProcess) Alive(ctx context.Context) error {
	if f.dead.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// running is the command agent in the background.
type running struct {
	t       *testing.T
	process *fakeProcess
	signals chan<- os.Signal
	code    chan int
	out     *lockedBuffer
	err     *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func startAgent(t *testing.T, process *fakeProcess, args ...string) *running {
	t.Helper()
	got := make(chan chan<- os.Signal, 1)
	r := &running{t: t, process: process, code: make(chan int, 1), out: &lockedBuffer{}, err: &lockedBuffer{}}
	p := &command.Program{Stdin: strings.NewReader(""), Stdout: r.out, Stderr: r.err,
		Notify:   func(c chan<- os.Signal, _ ...os.Signal) { got <- c },
		Commands: []command.Command{Agent(func(Options) (Process, error) { return process, nil })},
	}
	go func() { r.code <- p.Run(append([]string{"agent"}, args...)) }()
	r.signals = <-got
	return r
}

func (r *running) expect(steps ...string) {
	r.t.Helper()
	for _, what := range steps {
		select {
		case did := <-r.process.did:
			if did != what {
				r.t.Fatalf("did %s, want %s\n%s", did, what, r.err)
			}
		case <-time.After(commandtest.Patience):
			r.t.Fatalf("did not %s\n%s%s", what, r.out, r.err)
		}
	}
}

func (r *running) expectExit(code int) {
	r.t.Helper()
	select {
	case got := <-r.code:
		if got != code {
			r.t.Fatalf("exit code %d, want %d\n%s%s", got, code, r.out, r.err)
		}
	case <-time.After(commandtest.Patience):
		r.t.Fatal("does not end")
	}
	select {
	case did := <-r.process.did:
		r.t.Errorf("also did %s", did)
	default:
	}
}

// started waits until the command has seen the end of Start.
func (r *running) started() {
	r.t.Helper()
	r.expect("Start")
	r.logs("agent started")
}

// logs waits for a text in the log.
func (r *running) logs(text string) {
	r.t.Helper()
	r.logsTimes(text, 1)
}

// logsTimes waits until a text is so many times in the log.
func (r *running) logsTimes(text string, times int) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(commandtest.Patience); strings.Count(r.out.String(), text) < times; {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("the log lacks %q:\n%s", text, r.out)
		}
	}
}

func TestSignalsFollowTheConfiguration(t *testing.T) {
	for _, c := range []struct {
		args  string
		sig   os.Signal
		leave bool
	}{
		{"-server", syscall.SIGINT, false},
		{"-server", syscall.SIGTERM, false},
		{"-server=false", syscall.SIGINT, true},
		{"-server=false", syscall.SIGTERM, true},
		{`-hcl=leave_on_terminate=true`, syscall.SIGTERM, true},
		{`-hcl=skip_leave_on_interrupt=false`, syscall.SIGINT, true},
	} {
		t.Run(fmt.Sprint(c.args, " ", c.sig), func(t *testing.T) {
			r := startAgent(t, newFakeProcess(), "-dev", c.args)
			r.started()
			r.signals <- c.sig
			if c.leave {
				r.expect("Leave", "Stop")
			} else {
				r.expect("HandOver", "Stop")
			}
			r.expectExit(0)
		})
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := newFakeProcess()
	p.hangLeave = true
	r := startAgent(t, p, "-dev", "-server=false")
	r.started()
	r.signals <- syscall.SIGINT
	r.expect("Leave")
	r.signals <- syscall.SIGINT
	r.expectExit(1)
	if !strings.Contains(r.err.String(), "second signal") {
		t.Errorf("error %q", r.err)
	}
}

func TestSignalWhileStarting(t *testing.T) {
	p := newFakeProcess()
	p.hangStart = true
	r := startAgent(t, p, "-dev")
	r.expect("Start")
	r.signals <- syscall.SIGTERM
	r.expect("Stop")
	r.expectExit(0)
}

func TestAgentThatEndsByItself(t *testing.T) {
	for _, stopErr := range []error{nil, errors.New("disk on fire")} {
		p := newFakeProcess()
		p.stopErr = stopErr
		r := startAgent(t, p, "-dev")
		r.expect("Start")
		close(p.done)
		r.expect("Stop")
		if stopErr == nil {
			r.expectExit(0)
			continue
		}
		r.expectExit(1)
		if !strings.Contains(r.err.String(), "disk on fire") {
			t.Errorf("error %q", r.err)
		}
	}
}

func TestFailedStart(t *testing.T) {
	p := newFakeProcess()
	p.startErr = errors.New("port 8300 is taken")
	r := startAgent(t, p, "-dev")
	r.expect("Start")
	r.expect("Stop")
	r.expectExit(1)
	if !strings.Contains(r.err.String(), "Error: start the agent: port 8300 is taken") {
		t.Errorf("error %q", r.err)
	}
}

func TestReloadReadsTheFilesAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.hcl")
	pid := filepath.Join(t.TempDir(), "pid")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`log_level = "INFO"`)
	p := newFakeProcess()
	p.badLevel = "ERR"
	r := startAgent(t, p, "-dev", "-config-file", file, "-pid-file", pid)
	r.started()
	if have, err := os.ReadFile(pid); err != nil || strings.TrimSpace(string(have)) != strconv.Itoa(os.Getpid()) {
		t.Errorf("pid file: %q, %v", have, err)
	}
	write(`log_level = `)
	r.signals <- syscall.SIGHUP
	r.logs("reload failed")
	write(`log_level = "WARN" ports { http = 9500 }`)
	r.signals <- syscall.SIGHUP
	r.expect("Reload WARN")
	r.logs("a changed key needs a restart")
	write(`log_level = "ERR"`)
	r.signals <- syscall.SIGHUP
	r.expect("Reload ERR")
	r.logs("no such thing")
	r.signals <- syscall.SIGTERM
	r.expect("HandOver", "Stop")
	r.expectExit(0)
	if _, err := os.Stat(pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pid file stays: %v", err)
	}
}

func TestChangedFilesAreReloaded(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.hcl", `log_level = "INFO"`)
	p := newFakeProcess()
	r := startAgent(t, p, "-dev", "-config-dir", dir, "-auto-reload-config")
	r.started()
	write("a.hcl", `log_level = "WARN"`)
	r.expect("Reload WARN")
	write("b.hcl", `log_level = "DEBUG"`)
	r.expect("Reload DEBUG")
	if err := os.Remove(filepath.Join(dir, "b.hcl")); err != nil {
		t.Fatal(err)
	}
	r.expect("Reload WARN")
	r.signals <- syscall.SIGTERM
	r.expect("HandOver", "Stop")
	r.expectExit(0)
}

// What changes while the agent still starts is loaded when it has.
func TestFilesThatChangeDuringAStartAreReloaded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.hcl")
	write := func(level string) {
		if err := os.WriteFile(file, []byte(fmt.Sprintf("log_level = %q", level)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("INFO")
	p := newFakeProcess()
	p.starting = time.After(3 * filesPeriod)
	r := startAgent(t, p, "-dev", "-config-file", file, "-auto-reload-config")
	r.expect("Start")
	write("ERROR")
	r.expect("Reload ERROR")
	r.signals <- syscall.SIGTERM
	r.expect("HandOver", "Stop")
	r.expectExit(0)
}

// Files that change again and again are reloaded when they are left alone, once.
func TestFilesAreReloadedWhenTheyAreLeftAlone(t *testing.T) {
	state := "old"
	w := &watchedFiles{look: func() string { return state }, loaded: state, seen: state}
	var got []bool
	for _, state = range []string{"old", "1", "2", "2", "2", "old", "old", "3", "old"} {
		got = append(got, w.changed())
	}
	if want := []bool{false, false, false, true, false, false, true, false, false}; !slices.Equal(got, want) {
		t.Errorf("reloads %v, want %v", got, want)
	}
}

func TestSyslogGetsTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := openSyslog("unixgram", path, "local3")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	level := new(slog.LevelVar)
	log := slog.New(s.handler(level)).With("component", "x")
	log.Debug("not shown")
	log.Info("one")
	log.Warn("two", "n", 2)
	log.Error("three")
	level.Set(slog.LevelDebug)
	log.Debug("four")
	const local3 = 19 << 3
	for i, want := range []string{`msg=one component=x`, `msg=two component=x n=2`, `msg=three component=x`, `msg=four component=x`} {
		b := make([]byte, 1024)
		if err := l.SetReadDeadline(time.Now().Add(commandtest.Patience)); err != nil {
			t.Fatal(err)
		}
		n, _, err := l.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		priority := fmt.Sprintf("<%d>", local3+[]int{6, 4, 3, 7}[i])
		if line := strings.TrimSpace(string(b[:n])); !strings.HasPrefix(line, priority) || !strings.HasSuffix(line, want) || !strings.Contains(line, "legate[") {
			t.Errorf("syslog got %q, want %s … %s", line, priority, want)
		}
	}
	if _, err := openSyslog("unixgram", path+"x", "LOCAL0"); err == nil || !strings.Contains(err.Error(), "enable_syslog") {
		t.Errorf("without a syslog: %v", err)
	}
}

// A syslog that takes nothing holds nobody up; when it does again, it is told how many
// lines it has not got.
func TestSyslogThatHangsHoldsNobodyUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := openSyslog("unixgram", path, "local3")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const written = 10 * syslogQueue // far above what the socket holds
	logged := make(chan struct{})
	group := lifecycle.New("test")
	if err := group.Spawn("log", func(context.Context) {
		log := slog.New(s.handler(new(slog.LevelVar)))
		for range written {
			log.Info("line")
		}
		close(logged)
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-logged:
	case <-time.After(commandtest.Patience):
		t.Fatal("who logs waits for syslog")
	}
	got, lost := 0, 0
	for b := make([]byte, 1024); got+lost < written; {
		if err := l.SetReadDeadline(time.Now().Add(commandtest.Patience)); err != nil {
			t.Fatal(err)
		}
		n, _, err := l.ReadFrom(b)
		if err != nil {
			t.Fatalf("%d lines came and %d were told lost of %d: %v", got, lost, written, err)
		}
		line := strings.TrimSpace(string(b[:n]))
		if _, count, ok := strings.Cut(line, "lines="); ok {
			more, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			lost += more
		} else if strings.HasSuffix(line, "msg=line") {
			got++
		}
	}
	if lost == 0 {
		t.Error("nothing was lost: the test tests nothing")
	}
}

func TestBadConfigurationStartsNothing(t *testing.T) {
	p := newFakeProcess()
	r := startAgent(t, p, "-bind=127.0.0.1", "-bootstrap")
	r.expectExit(1)
	for _, want := range []string{"data_dir cannot be empty", "'bootstrap = true' requires 'server = true'"} {
		if !strings.Contains(r.err.String(), want) {
			t.Errorf("missing %q in %q", want, r.err)
		}
	}
}

func TestBannerAndLogFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node-id"), []byte("6a0c4a6e-0000-4000-8000-000000000001\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startAgent(t, newFakeProcess(), "-server", "-bootstrap-expect=3", "-data-dir", dir, "-bind=127.0.0.1", "-node=n1", "-dc=west",
		"-log-json", "-log-file="+dir+"/logs/", "-encrypt=MDEyMzQ1Njc4OWFiY2RlZg==")
	r.started()
	r.signals <- syscall.SIGTERM
	r.expect("HandOver", "Stop")
	r.expectExit(0)
	for _, want := range []string{`Node name: n1`, `Node ID: 6a0c4a6e-0000-4000-8000-000000000001`, `Datacenter: west of federation legate`, `Mode: server \(expects 3\)`,
		`Client addresses: \[127.0.0.1\] \(HTTP: 8500, HTTPS: -1, DNS: 8600\)`, `Cluster address: 127.0.0.1 \(LAN: 8301, WAN: 8302, server: 8300\)`,
		`Gossip encryption: on`, `derived from the gossip key`, `"msg":"ending"`} {
		if !regexp.MustCompile(want).MatchString(r.out.String()) {
			t.Errorf("missing %q in\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out.String(), "MDEyMzQ1Njc4") {
		t.Error("the gossip key is shown")
	}
	log, err := os.ReadFile(filepath.Join(dir, "logs", "legate.log"))
	if err != nil || !strings.Contains(string(log), `"msg":"ending"`) {
		t.Errorf("log file %q, %v", log, err)
	}
}

func (p *fakeProcess) NodeID() string { return "6a0c4a6e-0000-4000-8000-000000000001" }
