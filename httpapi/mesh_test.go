package httpapi

import (
	"strings"
	"testing"

	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
	"github.com/legate-project/legate/state/txn"
)

// The lists of a mesh's instances are asked for as such, with all that a client
// may say; the others are not.
func TestInstancesOfAMeshAreAskedFor(t *testing.T) {
	for target, want := range map[string]bool{"/v1/catalog/service/web": false, "/v1/catalog/connect/web": true,
		"/v1/health/service/web": false, "/v1/health/connect/web": true} {
		caller := &canned{answers: records()}
		w := start(t, func(cfg *Config) { cfg.Caller = caller })
		rec := w.do("GET", target+"?tag=a&node-meta=k:v", "")
		r, ok := caller.request.(*catalog.ServiceRequest)
		if rec.Code != 200 || !ok || r.Connect != want || r.Service != "web" || len(r.Tags) != 1 || len(r.NodeMeta) != 1 || !strings.Contains(rec.Body.String(), "web1") {
			t.Errorf("%s: %d, asked for %+v, answered %s", target, rec.Code, caller.request, rec.Body)
		}
	}
	w := start(t, func(cfg *Config) { cfg.Caller = &canned{answers: records()} })
	if rec := w.do("GET", "/v1/health/ingress/web", ""); rec.Code != 200 || rec.Body.String() != "[]" || rec.Header().Get("X-Consul-Index") != "7" {
		t.Errorf("gateways: %d %s %v", rec.Code, rec.Body, rec.Header())
	}
}

// What a mesh makes of a service is told to the web interface; what is not there
// is null.
func TestSummariesOfAMesh(t *testing.T) {
	answers := records()
	answers["ui.services"] = &catalog.ServiceList{{Name: "side", Kind: mesh.ConnectProxy, Transparent: true, Native: true, Proxied: true,
		Parts: []catalog.ServicePart{{Node: "n1", Tags: []string{}, Sources: []string{}, Instances: 1, Passing: 1}}}}
	w := start(t, func(cfg *Config) { cfg.Caller = &canned{answers: answers} })
	const want = `[{"Kind":"connect-proxy","Name":"side","Datacenter":"dc1","Tags":null,"Nodes":["n1"],"ExternalSources":null,"InstanceCount":1,` +
		`"ChecksPassing":1,"ChecksWarning":0,"ChecksCritical":0,"GatewayConfig":{},"TransparentProxy":true,"ConnectNative":true,"ConnectedWithProxy":true,` +
		`"ConnectedWithGateway":false}]`
	if got := w.do("GET", "/v1/internal/ui/services", "").Body.String(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// In transactions, tags and metadata of none are null.
func TestRecordsOfTransactions(t *testing.T) {
	none := map[string]string{}
	w := start(t, func(cfg *Config) {
		cfg.Caller = &canned{answers: map[string]any{"txn.read": &txn.Result{Results: []txn.Item{
			{Node: &catalog.Node{Node: "n1", Meta: none}}, {Service: &catalog.Service{ID: "w", Tags: []string{}, Meta: none}}, {Check: &catalog.Check{CheckID: "c", ServiceTags: []string{}}}}}}}
	})
	got := w.do("PUT", "/v1/txn", `[{"Node":{"Verb":"get","Node":{"Node":"n1"}}}]`).Body.String()
	for _, want := range []string{`"Node":"n1","Address":"","Datacenter":"","TaggedAddresses":null,"Meta":null`, `"Tags":null,"Address":"","Meta":null`, `"ServiceTags":null`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

// A service of this agent is shown with all that it was registered with, and can
// be chosen by it.
func TestServicesOfTheAgentAreWhole(t *testing.T) {
	w := start(t)
	for _, body := range []string{`{"Name":"web","Port":80}`, `{"Name":"native","Ports":[{"Name":"http","Port":80,"Default":true}],"Connect":{"Native":true},"Locality":{"Region":"r","Zone":"z"},` +
		`"AI":{"Role":"mcp-server","MCPServer":{"Path":"/x"}}}`, `{"Name":"side","Kind":"connect-proxy","Port":90,"Proxy":{"DestinationServiceName":"web","Config":{"a":1}}}`} {
		if rec := w.do("PUT", "/v1/agent/service/register", body); rec.Code != 200 {
			t.Fatalf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
	const rest = `,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false`
	for target, want := range map[string]string{
		`web`:    `{"ID":"web","Service":"web","Tags":[],"Meta":{},"Port":80,"Address":""` + rest,
		`native`: `"Port":80,"Ports":[{"Name":"http","Port":80,"Default":true}],"Address":""` + rest,
		`side`:   `"Proxy":{"DestinationServiceName":"web","Mode":"","Config":{"a":1},"MeshGateway":{},"Expose":{}},"Datacenter":"dc1"}`,
	} {
		if got := w.do("GET", "/v1/agent/service/"+target, "").Body.String(); !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %s", got, want)
		}
	}
	for expression, want := range map[string]string{`Connect.Native == true`: `{"native":`, `Proxy.DestinationServiceName == "web"`: `{"side":`, `Kind == ""  and Connect.Native == false`: `{"web":`} {
		rec := w.do("GET", "/v1/agent/services?filter="+strings.ReplaceAll(strings.ReplaceAll(expression, " ", "%20"), `"`, "%22"), "")
		if got := rec.Body.String(); !strings.HasPrefix(got, want) || strings.Count(got, `"ID"`) != 1 {
			t.Errorf("%s: %s", expression, got)
		}
	}
	if got := w.do("GET", "/v1/agent/services", "").Body.String(); !strings.Contains(got, `"Connect":{"Native":true},"AI":{"Role":"mcp-server","MCPServer":{"Path":"/x"}},"Datacenter":"dc1","Locality":{"Region":"r","Zone":"z"}}`) {
		t.Errorf("native: %s", got)
	}
}

// A check in the sum of a service shows what it could define; others do not.
func TestDefinitionsOfChecksInSums(t *testing.T) {
	w := start(t)
	if rec := w.do("PUT", "/v1/agent/service/register", `{"Name":"web","Check":{"CheckID":"c","TTL":"1h","Status":"passing"}}`); rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	const empty = `"Definition":{"HTTP":"","Header":null,"Method":"","Body":"","TLSServerName":"","TLSSkipVerify":false,"TCP":"","TCPUseTLS":false,"UDP":"",` +
		`"GRPC":"","OSService":"","GRPCUseTLS":false,"Interval":"0s","Timeout":"0s","DeregisterCriticalServiceAfter":"0s"}`
	for target, want := range map[string]string{"/v1/agent/health/service/id/web": empty, "/v1/agent/health/service/name/web": empty, "/v1/agent/checks": `"Definition":{}`} {
		rec := w.do("GET", target, "")
		if got := rec.Body.String(); rec.Code != 200 || !strings.Contains(got, want) || !strings.Contains(got, `"ServiceTags":[],"Type":"ttl","Interval":"0s","Timeout":"0s"`) {
			t.Errorf("%s: %d %s\nlacks %s", target, rec.Code, got, want)
		}
	}
}
