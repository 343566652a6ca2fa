//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// noWAN keeps everything between datacenters from a server.
const noWAN = `table inet filter {
	chain in  { type filter hook input priority 0; udp dport 8302 drop; udp sport 8302 drop; }
	chain out { type filter hook output priority 0; udp dport 8302 drop; udp sport 8302 drop; }
}`

// TestADatacenterThatOneServerKnowsIsKnownToAll asks a server that has met nobody
// of another datacenter, and a client agent that knows that server alone: what
// they ask goes to the server beside it that has. Nobody's name stays unknown, and
// quickly so.
func TestADatacenterThatOneServerKnowsIsKnownToAll(t *testing.T) {
	t.Parallel()
	lan := proctest.NewFabric(t).Switch("lan")
	agent := func(name, dc, ip string, s spec) *node {
		s.host, s.name, s.dc, s.ip = lan.Host(name, ip+"/16", ""), name, dc, ip
		return newNode(t, s)
	}
	knows := agent("knows", "dc1", "10.1.0.2", spec{expect: 2})
	blind := agent("blind", "dc1", "10.1.0.3", spec{expect: 2, lan: []string{knows.ip}})
	far := agent("far", "dc2", "10.1.1.2", spec{expect: 1, wan: []string{knows.ip}, config: map[string]any{"service": map[string]any{"name": "web", "port": 80}}})
	proctest.Tool(t, blind.host, noWAN, "nft", "-f", "-")
	for _, n := range []*node{knows, far, blind} {
		n.start()
	}
	awaitLeader(t, patience, knows, blind)
	awaitLeader(t, patience, far)
	proctest.Until(t, patience, "one server knows the other datacenter", func() error { return knows.put("k", "v", "dc2") })

	members, err := blind.client.Agent().Members(true)
	must(t, "list the members of the WAN", err)
	if len(members) != 1 {
		t.Fatalf("the blind server sees %d members of the WAN", len(members))
	}
	must(t, "write through it", blind.put("k", "w", "dc2"))
	must(t, "read through it", blind.get("k", "w", "dc2"))
	proctest.Until(t, patience, "it answers DNS about the other datacenter", func() error {
		if got := blind.dig(t, "web.service.dc2.consul"); got != far.ip {
			return fmt.Errorf("%q", got)
		}
		return nil
	})

	// A question that waits is woken by what changes there.
	_, meta, err := blind.client.KV().Get("k", &api.QueryOptions{Datacenter: "dc2"})
	must(t, "read the index", err)
	woken := make(chan string, 1)
	go func() {
		pair, _, err := blind.client.KV().Get("k", &api.QueryOptions{Datacenter: "dc2", WaitIndex: meta.LastIndex, WaitTime: patience})
		if err != nil || pair == nil {
			woken <- fmt.Sprint(err)
			return
		}
		woken <- string(pair.Value)
	}()
	must(t, "write over there", far.put("k", "x", ""))
	select {
	case got := <-woken:
		if got != "x" {
			t.Errorf("woken with %q", got)
		}
	case <-time.After(patience):
		t.Error("a question that waits was not woken")
	}

	begin := time.Now()
	if err := blind.get("k", "", "nowhere"); err == nil {
		t.Error("a datacenter that nobody knows answers")
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it took %s to say that nobody knows a datacenter", took)
	}
}
