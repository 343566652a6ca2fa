//go:build linux

package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// mute has a router not tell who sends packets that are too large for it.
const mute = `
table inet mute {
	chain output {
		type filter hook output priority 0; policy accept;
		icmp type destination-unreachable drop
		icmpv6 type packet-too-big drop
	}
}`

// large is of more bytes than any packet has, by far.
func large(word string) string { return strings.Repeat(word+" ", 300_000/(len(word)+1)) }

// reads asks the leader of another datacenter for a key, or what this one has of it.
func (n *node) reads(key, want, dc string, consistent bool) error {
	ctx, cancel := context.WithTimeout(n.t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	pair, _, err := n.client.KV().Get(key, (&api.QueryOptions{Datacenter: dc, RequireConsistent: consistent}).WithContext(ctx))
	switch {
	case err != nil:
		return fmt.Errorf("%s reads %s of %s: after %s: %w", n.name, key, dc, time.Since(began).Round(time.Millisecond), err)
	case pair == nil || string(pair.Value) != want:
		return fmt.Errorf("%s reads something else at %s of %s", n.name, key, dc)
	}
	return nil
}

// narrow is a federation whose router's links become narrow.
type narrow struct {
	land
	t testing.TB
}

// all reads what is large, both ways, asked of the leader and followed, after it was written anew.
func (n *narrow) all(word string) time.Duration {
	n.t.Helper()
	var longest time.Duration
	for _, way := range []struct{ from, to *node }{{n.clientA, n.b}, {n.clientB, n.a}} {
		must(n.t, "write "+word, way.to.put("large", large(word), ""))
		for _, consistent := range []bool{true, false} {
			took := proctest.Until(n.t, patience, fmt.Sprintf("%s reads %s (consistent: %t)", way.from.name, word, consistent), func() error {
				return way.from.reads("large", large(word), way.to.dc, consistent)
			})
			longest = max(longest, took)
		}
	}
	return longest
}

func (n *narrow) becomesNarrow() {
	n.t.Helper()
	proctest.Until(n.t, patience, "both datacenters answer each other", func() error { return n.across("first") })
	for i := range 5 { // packets grow
		n.all(fmt.Sprint("wide", i))
	}
	n.fabric.MTU(n.router, 1280)
	longest := n.all("narrow")
	n.t.Logf("the path became narrow: the longest of four reads of 300 kB took %s", longest)
	if longest > 5*time.Second {
		n.t.Errorf("a read took %s", longest)
	}
	if err := n.across("last"); err != nil {
		n.t.Error(err)
	}
}

// A path whose links become narrow, and whose router drops what is too large and does not say so,
// holds up nothing: directly, through gateways, over TCP, and through a server that carries.
func TestAPathThatBecomesNarrow(t *testing.T) {
	t.Parallel()
	t.Run("directly", func(t *testing.T) {
		t.Parallel()
		l := newLand(t)
		l.fabric.Firewall(l.router, onePort+mute)
		(&narrow{*l, t}).becomesNarrow()
	})
	for name, office := range map[string]string{"through gateways": office, "through gateways over TCP": withoutUDP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHiddenBy(t, office+mute, tcp443)
			(&narrow{h.land(), t}).becomesNarrow()
		})
	}
	t.Run("through a server", func(t *testing.T) {
		t.Parallel()
		m := newMesh(t, []string{"t1"}, [][2]string{{"b", "c"}}, "t1", "b", "c")
		m.more = mute
		m.filter()
		(&narrow{m.land("b", "c"), t}).becomesNarrow()
	})
}

// land is the two datacenters.
func (h *hidden) land() land { return land{h.fabric, h.router, h.a, h.b, h.clientA, h.clientB} }

// isNarrow asserts that all works over a path that is narrow from the start.
func (n *narrow) isNarrow(record string) {
	n.t.Helper()
	proctest.Until(n.t, patience, "both datacenters answer each other", func() error { return n.across("first") })
	n.t.Logf("the longest of four reads of 300 kB took %s", max(n.all("first"), n.all("second")))
	name := "web.service." + n.b.dc + ".consul"
	proctest.Until(n.t, patience, name+" through DNS of "+n.a.dc, func() error {
		if got := n.clientA.dig(n.t, name, record); got != n.clientB.ip {
			return fmt.Errorf("dig answers %q", got)
		}
		return nil
	})
}

// officeWithoutNAT is an office that nobody hides, and that lets nothing in that was not asked for
// from inside.
const officeWithoutNAT = `table inet filter {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		ip6 saddr 2001:db8:2::/64 accept
	}
}`

// A federation works over paths that take packets of 1,280 bytes and no larger ones, the least that
// IPv6 allows, over IPv4 and IPv6: directly, through gateways, and through a server that carries.
func TestNarrowPathsAndIPv6(t *testing.T) {
	t.Parallel()
	const bytes = 1280
	four, six := addresses{"10.1.0.", "10.2.0.", "/24", bytes}, addresses{"2001:db8:1::", "2001:db8:2::", "/64", bytes}
	for record, at := range map[string]addresses{"A": four, "AAAA": six} {
		t.Run("directly, "+record, func(t *testing.T) {
			t.Parallel()
			(&narrow{*newLandAt(t, at), t}).isNarrow(record)
		})
	}
	t.Run("through gateways, AAAA", func(t *testing.T) {
		t.Parallel()
		gateways := []string{"2001:db8:1::11", "[2001:db8:1::12]:8302"}
		h := newHiddenAt(t, six, officeWithoutNAT, gateways, nil)
		(&narrow{h.land(), t}).isNarrow("AAAA")
		shown := regexp.MustCompile(`(?m)^b\.dc2 +\[2001:db8:2::2\]:8302 .*via=\[2001:db8:1::11\]:8302,\[2001:db8:1::12\]:8302`)
		proctest.Until(t, patience, "members -wan -detailed shows how it is reached", func() error {
			if r := h.a.cli("members", "-wan", "-detailed"); !shown.MatchString(r.Stdout) {
				return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
			}
			return nil
		})
		h.gateways[0].Kill()
		proctest.Until(t, patience, "they go on when a gateway is killed", func() error { return h.across("second") })
	})
	t.Run("through gateways of its own, AAAA", func(t *testing.T) {
		t.Parallel()
		p := newPrivateAt(t, six, "::")
		(&narrow{p.land, t}).isNarrow("AAAA")
		p.reached(p.a, "via=[2001:db8:1::20]:8302,[2001:db8:1::21]:8302,vsn")
	})
	t.Run("through a server", func(t *testing.T) {
		t.Parallel()
		m := newMesh(t, []string{"t1"}, [][2]string{{"b", "c"}}, "t1", "b", "c")
		m.fabric.MTU(m.router, bytes)
		(&narrow{m.land("b", "c"), t}).isNarrow("A")
	})
}
