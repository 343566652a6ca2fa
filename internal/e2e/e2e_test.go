//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(neighborVar); url != "" {
		askAsNeighbor(url)
		return
	}
	os.Exit(proctest.Main(m, "github.com/legate-project/legate/cmd/legate"))
}

// patience is how long anything may take that has no tighter promise.
const patience = 60 * time.Second

// spec describes an agent on loopback addresses.
type spec struct {
	host   *proctest.Host
	name   string
	dc     string
	ip     string
	expect int            // 0 makes a client
	dir    string         // made if empty
	lan    []string       // retry_join
	wan    []string       // retry_join_wan
	key    string         // encrypt
	wanKey string         // encrypt_wan
	config map[string]any // more configuration
	token  string         // a management token: there is access control, and all that the test asks shows this
	flags  []string       // more flags
	build  string         // the program, if it is not that under test
}

// node is an agent of a test, running or not.
type node struct {
	t testing.TB
	spec
	*proctest.Process
	client *api.Client
	file   string // its configuration, as it was started
}

func newNode(t testing.TB, s spec) *node {
	t.Helper()
	if s.dir == "" {
		s.dir = filepath.Join(t.TempDir(), "data")
	}
	n := &node{t: t, spec: s}
	n.client = clientOf(t, s.host, s.ip, s.token)
	return n
}

// start starts an agent and waits until it listens.
func start(t testing.TB, s spec) *node {
	t.Helper()
	n := newNode(t, s)
	n.start()
	return n
}

func clientOf(t testing.TB, h *proctest.Host, ip, token string) *api.Client {
	t.Helper()
	transport := h.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	c, err := api.NewClient(&api.Config{Address: net.JoinHostPort(ip, "8500"), Token: token, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// args are the command line of the agent.
func (n *node) args() []string {
	n.t.Helper()
	conf := map[string]any{"performance": map[string]any{"raft_multiplier": 1}}
	for k, v := range n.config {
		conf[k] = v
	}
	if n.token != "" {
		conf["acl"] = map[string]any{"enabled": true, "default_policy": "deny", "tokens": map[string]any{"initial_management": n.token, "agent": n.token}}
	}
	b, err := json.Marshal(conf)
	if err != nil {
		n.t.Fatal(err)
	}
	n.file = filepath.Join(n.t.TempDir(), "agent.json")
	if err := os.WriteFile(n.file, b, 0o600); err != nil {
		n.t.Fatal(err)
	}
	args := []string{"agent", "-config-file=" + n.file, "-data-dir=" + n.dir, "-node=" + n.name, "-dc=" + n.dc,
		"-bind=" + n.ip, "-client=" + n.ip, "-retry-interval=1s", "-retry-interval-wan=1s"}
	if n.expect > 0 {
		args = append(args, "-server", fmt.Sprintf("-bootstrap-expect=%d", n.expect))
	}
	for _, addr := range n.lan {
		args = append(args, "-retry-join="+addr)
	}
	for _, addr := range n.wan {
		args = append(args, "-retry-join-wan="+addr)
	}
	if n.wanKey != "" {
		args = append(args, "-hcl=encrypt_wan = \""+n.wanKey+"\"")
	}
	if n.key != "" {
		args = append(args, "-encrypt="+n.key)
	}
	return append(args, n.flags...)
}

// launch starts the process without waiting for anything.
func (n *node) launch() {
	n.t.Helper()
	if n.build != "" {
		n.Process = proctest.StartTool(n.t, n.host, n.name, append([]string{n.build}, n.args()...)...)
		return
	}
	n.Process = proctest.Start(n.t, n.host, n.name, n.args()...)
}

func (n *node) start() {
	n.t.Helper()
	n.launch()
	n.WaitLine(0, patience, "agent started")
}

// cli runs a command against the agent.
func (n *node) cli(args ...string) proctest.Result {
	n.t.Helper()
	words := strings.Fields(args[0])
	args = append(append(words, "-http-addr="+net.JoinHostPort(n.ip, "8500")), args[1:]...)
	return proctest.Run(n.t, n.host, args...)
}

// put writes a key, now or never.
func (n *node) put(key, value, dc string) error {
	_, err := n.client.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, &api.WriteOptions{Datacenter: dc})
	return err
}

// get reads a key.
func (n *node) get(key, want, dc string) error {
	pair, _, err := n.client.KV().Get(key, &api.QueryOptions{Datacenter: dc})
	switch {
	case err != nil:
		return err
	case pair == nil:
		return fmt.Errorf("%s has no key %s", n.name, key)
	case string(pair.Value) != want:
		return fmt.Errorf("%s reads %q at %s, want %q", n.name, pair.Value, key, want)
	}
	return nil
}

// leader returns the address that the agent takes for the leader's.
func (n *node) leader(dc string) (string, error) {
	leader, err := n.client.Status().LeaderWithQueryOptions(&api.QueryOptions{Datacenter: dc})
	if err == nil && leader == "" {
		err = errors.New("there is no leader")
	}
	return leader, err
}

// awaitLeader waits until nodes agree on a leader that is one of them, and
// returns it.
func awaitLeader(t testing.TB, timeout time.Duration, nodes ...*node) *node {
	t.Helper()
	var found *node
	proctest.Until(t, timeout, "a leader that all agree on", func() error {
		found = nil
		for _, n := range nodes {
			addr, err := n.leader("")
			if err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			for _, other := range nodes {
				if addr != net.JoinHostPort(other.ip, "8300") {
					continue
				}
				if found != nil && found != other {
					return fmt.Errorf("%s and %s both lead", found.name, other.name)
				}
				found = other
			}
			if found == nil {
				return fmt.Errorf("%s takes %s for the leader", n.name, addr)
			}
		}
		return nil
	})
	return found
}

// others returns nodes without one.
func others(nodes []*node, without *node) []*node {
	var rest []*node
	for _, n := range nodes {
		if n != without {
			rest = append(rest, n)
		}
	}
	return rest
}

// contains fails the test if text lacks one of parts.
func contains(t testing.TB, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q:\n%s", what, part, text)
		}
	}
}

// calm fails the test if the output shows a panic or a data race.
func calm(t testing.TB, what, output string) {
	t.Helper()
	for _, word := range []string{"panic:", "goroutine 1 [", "fatal error:", "DATA RACE", "[signal "} {
		if strings.Contains(output, word) {
			t.Errorf("%s shows %q:\n%s", what, word, output)
		}
	}
}
