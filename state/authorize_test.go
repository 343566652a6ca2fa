package state

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/acl/rules/rulestest"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/state/txn"
	"github.com/legate-project/legate/storage"
)

// stored is what the datacenter holds in these tests: web as w1 on n1 with a
// check, and a key.
func stored(t *testing.T) *storage.State {
	t.Helper()
	s, apply := open(t)
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
		{&query.Create, &query.SetRequest{Query: query.Query{Name: "q", Token: "secret", Service: query.Service{Service: "web"}}}},       // id-2
		{&query.Create, &query.SetRequest{Query: query.Query{Session: "id-1", Token: "secret", Service: query.Service{Service: "web"}}}}, // id-3
	} {
		if _, err := apply(c.operation, c.request); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// everybody marks operations that tell what everybody may know, and those whose
// handler asks for rights: the server's tests are about these.
const everybody = "everybody"

// asked holds requests for every operation, by name: what stands in stored is
// asked for or changed by them.
func asked() map[string][]any {
	return map[string][]any{
		"state.collect":       {&CollectRequest{UpTo: 1}},
		"state.restore-begin": {&RestoreBeginRequest{ID: "i"}}, "state.restore-abort": {&RestoreBeginRequest{ID: "i"}},
		"state.restore-rows": {&RestoreRowsRequest{ID: "i"}}, "state.restore-finish": {&RestoreFinishRequest{ID: "i"}},
		"catalog.register": {registerWeb("n1", "w1", catalog.Warning), registerWeb("n9", "w9", catalog.Passing), &catalog.RegisterRequest{Node: "n1", Address: "10.0.0.7"},
			&catalog.RegisterRequest{Node: "n1", SkipNodeUpdate: true}, &catalog.RegisterRequest{Node: "n9", Address: "10.0.0.9", SkipNodeUpdate: true},
			&catalog.RegisterRequest{Node: "n1", SkipNodeUpdate: true, Checks: []catalog.Check{{CheckID: "c", ServiceID: "w1"}}}},
		"catalog.deregister": {&catalog.DeregisterRequest{Node: "n1"}, &catalog.DeregisterRequest{Node: "n1", ServiceID: "w1"}, &catalog.DeregisterRequest{Node: "n1", CheckID: "c-w1"},
			&catalog.DeregisterRequest{Node: "n1", ServiceID: "none"}, &catalog.DeregisterRequest{Node: "n1", CheckID: "none"}},
		"catalog.nodes":             {&op.Empty{}},
		"catalog.node":              {&catalog.NodeRequest{Node: "n1"}},
		"catalog.services":          {&catalog.ServicesRequest{}},
		"catalog.all-service-nodes": {&catalog.ServicesRequest{}},
		"catalog.service-nodes":     {&catalog.ServiceRequest{Service: "web"}},
		"catalog.node-services":     {&catalog.NodeRequest{Node: "n1"}},
		"catalog.names-by-address":  {&catalog.AddressRequest{Address: "10.0.0.1"}},
		"health.service":            {&catalog.ServiceRequest{Service: "web"}},
		"health.node":               {&catalog.NodeRequest{Node: "n1"}},
		"health.checks":             {&catalog.ServiceRequest{Service: "web"}},
		"health.state":              {&catalog.StateRequest{State: catalog.AnyState}},
		"ui.nodes":                  {&op.Empty{}},
		"ui.node":                   {&catalog.NodeRequest{Node: "n1"}},
		"ui.services":               {&op.Empty{}},
		"ui.catalog-overview":       {&op.Empty{}},
		"coordinate.nodes":          {&op.Empty{}},
		"coordinate.node":           {&coordinate.NodeRequest{Node: "n1"}},
		"coordinate.update":         {&coordinate.Entry{Node: "n1"}},
		"coordinate.batch":          {&coordinate.Entries{{Node: "n1"}}},
		"kv.apply":                  {&kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}}, &kv.ApplyRequest{Verb: kv.DeleteTree, Entry: kv.Entry{Key: "k"}}},
		"kv.get":                    {&kv.GetRequest{Key: "k"}},
		"kv.list":                   {&kv.ListRequest{Prefix: "k"}},
		"kv.keys":                   {&kv.KeysRequest{Prefix: "k"}},
		"kv.pass":                   {&kv.PassRequest{Clock: 1}},
		"session.create":            {&session.CreateRequest{Session: session.Session{Node: "n1"}}},
		"session.destroy":           {&session.DestroyRequest{ID: "id-1"}},
		"session.expire":            {&session.ExpireRequest{Sessions: []session.Expiry{{ID: "id-1"}}}},
		"session.get":               {&session.IDRequest{ID: "id-1"}},
		"session.list":              {&op.Empty{}},
		"session.node":              {&session.NodeRequest{Node: "n1"}},
		"session.renew":             {everybody},
		"txn.read": {&txn.Request{Ops: []txn.Op{{KV: &txn.KVOp{Verb: txn.Get, Key: "k"}}}},
			&txn.Request{Ops: []txn.Op{{Service: &txn.ServiceOp{Verb: txn.Get, Node: "n1", Service: catalog.Service{ID: "w1"}}}, {KV: &txn.KVOp{Verb: txn.GetTree}}}},
			&txn.Request{Ops: []txn.Op{{Check: &txn.CheckOp{Verb: txn.Get, Check: catalog.Check{Node: "n1", CheckID: "c-w1"}}}}},
			&txn.Request{Ops: []txn.Op{{KV: &txn.KVOp{Verb: txn.GetTree}}}},
			&txn.Request{Ops: []txn.Op{{Node: &txn.NodeOp{Verb: txn.Get, Node: catalog.Node{Node: "n1"}}}}}},
		"txn.apply": {&txn.Request{Ops: []txn.Op{{KV: &txn.KVOp{Verb: kv.Set, Key: "k"}}}},
			&txn.Request{Ops: []txn.Op{{Refused: "said by the caller", KV: &txn.KVOp{Verb: kv.Set, Key: "k"}}}},
			&txn.Request{}, &txn.Request{Ops: []txn.Op{{}}}, &txn.Request{Ops: []txn.Op{{KV: &txn.KVOp{Verb: "improve", Key: "k"}}}},
			&txn.Request{Ops: []txn.Op{{Node: &txn.NodeOp{Verb: "improve"}}}}, &txn.Request{Ops: []txn.Op{{Service: &txn.ServiceOp{Verb: "improve"}}}},
			&txn.Request{Ops: []txn.Op{{Check: &txn.CheckOp{Verb: "improve"}}}},
			&txn.Request{Ops: []txn.Op{{Service: &txn.ServiceOp{Verb: txn.Get, Node: "n1", Service: catalog.Service{ID: "none"}}}}},
			&txn.Request{Ops: []txn.Op{{Check: &txn.CheckOp{Verb: txn.Get, Check: catalog.Check{Node: "n1", CheckID: "none"}}}}},
			&txn.Request{Ops: []txn.Op{{Node: &txn.NodeOp{Verb: txn.Set, Node: catalog.Node{Node: "n1", Address: "10.0.0.1"}}}}},
			&txn.Request{Ops: []txn.Op{{Service: &txn.ServiceOp{Verb: txn.Set, Node: "n1", Service: catalog.Service{Service: "web"}}}}},
			&txn.Request{Ops: []txn.Op{{Service: &txn.ServiceOp{Verb: txn.Delete, Node: "n1", Service: catalog.Service{ID: "w1"}}}}},
			&txn.Request{Ops: []txn.Op{{Service: &txn.ServiceOp{Verb: txn.Get, Node: "n1", Service: catalog.Service{ID: "w1"}}}}},
			&txn.Request{Ops: []txn.Op{{Check: &txn.CheckOp{Verb: txn.Get, Check: catalog.Check{Node: "n1", CheckID: "c-w1"}}}}},
			&txn.Request{Ops: []txn.Op{{KV: &txn.KVOp{Verb: txn.GetTree}}}},
			&txn.Request{Ops: []txn.Op{{Check: &txn.CheckOp{Verb: txn.Set, Check: catalog.Check{Node: "n1", CheckID: "c-w1", Status: catalog.Critical}}}}}},
		"query.create":           {&query.SetRequest{Query: query.Query{Name: "r", Service: query.Service{Service: "web"}}}},
		"query.update":           {&query.SetRequest{Query: query.Query{ID: "id-2", Session: "id-1", Service: query.Service{Service: "web"}}}},
		"query.delete":           {&query.IDRequest{ID: "ID-2"}},
		"query.get":              {&query.IDRequest{ID: "id-2"}},
		"query.list":             {&op.Empty{}},
		"query.explain":          {&query.NameRequest{Name: "id-2"}, &query.NameRequest{Name: "q"}},
		"query.execute-remote":   {&query.SelectRequest{Service: "web"}},
		"query.execute":          {everybody},
		"coordinate.datacenters": {everybody},
		status.Leader.Name:       {everybody},
		status.Peers.Name:        {everybody},
		status.Datacenters.Name:  {everybody},
		status.Ping.Name:         {everybody},
		status.Raft.Name:         {&op.Empty{}},
		status.Federation.Name:   {&status.FederationRequest{}},
		status.Change.Name:       {&status.Membership{}},
		status.Quit.Name:         {&status.QuitRequest{}},
	}
}

// Every operation must refuse a caller who may do nothing, or show what an
// empty datacenter shows.
func TestDenyAllCallerSeesAndDoesNothing(t *testing.T) {
	full := stored(t)
	empty, _ := open(t)
	for _, o := range Operations() {
		requests := asked()[o.OpName()]
		if len(requests) == 0 {
			t.Errorf("%s is not in the table of this test", o.OpName())
		}
		for _, req := range requests {
			if req == everybody || refused(t, full, o, req, rulestest.DenyAll{}) {
				continue
			}
			q, ok := o.(op.Queryable)
			if !ok {
				t.Errorf("%s of %+v is carried out for a caller who may do nothing", o.OpName(), req)
				continue
			}
			if shown(t, full, q, req, rules.AllowAll()) == shown(t, empty, q, req, rules.AllowAll()) {
				t.Errorf("%s has nothing to hide here: the test shows nothing", o.OpName())
			}
			if shown(t, full, q, req, rulestest.DenyAll{}) != shown(t, empty, q, req, rulestest.DenyAll{}) {
				t.Errorf("%s shows something to a caller who may do nothing", o.OpName())
			}
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
