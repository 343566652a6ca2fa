package catalog

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -o overview_gen.go -file overview.go
//msgp:limit arrays:1048576 maps:4096

// NodeInfo is a node with all that is on it.
type NodeInfo struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	Services        []Service
	Checks          Checks
}

// NodeInfos are nodes in the order of their names.
type NodeInfos []NodeInfo

// ServicePart is what one node has of a service: how many instances, with which
// tags, and how many checks in which state, those of the node and of proxies of
// the service among them. There is none without an instance.
type ServicePart struct {
	Node      string
	Tags      []string
	Sources   []string // who registered them from outside, as their metadata says
	Instances int
	Passing   int
	Warning   int
	Critical  int
}

// ServiceParts is a service with what each node has of it.
type ServiceParts struct {
	Name  string
	Kind  string
	Parts []ServicePart
	// Native says that some instance is a part of a mesh itself, Proxied that one has
	// a proxy, and Transparent that traffic is redirected to all of those.
	Native      bool `msg:",omitempty"`
	Proxied     bool `msg:",omitempty"`
	Transparent bool `msg:",omitempty"`
}

// ServiceList is services in the order of their names.
type ServiceList []ServiceParts

// HealthSummary counts things by their health.
type HealthSummary struct {
	Name     string `json:",omitempty"`
	Total    int
	Passing  int
	Warning  int
	Critical int
}

// Summary counts what is in the catalog: all nodes together, the instances of
// each service, and the checks of each name.
type Summary struct {
	Nodes    []HealthSummary
	Services []HealthSummary
	Checks   []HealthSummary
}

// DumpNodes returns all nodes with all that is on them.
var DumpNodes = op.Read[op.Empty, NodeInfos]{Name: "ui.nodes", Authorize: filtered[op.Empty], Query: dumpNodes, Filter: filterNodeInfos, Shared: true}

// DumpNode returns one node with all that is on it, or none.
var DumpNode = op.Read[NodeRequest, NodeInfo]{Name: "ui.node", Authorize: authorizeNodeRead, Query: dumpNode, Filter: filterNodeInfo}

// DumpServices returns all services with their health.
var DumpServices = op.Read[op.Empty, ServiceList]{Name: "ui.services", Authorize: filtered[op.Empty], Query: dumpServices, Filter: filterServiceList, Shared: true}

// Summarize counts what is in the catalog. It tells of all, so it asks for the
// right to read about the datacenter.
var Summarize = op.Read[op.Empty, Summary]{Name: "ui.catalog-overview", Authorize: authorizeSummary, Query: summarize, Shared: true}

func authorizeSummary(a rules.Authorizer, _ *op.Empty) error {
	return rules.Require(a, rules.Operator, rules.Read, "")
}

func filterNodeInfo(a rules.Authorizer, n *NodeInfo) bool {
	services := keep(&n.Services, func(s *Service) bool { return a.Allow(rules.Service, rules.Read, s.Service) })
	return filterChecks(a, &n.Checks) || services
}

func filterNodeInfos(a rules.Authorizer, ns *NodeInfos) bool {
	filtered := keep((*[]NodeInfo)(ns), func(n *NodeInfo) bool { return a.Allow(rules.Node, rules.Read, n.Node) })
	shown := make(NodeInfos, len(*ns))
	copy(shown, *ns)
	for i := range shown {
		if filterNodeInfo(a, &shown[i]) {
			filtered = true
		}
	}
	*ns = shown
	return filtered
}

func filterServiceList(a rules.Authorizer, l *ServiceList) bool {
	filtered := keep((*[]ServiceParts)(l), func(s *ServiceParts) bool { return a.Allow(rules.Service, rules.Read, s.Name) })
	shown := make(ServiceList, 0, len(*l))
	for _, s := range *l {
		if keep(&s.Parts, func(p *ServicePart) bool { return a.Allow(rules.Node, rules.Read, p.Node) }) {
			filtered = true
		}
		if len(s.Parts) > 0 {
			shown = append(shown, s)
		}
	}
	*l = shown
	return filtered
}

// add counts one thing in a state.
func (h *HealthSummary) add(status string) {
	h.Total++
	switch status {
	case Passing:
		h.Passing++
	case Warning:
		h.Warning++
	case Critical:
		h.Critical++
	}
}
