//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// badStart is how long an agent may take to find out that it cannot run.
const badStart = 15 * time.Second

// fails runs an agent that must end by itself with exit code 1, say why, and
// not panic.
func fails(t testing.TB, h *proctest.Host, args []string, reasons ...string) {
	t.Helper()
	p := proctest.Start(t, h, "agent", args...)
	if code := p.WaitExit(badStart); code != 1 {
		t.Errorf("exit code %d, want 1:\n%s", code, p)
	}
	contains(t, "the output", p.String(), reasons...)
	calm(t, "the output", p.String())
}

func TestWrongCommandLinesAndFiles(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	occupied := file("a-file", "x")
	for _, c := range []struct {
		name, args string
		reasons    []string
	}{
		{"an unknown flag", "-sever", []string{"-sever"}},
		{"an unknown command-line word", "now", []string{"now"}},
		{"no data directory", "-bind=127.0.0.1", []string{"data_dir"}},
		{"a data directory below a file", "-data-dir=" + occupied + "/x -bind=127.0.0.1", []string{occupied}},
		{"an address that is none", "-data-dir=DIR -bind=127.0.0.300", []string{"bind_addr", "127.0.0.300"}},
		{"an address of another machine", "-data-dir=DIR -bind=203.0.113.9 -server -bootstrap-expect=1", []string{"203.0.113.9"}},
		{"an address of another machine, on a client", "-data-dir=DIR -bind=203.0.113.9", []string{"203.0.113.9"}},
		{"a client address that is none", "-data-dir=DIR -bind=127.0.0.1 -client=nowhere", []string{"client_addr", "nowhere"}},
		{"bootstrap and bootstrap-expect", "-data-dir=DIR -bind=127.0.0.1 -server -bootstrap -bootstrap-expect=3", []string{"bootstrap_expect"}},
		{"bootstrap-expect on a client", "-data-dir=DIR -bind=127.0.0.1 -bootstrap-expect=3", []string{"bootstrap_expect", "server"}},
		{"a reserved datacenter", "-data-dir=DIR -bind=127.0.0.1 -dc=nearest", []string{"nearest"}},
		{"a datacenter with a bad name", "-data-dir=DIR -bind=127.0.0.1 -dc=a.b", []string{"a.b"}},
		{"a short key", "-data-dir=DIR -bind=127.0.0.1 -encrypt=c2hvcnQ=", []string{"encrypt", "16"}},
		{"a node ID that is none", "-data-dir=DIR -bind=127.0.0.1 -node-id=me", []string{"node_id"}},
		{"a port that is none", "-data-dir=DIR -bind=127.0.0.1 -http-port=70000", []string{"ports.http", "70000"}},
		{"a missing file", "-config-file=" + dir + "/none.hcl", []string{"none.hcl"}},
		{"a file that is no HCL", "-config-file=" + file("bad.hcl", "server = {{{"), []string{"bad.hcl"}},
		{"a file that is no JSON", "-config-file=" + file("bad.json", `{"server": tru`), []string{"bad.json"}},
		{"an unknown key", "-config-file=" + file("unknown.hcl", `datacentre = "dc1"`), []string{"datacentre", "unknown.hcl", `"datacenter"`}},
		{"a value of another type", "-config-file=" + file("type.json", `{"server": "perhaps"}`), []string{"server", "type.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := "agent " + strings.ReplaceAll(c.args, "DIR", t.TempDir())
			fails(t, h, strings.Fields(args), c.reasons...)
		})
	}
}

func TestAPortInUseIsNamedWithItsKey(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	first := start(t, spec{host: h, name: "first", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	free := map[string]string{"server": "8400", "serf-lan": "8401", "serf-wan": "8402", "http": "8403", "dns": "8404"}
	for flag, port := range map[string]string{"server": "8300", "serf-lan": "8301", "serf-wan": "8302", "http": "8500", "dns": "8600"} {
		t.Run(flag, func(t *testing.T) {
			n := newNode(t, spec{host: h, name: "second", dc: "dc1", ip: first.ip, expect: 1})
			for other, elsewhere := range free {
				if other != flag {
					n.flags = append(n.flags, fmt.Sprintf("-%s-port=%s", other, elsewhere))
				}
			}
			fails(t, h, n.args(), port, "ports."+strings.ReplaceAll(flag, "-", "_"))
		})
	}
	if err := first.put("still", "here", ""); err != nil {
		t.Errorf("the agent that has the ports: %v", err)
	}
}

func TestForeignDataDirectories(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	owner := start(t, spec{host: h, name: "owner", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	second := newNode(t, spec{host: h, name: "owner", dc: "dc1", ip: h.Addr(1, 2), expect: 1, dir: owner.dir})
	t.Run("in use", func(t *testing.T) { fails(t, h, second.args(), "in use", owner.dir) })
	awaitLeader(t, patience, owner)
	if err := owner.put("k", "v", ""); err != nil {
		t.Error(err)
	}
	owner.Kill()
	for _, c := range []struct {
		name    string
		change  func(*spec)
		reasons []string
	}{
		{"another node", func(s *spec) { s.name = "thief" }, []string{"owner", "thief"}},
		{"another datacenter", func(s *spec) { s.dc = "dc9" }, []string{"dc1", "dc9"}},
		{"a client", func(s *spec) { s.expect = 0 }, []string{"server", "client"}},
		{"another node ID", func(s *spec) { s.flags = []string{"-node-id=11111111-2222-3333-4444-555555555555"} }, []string{"11111111-2222-3333-4444-555555555555"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := owner.spec
			c.change(&s)
			fails(t, h, newNode(t, s).args(), append(c.reasons, owner.dir)...)
		})
	}
	owner.start()
	proctest.Until(t, patience, "the owner has what it had", func() error { return owner.get("k", "v", "") })
}
