//go:build linux

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

const (
	// electionTime covers a leader's failure and an election with the default
	// timers of Raft (heartbeat and election 5 s, each up to twice that).
	electionTime = 45 * time.Second
	elected      = "entering leader state"
)

// town is the four hosts of the walk-through, joined by one switch.
type town struct {
	t     testing.TB
	hosts [4]*proctest.Host
	nodes [4]*proctest.Process
}

func newTown(t testing.TB) *town {
	t.Helper()
	w := &town{t: t}
	lan := proctest.NewFabric(t).Switch("lan")
	for i := range w.hosts {
		w.hosts[i] = lan.Host(fmt.Sprintf("node%d", i), w.ip(i)+"/24", "")
	}
	return w
}

func (w *town) ip(i int) string { return fmt.Sprintf("192.168.192.%d", 120+i) }

// agent starts an agent with exactly this command line.
func (w *town) agent(i int, line string) {
	w.t.Helper()
	dir := w.t.TempDir()
	w.nodes[i] = proctest.Start(w.t, w.hosts[i], fmt.Sprintf("node%d", i), words(strings.ReplaceAll(line, "DIR", dir))...)
	w.nodes[i].WaitLine(0, patience, "agent started")
}

// words are the arguments after the program's name.
func words(line string) []string { return strings.Fields(line)[1:] }

// on runs a command line on a host, which must succeed.
func (w *town) on(i int, line string) string {
	w.t.Helper()
	r := proctest.Run(w.t, w.hosts[i], words(line)...)
	if r.Code != 0 {
		w.t.Fatalf("on node%d: %s: exit code %d\n%s%s", i, line, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// members returns the rows of legate members by name.
func (w *town) members(i int) map[string][]string {
	w.t.Helper()
	rows := map[string][]string{}
	for k, line := range strings.Split(strings.TrimSpace(w.on(i, "legate members")), "\n") {
		fields := strings.Fields(line)
		if k == 0 {
			if got := strings.Join(fields, " "); got != "Node Address Status Type Build Protocol DC Partition Segment" {
				w.t.Fatalf("the columns of members are %q", got)
			}
			continue
		}
		rows[fields[0]] = fields
	}
	return rows
}

// awaitMembers waits until members on a host shows exactly these, each as
// "name status type".
func (w *town) awaitMembers(i int, want ...string) {
	w.t.Helper()
	proctest.Until(w.t, patience, fmt.Sprintf("members on node%d", i), func() error {
		rows := w.members(i)
		if len(rows) != len(want) {
			return fmt.Errorf("%d members, want %d: %v", len(rows), len(want), rows)
		}
		for _, each := range want {
			f := strings.Fields(each)
			row := rows[f[0]]
			if row == nil || row[2] != f[1] || row[3] != f[2] || row[6] != "dc1" {
				return fmt.Errorf("%s shows as %q", each, row)
			}
		}
		return nil
	})
}

// info returns a value of legate info, "" if it is not there.
func (w *town) info(i int, section, key string) string {
	w.t.Helper()
	text := w.on(i, "legate info")
	_, after, _ := strings.Cut("\n"+text, "\n"+section+":\n")
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, "\t") {
			break
		}
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " = "); name == key {
			return value
		}
	}
	return ""
}

// leader waits until exactly one of the servers says that it leads and all of
// them name it.
func (w *town) leader(servers ...int) int {
	w.t.Helper()
	leader := -1
	proctest.Until(w.t, electionTime, "a leader in info", func() error {
		leader = -1
		for _, i := range servers {
			if w.info(i, "consul", "leader") == "true" {
				if leader >= 0 {
					return fmt.Errorf("node%d and node%d lead", leader, i)
				}
				leader = i
			}
		}
		if leader < 0 {
			return fmt.Errorf("nobody of %v leads", servers)
		}
		for _, i := range servers {
			if got := w.info(i, "consul", "leader_addr"); got != w.ip(leader)+":8300" {
				return fmt.Errorf("node%d names the leader %q", i, got)
			}
		}
		return nil
	})
	return leader
}

