package testcluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/testcluster"
)

// shared is a log that many write and one reads.
type shared struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(b)
}

// take returns what was written since the last call.
func (s *shared) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.all.String()
	s.all.Reset()
	return text
}

// Whatever an operator mixes up, an agent gets into no pool that is not its own,
// and the log says who was refused and why.
func TestNobodyGetsIntoAPoolThatIsNotTheirs(t *testing.T) {
	t.Parallel()
	var log shared
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, Clients: 1, Key: bytes.Repeat([]byte{7}, 32),
		Log: logging.New(&log, new(slog.LevelVar), false)})
	s1, c1, s2, c2 := c.Node("dc1-server1"), c.Node("dc1-client1"), c.Node("dc2-server1"), c.Node("dc2-client1")
	wanted := []string{"dc1-server1.dc1", "dc2-server1.dc2"}
	eventually(t, "the servers see each other", 20*time.Second, func(ctx context.Context) error {
		got, err := pool(ctx, s1, true)
		if err == nil && !slices.Equal(got, wanted) {
			err = fmt.Errorf("it sees %v", got)
		}
		return err
	})
	for _, m := range []struct {
		what string
		who  *testcluster.Node
		at   string // what it is told to join
		wan  bool
		says []string // words of one line of the log; nil: the answer is enough
	}{
		{"a server, the LAN of another datacenter", s1, net.JoinHostPort(s2.IP, "8301"), false, []string{"dc1-server1", "another datacenter"}},
		{"a client, the LAN of another datacenter", c2, net.JoinHostPort(c1.IP, "8301"), false, []string{"dc2-client1", "another datacenter"}},
		{"a client, the WAN", c1, net.JoinHostPort(s2.IP, "8302"), true, nil},
		{"a server, a LAN node as WAN", s1, net.JoinHostPort(c2.IP, "8301"), true, nil},
		{"a server, the WAN port as LAN", s1, net.JoinHostPort(s2.IP, "8302"), false, nil},
		{"a client, the WAN port as LAN", c1, net.JoinHostPort(s2.IP, "8302"), false, nil},
	} {
		log.take()
		status, answer := join(t, m.who, m.at, m.wan)
		if status == http.StatusOK {
			t.Errorf("%s: it joined: %s", m.what, answer)
		}
		// The one that refuses may write its line after the answer.
		said := ""
		eventually(t, m.what+": the log says who and why", 10*time.Second, func(context.Context) error {
			if said += log.take(); !hasLine(said, m.says) {
				return fmt.Errorf("no line has all of %q:\n%s", m.says, said)
			}
			return nil
		})
	}
	for _, n := range []*testcluster.Node{s1, s2} {
		if got, err := pool(t.Context(), n, true); err != nil || !slices.Equal(got, wanted) {
			t.Errorf("WAN members of %s: %v, %v", n.Name, got, err)
		}
	}
	for _, n := range c.Nodes() {
		want := []string{n.Datacenter + "-client1", n.Datacenter + "-server1"}
		if got, err := pool(t.Context(), n, false); err != nil || !slices.Equal(got, want) {
			t.Errorf("LAN members of %s: %v, %v", n.Name, got, err)
		}
	}
}

// hasLine tells whether a line has all words; no words are on every line.
func hasLine(text string, words []string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) })
	})
}

// pool names the live members that an agent sees, in order.
func pool(ctx context.Context, n *testcluster.Node, wan bool) ([]string, error) {
	status, b, err := agentAPI(ctx, n, http.MethodGet, "members", wan)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("members: status %d: %s", status, b)
	}
	var all []struct {
		Name   string
		Status gossip.Status
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range all {
		if m.Status == gossip.Alive {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// join tells an agent to join an address.
func join(t *testing.T, n *testcluster.Node, addr string, wan bool) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	status, b, err := agentAPI(ctx, n, http.MethodPut, "join/"+addr, wan)
	if err != nil {
		t.Fatal(err)
	}
	return status, string(b)
}

func agentAPI(ctx context.Context, n *testcluster.Node, method, what string, wan bool) (int, []byte, error) {
	url := "http://" + n.HTTPAddr() + "/v1/agent/" + what
	if wan {
		url += "?wan=1"
	}
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}
