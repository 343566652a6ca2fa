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
