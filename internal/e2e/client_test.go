//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// must fails the test if the official client got an error.
func must(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// pair is two datacenters of one server and one client agent each.
type pair struct {
	s1, c1, s2, c2 *node
}

func newPair(t testing.TB) *pair {
	t.Helper()
	h := proctest.Loopback(t)
	p := &pair{}
	p.s1 = start(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1, config: map[string]any{"enable_debug": true, "disable_remote_exec": false}})
	p.c1 = start(t, spec{host: h, name: "c1", dc: "dc1", ip: h.Addr(1, 2), lan: []string{p.s1.ip}, config: map[string]any{"disable_remote_exec": false}})
	p.s2 = start(t, spec{host: h, name: "s2", dc: "dc2", ip: h.Addr(2, 1), expect: 1, wan: []string{p.s1.ip}})
	p.c2 = start(t, spec{host: h, name: "c2", dc: "dc2", ip: h.Addr(2, 2), lan: []string{p.s2.ip}})
	proctest.Until(t, patience, "both datacenters answer each other", func() error {
		return errors.Join(p.c1.put("ready", "", "dc2"), p.c2.put("ready", "", "dc1"))
	})
	return p
}

func TestTheOfficialClient(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	// Every way to the same store: a server and a client agent at home, and from
	// the other datacenter.
	for _, way := range []struct {
		name string
		n    *node
		dc   string
	}{{"server", p.s1, ""}, {"client", p.c1, ""}, {"other datacenter", p.c1, "dc2"}} {
		t.Run("KV "+way.name, func(t *testing.T) { t.Parallel(); keyValue(t, way.n, way.dc) })
		t.Run("wake-up "+way.name, func(t *testing.T) { t.Parallel(); wakeUp(t, way.n, way.dc) })
		t.Run("catalog "+way.name, func(t *testing.T) { t.Parallel(); catalogCalls(t, way.n, way.dc) })
	}
	t.Run("agent", func(t *testing.T) { t.Parallel(); agentCalls(t, p) })
	t.Run("services of an agent", func(t *testing.T) { t.Parallel(); agentServices(t, p) })
	t.Run("status and coordinates", func(t *testing.T) { t.Parallel(); statusCalls(t, p) })
	t.Run("errors", func(t *testing.T) { t.Parallel(); clientErrors(t, p) })
}

func keyValue(t *testing.T, n *node, dc string) {
	kv, q, w := n.client.KV(), &api.QueryOptions{Datacenter: dc}, &api.WriteOptions{Datacenter: dc}
	base := strings.ReplaceAll(t.Name(), "/", "-") + "/"
	get := func(key string) *api.KVPair {
		t.Helper()
		pair, meta, err := kv.Get(base+key, q)
		must(t, "get", err)
		if meta.LastIndex == 0 || !meta.KnownLeader {
			t.Errorf("the meta of a get is %+v", meta)
		}
		return pair
	}
	if got := get("none"); got != nil {
		t.Errorf("a key that nobody wrote is %+v", got)
	}
	_, err := kv.Put(&api.KVPair{Key: base + "a", Value: []byte{0, 1, 0xFF}, Flags: 1 << 63}, w)
	must(t, "put", err)
	a := get("a")
	if a == nil || !reflect.DeepEqual(a.Value, []byte{0, 1, 0xFF}) || a.Flags != 1<<63 || a.CreateIndex == 0 || a.CreateIndex != a.ModifyIndex {
		t.Fatalf("reads back %+v", a)
	}
	for _, c := range []struct {
		index uint64
		want  bool
	}{{0, false}, {a.ModifyIndex + 1, false}, {a.ModifyIndex, true}, {a.ModifyIndex, false}} {
		ok, _, err := kv.CAS(&api.KVPair{Key: base + "a", Value: []byte("cas"), ModifyIndex: c.index}, w)
		must(t, "cas", err)
		if ok != c.want {
			t.Errorf("cas at index %d (current %d) is %v", c.index, a.ModifyIndex, ok)
		}
	}
	if b := get("a"); string(b.Value) != "cas" || b.CreateIndex != a.CreateIndex || b.ModifyIndex <= a.ModifyIndex {
		t.Errorf("after a cas: %+v, before: %+v", b, a)
	}
	for _, key := range []string{"b/1", "b/2", "c"} {
		_, err := kv.Put(&api.KVPair{Key: base + key}, w)
		must(t, "put", err)
	}
	list, _, err := kv.List(base+"b/", q)
	must(t, "list", err)
	if len(list) != 2 || list[0].Key != base+"b/1" || list[1].Key != base+"b/2" {
		t.Errorf("the list is %v", list)
	}
	keys, _, err := kv.Keys(base, "/", q)
	must(t, "keys", err)
	if want := []string{base + "a", base + "b/", base + "c"}; !slices.Equal(keys, want) {
		t.Errorf("the keys are %q, want %q", keys, want)
	}
	_, err = kv.Delete(base+"a", w)
	must(t, "delete", err)
	if got := get("a"); got != nil {
		t.Errorf("deleted, but %+v", got)
	}
	ok, _, err := kv.DeleteCAS(&api.KVPair{Key: base + "c", ModifyIndex: 1}, w)
	must(t, "delete with cas", err)
	if ok || get("c") == nil {
		t.Error("a delete with an old index deletes")
	}
	_, err = kv.DeleteTree(base, w)
	must(t, "delete a tree", err)
	if keys, _, err := kv.Keys(base, "", q); err != nil || len(keys) != 0 {
		t.Errorf("after deleting the tree: %q, %v", keys, err)
	}
}

