//go:build linux

package e2e

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/hashicorp/go-hclog"
)

// told is what a watch plan handed to its handler.
type told struct {
	at    watch.BlockingParamVal
	value any
}

// plan runs a plan of the official client's watch package until the test ends.
func plan(t *testing.T, n *node, params map[string]any) <-chan told {
	t.Helper()
	p, err := watch.Parse(params)
	must(t, "parse the plan", err)
	tells := make(chan told, 100)
	p.HybridHandler = func(at watch.BlockingParamVal, value any) { tells <- told{at, value} }
	done := make(chan error, 1)
	go func() { done <- p.RunWithClientAndHclog(n.client, hclog.NewNullLogger()) }()
	t.Cleanup(func() {
		p.Stop()
		must(t, "run the plan", <-done)
	})
	return tells
}

// awaitTold waits until the plan tells something that is as wanted. What it
// tells is the newest state, so states between may be left out.
func awaitTold(t *testing.T, tells <-chan told, what string, ok func(any) bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	var last any
	for {
		select {
		case got := <-tells:
			if index, isIndex := got.at.(watch.WaitIndexVal); isIndex && index == 0 {
				t.Errorf("%s: told at index 0", what)
			}
			if last = got.value; ok(last) {
				return
			}
		case <-deadline.C:
			t.Fatalf("%s: not told; the last was %+v", what, last)
		}
	}
}

// stage is a state that is made, then told.
type stage struct {
	what string
	make func() error
	told func(any) bool
}

