package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/storage"
)

func on(node string, s catalog.Service) *catalog.RegisterRequest {
	return &catalog.RegisterRequest{Node: node, Address: "10.0.0.1", Datacenter: "dc1", Service: &s}
}

func proxyOf(id, of string) catalog.Service {
	return catalog.Service{Kind: mesh.ConnectProxy, ID: id, Service: id, Proxy: mesh.Proxy{DestinationServiceName: of}}
}

// idsOf lists instances as node/ID.
func idsOf(t *testing.T, s *storage.State, r catalog.ServiceRequest) (string, uint64) {
	t.Helper()
	list, index := read(t, s, &catalog.ListInstances, &r)
	flat, flatIndex := read(t, s, &catalog.ListServiceNodes, &r)
	var out, same []string
	for i := range *list {
		out = append(out, (*list)[i].Node.Node+"/"+(*list)[i].Service.ID)
	}
	for i := range *flat {
		same = append(same, (*flat)[i].Node+"/"+(*flat)[i].ServiceID)
	}
	if !slices.Equal(out, same) || index != flatIndex {
		t.Errorf("%+v: instances %v at %d, flat %v at %d", r, out, index, same, flatIndex)
	}
	return strings.Join(out, " "), index
}

// A mesh reaches a service by those of its instances that are a part of it
// themselves and by proxies of the service, whatever they are called.
func TestInstancesOfAMesh(t *testing.T) {
	s, apply := open(t)
	mesh := func(name string) string {
		ids, _ := idsOf(t, s, catalog.ServiceRequest{Service: name, Connect: true})
		return ids
	}
	step(t, apply, &catalog.Register, on("n1", catalog.Service{ID: "w1", Service: "web"}))
	step(t, apply, &catalog.Register, on("n1", proxyOf("side", "Web")))
	native := catalog.Service{ID: "w2", Service: "web"}
	native.Connect.Native = true
	step(t, apply, &catalog.Register, on("n2", native))
	odd := proxyOf("odd", "")
	odd.Connect.Native = true // a proxy of nothing
	step(t, apply, &catalog.Register, on("n2", odd))
	if got := mesh("WEB"); got != "n1/side n2/w2" {
		t.Errorf("web: %q", got)
	}
	if got := mesh("side") + mesh("odd"); got != "" {
		t.Errorf("proxies of proxies: %q", got)
	}
	if ids, _ := idsOf(t, s, catalog.ServiceRequest{Service: "web"}); ids != "n1/w1 n2/w2" {
		t.Errorf("plain: %q", ids)
	}
	_, before := idsOf(t, s, catalog.ServiceRequest{Service: "web", Connect: true})
	step(t, apply, &catalog.Register, on("n1", catalog.Service{ID: "w1", Service: "web", Port: 81})) // concerns nobody in it
	if _, after := idsOf(t, s, catalog.ServiceRequest{Service: "web", Connect: true}); after != before {
		t.Errorf("the index moved from %d to %d", before, after)
	}
	step(t, apply, &catalog.Register, on("n1", proxyOf("side", "db")))
	if got := mesh("web") + " " + mesh("db"); got != "n2/w2 n1/side" {
		t.Errorf("after the proxy has another service: %q", got)
	}
	if _, after := idsOf(t, s, catalog.ServiceRequest{Service: "web", Connect: true}); after != s.Index() {
		t.Errorf("index %d, want %d", after, s.Index())
	}
	found, _ := read(t, s, &query.Select, (&query.Service{Service: "web", Connect: true}).Selection())
	if len(*found) != 1 || (*found)[0].Service.ID != "w2" {
		t.Errorf("a query finds %+v", *found)
	}
	step(t, apply, &catalog.Deregister, &catalog.DeregisterRequest{Node: "n1"})
	if got := mesh("db"); got != "" {
		t.Errorf("after the node went: %q", got)
	}
}

// Who may not read a proxy does not see it among the instances of its service.
func TestProxiesAreReadByTheirOwnName(t *testing.T) {
	s, apply := open(t)
	step(t, apply, &catalog.Register, on("n1", proxyOf("side", "web")))
	req := &catalog.ServiceRequest{Service: "web", Connect: true}
	may := reader(func(r rules.Resource, name string) bool { return r == rules.Node || name == "web" })
	list, _ := read(t, s, &catalog.ListInstances, req)
	flat, _ := read(t, s, &catalog.ListServiceNodes, req)
	if !catalog.ListInstances.Filter(may, list) || !catalog.ListServiceNodes.Filter(may, flat) || len(*list)+len(*flat) != 0 {
		t.Errorf("shown: %+v %+v", *list, *flat)
	}
}

// reader may read what the function says.
type reader func(r rules.Resource, name string) bool

func (f reader) Allow(r rules.Resource, a rules.Access, name string) bool {
	return a == rules.Read && f(r, name)
}

func (reader) Who() string { return "test" }

