//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// unset says why a field is not set by filler.
type unset string

// filler sets every field of the official client's types, numbers and texts to
// values that no other field has: none can be dropped or take another's place
// unseen.
type filler struct {
	t testing.TB
	n int
	// special are the values of fields that cannot have just any, by type and name;
	// "*" is every type.
	special map[string]any
}

func newFiller(t testing.TB) *filler {
	const assigned, enterprise = unset("the servers assign it"), unset("a feature of Consul Enterprise")
	ports := api.ServicePorts{{Name: "http", Port: 8001, Default: true}, {Name: "grpc", Port: 8002}}
	return &filler{t: t, n: 10000, special: map[string]any{
		"*.CreateIndex": assigned, "*.ModifyIndex": assigned, "*.Namespace": enterprise, "*.Partition": enterprise,
		"*.Kind": "connect-proxy", "*.Status": api.HealthWarning,
		"AgentService.Port": 8001, "AgentService.Ports": ports, "AgentServiceRegistration.Port": 8001, "AgentServiceRegistration.Ports": ports,
		"AgentService.ContentHash":               unset("the agent computes it"),
		"AgentService.Datacenter":                unset("the agent says where it is"),
		"AgentServiceRegistration.SocketPath":    unset("excludes an address: tried by itself"),
		"AgentServiceRegistration.Check":         unset("one of Checks"),
		"AgentServiceRegistration.Checks":        unset("come back as checks: tried by themselves"),
		"AgentServiceRegistration.Connect":       unset("a sidecar has none: set where it is no sidecar"),
		"CatalogRegistration.Datacenter":         "dc1",
		"CatalogRegistration.SkipNodeUpdate":     unset("it is an order, not a record"),
		"CatalogRegistration.Checks":             unset("set by hand beside Check"),
		"Node.Datacenter":                        "dc1",
		"AgentCheck.Node":                        unset("that of the registration"),
		"HealthCheck.Node":                       unset("that of the registration"),
		"*.ServiceID":                            unset("that of the registration"),
		"*.ServiceName":                          unset("that of the service"),
		"*.ServiceTags":                          unset("those of the service"),
		"HealthCheckDefinition.IntervalDuration": unset("Interval once more"), "HealthCheckDefinition.TimeoutDuration": unset("Timeout once more"),
		"HealthCheckDefinition.DeregisterCriticalServiceAfterDuration": unset("the same once more"),
	}}
}

// fill sets what v points at.
func (f *filler) fill(v any) {
	f.t.Helper()
	f.set(reflect.ValueOf(v).Elem())
}

func (f *filler) set(v reflect.Value) {
	f.n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("v", f.n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.n))
	case reflect.Float64:
		v.SetFloat(float64(f.n) + 0.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]any{"number": float64(f.n), "list": []any{fmt.Sprint("v", f.n), nil}}))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.set(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.set(v.Index(0))
		f.set(v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, item := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.set(key)
		f.set(item)
		v.SetMapIndex(key, item)
	case reflect.Struct:
		for i := range v.NumField() {
			f.setField(v.Field(i), v.Type().Name(), v.Type().Field(i).Name)
		}
	default:
		f.t.Fatalf("no value for a %s", v.Type())
	}
}

func (f *filler) setField(v reflect.Value, of, name string) {
	for _, key := range []string{of + "." + name, "*." + name} {
		special, ok := f.special[key]
		switch value := reflect.ValueOf(special); {
		case !ok:
			continue
		case value.Type() == reflect.TypeFor[unset]():
		case value.CanConvert(v.Type()):
			v.Set(value.Convert(v.Type()))
		default:
			continue // a field of the same name that is something else
		}
		return
	}
	f.set(v)
}

// uuid returns another one each time.
func (f *filler) uuid() string {
	f.n++
	return fmt.Sprintf("%08d-0000-4000-8000-000000000000", f.n)
}

