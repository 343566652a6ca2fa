package httpapi

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
)

// queries is a Caller that knows one query: q, with the ID i1.
type queries struct{ *fake }

func (f queries) Do(ctx context.Context, c *op.Call) (*op.Reply, error) {
	req, err := c.Request()
	if err != nil {
		return nil, err
	}
	q := query.Query{ID: "i1", Name: "q", Session: "s", Token: "<hidden>", DNS: query.DNS{TTL: "3s"}, Service: query.Service{Service: "web", Tags: []string{"!a"}, NodeMeta: map[string]string{}, ServiceMeta: map[string]string{}}, CreateIndex: 3, ModifyIndex: 4}
	list := &query.Queries{q}
	meta := op.Meta{Index: 7, KnownLeader: true, Datacenter: "dc1"}
	var res any = list
	switch r := req.(type) {
	case *query.SetRequest:
		if res, err = f.set(c.Operation.OpName(), r); err != nil {
			return nil, err
		}
	case *query.IDRequest:
		switch {
		case c.Operation.OpName() == query.Delete.Name && r.ID != "i1":
			return nil, op.Errorf(op.CodeNotFound, "Cannot modify non-existent prepared query: '%s'", r.ID)
		case c.Operation.OpName() == query.Delete.Name:
			res = nil
		case r.ID == "secret":
			meta.Filtered, res = true, &query.Queries{}
		case r.ID != "i1":
			res = &query.Queries{}
		}
	case *query.NameRequest:
		if r.Name != "q" && r.Name != "a/b" {
			res = &query.Queries{}
		}
	case *query.ExecuteRequest:
		if r.Name != "q" && r.Name != "a/b" {
			return nil, op.Errorf(op.CodeNotFound, "Query not found")
		}
		res = &query.Answer{Service: "web", Datacenter: "dc2", Failovers: 1, DNS: q.DNS, Nodes: catalog.Instances{{Node: &catalog.Node{Node: "n1"}, Service: &catalog.Service{ID: "w"}}}}
		if r.Limit == 9 {
			res.(*query.Answer).Nodes = nil
		}
	case *op.Empty:
	default:
		return f.fake.Do(ctx, c)
	}
	f.mu.Lock()
	f.header, f.request, f.operation = c.Header, req, c.Operation.OpName()
	f.mu.Unlock()
	return op.NewReply(meta, res), nil
}

func (f queries) set(operation string, r *query.SetRequest) (any, error) {
	if operation == query.Create.Name {
		err := query.Create.Prepare(op.Leader{NewID: func() string { return "new" }}, r)
		return &query.SetResult{ID: r.Query.ID}, err
	}
	if r.Query.ID != "i1" {
		return nil, op.Errorf(op.CodeNotFound, "Cannot modify non-existent prepared query: '%s'", r.Query.ID)
	}
	return &query.SetResult{ID: r.Query.ID}, query.Update.Prepare(op.Leader{}, r)
}

func startQueries(t *testing.T) *world {
	f := newFake()
	w := start(t, func(c *Config) { c.Caller = queries{f} })
	w.fake = f
	return w
}

// metaJSON is what answers say of themselves.
const metaJSON = `"Index":7,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"leader","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`

// TestQueryRequests: one row is one request with its answer. A body that begins
// with ~ is one that the answer contains.
func TestQueryRequests(t *testing.T) {
	const shown = `{"ID":"i1","Name":"q","Session":"s","Token":"\u003chidden\u003e","Template":{"Type":"","Regexp":"","RemoveEmptyTags":false},` +
		`"Service":{"Service":"web","Failover":{"NearestN":0,"Datacenters":null,"Targets":null,"SkipLocalDatacenter":false},"OnlyPassing":false,` +
		`"IgnoreCheckIDs":null,"Near":"","Tags":["!a"],"NodeMeta":null,"ServiceMeta":null,"Connect":false,"Peer":"","SamenessGroup":"","IncludeAll":false},` +
		`"DNS":{"TTL":"3s"},"CreateIndex":3,"ModifyIndex":4}`
	for _, c := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
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
		{"GET", "/v1/query/secret", "", 403, "Permission denied: token lacks permission 'query:read'"},
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
		{"GET", "/v1/query/q/execute", "", 200, `~"Checks":[]}],"DNS":{"TTL":"3s"},"Datacenter":"dc2","Failovers":1,` + metaJSON},
		{"GET", "/v1/query/a/b/execute", "", 200, `~"Datacenter":"dc2"`},
		{"GET", "/v1/query/q/execute?limit=9", "", 200, `{"Service":"web","Nodes":[],"DNS":{"TTL":"3s"},"Datacenter":"dc2","Failovers":1,` + metaJSON},
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
	} {
		t.Run(c.method+" "+strings.ReplaceAll(c.target, "/", "|"), func(t *testing.T) {
			rec := startQueries(t).do(c.method, c.target, c.body)
			got := rec.Body.String()
			part, isPart := strings.CutPrefix(c.want, "~")
			if rec.Code != c.status || (isPart && !strings.Contains(got, part)) || (!isPart && got != c.want) {
				t.Errorf("%s %s: %d %s\nwant %d %s", c.method, c.target, rec.Code, got, c.status, c.want)
			}
		})
	}
}

func TestQueryMethodsAreTold(t *testing.T) {
	for target, want := range map[string]string{"/v1/query": "OPTIONS,GET,POST", "/v1/query/x": "OPTIONS,GET,PUT,DELETE",
		"/v1/query/x/execute": "OPTIONS,GET", "/v1/query/x/explain": "OPTIONS,GET", "/v1/query/x/y": "OPTIONS,GET,PUT,DELETE"} {
		for method, status := range map[string]int{"OPTIONS": 200, "HEAD": 405} {
			rec := startQueries(t).do(method, target, "")
			if rec.Code != status || rec.Header().Get("Allow") != want {
				t.Errorf("%s %s: %d, Allow %q, want %q", method, target, rec.Code, rec.Header().Get("Allow"), want)
			}
		}
	}
}

// What a client says beside the name reaches the datacenter.
func TestQueryExecutionIsAskedWithAllThatWasSaid(t *testing.T) {
	w := startQueries(t)
	rec := w.do("GET", "/v1/query/a%2Fb/execute?limit=2&connect&near=_agent&dc=dc1&stale&index=5&wait=10ms", "", "X-Consul-Token", "secret")
	if rec.Code != 200 || rec.Header().Get("X-Consul-Index") != "7" || rec.Header().Get("X-Consul-KnownLeader") != "true" {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	r, _ := w.fake.request.(*query.ExecuteRequest)
	if r == nil || *r != (query.ExecuteRequest{Name: "a/b", Limit: 2, Agent: "n1", AgentDatacenter: "dc1", Address: "192.0.2.1", Connect: true}) {
		t.Errorf("request %+v", r)
	}
	h := w.fake.header
	if h.Near != "n1" || h.Consistency != op.Stale || h.MinIndex != 5 || h.MaxWait != 10*time.Millisecond || h.Token != "secret" || h.Datacenter != "dc1" {
		t.Errorf("header %+v", h)
	}
	if w.do("GET", "/v1/query/q/execute?near=_ip", ""); w.fake.header.Near != op.NearAddress+"192.0.2.1" {
		t.Errorf("near %q", w.fake.header.Near)
	}
}

func TestQueriesThroughTheOfficialClient(t *testing.T) {
	srv := httptest.NewServer(startQueries(t))
	defer srv.Close()
	c, err := api.NewClient(&api.Config{Address: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	pq := c.PreparedQuery()
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