// wakeUp waits for a key with a blocking read: a write to another key does not
// end it, a write to the key does, soon.
func wakeUp(t *testing.T, n *node, dc string) {
	base := strings.ReplaceAll(t.Name(), "/", "-") + "/"
	kv, w := n.client.KV(), &api.WriteOptions{Datacenter: dc}
	_, err := kv.Put(&api.KVPair{Key: base + "k", Value: []byte("old")}, w)
	must(t, "put", err)
	_, meta, err := kv.Get(base+"k", &api.QueryOptions{Datacenter: dc})
	must(t, "get", err)
	type answer struct {
		pair  *api.KVPair
		index uint64
		err   error
		at    time.Time
	}
	answers := make(chan answer, 1)
	go func() {
		pair, m, err := kv.Get(base+"k", &api.QueryOptions{Datacenter: dc, WaitIndex: meta.LastIndex, WaitTime: time.Minute})
		a := answer{pair: pair, err: err, at: time.Now()}
		if m != nil {
			a.index = m.LastIndex
		}
		answers <- a
	}()
	_, err = kv.Put(&api.KVPair{Key: base + "other"}, w)
	must(t, "put", err)
	select {
	case a := <-answers:
		t.Fatalf("a write to another key ends the read: %+v", a)
	case <-time.After(300 * time.Millisecond):
	}
	wrote := time.Now()
	_, err = kv.Put(&api.KVPair{Key: base + "k", Value: []byte("new")}, w)
	must(t, "put", err)
	select {
	case a := <-answers:
		must(t, "blocking get", a.err)
		if string(a.pair.Value) != "new" || a.index <= meta.LastIndex {
			t.Errorf("wakes up with %+v at index %d, was at %d", a.pair, a.index, meta.LastIndex)
		}
		if took := a.at.Sub(wrote); took > 2*time.Second {
			t.Errorf("wakes up after %s", took)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("does not wake up")
	}
	// And without a write it ends when the wait is over, with the same index.
	_, meta, err = kv.Get(base+"k", &api.QueryOptions{Datacenter: dc})
	must(t, "get", err)
	begin := time.Now()
	_, after, err := kv.Get(base+"k", &api.QueryOptions{Datacenter: dc, WaitIndex: meta.LastIndex, WaitTime: 500 * time.Millisecond})
	must(t, "blocking get", err)
	if took := time.Since(begin); took < 500*time.Millisecond || took > 5*time.Second || after.LastIndex != meta.LastIndex {
		t.Errorf("a wait of 500ms took %s, index %d then %d", took, meta.LastIndex, after.LastIndex)
	}
}

// catalogCalls registers an external node with a service and a check.
func catalogCalls(t *testing.T, n *node, dc string) {
	catalog, health := n.client.Catalog(), n.client.Health()
	q, w := &api.QueryOptions{Datacenter: dc}, &api.WriteOptions{Datacenter: dc}
	word := strings.ReplaceAll(strings.ToLower(t.Name()[strings.LastIndex(t.Name(), "/")+1:]), "_", "-")
	node, service := "ext-"+word, "svc-"+word
	home := dc
	if home == "" {
		home = n.dc
	}
	_, err := catalog.Register(&api.CatalogRegistration{
		Node: node, Address: "198.51.100.7", Datacenter: dc, NodeMeta: map[string]string{"external": "true"},
		Service: &api.AgentService{ID: service + "-1", Service: service, Port: 8080, Tags: []string{"v1", "blue"}, Meta: map[string]string{"m": "1"}},
		Checks:  api.HealthChecks{{Node: node, CheckID: "c-" + word, Name: "c", Status: api.HealthPassing, ServiceID: service + "-1"}},
	}, w)
	must(t, "register", err)
	list, meta, err := catalog.Service(service, "v1", q)
	must(t, "service", err)
	if len(list) != 1 || list[0].Node != node || list[0].Address != "198.51.100.7" || list[0].ServicePort != 8080 || list[0].Datacenter != home ||
		!slices.Equal(list[0].ServiceTags, []string{"v1", "blue"}) || meta.LastIndex == 0 {
		t.Fatalf("the service is %+v, meta %+v", list, meta)
	}
	if list, _, err := catalog.Service(service, "green", q); err != nil || len(list) != 0 {
		t.Errorf("the service with a tag that it lacks: %+v, %v", list, err)
	}
	nodes, _, err := catalog.Nodes(q)
	must(t, "nodes", err)
	if !slices.ContainsFunc(nodes, func(x *api.Node) bool { return x.Node == node && x.Meta["external"] == "true" }) {
		t.Errorf("the nodes lack %s: %v", node, nodes)
	}
	services, _, err := catalog.Services(q)
	must(t, "services", err)
	if !slices.Contains(services[service], "blue") || services["consul"] == nil {
		t.Errorf("the services are %v", services)
	}
	one, _, err := catalog.Node(node, q)
	must(t, "node", err)
	if one == nil || one.Services[service+"-1"] == nil {
		t.Errorf("the node is %+v", one)
	}
	dcs, err := catalog.Datacenters()
	must(t, "datacenters", err)
	if !slices.Equal(dcs, []string{"dc1", "dc2"}) {
		t.Errorf("the datacenters are %q: want the own first", dcs)
	}
	passing := func(want int, index uint64) uint64 {
		t.Helper()
		opts := *q
		opts.WaitIndex, opts.WaitTime = index, 10*time.Second
		entries, meta, err := health.Service(service, "", true, &opts)
		must(t, "healthy instances", err)
		if len(entries) != want {
			t.Fatalf("%d instances pass, want %d", len(entries), want)
		}
		if want > 0 && (entries[0].Node.Node != node || entries[0].Service.Port != 8080 || len(entries[0].Checks) != 1) {
			t.Errorf("the instance is %+v", entries[0])
		}
		return meta.LastIndex
	}
	index := passing(1, 0)
	_, err = catalog.Register(&api.CatalogRegistration{Node: node, SkipNodeUpdate: true, Datacenter: dc,
		Check: &api.AgentCheck{Node: node, CheckID: "c-" + word, Name: "c", Status: api.HealthCritical, ServiceID: service + "-1"}}, w)
	must(t, "register a critical check", err)
	passing(0, index)
	_, err = catalog.Deregister(&api.CatalogDeregistration{Node: node, Datacenter: dc}, w)
	must(t, "deregister", err)
	if one, _, err := catalog.Node(node, q); err != nil || one != nil {
		t.Errorf("the node after it was deregistered: %+v, %v", one, err)
	}
}

func agentCalls(t *testing.T, p *pair) {
	self, err := p.c1.client.Agent().Self()
	must(t, "self", err)
	if c := self["Config"]; c["NodeName"] != "c1" || c["Datacenter"] != "dc1" || c["Server"] != false {
		t.Errorf("self is %v", c)
	}
	name, err := p.s1.client.Agent().NodeName()
	must(t, "node name", err)
	if name != "s1" {
		t.Errorf("the node's name is %q", name)
	}
	for wan, want := range map[bool][]string{false: {"c1", "s1"}, true: {"s1.dc1", "s2.dc2"}} {
		members, err := p.s1.client.Agent().Members(wan)
		must(t, "members", err)
		var names []string
		for _, m := range members {
			names = append(names, m.Name)
			if m.Status != 1 || m.Addr == "" || m.Port == 0 {
				t.Errorf("the member is %+v", m)
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, want) {
			t.Errorf("members (wan %v) are %q, want %q", wan, names, want)
		}
	}
	must(t, "join", p.c1.client.Agent().Join(p.s1.ip, false))
	if err := p.c1.client.Agent().Join(p.s1.host.Addr(9, 9), false); err == nil {
		t.Error("joining nobody works")
	}
}

// agentServices registers services with a client agent and follows their
// checks into the catalog and through the other datacenter.
func agentServices(t *testing.T, p *pair) {
	agent := p.c1.client.Agent()
	healthy := make(chan bool, 1)
	healthy <- true
	l := listenOn(t, p.c1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ok := <-healthy
		healthy <- ok
		if !ok {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	must(t, "register", agent.ServiceRegister(&api.AgentServiceRegistration{Name: "ttl", Port: 1, Tags: []string{"x"},
		Check: &api.AgentServiceCheck{CheckID: "ttl-check", TTL: "60s"}}))
	must(t, "register", agent.ServiceRegister(&api.AgentServiceRegistration{ID: "http-1", Name: "http", Port: 2,
		Check: &api.AgentServiceCheck{HTTP: "http://" + l.Addr().String(), Interval: "1s", Timeout: "1s"}}))
	services, err := agent.Services()
	must(t, "services", err)
	if services["ttl"] == nil || services["http-1"] == nil || services["ttl"].Port != 1 {
		t.Errorf("the agent's services are %v", services)
	}
	passing := func(service string, want int) {
		t.Helper()
		for _, view := range []struct {
			n  *node
			dc string
		}{{p.c1, ""}, {p.s1, ""}, {p.c2, "dc1"}} {
			proctest.Until(t, patience, fmt.Sprintf("%d passing instances of %s as %s sees it", want, service, view.n.name), func() error {
				entries, _, err := view.n.client.Health().Service(service, "", true, &api.QueryOptions{Datacenter: view.dc})
				if err == nil && len(entries) != want {
					err = fmt.Errorf("%d instances", len(entries))
				}
				if err == nil && want == 1 && entries[0].Node.Node != "c1" {
					err = fmt.Errorf("the instance is of %s", entries[0].Node.Node)
				}
				return err
			})
		}
	}
	passing("ttl", 0) // nobody has said yet that it passes
	must(t, "update", agent.UpdateTTL("ttl-check", "fine", api.HealthPassing))
	passing("ttl", 1)
	must(t, "update", agent.UpdateTTL("ttl-check", "broken", api.HealthCritical))
	passing("ttl", 0)
	passing("http", 1)
	<-healthy
	healthy <- false
	passing("http", 0)
	checks, err := agent.Checks()
	must(t, "checks", err)
	if c := checks["ttl-check"]; c == nil || c.Status != api.HealthCritical || c.Output != "broken" {
		t.Errorf("the check is %+v", c)
	}
	must(t, "deregister", agent.ServiceDeregister("ttl"))
	must(t, "deregister", agent.ServiceDeregister("http-1"))
	proctest.Until(t, patience, "the services are gone from the catalog", func() error {
		services, _, err := p.s1.client.Catalog().Services(nil)
		if err == nil && (services["ttl"] != nil || services["http"] != nil) {
			err = fmt.Errorf("%v", services)
		}
		return err
	})
}

func listenOn(t testing.TB, n *node) net.Listener {
	t.Helper()
	var l net.Listener
	must(t, "listen", n.host.Inside(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(n.ip, "0"))
		return err
	}))
	return l
}

func statusCalls(t *testing.T, p *pair) {
	for _, c := range []struct {
		dc, ip string
	}{{"", p.s1.ip}, {"dc2", p.s2.ip}} {
		leader, err := p.c1.leader(c.dc)
		must(t, "leader", err)
		peers, err := p.c1.client.Status().PeersWithQueryOptions(&api.QueryOptions{Datacenter: c.dc})
		must(t, "peers", err)
		if want := c.ip + ":8300"; leader != want || !slices.Equal(peers, []string{want}) {
			t.Errorf("dc %q: the leader is %s, the peers %q, want %s", c.dc, leader, peers, want)
		}
	}
	proctest.Until(t, patience, "WAN coordinates", func() error {
		dcs, err := p.c1.client.Coordinate().Datacenters()
		if err != nil {
			return err
		}
		found := map[string]bool{}
		for _, dc := range dcs {
			for _, c := range dc.Coordinates {
				found[dc.Datacenter+" "+dc.AreaID+" "+c.Node] = c.Coord != nil
			}
		}
		if !found["dc1 wan s1"] || !found["dc2 wan s2"] {
			return fmt.Errorf("coordinates of %v", found)
		}
		return nil
	})
	proctest.Until(t, patience, "LAN coordinates", func() error {
		nodes, _, err := p.c1.client.Coordinate().Nodes(&api.QueryOptions{Datacenter: "dc2"})
		if err == nil && !slices.ContainsFunc(nodes, func(e *api.CoordinateEntry) bool { return e.Node == "s2" && e.Coord != nil }) {
			err = fmt.Errorf("coordinates %v", nodes)
		}
		return err
	})
}

func clientErrors(t *testing.T, p *pair) {
	for _, n := range []*node{p.s1, p.c1} {
		begin := time.Now()
		for what, err := range map[string]error{
			"put": n.put("k", "v", "nowhere"),
			"get": n.get("k", "v", "nowhere"),
			"nodes": func() error {
				_, _, err := n.client.Catalog().Nodes(&api.QueryOptions{Datacenter: "nowhere"})
				return err
			}(),
		} {
			answer, ok := errors.AsType[api.StatusError](err)
			if !ok || answer.Code != 500 || !strings.Contains(answer.Body, "No path to datacenter") {
				t.Errorf("%s to an unknown datacenter on %s: %v", what, n.name, err)
			}
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("%s takes %s to know that it does not know a datacenter", n.name, took)
		}
		_, err := n.client.KV().Put(&api.KVPair{Key: "big", Value: make([]byte, 512<<10+1)}, nil)
		if answer, ok := errors.AsType[api.StatusError](err); !ok || answer.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("a value that is too large: %v", err)
		}
		_, err = n.client.Catalog().Register(&api.CatalogRegistration{Node: "x"}, nil)
		if _, ok := errors.AsType[api.StatusError](err); !ok {
			t.Errorf("a registration without an address: %v", err)
		}
		if err := n.client.Agent().UpdateTTL("none", "", api.HealthPassing); err == nil {
			t.Errorf("%s updates a check that does not exist", n.name)
		}
		if err := n.client.Agent().ServiceDeregister("none"); err == nil {
			t.Errorf("%s deregisters a service that does not exist", n.name)
		}
	}
}
