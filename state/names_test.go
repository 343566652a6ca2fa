package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tinylib/msgp/msgp"
	"pgregory.net/rapid"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/storage"
)

// Whatever is registered and taken away, the list of names is that of the
// services that are there, and its index moves only when the list does.
func TestNamesAreThoseOfTheServices(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, apply := open(t)
		model := map[string]*catalog.Service{} // by node and ID
		var before catalog.ServiceTags
		var index uint64
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			node := rapid.SampledFrom([]string{"n1", "n2"}).Draw(rt, "node")
			id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "id")
			key := node + " " + id
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				step(t, apply, &catalog.Deregister, &catalog.DeregisterRequest{Node: node})
				maps.DeleteFunc(model, func(k string, _ *catalog.Service) bool { return k[:2] == node })
			case 1:
				step(t, apply, &catalog.Deregister, &catalog.DeregisterRequest{Node: node, ServiceID: id})
				delete(model, key)
			default:
				svc := &catalog.Service{ID: id, Service: rapid.SampledFrom([]string{"web", "Web", "db"}).Draw(rt, "name"),
					Tags: rapid.SliceOfN(rapid.SampledFrom([]string{"", "x", "y", "z"}), 0, 3).Draw(rt, "tags"),
					Port: rapid.IntRange(1, 2).Draw(rt, "port")}
				step(t, apply, &catalog.Register, &catalog.RegisterRequest{Node: node, Address: "10.0.0.1", Service: svc})
				model[key] = svc
			}
			want := catalog.ServiceTags{}
			for _, svc := range model {
				want[svc.Service] = append(want[svc.Service], svc.Tags...)
			}
			for name, tags := range want {
				slices.Sort(tags)
				want[name] = slices.Compact(tags)
			}
			got, now := read(t, s, &catalog.ListServices, &catalog.ServicesRequest{})
			if !maps.EqualFunc(*got, want, slices.Equal) {
				rt.Fatalf("names %v, want %v", *got, want)
			}
			if before != nil && (now != index) == maps.EqualFunc(before, want, slices.Equal) {
				rt.Fatalf("index went from %d to %d while %v became %v", index, now, before, want)
			}
			before, index = want, now
		}
	})
}

func step(t *testing.T, apply func(op.Operation, msgp.Marshaler) (any, error), o op.Operation, r msgp.Marshaler) {
	t.Helper()
	if _, err := apply(o, r); err != nil {
		t.Fatal(err)
	}
}

func TestNodeMetaSelects(t *testing.T) {
	s, apply := open(t)
	for i, meta := range []map[string]string{{"rack": "r1", "kind": "a:b"}, {"rack": "r1"}, nil} {
		r := registerWeb(fmt.Sprintf("n%d", i+1), "w", catalog.Passing)
		r.NodeMeta, r.Service.Tags = meta, []string{fmt.Sprintf("t%d", i+1)}
		step(t, apply, &catalog.Register, r)
	}
	for _, c := range []struct {
		meta []string
		want int
		tags []string
	}{
		{nil, 3, []string{"t1", "t2", "t3"}},
		{[]string{"rack:r1"}, 2, []string{"t1", "t2"}},
		{[]string{"kind:a:b", "rack:r1"}, 1, []string{"t1"}},
		{[]string{"rack:r1", "rack2:"}, 0, nil},
		{[]string{"rack:r2"}, 0, nil},
	} {
		names, _ := read(t, s, &catalog.ListServices, &catalog.ServicesRequest{NodeMeta: c.meta})
		if !slices.Equal((*names)["web"], c.tags) {
			t.Errorf("%v: names %v", c.meta, *names)
		}
		req := &catalog.ServiceRequest{Service: "web", NodeMeta: c.meta}
		flat, _ := read(t, s, &catalog.ListServiceNodes, req)
		every, _ := read(t, s, &catalog.ListAllServiceNodes, &catalog.ServicesRequest{NodeMeta: c.meta})
		if len(*every) != c.want {
			t.Errorf("%v: %d of all instances, want %d", c.meta, len(*every), c.want)
		}
		instances, _ := read(t, s, &catalog.ListInstances, req)
		checks, _ := read(t, s, &catalog.ListServiceChecks, req)
		states, _ := read(t, s, &catalog.ListStateChecks, &catalog.StateRequest{State: catalog.Passing, NodeMeta: c.meta})
		if len(*flat) != c.want || len(*instances) != c.want || len(*checks) != c.want || len(*states) != c.want {
			t.Errorf("%v: %d %d %d %d, want %d of each", c.meta, len(*flat), len(*instances), len(*checks), len(*states), c.want)
		}
	}
}

