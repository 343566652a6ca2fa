// Package labcmd runs a federation of several datacenters on this machine, to try
// things on, and changes it while it runs.
package labcmd

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/legate-project/legate/agent"
	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/testcluster"
)

const (
	labStartTimeout = 2 * time.Minute
	labStopTimeout  = 30 * time.Second
	labSendTimeout  = 30 * time.Second
	keyBytes        = 32 // of a gossip key
)

// Lab is the command lab.
func Lab() command.Command {
	return command.Command{
		Name: "lab", Synopsis: "Run a federation of several datacenters on this machine",
		About: "Runs whole datacenters in one process, on addresses 127.0.11.1, 127.0.12.1, … of the loopback network,\n" +
			"with an emulated WAN between them and example services in each. It shows what goes on until it is\n" +
			"interrupted, and keeps nothing. While it runs, `legate lab set`, `cut`, `heal`, `stop` and `start` change it.\n" +
			"With -observe, Prometheus and Grafana show it.",
		Example: "legate lab\nlegate lab -observe\nlegate lab -datacenters 2 -servers 1 -rtt 80ms\nlegate lab -shape gateways\nlegate lab set dc1-dc2 rtt=120ms loss=1%\nlegate lab cut dc2",
		New:     func() command.Action { return &labAction{} },
	}
}

// Set is the command lab set.
func Set() command.Command {
	return sent(command.Command{
		Name: "lab set", Synopsis: "Change the link between two datacenters of the lab", Args: "DC1-DC2 rtt=120ms loss=1% jitter=5ms", Min: 2, Max: -1,
		About: "Changes what is named and leaves the rest as it is.", Example: "legate lab set dc1-dc2 rtt=120ms loss=1%",
	})
}

// Cut is the command lab cut.
func Cut() command.Command {
	return sent(command.Command{
		Name: "lab cut", Synopsis: "Cut a datacenter of the lab off", Args: "DC", Min: 1, Max: 1,
		About: "Nothing passes between the datacenter and the others until `legate lab heal`.", Example: "legate lab cut dc2",
	})
}

// Heal is the command lab heal.
func Heal() command.Command {
	return sent(command.Command{
		Name: "lab heal", Synopsis: "Undo a cut of the lab", Args: "DC", Min: 1, Max: 1,
		About: "Connects a datacenter again that was cut off.", Example: "legate lab heal dc2",
	})
}

// Stop is the command lab stop.
func Stop() command.Command {
	return sent(command.Command{
		Name: "lab stop", Synopsis: "Stop an agent of the lab", Args: "NODE", Min: 1, Max: 1,
		About: "Stops it without a word to the others: they see it fail.", Example: "legate lab stop dc1-server1",
	})
}

// Start is the command lab start.
func Start() command.Command {
	return sent(command.Command{
		Name: "lab start", Synopsis: "Start a stopped agent of the lab", Args: "NODE", Min: 1, Max: 1,
		About: "Starts it on the state that it kept.", Example: "legate lab start dc1-server1",
	})
}

// sent completes a command that is sent to the running lab.
func sent(c command.Command) command.Command {
	verb := strings.TrimPrefix(c.Name, "lab ")
	c.New = func() command.Action { return labSend(verb) }
	return c
}

// labSend gives a command to the running lab.
type labSend string

func (labSend) Flags(*flag.FlagSet) {}

func (s labSend) Run(c *command.Call, args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), labSendTimeout)
	defer cancel()
	said, err := testcluster.Send(ctx, append([]string{string(s)}, args...))
	if err != nil {
		return err
	}
	fmt.Fprintln(c.Stdout, said)
	return nil
}

type labAction struct {
	spec     testcluster.Spec
	topology string
	shape    string
	loss     string
	keep     string
	verbose  bool
	observe  bool
	acl      bool
	watchers observers
}

