//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/legate-project/legate/internal/proctest"
)

// following starts a command that goes on until it is told to end.
func (n *node) following(t *testing.T, command string, args ...string) *proctest.Process {
	t.Helper()
	args = append([]string{command, "-http-addr=" + n.ip + ":8500"}, args...)
	return proctest.Start(t, n.host, "legate "+command, args...)
}

// ended interrupts a command as Ctrl-C does.
func ended(t *testing.T, p *proctest.Process) {
	t.Helper()
	p.Signal(syscall.SIGINT)
	if code := p.WaitExit(patience); code != 0 {
		t.Errorf("%s, interrupted, ends with %d", p.Name, code)
	}
}

// commandLine runs the program's own commands against real agents.
func commandLine(t *testing.T, p *pair) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *pair)
	}{
		{"services", serviceCommands},
		{"watch", watchCommand},
		{"watch without the agent", watchWithoutAgent},
		{"monitor", monitorCommand},
		{"debug", debugCommand},
		{"lock", lockCommand},
		{"exec", execCommand},
	} {
		t.Run(c.name, func(t *testing.T) { t.Parallel(); c.run(t, p) })
	}
}

// run runs a command that must end with a code; it returns what was printed.
// The first argument is the command and its flags.
func (n *node) run(t *testing.T, code int, args ...string) string {
	t.Helper()
	words := strings.Fields(args[0])
	how := []string{"-http-addr=" + n.ip + ":8500"}
	if n.token != "" {
		how = append(how, "-token="+n.token)
	}
	r := proctest.Run(t, n.host, slices.Concat(words, how, args[1:])...)
	if r.Code != code {
		t.Fatalf("legate %q ends with %d, want %d: %s%s", args, r.Code, code, r.Stdout, r.Stderr)
	}
	return r.Stdout + r.Stderr
}

func serviceCommands(t *testing.T, p *pair) {
	file := filepath.Join(t.TempDir(), "s.hcl")
	must(t, "write", os.WriteFile(file, []byte(`
services {
  name = "cli-file"
  port = 81
  tags = ["b", "a"]
  check { id = "cli-file-ttl" ttl = "60s" status = "passing" }
}
services { id = "cli-2" name = "cli-file" port = 82 }
`), 0o600))
	contains(t, "registering", p.c1.run(t, 0, "services register", file), "Registered service: cli-file\n")
	contains(t, "registering", p.c1.run(t, 0, "services register -name=cli-flags -id=cli-3 -port=83 -tag=x -meta=k=v -address=198.51.100.3"), "Registered service: cli-flags")
	proctest.Until(t, patience, "the services are in the catalog", func() error {
		out := p.c2.run(t, 0, "catalog services -tags -datacenter=dc1")
		if !strings.Contains(out, "a,b") || !strings.Contains(out, "cli-flags") {
			return fmt.Errorf("the services are\n%s", out)
		}
		return nil
	})
	contains(t, "the nodes of a service", p.c2.run(t, 0, "catalog nodes -datacenter=dc1 -service=cli-file -near=_agent -detailed"), "c1", "TaggedAddresses", p.c1.ip)
	contains(t, "the services of a node", p.c1.run(t, 0, "catalog services -node=c1"), "cli-file\n", "cli-flags\n")
	contains(t, "the nodes by expression", p.c1.run(t, 0, "catalog nodes", "-filter=Node == c1 and Datacenter == dc1"), "c1  ")
	contains(t, "no nodes", p.c1.run(t, 0, "catalog nodes -node-meta=no=where"), "No nodes match")
	contains(t, "members", p.c1.run(t, 0, "members -detailed -status=alive", `-filter=Tags.role == "node"`), "c1", "role=node")
	p.c1.run(t, 2, "members -status=failed")
	contains(t, "a bad expression", p.c1.run(t, 1, "catalog nodes -filter=x"), "Error: the agent answered 400")
	contains(t, "maintenance", p.c1.run(t, 0, "maint -enable -service=cli-3 -reason=disk"), "now enabled")
	contains(t, "maintenance", p.c1.run(t, 0, "maint"), "ID:     cli-3", "Reason: disk")
	contains(t, "maintenance", p.c1.run(t, 0, "maint -disable -service=cli-3"), "now disabled")
	p.c1.run(t, 0, "services deregister", file)
	p.c1.run(t, 0, "services deregister -id=cli-3")
	contains(t, "again", p.c1.run(t, 1, "services deregister -id=cli-3"), "Unknown service")
}

