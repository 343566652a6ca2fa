package labcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/legate-project/legate/deployments"
	"github.com/legate-project/legate/deployments/dashboards"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/testcluster"
)

const (
	// scrapePeriod is how often the lab's agents are scraped.
	scrapePeriod = "2s"
	// readyTimeout is how long a program may take until it listens.
	readyTimeout = 60 * time.Second
	// dialPeriod is the time between two looks whether it does.
	dialPeriod = 100 * time.Millisecond
	// endTimeout is how long one that was told to end may take before it is killed.
	endTimeout = 5 * time.Second
	// tailBytes is how much of the log of one that failed is shown.
	tailBytes = 2000
)

// What to do when a program is missing.
const (
	withoutPrometheus = "prometheus is not on the PATH: install it (Debian: apt install prometheus; others: https://prometheus.io/download)"
	withoutGrafana    = "grafana is not on the PATH: install it (https://grafana.com/docs/grafana/latest/setup-grafana/installation)"
)

// observers are Prometheus and Grafana that watch a lab, with the rules and
// dashboards that are shipped, on loopback addresses.
type observers struct {
	dir                         string // for all their files
	prometheusAddr, grafanaAddr string // port 0 takes a free one
	group                       *lifecycle.Group
}

// watch starts what is there and returns what to tell about it, also about one
// if the other fails.
func (o *observers) watch(ctx context.Context, nodes []*testcluster.Node) (string, error) {
	if err := errors.Join(loopback("-prometheus-addr", &o.prometheusAddr), loopback("-grafana-addr", &o.grafanaAddr)); err != nil {
		return "", err
	}
	said := "Watch it:\n\n"
	var failed []error
	tell := func(err error, line string) {
		if err != nil {
			failed = append(failed, err)
			return
		}
		said += "  " + line + "\n"
	}
	if program, err := exec.LookPath("prometheus"); err != nil {
		tell(nil, withoutPrometheus)
	} else {
		tell(o.prometheus(ctx, program, nodes), "Prometheus  http://"+o.prometheusAddr+"/alerts")
	}
	if command, ok := findGrafana(); !ok {
		tell(nil, withoutGrafana)
	} else {
		tell(o.grafana(ctx, command), "Grafana     http://"+o.grafanaAddr+"/dashboards (no login, folder Legate)")
	}
	return said + "\n", errors.Join(failed...)
}