func TestPortsOfServices(t *testing.T) {
	s, apply := open(t)
	both := mesh.Ports{{Name: "http", Port: 80, Default: true}, {Name: "grpc", Port: 81}}
	step(t, apply, &catalog.Register, on("n1", catalog.Service{ID: "a", Service: "web", Ports: both}))
	step(t, apply, &catalog.Register, on("n1", catalog.Service{ID: "b", Service: "web", Port: 80, Ports: both[:1], Tags: []string{"grpc"}}))
	step(t, apply, &catalog.Register, on("n1", catalog.Service{ID: "c", Service: "web", Port: 90}))
	for want, r := range map[string]catalog.ServiceRequest{
		"n1/a n1/b n1/c": {},
		"n1/b":           {Tags: []string{"grpc"}},
		"n1/a n1/b":      {Tags: []string{"GRPC"}, OrPort: true},
		"n1/a":           {Port: "grpc"},
		"":               {Port: "none"},
	} {
		r.Service = "web"
		if got, _ := idsOf(t, s, r); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
	list, _ := read(t, s, &catalog.ListInstances, &catalog.ServiceRequest{Service: "web", Port: "http"})
	if len(*list) != 2 || (*list)[0].Service.Port != 80 || !slices.Equal((*list)[0].Service.Ports, both) {
		t.Errorf("%+v", *list)
	}
	for want, svc := range map[string]catalog.Service{
		"must be marked as Default":         {Ports: mesh.Ports{{Name: "a", Port: 1}}},
		"Port 2 is not the default":         {Port: 2, Ports: both},
		"a region or zone is longer":        {Locality: &mesh.Locality{Zone: strings.Repeat("z", 200)}},
		"Proxy.Config is no object":         {Proxy: mesh.Proxy{Config: mesh.FreeForm("x")}},
		"bytes, at most 131072 may be":      {Proxy: mesh.Proxy{Config: mesh.FreeForm(`{"a":"` + strings.Repeat("x", mesh.MaxSize) + `"}`)}},
		"Connect.SidecarService is no obje": {Connect: mesh.Connect{SidecarService: mesh.FreeForm(`[]`)}},
	} {
		svc.Service = "web"
		if _, err := apply(&catalog.Register, on("n1", svc)); op.CodeOf(err) != op.CodeInvalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	r := on("n1", catalog.Service{Service: "web"})
	r.Locality = &mesh.Locality{Region: strings.Repeat("z", 200)}
	if _, err := apply(&catalog.Register, r); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("a node's locality: %v", err)
	}
}

// What differs in a single field of what is said to a mesh is written, what
// differs in none is not.
func TestMeshFieldsCount(t *testing.T) {
	s, apply := open(t)
	base := on("n1", catalog.Service{Service: "web", Port: 80})
	step(t, apply, &catalog.Register, base)
	for name, change := range map[string]func(r *catalog.RegisterRequest){
		"proxy":    func(r *catalog.RegisterRequest) { r.Service.Proxy.Mode = "direct" },
		"connect":  func(r *catalog.RegisterRequest) { r.Service.Connect.Native = true },
		"locality": func(r *catalog.RegisterRequest) { r.Service.Locality = &mesh.Locality{Zone: "z"} },
		"ports":    func(r *catalog.RegisterRequest) { r.Service.Ports = mesh.Ports{{Name: "a", Port: 80, Default: true}} },
		"AI":       func(r *catalog.RegisterRequest) { r.Service.AI = &mesh.AI{Role: "mcp-server"} },
		"peer":     func(r *catalog.RegisterRequest) { r.Service.PeerName = "p" },
		"kind":     func(r *catalog.RegisterRequest) { r.Service.Kind = mesh.MeshGateway },
		"of node":  func(r *catalog.RegisterRequest) { r.Locality = &mesh.Locality{Region: "r"} },
	} {
		r := on("n1", *base.Service)
		change(r)
		step(t, apply, &catalog.Register, r)
		one, index := read(t, s, &catalog.DumpNode, &catalog.NodeRequest{Node: "n1"})
		if index != s.Index() {
			t.Errorf("%s: not written: %+v", name, one)
		}
		step(t, apply, &catalog.Register, r)
		if _, again := read(t, s, &catalog.DumpNode, &catalog.NodeRequest{Node: "n1"}); again != index {
			t.Errorf("%s: written again", name)
		}
		step(t, apply, &catalog.Register, base)
	}
}

func TestSummaryOfAMesh(t *testing.T) {
	s, apply := open(t)
	web := registerWeb("n1", "w1", catalog.Passing)
	web.Checks = append(web.Checks, catalog.Check{CheckID: "disk", Name: "disk", Status: catalog.Passing})
	step(t, apply, &catalog.Register, web)
	side := on("n1", proxyOf("a-side", "web")) // before the service in the order of IDs
	side.Service.Proxy.Mode = "transparent"
	side.Checks = []catalog.Check{{CheckID: "c-side", Name: "c", ServiceID: "a-side", Status: catalog.Critical}}
	step(t, apply, &catalog.Register, side)
	step(t, apply, &catalog.Register, on("n2", proxyOf("far", "nobody")))
	list, _ := read(t, s, &catalog.DumpServices, &op.Empty{})
	if len(*list) != 3 || (*list)[0].Name != "a-side" || (*list)[1].Name != "far" || (*list)[2].Name != "web" {
		t.Fatalf("%+v", *list)
	}
	got := (*list)[2]
	if !got.Proxied || !got.Transparent || got.Native || got.Kind != "" || len(got.Parts) != 1 {
		t.Fatalf("%+v", got)
	}
	if p := got.Parts[0]; p.Instances != 1 || p.Passing != 2 || p.Critical != 1 { // the proxy's check counts, the node's once
		t.Errorf("%+v", p)
	}
	plain := on("n2", proxyOf("b-side", "web"))
	step(t, apply, &catalog.Register, plain)
	native := on("n2", catalog.Service{ID: "w2", Service: "web", Connect: mesh.Connect{Native: true}})
	step(t, apply, &catalog.Register, native)
	list, _ = read(t, s, &catalog.DumpServices, &op.Empty{})
	if got := (*list)[len(*list)-1]; got.Transparent || !got.Native || len(got.Parts) != 2 || got.Parts[1].Instances != 1 {
		t.Errorf("%+v", got)
	}
}
