//go:build linux

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// lockCommand runs legate lock on a client agent.
func lockCommand(t *testing.T, p *pair) {
	// Twenty at once: none sees another's mark.
	dir := t.TempDir()
	script := "mkdir " + dir + "/held && sleep 0.02 && rmdir " + dir + "/held && echo x >> " + dir + "/done"
	const runs = 20
	var all []*proctest.Process
	for range runs {
		all = append(all, p.c1.following(t, "lock", "-child-exit-code", "cli/excluded", script))
	}
	for _, one := range all {
		if code := one.WaitExit(patience); code != 0 {
			t.Errorf("one of many ends with %d:\n%s", code, one.Tail(5))
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "done")); err != nil || strings.Count(string(b), "x") != runs {
		t.Errorf("%d of %d ran: %v", strings.Count(string(b), "x"), runs, err)
	}

	contains(t, "the environment", p.c1.run(t, 0, "lock -verbose", "cli/env", "echo held: $CONSUL_LOCK_HELD"), "held: true\n", "Got the lock")
	contains(t, "a failing command", p.c1.run(t, 2, "lock -child-exit-code", "cli/env", "exit 3"), "exit status 3")
	contains(t, "a failing command", p.c1.run(t, 0, "lock -shell=false", "cli/env", "false"), "Warning: the command failed")
	contains(t, "no such command", p.c1.run(t, 1, "lock -shell=false", "cli/env", "/no/such/command"), "no such file")

	holder := p.c1.following(t, "lock", "cli/busy", "echo begun; sleep 1000")
	holder.WaitLine(0, patience, "begun")
	contains(t, "a busy lock", p.c1.run(t, 1, "lock -timeout=300ms", "cli/busy", "echo never"), "was not free within 300ms")
	second := p.c1.following(t, "lock", "-n=2", "cli/slots", "echo begun; sleep 1000")
	third := p.c1.following(t, "lock", "-n=2", "cli/slots", "echo begun; sleep 1000")
	second.WaitLine(0, patience, "begun")
	third.WaitLine(0, patience, "begun")
	contains(t, "no free slot", p.c1.run(t, 1, "lock -n=2 -timeout=300ms", "cli/slots", "echo never"), "was not free")
	for _, one := range []*proctest.Process{second, third} {
		one.Signal(syscall.SIGINT)
		if code := one.WaitExit(patience); code != 1 {
			t.Errorf("interrupted, it ends with %d", code)
		}
	}

	// Who loses the lock ends the command.
	pair, _, err := p.c1.client.KV().Get("cli/busy/.lock", nil)
	if err == nil && (pair == nil || pair.Session == "") {
		err = errors.New("nobody holds it")
	}
	must(t, "read the lock", err)
	_, err = p.c1.client.Session().Destroy(pair.Session, nil)
	must(t, "destroy its session", err)
	if code := holder.WaitExit(patience); code != 1 {
		t.Errorf("the lock lost, it ends with %d", code)
	}
	contains(t, "the holder", holder.String(), "the lock was lost")
	// The delay after the loss keeps others out.
	contains(t, "the delay", p.c1.run(t, 1, "lock -timeout=500ms", "cli/busy", "echo never"), "was not free")
	if pairs, _, err := p.c1.client.KV().List("cli/excluded", &api.QueryOptions{}); err != nil || len(pairs) > 0 {
		t.Errorf("left behind: %v %v", pairs, err)
	}
}