// shared copies the fields that both types have under one name and type.
func shared(to, from any) {
	dst, src := reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem()
	for i := range dst.NumField() {
		name := dst.Type().Field(i).Name
		if f := src.FieldByName(name); f.IsValid() && f.Type() == dst.Field(i).Type() {
			dst.Field(i).Set(f)
		}
	}
}

// settled is a definition as the client shows it when it has read it.
func settled(d *api.HealthCheckDefinition) {
	d.IntervalDuration, d.TimeoutDuration = time.Duration(d.Interval), time.Duration(d.Timeout)
	d.DeregisterCriticalServiceAfterDuration = time.Duration(d.DeregisterCriticalServiceAfter)
}

// whole is what was registered, as it is to come back.
type whole struct {
	how     string
	node    *api.Node // nil if it is an agent's own
	service *api.AgentService
	checks  map[string]*api.HealthCheck // by ID
	at      string                      // name of the node
}

// flat is the service as a list of the catalog shows it.
func (w *whole) flat(n *api.Node) *api.CatalogService {
	s := w.service
	return &api.CatalogService{ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter, TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta,
		ServiceID: s.ID, ServiceName: s.Service, ServiceAddress: s.Address, ServiceTaggedAddresses: s.TaggedAddresses, ServiceTags: s.Tags, ServiceMeta: s.Meta,
		ServicePort: s.Port, ServiceWeights: api.Weights{Passing: s.Weights.Passing, Warning: s.Weights.Warning}, ServiceEnableTagOverride: s.EnableTagOverride,
		ServiceProxy: s.Proxy, ServiceLocality: s.Locality}
}

// differ says in which fields two records differ, but for those that the servers
// and the agents fill in.
func differ[T any](where string, want, got *T) error {
	if got == nil {
		return fmt.Errorf("%s: nothing", where)
	}
	var errs []error
	w, g := reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem()
	for i := range w.NumField() {
		switch name := w.Type().Field(i).Name; name {
		case "CreateIndex", "ModifyIndex", "ContentHash":
		case "Datacenter": // of a service, only agents say it
			if w.Type() == reflect.TypeFor[api.AgentService]() {
				continue
			}
			fallthrough
		default:
			if a, b := w.Field(i).Interface(), g.Field(i).Interface(); !reflect.DeepEqual(a, b) {
				wj, _ := json.Marshal(a)
				gj, _ := json.Marshal(b)
				errs = append(errs, fmt.Errorf("%s: %s is %s, want %s", where, name, gj, wj))
			}
		}
	}
	return errors.Join(errs...)
}

// found returns the one in a list that is wanted, or nil.
func found[T any](list []T, is func(T) bool) (one T) {
	for _, item := range list {
		if is(item) {
			return item
		}
	}
	return one
}

// sameChecks compares those checks of a list that were registered.
func (w *whole) sameChecks(where string, list api.HealthChecks) error {
	var errs []error
	for id, want := range w.checks {
		got := found(list, func(c *api.HealthCheck) bool { return c.CheckID == id && c.Node == w.at })
		errs = append(errs, differ(where+" check "+id, want, got))
	}
	return errors.Join(errs...)
}

func (w *whole) sameNode(where string, got *api.Node) error {
	if w.node == nil {
		return nil
	}
	return differ(where+" node", w.node, got)
}

func (w *whole) sameEntries(where string, list []*api.ServiceEntry) error {
	got := found(list, func(e *api.ServiceEntry) bool { return e.Node.Node == w.at && e.Service.ID == w.service.ID })
	if got == nil {
		return fmt.Errorf("%s: nothing", where)
	}
	return errors.Join(w.sameNode(where, got.Node), differ(where, w.service, got.Service), w.sameChecks(where, got.Checks))
}