// A service that changes its name or tags takes its checks along.
func TestChecksFollowTheirService(t *testing.T) {
	s, apply := open(t)
	r := registerWeb("n1", "w1", catalog.Passing)
	step(t, apply, &catalog.Register, r)
	r = &catalog.RegisterRequest{Node: "n1", SkipNodeUpdate: true, Service: &catalog.Service{ID: "w1", Service: "site", Tags: []string{"green"}}}
	step(t, apply, &catalog.Register, r)
	if old, _ := read(t, s, &catalog.ListServiceChecks, &catalog.ServiceRequest{Service: "web"}); len(*old) != 0 {
		t.Errorf("checks %v under the old name", *old)
	}
	now, _ := read(t, s, &catalog.ListServiceChecks, &catalog.ServiceRequest{Service: "site"})
	if len(*now) != 1 || !slices.Equal((*now)[0].ServiceTags, []string{"green"}) || (*now)[0].CreateIndex != 1 || (*now)[0].ModifyIndex != 2 {
		t.Errorf("checks %+v under the new name", *now)
	}
}

// What is under the old name of a renamed node goes in one command, its
// coordinate included; a refused rename changes nothing.
func TestRenameIsOneCommand(t *testing.T) {
	s, apply := open(t)
	old := registerWeb("old", "w1", catalog.Passing)
	old.ID = "ab000000-0000-4000-8000-000000000001"
	health := func(status string) {
		step(t, apply, &catalog.Register, &catalog.RegisterRequest{Node: "old", SkipNodeUpdate: true, Check: &catalog.Check{CheckID: catalog.SerfHealth, Status: status}})
	}
	step(t, apply, &catalog.Register, old)
	step(t, apply, &coordinate.Batch, &coordinate.Entries{{Node: "old", Coord: coordinate.Coord{Vec: []float64{1}}}})
	health(catalog.Passing)
	rename := &catalog.RegisterRequest{Node: "new", ID: "AB000000-0000-4000-8000-000000000001", Address: "10.0.0.2", Service: &catalog.Service{Service: "db"}}
	if _, err := apply(&catalog.Register, rename); op.CodeOf(err) != op.CodeConflict {
		t.Errorf("%v, want a conflict", err)
	}
	if all, _ := read(t, s, &catalog.DumpNodes, &op.Empty{}); len(*all) != 1 || len((*all)[0].Services) != 1 || len((*all)[0].Checks) != 2 {
		t.Errorf("after a refused rename: %+v", *all)
	}
	health(catalog.Critical)
	step(t, apply, &catalog.Register, rename)
	all, index := read(t, s, &catalog.DumpNodes, &op.Empty{})
	if len(*all) != 1 || (*all)[0].Node != "new" || len((*all)[0].Services) != 1 || len((*all)[0].Checks) != 0 || index != s.Index() {
		t.Errorf("after the rename: %+v", *all)
	}
	if where, _ := read(t, s, &coordinate.Nodes, &op.Empty{}); len(*where) != 0 {
		t.Errorf("coordinates %v", *where)
	}
}

func TestOverviewCounts(t *testing.T) {
	s, apply := open(t)
	for node, status := range map[string]string{"n1": catalog.Passing, "n2": catalog.Warning, "n3": catalog.Critical} {
		r := registerWeb(node, "w-"+node, status)
		r.Service.Meta = map[string]string{"external-source": "k8s"}
		r.Checks = append(r.Checks, catalog.Check{CheckID: "disk", Name: "disk", Status: catalog.Passing})
		step(t, apply, &catalog.Register, r)
	}
	step(t, apply, &catalog.Register, registerWeb("n1", "second", catalog.Passing))
	sum, _ := read(t, s, &catalog.Summarize, &op.Empty{})
	want := catalog.Summary{Nodes: []catalog.HealthSummary{{Total: 3, Passing: 3}},
		Services: []catalog.HealthSummary{{Name: "web", Total: 4, Passing: 2, Warning: 1, Critical: 1}},
		Checks:   []catalog.HealthSummary{{Name: "c", Total: 4, Passing: 2, Warning: 1, Critical: 1}, {Name: "disk", Total: 3, Passing: 3}}}
	if !slices.Equal(sum.Nodes, want.Nodes) || !slices.Equal(sum.Services, want.Services) || !slices.Equal(sum.Checks, want.Checks) {
		t.Errorf("%+v, want %+v", *sum, want)
	}
	list, _ := read(t, s, &catalog.DumpServices, &op.Empty{})
	if len(*list) != 1 || len((*list)[0].Parts) != 3 {
		t.Fatalf("%+v", *list)
	}
	p := (*list)[0].Parts[0] // the node's own check counts once
	if p.Node != "n1" || p.Instances != 2 || p.Passing != 3 || !slices.Equal(p.Sources, []string{"k8s"}) || !slices.Equal(p.Tags, []string{"blue", "second", "w-n1"}) {
		t.Errorf("%+v", p)
	}
}