func watchCommand(t *testing.T, p *pair) {
	w := p.c1.following(t, "watch", "-type=service", "-service=cli-watch", "-passingonly=true", "cat; echo at $CONSUL_INDEX")
	w.WaitLine(0, patience, "[]")
	p.c1.run(t, 0, "services register -name=cli-watch -port=80")
	w.WaitLine(0, patience, `"Service":"cli-watch"`, `"Port":80`)
	mark := w.Mark()
	p.c1.run(t, 0, "maint -enable -service=cli-watch")
	w.WaitLine(mark, patience, "[]")
	p.c1.run(t, 0, "services deregister -id=cli-watch")
	ended(t, w)

	p.c1.run(t, 0, "kv put", "cli/watched", "one")
	contains(t, "a look", p.c2.run(t, 0, "watch -type=keyprefix -prefix=cli/ -datacenter=dc1"), `"Key": "cli/watched"`, `"Value": "b25l"`)
	contains(t, "a look at nodes", p.c1.run(t, 0, "watch -type=nodes"), `"Node": "c1"`)
	contains(t, "a handler that fails", p.c1.run(t, 1, "watch -type=key -key=cli/watched", "exit 4"), "exit status 4")
}

// watchWithoutAgent follows a key through the death of the agent that it asks.
func watchWithoutAgent(t *testing.T, p *pair) {
	n := start(t, spec{host: p.c2.host, name: "c3", dc: "dc2", ip: p.c2.host.Addr(2, 3), lan: []string{p.s2.ip}})
	proctest.Until(t, patience, "the agent knows a server", func() error { return n.put("cli/kept", "1", "") })
	w := n.following(t, "watch", "-type=key", "-key=cli/kept", "cat")
	w.WaitLine(0, patience, `"Value":"MQ=="`)
	n.Kill()
	w.WaitLine(0, patience, "Warning:", n.ip)
	w.WaitLine(0, patience, "The next try is in 5s.")
	must(t, "put", p.c2.put("cli/kept", "2", ""))
	n.start()
	w.WaitLine(0, patience, `"Value":"Mg=="`)
	ended(t, w)
}

func monitorCommand(t *testing.T, p *pair) {
	m := p.c1.following(t, "monitor", "-log-level=debug")
	j := p.c1.following(t, "monitor", "-log-level=debug", "-log-json")
	// Joining whom it knows already changes nothing, but is told.
	proctest.Until(t, patience, "the log is followed", func() error {
		must(t, "join", p.c1.client.Agent().Join(p.s1.ip, false))
		if m.Mark() == 0 || j.Mark() == 0 {
			return fmt.Errorf("%d and %d lines", m.Mark(), j.Mark())
		}
		return nil
	})
	contains(t, "what is followed", m.String(), " [DEBUG] ", ": ")
	contains(t, "a line", strings.Split(j.String(), "\n")[0], `{`, `"@message":`)
	ended(t, m)
	ended(t, j)
	contains(t, "a level that there is not", p.c1.run(t, 1, "monitor -log-level=loud"), "Error: the agent answered 400", "loud")
}

func debugCommand(t *testing.T, p *pair) {
	out := filepath.Join(t.TempDir(), "bundle")
	said := p.s1.run(t, 0, "debug -duration=10s -interval=500ms -output="+out)
	contains(t, "debug", said, "Saved debug archive: "+out+".tar.gz")
	if strings.Contains(said, "not collected") {
		t.Errorf("debug says %s", said)
	}
	info, err := os.Stat(out + ".tar.gz")
	must(t, "stat", err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the archive's mode is %v", info.Mode())
	}
	listing := proctest.Tool(t, proctest.Machine(), "", "tar", "-tzf", out+".tar.gz")
	contains(t, "the archive", listing, "bundle/agent.json", "bundle/host.json", "bundle/members.json", "bundle/raft.json", "bundle/metrics.json", "bundle/legate.log", "bundle/index.json",
		"bundle/profile.prof", "bundle/trace.prof", "bundle/heap-000.prof", "bundle/goroutine-000.prof")
}
