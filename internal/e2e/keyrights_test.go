//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// Over two datacenters: nobody sees or changes gossip keys without a right, who may read
// them changes none, and who may write does both. Who has rights in one datacenter alone
// changes nothing that another one shares.
func TestRightsToGossipKeys(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	key, fresh, other := keygen(t), keygen(t), keygen(t)
	conf := locked(map[string]any{"token_ttl": "1s"})
	conf["primary_datacenter"] = "dc1"
	home := start(t, spec{host: h, name: "home", dc: "dc1", ip: h.Addr(1, 1), expect: 1, key: key, config: conf})
	away := start(t, spec{host: h, name: "away", dc: "dc2", ip: h.Addr(2, 1), expect: 1, key: key, wan: []string{home.ip}, config: conf})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 2), key: key, lan: []string{home.ip}, config: conf})
	root := bootstrapped(t, home)
	asRoot := " -token=" + root.SecretID
	token := func(level, more string) string {
		t.Helper()
		made := made[api.ACLToken](t, home, "acl token create"+asRoot+more+" -policy-name="+level)
		return " -token=" + made.SecretID
	}
	for _, level := range []string{"read", "write"} {
		home.run(t, 0, "acl policy create"+asRoot+" -name="+level, `-rules=keyring = "`+level+`"`)
	}
	home.run(t, 0, "acl policy create"+asRoot+" -name=none", `-rules=operator = "write"`)
	home.run(t, 0, "acl policy create"+asRoot+" -name=here -valid-datacenter=dc1", `-rules=keyring = "write"`)
	none, read, local, here, write := token("none", ""), token("read", ""), token("write", " -local"), token("here", ""), token("write", "")
	all := []*node{home, client, away}
	for _, n := range all {
		proctest.Until(t, patience, n.name+" has the tokens and knows all pools", func() error {
			if r := n.cli("keyring"+write, "-list"); r.Code != 0 {
				return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
			}
			return nil
		})
	}
	keyring := func(n *node, code int, token, action string, says ...string) {
		t.Helper()
		contains(t, n.name+token+" "+action, n.run(t, code, "keyring"+token, action), says...)
	}
	for _, n := range all {
		for _, who := range []string{"", none} {
			keyring(n, 1, who, "-list", "lacks permission 'keyring:read'")
			keyring(n, 1, who, "-install="+fresh, "lacks permission 'keyring:write'")
		}
		keyring(n, 0, read, "-list", "WAN:\n  "+key+" [2/2]", "dc1 (LAN):\n  "+key+" [2/2]", "dc2 (LAN):\n  "+key+" [1/1]")
		for _, action := range []string{"-install=" + fresh, "-use=" + key, "-remove=" + fresh} {
			keyring(n, 1, read+" -force="+fmt.Sprint(action[:4] != "-ins"), action, "lacks permission 'keyring:write'")
		}
	}
	keyring(home, 0, read, "-list", key+" [2/2]")
	for _, who := range []string{local, here} { // the LAN pool of dc1 is all that is theirs
		keyring(home, 2, who, "-install="+other, "WAN", "lacks permission 'keyring:write'", "dc2")
		if list := home.run(t, 0, "keyring"+write, "-list"); strings.Count(list, other) != 1 || !strings.Contains(list, other+" [2/2]") {
			t.Errorf("who may change keys in dc1 alone did:\n%s", strings.ReplaceAll(list, other, "OTHER"))
		}
		keyring(home, 0, write, "-remove="+other)
	}
	keyring(client, 0, write, "-install="+fresh, "Done")
	keyring(away, 0, write, "-use="+fresh, "Done")
	keyring(home, 0, write, "-remove="+key, "Done")
	keyring(away, 0, read, "-list", "WAN:\n  "+fresh+" [2/2]", "dc1 (LAN):\n  "+fresh+" [2/2]", "dc2 (LAN):\n  "+fresh+" [1/1]")
}
