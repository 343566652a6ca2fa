package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
)

// read runs a read operation and returns its result and index.
func read[Req, Res any](t *testing.T, s *storage.State, o *op.Read[Req, Res], req *Req) (*Res, uint64) {
	t.Helper()
	v := s.View()
	defer v.Close()
	res, err := o.Query(v, req)
	if err != nil {
		t.Fatalf("%s: %v", o.Name, err)
	}
	return res, v.Index()
}

func TestKVCompareAndSet(t *testing.T) {
	s, apply := open(t)
	steps := []struct {
		verb  string
		index uint64
		ok    bool
		value string // afterwards; "" for absent
	}{
		{kv.CAS, 5, false, ""},   // absent, but an index is expected
		{kv.CAS, 0, true, "v2"},  // create only
		{kv.CAS, 0, false, "v2"}, // exists already
		{kv.CAS, 2, true, "v4"},  // index matches
		{kv.CAS, 2, false, "v4"}, // index is old
		{kv.Set, 0, true, "v6"},  // unconditional
		{kv.DeleteCAS, 4, false, "v6"},
		{kv.DeleteCAS, 6, true, ""},
		{kv.DeleteCAS, 6, true, ""}, // absent already
		{kv.Set, 0, true, "v10"},
		{kv.Delete, 0, true, ""},
	}
	for i, st := range steps {
		res, err := apply(&kv.Apply, &kv.ApplyRequest{Verb: st.verb, Entry: kv.Entry{Key: "k", Value: []byte(fmt.Sprintf("v%d", i+1)), ModifyIndex: st.index}})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.(*kv.ApplyResult).OK; got != st.ok {
			t.Errorf("step %d %s index %d: %v, want %v", i+1, st.verb, st.index, got, st.ok)
		}
		e, _ := read(t, s, &kv.Get, &kv.GetRequest{Key: "k"})
		switch {
		case e == nil && st.value != "", e != nil && string(e.Value) != st.value:
			t.Errorf("step %d: entry %+v, want value %q", i+1, e, st.value)
		}
	}
}

