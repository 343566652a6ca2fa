package dns

import (
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
)

// Ports are named like tags; where an instance has both a port and a tag of the
// name, it is answered once, with the port.
func TestPortsByName(t *testing.T) {
	f := newFake()
	for i, s := range []catalog.Service{
		{Service: "api", Port: 8080, Ports: mesh.Ports{{Name: "http", Port: 8080, Default: true}, {Name: "gRPC", Port: 9090}}},
		{Service: "api", Port: 8081, Tags: []string{"grpc"}},
		{Service: "api", Port: 8082, Tags: []string{"grpc", "blue"}, Ports: mesh.Ports{{Name: "http", Port: 8082, Default: true}, {Name: "grpc", Port: 9092}}},
	} {
		f.services["api"] = append(f.services["api"], instance(node(string(rune('a'+i)), "10.3.0."+string(rune('1'+i))), s, "passing"))
	}
	s, _ := start(t, f)
	for _, c := range []struct {
		qname string
		want  string // ports by node; none is NXDOMAIN
	}{
		{"api.service.consul.", "a:8080 b:8081 c:8082"},
		{"grpc.api.service.consul.", "a:9090 b:8081 c:9092"},
		{"GRPC.api.service.dc1.dc.consul.", "a:9090 b:8081 c:9092"},
		{"_api._grpc.service.consul.", "a:9090 b:8081 c:9092"},
		{"_api._tcp.service.consul.", "a:8080 b:8081 c:8082"},
		{"http.api.service.consul.", "a:8080 c:8082"},
		{"blue.api.service.consul.", "c:8082"},
		{"grpc.port.api.service.consul.", "a:9090 c:9092"},
		{"grpc.port.api.service.dc1.consul.", "a:9090 c:9092"},
		{"api.service.grpc.port.consul.", "a:9090 c:9092"},
		{"api.service.grpc.port.dc1.dc.consul.", "a:9090 c:9092"},
		{"blue.api.service.grpc.port.consul.", "c:9092"},
		{"_api._blue.service.grpc.port.consul.", "c:9092"},
		{"none.api.service.consul.", ""},
		{"none.port.api.service.consul.", ""},
		{"api.service.none.port.consul.", ""},
		{"api.service.port.consul.", ""},
	} {
		m := ask(t, s, c.qname, mdns.TypeSRV, edns(4096))
		var got []string
		for _, rr := range m.Answer {
			srv := rr.(*mdns.SRV)
			node, _, _ := strings.Cut(srv.Target, ".")
			got = append(got, node+":"+strings.Fields(srv.String())[6])
		}
		slices.Sort(got)
		if joined := strings.Join(got, " "); joined != c.want || (c.want == "") != (m.Rcode == mdns.RcodeNameError) {
			t.Errorf("%s: %s %s, want %s", c.qname, mdns.RcodeToString[m.Rcode], joined, c.want)
		}
	}
	if m := ask(t, s, "grpc.api.service.consul.", mdns.TypeA); len(m.Answer) != 3 {
		t.Errorf("addresses: %s", show(m))
	}
	if m := ask(t, s, "grpc.port.api.service.consul.", mdns.TypeA); len(m.Answer) != 2 {
		t.Errorf("addresses of those that have the port: %s", show(m))
	}
}
