package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// canned answers each operation with the value under its name, and notes what
// was asked.
type canned struct {
	answers map[string]any

	mu      sync.Mutex
	asked   []string
	header  op.Header
	request any
	meta    *op.Meta // of the answers; nil for that of the leader
}

func (c *canned) Do(_ context.Context, call *op.Call) (*op.Reply, error) {
	req, err := call.Request()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, call.Operation.OpName())
	c.header, c.request = call.Header, req
	meta := op.Meta{Index: 7, KnownLeader: true, Datacenter: "dc1", Consistency: call.Header.Consistency}
	if c.meta != nil {
		meta = *c.meta
	}
	return op.NewReply(meta, c.answers[call.Operation.OpName()]), nil
}

func fromOutside() *catalog.Node {
	return &catalog.Node{Node: "n1", Address: "10.0.0.1", Datacenter: "dc1", TaggedAddresses: map[string]string{}, CreateIndex: 3, ModifyIndex: 4}
}

func records() map[string]any {
	web := catalog.Service{ID: "web1", Service: "web", Port: 80, Weights: catalog.Weights{Passing: 1, Warning: 1}, CreateIndex: 5, ModifyIndex: 6}
	full := web
	full.Tags, full.Meta, full.Address = []string{"v1"}, map[string]string{"v": "2"}, "10.0.0.9"
	full.TaggedAddresses = map[string]catalog.ServiceAddress{"lan": {Address: "10.0.0.9", Port: 80}}
	check := catalog.Check{Node: "n1", CheckID: "c1", Name: "http", Status: "passing", ServiceID: "web1", ServiceName: "web", Type: "http", CreateIndex: 7, ModifyIndex: 8}
	defined := check
	defined.Interval, defined.Timeout = "10s", "1s"
	defined.Definition = catalog.CheckDefinition{HTTP: "http://x/", Interval: catalog.Duration(10 * time.Second), Timeout: catalog.Duration(time.Second),
		DeregisterCriticalServiceAfter: catalog.Duration(90 * time.Minute), TCPUseTLS: true}
	return map[string]any{
		"catalog.nodes":         &catalog.Nodes{*fromOutside()},
		"catalog.services":      &catalog.ServiceTags{"web": {"v1"}, "db": nil},
		"catalog.service-nodes": &catalog.ServiceNodes{{Node: "n1", Address: "10.0.0.1", Datacenter: "dc1", ServiceID: "web1", ServiceName: "web", ServicePort: 80, ServiceWeights: web.Weights, CreateIndex: 5, ModifyIndex: 6}},
		"catalog.node-services": &catalog.NodeServices{Node: fromOutside(), Services: map[string]*catalog.Service{"web1": &full}},
		"health.service":        &catalog.Instances{{Node: fromOutside(), Service: &web, Checks: catalog.Checks{check}}},
		"health.node":           &catalog.Checks{defined},
		"health.checks":         &catalog.Checks{check},
		"health.state":          &catalog.Checks{check},
		"ui.nodes":              &catalog.NodeInfos{{Node: "n1", Address: "10.0.0.1", Services: []catalog.Service{web}, Checks: catalog.Checks{check}}, {Node: "n2"}},
		"ui.services": &catalog.ServiceList{{Name: "web", Parts: []catalog.ServicePart{
			{Node: "n1", Tags: []string{"a", "c"}, Sources: []string{"k8s"}, Instances: 2, Passing: 3, Critical: 1},
			{Node: "n2", Tags: []string{"b", "c"}, Sources: []string{"k8s"}, Instances: 1, Warning: 1}}}},
		"ui.catalog-overview": &catalog.Summary{Nodes: []catalog.HealthSummary{{Total: 2, Passing: 1, Critical: 1}},
			Services: []catalog.HealthSummary{{Name: "web", Total: 1, Passing: 1}}},
	}
}