func (a *labAction) Flags(fs *flag.FlagSet) {
	fs.IntVar(&a.spec.Datacenters, "datacenters", 3, "`number` of datacenters.")
	fs.IntVar(&a.spec.Servers, "servers", 3, "`number` of servers in each datacenter.")
	fs.IntVar(&a.spec.Clients, "clients", 1, "`number` of client agents in each datacenter.")
	fs.StringVar(&a.shape, "shape", string(testcluster.Mesh), "which datacenters reach each other: `mesh`, all; star, all the first alone, whose servers carry for the others; partial, all but the last two each other; "+
		"nat, nothing gets into the last but answers, and gateways of the first carry; gateways, nothing gets into any, and each has a gateway of its own.")
	fs.StringVar(&a.topology, "topology", "regions", "`regions` takes measured round trips between cloud regions, flat takes -rtt for all.")
	fs.DurationVar(&a.spec.RTT, "rtt", 0, "round trip `time` between all datacenters; implies -topology flat.")
	fs.DurationVar(&a.spec.Jitter, "jitter", 0, "most `time` that a packet deviates.")
	fs.StringVar(&a.loss, "loss", "0%", "`share` of packets lost, each way.")
	fs.StringVar(&a.keep, "dir", "", "keep the agents' state in this `directory`. Empty takes a temporary one and removes it at the end.")
	fs.BoolVar(&a.verbose, "log", false, "Show the agents' logs, too.")
	fs.BoolVar(&a.acl, "acl", false, "Lock the federation down: gossip is encrypted, and nobody may do anything without a token. The lab makes some and shows them.")
	fs.BoolVar(&a.observe, "observe", false, "Start the Prometheus and the Grafana that are on the PATH, with Legate's rules and dashboards, for this lab.")
	fs.StringVar(&a.watchers.prometheusAddr, "prometheus-addr", "127.0.0.1:0", "loopback `address` of Prometheus; port 0 takes a free one.")
	fs.StringVar(&a.watchers.grafanaAddr, "grafana-addr", "127.0.0.1:0", "loopback `address` of Grafana; port 0 takes a free one.")
}

func (a *labAction) prepare(stderr io.Writer) error {
	share := strings.TrimSuffix(a.loss, "%")
	percent, err := strconv.ParseFloat(share, 64)
	if err != nil {
		return fmt.Errorf("-loss %q: want a share such as 1%%", a.loss)
	}
	a.spec.Loss, a.spec.Shape = percent/100, testcluster.Shape(a.shape)
	switch {
	case a.spec.RTT > 0, a.topology == "flat":
	case a.topology == "regions":
		a.spec.Regions = true
	default:
		return fmt.Errorf("-topology %q: want regions or flat", a.topology)
	}
	// The WAN is watched a little more closely than by default, so that a
	// visitor sees cuts and round trips within seconds.
	a.spec.Timing = agent.Timing{WAN: gossip.Timing{ProbeInterval: time.Second, ProbeTimeout: 700 * time.Millisecond, SuspicionMult: 3, PushPullInterval: 15 * time.Second},
		CoordinatePeriod: 2 * time.Second}
	if a.acl {
		a.spec.Access, a.spec.Key = testcluster.NewAccess(), make([]byte, keyBytes)
		if _, err := rand.Read(a.spec.Key); err != nil {
			return err
		}
	}
	a.spec.UI = true
	a.spec.Seed = uint64(time.Now().UnixNano())
	a.spec.Log = logging.Discard()
	if a.verbose {
		a.spec.Log = logging.New(stderr, new(slog.LevelVar), false)
	}
	return a.spec.Validate()
}

func (a *labAction) Run(c *command.Call, _ []string) (err error) {
	if err := a.prepare(c.Stderr); err != nil {
		return err
	}
	signals := make(chan os.Signal, command.SignalQueue)
	c.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if a.spec.Dir = a.keep; a.keep == "" {
		if a.spec.Dir, err = os.MkdirTemp("", "legate-lab-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(a.spec.Dir)) }()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended, err := command.Background(lifecycle.New("lab command"), "lab", func(context.Context) error { return a.federate(ctx, c) })
	if err != nil {
		return err
	}
	return attend(c.Stdout, signals, cancel, ended)
}

// attend waits for the end. The first signal asks for it; the second does not
// wait any longer.
func attend(stdout io.Writer, signals <-chan os.Signal, cancel func(), ended <-chan error) error {
	asked := false
	for {
		select {
		case err := <-ended:
			return err
		case sig := <-signals:
			if asked {
				return fmt.Errorf("ended at once by a second signal (%s)", sig)
			}
			asked = true
			fmt.Fprintln(stdout, "\nStopping the lab … (again to end at once)")
			cancel()
		}
	}
}

// federate runs the federation until ctx ends.
func (a *labAction) federate(ctx context.Context, c *command.Call) (err error) {
	cluster, err := testcluster.New(a.spec)
	if err != nil {
		return err
	}
	group := lifecycle.New("lab")
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), labStopTimeout)
		defer cancel()
		err = errors.Join(err, group.Stop(ctx))
	}()
	starting, cancel := context.WithTimeout(ctx, labStartTimeout)
	defer cancel()
	if err := a.start(starting, c, group, cluster); err != nil {
		if ctx.Err() != nil { // interrupted while it started
			return nil
		}
		return err
	}
	newDashboard(c.Stdout, cluster).show(ctx.Done())
	return nil
}