func watchPlans(t *testing.T, p *pair) {
	kv, agent := p.c1.client.KV(), p.c1.client.Agent()
	nothing := func() error { return nil }
	put := func(key, value string) func() error {
		return func() error { return p.c1.put(key, value, "") }
	}
	register := func(name string, change func(*api.AgentServiceRegistration)) func() error {
		return func() error {
			r := &api.AgentServiceRegistration{Name: name, Port: 80}
			change(r)
			return agent.ServiceRegister(r)
		}
	}
	drop := func(id string) func() error { return func() error { return agent.ServiceDeregister(id) } }
	entries := func(want int) func(any) bool {
		return func(v any) bool { list, ok := v.([]*api.ServiceEntry); return ok && len(list) == want }
	}
	hasService := func(name string, want ...string) func(any) bool {
		return func(v any) bool {
			services, ok := v.(map[string][]string)
			tags, found := services[name]
			return ok && found == (want != nil) && slices.Equal(tags, want)
		}
	}
	hasNode := func(name string, want bool) func(any) bool {
		return func(v any) bool {
			nodes, ok := v.([]*api.Node)
			return ok && want == slices.ContainsFunc(nodes, func(n *api.Node) bool { return n.Node == name })
		}
	}
	hasCheck := func(id, status string) func(any) bool {
		return func(v any) bool {
			checks, ok := v.([]*api.HealthCheck)
			return ok && slices.ContainsFunc(checks, func(c *api.HealthCheck) bool { return c.CheckID == id }) == (status != "") &&
				(status == "" || slices.ContainsFunc(checks, func(c *api.HealthCheck) bool { return c.CheckID == id && c.Status == status }))
		}
	}
	for _, c := range []struct {
		name   string
		setUp  func() error
		params map[string]any
		stages []stage
	}{
		{"key", put("watch/key", "1"), map[string]any{"type": "key", "key": "watch/key"}, []stage{
			{"what is there", nothing, pairIs("1")},
			{"another value", put("watch/key", "2"), pairIs("2")},
			{"its deletion", func() error { _, err := kv.Delete("watch/key", nil); return err }, func(v any) bool { return v == nil }},
			{"its return", put("watch/key", "3"), pairIs("3")},
		}},
		{"keyprefix", put("watch/prefix/a", ""), map[string]any{"type": "keyprefix", "prefix": "watch/prefix/"}, []stage{
			{"what is there", nothing, pairsAre("watch/prefix/a")},
			{"another key", put("watch/prefix/b", ""), pairsAre("watch/prefix/a", "watch/prefix/b")},
			{"a deletion", func() error { _, err := kv.Delete("watch/prefix/a", nil); return err }, pairsAre("watch/prefix/b")},
		}},
		{"key of the other datacenter", func() error { return p.c2.put("watch/far", "1", "") },
			map[string]any{"type": "key", "key": "watch/far"}, []stage{
				{"what is there", nothing, pairIs("1")},
				{"another value", func() error { return p.c2.put("watch/far", "2", "") }, pairIs("2")},
			}},
		{"services", nothing, map[string]any{"type": "services"}, []stage{
			{"what is there", nothing, hasService("consul", []string{}...)},
			{"a service", register("watch-services", func(r *api.AgentServiceRegistration) { r.Tags = []string{"x"} }), hasService("watch-services", "x")},
			{"its end", drop("watch-services"), hasService("watch-services")},
		}},
		{"nodes", nothing, map[string]any{"type": "nodes"}, []stage{
			{"what is there", nothing, hasNode("c1", true)},
			{"a node", func() error {
				_, err := p.c1.client.Catalog().Register(&api.CatalogRegistration{Node: "watch-ext", Address: "198.51.100.30"}, nil)
				return err
			}, hasNode("watch-ext", true)},
			{"its end", func() error {
				_, err := p.c1.client.Catalog().Deregister(&api.CatalogDeregistration{Node: "watch-ext"}, nil)
				return err
			}, hasNode("watch-ext", false)},
		}},
		{"service", nothing, map[string]any{"type": "service", "service": "watch-service", "tag": []string{"a", "b"}, "passingonly": true}, []stage{
			{"that there is none", nothing, entries(0)},
			{"an instance", register("watch-service", func(r *api.AgentServiceRegistration) {
				r.Tags, r.Check = []string{"b", "a"}, &api.AgentServiceCheck{TTL: "60s", Status: api.HealthPassing}
			}), entries(1)},
			{"that its check fails", func() error { return agent.UpdateTTL("service:watch-service", "", api.HealthCritical) }, entries(0)},
			{"that it passes", func() error { return agent.UpdateTTL("service:watch-service", "", api.HealthPassing) }, entries(1)},
			{"its end", drop("watch-service"), entries(0)},
		}},
		{"checks of a service", register("watch-checks", func(r *api.AgentServiceRegistration) {
			r.Check = &api.AgentServiceCheck{CheckID: "watch-checks", TTL: "60s", Status: api.HealthPassing}
		}), map[string]any{"type": "checks", "service": "watch-checks"}, []stage{
			{"what is there", nothing, hasCheck("watch-checks", api.HealthPassing)},
			{"a failure", func() error { return agent.UpdateTTL("watch-checks", "", api.HealthCritical) }, hasCheck("watch-checks", api.HealthCritical)},
			{"its end", drop("watch-checks"), hasCheck("watch-checks", "")},
		}},
		{"checks in a state", register("watch-state", func(r *api.AgentServiceRegistration) {
			r.Check = &api.AgentServiceCheck{CheckID: "watch-state", TTL: "60s", Status: api.HealthPassing}
		}), map[string]any{"type": "checks", "state": "warning"}, []stage{
			{"that there is none", nothing, hasCheck("watch-state", "")},
			{"a warning", func() error { return agent.UpdateTTL("watch-state", "", api.HealthWarning) }, hasCheck("watch-state", api.HealthWarning)},
			{"that it is over", func() error { return agent.UpdateTTL("watch-state", "", api.HealthPassing) }, hasCheck("watch-state", "")},
		}},
		{"agent_service", register("watch-hash", func(*api.AgentServiceRegistration) {}), map[string]any{"type": "agent_service", "service_id": "watch-hash"}, []stage{
			{"what is there", nothing, portIs(80)},
			{"another port", register("watch-hash", func(r *api.AgentServiceRegistration) { r.Port = 81 }), portIs(81)},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := p.c1
			if c.name == "key of the other datacenter" {
				// A plan asks the client's own datacenter, whatever agent it asks.
				other := *p.c1
				other.client = clientFor(t, p.c1, "dc2")
				n = &other
			}
			must(t, "set up", c.setUp())
			tells := plan(t, n, c.params)
			for _, s := range c.stages {
				must(t, s.what, s.make())
				awaitTold(t, tells, s.what, s.told)
			}
		})
	}
}

// clientFor returns a client of an agent whose questions go to a datacenter.
func clientFor(t *testing.T, n *node, dc string) *api.Client {
	t.Helper()
	transport := n.host.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	client, err := api.NewClient(&api.Config{Address: net.JoinHostPort(n.ip, "8500"), Datacenter: dc, Transport: transport})
	must(t, "make a client", err)
	return client
}

func pairIs(want string) func(any) bool {
	return func(v any) bool { pair, ok := v.(*api.KVPair); return ok && string(pair.Value) == want }
}

func pairsAre(want ...string) func(any) bool {
	return func(v any) bool {
		pairs, ok := v.(api.KVPairs)
		var keys []string
		for _, pair := range pairs {
			keys = append(keys, pair.Key)
		}
		return ok && slices.Equal(keys, want)
	}
}

func portIs(want int) func(any) bool {
	return func(v any) bool { s, ok := v.(*api.AgentService); return ok && s.Port == want }
}
