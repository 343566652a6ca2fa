package catalog

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// serve answers as an agent whose datacenter is the Caller.
func serve(t testing.TB, c op.Caller) *resttest.Server {
	return resttest.Serve(t, (&API{Caller: c}).Routes())
}

// serveRecords answers from a few records, and takes what has a node.
func serveRecords(t testing.TB) *resttest.Server {
	one := catalog.Node{ID: "id", Node: "n1", Address: "10.0.0.1", Datacenter: "dc1", Meta: map[string]string{"rack": "r1"}}
	return serve(t, &resttest.Caller{Only: "dc1", Answers: map[string]any{
		"catalog.nodes":         &catalog.Nodes{one, {Node: "n2"}},
		"catalog.services":      &catalog.ServiceTags{"web": {"v1"}, "consul": nil},
		"catalog.service-nodes": &catalog.ServiceNodes{{Node: "n1", ServiceName: "web", NodeMeta: one.Meta}},
		"status.datacenters":    &op.Texts{Texts: []string{"dc1", "dc2"}},
		"catalog.node-services": resttest.Answer(func(r *catalog.NodeRequest) (any, error) {
			if r.Node != one.Node {
				return nil, nil
			}
			return &catalog.NodeServices{Node: &one,
				Services: map[string]*catalog.Service{"web": {ID: "web", Service: "web", Port: 80}, "db": {ID: "db", Service: "db", Port: 5432}}}, nil
		}),
		"catalog.register": resttest.Answer(func(r *catalog.RegisterRequest) (any, error) {
			if r.Node == "" {
				return nil, op.Errorf(op.CodeInvalid, "Must provide node")
			}
			return &catalog.RegisterResult{Index: 9}, nil
		}),
		"catalog.deregister": &catalog.RegisterResult{Index: 9},
	}})
}

// One row is one request with its answer.
func TestRequestsOfTheCatalogAreAnswered(t *testing.T) {
	resttest.CheckEach(t, serveRecords, []resttest.Case{
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"1.2.3.4","Service":{"Service":"web"},"Check":{"Definition":{"Interval":"10s"}}}`, 200, "true"},
		{"PUT", "/v1/catalog/register", `{}`, 400, "Must provide node"},
		{"PUT", "/v1/catalog/register", ``, 400, "Request decode failed: EOF"},
		{"PUT", "/v1/catalog/register", `{"Service":{"Port":"x"}}`, 400, "Request decode failed: Service.Port: want int, got string"},
		{"PUT", "/v1/catalog/register", `{"Node":"n"} {}`, 400, "~Request decode failed: "},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Datacenter":"dc2"}`, 500, "Remote DC has no server currently reachable"},
		{"PUT", "/v1/catalog/deregister", `{"Node":"n"}`, 200, "true"},
		{"GET", "/v1/catalog/datacenters", "", 200, `["dc1","dc2"]`},
		{"GET", "/v1/catalog/nodes", "", 200, `[{"ID":"id","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":{"rack":"r1"},"CreateIndex":0,"ModifyIndex":0},{"ID":"","Node":"n2","Address":"","Datacenter":"","TaggedAddresses":null,"Meta":null,"CreateIndex":0,"ModifyIndex":0}]`},
		{"GET", "/v1/catalog/nodes?filter=Node==n2", "", 200, `~[{"ID":"","Node":"n2"`},
		{"GET", "/v1/catalog/nodes?filter=Meta.rack==r1", "", 200, `~"Node":"n1"`},
		{"GET", "/v1/catalog/nodes?filter=Node==n9", "", 200, `[]`},
		{"GET", "/v1/catalog/nodes?filter=Node==", "", 400, "~Failed to create boolean expression evaluator: "},
		{"GET", "/v1/catalog/nodes?filter=Nothing==x", "", 400, "~Failed to create boolean expression evaluator: "},
		{"GET", "/v1/catalog/nodes?filter=" + strings.Repeat("x", 5000), "", 400, "~longer than"},
		{"GET", "/v1/catalog/nodes?filter=" + strings.Repeat("(", 1000) + "a==b" + strings.Repeat(")", 1000), "", 400, "~Failed to create boolean expression evaluator: "},
		{"GET", "/v1/catalog/nodes?node-meta=rack:r2", "", 200, `[]`},
		{"GET", "/v1/catalog/nodes?node-meta=rack", "", 400, "~node-meta"},
		{"GET", "/v1/catalog/services", "", 200, `{"consul":[],"web":["v1"]}`},
		{"GET", "/v1/catalog/service/web", "", 200, `~"ServiceName":"web","ServiceTags":[],`},
		{"GET", "/v1/catalog/node/n1", "", 200, `~"Services":{"db":{"ID":"db"`},
		{"GET", "/v1/catalog/node/none", "", 200, `null`},
		{"GET", "/v1/catalog/node-services/n1?filter=Port==80", "", 200, `~"Services":[{"ID":"web"`},
		{"GET", "/v1/catalog/node-services/none", "", 200, `{"Node":null,"Services":[]}`},
	})
}