// TestRefusedRegistrations: one row is a registration with the text by which it
// is refused. Nothing of it is written.
func TestRefusedRegistrations(t *testing.T) {
	many := map[string]string{}
	for i := range 65 {
		many[fmt.Sprint(i)] = ""
	}
	for want, r := range map[string]*catalog.RegisterRequest{
		"Must provide node":                                            {Address: "10.0.0.1"},
		`Invalid node ID "web-1": it is not a UUID`:                    {Node: "n", ID: "web-1", Address: "10.0.0.1"},
		`Invalid node ID "{ab000000-0000-4000-8000-000000000001}"`:     {Node: "n", ID: "{ab000000-0000-4000-8000-000000000001}", Address: "10.0.0.1"},
		"Must provide address if SkipNodeUpdate is not set":            {Node: "n"},
		"Must provide service name (Service.Service)":                  {Node: "n", Address: "10.0.0.1", Service: &catalog.Service{ID: "x"}},
		"Invalid service address":                                      {Node: "n", Address: "10.0.0.1", Service: &catalog.Service{Service: "x", Address: "0.0.0.0"}},
		"Missing check name":                                           {Node: "n", Address: "10.0.0.1", Check: &catalog.Check{Status: catalog.Passing}},
		"Bad check status":                                             {Node: "n", Address: "10.0.0.1", Checks: []catalog.Check{{CheckID: "ok"}, {CheckID: "c", Status: "fine"}}},
		"Check \"c\" is of node \"m\", not of \"n\"":                   {Node: "n", Address: "10.0.0.1", Check: &catalog.Check{CheckID: "c", Node: "m"}},
		"Missing service registration":                                 {Node: "n", Address: "10.0.0.1", Service: &catalog.Service{Service: "x"}, Check: &catalog.Check{CheckID: "c", ServiceID: "y"}},
		"Node metadata cannot contain more than 64 key/value pairs":    {Node: "n", Address: "10.0.0.1", NodeMeta: many},
		"Service metadata cannot contain more than 64 key/value pairs": {Node: "n", Address: "10.0.0.1", Service: &catalog.Service{Service: "x", Meta: many}},
	} {
		s, apply := open(t)
		_, err := apply(&catalog.Register, r)
		if op.CodeOf(err) != op.CodeInvalid || !strings.HasPrefix(fmt.Sprint(err), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if all, _ := read(t, s, &catalog.DumpNodes, &op.Empty{}); len(*all) != 0 {
			t.Errorf("%s: %+v was written", want, *all)
		}
		if names, _ := read(t, s, &catalog.ListServices, &catalog.ServicesRequest{}); len(*names) != 0 {
			t.Errorf("%s: names %v were written", want, *names)
		}
	}
	_, apply := open(t)
	if _, err := apply(&catalog.Deregister, &catalog.DeregisterRequest{ServiceID: "x"}); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("deregistration without a node: %v", err)
	}
}

// A registration costs what it says itself, not what others of its name said.
func TestTagsOfOthersCostNothing(t *testing.T) {
	const instances, part = 6000, 1000
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m := New()
	var bytes [instances / part]int
	for i := range instances {
		r := &catalog.RegisterRequest{Node: "n1", Address: "10.0.0.1", Service: &catalog.Service{
			ID: fmt.Sprintf("w%04d", i), Service: "web", Tags: []string{fmt.Sprintf("tag-%04d", i)}}}
		if err := catalog.Register.Ready(op.Leader{}, r); err != nil {
			t.Fatal(err)
		}
		body, err := r.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Encode(&catalog.Register, body)
		if err != nil {
			t.Fatal(err)
		}
		tx := s.Begin()
		tx.Next()
		if _, err := m.Apply(tx, b); err != nil {
			t.Fatal(err)
		}
		bytes[i/part] += tx.Size()
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if first, last := bytes[0], bytes[len(bytes)-1]; first == 0 || last > 2*first {
		t.Errorf("bytes written by each %d instances: %v", part, bytes)
	}
	if names, _ := read(t, s, &catalog.ListServices, &catalog.ServicesRequest{}); len((*names)["web"]) != instances {
		t.Errorf("%d tags are listed", len((*names)["web"]))
	}
}
