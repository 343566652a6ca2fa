package health

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/state/catalog"
)

// One row is an expression with the services that pass.
func TestFiltersOfInstances(t *testing.T) {
	node := resttest.Node()
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
			w := serve(t, &resttest.Caller{Answers: map[string]any{"health.service": &records}})
			rec := w.Do("GET", "/v1/health/service/web?filter="+url.QueryEscape(expression), "")
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

// No expression is answered with anything but a list or a refusal.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{`Node.Node == "x"`, `any Checks as c { c.Status == x }`, `"/Service/Meta/a~1b" is empty`, `x in Service.Tags and not (a != b)`,
		"Service.TaggedAddresses[`l\"an`].Port == 1", `Service.Meta["\x22"] matches "("`, `"" == ""`, `all Service.Meta as k, v { k != v }`} {
		f.Add(seed)
	}
	list := catalog.Instances{{Node: resttest.Node(), Service: &catalog.Service{ID: "w1", Meta: map[string]string{"a": "b"}}, Checks: catalog.Checks{{Status: "passing"}}}}
	w := serve(f, &resttest.Caller{Answers: map[string]any{"health.service": &list}})
	f.Fuzz(func(t *testing.T, expression string) {
		rec := w.Do("GET", "/v1/health/service/web?filter="+url.QueryEscape(expression), "")
		if rec.Code != 200 && rec.Code != 400 {
			t.Errorf("%q: %d %s", expression, rec.Code, rec.Body)
		}
	})
}
