package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
)

// placed are records of a datacenter whose nodes and services have WAN addresses.
func placed(dc string) map[string]any {
	node := &catalog.Node{Node: "n1", Address: "10.0.0.1", Datacenter: dc, TaggedAddresses: map[string]string{"lan": "10.0.0.1", "wan": "198.51.100.1"}}
	service := &catalog.Service{ID: "web1", Service: "web", Address: "10.0.0.2", Port: 80,
		TaggedAddresses: map[string]catalog.ServiceAddress{"wan": {Address: "198.51.100.2", Port: 8080}}}
	flat := catalog.ServiceNode{Node: "n1", Address: node.Address, Datacenter: dc, TaggedAddresses: node.TaggedAddresses, ServiceID: "web1", ServiceName: "web",
		ServiceAddress: service.Address, ServicePort: service.Port, ServiceTaggedAddresses: service.TaggedAddresses}
	info := catalog.NodeInfo{Node: "n1", Address: node.Address, Datacenter: dc, TaggedAddresses: node.TaggedAddresses, Services: []catalog.Service{*service}}
	return map[string]any{
		"catalog.nodes":         &catalog.Nodes{*node},
		"catalog.service-nodes": &catalog.ServiceNodes{flat},
		"catalog.node-services": &catalog.NodeServices{Node: node, Services: map[string]*catalog.Service{"web1": service}},
		"health.service":        &catalog.Instances{{Node: node, Service: service}},
		"ui.nodes":              &catalog.NodeInfos{info},
		"ui.node":               &info,
		"query.execute":         &query.Answer{Service: "web", Datacenter: dc, Nodes: catalog.Instances{{Node: node, Service: service}}},
	}
}

// Answers about another datacenter show WAN addresses and ports, if that is wanted;
// tagged addresses stay, and so does what is of this datacenter.
func TestAnswersAboutOtherDatacentersAreTranslated(t *testing.T) {
	const (
		near, nearService = `"Address":"10.0.0.1"`, `Address":"10.0.0.2"`
		far, farService   = `"Address":"198.51.100.1"`, `Address":"198.51.100.2"`
	)
	for _, target := range []string{"/v1/catalog/nodes", "/v1/catalog/service/web", "/v1/catalog/node/n1", "/v1/catalog/node-services/n1", "/v1/health/service/web",
		"/v1/internal/ui/nodes", "/v1/internal/ui/node/n1", "/v1/query/web/execute", "/v1/health/service/web?filter=Service.Port==80"} {
		for _, c := range []struct {
			dc, answered string // answered is empty for an answer of several
			translate    bool
			want         bool
		}{{"dc1", "dc1", true, false}, {"dc2", "dc2", true, true}, {"dc2", "", true, true}, {"dc1", "", true, false}, {"dc2", "dc2", false, false}} {
			w := start(t, func(cfg *Config) {
				cfg.Caller = &resttest.Caller{Answers: placed(c.dc), Meta: &op.Meta{Index: 7, KnownLeader: true, Datacenter: c.answered}}
				cfg.TranslateWAN = c.translate
			})
			r := w.do("GET", target, "")
			body := strings.ReplaceAll(r.Body.String(), `"TaggedAddresses":{"wan":{`, "")
			_, tagged, _ := strings.Cut(body, "TaggedAddresses")
			wantNode, wantService, wantPort := near, nearService, "80"
			if c.want {
				wantNode, wantService, wantPort = far, farService, "8080"
			}
			if r.Code != http.StatusOK || !strings.Contains(body, wantNode) || !strings.Contains(tagged, "198.51.100.1") {
				t.Errorf("%s in %s (%+v): %d %s", target, c.dc, c, r.Code, body)
			}
			if strings.Contains(body, "web1") && (!strings.Contains(body, wantService) || !strings.Contains(body, `Port":`+wantPort+",")) {
				t.Errorf("%s in %s (%+v), the service: %s", target, c.dc, c, body)
			}
			if got := r.Header().Get("X-Consul-Translate-Addresses"); (got == "true") != c.translate {
				t.Errorf("%s: the header says %q", target, got)
			}
		}
	}
}
