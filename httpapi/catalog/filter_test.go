package catalog

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/state/catalog"
)

// One row is an expression with the names that pass.
func TestFiltersOfNodes(t *testing.T) {
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
		w := serve(t, &resttest.Caller{Answers: map[string]any{"catalog.nodes": &nodes}})
		req, err := http.NewRequest("GET", "/v1/catalog/nodes", nil)
		if err != nil {
			t.Fatal(err)
		}
		q := req.URL.Query()
		q.Set("filter", expression)
		rec := w.Do("GET", "/v1/catalog/nodes?"+q.Encode(), "")
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

// One row is an expression with the names and tags of the
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
		caller := &resttest.Caller{Answers: map[string]any{"catalog.all-service-nodes": &list}}
		w := serve(t, caller)
		rec := w.Do("GET", "/v1/catalog/services?node-meta=k:v&"+url.Values{"filter": {expression}}.Encode(), "")
		if got := rec.Body.String(); rec.Code != http.StatusOK || got != want || rec.Header().Get("X-Consul-Index") != "7" {
			t.Errorf("%s: %d %s, want %s", expression, rec.Code, got, want)
		}
		if req, ok := caller.Request().(*catalog.ServicesRequest); !ok || !slices.Equal(req.NodeMeta, []string{"k:v"}) {
			t.Errorf("%s: asked %+v", expression, caller.Request())
		}
	}
	w := serve(t, &resttest.Caller{})
	if rec := w.Do("GET", "/v1/catalog/services?filter=Nope==x", ""); rec.Code != http.StatusBadRequest {
		t.Errorf("a field that is not there: %d %s", rec.Code, rec.Body)
	}
}
