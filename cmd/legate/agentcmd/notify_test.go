package agentcmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/sdnotify"
)

// listener is a service manager: it hears what the command tells.
type listener struct {
	t *testing.T
	l *net.UnixConn
}

// manage has the next command tell a service manager.
func manage(t *testing.T, watchdog time.Duration) *listener {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv(sdnotify.SocketVar, path)
	t.Setenv("WATCHDOG_PID", "")
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	return &listener{t, l}
}

// until returns the first message with a line that begins so, and how many came before.
func (s *listener) until(begins string) (message string, before []string) {
	s.t.Helper()
	if err := s.l.SetReadDeadline(time.Now().Add(commandtest.Patience)); err != nil {
		s.t.Fatal(err)
	}
	for b := make([]byte, 4096); ; {
		n, err := s.l.Read(b)
		if err != nil {
			s.t.Fatalf("%s was not told, but %q", begins, before)
		}
		message = string(b[:n])
		if strings.Contains("\n"+message, "\n"+begins) {
			return message, before
		}
		before = append(before, message)
	}
}

// drain returns what was told so far and not heard.
func (s *listener) drain() (messages []string) {
	s.t.Helper()
	for b := make([]byte, 4096); ; {
		if err := s.l.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			s.t.Fatal(err)
		}
		n, err := s.l.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return messages
		}
		if err != nil {
			s.t.Fatal(err)
		}
		messages = append(messages, string(b[:n]))
	}
}

// never fails if one of the messages has a line that begins so.
func (s *listener) never(messages []string, begins string) {
	s.t.Helper()
	for _, m := range messages {
		if strings.Contains("\n"+m, "\n"+begins) {
			s.t.Errorf("%q was told", m)
		}
	}
}

func TestTheServiceManagerHearsHowTheAgentFares(t *testing.T) {
	m := manage(t, time.Second)
	p := newFakeProcess()
	p.state.Store(&ready.State{Status: ready.Starting, Reason: "No leader was heard yet"})
	r := startAgent(t, p, "-dev", `-hcl=leave_on_terminate=true performance { leave_drain_time = "40s" }`)
	r.started()
	m.until("STATUS=starting: no leader was heard yet")
	said, before := m.until("EXTEND_TIMEOUT_USEC=30000000") // who waits for a leader is not given up
	m.never(append(before, said), "READY=1")
	p.state.Store(&ready.State{Status: ready.Ready})
	if said, _ := m.until("READY=1"); !strings.Contains(said, "STATUS=ready") {
		t.Errorf("told %q", said)
	}
	for range 3 {
		m.until("WATCHDOG=1")
	}
	p.state.Store(&ready.State{Status: ready.NoLeader, Reason: "Too long"})
	_, before = m.until("STATUS=no-leader: too long")
	m.never(before, "READY=1")
	_, before = m.until("WATCHDOG=1") // that others are missing is no reason to be killed
	m.never(before, "READY=1")
	r.signals <- syscall.SIGHUP
	r.expect("Reload INFO")
	if said, _ := m.until("RELOADING=1"); !strings.Contains(said, "\nMONOTONIC_USEC=") {
		t.Errorf("told %q", said)
	}
	m.until("READY=1")
	if v, ok := os.LookupEnv(sdnotify.SocketVar); ok {
		t.Errorf("who the agent starts may speak for it: %q", v)
	}
	p.hangLeave = true
	r.signals <- syscall.SIGTERM
	r.expect("Leave")
	if said, _ := m.until("STOPPING=1"); !strings.Contains(said, "\nEXTEND_TIMEOUT_USEC=85000000") || !strings.Contains(said, "STATUS=ending by terminated") {
		t.Errorf("told %q", said)
	}
	m.until("WATCHDOG=1") // the end has its own bounds
	r.signals <- syscall.SIGTERM
	r.expectExit(1)
}

// An agent whose loops stand still is not said to be alive, so that the manager ends it.
func TestTheWatchdogHearsOfAnAgentThatStandsStill(t *testing.T) {
	m := manage(t, 100*time.Millisecond)
	p := newFakeProcess()
	r := startAgent(t, p, "-dev")
	r.started()
	m.until("READY=1")
	m.until("WATCHDOG=1")
	p.dead.Store(true)
	const silent = "not telling the service manager that the agent is alive"
	r.logs(silent)
	m.drain()
	n := strings.Count(r.out.String(), silent)
	r.logsTimes(silent, n+2)
	if said := m.drain(); len(said) > 0 {
		t.Errorf("while it stood still %q was told", said)
	}
	p.state.Store(&ready.State{Status: ready.Stale, Reason: "Since it stood still"})
	p.dead.Store(false)
	if said, _ := m.until("STATUS=stale"); !strings.HasPrefix(said, "WATCHDOG=1\n") {
		t.Errorf("told %q", said)
	}
	r.signals <- syscall.SIGTERM
	r.expect("HandOver", "Stop")
	r.expectExit(0)
}

