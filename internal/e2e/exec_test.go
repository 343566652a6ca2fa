//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/legate-project/legate/internal/proctest"
)

// execCommand runs commands on the agents of dc1, from there and from dc2, whose
// agents do not take part.
func execCommand(t *testing.T, p *pair) {
	out := p.c1.run(t, 0, "exec -verbose", "echo on $(basename $PWD | wc -w) node; echo second line")
	contains(t, "two agents", out, "    c1: on 1 node\n", "    s1: second line\n", "==> c1: finished with exit code 0\n", "==> s1: finished with exit code 0\n",
		"2 / 2 node(s) completed / acknowledged\n")
	out = p.c1.run(t, 2, "exec -node=^c -wait=1s", "echo oops; exit 4")
	contains(t, "one agent", out, "    c1: oops\n", "==> c1: finished with exit code 4\n", "1 / 1 node(s)", "failed on 1 node")
	if strings.Contains(out, "s1") {
		t.Errorf("an agent that was not meant took part:\n%s", out)
	}
	contains(t, "without a shell", p.c1.run(t, 0, "exec -shell=false -node=c1 -wait=1s", "printf", "%s\n", "$HOME;"), "    c1: $HOME;\n")
	contains(t, "from another datacenter", p.c2.run(t, 0, "exec -datacenter=dc1 -node=s1", "echo far"), "    s1: far\n")
	contains(t, "agents that do not take part", p.c2.run(t, 1, "exec -wait=1s", "true"), "no agent took the job", "disable_remote_exec")
	contains(t, "bad filter", p.c1.run(t, 1, "exec -node=(", "true"), "node filter")

	// Ctrl-C ends the command on the agent, too.
	dir := t.TempDir()
	file := filepath.Join(dir, "alive")
	x := p.c1.following(t, "exec", "-node=c1", "-wait=60s", "echo begun; while :; do touch "+file+"; sleep 0.1; done")
	x.WaitLine(0, patience, "c1: begun")
	x.Signal(syscall.SIGINT)
	if code := x.WaitExit(patience); code != 1 {
		t.Errorf("interrupted, it ends with %d", code)
	}
	proctest.Until(t, patience, "the command has ended", func() error {
		_ = os.Remove(file)
		ended := true
		_ = proctest.Tool(t, p.c1.host, "", "sleep", "0.5")
		if _, err := os.Stat(file); err == nil {
			ended = false
		}
		if !ended {
			return fmt.Errorf("it still touches %s", file)
		}
		return nil
	})
	proctest.Until(t, patience, "nothing is left of the jobs", func() error {
		keys, _, err := p.c1.client.KV().Keys("_rexec/", "", nil)
		if err == nil && len(keys) > 0 {
			err = fmt.Errorf("left: %v", keys)
		}
		return err
	})
}
