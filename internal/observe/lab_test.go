//go:build linux

package observe

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/deployments/dashboards"
	"github.com/legate-project/legate/internal/proctest"
)

// recordVar names the file in which the stand-in for Grafana notes how it was
// started.
const recordVar = "LEGATE_STAND_IN"

// started is how a program was started.
type started struct {
	PID  int
	Args []string
	Env  map[string]string
}

// standIn is what this test binary does under the name grafana, which is not to
// be had where tests run: it notes how it was started and listens until it is
// told to end.
func standIn() int {
	s := started{PID: os.Getpid(), Args: os.Args[1:], Env: map[string]string{}}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		s.Env[name] = value
	}
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(os.Getenv(recordVar), b, 0o600)
	}
	var l net.Listener
	if err == nil {
		l, err = net.Listen("tcp", net.JoinHostPort(s.Env["GF_SERVER_HTTP_ADDR"], s.Env["GF_SERVER_HTTP_PORT"]))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	if err := l.Close(); err != nil {
		return 1
	}
	return 0
}

// lab is a running `legate lab -observe`.
type lab struct {
	*proctest.Process
	t      *testing.T
	host   *proctest.Host
	record string
	temp   string
}

func startLab(t *testing.T, args ...string) *lab {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("takes the program prometheus")
	}
	dir, self := t.TempDir(), "/proc/self/exe"
	if real, err := os.Readlink(self); err == nil {
		self = real
	}
	l := &lab{t: t, host: proctest.Loopback(t), record: filepath.Join(dir, "started.json"), temp: filepath.Join(dir, "temp")}
	if err := errors.Join(os.Symlink(self, filepath.Join(dir, "grafana")), os.Mkdir(l.temp, 0o700)); err != nil {
		t.Fatal(err)
	}
	l.Process = proctest.StartTool(t, l.host, "lab", append([]string{"env", "PATH=" + dir + ":" + os.Getenv("PATH"),
		"TMPDIR=" + l.temp, "XDG_RUNTIME_DIR=" + dir, recordVar + "=" + l.record, os.Getenv(proctest.BinaryVar), "lab", "-observe", "-rtt=20ms"}, args...)...)
	return l
}

// address is what the lab says about one of those who watch.
func (l *lab) address(of string) string {
	l.t.Helper()
	line := l.WaitLine(0, 2*patience, of+" ", "http://127.0.0.1:")
	_, rest, _ := strings.Cut(line, "http://")
	addr, _, _ := strings.Cut(rest, "/")
	return addr
}

func (l *lab) grafana() (s started) {
	l.t.Helper()
	b, err := os.ReadFile(l.record)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// over waits until nobody listens any more and Grafana's process is gone.
func (l *lab) over(grafana int, addrs ...string) {
	l.t.Helper()
	proctest.Until(l.t, patience, "those who watch end", func() error {
		for _, a := range addrs {
			if c, err := l.host.DialContext(l.t.Context(), "tcp", a); err == nil {
				return errors.Join(fmt.Errorf("%s is open", a), c.Close())
			}
		}
		if err := syscall.Kill(grafana, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d is there: %v", grafana, err)
		}
		return nil
	})
}

func TestALabIsWatched(t *testing.T) {
	t.Parallel()
	l := startLab(t, "-datacenters=2", "-servers=1", "-clients=0")
	prom, graf := l.address("Prometheus"), l.address("Grafana")
	transport := l.host.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	p := &prometheus{t: t, base: "http://" + prom, http: &http.Client{Transport: transport, Timeout: 10 * time.Second}}
	proctest.Until(t, patience, "both agents are scraped", func() error {
		found, err := p.instant(`sum by (dc, node) (up{job="legate"} == 1) and on (dc) legate_version`)
		if err == nil && (len(found) != 2 || found[0].labels["dc"] == "" || found[0].labels["node"] == "") {
			err = fmt.Errorf("%v", found)
		}
		return err
	})
	if rules, err := p.rules(); err != nil || len(rules) < 40 {
		t.Errorf("%d rules (%v)", len(rules), err)
	}

	g := l.grafana()
	if addr := net.JoinHostPort(g.Env["GF_SERVER_HTTP_ADDR"], g.Env["GF_SERVER_HTTP_PORT"]); len(g.Args) == 0 || g.Args[0] != "server" || addr != graf {
		t.Errorf("grafana was started with %v for %s, and %s was said", g.Args, addr, graf)
	}
	if g.Env["PROMETHEUS_URL"] != p.base {
		t.Errorf("grafana asks %s", g.Env["PROMETHEUS_URL"])
	}
	for _, name := range []string{"GF_PATHS_DATA", "GF_PATHS_LOGS", "GF_PATHS_PLUGINS", "GF_PATHS_PROVISIONING", "DASHBOARDS"} {
		if !strings.HasPrefix(g.Env[name], l.temp+"/") {
			t.Errorf("%s is %q", name, g.Env[name])
		}
	}
	for _, file := range []string{"datasources/legate.yml", "dashboards/legate.yml"} {
		b, err := os.ReadFile(filepath.Join(g.Env["GF_PATHS_PROVISIONING"], file))
		if err != nil || len(b) == 0 {
			t.Errorf("provisioning: %v", err)
		}
	}
	for _, d := range dashboards.All() {
		want, err := d.JSON()
		got, rerr := os.ReadFile(filepath.Join(g.Env["DASHBOARDS"], d.File()))
		if err != nil || rerr != nil || string(got) != string(want) {
			t.Errorf("%s: %v %v", d.File(), err, rerr)
		}
	}

	l.Signal(syscall.SIGINT)
	if code := l.WaitExit(patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, l.Tail(20))
	}
	l.over(g.PID, prom, graf)
	if left, err := os.ReadDir(l.temp); err != nil || len(left) > 0 {
		t.Errorf("the lab leaves %v (%v)", left, err)
	}
}

// A lab that is killed leaves nobody behind.
func TestWhoWatchesEndsWithTheLab(t *testing.T) {
	t.Parallel()
	l := startLab(t, "-datacenters=1", "-servers=1", "-clients=0", "-prometheus-addr=127.0.0.1:9909")
	prom, graf := l.address("Prometheus"), l.address("Grafana")
	if prom != "127.0.0.1:9909" {
		t.Errorf("Prometheus is at %s", prom)
	}
	g := l.grafana()
	l.Kill()
	l.over(g.PID, prom, graf)
}
