//go:build linux

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// refused checks that a join fails, in a bounded time, with a reason on the
// standard error, and that neither side knows the other then.
func refused(t testing.TB, from, to *node, wan bool, reasons ...string) {
	t.Helper()
	args, pool := []string{"join", to.ip}, "LAN"
	if wan {
		args, pool = []string{"join", "-wan", to.ip}, "WAN"
	}
	begin := time.Now()
	r := from.cli(args...)
	if r.Code != 1 {
		t.Errorf("%s joins the %s pool of %s: exit code %d\n%s%s", from.name, pool, to.name, r.Code, r.Stdout, r.Stderr)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("%s was refused by the %s pool of %s after %s", from.name, pool, to.name, took)
	}
	said := false
	for _, reason := range reasons {
		said = said || strings.Contains(r.Stderr, reason)
	}
	if !said {
		t.Errorf("the %s pool of %s refuses %s with %q, want one of %q", pool, to.name, from.name, r.Stderr, reasons)
	}
	t.Logf("%s → %s, %s: %s", from.name, to.name, pool, strings.TrimSpace(r.Stderr))
	for _, pair := range [][2]*node{{from, to}, {to, from}} {
		for _, list := range []string{"members", "members -wan"} {
			r := pair[0].cli(list)
			for line := range strings.Lines(r.Stdout) {
				name, _, _ := strings.Cut(strings.Fields(line)[0], ".")
				if name == pair[1].name {
					t.Errorf("%s has %s as a member: %s", pair[0].name, pair[1].name, line)
				}
			}
		}
	}
}

func keygen(t testing.TB) string {
	t.Helper()
	return strings.TrimSpace(proctest.Run(t, proctest.Machine(), "keygen").Stdout)
}

func TestTheGossipKeyKeepsStrangersOut(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	key := keygen(t)
	home := start(t, spec{host: h, name: "home", dc: "dc1", ip: h.Addr(1, 1), expect: 1, key: key})
	away := start(t, spec{host: h, name: "away", dc: "dc2", ip: h.Addr(2, 1), expect: 1, key: key, wan: []string{home.ip}})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 2), key: key, lan: []string{home.ip}})
	proctest.Until(t, patience, "who has the key is at home", func() error {
		if err := client.put("k", "v", "dc2"); err != nil {
			return err
		}
		return away.get("k", "v", "")
	})

	bare := start(t, spec{host: h, name: "bare", dc: "dc1", ip: h.Addr(1, 3), expect: 1})
	other := start(t, spec{host: h, name: "other", dc: "dc1", ip: h.Addr(1, 4), expect: 1, key: keygen(t)})
	far := start(t, spec{host: h, name: "far", dc: "dc3", ip: h.Addr(3, 1), expect: 1, key: keygen(t)})
	for _, stranger := range []*node{bare, other, far} {
		refused(t, stranger, home, true, "certificate", "key", "identity")
		refused(t, home, stranger, true, "certificate", "key", "identity")
	}
	for _, stranger := range []*node{bare, other} {
		refused(t, stranger, home, false, "key", "encrypt")
	}

	// Nor can they call: a client agent that only believes to be a member asks
	// the server and gets nothing.
	if err := bare.get("k", "v", ""); err == nil {
		t.Error("a stranger reads what it was not given")
	}
	if err := far.get("k", "v", "dc1"); err == nil {
		t.Error("a stranger reads from another datacenter")
	}
	if r := client.cli("kv get", "-datacenter=dc2", "k"); r.Stdout != "v\n" {
		t.Errorf("after all that: %q %s", r.Stdout, r.Stderr)
	}
	for _, n := range []*node{home, away, client, bare, other, far} {
		calm(t, n.name, n.String())
		if strings.Contains(n.String(), key) {
			t.Errorf("%s shows the key", n.name)
		}
	}
}

func TestWhoDoesNotBelongToTheFederationIsTold(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	home := start(t, spec{host: h, name: "home", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 2), lan: []string{home.ip}})
	alien := start(t, spec{host: h, name: "alien", dc: "dc2", ip: h.Addr(2, 1), expect: 1, config: map[string]any{"federation": "mars"}})

	r := client.cli("join", "-wan", home.ip)
	if r.Code != 1 || !strings.Contains(r.Stderr, "client") || !strings.Contains(r.Stderr, "server") {
		t.Errorf("a client agent that joins the WAN pool: exit code %d, %q", r.Code, r.Stderr)
	}
	for _, pair := range [][2]*node{{alien, home}, {home, alien}} {
		mark := pair[0].Mark()
		refused(t, pair[0], pair[1], true, "federation")
		if said := pair[0].Since(mark); !strings.Contains(said, "mars") {
			t.Logf("the log of %s does not name the other federation:\n%s", pair[0].name, said)
		}
	}
	// Another datacenter's server does not come in by the LAN either.
	other := start(t, spec{host: h, name: "other", dc: "dc2", ip: h.Addr(2, 2), expect: 1})
	refused(t, other, home, false, "datacenter", "dc2")
	if err := home.get("none", "", "dc2"); err == nil {
		t.Error("dc2 answers although nobody joined it")
	}
}
