package config

import (
	"reflect"
	"testing"

	"github.com/legate-project/legate/state/catalog/mesh"
)

// What a service says to a mesh is the same from a file in either spelling as
// from a request.
func TestMeshOfAService(t *testing.T) {
	want := &ServiceDefinition{Name: "web-proxy", Kind: "connect-proxy", Ports: mesh.Ports{{Name: "http", Port: 80, Default: true}, {Name: "grpc", Port: 81}},
		Locality: &mesh.Locality{Region: "r", Zone: "z"}, Connect: mesh.Connect{Native: true, SidecarService: mesh.FreeForm(`{"Port":1}`)},
		Proxy: mesh.Proxy{DestinationServiceName: "web", Config: mesh.FreeForm(`{"inner":{"big":9007199254740993},"x":[1.0,{"y":"z"}]}`),
			Upstreams: []mesh.Upstream{{DestinationName: "db", LocalBindPort: 9191, MeshGateway: mesh.Gateway{Mode: "local"}}}},
		AI: &mesh.AI{Role: "ai-agent", Agent: &mesh.AIAgent{Inference: &mesh.AIInference{Specialization: []string{"s"}}}}}
	asked, err := ServiceFromJSON([]byte(`{"Name":"web-proxy","Kind":"connect-proxy","Ports":[{"Name":"http","Port":80,"Default":true},{"Name":"grpc","Port":81}],
		"Locality":{"Region":"r","Zone":"z"},"Connect":{"Native":true,"SidecarService":{"Port":1}},
		"Proxy":{"DestinationServiceName":"web","Config":{"x":[1.0,{"y":"z"}],"inner":{"big":9007199254740993}},
		"Upstreams":[{"DestinationName":"db","LocalBindPort":9191,"MeshGateway":{"Mode":"local"}}]},
		"AI":{"Role":"ai-agent","Agent":{"Inference":{"Specialization":["s"]}}}}`))
	if err != nil || !reflect.DeepEqual(asked, want) {
		t.Errorf("asked %+v, %v", asked, err)
	}
	text := `service {
		name = "web-proxy"
		kind = "connect-proxy"
		ports = [{ name = "http", port = 80, default = true }, { name = "grpc", port = 81 }]
		locality { region = "r", zone = "z" }
		connect { native = true, sidecar_service = { Port = 1 } }
		ai { role = "ai-agent", agent { inference { specialization = ["s"] } } }
		proxy {
			destination_service_name = "web"
			config { x = [1.0, { y = "z" }], inner { big = 9007199254740993 } }
			upstreams { destination_name = "db", local_bind_port = 9191, mesh_gateway { mode = "local" } }
		}
	}`
	cfg := mustLoad(t, text+"\ndata_dir = \"/x\"\n")
	if len(cfg.Services) != 1 || !reflect.DeepEqual(&cfg.Services[0], want) {
		t.Errorf("from a file %+v", cfg.Services)
	}
}
