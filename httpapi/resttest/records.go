package resttest

import (
	"time"

	"github.com/legate-project/legate/state/catalog"
)

// Node is one as it comes from a peer: without tags and metadata that are none.
func Node() *catalog.Node {
	return &catalog.Node{Node: "n1", Address: "10.0.0.1", Datacenter: "dc1", TaggedAddresses: map[string]string{}, CreateIndex: 3, ModifyIndex: 4}
}

// Records are the answers of a datacenter with a few nodes, services and checks to all reads
// of lists.
func Records() map[string]any {
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
		"catalog.nodes":         &catalog.Nodes{*Node()},
		"catalog.services":      &catalog.ServiceTags{"web": {"v1"}, "db": nil},
		"catalog.service-nodes": &catalog.ServiceNodes{{Node: "n1", Address: "10.0.0.1", Datacenter: "dc1", ServiceID: "web1", ServiceName: "web", ServicePort: 80, ServiceWeights: web.Weights, CreateIndex: 5, ModifyIndex: 6}},
		"catalog.node-services": &catalog.NodeServices{Node: Node(), Services: map[string]*catalog.Service{"web1": &full}},
		"health.service":        &catalog.Instances{{Node: Node(), Service: &web, Checks: catalog.Checks{check}}},
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

// How records of Records are shown.
const (
	NodeJSON  = `"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":3,"ModifyIndex":4`
	meshJSON  = `"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":""`
	WebJSON   = `{"ID":"web1","Service":"web","Tags":[],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,` + meshJSON + `,"CreateIndex":5,"ModifyIndex":6}`
	FullJSON  = `{"ID":"web1","Service":"web","Tags":["v1"],"Address":"10.0.0.9","TaggedAddresses":{"lan":{"Address":"10.0.0.9","Port":80}},"Meta":{"v":"2"},"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,` + meshJSON + `,"CreateIndex":5,"ModifyIndex":6}`
	CheckJSON = `{"Node":"n1","CheckID":"c1","Name":"http","Status":"passing","Notes":"","Output":"","ServiceID":"web1","ServiceName":"web","ServiceTags":[],"Type":"http","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":7,"ModifyIndex":8}`
)