func TestAWrongSocketIsAnError(t *testing.T) {
	manage(t, 0)
	t.Setenv(sdnotify.SocketVar, filepath.Join(t.TempDir(), "none"))
	r := startAgent(t, newFakeProcess(), "-dev")
	r.expectExit(1)
	if !strings.Contains(r.err.String(), sdnotify.SocketVar) {
		t.Errorf("error %q", r.err)
	}
}

func TestThePidFileIsOneAgentsAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil { // of one that was killed; the number is another's now
		t.Fatal(err)
	}
	r := startAgent(t, newFakeProcess(), "-dev", "-pid-file", path)
	r.started()
	own := fmt.Sprintf("%d\n", os.Getpid())
	if b, err := os.ReadFile(path); err != nil || string(b) != own {
		t.Errorf("the file has %q, %v", b, err)
	}
	second := startAgent(t, newFakeProcess(), "-dev", "-pid-file", path)
	second.expectExit(1)
	for _, want := range []string{"pid_file", path, strings.TrimSpace(own)} {
		if !strings.Contains(second.err.String(), want) {
			t.Errorf("error %q lacks %q", second.err, want)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != own {
		t.Errorf("the file has %q, %v", b, err)
	}
	r.signals <- syscall.SIGTERM
	r.expect("HandOver", "Stop")
	r.expectExit(0)
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file stays: %v", err)
	}
	third := startAgent(t, newFakeProcess(), "-dev", "-pid-file", filepath.Join(path, "no-folder"))
	third.expectExit(1)
	if !strings.Contains(third.err.String(), "pid_file") {
		t.Errorf("error %q", third.err)
	}
}

// A file that somebody else has put in its place is not removed.
func TestThePidFileOfAnotherStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	p, err := claimPid(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("7\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	p.release()
	if b, err := os.ReadFile(path); err != nil || string(b) != "7\n" {
		t.Errorf("the file has %q, %v", b, err)
	}
}

// The journal is known by its stream: priorities stand in front of lines, and no time.
func TestTheJournalGetsPriorities(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	info, err := write.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s := info.Sys().(*syscall.Stat_t)
	t.Setenv(journalVar, fmt.Sprintf("%d:%d", s.Dev, s.Ino))
	if !isJournal(write) || isJournal(os.Stderr) || isJournal(&bytes.Buffer{}) {
		t.Error("the journal is not told from other outputs")
	}
	level := new(slog.LevelVar)
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		log := slog.New(journal(&out, level, asJSON)).With("component", "x")
		log.Debug("not shown")
		log.Info("one\ntwo")
		log.Warn("two")
		log.Error("three")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 {
			t.Fatalf("%q", lines)
		}
		for i, priority := range []string{"<6>", "<4>", "<3>"} {
			rest, ok := strings.CutPrefix(lines[i], priority)
			if !ok || strings.Contains(rest, "time") || strings.Contains(rest, "level") {
				t.Errorf("line %q", lines[i])
			}
			if asJSON && !json.Valid([]byte(rest)) {
				t.Errorf("no JSON: %q", rest)
			}
		}
	}
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
}

// The file of the log has the time although the journal does not want it.
func TestTheLogFileHasTheTimeBesideTheJournal(t *testing.T) {
	if os.Getenv("LEGATE_TEST_JOURNAL") == "" {
		file := filepath.Join(t.TempDir(), "log")
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		info, err := out.Stat()
		if err != nil {
			t.Fatal(err)
		}
		s := info.Sys().(*syscall.Stat_t)
		cmd := exec.Command(os.Args[0], "-test.run=^TestTheLogFileHasTheTimeBesideTheJournal$")
		cmd.Env = append(os.Environ(), "LEGATE_TEST_JOURNAL="+file+".own", fmt.Sprintf("%s=%d:%d", journalVar, s.Dev, s.Ino))
		cmd.Stdout = out
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(got), "<4>msg=heard\n") {
			t.Errorf("the journal has %q, %v", got, err)
		}
		own, err := os.ReadFile(file + ".own")
		if err != nil || !strings.HasPrefix(string(own), "time=") || !strings.Contains(string(own), "level=WARN msg=heard\n") {
			t.Errorf("the file has %q, %v", own, err)
		}
		return
	}
	a := &agentAction{cfg: testConfig(t, "-log-file="+os.Getenv("LEGATE_TEST_JOURNAL"))}
	closeLog, err := a.openLog(os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	a.log.Warn("heard")
	closeLog()
}

// testConfig is a configuration for development, with flags.
func testConfig(t *testing.T, args ...string) *config.Config {
	t.Helper()
	set := flag.NewFlagSet("agent", flag.ContinueOnError)
	flags := config.RegisterFlags(set)
	if err := set.Parse(append([]string{"-dev"}, args...)); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
