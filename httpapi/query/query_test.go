package query

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
)

// one is the query that the datacenter knows.
func one() query.Query {
	return query.Query{ID: "i1", Name: "q", Session: "s", Token: "<hidden>", DNS: query.DNS{TTL: "3s"}, CreateIndex: 3, ModifyIndex: 4,
		Service: query.Service{Service: "web", Tags: []string{"!a"}, NodeMeta: map[string]string{}, ServiceMeta: map[string]string{}}}
}

// datacenter knows one query: q, with the ID i1, which also answers to the name a/b.
func datacenter() *resttest.Caller {
	known := func(name string) bool { return name == "q" || name == "a/b" }
	unknown := func(id string) error {
		return op.Errorf(op.CodeNotFound, "Cannot modify non-existent prepared query: '%s'", id)
	}
	return &resttest.Caller{Answers: map[string]any{
		query.List.Name: &query.Queries{one()},
		query.Get.Name: resttest.Answer(func(r *query.IDRequest) (any, error) {
			if r.ID != "i1" {
				return &query.Queries{}, nil
			}
			return &query.Queries{one()}, nil
		}),
		query.Explain.Name: resttest.Answer(func(r *query.NameRequest) (any, error) {
			if !known(r.Name) {
				return &query.Queries{}, nil
			}
			return &query.Queries{one()}, nil
		}),
		query.Create.Name: resttest.Answer(func(r *query.SetRequest) (any, error) {
			err := query.Create.Prepare(op.Leader{NewID: func() string { return "new" }}, r)
			return &query.SetResult{ID: r.Query.ID}, err
		}),
		query.Update.Name: resttest.Answer(func(r *query.SetRequest) (any, error) {
			if r.Query.ID != "i1" {
				return nil, unknown(r.Query.ID)
			}
			return &query.SetResult{ID: r.Query.ID}, query.Update.Prepare(op.Leader{}, r)
		}),
		query.Delete.Name: resttest.Answer(func(r *query.IDRequest) (any, error) {
			if r.ID != "i1" {
				return nil, unknown(r.ID)
			}
			return nil, nil
		}),
		query.Execute.Name: resttest.Answer(func(r *query.ExecuteRequest) (any, error) {
			if !known(r.Name) {
				return nil, op.Errorf(op.CodeNotFound, "Query not found")
			}
			res := &query.Answer{Service: "web", Datacenter: "dc2", Failovers: 1, DNS: one().DNS}
			if r.Limit != 9 {
				res.Nodes = catalog.Instances{{Node: &catalog.Node{Node: "n1"}, Service: &catalog.Service{ID: "w"}}}
			}
			return res, nil
		}),
	}}
}

func serve(t testing.TB, c op.Caller) *resttest.Server {
	return resttest.Serve(t, (&API{Caller: c, NodeName: "n1", Datacenter: "dc1"}).Routes())
}

func serveQueries(t testing.TB) *resttest.Server { return serve(t, datacenter()) }