func TestKVPrefixIndexIsExactAndNeverGoesBack(t *testing.T) {
	s, apply := open(t)
	set := func(k string) {
		if _, err := apply(&kv.Apply, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: k, Value: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	set("a/1") // 1
	set("a/2") // 2
	set("b/1") // 3
	if _, i := read(t, s, &kv.List, &kv.ListRequest{Prefix: "a/"}); i != 2 {
		t.Errorf("index %d of a/, want 2: a write elsewhere shows", i)
	}
	if _, err := apply(&kv.Apply, &kv.ApplyRequest{Verb: kv.Delete, Entry: kv.Entry{Key: "a/2"}}); err != nil { // 4
		t.Fatal(err)
	}
	list, i := read(t, s, &kv.List, &kv.ListRequest{Prefix: "a/"})
	if i != 4 || len(*list) != 1 {
		t.Errorf("after a deletion: index %d, %d entries, want 4 and 1", i, len(*list))
	}
	if _, err := apply(&kv.Apply, &kv.ApplyRequest{Verb: kv.DeleteTree, Entry: kv.Entry{Key: "a/"}}); err != nil { // 5
		t.Fatal(err)
	}
	if list, i := read(t, s, &kv.List, &kv.ListRequest{Prefix: "a/"}); i != 5 || len(*list) != 0 {
		t.Errorf("after delete-tree: index %d, %d entries, want 5 and 0", i, len(*list))
	}
	if _, i := read(t, s, &kv.List, &kv.ListRequest{Prefix: "b/"}); i != 3 {
		t.Errorf("index %d of b/, want 3", i)
	}
}

func TestKVKeysFold(t *testing.T) {
	s, apply := open(t)
	for _, k := range []string{"a/b/c", "a/b/d", "a/e", "f", "a/b"} {
		if _, err := apply(&kv.Apply, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: k}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ prefix, separator, want string }{
		{"", "", "a/b a/b/c a/b/d a/e f"},
		{"", "/", "a/ f"},
		{"a/", "/", "a/b a/b/ a/e"},
		{"a/b/", "/", "a/b/c a/b/d"},
		{"nothing", "/", ""},
	} {
		keys, _ := read(t, s, &kv.ListKeys, &kv.KeysRequest{Prefix: c.prefix, Separator: c.separator})
		if got := strings.Join(*keys, " "); got != c.want {
			t.Errorf("prefix %q separator %q: %q, want %q", c.prefix, c.separator, got, c.want)
		}
	}
}

func registerWeb(node, id, status string) *catalog.RegisterRequest {
	return &catalog.RegisterRequest{Node: node, Address: "10.0.0.1", Datacenter: "dc1",
		Service: &catalog.Service{ID: id, Service: "web", Tags: []string{"blue", id}, Port: 80},
		Checks:  []catalog.Check{{CheckID: "c-" + id, Name: "c", Status: status, ServiceID: id}}}
}

func TestCatalogLife(t *testing.T) {
	s, apply := open(t)
	must := func(o op.Operation, r msgp.Marshaler) {
		t.Helper()
		if _, err := apply(o, r); err != nil {
			t.Fatal(err)
		}
	}
	must(&catalog.Register, registerWeb("n1", "w1", catalog.Passing))  // 1
	must(&catalog.Register, registerWeb("n2", "w2", catalog.Critical)) // 2
	must(&catalog.Register, registerWeb("n1", "w3", catalog.Warning))  // 3
	ids := func(r *catalog.ServiceRequest) (string, uint64) {
		list, index := read(t, s, &catalog.ListInstances, r)
		var out []string
		for _, i := range *list {
			out = append(out, i.Service.ID)
		}
		slices.Sort(out)
		return strings.Join(out, " "), index
	}
	for _, c := range []struct {
		req  catalog.ServiceRequest
		want string
	}{
		{catalog.ServiceRequest{Service: "web"}, "w1 w2 w3"},
		{catalog.ServiceRequest{Service: "WEB"}, "w1 w2 w3"},
		{catalog.ServiceRequest{Service: "web", HealthyOnly: true}, "w1 w3"},
		{catalog.ServiceRequest{Service: "web", PassingOnly: true}, "w1"},
		{catalog.ServiceRequest{Service: "web", Tags: []string{"blue", "w3"}}, "w3"},
		{catalog.ServiceRequest{Service: "we"}, ""},
	} {
		if got, _ := ids(&c.req); got != c.want {
			t.Errorf("%+v: %q, want %q", c.req, got, c.want)
		}
	}
	if _, i := ids(&catalog.ServiceRequest{Service: "web"}); i != 3 {
		t.Errorf("index %d, want 3", i)
	}
	must(&catalog.Register, registerWeb("n1", "w1", catalog.Passing)) // 4: changes nothing
	must(&kv.Apply, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}})
	if _, i := ids(&catalog.ServiceRequest{Service: "web"}); i != 3 {
		t.Errorf("index %d after a registration that changes nothing, want 3", i)
	}
	must(&coordinate.Batch, &coordinate.Entries{{Node: "n1", Coord: coordinate.Coord{Vec: []float64{1}}}, {Node: "ghost"}}) // 6
	must(&catalog.Deregister, &catalog.DeregisterRequest{Node: "N1"})                                                       // 7
	if got, i := ids(&catalog.ServiceRequest{Service: "web"}); got != "w2" || i != 7 {
		t.Errorf("after the node went: %q index %d, want w2 and 7", got, i)
	}
	if es, _ := read(t, s, &coordinate.Nodes, &op.Empty{}); len(*es) != 0 {
		t.Errorf("coordinates %v stay behind", *es)
	}
	if cs, _ := read(t, s, &catalog.ListStateChecks, &catalog.StateRequest{State: catalog.AnyState}); len(*cs) != 1 {
		t.Errorf("checks %v, want only that of w2", *cs)
	}
	must(&catalog.Deregister, &catalog.DeregisterRequest{Node: "n2", ServiceID: "w2"})
	if cs, _ := read(t, s, &catalog.ListNodeChecks, &catalog.NodeRequest{Node: "n2"}); len(*cs) != 0 {
		t.Errorf("checks %v of a service that went", *cs)
	}
}