// inCatalog reads it back by every route of the catalog, and of health.
func (w *whole) inCatalog(c *api.Client) error {
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	all, _, err := c.Catalog().Nodes(nil)
	note(err)
	node := found(all, func(n *api.Node) bool { return n.Node == w.at })
	note(w.sameNode("catalog nodes", node))
	if node == nil {
		return errors.Join(append(errs, errors.New("no such node"))...)
	}
	info, _, err := c.Catalog().Node(w.at, nil)
	note(err)
	if info == nil {
		return errors.Join(append(errs, errors.New("no such node"))...)
	}
	note(w.sameNode("catalog node", info.Node))
	note(differ("catalog node", w.service, info.Services[w.service.ID]))
	list, _, err := c.Catalog().NodeServiceList(w.at, nil)
	note(err)
	note(w.sameNode("node-services", list.Node))
	note(differ("node-services", w.service, found(list.Services, func(s *api.AgentService) bool { return s.ID == w.service.ID })))
	for where, ask := range map[string]func() ([]*api.CatalogService, *api.QueryMeta, error){
		"catalog service": func() ([]*api.CatalogService, *api.QueryMeta, error) {
			return c.Catalog().Service(w.service.Service, "", nil)
		},
		"catalog connect": func() ([]*api.CatalogService, *api.QueryMeta, error) {
			return c.Catalog().Connect(w.service.Proxy.DestinationServiceName, "", nil)
		},
	} {
		list, _, err := ask()
		note(err)
		note(differ(where, w.flat(node), found(list, func(s *api.CatalogService) bool { return s.Node == w.at && s.ServiceID == w.service.ID })))
	}
	for where, ask := range map[string]func() (api.HealthChecks, *api.QueryMeta, error){
		"health node":   func() (api.HealthChecks, *api.QueryMeta, error) { return c.Health().Node(w.at, nil) },
		"health checks": func() (api.HealthChecks, *api.QueryMeta, error) { return c.Health().Checks(w.service.Service, nil) },
		"health state":  func() (api.HealthChecks, *api.QueryMeta, error) { return c.Health().State("warning", nil) },
	} {
		list, _, err := ask()
		note(err)
		note(w.sameChecks(where, list))
	}
	return errors.Join(append(errs, w.asInstance(c), w.inTransaction(c))...)
}

// queries find the service by its name, and as a part of a mesh.
func (w *whole) queries() []*api.PreparedQueryDefinition {
	return []*api.PreparedQueryDefinition{
		{Name: "plain-" + w.service.ID, Service: api.ServiceQuery{Service: w.service.Service}},
		{Name: "mesh-" + w.service.ID, Service: api.ServiceQuery{Service: w.service.Proxy.DestinationServiceName, Connect: true}},
	}
}

// asInstance reads it back where instances are listed for those who use them.
func (w *whole) asInstance(c *api.Client) error {
	of := w.service.Proxy.DestinationServiceName
	list, _, err := c.Health().Service(w.service.Service, "", false, nil)
	errs := []error{err, w.sameEntries("health service", list)}
	list, _, err = c.Health().Connect(of, "", false, nil)
	errs = append(errs, err, w.sameEntries("health connect", list))
	list, meta, err := c.Health().Ingress(of, false, nil)
	if err != nil || len(list) > 0 || meta.LastIndex == 0 {
		errs = append(errs, fmt.Errorf("health ingress: %v %+v %v", list, meta, err))
	}
	for _, q := range w.queries() {
		res, _, err := c.PreparedQuery().Execute(q.Name, nil)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		entries := make([]*api.ServiceEntry, len(res.Nodes))
		for i := range res.Nodes {
			entries[i] = &res.Nodes[i]
		}
		errs = append(errs, w.sameEntries("query "+q.Name, entries))
	}
	return errors.Join(errs...)
}

