//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// answers executes a query through an agent whenever the answer is another one.
func answers(t *testing.T, n *node, query string) <-chan string {
	t.Helper()
	told := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var index uint64
		for ctx.Err() == nil {
			r, m, err := n.client.PreparedQuery().Execute(query, (&api.QueryOptions{WaitIndex: index, WaitTime: 5 * time.Minute}).WithContext(ctx))
			if err != nil {
				t.Logf("execute: %v", err)
				return
			}
			var nodes []string
			for _, e := range r.Nodes {
				nodes = append(nodes, e.Node.Node)
			}
			slices.Sort(nodes)
			told <- fmt.Sprintf("%s %v %d", r.Datacenter, nodes, r.Failovers)
			index = m.LastIndex
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return told
}

// await waits for an answer; those between may be left out.
func await(t *testing.T, told <-chan string, what, want string, within time.Duration) {
	t.Helper()
	begin, late := time.Now(), time.NewTimer(within)
	defer late.Stop()
	last := "nothing"
	for {
		select {
		case last = <-told:
			if last == want {
				t.Logf("%s: %s after %s", what, want, time.Since(begin).Round(time.Millisecond))
				return
			}
		case <-late.C:
			t.Fatalf("%s: last was %s, want %s within %s", what, last, want, within)
		}
	}
}

// A query that waits, and DNS, go where the instances are: also from a datacenter
// that is frozen, or killed, and back.
func TestPreparedQueryFailsOverAndBack(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	var servers [3]*node
	for i := range servers {
		s := spec{host: h, name: fmt.Sprintf("s%d", i+1), dc: dcName(i), ip: h.Addr(i+1, 1), expect: 1}
		if i > 0 {
			s.wan = []string{h.Addr(1, 1)}
		}
		servers[i] = start(t, s)
	}
	c := start(t, spec{host: h, name: "c1", dc: "dc1", ip: h.Addr(1, 2), lan: []string{servers[0].ip}})
	proctest.Until(t, patience, "all datacenters answer each other", func() error {
		return errors.Join(c.put("ready", "", "dc2"), c.put("ready", "", "dc3"), servers[1].put("ready", "", "dc3"))
	})
	web := &api.AgentServiceRegistration{Name: "web", Port: 80}
	for _, n := range []*node{c, servers[1], servers[2]} {
		must(t, "register web", n.client.Agent().ServiceRegister(web))
	}
	_, _, err := c.client.PreparedQuery().Create(&api.PreparedQueryDefinition{Name: "web",
		Service: api.ServiceQuery{Service: "web", Failover: api.QueryFailoverOptions{Datacenters: []string{"dc2", "dc3"}}}}, nil)
	must(t, "create the query", err)
	// DNS answers from what it follows: it goes elsewhere when it hears nothing
	// any more, and every lookup until then is answered, too.
	dns := func(want string) {
		t.Helper()
		proctest.Until(t, patience, "DNS says "+want, func() error {
			begin := time.Now()
			got := c.dig(t, "web.query.consul")
			if took := time.Since(begin); took > 2*time.Second || got == "" {
				t.Errorf("DNS took %s and says %q", took, got)
			}
			if got != want {
				return fmt.Errorf("DNS says %q", got)
			}
			return nil
		})
	}
	told := answers(t, c, "web")
	await(t, told, "at first", "dc1 [c1] 0", patience)
	dns(c.ip)
	must(t, "deregister web", c.client.Agent().ServiceDeregister("web"))
	await(t, told, "fail-over", "dc2 [s2] 1", patience)
	dns(servers[1].ip)
	servers[1].Signal(syscall.SIGSTOP)
	dns(servers[2].ip)
	await(t, told, "dc2 is frozen", "dc3 [s3] 2", patience)
	servers[1].Signal(syscall.SIGCONT)
	await(t, told, "dc2 goes on", "dc2 [s2] 1", patience)
	servers[1].Kill()
	dns(servers[2].ip)
	await(t, told, "dc2 is killed", "dc3 [s3] 2", patience)
	servers[1].start()
	await(t, told, "dc2 is back", "dc2 [s2] 1", patience)
	must(t, "register web", c.client.Agent().ServiceRegister(web))
	await(t, told, "fail-back", "dc1 [c1] 0", patience)
	dns(c.ip)
	for _, n := range append(servers[:], c) {
		calm(t, n.name, n.String())
	}
}

// Who asks as a part of a mesh gets the instances of the mesh, from wherever they
// are; the plain ones near by are no answer.
func TestPreparedQueryOfAMeshFailsOver(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	near := start(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	far := start(t, spec{host: h, name: "s2", dc: "dc2", ip: h.Addr(2, 1), expect: 1, wan: []string{near.ip}})
	proctest.Until(t, patience, "both datacenters answer each other", func() error {
		return errors.Join(near.put("ready", "", "dc2"), far.put("ready", "", "dc1"))
	})
	for _, n := range []*node{near, far} {
		must(t, "register web", n.client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80}))
	}
	must(t, "register a proxy", far.client.Agent().ServiceRegister(&api.AgentServiceRegistration{Kind: api.ServiceKindConnectProxy, Name: "side", Port: 81,
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "web"}}))
	for name, mesh := range map[string]bool{"plain": false, "mesh": true} {
		_, _, err := near.client.PreparedQuery().Create(&api.PreparedQueryDefinition{Name: name,
			Service: api.ServiceQuery{Service: "web", Connect: mesh, Failover: api.QueryFailoverOptions{Datacenters: []string{"dc2"}}}}, nil)
		must(t, "create "+name, err)
	}
	for _, c := range []struct {
		query string
		mesh  bool
		want  string
	}{{"plain", false, "dc1 web"}, {"plain", true, "dc2 side"}, {"mesh", false, "dc2 side"}, {"mesh", true, "dc2 side"}} {
		r, _, err := near.client.PreparedQuery().Execute(c.query, &api.QueryOptions{Connect: c.mesh})
		must(t, "execute "+c.query, err)
		got := r.Datacenter
		for _, e := range r.Nodes {
			got += " " + e.Service.Service
		}
		if got != c.want {
			t.Errorf("%s, as a part of the mesh %t: %s, want %s", c.query, c.mesh, got, c.want)
		}
	}
}