func TestRefusedCommandLeavesNothing(t *testing.T) {
	s, apply := open(t)
	r := registerWeb("n1", "w1", catalog.Passing)
	r.Checks = append(r.Checks, catalog.Check{CheckID: "x", Status: catalog.Passing, ServiceID: "nobody"})
	if _, err := apply(&catalog.Register, r); op.CodeOf(err) != op.CodeInvalid {
		t.Fatalf("error %v, want a refusal", err)
	}
	if ns, _ := read(t, s, &catalog.ListNodes, &op.Empty{}); len(*ns) != 0 {
		t.Errorf("nodes %v were written by a refused command", *ns)
	}
	ok := registerWeb("n1", "w1", catalog.Passing)
	ok.ID = "ab000000-0000-4000-8000-000000000001"
	ok.Checks = append(ok.Checks, catalog.Check{CheckID: catalog.SerfHealth, Status: catalog.Passing})
	if _, err := apply(&catalog.Register, ok); err != nil {
		t.Fatal(err)
	}
	other := registerWeb("n2", "w1", catalog.Passing)
	other.ID = "AB000000-0000-4000-8000-000000000001"
	if _, err := apply(&catalog.Register, other); op.CodeOf(err) != op.CodeConflict {
		t.Errorf("error %v for a node ID that another node has", err)
	}
}

// A node that is new has nothing on it; what one registration brings twice counts
// as its last, and nothing of the first is left in an index. A node that was
// deleted is new.
func TestRegisteringTwiceInOneRequest(t *testing.T) {
	s, apply := open(t)
	register := func(r *catalog.RegisterRequest) {
		t.Helper()
		if _, err := apply(&catalog.Register, r); err != nil {
			t.Fatal(err)
		}
	}
	in := func(state string) (ids []string) {
		t.Helper()
		list, _ := read(t, s, &catalog.ListStateChecks, &catalog.StateRequest{State: state})
		for _, c := range *list {
			ids = append(ids, c.CheckID+" of "+c.ServiceName)
		}
		return ids
	}
	web := &catalog.Service{ID: "web-1", Service: "web"}
	twice := []catalog.Check{{CheckID: "a", Status: catalog.Critical, ServiceID: "web-1"}, {CheckID: "b", Status: catalog.Passing},
		{CheckID: "a", Status: catalog.Passing, ServiceID: "web-1"}}
	for round := range 2 {
		register(&catalog.RegisterRequest{Node: "N", Address: "a", Service: web, Checks: twice})
		if got, want := in(catalog.Passing), []string{"a of web", "b of "}; !slices.Equal(got, want) {
			t.Errorf("round %d: passing are %q, want %q", round, got, want)
		}
		if got := in(catalog.Critical); len(got) > 0 {
			t.Errorf("round %d: critical are %q, want none", round, got)
		}
		register(&catalog.RegisterRequest{Node: "n", SkipNodeUpdate: true, Checks: []catalog.Check{{CheckID: "b", Status: catalog.Warning, ServiceID: "web-1"}}})
		if got, want := in(catalog.Warning), []string{"b of web"}; !slices.Equal(got, want) {
			t.Errorf("round %d: warning are %q, want %q", round, got, want)
		}
		if _, err := apply(&catalog.Deregister, &catalog.DeregisterRequest{Node: "n"}); err != nil {
			t.Fatal(err)
		}
		if got := in(catalog.AnyState); len(got) > 0 {
			t.Errorf("round %d: the node is gone and %q are left", round, got)
		}
	}
}