const (
	nodeJSON  = `"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":3,"ModifyIndex":4`
	meshJSON  = `"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":""`
	webJSON   = `{"ID":"web1","Service":"web","Tags":[],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,` + meshJSON + `,"CreateIndex":5,"ModifyIndex":6}`
	fullJSON  = `{"ID":"web1","Service":"web","Tags":["v1"],"Address":"10.0.0.9","TaggedAddresses":{"lan":{"Address":"10.0.0.9","Port":80}},"Meta":{"v":"2"},"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,` + meshJSON + `,"CreateIndex":5,"ModifyIndex":6}`
	checkJSON = `{"Node":"n1","CheckID":"c1","Name":"http","Status":"passing","Notes":"","Output":"","ServiceID":"web1","ServiceName":"web","ServiceTags":[],"Type":"http","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":7,"ModifyIndex":8}`
)

// TestShapes: one row is one answer, to the byte. Clients are written against
// these; the last column is the client's type.
func TestShapes(t *testing.T) {
	for _, c := range []struct {
		target string
		want   string
		into   any
	}{
		{"/v1/catalog/nodes", `[{` + nodeJSON + `}]`, &[]*api.Node{}},
		{"/v1/catalog/services", `{"db":[],"web":["v1"]}`, &map[string][]string{}},
		{"/v1/catalog/service/web", `[{"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"NodeMeta":null,"ServiceKind":"","ServiceID":"web1","ServiceName":"web","ServiceTags":[],"ServiceAddress":"","ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":80,"ServiceSocketPath":"","ServiceEnableTagOverride":false,"ServiceProxy":{"Mode":"","MeshGateway":{},"Expose":{}},"ServiceConnect":{},"ServiceLocality":null,"CreateIndex":5,"ModifyIndex":6}]`, nil},
		{"/v1/catalog/node/n1", `{"Node":{` + nodeJSON + `},"Services":{"web1":` + fullJSON + `}}`, &api.CatalogNode{}},
		{"/v1/catalog/node-services/n1", `{"Node":{` + nodeJSON + `},"Services":[` + fullJSON + `]}`, &api.CatalogNodeServiceList{}},
		{"/v1/health/service/web", `[{"Node":{` + nodeJSON + `},"Service":` + webJSON + `,"Checks":[` + checkJSON + `]}]`, &[]*api.ServiceEntry{}},
		{"/v1/health/checks/web", `[` + checkJSON + `]`, &api.HealthChecks{}},
		{"/v1/health/state/any", `[` + checkJSON + `]`, &api.HealthChecks{}},
		{"/v1/health/node/n1", `[` + strings.NewReplacer(`"Interval":"","Timeout":""`, `"Interval":"10s","Timeout":"1s"`,
			`{}`, `{"HTTP":"http://x/","TCPUseTLS":true,"Interval":"10s","Timeout":"1s","DeregisterCriticalServiceAfter":"1h30m0s"}`).Replace(checkJSON) + `]`, &api.HealthChecks{}},
		{"/v1/internal/ui/nodes", `[{"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"","TaggedAddresses":null,"Meta":null,"Services":[` + webJSON + `],"Checks":[` + checkJSON + `]},` +
			`{"ID":"","Node":"n2","Address":"","Datacenter":"","TaggedAddresses":null,"Meta":null,"Services":[],"Checks":[]}]`, nil},
		{"/v1/internal/ui/node/nobody", ``, nil},
		{"/v1/internal/ui/services", `[{"Name":"web","Datacenter":"dc1","Tags":["a","b","c"],"Nodes":["n1","n2"],"ExternalSources":["k8s"],"InstanceCount":3,"ChecksPassing":3,"ChecksWarning":1,"ChecksCritical":1,"GatewayConfig":{},"TransparentProxy":false,"ConnectNative":false,"ConnectedWithProxy":false,"ConnectedWithGateway":false}]`, nil},
		{"/v1/internal/ui/catalog-overview", `{"Nodes":[{"Total":2,"Passing":1,"Warning":0,"Critical":1}],"Services":[{"Name":"web","Total":1,"Passing":1,"Warning":0,"Critical":0}],"Checks":[]}`, nil},
	} {
		w := start(t, func(cfg *Config) { cfg.Caller = &canned{answers: records()} })
		rec := w.do("GET", c.target, "")
		if got := rec.Body.String(); got != c.want {
			t.Errorf("%s: %d\n%s\nwant\n%s", c.target, rec.Code, got, c.want)
		}
		if c.into == nil {
			continue
		}
		dec := json.NewDecoder(rec.Body)
		if strings.HasPrefix(c.target, "/v1/catalog/") { // of checks the library leaves out some
			dec.DisallowUnknownFields()
		}
		if err := dec.Decode(c.into); err != nil {
			t.Errorf("%s: the client reads it: %v", c.target, err)
		}
	}
}

