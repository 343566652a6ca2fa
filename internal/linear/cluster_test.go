//go:build linux

package linear

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/linear/judge"
	"github.com/legate-project/legate/internal/proctest"
)

func TestMain(m *testing.M) {
	os.Exit(proctest.Main(m, "github.com/legate-project/legate/cmd/legate"))
}

const (
	// patience is how long anything may take that has no tighter promise.
	patience = 60 * time.Second
	// askTime bounds a question of the test itself to one server.
	askTime = time.Second
)

// node is an agent on a host of its own.
type node struct {
	*proctest.Process
	host *proctest.Host
	name string
	dc   string
	ip   string
	dir  string
	file string // of its configuration
	args []string
	more map[string]any // in its file
	life atomic.Int32   // how many-th process it is
	cut  []string       // addresses from which it hears nothing
}

// label names one life of the node.
func (n *node) label() string { return fmt.Sprintf("%s#%d", n.name, n.life.Load()) }

func (n *node) url(path string) string { return "http://" + n.ip + ":8500" + path }

// cluster is one datacenter: servers and one client agent at a switch, and
// the host where the clients are.
type cluster struct {
	t       testing.TB
	fabric  *proctest.Fabric
	lan     *proctest.Switch
	mu      sync.Mutex // for clients, while servers are replaced
	servers []*node
	made    int    // servers so far
	key     string // of gossip
	wanKey  string // of the WAN pool, if that has one of its own
	h       *history
	agent   *node
	more    []*node // client agents besides
	far     []*node // servers of another datacenter
	farther []*node // client agents there
	home    *proctest.Host
	http    *http.Client   // for the test's own questions
	debts   []func() error // what ends faults besides
	// restores counts the beginnings and the ends of restored snapshots: it is
	// odd while some server may not have done it.
	restores atomic.Int64
	// newest is the highest index that the group has told a watcher.
	newest atomic.Uint64
}

// newCluster starts the servers and the client agent and waits until they
// take writes. where gives the folder of a server's data; change sets something before they start.
func newCluster(t testing.TB, size int, where func(name string) string, change ...func(*cluster)) *cluster {
	t.Helper()
	if os.Getenv("CI") == "true" && os.Geteuid() != 0 {
		t.Fatal("building networks takes root")
	}
	c := &cluster{t: t, fabric: proctest.NewFabric(t), made: size, h: judge.NewHistory(), key: base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))}
	for _, f := range change {
		f(c)
	}
	c.lan = c.fabric.Switch("lan")
	c.home = c.lan.Host("home", "10.7.0.100/24", "")
	transport := c.home.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	c.http = &http.Client{Transport: transport, Timeout: askTime}
	for i := range size {
		name := fmt.Sprintf("s%d", i+1)
		n := c.node(name, fmt.Sprintf("10.7.0.%d", i+1), where(name))
		n.args = append(n.args, "-server", fmt.Sprintf("-bootstrap-expect=%d", size))
		c.servers = append(c.servers, n)
	}
	c.agent = c.node("agent", "10.7.0.20", filepath.Join(t.TempDir(), "data"))
	for _, n := range append(c.servers, c.agent) {
		c.start(n)
	}
	c.whole(patience)
	return c
}

// place is the server at a place among them, which others may come to hold.
func (c *cluster) place(i int) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.servers[i]
}

// enlarge adds a client agent. It may not be there yet when this returns.
func (c *cluster) enlarge(name, ip string) *node {
	c.t.Helper()
	n := c.node(name, ip, filepath.Join(c.t.TempDir(), "data"))
	c.more = append(c.more, n)
	c.start(n)
	return n
}

// clients are the client agents.
func (c *cluster) clients() []*node { return append([]*node{c.agent}, c.more...) }

// nodes are the agents of both kinds.
func (c *cluster) nodes() []*node { return slices.Concat(c.clients(), c.servers, c.far, c.farther) }

func (c *cluster) node(name, ip, dir string) *node {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "agent.json")
	return &node{name: name, dc: "dc1", ip: ip, file: file, dir: dir, host: c.lan.Host(name, ip+"/24", ""), args: []string{
		"agent", "-config-file=" + file, "-data-dir=" + dir, "-node=" + name, "-bind=" + ip, "-client=" + ip}}
}

