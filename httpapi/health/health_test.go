package health

import (
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// serve answers as an agent whose datacenter is the Caller.
func serve(t testing.TB, c op.Caller) *resttest.Server {
	return resttest.Serve(t, (&API{Caller: c}).Routes())
}

// serveRecords answers from a few records.
func serveRecords(t testing.TB) *resttest.Server {
	web := &catalog.Instances{{Node: &catalog.Node{ID: "id", Node: "n1"}, Service: &catalog.Service{ID: "web1", Service: "web", Port: 80, Meta: map[string]string{"v": "2"}}}}
	return serve(t, &resttest.Caller{Answers: map[string]any{
		"health.service": resttest.Answer(func(r *catalog.ServiceRequest) (any, error) {
			if r.Service != "web" {
				return &catalog.Instances{}, nil
			}
			return web, nil
		}),
		"health.state": resttest.Answer(func(r *catalog.StateRequest) (any, error) {
			return &catalog.Checks{{Node: "n1", CheckID: "c", Status: r.State}}, nil
		}),
	}})
}

// One row is one request with its answer.
func TestRequestsOfHealthAreAnswered(t *testing.T) {
	resttest.CheckEach(t, serveRecords, []resttest.Case{
		{"GET", "/v1/health/service/web", "", 200, `~[{"Node":{"ID":"id"`},
		{"GET", "/v1/health/service/web?filter=Service.Meta.v==2", "", 200, `~"Service":{"ID":"web1","Service":"web","Tags":[],`},
		{"GET", "/v1/health/service/web?filter=Service.Meta.v==3", "", 200, `[]`},
		{"GET", "/v1/health/service/missing", "", 200, `[]`},
		{"GET", "/v1/health/node/n1", "", 200, `[]`},
		{"GET", "/v1/health/checks/web", "", 200, `[]`},
		{"GET", "/v1/health/state/critical", "", 200, `[{"Node":"n1","CheckID":"c","Name":"","Status":"critical","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0}]`},
	})
}

// Clients are written against these answers, to the byte.
func TestAnswersAreToTheByteWhatClientsRead(t *testing.T) {
	serve(t, &resttest.Caller{Answers: resttest.Records()}).CheckShapes(t, []resttest.Shape{
		{"/v1/health/service/web", `[{"Node":{` + resttest.NodeJSON + `},"Service":` + resttest.WebJSON + `,"Checks":[` + resttest.CheckJSON + `]}]`, &[]*api.ServiceEntry{}, true},
		{"/v1/health/checks/web", `[` + resttest.CheckJSON + `]`, &api.HealthChecks{}, true},
		{"/v1/health/state/any", `[` + resttest.CheckJSON + `]`, &api.HealthChecks{}, true},
		{"/v1/health/node/n1", `[` + strings.NewReplacer(`"Interval":"","Timeout":""`, `"Interval":"10s","Timeout":"1s"`,
			`{}`, `{"HTTP":"http://x/","TCPUseTLS":true,"Interval":"10s","Timeout":"1s","DeregisterCriticalServiceAfter":"1h30m0s"}`).Replace(resttest.CheckJSON) + `]`, &api.HealthChecks{}, true},
	}...)
}

// One row is a query with the request that it becomes.
func TestSelectionsReachTheOperation(t *testing.T) {
	resttest.CheckAsked(t, serve, map[string]any{
		"/v1/health/service/web?tag=a&tag=b&passing&node-meta=a:1":       &catalog.ServiceRequest{Service: "web", Tags: []string{"a", "b"}, PassingOnly: true, NodeMeta: []string{"a:1"}},
		"/v1/health/service/web?passing=false":                           &catalog.ServiceRequest{Service: "web"},
		"/v1/health/service/web?passing=1":                               &catalog.ServiceRequest{Service: "web", PassingOnly: true},
		"/v1/health/checks/web?node-meta=a:1":                            &catalog.ServiceRequest{Service: "web", NodeMeta: []string{"a:1"}},
		"/v1/health/state/warning?node-meta=a:1":                         &catalog.StateRequest{State: "warning", NodeMeta: []string{"a:1"}},
		"/v1/health/node/n1?node-meta=a:1":                               &catalog.NodeRequest{Node: "n1"},
		"/v1/health/service/na%C3%AFve%20one?merge-central-config=false": &catalog.ServiceRequest{Service: "naïve one"},
		"/v1/health/service/a%20b":                                       &catalog.ServiceRequest{Service: "a b"},
		"/v1/health/service/a.b":                                         &catalog.ServiceRequest{Service: "a.b"},
	})
}

// One row is a request that is refused before anything is asked of the datacenter.
func TestBadInputChangesNothing(t *testing.T) {
	resttest.CheckRefused(t, serve, []resttest.Case{
		{"GET", "/v1/health/node/", "", 400, "Missing node name"},
		{"GET", "/v1/health/checks/", "", 400, "Missing service name"},
		{"GET", "/v1/health/service/", "", 400, "Missing service name"},
		{"GET", "/v1/health/state/", "", 400, "Missing check state"},
		{"GET", "/v1/health/service/web?passing=maybe", "", 400, "Invalid value for ?passing"},
	}...)
}

func TestInstancesOfAMeshAreAskedFor(t *testing.T) {
	resttest.CheckMesh(t, serve, "/v1/health/service/web", "/v1/health/connect/web")
}

// A list of gateways is empty, and is as new as the instances in the mesh.
func TestNoGatewaysAreKnown(t *testing.T) {
	resttest.CheckAsked(t, serve, map[string]any{"/v1/health/ingress/web": &catalog.ServiceRequest{Service: "web", Connect: true}})
	w := serve(t, &resttest.Caller{Answers: resttest.Records()})
	if rec := w.Do("GET", "/v1/health/ingress/web", ""); rec.Code != 200 || rec.Body.String() != "[]" || rec.Header().Get("X-Consul-Index") != "7" {
		t.Errorf("%d %s %v", rec.Code, rec.Body, rec.Header())
	}
}
