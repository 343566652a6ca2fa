package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/failover"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

// stored is what the datacenter holds in these tests: see Fill.
func stored(t *testing.T) *storage.State {
	t.Helper()
	s, apply := open(t)
	Fill(t, func(o op.Operation, req msgp.Marshaler, _ op.Leader) error {
		_, err := apply(o, req)
		return err
	})
	return s
}

// Fill writes what the table of requests speaks of: web as w1 on n1 with a check, a key,
// a session, queries, and records of access control. The leader that it writes with
// makes the IDs id-1, id-2, …
func Fill(t *testing.T, apply func(op.Operation, msgp.Marshaler, op.Leader) error) {
	t.Helper()
	ids := 0
	l := op.Leader{NewID: func() string { ids++; return fmt.Sprintf("id-%d", ids) }}
	node := registerWeb("n1", "w1", catalog.Passing)
	node.ID = "ab000000-0000-4000-8000-000000000001"
	node.Checks = append(node.Checks, catalog.Check{CheckID: catalog.SerfHealth, Status: catalog.Passing})
	for _, c := range []struct {
		operation op.Operation
		request   msgp.Marshaler
	}{
		{&catalog.Register, node},
		{&kv.Apply, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}}},
		{&coordinate.Batch, &coordinate.Entries{{Node: "n1"}}},
		{&session.Create, &session.CreateRequest{Session: session.Session{Node: "n1", TTL: "10s"}}},
		{&kv.Apply, &kv.ApplyRequest{Verb: kv.Lock, Entry: kv.Entry{Key: "held", Session: "id-1"}}},
		{&query.Create, &query.SetRequest{Query: query.Query{Name: "q", Token: "secret", Service: query.Service{Service: "web"}}}},            // id-2
		{&query.Create, &query.SetRequest{Query: query.Query{Session: "id-1", Token: "secret", Service: query.Service{Service: "web"}}}},      // id-3
		{&acl.SetPolicy, &acl.SetPolicyRequest{Create: true, Policy: acl.Policy{Name: "p"}}},                                                  // id-4
		{&acl.SetToken, &acl.SetTokenRequest{Create: true}},                                                                                   // id-5, its secret is id-6
		{&acl.SetRole, &acl.SetRoleRequest{Create: true, Role: acl.Role{Name: "r"}}},                                                          // id-7
		{&acl.SetMethod, &acl.SetMethodRequest{Create: true, Method: acl.Method{Name: "m", Type: "jwt"}}},                                     //
		{&acl.SetBinding, &acl.SetBindingRequest{Create: true, Binding: acl.Binding{AuthMethod: "m", BindType: acl.BindRole, BindName: "r"}}}, // id-8
		{&query.Create, &query.SetRequest{Query: query.Query{Name: "plain", Service: query.Service{Service: "web"}}}},                         // id-9
		{&failover.Set, &failover.Rule{Service: "web", Datacenters: []string{"dc2"}}},
	} {
		if err := apply(c.operation, c.request, l); err != nil {
			t.Fatal(err)
		}
	}
}

// refused reports whether the caller may not ask for this, as a server decides
// it.
func refused(t *testing.T, s *storage.State, o op.Operation, req any, a rules.Authorizer) bool {
	t.Helper()
	err := o.Allow(a, req)
	if p, ok := o.(op.Preparable); ok && err == nil {
		if err := p.Ready(op.Leader{NewID: func() string { return "new" }}, req); err != nil {
			t.Fatalf("%s of %+v: %v", o.OpName(), req, err)
		}
		v := s.View()
		defer v.Close()
		err = p.AllowStored(a, v, req)
	}
	var denied *rules.DeniedError
	if err != nil && !errors.As(err, &denied) {
		t.Fatalf("%s of %+v: %v", o.OpName(), req, err)
	}
	return denied != nil
}

// grants is a caller who may write what is listed, as resource:name.
type grants map[string]bool

