package httpapi

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi/agent"
	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/status"
)

// datacenter has keys, two nodes and a service.
func datacenter() *resttest.Caller {
	n1 := catalog.Node{ID: "id", Node: "n1", Address: "10.0.0.1", Datacenter: "dc1", Meta: map[string]string{"rack": "r1"}}
	answers := resttest.Keys()
	maps.Copy(answers, map[string]any{
		"catalog.nodes":    &catalog.Nodes{n1, {Node: "n2"}},
		"catalog.register": &catalog.RegisterResult{Index: 9},
		"catalog.node-services": resttest.Answer(func(r *catalog.NodeRequest) (any, error) {
			if r.Node != n1.Node {
				return nil, nil
			}
			return &catalog.NodeServices{Node: &n1, Services: map[string]*catalog.Service{"web": {ID: "web", Service: "web", Port: 80}}}, nil
		}),
		"health.service": resttest.Answer(func(r *catalog.ServiceRequest) (any, error) {
			if r.Service != "web" {
				return &catalog.Instances{}, nil
			}
			return &catalog.Instances{{Node: &n1, Service: &catalog.Service{ID: "web1", Service: "web", Port: 80},
				Checks: catalog.Checks{{Node: "n1", CheckID: "serfHealth", Status: "passing"}}}}, nil
		}),
		"status.leader":      &op.Text{Text: "10.0.0.1:8300"},
		"status.datacenters": &op.Texts{Texts: []string{"dc1", "dc2"}},
		"status.raft": &status.RaftConfiguration{Index: 1,
			Servers: []status.RaftServer{{ID: "id", Node: "n1", Address: "10.0.0.1:8300", Leader: true, Voter: true}}},
		"coordinate.datacenters": &coordinate.DatacenterMaps{{Datacenter: "dc1", AreaID: "wan"}},
	})
	return &resttest.Caller{Answers: answers, Only: "dc1"}
}

// thisAgent is the agent n1 of dc1, and no server.
type thisAgent struct{ agent.Agent }

// Self implements agent.Facts.
func (thisAgent) Self() agent.SelfView {
	return agent.SelfView{Config: agent.SelfConfig{Datacenter: "dc1", NodeName: "n1"}}
}

// world is a server with the datacenter that it asks, if a test has no other, and its
// metrics.
type world struct {
	*Server
	tested *resttest.Server // its routes
	caller *resttest.Caller
	reg    *prometheus.Registry
}

func start(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{caller: datacenter(), reg: prometheus.NewRegistry()}
	cfg := Config{Caller: w.caller, Agent: thisAgent{}, Local: struct{ agent.Local }{}, Datacenter: "dc1", NodeName: "n1", MaxValueSize: 8192,
		Log: logging.Discard(), Registerer: w.reg, Metrics: http.NotFoundHandler(), AgentMetrics: http.NotFoundHandler()}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if w.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	w.tested = &resttest.Server{Handler: w.Server.api}
	return w
}

func (w *world) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	return w.tested.Do(method, target, body, headers...)
}

func httpConfig(c config.HTTPConfig) func(*Config) { return func(cfg *Config) { cfg.HTTP = c } }
