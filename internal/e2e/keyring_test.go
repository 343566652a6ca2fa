//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/legate-project/legate/internal/proctest"
)

// keyring runs the command and checks its exit code and what it says.
func (n *node) keyring(code int, words []string, args ...string) {
	n.t.Helper()
	r := n.cli(append([]string{"keyring"}, args...)...)
	if r.Code != code {
		n.t.Errorf("keyring on %s: exit code %d, want %d\n%s%s", n.name, r.Code, code, r.Stdout, r.Stderr)
	}
	for _, word := range words {
		if !strings.Contains(r.Stdout+r.Stderr, word) {
			n.t.Errorf("keyring on %s does not say %q:\n%s%s", n.name, word, r.Stdout, r.Stderr)
		}
	}
}

// The gossip key is rotated by the command as the runbook says. Agents that restart
// have the new key, whatever their configuration says; one that was down meanwhile is
// brought back as the runbook says; and nobody's log has a key.
func TestTheGossipKeyIsRotatedByCommand(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	old, fresh := keygen(t), keygen(t)
	home := start(t, spec{host: h, name: "home", dc: "dc1", ip: h.Addr(1, 1), expect: 1, key: old})
	away := start(t, spec{host: h, name: "away", dc: "dc2", ip: h.Addr(2, 1), expect: 1, key: old, wan: []string{home.ip}})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 2), key: old, lan: []string{home.ip}})
	down := start(t, spec{host: h, name: "down", dc: "dc1", ip: h.Addr(1, 3), key: old, lan: []string{home.ip}})
	reach := func(what string) {
		t.Helper()
		proctest.Until(t, patience, what, func() error {
			if err := client.put("k", what, "dc2"); err != nil {
				return err
			}
			return away.get("k", what, "")
		})
	}
	reach("before")
	members := func(n *node, want string) {
		t.Helper()
		proctest.Until(t, patience, n.name+" has "+want, func() error {
			for line := range strings.Lines(n.cli("members").Stdout) {
				if strings.Contains(strings.Join(strings.Fields(line), " "), want) {
					return nil
				}
			}
			return fmt.Errorf("members: %s", n.cli("members").Stdout)
		})
	}
	members(home, "down 127")
	down.Kill()
	members(home, fmt.Sprintf("down %s:8301 failed", down.ip))

	all := []string{"WAN:\n", "dc1 (LAN):\n", "dc2 (LAN):\n"}
	client.keyring(0, append(all, "  "+old+" [2/2]"), "-list")
	client.keyring(1, []string{"nothing was changed", "install it first"}, "-use="+fresh)
	client.keyring(1, []string{"nothing was changed", "use another first"}, "-remove="+old)
	client.keyring(0, []string{"down", "failed", "legate force-leave down"}, "-install="+fresh)
	away.keyring(0, []string{"2 of the WAN pool"}, "-use="+fresh)
	client.keyring(0, []string{"dc2 (LAN):\n  " + fresh + " [1/1]"}, "-list-primary")
	home.keyring(0, nil, "-remove="+old)
	reach("after")
	if r := client.cli("keyring", "-list"); strings.Contains(r.Stdout, old) || !strings.Contains(r.Stdout, "WAN:\n  "+fresh+" [2/2]") {
		t.Errorf("after the rotation: %s%s", r.Stdout, r.Stderr)
	}

	for _, n := range []*node{client, away} { // their encrypt is the old key
		n.Kill()
		n.start()
	}
	reach("restarted")
	down.launch()
	down.WaitLine(0, patience, "join")
	members(home, fmt.Sprintf("down %s:8301 failed", down.ip))
	down.Kill()
	must(t, "remove the keyring", os.Remove(filepath.Join(down.dir, "serf", "local.keyring")))
	down.key = fresh
	down.start()
	members(home, fmt.Sprintf("down %s:8301 alive", down.ip))

	for _, n := range []*node{home, away, client, down} {
		for _, key := range []string{old, fresh} {
			if strings.Contains(n.String(), key) {
				t.Errorf("%s shows a key", n.name)
			}
		}
	}
	client.Kill()
	must(t, "break the keyring", os.WriteFile(filepath.Join(client.dir, "serf", "local.keyring"), []byte(`["`+fresh), 0o600))
	client.launch()
	if code := client.WaitExit(patience); code != 1 {
		t.Errorf("with a broken keyring: exit code %d", code)
	}
	if said := client.String(); !strings.Contains(said, "local.keyring") || !strings.Contains(said, "no keyring") || strings.Contains(said, fresh) {
		t.Errorf("with a broken keyring it says:\n%s", said)
	}
}