// inTransaction reads it back with a transaction.
func (w *whole) inTransaction(c *api.Client) error {
	ops := api.TxnOps{{Node: &api.NodeTxnOp{Verb: api.NodeGet, Node: api.Node{Node: w.at}}},
		{Service: &api.ServiceTxnOp{Verb: api.ServiceGet, Node: w.at, Service: api.AgentService{ID: w.service.ID}}}}
	for id := range w.checks {
		ops = append(ops, &api.TxnOp{Check: &api.CheckTxnOp{Verb: api.CheckGet, Check: api.HealthCheck{Node: w.at, CheckID: id}}})
	}
	ok, res, _, err := c.Txn().Txn(ops, nil)
	if err != nil || !ok {
		return fmt.Errorf("txn: %t %+v %w", ok, res, err)
	}
	var checks api.HealthChecks
	for _, r := range res.Results[2:] {
		checks = append(checks, r.Check)
	}
	return errors.Join(w.sameNode("txn", res.Results[0].Node), differ("txn", w.service, res.Results[1].Service), w.sameChecks("txn", checks))
}

// atAgent reads it back from the agent that it was registered with.
func (w *whole) atAgent(c *api.Client) error {
	all, err := c.Agent().Services()
	errs := []error{err, differ("agent services", w.service, all[w.service.ID])}
	one, _, err := c.Agent().Service(w.service.ID, nil)
	errs = append(errs, err, differ("agent service", w.service, one))
	_, info, err := c.Agent().AgentHealthServiceByID(w.service.ID)
	errs = append(errs, err)
	if info != nil {
		errs = append(errs, differ("agent health by ID", w.service, info.Service), w.sameChecks("agent health by ID", info.Checks))
	}
	_, infos, err := c.Agent().AgentHealthServiceByName(w.service.Service)
	errs = append(errs, err)
	for i := range infos {
		errs = append(errs, differ("agent health by name", w.service, infos[i].Service))
	}
	checks, err := c.Agent().Checks()
	errs = append(errs, err)
	for id, want := range w.checks {
		shown := &api.AgentCheck{}
		shared(shown, want)
		errs = append(errs, differ("agent check "+id, shown, checks[id]))
	}
	return errors.Join(errs...)
}

// byAgent registers services with an agent: one at an address, one at a socket.
func byAgent(t testing.TB, f *filler, n *node) []*whole {
	var out []*whole
	for _, how := range []string{"address", "socket"} {
		reg := &api.AgentServiceRegistration{}
		f.fill(reg)
		reg.Connect = &api.AgentServiceConnect{Native: true} // a sidecar becomes a service of its own
		if how == "socket" {
			reg.Address, reg.Port, reg.Ports, reg.SocketPath = "", 0, nil, "/run/v.sock"
		}
		check := &api.AgentServiceCheck{CheckID: "c-" + reg.ID, Name: "n-" + reg.ID, Notes: "notes", Status: api.HealthWarning, TTL: "1h"}
		reg.Checks = api.AgentServiceChecks{check}
		must(t, "register with the agent", n.client.Agent().ServiceRegister(reg))
		w := &whole{how: how, at: n.name, service: &api.AgentService{Service: reg.Name, Weights: *reg.Weights}}
		shared(w.service, reg)
		w.checks = map[string]*api.HealthCheck{check.CheckID: {Node: n.name, CheckID: check.CheckID, Name: check.Name, Notes: check.Notes,
			Status: check.Status, ServiceID: reg.ID, ServiceName: reg.Name, ServiceTags: reg.Tags, Type: "ttl"}}
		out = append(out, w)
	}
	return out
}

// checksOf fills checks of a service, as they are to come back.
func (w *whole) checksOf(list ...*api.HealthCheck) {
	w.checks = map[string]*api.HealthCheck{}
	for _, c := range list {
		want := *c
		want.Node, want.ServiceID, want.ServiceName, want.ServiceTags = w.at, w.service.ID, w.service.Service, w.service.Tags
		settled(&want.Definition)
		w.checks[c.CheckID] = &want
	}
}

