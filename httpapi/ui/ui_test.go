package ui

import (
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
)

// serve answers as an agent whose datacenter is the Caller.
func serve(t testing.TB, c op.Caller) *resttest.Server {
	return resttest.Serve(t, (&API{Caller: c}).Routes())
}

// Clients are written against these answers, to the byte.
func TestAnswersAreToTheByteWhatClientsRead(t *testing.T) {
	serve(t, &resttest.Caller{Answers: resttest.Records()}).CheckShapes(t, []resttest.Shape{
		{"/v1/internal/ui/nodes", `[{"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"","TaggedAddresses":null,"Meta":null,"Services":[` + resttest.WebJSON + `],"Checks":[` + resttest.CheckJSON + `]},` +
			`{"ID":"","Node":"n2","Address":"","Datacenter":"","TaggedAddresses":null,"Meta":null,"Services":[],"Checks":[]}]`, nil, false},
		{"/v1/internal/ui/node/nobody", ``, nil, false},
		{"/v1/internal/ui/services", `[{"Name":"web","Datacenter":"dc1","Tags":["a","b","c"],"Nodes":["n1","n2"],"ExternalSources":["k8s"],"InstanceCount":3,"ChecksPassing":3,"ChecksWarning":1,"ChecksCritical":1,"GatewayConfig":{},"TransparentProxy":false,"ConnectNative":false,"ConnectedWithProxy":false,"ConnectedWithGateway":false}]`, nil, false},
		{"/v1/internal/ui/catalog-overview", `{"Nodes":[{"Total":2,"Passing":1,"Warning":0,"Critical":1}],"Services":[{"Name":"web","Total":1,"Passing":1,"Warning":0,"Critical":0}],"Checks":[]}`, nil, false},
	}...)
}

// One row is a request that is refused before anything is asked of the datacenter.
func TestBadInputChangesNothing(t *testing.T) {
	resttest.CheckRefused(t, serve, []resttest.Case{
		{"GET", "/v1/internal/ui/node/", "", 400, "Missing node name"},
	}...)
}

// What a mesh makes of a service is told to the web interface; what is not there
// is null.
func TestSummariesOfAMesh(t *testing.T) {
	answers := resttest.Records()
	answers["ui.services"] = &catalog.ServiceList{{Name: "side", Kind: mesh.ConnectProxy, Transparent: true, Native: true, Proxied: true,
		Parts: []catalog.ServicePart{{Node: "n1", Tags: []string{}, Sources: []string{}, Instances: 1, Passing: 1}}}}
	w := serve(t, &resttest.Caller{Answers: answers})
	const want = `[{"Kind":"connect-proxy","Name":"side","Datacenter":"dc1","Tags":null,"Nodes":["n1"],"ExternalSources":null,"InstanceCount":1,` +
		`"ChecksPassing":1,"ChecksWarning":0,"ChecksCritical":0,"GatewayConfig":{},"TransparentProxy":true,"ConnectNative":true,"ConnectedWithProxy":true,` +
		`"ConnectedWithGateway":false}]`
	if got := w.Do("GET", "/v1/internal/ui/services", "").Body.String(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