// loopback checks an address and takes a free port where it names none.
func loopback(flag string, addr *string) error {
	host, port, err := net.SplitHostPort(*addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%s %q: want a loopback address and a port", flag, *addr)
	}
	if port != "0" {
		return nil
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	*addr = l.Addr().String()
	return l.Close()
}

// scraped is an agent as Prometheus is told of it.
type scraped struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

func (o *observers) prometheus(ctx context.Context, program string, nodes []*testcluster.Node) error {
	dir := filepath.Join(o.dir, "prometheus")
	var agents []scraped
	for _, n := range nodes {
		agents = append(agents, scraped{[]string{n.HTTPAddr()}, map[string]string{"dc": n.Datacenter, "node": n.Name}})
	}
	// JSON is YAML, too.
	config, err := json.MarshalIndent(map[string]any{
		"global":     map[string]any{"scrape_interval": scrapePeriod, "evaluation_interval": scrapePeriod},
		"rule_files": []string{filepath.Join(dir, "*.rules.yml")},
		"scrape_configs": []map[string]any{
			{"job_name": "legate", "metrics_path": "/metrics", "static_configs": agents},
		},
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("render Prometheus' configuration: %w", err)
	}
	if err := errors.Join(unpack("prometheus", dir), os.WriteFile(filepath.Join(dir, "prometheus.yml"), config, 0o600)); err != nil {
		return fmt.Errorf("write Prometheus' configuration: %w", err)
	}
	return o.run(ctx, o.prometheusAddr, nil, program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+o.prometheusAddr)
}

// findGrafana returns the program and its first arguments, among them the
// folder of its own files if that is where packages put it.
func findGrafana() (command []string, ok bool) {
	program, err := exec.LookPath("grafana")
	command = []string{program, "server"}
	if err != nil {
		if program, err = exec.LookPath("grafana-server"); err != nil {
			return nil, false
		}
		command = []string{program}
	}
	homes := []string{"/usr/share/grafana", "/opt/homebrew/share/grafana", "/usr/local/share/grafana"}
	if real, err := filepath.EvalSymlinks(program); err == nil {
		homes = append([]string{filepath.Dir(filepath.Dir(real))}, homes...)
	}
	for _, home := range homes {
		if _, err := os.Stat(filepath.Join(home, "conf", "defaults.ini")); err == nil {
			return append(command, "--homepath", home), true
		}
	}
	return command, true
}

func (o *observers) grafana(ctx context.Context, command []string) error {
	dir := filepath.Join(o.dir, "grafana")
	boards := filepath.Join(dir, "dashboards")
	if err := errors.Join(unpack("grafana/provisioning", filepath.Join(dir, "provisioning")), os.MkdirAll(boards, 0o700)); err != nil {
		return fmt.Errorf("write Grafana's configuration: %w", err)
	}
	for _, d := range dashboards.All() {
		b, err := d.JSON()
		if err == nil {
			err = os.WriteFile(filepath.Join(boards, d.File()), b, 0o600)
		}
		if err != nil {
			return fmt.Errorf("write Grafana's dashboards: %w", err)
		}
	}
	host, port, err := net.SplitHostPort(o.grafanaAddr)
	if err != nil {
		return err
	}
	return o.run(ctx, o.grafanaAddr, []string{
		"PROMETHEUS_URL=http://" + o.prometheusAddr, "SCRAPE_INTERVAL=" + scrapePeriod, "DASHBOARDS=" + boards,
		"GF_SERVER_HTTP_ADDR=" + host, "GF_SERVER_HTTP_PORT=" + port,
		"GF_PATHS_DATA=" + filepath.Join(dir, "data"), "GF_PATHS_LOGS=" + filepath.Join(dir, "log"),
		"GF_PATHS_PLUGINS=" + filepath.Join(dir, "plugins"), "GF_PATHS_PROVISIONING=" + filepath.Join(dir, "provisioning"),
		"GF_AUTH_ANONYMOUS_ENABLED=true", "GF_AUTH_ANONYMOUS_ORG_ROLE=Admin",
		// It asks nobody outside this machine.
		"GF_ANALYTICS_REPORTING_ENABLED=false", "GF_ANALYTICS_CHECK_FOR_UPDATES=false", "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false",
		"GF_NEWS_NEWS_FEED_ENABLED=false", "GF_PLUGINS_PREINSTALL_DISABLED=true",
	}, command...)
}

// unpack writes the shipped files of a folder.
func unpack(folder, to string) error {
	return fs.WalkDir(deployments.Files, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := filepath.Join(to, filepath.FromSlash(strings.TrimPrefix(name, folder)))
		if d.IsDir() {
			return os.MkdirAll(at, 0o700)
		}
		b, err := fs.ReadFile(deployments.Files, path.Clean(name))
		if err != nil {
			return err
		}
		return os.WriteFile(at, b, 0o600)
	})
}

// run starts a program of somebody else and waits until it listens. It ends
// with the lab, also if that is killed.
func (o *observers) run(ctx context.Context, addr string, env []string, command ...string) error {
	name := filepath.Base(command[0])
	log, err := os.Create(filepath.Join(o.dir, name+".log"))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	err = o.group.Go(name, func(ctx context.Context) {
		// The kernel ends the child when this thread ends, so it must not before.
		runtime.LockOSThread()
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), env...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay, cmd.SysProcAttr = endTimeout, dieTogether()
		err := cmd.Run()
		ended <- errors.Join(err, log.Close())
	})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(dialPeriod)
	defer tick.Stop()
	for {
		c, err := net.DialTimeout("tcp", addr, dialPeriod)
		if err == nil {
			return c.Close()
		}
		select {
		case err := <-ended:
			return fmt.Errorf("%s ended at once (%w):\n%s", name, err, tail(log.Name()))
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s:\n%s", name, addr, tail(log.Name()))
		case <-tick.C:
		}
	}
}

// tail is the end of a log.
func tail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-tailBytes):])
}
