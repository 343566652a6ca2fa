package catalog

import (
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog/mesh"
)

//go:generate go tool msgp -tests=false -io=false -o requests_gen.go -file requests.go
//msgp:limit arrays:4096 maps:4096

// RegisterRequest writes a node and, with it, a service and checks. What is
// already so is not written again.
type RegisterRequest struct {
	ID              string `msg:",omitempty"`
	Node            string
	Address         string            `msg:",omitempty"`
	Datacenter      string            `msg:",omitempty"`
	TaggedAddresses map[string]string `msg:",omitempty"`
	NodeMeta        map[string]string `msg:",omitempty"`
	PeerName        string            `json:",omitempty" msg:",omitempty"`
	Locality        *mesh.Locality    `json:",omitempty" msg:",omitempty"`
	Service         *Service          `msg:",omitempty"`
	Check           *Check            `msg:",omitempty"`
	Checks          []Check           `msg:",omitempty"`
	// SkipNodeUpdate leaves a node that exists as it is. One that does not may have
	// no address.
	SkipNodeUpdate bool `msg:",omitempty"`
	// Clock is the leader's, see op.Leader: sessions may end with this.
	Clock time.Duration `json:"-" msg:",omitempty"`
}

// DeregisterRequest deletes a service with its checks, else a check, else a
// whole node.
type DeregisterRequest struct {
	Node       string
	Datacenter string
	ServiceID  string
	CheckID    string
	// Clock is the leader's, see op.Leader: sessions may end with this.
	Clock time.Duration `json:"-" msg:",omitempty"`
}

// RegisterResult says at which index the command was carried out.
type RegisterResult struct {
	Index uint64
}

// NodeRequest names a node.
type NodeRequest struct {
	Node string
}

// ServicesRequest asks for the names of services; with NodeMeta, of those on
// nodes that have all of the pairs.
type ServicesRequest struct {
	NodeMeta []string // "key:value", in order: requests for the same look the same
}

// ServiceRequest names a service. With Tags, only instances that have all of
// them; with NodeMeta, only those on nodes that have all of the pairs. With
// HealthyOnly, only instances whose checks are at least warning;
// with PassingOnly, only passing ones.
type ServiceRequest struct {
	Service     string
	Tags        []string
	PassingOnly bool
	HealthyOnly bool
	NodeMeta    []string // as in ServicesRequest
	// OrPort also takes instances that have no such tag, but a port of that name.
	OrPort bool `msg:",omitempty"`
	// Port takes only instances that have a port of this name.
	Port string `msg:",omitempty"`
	// Connect asks for the instances through which a mesh reaches the service:
	// those that are a part of it themselves, and proxies.
	Connect bool `msg:",omitempty"`
}

// StateRequest names a state of checks, or AnyState; with NodeMeta, only of
// nodes that have all of the pairs.
type StateRequest struct {
	State    string
	NodeMeta []string // as in ServicesRequest
}

// Register writes nodes, services and checks.
var Register = op.Write[RegisterRequest, RegisterResult]{Name: "catalog.register", Authorize: authorizeRegister,
	Prepare: prepareRegister, AuthorizeStored: authorizeStoredRegister}

// Deregister deletes a node, service or check.
var Deregister = op.Write[DeregisterRequest, RegisterResult]{Name: "catalog.deregister", Authorize: authorizeDeregister,
	Prepare: prepareDeregister, AuthorizeStored: authorizeStoredDeregister}

// ListNodes returns all nodes.
var ListNodes = op.Read[op.Empty, Nodes]{Name: "catalog.nodes", Authorize: filtered[op.Empty], Query: listNodes, Filter: filterNodes, Shared: true, FanOut: &fanOutNodes}

// GetNode returns one node, or none.
var GetNode = op.Read[NodeRequest, Node]{Name: "catalog.node", Authorize: authorizeNodeRead, Query: getNode, Shared: true, FanOut: &fanOutNode}

// ListServices returns all service names with their tags.
var ListServices = op.Read[ServicesRequest, ServiceTags]{Name: "catalog.services", Authorize: filtered[ServicesRequest], Query: listServices, Filter: filterServices, Shared: true, FanOut: &fanOutServices}

// ListServiceNodes returns the instances of a service.
var ListServiceNodes = op.Read[ServiceRequest, ServiceNodes]{Name: "catalog.service-nodes", Authorize: authorizeInstances, Query: listServiceNodes, Filter: filterServiceNodes, Shared: true, FanOut: &fanOutServiceNodes}

// ListAllServiceNodes returns the instances of all services, of which ?filter on
// their names chooses.
var ListAllServiceNodes = op.Read[ServicesRequest, ServiceNodes]{Name: "catalog.all-service-nodes", Authorize: filtered[ServicesRequest], Query: listAllServiceNodes, Filter: filterServiceNodes, Shared: true, FanOut: &fanOutAllServiceNodes}

// GetNodeServices returns a node with its services, or none.
var GetNodeServices = op.Read[NodeRequest, NodeServices]{Name: "catalog.node-services", Authorize: authorizeNodeRead, Query: getNodeServices, Filter: filterNodeServices}

// ListInstances returns the instances of a service with their health.
var ListInstances = op.Read[ServiceRequest, Instances]{Name: "health.service", Authorize: authorizeInstances, Query: listInstances, Filter: filterInstances, Shared: true, FanOut: &fanOutInstances}

// ListNodeChecks returns the checks of a node and of what runs on it.
var ListNodeChecks = op.Read[NodeRequest, Checks]{Name: "health.node", Authorize: filtered[NodeRequest], Query: listNodeChecks, Filter: filterChecks}

// ListServiceChecks returns the checks of a service.
var ListServiceChecks = op.Read[ServiceRequest, Checks]{Name: "health.checks", Authorize: filtered[ServiceRequest], Query: listServiceChecks, Filter: filterChecks, Shared: true, FanOut: &fanOutChecks}

// ListStateChecks returns the checks in a state.
var ListStateChecks = op.Read[StateRequest, Checks]{Name: "health.state", Authorize: filtered[StateRequest], Query: listStateChecks, Filter: filterChecks, Shared: true, FanOut: &fanOutStates}

// Operations lists what this package declares.
func Operations() []op.Operation {
	return []op.Operation{&Register, &Deregister, &ListNodes, &GetNode, &ListServices, &ListServiceNodes, &ListAllServiceNodes,
		&GetNodeServices, &ListInstances, &ListNodeChecks, &ListServiceChecks, &ListStateChecks,
		&ListNamesAt, &DumpNodes, &DumpNode, &DumpServices, &Summarize, &CountUsage}
}

// all returns the checks of the request.
func (r *RegisterRequest) all() []Check {
	if r.Check == nil {
		return r.Checks
	}
	return append([]Check{*r.Check}, r.Checks...)
}