// start brings the federation up and registers the examples.
func (a *labAction) start(ctx context.Context, c *command.Call, group *lifecycle.Group, cluster *testcluster.Cluster) error {
	fmt.Fprintf(c.Stdout, "Starting %d datacenters of %d servers and %d clients%s, state in %s …\n",
		a.spec.Datacenters, a.spec.Servers, a.spec.Clients, a.spec.Shape.Described(), filepath.Clean(a.spec.Dir))
	control, err := testcluster.Listen(ctx)
	if err != nil {
		return err
	}
	if err := group.OnStop("agents", cluster.Stop); err != nil {
		return errors.Join(err, control.Close())
	}
	if err := cluster.Start(ctx); err != nil {
		return errors.Join(err, control.Close())
	}
	if err := group.Go("control", func(context.Context) {
		if err := cluster.Control(control); err != nil {
			fmt.Fprintln(c.Stderr, "Error: lab commands are no longer taken:", err)
		}
	}); err != nil {
		return errors.Join(err, control.Close())
	}
	if err := group.OnStop("control", func(context.Context) error { return control.Close() }); err != nil {
		return err
	}
	for _, dc := range cluster.Datacenters() {
		if _, err := cluster.WaitLeader(ctx, dc); err != nil {
			return err
		}
	}
	if err := cluster.WaitFederated(ctx); err != nil {
		return err
	}
	if err := cluster.MakeTokens(ctx); err != nil {
		return err
	}
	if err := cluster.RegisterExamples(ctx); err != nil {
		return err
	}
	fmt.Fprint(c.Stdout, labHints(cluster, a.spec.Access))
	return a.watched(ctx, c, group, cluster)
}

// watched starts those who watch, if that was asked for. A lab without them is
// still a lab.
func (a *labAction) watched(ctx context.Context, c *command.Call, group *lifecycle.Group, cluster *testcluster.Cluster) (err error) {
	if !a.observe {
		return nil
	}
	if a.watchers.dir, err = os.MkdirTemp("", "legate-observe-"); err != nil {
		return err
	}
	if err := group.OnStop("files of who watches", func(context.Context) error { return os.RemoveAll(a.watchers.dir) }); err != nil {
		return err
	}
	a.watchers.group = group
	said, err := a.watchers.watch(ctx, cluster.Nodes())
	if err != nil {
		fmt.Fprintln(c.Stderr, "Error: the lab is not watched in full:", err)
	}
	fmt.Fprint(c.Stdout, said)
	return nil
}

// labHints are commands to copy; each works as it stands.
func labHints(cluster *testcluster.Cluster, access *testcluster.Access) string {
	program, err := os.Executable()
	if wd, werr := os.Getwd(); err == nil && werr == nil {
		if rel, rerr := filepath.Rel(wd, program); rerr == nil && !strings.HasPrefix(rel, "..") {
			program = "./" + rel
		}
	}
	dcs := cluster.Datacenters()
	first, last := cluster.In(dcs[0])[0], cluster.In(dcs[len(dcs)-1])[0]
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	fmt.Fprintf(&b, "\nThe federation is up. Open it in a browser:\n\n  http://%s/ui/\n\nOr try, in another terminal:\n\n", first.HTTPAddr())
	line("export CONSUL_HTTP_ADDR=%s", first.HTTPAddr())
	authorized := ""
	if access != nil {
		line("%s kv put app/greeting hello      # refused: nobody may do anything without a token", program)
		line("export CONSUL_HTTP_TOKEN=%s      # may do everything", access.Management)
		line("%s acl token list", program)
		line("%s kv put -token=%s app/greeting hello      # may write below app/, and find services", program, access.App)
		authorized = fmt.Sprintf("-H 'X-Consul-Token: %s' ", access.Management)
	}
	line("%s members", program)
	line("%s kv put greeting 'hello from %s'", program, first.Datacenter)
	if len(dcs) > 1 {
		other := dcs[1]
		line("%s members -wan", program)
		line("%s kv get -http-addr=%s -datacenter=%s greeting", program, cluster.In(other)[0].HTTPAddr(), first.Datacenter)
		line("dig @%s -p 8600 web.service.%s.consul SRV +short", first.IP, other)
		line("%s rtt -wan %s.%s %s.%s", program, first.Name, first.Datacenter, last.Name, last.Datacenter)
		line("%s catalog datacenters", program)
		line("%s lab set %s-%s rtt=300ms loss=2%%", program, first.Datacenter, other)
		line("%s lab cut %s      # and later: %s lab heal %s", program, other, program, other)
	} else {
		line("dig @%s -p 8600 web.service.consul SRV +short", first.IP)
	}
	line("curl -s %shttp://%s/v1/catalog/service/web?pretty", authorized, first.HTTPAddr())
	line("curl -s %shttp://%s/metrics | grep legate_federation", authorized, first.HTTPAddr())
	b.WriteString("\nCtrl-C ends the lab and removes its state.\n\n")
	return b.String()
}