// formServers brings up node0, node1 and node2 by hand.
func (w *town) formServers() {
	t := w.t
	t.Helper()
	for i := range 3 {
		w.agent(i, fmt.Sprintf("legate agent -server -bootstrap-expect=3 -data-dir=DIR -node=node%d -bind=%s -dc=dc1", i, w.ip(i)))
	}
	w.awaitMembers(0, "node0 alive server")
	text := w.on(0, "legate info")
	for _, section := range []string{"agent", "build", "consul", "raft", "runtime", "serf_lan", "serf_wan"} {
		contains(t, "info", "\n"+text, "\n"+section+":\n")
	}
	for key, want := range map[string]string{"bootstrap": "false", "known_datacenters": "1", "leader": "false", "server": "true"} {
		if got := w.info(0, "consul", key); got != want {
			t.Errorf("info before the join: consul %s = %q, want %q", key, got, want)
		}
	}
	marks := [3]int{w.nodes[0].Mark(), w.nodes[1].Mark(), w.nodes[2].Mark()}
	for i := 1; i <= 2; i++ {
		if got := w.on(0, "legate join "+w.ip(i)); got != "Successfully joined cluster by contacting 1 nodes.\n" {
			t.Errorf("join says %q", got)
		}
	}
	w.awaitMembers(0, "node0 alive server", "node1 alive server", "node2 alive server")
	leader := w.leader(0, 1, 2)
	w.nodes[leader].WaitLine(marks[leader], patience, elected)
}

func TestWalkThrough(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.formServers()
	w.agent(3, "legate agent -data-dir=DIR -node=node3 -bind=192.168.192.123 -dc=dc1")
	if got := w.on(3, "legate join 192.168.192.120"); got != "Successfully joined cluster by contacting 1 nodes.\n" {
		t.Errorf("join says %q", got)
	}
	everybody := []string{"node0 alive server", "node1 alive server", "node2 alive server", "node3 alive client"}
	w.awaitMembers(0, everybody...)
	w.awaitMembers(3, everybody...)
	if row := w.members(0)["node3"]; row[1] != "192.168.192.123:8301" {
		t.Errorf("node3 has the address %s", row[1])
	}
	if got := w.info(3, "consul", "server"); got != "false" {
		t.Errorf("info on the client: consul server = %q", got)
	}

	w.nodes[3].Signal(os.Interrupt)
	if code := w.nodes[3].WaitExit(patience); code != 0 {
		t.Errorf("the client ends with exit code %d", code)
	}
	w.awaitMembers(0, "node0 alive server", "node1 alive server", "node2 alive server", "node3 left client")

	marks := [2]int{w.nodes[0].Mark(), w.nodes[1].Mark()}
	led := w.leader(0, 1, 2)
	if got := w.on(2, "legate leave"); got != "Graceful leave complete\n" {
		t.Errorf("leave says %q", got)
	}
	if code := w.nodes[2].WaitExit(patience); code != 0 {
		t.Errorf("the server ends with exit code %d", code)
	}
	w.awaitMembers(0, "node0 alive server", "node1 alive server", "node2 left server", "node3 left client")
	leader := w.leader(0, 1)
	if led == 2 {
		w.nodes[leader].WaitLine(marks[leader], patience, elected)
	}
	proctest.Until(t, patience, "two peers in info", func() error {
		if got := w.info(0, "raft", "num_peers"); got != "1" {
			return fmt.Errorf("raft num_peers = %s", got)
		}
		return nil
	})
	for _, n := range w.nodes {
		calm(t, n.Name, n.String())
	}
}

func TestLeadersEndAndOthersAreElected(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(w *town, leader int)
		show string // how members shows the former leader
	}{
		{"SIGINT", func(w *town, leader int) { w.nodes[leader].Signal(syscall.SIGINT); w.nodes[leader].WaitExit(patience) }, "failed"},
		{"kill -9", func(w *town, leader int) { w.nodes[leader].Kill() }, "failed"},
		{"legate leave", func(w *town, leader int) { w.on(leader, "legate leave"); w.nodes[leader].WaitExit(patience) }, "left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			w.formServers()
			old := w.leader(0, 1, 2)
			rest := []int{(old + 1) % 3, (old + 2) % 3}
			marks := [3]int{w.nodes[0].Mark(), w.nodes[1].Mark(), w.nodes[2].Mark()}
			c.end(w, old)
			begin := time.Now()
			next := w.leader(rest...)
			t.Logf("a new leader shows in info after %s", time.Since(begin).Round(10*time.Millisecond))
			if next == old {
				t.Fatalf("node%d still leads", old)
			}
			w.nodes[next].WaitLine(marks[next], patience, elected)
			proctest.Until(t, patience, "the former leader in members", func() error {
				row := w.members(next)[fmt.Sprintf("node%d", old)]
				if row == nil || row[2] != c.show {
					return fmt.Errorf("shows as %q, want %s", row, c.show)
				}
				return nil
			})
			if row := w.members(next)[fmt.Sprintf("node%d", next)]; !regexp.MustCompile(`^\d+\.\d+\.\d+`).MatchString(row[4]) {
				t.Errorf("the build of node%d shows as %q", next, row[4])
			}
		})
	}
}