func (g grants) Allow(r rules.Resource, _ rules.Access, name string) bool {
	return g[string(r)+":"+name]
}
func (g grants) Who() string { return "test" }

func may(list ...string) grants {
	g := grants{}
	for _, name := range list {
		g[name] = true
	}
	return g
}

// TestWhatIsStoredDecides: one row is a write with what it takes. A caller who
// has all of that may, and one who lacks any of it may not.
func TestWhatIsStoredDecides(t *testing.T) {
	s := stored(t)
	const node, web, other = "node:n1", "service:web", "service:other"
	on := func(r catalog.RegisterRequest) *catalog.RegisterRequest {
		if r.Node == "" {
			r.Node = "n1"
		}
		return &r
	}
	for name, c := range map[string]struct {
		operation op.Operation
		request   any
		need      []string
	}{
		"the node changes":                   {&catalog.Register, on(catalog.RegisterRequest{Address: "10.0.0.9"}), []string{node}},
		"a service on the node as it is":     {&catalog.Register, on(catalog.RegisterRequest{Address: "10.0.0.1", Datacenter: "dc1", Service: &catalog.Service{ID: "o", Service: "other"}}), []string{other}},
		"a service, and the node changes":    {&catalog.Register, on(catalog.RegisterRequest{Address: "10.0.0.9", Service: &catalog.Service{ID: "o", Service: "other"}}), []string{other, node}},
		"a service, the node left out":       {&catalog.Register, on(catalog.RegisterRequest{SkipNodeUpdate: true, Service: &catalog.Service{ID: "o", Service: "other"}}), []string{other}},
		"a service on a node that is new":    {&catalog.Register, on(catalog.RegisterRequest{Node: "n2", Address: "10.0.0.2", SkipNodeUpdate: true, Service: &catalog.Service{ID: "o", Service: "other"}}), []string{other, "node:n2"}},
		"over a service of another name":     {&catalog.Register, on(catalog.RegisterRequest{SkipNodeUpdate: true, Service: &catalog.Service{ID: "w1", Service: "other"}}), []string{other, web}},
		"over it, ID from the name":          {&catalog.Register, on(catalog.RegisterRequest{SkipNodeUpdate: true, Service: &catalog.Service{Service: "other"}}), []string{other}},
		"the ID of another node":             {&catalog.Register, on(catalog.RegisterRequest{Node: "n2", ID: "AB000000-0000-4000-8000-000000000001", Address: "10.0.0.2"}), []string{"node:n2", node}},
		"a check of a stored service":        {&catalog.Register, on(catalog.RegisterRequest{SkipNodeUpdate: true, Check: &catalog.Check{CheckID: "x", ServiceID: "w1", ServiceName: "other"}}), []string{web}},
		"a check of the node":                {&catalog.Register, on(catalog.RegisterRequest{SkipNodeUpdate: true, Check: &catalog.Check{CheckID: "x"}}), []string{node}},
		"a check of the service that comes":  {&catalog.Register, on(catalog.RegisterRequest{SkipNodeUpdate: true, Service: &catalog.Service{ID: "o", Service: "other"}, Check: &catalog.Check{CheckID: "x", ServiceID: "o"}}), []string{other}},
		"over another service's check":       {&catalog.Register, on(catalog.RegisterRequest{SkipNodeUpdate: true, Service: &catalog.Service{ID: "o", Service: "other"}, Check: &catalog.Check{CheckID: "c-w1", ServiceID: "o"}}), []string{other, web}},
		"over the node's health":             {&catalog.Register, on(catalog.RegisterRequest{SkipNodeUpdate: true, Check: &catalog.Check{CheckID: catalog.SerfHealth, ServiceID: "w1"}}), []string{web, node}},
		"a check of a service that is not":   {&catalog.Register, on(catalog.RegisterRequest{SkipNodeUpdate: true, Check: &catalog.Check{CheckID: "x", ServiceID: "none"}}), []string{node}},
		"the node goes":                      {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1"}, []string{node}},
		"the service goes, by its node":      {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", ServiceID: "w1"}, []string{node}},
		"the service goes, by its name":      {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", ServiceID: "w1"}, []string{web}},
		"the session goes":                   {&session.Destroy, &session.DestroyRequest{ID: "id-1"}, []string{"session:n1"}},
		"a session is made":                  {&session.Create, &session.CreateRequest{Session: session.Session{Node: "n1"}}, []string{"session:n1"}},
		"a session, the node spelt apart":    {&session.Create, &session.CreateRequest{Session: session.Session{Node: "N1"}}, []string{"session:N1", "session:n1"}},
		"a session of another datacenter":    {&session.Bind, &session.CreateRequest{Session: session.Session{Node: "N1", NodeDatacenter: "dc2"}}, []string{"session:N1"}},
		"its check goes, by its name":        {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", CheckID: "c-w1"}, []string{web}},
		"the node's check goes":              {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", CheckID: catalog.SerfHealth}, []string{node}},
		"a query comes":                      {&query.Create, &query.SetRequest{Query: query.Query{Name: "r", Service: query.Service{Service: "web"}}}, []string{"query:r"}},
		"a query gets another name":          {&query.Update, &query.SetRequest{Query: query.Query{ID: "id-2", Name: "r", Service: query.Service{Service: "web"}}}, []string{"query:q", "query:r"}},
		"a query loses its name":             {&query.Update, &query.SetRequest{Query: query.Query{ID: "id-2", Session: "id-1", Service: query.Service{Service: "web"}}}, []string{"query:q"}},
		"a template for all names comes":     {&query.Create, &query.SetRequest{Query: query.Query{Template: query.Template{Type: query.NamePrefixMatch}, Service: query.Service{Service: "web"}}}, []string{"query:"}},
		"a query goes":                       {&query.Delete, &query.IDRequest{ID: "id-2"}, []string{"query:q"}},
		"a query that only its ID names":     {&query.Delete, &query.IDRequest{ID: "id-3"}, nil},
		"the service goes, a check is named": {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", ServiceID: "w1", CheckID: catalog.SerfHealth}, []string{web}},
	} {
		if refused(t, s, c.operation, c.request, may(c.need...)) {
			t.Errorf("%s: refused to who has %v", name, c.need)
		}
		for _, lacks := range c.need {
			g := may(c.need...)
			delete(g, lacks)
			if !refused(t, s, c.operation, c.request, g) {
				t.Errorf("%s: allowed without %s", name, lacks)
			}
		}
	}
}

// A check tells of its node and of its service: both must be readable.
func TestChecksNeedNodeAndService(t *testing.T) {
	s, apply := open(t)
	if _, err := apply(&catalog.Register, registerWeb("n1", "w1", catalog.Passing)); err != nil {
		t.Fatal(err)
	}
	req := &catalog.ServiceRequest{Service: "web"}
	for _, resource := range []rules.Resource{rules.Service, rules.Node} {
		if got := shown(t, s, &catalog.ListServiceChecks, req, only(resource)); got != "[]" {
			t.Errorf("with %s alone: %s", resource, got)
		}
	}
}

// only grants everything of one resource.
type only rules.Resource

func (o only) Allow(r rules.Resource, _ rules.Access, _ string) bool { return r == rules.Resource(o) }
func (o only) Who() string                                           { return "test" }

// shown is what a caller gets of a read, as JSON.
func shown(t *testing.T, s *storage.State, q op.Queryable, req any, a rules.Authorizer) string {
	t.Helper()
	v := s.View()
	defer v.Close()
	res, err := q.Run(v, req)
	if err != nil {
		t.Fatalf("%s: %v", q.OpName(), err)
	}
	res, _ = q.Hide(a, res)
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