// lists are the reads of lists, each with a selector that its records have.
func lists() map[string]string {
	return map[string]string{
		"/v1/catalog/nodes": "Node", "/v1/catalog/services": "ServiceName", "/v1/catalog/service/web": "ServiceName",
		"/v1/catalog/node/n1": "Service", "/v1/catalog/node-services/n1": "Service",
		"/v1/health/node/n1": "CheckID", "/v1/health/checks/web": "CheckID", "/v1/health/state/any": "CheckID", "/v1/health/service/web": "Service.ID",
		"/v1/internal/ui/nodes": "Node", "/v1/internal/ui/services": "Name",
	}
}

// Every parameter is taken on every list.
func TestParametersOfLists(t *testing.T) {
	const bad = "Failed to create boolean expression evaluator: "
	callers := map[string]*canned{"full": {answers: records()}, "empty": {}}
	servers := map[string]*world{}
	for what, caller := range callers {
		servers[what] = start(t, func(cfg *Config) { cfg.Caller = caller })
	}
	for path, selector := range lists() {
		for _, c := range []struct {
			query  string
			status int
			want   string // a part of the answer
			header op.Header
		}{
			{"", 200, "", op.Header{}},
			{"near=n2", 200, "", op.Header{Near: "n2"}},
			{"near=_agent", 200, "", op.Header{Near: "n1"}},
			{"near=_ip", 200, "", op.Header{Near: op.NearAddress + "192.0.2.1"}},
			{"node-meta=a:1&node-meta=b:2", 200, "", op.Header{}},
			{"node-meta=a", 400, "node-meta", op.Header{}},
			{"merge-central-config", 200, "", op.Header{}},
			{"stale", 200, "", op.Header{Consistency: op.Stale}},
			{"consistent", 200, "", op.Header{Consistency: op.Consistent}},
			{"cached", 200, "", op.Header{}},
			{"stale&consistent", 400, "conflicting semantics", op.Header{}},
			{"dc=dc2", 200, "", op.Header{Datacenter: "dc2"}},
			{"index=3&wait=2s", 200, "", op.Header{MinIndex: 3, MaxWait: 2 * time.Second}},
			{"wait=x&index=3", 400, "Invalid wait time", op.Header{}},
			{"index=x", 400, "Invalid index", op.Header{}},
			{"filter=" + selector + "==nobody", 200, "", op.Header{}},
			{"filter=" + selector + "==", 400, bad, op.Header{}},
			{"filter=Nothing==x", 400, bad, op.Header{}},
			{"filter=" + selector + "!=x+or+Nothing==x", 400, bad, op.Header{}},
			{"filter=" + selector + "==x+and+(" + selector + "!=y+and+not+Nothing==x)", 400, bad, op.Header{}},
			{"filter=" + selector + "[`x`]==1", 400, bad, op.Header{}},
			{"filter=" + selector + "+matches+`(`", 400, bad, op.Header{}},
			{"filter=\"x\"+in+" + selector, 200, "", op.Header{}},
			{"filter=" + selector + "+!=+`a%22b%5Cc`", 200, "", op.Header{}},
			{"filter=\"\"==x", 400, bad, op.Header{}},
			{"pretty", 200, "", op.Header{}},
		} {
			for what, caller := range callers {
				caller.asked = nil
				rec := servers[what].do("GET", path+"?"+c.query, "")
				if rec.Code != c.status || !strings.Contains(rec.Body.String(), c.want) {
					t.Errorf("%s?%s, %s: %d %s, want %d %s", path, c.query, what, rec.Code, rec.Body, c.status, c.want)
				}
				if c.status == 200 && caller.header != c.header || c.status != 200 && len(caller.asked) > 0 {
					t.Errorf("%s?%s asked %v with %+v, want %+v", path, c.query, caller.asked, caller.header, c.header)
				}
			}
		}
	}
}

