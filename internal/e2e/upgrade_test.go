//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// lastRelease builds the program of the last release: of the tag before this commit, or
// of the commit that testdata/last-release names while there is no tag.
func lastRelease(t *testing.T) string {
	t.Helper()
	root := proctest.Tool(t, proctest.Machine(), "", "git", "rev-parse", "--show-toplevel")
	root = strings.TrimSpace(root)
	git := func(args ...string) (string, error) {
		out, err := exec.Command("git", append([]string{"-C", root}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^")
	if err != nil {
		b, err := os.ReadFile("testdata/last-release")
		must(t, "read which commit the last release is", err)
		commit = strings.TrimSpace(string(b))
	}
	if _, err := git("cat-file", "-e", commit+"^{commit}"); err != nil {
		t.Skipf("this copy of the source has no history with %s, the last release", commit)
	}
	source, program := t.TempDir(), filepath.Join(t.TempDir(), "legate")
	archive := filepath.Join(source, "source.tar")
	if out, err := git("archive", "--output="+archive, commit); err != nil {
		t.Fatalf("take the source of %s: %v: %s", commit, err, out)
	}
	proctest.Tool(t, proctest.Machine(), "", "tar", "-x", "-f", archive, "-C", source)
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, "./cmd/legate")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", commit, err, out)
	}
	return program
}

// TestARollingUpgradeAndBack replaces servers of the last release one after another by
// this build, back again, and once more, beside another datacenter, while clients write
// and read. feature_level keeps the way back open.
func TestARollingUpgradeAndBack(t *testing.T) {
	t.Parallel()
	old := lastRelease(t)
	h := proctest.Loopback(t)
	key := keygen(t)
	var servers []*node
	for i := 1; i <= 3; i++ {
		servers = append(servers, start(t, spec{host: h, name: fmt.Sprint("s", i), dc: "dc1", ip: h.Addr(1, i), expect: 3, key: key, build: old,
			lan: []string{h.Addr(1, 1), h.Addr(1, 2), h.Addr(1, 3)}}))
	}
	away := start(t, spec{host: h, name: "away", dc: "dc2", ip: h.Addr(2, 1), expect: 1, key: key, build: old, wan: []string{servers[0].ip, servers[1].ip}})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 9), key: key, build: old, lan: []string{servers[1].ip, servers[2].ip}})
	awaitLeader(t, patience, servers...)
	must(t, "register a service", client.client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80, Check: &api.AgentServiceCheck{TTL: "1h", Status: api.HealthPassing}}))
	proctest.Until(t, patience, "dc2 is reached", func() error { return servers[0].put("kept", "v", "dc2") })
	l := startLoad(t, append(servers[:3:3], client))

	replace := func(n *node, build string) {
		name := "the new build"
		if build != "" {
			name = "the old build"
		}
		l.begins(fmt.Sprintf("%s gets %s", n.name, name))
		n.Signal(syscall.SIGTERM)
		if code := n.WaitExit(patience); code != 0 {
			t.Errorf("%s ended with %d", n.name, code)
		}
		n.build, n.config = build, nil
		if build == "" {
			n.config = map[string]any{"feature_level": 1}
		}
		n.start()
		everywhere(t, servers, client, away)
	}
	for _, n := range []*node{client, servers[0], servers[1], away, servers[2]} {
		replace(n, "")
	}
	refusedNew(t, servers[0], "feature level 2", "feature_level")
	for _, n := range []*node{servers[2], servers[0], away, servers[1], client} { // and back
		replace(n, old)
	}
	for _, n := range []*node{servers[1], client, servers[2]} {
		replace(n, "")
	}
	if awaitLeader(t, patience, servers...) == servers[0] {
		refusedNew(t, servers[1], "unknown to this server") // says the old build, which leads
	} else {
		refusedNew(t, servers[1], "s1 has 1 (", "s2 has 1 (", "s3 has 1 (", "upgrade what is older")
	}
	replace(servers[0], "")
	replace(away, "")
	for _, n := range servers { // for good
		must(t, "take feature_level out of the configuration", os.WriteFile(n.file, []byte(`{"performance": {"raft_multiplier": 1}}`), 0o600))
		n.cliOut(t, 0, "reload", "-http-addr="+n.ip+":8500")
	}
	proctest.Until(t, patience, "what is new works", func() error {
		config, err := servers[0].client.Operator().AutopilotGetConfiguration(nil)
		if err == nil && config.ModifyIndex == 0 {
			err = fmt.Errorf("there is no autopilot configuration: %+v", config)
		}
		return err
	})
	l.stop()
	t.Logf("%d writes, %d reads, longest without a write %s (%s)", l.writes.Load(), l.reads.Load(), l.outage, l.during)
	if l.outage > longestOutage {
		t.Errorf("no write for %s while %s", l.outage, l.during)
	}
	for _, n := range append(servers, client, away) {
		calm(t, n.name, n.String())
	}
}

// refusedNew fails the test unless a command that is new is refused for a reason.
func refusedNew(t *testing.T, n *node, why ...string) {
	t.Helper()
	err := n.client.Operator().AutopilotSetConfiguration(&api.AutopilotConfiguration{LastContactThreshold: api.NewReadableDuration(time.Second)}, nil)
	if err == nil {
		t.Error("a command is taken that not all servers know")
		return
	}
	contains(t, "the refusal of a command that is new", err.Error(), why...)
}

// everywhere waits until all that clients rely on works at every agent.
func everywhere(t *testing.T, servers []*node, client, away *node) {
	t.Helper()
	awaitLeader(t, patience, servers...)
	for _, n := range append(servers[:3:3], client) {
		proctest.Until(t, patience, n.name+" works", func() error {
			found, _, err := n.client.Health().Service("web", "", true, nil)
			if err == nil && len(found) != 1 {
				err = fmt.Errorf("%d instances of web", len(found))
			}
			if err == nil {
				err = n.get("kept", "v", "dc2")
			}
			return err
		})
	}
	proctest.Until(t, patience, "dc1 is reached from dc2", func() error { return away.put("from/dc2", "v", "dc1") })
	proctest.Until(t, patience, "three servers follow", func() error {
		group, err := servers[0].client.Operator().RaftGetConfiguration(nil)
		if err != nil {
			return err
		}
		voters := 0
		for _, s := range group.Servers {
			if s.Voter {
				voters++
			}
		}
		if voters != 3 {
			return fmt.Errorf("%d of %d vote", voters, len(group.Servers))
		}
		return nil
	})
}