// Clients are written against these answers, to the byte.
func TestAnswersAreToTheByteWhatClientsRead(t *testing.T) {
	serve(t, &resttest.Caller{Answers: resttest.Records()}).CheckShapes(t, []resttest.Shape{
		{"/v1/catalog/nodes", `[{` + resttest.NodeJSON + `}]`, &[]*api.Node{}, false},
		{"/v1/catalog/services", `{"db":[],"web":["v1"]}`, &map[string][]string{}, false},
		{"/v1/catalog/service/web", `[{"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"NodeMeta":null,"ServiceKind":"","ServiceID":"web1","ServiceName":"web","ServiceTags":[],"ServiceAddress":"","ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":80,"ServiceSocketPath":"","ServiceEnableTagOverride":false,"ServiceProxy":{"Mode":"","MeshGateway":{},"Expose":{}},"ServiceConnect":{},"ServiceLocality":null,"CreateIndex":5,"ModifyIndex":6}]`, nil, false},
		{"/v1/catalog/node/n1", `{"Node":{` + resttest.NodeJSON + `},"Services":{"web1":` + resttest.FullJSON + `}}`, &api.CatalogNode{}, false},
		{"/v1/catalog/node-services/n1", `{"Node":{` + resttest.NodeJSON + `},"Services":[` + resttest.FullJSON + `]}`, &api.CatalogNodeServiceList{}, false},
	}...)
}

// One row is a query with the request that it becomes.
func TestSelectionsReachTheOperation(t *testing.T) {
	resttest.CheckAsked(t, serve, map[string]any{
		"/v1/catalog/services?node-meta=b:2&node-meta=a:1:x": &catalog.ServicesRequest{NodeMeta: []string{"a:1:x", "b:2"}},
		"/v1/catalog/services":                               &catalog.ServicesRequest{},
		"/v1/catalog/service/web?tag=a&tag=b&node-meta=a:1":  &catalog.ServiceRequest{Service: "web", Tags: []string{"a", "b"}, NodeMeta: []string{"a:1"}},
	})
}

// One row is a request that is refused before anything is asked of the datacenter.
func TestBadInputChangesNothing(t *testing.T) {
	resttest.CheckRefused(t, serve, []resttest.Case{
		{"GET", "/v1/catalog/service/", "", 400, "Missing service name"},
		{"GET", "/v1/catalog/node/", "", 400, "Missing node name"},
		{"GET", "/v1/catalog/node-services/", "", 400, "Missing node name"},
		{"PUT", "/v1/catalog/register", `{`, 400, "Request decode failed: "},
		{"PUT", "/v1/catalog/register", `{"Check":{"Definition":{"Interval":"x"}}}`, 400, `Request decode failed: invalid duration "x"`},
		{"PUT", "/v1/catalog/register", `{"Check":{"Definition":{"Timeout":1e300}}}`, 400, "Request decode failed: invalid duration"},
		{"PUT", "/v1/catalog/register", `{"Check":{"Definition":{"Timeout":true}}}`, 400, "Request decode failed: invalid duration"},
		{"PUT", "/v1/catalog/deregister", `[]`, 400, "Request decode failed: "},
		{"PUT", "/v1/catalog/deregister", ``, 400, "Request decode failed: "},
	}...)
}

// What is said to a mesh is kept as it was said, numbers of any size among it.
func TestMeshFieldsAreKept(t *testing.T) {
	caller := &resttest.Caller{}
	w := serve(t, caller)
	const said = `"Proxy":{"DestinationServiceName":"db","Mode":"","Config":{"a":[18014398509481985,1.50],"b":{}},"Upstreams":[{"DestinationType":"",` +
		`"DestinationName":"x","Datacenter":"","MeshGateway":{}}],"MeshGateway":{"Mode":"local"},"Expose":{}},"Connect":{"Native":true}`
	rec := w.Do("PUT", "/v1/catalog/register", `{"Node":"n","Address":"1.2.3.4","Service":{"Service":"web",`+said+`}}`)
	if rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	b, err := json.Marshal(caller.Request().(*catalog.RegisterRequest).Service)
	if err != nil || !bytes.Contains(b, []byte(said)) {
		t.Errorf("%s %v", b, err)
	}
	if rec = w.Do("PUT", "/v1/catalog/register", `{"Node":"n","Address":"1.2.3.4","Service":{"Service":"web","Proxy":{"Config":[1]}}}`); rec.Code != 400 {
		t.Errorf("a list in the place of an object: %d", rec.Code)
	}
}

// A name that DNS cannot carry is taken, said to the operator, and found over
// HTTP.
func TestNamesThatDNSCannotCarry(t *testing.T) {
	for name, warned := range map[string]bool{"web": false, "web-2": false, "w_eb": true, "a b": true, "ünï": true, "a.b": true, strings.Repeat("x", 64): true} {
		var log bytes.Buffer
		caller := &resttest.Caller{}
		w := resttest.Serve(t, (&API{Caller: caller}).Routes(), func(c *rest.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		body, err := json.Marshal(map[string]any{"Node": "n", "Address": "1.2.3.4", "Service": map[string]any{"Service": name}})
		if err != nil {
			t.Fatal(err)
		}
		if rec := w.Do("PUT", "/v1/catalog/register", string(body)); rec.Code != 200 || strings.Contains(log.String(), "cannot be looked up by DNS") != warned {
			t.Errorf("%q: %d, log %q, want a warning: %t", name, rec.Code, log.String(), warned)
		}
		rec := w.Do("GET", "/v1/catalog/service/"+url.PathEscape(name), "")
		if got, ok := caller.Request().(*catalog.ServiceRequest); rec.Code != 200 || !ok || got.Service != name {
			t.Errorf("%q over HTTP: %d, asked for %+v", name, rec.Code, caller.Request())
		}
	}
}

func TestInstancesOfAMeshAreAskedFor(t *testing.T) {
	resttest.CheckMesh(t, serve, "/v1/catalog/service/web", "/v1/catalog/connect/web")
}
