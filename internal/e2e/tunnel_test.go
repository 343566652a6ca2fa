//go:build linux

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// withoutUDP is the office's router where it lets no UDP through.
var withoutUDP = strings.Replace(office, "ct state established", "meta l4proto udp counter name dropped drop\n\t\tct state established", 1)

// tunnels waits until an agent says that it has so many tunnels over TCP.
func (n *node) tunnels(want int) time.Duration {
	n.t.Helper()
	return proctest.Until(n.t, patience, fmt.Sprintf("%s has %d tunnels", n.name, want), func() error {
		metrics, _ := n.asks("/metrics")
		if !strings.Contains(metrics, fmt.Sprintf("\nlegate_gateway_tunnels %d\n", want)) {
			return fmt.Errorf("it says %s", regexp.MustCompile(`(?m)^legate_gateway_tunnels.*$`).FindString(metrics))
		}
		return nil
	})
}

// alive waits until both servers take each other for alive.
func (h *hidden) alive() {
	h.a.t.Helper()
	for _, n := range []*node{h.a, h.b} {
		proctest.Until(n.t, patience, "both servers are alive at "+n.name, func() error {
			if r := n.cli("members", "-wan"); strings.Count(r.Stdout, " alive ") != 2 {
				return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
			}
			return nil
		})
	}
}

var tcp443 = map[string]any{"ports": map[string]any{"gateway_tcp": 443}}

// An office whose provider drops UDP is a full part of the federation: its servers reach the
// gateways by TCP, which they find out by themselves. When UDP works, TCP is left.
func TestAnOfficeWithoutUDP(t *testing.T) {
	t.Parallel()
	h := newHiddenBy(t, withoutUDP, tcp443)
	took := proctest.Until(t, patience, "both datacenters answer each other", func() error { return h.across("first") })
	t.Logf("from the start of the last agent it took %s", took)
	if took > 30*time.Second {
		t.Error("it joined no sooner than by its second try, though gateways carried for it before")
	}
	if n := h.fabric.Counter(h.router, "dropped"); n == 0 {
		t.Fatal("no packet of UDP was dropped")
	}
	h.b.tunnels(2)
	for _, g := range h.gateways {
		g.tunnels(1)
	}
	h.alive()
	proctest.Until(t, patience, "web.service.dc2.consul through DNS of dc1", func() error {
		if got := h.clientA.dig(t, "web.service.dc2.consul"); got != "10.2.0.3" {
			return fmt.Errorf("dig answers %q", got)
		}
		return nil
	})
	proctest.Until(t, patience, "rtt -wan", func() error {
		if r := h.a.cli("rtt", "-wan", "a.dc1", "b.dc2"); r.Code != 0 {
			return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
		}
		return nil
	})
	h.gateways[0].Kill()
	killed := time.Now()
	proctest.Until(t, patience, "they go on when a gateway is killed", func() error { return h.across("second") })
	t.Logf("a gateway was killed, and after %s all ways worked", time.Since(killed))
	h.gateways[0].start()
	h.b.tunnels(2)

	h.fabric.Firewall(h.router, office)
	t.Logf("UDP worked, and TCP was left after %s", h.b.tunnels(0))
	if err := h.across("third"); err != nil {
		t.Error(err)
	}
	for _, g := range h.gateways {
		g.tunnels(0)
	}
	if err := h.across("fourth"); err != nil {
		t.Error(err)
	}
	h.alive()
}

// UDP that worked and is dropped from some moment on costs calls a few seconds.
func TestAnOfficeThatLosesUDP(t *testing.T) {
	t.Parallel()
	h := newHiddenBy(t, office, tcp443)
	proctest.Until(t, patience, "both datacenters answer each other", func() error { return h.across("first") })
	h.b.tunnels(0)
	h.fabric.Firewall(h.router, withoutUDP)
	proctest.Tool(t, h.router, "", "sh", "-c", "conntrack -F 2>/dev/null || true")
	lost := time.Now()
	for _, n := range []*node{h.clientA, h.clientB} {
		other := map[string]string{"dc1": "dc2", "dc2": "dc1"}[n.dc]
		proctest.Until(t, patience, n.name+" goes on", func() error { return n.get("first", "first"+other, other) })
		t.Logf("UDP was lost, and %s went on after %s", n.name, time.Since(lost))
	}
	h.b.tunnels(2)
	proctest.Until(t, patience, "all ways work", func() error { return h.across("second") })
	h.alive()
}