// configure writes the file of an agent, with the gossip key that is in use: who
// has no disk any more takes it from there.
func (c *cluster) configure(n *node) {
	c.t.Helper()
	settings := map[string]any{
		"performance":        map[string]any{"raft_multiplier": 1},
		"encrypt":            c.key,
		"retry_join":         []string{},
		"retry_interval":     "500ms",
		"leave_on_terminate": false,
		"session_ttl_min":    "1s",
		"autopilot":          map[string]any{"server_stabilization_time": "500ms"},
	}
	if c.wanKey != "" && slices.Contains(n.args, "-server") {
		settings["encrypt_wan"] = c.wanKey
	}
	maps.Copy(settings, n.more)
	conf, err := json.Marshal(settings)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(n.file, conf, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) start(n *node) {
	c.t.Helper()
	n.life.Add(1)
	c.configure(n)
	args, peers := append(slices.Clone(n.args), "-dc="+n.dc), c.servers
	if n.dc != "dc1" {
		peers = c.far
		for _, s := range c.servers {
			args = append(args, "-retry-join-wan="+s.ip)
		}
	}
	for _, s := range peers {
		args = append(args, "-retry-join="+s.ip)
	}
	n.Process = proctest.Start(c.t, n.host, n.name, args...)
}

// calm fails the test if a server did not only die but broke.
func (c *cluster) calm(n *node) {
	c.t.Helper()
	out := n.String()
	for _, word := range []string{"panic:", "goroutine 1 [", "fatal error:", "[signal "} {
		if strings.Contains(out, word) {
			c.t.Errorf("%s shows %q:\n%s", n.label(), word, n.Tail(60))
		}
	}
}

// kill kills a server and forgets what it has cut.
func (c *cluster) kill(n *node) {
	c.t.Helper()
	n.Kill()
	c.calm(n)
}

// errAbsent is the answer 404.
var errAbsent = errors.New("there is no such thing")

// ask asks one agent and returns the body of an answer with status 200.
func (c *cluster) ask(method string, n *node, path, body string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.url(path), strings.NewReader(body))
	if err != nil {
		return "", err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode == http.StatusNotFound {
		return "", errAbsent
	}
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s at %s: %s: %s", method, path, n.name, res.Status, b)
	}
	return string(b), err
}

// whole waits until every agent takes a write, and returns how long that took.
func (c *cluster) whole(limit time.Duration) time.Duration {
	c.t.Helper()
	left := c.nodes()
	return proctest.Until(c.t, limit, "every agent takes a write", func() error {
		for len(left) > 0 {
			if _, err := c.ask(http.MethodPut, left[0], left[0].asking("/v1/kv/whole/"+left[0].name), "x"); err != nil {
				return err
			}
			left = left[1:]
		}
		return nil
	})
}

// leader returns the server that a majority takes for the leader and that is
// alive.
func (c *cluster) leader() *node {
	c.t.Helper()
	var found *node
	proctest.Until(c.t, patience, "a leader that most agree on", func() error {
		votes := map[string]int{}
		for _, n := range c.servers {
			if addr, err := c.ask(http.MethodGet, n, "/v1/status/leader", ""); err == nil {
				votes[strings.Trim(strings.TrimSpace(addr), `"`)]++
			}
		}
		for _, n := range c.servers {
			if 2*votes[n.ip+":8300"] > len(c.servers) && !n.Exited() {
				found = n
				return nil
			}
		}
		return fmt.Errorf("the servers say %v", votes)
	})
	return found
}

// deafen makes a server hear nothing from others. It takes effect with wall.
func deafen(n *node, others ...*node) {
	for _, o := range others {
		if o != n {
			n.cut = append(n.cut, o.ip)
		}
	}
}

// wall puts the cuts of all agents into their packet filters.
func (c *cluster) wall() {
	c.t.Helper()
	for _, n := range c.nodes() {
		rules := ""
		if len(n.cut) > 0 {
			rules = fmt.Sprintf("table inet filter {\nchain input {\ntype filter hook input priority 0; policy accept;\nip saddr { %s } drop\n}\n}\n",
				strings.Join(n.cut, ", "))
		}
		c.fabric.Firewall(n.host, rules)
	}
}

// heal ends every fault: networks, stopped and dead processes.
func (c *cluster) heal() {
	c.t.Helper()
	for _, n := range c.nodes() {
		n.cut = nil
	}
	c.wall()
	for _, pay := range c.debts {
		if err := pay(); err != nil {
			c.t.Error(err)
		}
	}
	c.debts = nil
	for _, n := range c.nodes() {
		n.Signal(syscall.SIGCONT)
		if n.Exited() {
			c.calm(n)
			c.start(n)
		}
	}
}

// tmpfs returns folders for servers' data that are disks of their own.
func tmpfs(t testing.TB, size string) func(string) string {
	return func(name string) string {
		t.Helper()
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("legate-linear", dir, "tmpfs", 0, "size="+size); err != nil {
			if errors.Is(err, syscall.EPERM) {
				t.Skipf("making small disks takes the right to mount: %v", err)
			}
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return filepath.Join(dir, "data")
	}
}

// plain keeps the servers' data in the test's folder.
func plain(t testing.TB) func(string) string {
	return func(name string) string { return filepath.Join(t.TempDir(), name) }
}

// until tries again until it works or patience is over.
func (c *cluster) until(what string, try func() error) time.Duration {
	c.t.Helper()
	return proctest.Until(c.t, patience, what, try)
}

// readAll is the status and body of an answer.
func readAll(res *http.Response) string {
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", res.StatusCode, strings.TrimSpace(string(b)))
}