// One row is one request with its answer.
func TestRequestsOfQueriesAreAnswered(t *testing.T) {
	const shown = `{"ID":"i1","Name":"q","Session":"s","Token":"\u003chidden\u003e","Template":{"Type":"","Regexp":"","RemoveEmptyTags":false},` +
		`"Service":{"Service":"web","Failover":{"NearestN":0,"Datacenters":null,"Targets":null,"SkipLocalDatacenter":false},"OnlyPassing":false,` +
		`"IgnoreCheckIDs":null,"Near":"","Tags":["!a"],"NodeMeta":null,"ServiceMeta":null,"Connect":false,"Peer":"","SamenessGroup":"","IncludeAll":false},` +
		`"DNS":{"TTL":"3s"},"CreateIndex":3,"ModifyIndex":4}`
	resttest.CheckEach(t, serveQueries, []resttest.Case{
		{"GET", "/v1/query", "", 200, "[" + shown + "]"},
		{"POST", "/v1/query", `{"Name":"x","Service":{"Service":"web"}}`, 200, `{"ID":"new"}`},
		{"POST", "/v1/query", `{"ID":"i1","Name":"x","Service":{"Service":"web"}}`, 400, "ID must be empty when a prepared query is created"},
		{"POST", "/v1/query", `{"Service":{"Service":"web"}}`, 400, "Invalid prepared query: Must be bound to a session"},
		{"POST", "/v1/query", `{"Name":"x"}`, 400, "Invalid prepared query: Must provide a Service name to query"},
		{"POST", "/v1/query", ``, 400, "~Request decode failed: "},
		{"POST", "/v1/query", `{`, 400, "~Request decode failed: "},
		{"POST", "/v1/query", `{"Service":{"Tags":"a"}}`, 400, "~Request decode failed: Service.Tags: want []string, got string"},
		{"PUT", "/v1/query", `{}`, 405, "method PUT not allowed"},
		{"GET", "/v1/query/i1", "", 200, "[" + shown + "]"},
		{"GET", "/v1/query/none", "", 404, "Query not found"},
		{"GET", "/v1/query/", "", 404, "Query not found"},
		{"PUT", "/v1/query/i1", `{"ID":"other","Name":"x","Service":{"Service":"web"}}`, 200, ""},
		{"PUT", "/v1/query/i1", `{"Service":{"Service":"web"}}`, 400, "Invalid prepared query: Must be bound to a session"},
		{"PUT", "/v1/query/none", `{"Name":"x","Service":{"Service":"web"}}`, 404, "Cannot modify non-existent prepared query: 'none'"},
		{"PUT", "/v1/query/", `{}`, 400, "Missing query ID"},
		{"DELETE", "/v1/query/i1", "", 200, ""},
		{"DELETE", "/v1/query/none", "", 404, "Cannot modify non-existent prepared query: 'none'"},
		{"DELETE", "/v1/query/", "", 400, "Missing query ID"},
		{"GET", "/v1/query/q/explain", "", 200, `{"Query":` + shown + "}"},
		{"GET", "/v1/query/a/b/explain", "", 200, `{"Query":` + shown + "}"},
		{"GET", "/v1/query/none/explain", "", 404, "Query not found"},
		{"GET", "/v1/query/q/execute", "", 200, `~{"Service":"web","Nodes":[{"Node":{"ID":"","Node":"n1",`},
		{"GET", "/v1/query/q/execute", "", 200, `~"Checks":[]}],"DNS":{"TTL":"3s"},"Datacenter":"dc2","Failovers":1,` + resttest.MetaJSON},
		{"GET", "/v1/query/a/b/execute", "", 200, `~"Datacenter":"dc2"`},
		{"GET", "/v1/query/q/execute?limit=9", "", 200, `{"Service":"web","Nodes":[],"DNS":{"TTL":"3s"},"Datacenter":"dc2","Failovers":1,` + resttest.MetaJSON},
		{"GET", "/v1/query/q/execute?limit=x", "", 400, "~Invalid value for ?limit"},
		{"GET", "/v1/query/q/execute?limit=-1", "", 400, "~Invalid value for ?limit"},
		{"GET", "/v1/query/q/execute?connect=true", "", 200, `~"Datacenter":"dc2"`},
		{"GET", "/v1/query/q/execute?connect=false", "", 200, `~"Datacenter":"dc2"`},
		{"GET", "/v1/query/q/execute?connect=x", "", 400, "~Invalid value for ?connect"},
		{"GET", "/v1/query/none/execute", "", 404, "Query not found"},
		{"GET", "/v1/query/q/execute?dc=nearest", "", 400, `~is executed in one datacenter`},
		{"GET", "/v1/query/q/execute?dc=dc2,dc3", "", 400, `~is executed in one datacenter`},
		{"GET", "/v1/query/execute", "", 404, "Query not found"},
		{"PUT", "/v1/query/q/execute", "{}", 405, "method PUT not allowed"},
		{"DELETE", "/v1/query/q/explain", "", 405, "method DELETE not allowed"},
		{"HEAD", "/v1/query/i1", "", 405, "method HEAD not allowed"},
		{"HEAD", "/v1/query/q/execute", "", 405, "method HEAD not allowed"},
		{"GET", "/v1/query/q/execute?index=x", "", 400, "Invalid index"},
	})
}

