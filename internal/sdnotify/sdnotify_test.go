package sdnotify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long a datagram on this machine may take.
const patience = 30 * time.Second

// listen is a service manager at an address, which the environment names.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv(SocketVar, name)
	return l
}

func hear(t *testing.T, l *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 4096)
	if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, err := l.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestMessagesReachTheSocketOfTheEnvironment(t *testing.T) {
	names := []string{filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		names = append(names, fmt.Sprintf("@legate-test-%d", os.Getpid()))
	}
	for _, name := range names {
		l := listen(t, name)
		s, err := FromEnvironment()
		if err != nil || s == nil {
			t.Fatalf("%s: %v, %v", name, s, err)
		}
		if err := s.Send(Ready, Status("up\nand well"), Extend(1500*time.Millisecond)); err != nil {
			t.Error(err)
		}
		if got, want := hear(t, l), "READY=1\nSTATUS=up and well\nEXTEND_TIMEOUT_USEC=1500000"; got != want {
			t.Errorf("%s: heard %q, want %q", name, got, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A reload is known by the clock that the manager reads: what was asked for later is
// another one.
func TestReloadsHaveTheTimeOfTheMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the clock is Linux's")
	}
	uptime := func() float64 {
		b, err := os.ReadFile("/proc/uptime")
		if err != nil {
			t.Fatal(err)
		}
		f, err := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	before := uptime()
	lines, err := Reloading()
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(lines, "RELOADING=1\nMONOTONIC_USEC=")
	usec, err := strconv.ParseInt(text, 10, 64)
	// /proc/uptime also counts the time that the machine slept, and has hundredths.
	if now := float64(usec) / 1e6; !ok || err != nil || now <= 0 || now > uptime()+0.02 {
		t.Errorf("%q (%v), the machine is up for %f to %f s", lines, err, before, uptime())
	}
}

func TestWithoutASocketNothingIsSaid(t *testing.T) {
	t.Setenv(SocketVar, "")
	s, err := FromEnvironment()
	if s != nil || err != nil {
		t.Fatalf("%v, %v", s, err)
	}
	if err := s.Send(Ready); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheEnvironmentIsChecked(t *testing.T) {
	here := filepath.Join(t.TempDir(), "notify")
	listen(t, here)
	for _, c := range []struct {
		socket, usec, pid string
		want              time.Duration
		err               string
	}{
		{here, "", "", 0, ""},
		{here, "30000000", "", 30 * time.Second, ""},
		{here, "30000000", strconv.Itoa(os.Getpid()), 30 * time.Second, ""},
		{here, "30000000", "1", 0, ""}, // it is another one's
		{here, "1", "", shortestPeriod, ""},
		{here, "0", "", 0, watchdogVar},
		{here, "-5", "", 0, watchdogVar},
		{here, "soon", "", 0, watchdogVar},
		{here, "9223372036854775807", "", 0, watchdogVar},
		{here + "x", "", "", 0, SocketVar},
		{"notify", "", "", 0, "want a path"},
	} {
		t.Setenv(SocketVar, c.socket)
		t.Setenv(watchdogVar, c.usec)
		t.Setenv(watchdogPIDVar, c.pid)
		s, err := FromEnvironment()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: error %v", c, err)
			}
			continue
		}
		if err != nil || s.Watchdog != c.want {
			t.Errorf("%+v: %+v, %v", c, s, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
