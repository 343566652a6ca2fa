//go:build linux

package e2e

import (
	"context"
	"fmt"
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
			(&narrow{land{h.fabric, h.router, h.a, h.b, h.clientA, h.clientB}, t}).becomesNarrow()
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