// Every list carries the headers that clients go by.
func TestHeadersOfLists(t *testing.T) {
	for path := range lists() {
		w := start(t, func(cfg *Config) { cfg.Caller = &canned{} })
		rec := w.do("GET", path+"?cached", "")
		for name, want := range map[string]string{"X-Consul-Index": "7", "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0",
			"X-Consul-Effective-Consistency": "leader", "X-Consul-Query-Backend": "blocking-query", "X-Consul-Default-ACL-Policy": "allow",
			"X-Consul-Translate-Addresses": "", "X-Consul-Results-Filtered-By-ACLs": "", "X-Cache": "MISS", "Age": "0", "Content-Type": "application/json"} {
			if got := rec.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if rec := w.do("GET", path, ""); rec.Header().Get("X-Cache") != "" || rec.Header().Get("Age") != "" {
			t.Errorf("%s speaks of a cache that was not asked for", path)
		}
	}
}

// One row is what a request says of how old an answer may be, with the mode in
// which it is asked.
func TestCachedReads(t *testing.T) {
	caller := &canned{answers: records()}
	w := start(t, func(cfg *Config) { cfg.Caller, cfg.HTTP.UseCache = caller, true })
	for _, c := range []struct {
		query, control string
		want           op.Header
		status         int
	}{
		{"cached", "", op.Header{Consistency: op.Cached}, 200},
		{"cached&index=3&wait=2s", "", op.Header{Consistency: op.Cached, MinIndex: 3, MaxWait: 2 * time.Second}, 200},
		{"cached", "max-age=30", op.Header{Consistency: op.Cached, MaxAge: 30 * time.Second}, 200},
		{"cached", "max-age=30, stale-if-error=3600", op.Header{Consistency: op.Cached, MaxAge: time.Hour}, 200},
		{"cached", "must-revalidate", op.Header{}, 200},
		{"cached", "max-age=0", op.Header{}, 200},
		{"cached", "must-revalidate,stale-if-error=60", op.Header{Consistency: op.Cached, MaxAge: time.Minute}, 200},
		{"cached", "max-age=soon", op.Header{}, 400},
		{"", "max-age=30", op.Header{}, 200},
		// Clients that ask for both mean what is kept, else any server.
		{"cached&stale", "", op.Header{Consistency: op.Cached}, 200},
		{"cached&stale", "max-age=30", op.Header{Consistency: op.Cached, MaxAge: 30 * time.Second}, 200},
		{"cached&max_stale=20s", "", op.Header{Consistency: op.Cached, MaxAge: 20 * time.Second}, 200},
		{"cached&max_stale=20s", "max-age=10", op.Header{Consistency: op.Cached, MaxAge: 10 * time.Second}, 200},
		{"cached&stale", "must-revalidate", op.Header{Consistency: op.Stale}, 200},
		{"cached&max_stale=20s", "max-age=0", op.Header{Consistency: op.Stale, MaxStale: 20 * time.Second}, 200},
	} {
		for path := range lists() {
			caller.header = op.Header{}
			rec := w.do("GET", path+"?"+c.query, "", "Cache-Control", c.control)
			if rec.Code != c.status || caller.header != c.want {
				t.Errorf("%s?%s with %q: %d, asked with %+v, want %+v", path, c.query, c.control, rec.Code, caller.header, c.want)
			}
		}
	}
	for path := range lists() {
		caller.meta = &op.Meta{Index: 7, Consistency: op.Cached, Age: 1500 * time.Millisecond, LastContact: 1500 * time.Millisecond, Hit: true}
		rec := w.do("GET", path+"?cached", "")
		for name, want := range map[string]string{"X-Cache": "HIT", "Age": "2", "X-Consul-Effective-Consistency": "stale", "X-Consul-KnownLeader": "false", "X-Consul-LastContact": "1500"} {
			if got := rec.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

// TestSelectionsReachTheOperation: one row is a query with the request that
// it becomes.
func TestSelectionsReachTheOperation(t *testing.T) {
	for target, want := range map[string]any{
		"/v1/catalog/services?node-meta=b:2&node-meta=a:1:x":             &catalog.ServicesRequest{NodeMeta: []string{"a:1:x", "b:2"}},
		"/v1/catalog/services":                                           &catalog.ServicesRequest{},
		"/v1/catalog/service/web?tag=a&tag=b&node-meta=a:1":              &catalog.ServiceRequest{Service: "web", Tags: []string{"a", "b"}, NodeMeta: []string{"a:1"}},
		"/v1/health/service/web?tag=a&tag=b&passing&node-meta=a:1":       &catalog.ServiceRequest{Service: "web", Tags: []string{"a", "b"}, PassingOnly: true, NodeMeta: []string{"a:1"}},
		"/v1/health/service/web?passing=false":                           &catalog.ServiceRequest{Service: "web"},
		"/v1/health/service/web?passing=1":                               &catalog.ServiceRequest{Service: "web", PassingOnly: true},
		"/v1/health/checks/web?node-meta=a:1":                            &catalog.ServiceRequest{Service: "web", NodeMeta: []string{"a:1"}},
		"/v1/health/state/warning?node-meta=a:1":                         &catalog.StateRequest{State: "warning", NodeMeta: []string{"a:1"}},
		"/v1/health/node/n1?node-meta=a:1":                               &catalog.NodeRequest{Node: "n1"},
		"/v1/health/service/na%C3%AFve%20one?merge-central-config=false": &catalog.ServiceRequest{Service: "naïve one"},
	} {
		caller := &canned{}
		w := start(t, func(cfg *Config) { cfg.Caller = caller })
		if rec := w.do("GET", target, ""); rec.Code != 200 || !reflect.DeepEqual(caller.request, want) {
			t.Errorf("%s: %d, asks %+v, want %+v", target, rec.Code, caller.request, want)
		}
	}
}

// TestFilters: one row is an expression with the names that pass.
func TestFilters(t *testing.T) {
	nodes := catalog.Nodes{{Node: "n1", Meta: map[string]string{"rack": "r1", "dot.ted": "x"}}, {Node: "n2", Address: "10.0.0.2"}}
	for expression, want := range map[string]string{
		`Node == n1`:                            "n1",
		`Meta.rack == r1`:                       "n1",
		`Meta.rack != r1`:                       "n2",
		`Meta["dot.ted"] == x`:                  "n1",
		`"/Meta/rack" == r1`:                    "n1",
		`rack in Meta`:                          "n1",
		`Meta contains rack`:                    "n1",
		`Meta is empty`:                         "n2",
		`Address is not empty and Node != "n1"`: "n2",
		`Address matches "^10\\."`:              "n2",
		`Node not matches "2$"`:                 "n1",
		`not (Node == n1 or Node == n2)`:        "",
		`Node contains "n"`:                     "n1 n2",
		`any Meta as k, v { v == "r1" }`:        "n1",
	} {
		w := start(t, func(cfg *Config) { cfg.Caller = &canned{answers: map[string]any{"catalog.nodes": &nodes}} })
		req, err := http.NewRequest("GET", "/v1/catalog/nodes", nil)
		if err != nil {
			t.Fatal(err)
		}
		q := req.URL.Query()
		q.Set("filter", expression)
		rec := w.do("GET", "/v1/catalog/nodes?"+q.Encode(), "")
		var got []catalog.Node
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
			t.Errorf("%s: %d %s", expression, rec.Code, rec.Body)
			continue
		}
		var names []string
		for _, n := range got {
			names = append(names, n.Node)
		}
		if s := strings.Join(names, " "); s != want {
			t.Errorf("%s: %q, want %q", expression, s, want)
		}
	}
}

// TestFiltersOfServices: one row is an expression with the names and tags of the
// instances that pass.
func TestFiltersOfServices(t *testing.T) {
	list := catalog.ServiceNodes{
		{Node: "n1", ID: "id-1", Address: "10.0.0.1", Datacenter: "dc1", NodeMeta: map[string]string{"rack": "r1"}, TaggedAddresses: map[string]string{"wan": "1.2.3.4"},
			ServiceID: "w1", ServiceName: "web", ServiceTags: []string{"b", "a"}, ServicePort: 80, ServiceMeta: map[string]string{"v": "2"}},
		{Node: "n2", Address: "10.0.0.2", Datacenter: "dc1", ServiceID: "w2", ServiceName: "web", ServiceTags: []string{"c", "a"}, ServiceAddress: "10.0.9.9"},
		{Node: "n2", Address: "10.0.0.2", Datacenter: "dc1", ServiceID: "d", ServiceName: "db"},
	}
	for expression, want := range map[string]string{
		`ServiceName == web`:                  `{"web":["a","b","c"]}`,
		`NodeMeta.rack == r1`:                 `{"web":["a","b"]}`,
		`NodeMeta["rack"] == "r1"`:            `{"web":["a","b"]}`,
		`NodeMeta.nope == nope`:               `{}`,
		`"c" in ServiceTags`:                  `{"web":["a","c"]}`,
		`ServiceTags is empty`:                `{"db":[]}`,
		`ServicePort == 80`:                   `{"web":["a","b"]}`,
		`ServiceMeta.v == 2`:                  `{"web":["a","b"]}`,
		`ServiceAddress == "10.0.9.9"`:        `{"web":["a","c"]}`,
		`Node == n2`:                          `{"db":[],"web":["a","c"]}`,
		`ID == "id-1" and Datacenter == dc1`:  `{"web":["a","b"]}`,
		`Address == "10.0.0.1"`:               `{"web":["a","b"]}`,
		`TaggedAddresses.wan == "1.2.3.4"`:    `{"web":["a","b"]}`,
		`ServiceID == d or ServiceID == none`: `{"db":[]}`,
	} {
		caller := &canned{answers: map[string]any{"catalog.all-service-nodes": &list}}
		w := start(t, func(cfg *Config) { cfg.Caller = caller })
		rec := w.do("GET", "/v1/catalog/services?node-meta=k:v&"+url.Values{"filter": {expression}}.Encode(), "")
		if got := rec.Body.String(); rec.Code != http.StatusOK || got != want || rec.Header().Get("X-Consul-Index") != "7" {
			t.Errorf("%s: %d %s, want %s", expression, rec.Code, got, want)
		}
		if req, ok := caller.request.(*catalog.ServicesRequest); !ok || !slices.Equal(req.NodeMeta, []string{"k:v"}) {
			t.Errorf("%s: asked %+v", expression, caller.request)
		}
	}
	w := start(t, func(cfg *Config) { cfg.Caller = &canned{} })
	if rec := w.do("GET", "/v1/catalog/services?filter=Nope==x", ""); rec.Code != http.StatusBadRequest {
		t.Errorf("a field that is not there: %d %s", rec.Code, rec.Body)
	}
}

// TestFiltersOfInstances: one row is an expression with the services that pass.
func TestFiltersOfInstances(t *testing.T) {
	node := fromOutside()
	list := catalog.Instances{
		{Node: node, Service: &catalog.Service{ID: "w1", TaggedAddresses: map[string]catalog.ServiceAddress{"lan": {Address: "10.0.0.1", Port: 80}}},
			Checks: catalog.Checks{{Status: "passing"}, {Status: "warning"}}},
		{Node: node, Service: &catalog.Service{ID: "w2", Tags: []string{"v2"}, Weights: catalog.Weights{Passing: 5}}},
	}
	for expression, want := range map[string]string{
		`Service.TaggedAddresses.lan.Port == 80`:              "w1",
		`Service.TaggedAddresses.lan.Port != 80`:              "w2",
		`Service.TaggedAddresses["lan"].Address is not empty`: "w1",
		`Service.TaggedAddresses.wan.Address == x`:            "",
		`lan in Service.TaggedAddresses`:                      "w1",
		`v2 in Service.Tags`:                                  "w2",
		`Service.Tags contains v2 or Node.Node == other`:      "w2",
		`Service.Weights.Passing == 5`:                        "w2",
		`any Checks as c { c.Status == "warning" }`:           "w1",
		`all Checks as c { c.Status == "passing" }`:           "w2",
		`Checks is empty`:                                     "w2",
		`Service.TaggedAddresses.lan.Nothing == 80`:           "400",
		`Service.Meta.a.b == 80`:                              "400",
		`Service.Weights.Passing == many`:                     "400",
		`Service.Weights == 1`:                                "400",
		`any Checks as c { c.Nothing == "warning" }`:          "400",
	} {
		for _, records := range []catalog.Instances{list, {}} {
			w := start(t, func(cfg *Config) { cfg.Caller = &canned{answers: map[string]any{"health.service": &records}} })
			rec := w.do("GET", "/v1/health/service/web?filter="+url.QueryEscape(expression), "")
			if want == "400" || len(records) == 0 {
				if ok := rec.Code == 200; ok == (want == "400") {
					t.Errorf("%s over %d: %d %s", expression, len(records), rec.Code, rec.Body)
				}
				continue
			}
			var got catalog.Instances
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
				t.Errorf("%s: %d %s", expression, rec.Code, rec.Body)
				continue
			}
			var ids []string
			for _, i := range got {
				ids = append(ids, i.Service.ID)
			}
			if s := strings.Join(ids, " "); s != want {
				t.Errorf("%s: %q, want %q", expression, s, want)
			}
		}
	}
}

// TestBadInputChangesNothing: one row is a request that is refused before
// anything is asked of the datacenter.
func TestBadInputChangesNothing(t *testing.T) {
	for _, c := range []struct{ method, target, body, want string }{
		{"GET", "/v1/catalog/service/", "", "Missing service name"},
		{"GET", "/v1/catalog/node/", "", "Missing node name"},
		{"GET", "/v1/catalog/node-services/", "", "Missing node name"},
		{"GET", "/v1/health/node/", "", "Missing node name"},
		{"GET", "/v1/health/checks/", "", "Missing service name"},
		{"GET", "/v1/health/service/", "", "Missing service name"},
		{"GET", "/v1/health/state/", "", "Missing check state"},
		{"GET", "/v1/health/service/web?passing=maybe", "", "Invalid value for ?passing"},
		{"GET", "/v1/coordinate/node/", "", "Missing node name"},
		{"GET", "/v1/internal/ui/node/", "", "Missing node name"},
		{"PUT", "/v1/coordinate/update", `{"Coord":{}}`, "Missing node name"},
		{"PUT", "/v1/coordinate/update", `{"Node":"n","Coord":{"Vec":[1e999]}}`, "Request decode failed: "},
		{"PUT", "/v1/coordinate/update", `{"Node":"n","Coord":{"Vec":[NaN]}}`, "Request decode failed: "},
		{"PUT", "/v1/catalog/register", `{`, "Request decode failed: "},
		{"PUT", "/v1/catalog/register", `{"Check":{"Definition":{"Interval":"x"}}}`, `Request decode failed: invalid duration "x"`},
		{"PUT", "/v1/catalog/register", `{"Check":{"Definition":{"Timeout":1e300}}}`, "Request decode failed: invalid duration"},
		{"PUT", "/v1/catalog/register", `{"Check":{"Definition":{"Timeout":true}}}`, "Request decode failed: invalid duration"},
		{"PUT", "/v1/catalog/deregister", `[]`, "Request decode failed: "},
		{"PUT", "/v1/catalog/deregister", ``, "Request decode failed: "},
	} {
		caller := &canned{}
		w := start(t, func(cfg *Config) { cfg.Caller = caller })
		rec := w.do(c.method, c.target, c.body)
		if rec.Code != http.StatusBadRequest || !strings.HasPrefix(rec.Body.String(), c.want) || len(caller.asked) > 0 {
			t.Errorf("%s %s: %d %s, asked %v; want 400 %s and nothing asked", c.method, c.target, rec.Code, rec.Body, caller.asked, c.want)
		}
	}
}

// Routes that are said to block hand ?index on, and no other does.
func TestBlockingRoutesAreMarked(t *testing.T) {
	for _, r := range Routes(Config{}) {
		if r.Get == nil || strings.HasPrefix(r.Path, "/v1/agent/") {
			continue
		}
		caller := &canned{answers: records()}
		w := start(t, func(cfg *Config) { cfg.Caller = caller })
		target := r.Path
		if strings.HasSuffix(target, "/") && target != "/" {
			target += "n1"
		}
		w.do("GET", target+"?index=3&wait=1ms", "")
		if got := caller.header.MinIndex == 3; got != r.Blocks {
			t.Errorf("%s: blocks %t, marked %t", r.Path, got, r.Blocks)
		}
	}
}

// What is said to a mesh is kept as it was said, numbers of any size among it.
func TestMeshFieldsAreKept(t *testing.T) {
	caller := &canned{}
	w := start(t, func(cfg *Config) { cfg.Caller = caller })
	const said = `"Proxy":{"DestinationServiceName":"db","Mode":"","Config":{"a":[18014398509481985,1.50],"b":{}},"Upstreams":[{"DestinationType":"",` +
		`"DestinationName":"x","Datacenter":"","MeshGateway":{}}],"MeshGateway":{"Mode":"local"},"Expose":{}},"Connect":{"Native":true}`
	rec := w.do("PUT", "/v1/catalog/register", `{"Node":"n","Address":"1.2.3.4","Service":{"Service":"web",`+said+`}}`)
	if rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	b, err := json.Marshal(caller.request.(*catalog.RegisterRequest).Service)
	if err != nil || !bytes.Contains(b, []byte(said)) {
		t.Errorf("%s %v", b, err)
	}
	if rec = w.do("PUT", "/v1/catalog/register", `{"Node":"n","Address":"1.2.3.4","Service":{"Service":"web","Proxy":{"Config":[1]}}}`); rec.Code != 400 {
		t.Errorf("a list in the place of an object: %d", rec.Code)
	}
}

// A name that DNS cannot carry is taken, said to the operator, and found over
// HTTP.
func TestNamesThatDNSCannotCarry(t *testing.T) {
	for name, warned := range map[string]bool{"web": false, "web-2": false, "w_eb": true, "a b": true, "ünï": true, "a.b": true, strings.Repeat("x", 64): true} {
		var log bytes.Buffer
		caller := &canned{}
		w := start(t, func(cfg *Config) {
			cfg.Caller, cfg.Log = caller, slog.New(slog.NewTextHandler(&log, nil))
		})
		body, err := json.Marshal(map[string]any{"Node": "n", "Address": "1.2.3.4", "Service": map[string]any{"Service": name}})
		if err != nil {
			t.Fatal(err)
		}
		if rec := w.do("PUT", "/v1/catalog/register", string(body)); rec.Code != 200 || strings.Contains(log.String(), "cannot be looked up by DNS") != warned {
			t.Errorf("%q: %d, log %q, want a warning: %t", name, rec.Code, log.String(), warned)
		}
		rec := w.do("GET", "/v1/health/service/"+url.PathEscape(name), "")
		if got, ok := caller.request.(*catalog.ServiceRequest); rec.Code != 200 || !ok || got.Service != name {
			t.Errorf("%q over HTTP: %d, asked for %+v", name, rec.Code, caller.request)
		}
	}
}

// No expression is answered with anything but a list or a refusal.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{`Node.Node == "x"`, `any Checks as c { c.Status == x }`, `"/Service/Meta/a~1b" is empty`, `x in Service.Tags and not (a != b)`,
		"Service.TaggedAddresses[`l\"an`].Port == 1", `Service.Meta["\x22"] matches "("`, `"" == ""`, `all Service.Meta as k, v { k != v }`} {
		f.Add(seed)
	}
	list := catalog.Instances{{Node: fromOutside(), Service: &catalog.Service{ID: "w1", Meta: map[string]string{"a": "b"}}, Checks: catalog.Checks{{Status: "passing"}}}}
	w := start(f, func(cfg *Config) { cfg.Caller = &canned{answers: map[string]any{"health.service": &list}} })
	f.Fuzz(func(t *testing.T, expression string) {
		rec := w.do("GET", "/v1/health/service/web?filter="+url.QueryEscape(expression), "")
		if rec.Code != 200 && rec.Code != 400 {
			t.Errorf("%q: %d %s", expression, rec.Code, rec.Body)
		}
	})
}