// A query that the caller may not see is not said to be missing.
func TestAHiddenQueryIsDenied(t *testing.T) {
	hidden := &resttest.Caller{Answers: map[string]any{query.Get.Name: &query.Queries{}}, Meta: &op.Meta{Index: resttest.Index, KnownLeader: true, Filtered: true}}
	serve(t, hidden).Check(t, resttest.Case{"GET", "/v1/query/secret", "", 403, `~Permission denied: anonymous token lacks permission 'query:read' on "secret"`})
}

func TestQueryMethodsAreTold(t *testing.T) {
	for target, want := range map[string]string{"/v1/query": "OPTIONS,GET,POST", "/v1/query/x": "OPTIONS,GET,PUT,DELETE",
		"/v1/query/x/execute": "OPTIONS,GET", "/v1/query/x/explain": "OPTIONS,GET", "/v1/query/x/y": "OPTIONS,GET,PUT,DELETE"} {
		for method, status := range map[string]int{"OPTIONS": 200, "HEAD": 405} {
			rec := serveQueries(t).Do(method, target, "")
			if rec.Code != status || rec.Header().Get("Allow") != want {
				t.Errorf("%s %s: %d, Allow %q, want %q", method, target, rec.Code, rec.Header().Get("Allow"), want)
			}
		}
	}
}

// What a client says beside the name reaches the datacenter.
func TestQueryExecutionIsAskedWithAllThatWasSaid(t *testing.T) {
	caller := datacenter()
	w := serve(t, caller)
	rec := w.Do("GET", "/v1/query/a%2Fb/execute?limit=2&connect&near=_agent&dc=dc1&stale&index=5&wait=10ms", "", "X-Consul-Token", "secret")
	if rec.Code != 200 || rec.Header().Get("X-Consul-Index") != "7" || rec.Header().Get("X-Consul-KnownLeader") != "true" {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	if r := resttest.Requested[query.ExecuteRequest](t, caller); r != (query.ExecuteRequest{Name: "a/b", Limit: 2, Agent: "n1", AgentDatacenter: "dc1", Address: "192.0.2.1", Connect: true}) {
		t.Errorf("request %+v", r)
	}
	h := caller.Header()
	if h.Near != "n1" || h.Consistency != op.Stale || h.MinIndex != 5 || h.MaxWait != 10*time.Millisecond || h.Token != "secret" || h.Datacenter != "dc1" {
		t.Errorf("header %+v", h)
	}
	if w.Do("GET", "/v1/query/q/execute?near=_ip", ""); caller.Header().Near != op.NearAddress+"192.0.2.1" {
		t.Errorf("near %q", caller.Header().Near)
	}
}

func TestQueriesThroughTheOfficialClient(t *testing.T) {
	pq := resttest.Client(t, serveQueries(t).Listen(t)).PreparedQuery()
	id, _, err := pq.Create(&api.PreparedQueryDefinition{Name: "x", Service: api.ServiceQuery{Service: "web", Tags: []string{"a"}}}, nil)
	if err != nil || id != "new" {
		t.Errorf("create: %q, %v", id, err)
	}
	list, meta, err := pq.List(nil)
	if err != nil || len(list) != 1 || list[0].DNS.TTL != "3s" || meta.LastIndex != 7 {
		t.Errorf("list: %+v, %v", list, err)
	}
	if list, _, err = pq.Get("i1", nil); err != nil || len(list) != 1 || list[0].Service.Tags[0] != "!a" {
		t.Errorf("get: %+v, %v", list, err)
	}
	if _, err = pq.Update(list[0], nil); err == nil || !strings.Contains(err.Error(), "Bad Token '<hidden>'") {
		t.Errorf("update with a hidden token: %v", err)
	}
	res, _, err := pq.Execute("q", nil)
	if b, _ := json.Marshal(res); err != nil || res.Datacenter != "dc2" || res.Failovers != 1 || len(res.Nodes) != 1 || res.DNS.TTL != "3s" {
		t.Errorf("execute: %s, %v", b, err)
	}
	if _, err = pq.Delete("i1", nil); err != nil {
		t.Errorf("delete: %v", err)
	}
}
