package state

import (
	"maps"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
)

func TestUsageCountsInstancesByKind(t *testing.T) {
	s, apply := open(t)
	for _, svc := range []catalog.Service{
		{ID: "w1", Service: "web", Tags: []string{"a", "b"}}, {ID: "w2", Service: "web"}, {ID: "consul", Service: "consul"},
		{ID: "n", Service: "native", Connect: mesh.Connect{Native: true}},
		{ID: "p", Service: "proxy", Kind: mesh.ConnectProxy, Proxy: mesh.Proxy{DestinationServiceName: "web"}},
		{ID: "g", Service: "gate", Kind: mesh.MeshGateway},
	} {
		if _, err := apply(&catalog.Register, &catalog.RegisterRequest{Node: "n1", Address: "10.0.0.1", Service: &svc}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := apply(&catalog.Register, &catalog.RegisterRequest{Node: "n2", Address: "10.0.0.2"}); err != nil {
		t.Fatal(err)
	}
	u, index := read(t, s, &catalog.CountUsage, &op.Empty{})
	if u.Nodes != 2 || u.Services != 5 || u.Instances != 6 || u.Billable != 3 || index != 7 {
		t.Errorf("%+v at index %d", u, index)
	}
	want := map[string]int{"connect-native": 1, mesh.ConnectProxy: 1, mesh.MeshGateway: 1, mesh.TerminatingGateway: 0, mesh.IngressGateway: 0, mesh.APIGateway: 0}
	if !maps.Equal(u.Connect, want) {
		t.Errorf("%v, want %v", u.Connect, want)
	}
}
