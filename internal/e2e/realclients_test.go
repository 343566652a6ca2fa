//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/legate-project/legate/internal/proctest"
)

// TestRealClients runs what other people wrote, and the command line, against
// two datacenters: all at the same time, with names of their own.
func TestRealClients(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	t.Cleanup(func() { // when all clients are done
		for _, n := range []*node{p.s1, p.c1, p.s2, p.c2} {
			if n.Exited() {
				t.Errorf("%s has ended", n.name)
			}
			calm(t, n.name, n.String())
		}
	})
	for _, c := range []struct {
		name string
		run  func(*testing.T, *pair)
	}{
		{"watch plans", watchPlans},
		{"VictoriaMetrics", victoriaMetrics},
		{"HAProxy", haproxy},
		{"python3-consul", pythonClient},
		{"npm consul", nodeClient},
		{"registrator", registrator},
		{"command line", commandLine},
	} {
		t.Run(c.name, func(t *testing.T) { t.Parallel(); c.run(t, p) })
	}
}

// missing ends a test that lacks a program: it fails where all of them must be
// there (CI=true), and is skipped on a machine without.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: .ci/run installs it", what)
	}
	t.Skipf("%s is not installed: .ci/run installs it", what)
}

// program returns the path of a program of the system.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	missing(t, "the program "+name)
	return ""
}

// succeed runs a script on the host, which must come to its end.
func succeed(t *testing.T, h *proctest.Host, args ...string) {
	t.Helper()
	out := proctest.Tool(t, h, "", args...)
	if !strings.HasSuffix(strings.TrimSpace(out), "all is well") {
		t.Errorf("%q ended early:\n%s", args, out)
	}
}

func pythonClient(t *testing.T, p *pair) {
	// Debian's modules belong to Debian's interpreter.
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import consul").Run(); err != nil {
		missing(t, "Debian's package python3-consul")
	}
	succeed(t, p.c1.host, python, "testdata/clients/client.py", p.c1.ip, "8500", "dc2")
}

func nodeClient(t *testing.T, p *pair) {
	node := program(t, "node")
	if _, err := os.Stat("testdata/clients/node/node_modules/consul"); err != nil {
		missing(t, "npm's package consul (npm ci in internal/e2e/testdata/clients/node)")
	}
	succeed(t, p.c1.host, node, "testdata/clients/node/client.js", p.c1.ip, "8500", "dc2")
}

func registrator(t *testing.T, p *pair) {
	for _, name := range []string{"curl", "jq"} {
		program(t, name)
	}
	succeed(t, p.c1.host, program(t, "bash"), "testdata/clients/registrator.sh", p.c1.ip, "8500")
}