func byCatalog(t testing.TB, f *filler, n *node) *whole {
	reg := &api.CatalogRegistration{}
	f.fill(reg)
	other := &api.HealthCheck{}
	f.fill(other)
	reg.ID, reg.Check.Node, other.Node = f.uuid(), reg.Node, reg.Node
	reg.Check.ServiceID, other.ServiceID = reg.Service.ID, reg.Service.ID
	reg.Checks = api.HealthChecks{other}
	_, err := n.client.Catalog().Register(reg, nil)
	must(t, "register in the catalog", err)
	w := &whole{how: "catalog", at: reg.Node, service: reg.Service, node: &api.Node{Meta: reg.NodeMeta}}
	shared(w.node, reg)
	one := &api.HealthCheck{}
	shared(one, reg.Check)
	w.checksOf(one, other)
	return w
}

func byTransaction(t testing.TB, f *filler, n *node) *whole {
	node, service, check := &api.NodeTxnOp{}, &api.ServiceTxnOp{}, &api.CheckTxnOp{}
	f.fill(&node.Node)
	f.fill(&service.Service)
	f.fill(&check.Check)
	node.Verb, service.Verb, check.Verb = api.NodeSet, api.ServiceSet, api.CheckSet
	node.Node.ID, service.Node, check.Check.Node, check.Check.ServiceID = f.uuid(), node.Node.Node, node.Node.Node, service.Service.ID
	ok, res, _, err := n.client.Txn().Txn(api.TxnOps{{Node: node}, {Service: service}, {Check: check}}, nil)
	if err != nil || !ok {
		t.Fatalf("register in a transaction: %+v %v", res, err)
	}
	w := &whole{how: "txn", at: node.Node.Node, service: &service.Service, node: &node.Node}
	w.checksOf(&check.Check)
	return w
}

// TestWhatIsRegisteredComesBackWhole sets every field that the official client
// knows of nodes, services and checks, and reads each back on every route: at
// once, after restarts, and from a snapshot.
func TestWhatIsRegisteredComesBackWhole(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	server := start(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	agent := start(t, spec{host: h, name: "c1", dc: "dc1", ip: h.Addr(1, 2), lan: []string{server.ip}})
	proctest.Until(t, patience, "the agent reaches the server", func() error { return agent.put("ready", "", "") })
	f := newFiller(t)
	own := byAgent(t, f, agent)
	others := []*whole{byCatalog(t, f, agent), byTransaction(t, f, agent)}
	for _, w := range append(own, others...) {
		for _, q := range w.queries() {
			_, _, err := agent.client.PreparedQuery().Create(q, nil)
			must(t, "make a query", err)
		}
	}
	comeBack := func(when string, n *node, list []*whole) {
		t.Helper()
		for _, w := range list {
			if err := w.inCatalog(n.client); err != nil {
				t.Errorf("%s, registered by %s, asked of %s:\n%v", when, w.how, n.name, err)
			}
		}
	}
	everywhere := func(when string) {
		t.Helper()
		for _, w := range own {
			if err := w.atAgent(agent.client); err != nil {
				t.Errorf("%s, registered by %s, asked of the agent:\n%v", when, w.how, err)
			}
		}
		comeBack(when, agent, append(own, others...))
		comeBack(when, server, append(own, others...))
	}
	everywhere("at once")

	for _, n := range []*node{agent, server} {
		n.Kill()
		n.start()
	}
	proctest.Until(t, patience, "the agent reaches the server", func() error { return agent.put("ready", "again", "") })
	everywhere("after restarts")

	archive, _, err := server.client.Snapshot().Save(nil)
	must(t, "save", err)
	saved, err := io.ReadAll(archive)
	must(t, "save", errors.Join(err, archive.Close()))
	fresh := start(t, spec{host: h, name: "s2", dc: "dc1", ip: h.Addr(2, 1), expect: 1})
	proctest.Until(t, patience, "the fresh server leads", func() error { return fresh.put("ready", "", "") })
	must(t, "restore", fresh.client.Snapshot().Restore(nil, bytes.NewReader(saved)))
	comeBack("from a snapshot", fresh, others) // the agent is no member there
}
