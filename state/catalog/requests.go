package catalog

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -o requests_gen.go -file requests.go
//msgp:limit arrays:4096 maps:4096

// RegisterRequest writes a node and, with it, a service and checks. What is
// already so is not written again.
type RegisterRequest struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	NodeMeta        map[string]string
	Service         *Service
	Check           *Check
	Checks          []Check
	// SkipNodeUpdate leaves a node that exists as it is.
	SkipNodeUpdate bool
}

// DeregisterRequest deletes a check, else a service, else a whole node.
type DeregisterRequest struct {
	Node       string
	Datacenter string
	ServiceID  string
	CheckID    string
}

// RegisterResult says at which index the command was carried out.
type RegisterResult struct {
	Index uint64
}

// NodeRequest names a node.
type NodeRequest struct {
	Node string
}

// ServiceRequest names a service. With Tags, only instances that have all of
// them. With HealthyOnly, only instances whose checks are at least warning;
// with PassingOnly, only passing ones.
type ServiceRequest struct {
	Service     string
	Tags        []string
	PassingOnly bool
	HealthyOnly bool
}

// StateRequest names a state of checks, or AnyState.
type StateRequest struct {
	State string
}

// Register writes nodes, services and checks.
var Register = op.Write[RegisterRequest, RegisterResult]{Name: "catalog.register", Authorize: authorizeRegister, Prepare: prepareRegister}

// Deregister deletes a node, service or check.
var Deregister = op.Write[DeregisterRequest, RegisterResult]{Name: "catalog.deregister", Authorize: authorizeDeregister, Prepare: prepareDeregister}

// ListNodes returns all nodes.
var ListNodes = op.Read[op.Empty, Nodes]{Name: "catalog.nodes", Authorize: filtered[op.Empty], Query: listNodes, Filter: filterNodes, Shared: true}

// GetNode returns one node, or none.
var GetNode = op.Read[NodeRequest, Node]{Name: "catalog.node", Authorize: authorizeNodeRead, Query: getNode}

// ListServices returns all service names with their tags.
var ListServices = op.Read[op.Empty, ServiceTags]{Name: "catalog.services", Authorize: filtered[op.Empty], Query: listServices, Filter: filterServices, Shared: true}

// ListServiceNodes returns the instances of a service.
var ListServiceNodes = op.Read[ServiceRequest, ServiceNodes]{Name: "catalog.service-nodes", Authorize: authorizeServiceRead, Query: listServiceNodes, Filter: filterServiceNodes, Shared: true}

// GetNodeServices returns a node with its services, or none.
var GetNodeServices = op.Read[NodeRequest, NodeServices]{Name: "catalog.node-services", Authorize: authorizeNodeRead, Query: getNodeServices, Filter: filterNodeServices}

// ListInstances returns the instances of a service with their health.
var ListInstances = op.Read[ServiceRequest, Instances]{Name: "health.service", Authorize: authorizeServiceRead, Query: listInstances, Filter: filterInstances, Shared: true}

// ListNodeChecks returns the checks of a node and of what runs on it.
var ListNodeChecks = op.Read[NodeRequest, Checks]{Name: "health.node", Authorize: authorizeNodeRead, Query: listNodeChecks, Filter: filterChecks}

// ListServiceChecks returns the checks of a service.
var ListServiceChecks = op.Read[ServiceRequest, Checks]{Name: "health.checks", Authorize: authorizeServiceRead, Query: listServiceChecks, Filter: filterChecks, Shared: true}

// ListStateChecks returns the checks in a state.
var ListStateChecks = op.Read[StateRequest, Checks]{Name: "health.state", Authorize: filtered[StateRequest], Query: listStateChecks, Filter: filterChecks, Shared: true}

// Operations lists what this package declares.
func Operations() []op.Operation {
	return []op.Operation{&Register, &Deregister, &ListNodes, &GetNode, &ListServices, &ListServiceNodes,
		&GetNodeServices, &ListInstances, &ListNodeChecks, &ListServiceChecks, &ListStateChecks}
}

// filtered is for lists: what the caller may not see is removed from them.
func filtered[Req any](rules.Authorizer, *Req) error { return nil }

func authorizeNodeRead(a rules.Authorizer, r *NodeRequest) error {
	return rules.Require(a, rules.Node, rules.Read, r.Node)
}

func authorizeServiceRead(a rules.Authorizer, r *ServiceRequest) error {
	return rules.Require(a, rules.Service, rules.Read, r.Service)
}

// authorizeRegister asks for the node unless it is left as it is, and for each
// service that is named.
func authorizeRegister(a rules.Authorizer, r *RegisterRequest) error {
	needNode := !r.SkipNodeUpdate
	if r.Service != nil {
		if err := rules.Require(a, rules.Service, rules.Write, r.Service.Service); err != nil {
			return err
		}
	}
	for _, c := range r.all() {
		if c.ServiceID == "" {
			needNode = true
			continue
		}
		if err := rules.Require(a, rules.Service, rules.Write, c.ServiceName); err != nil {
			return err
		}
	}
	if needNode {
		return rules.Require(a, rules.Node, rules.Write, r.Node)
	}
	return nil
}

func authorizeDeregister(a rules.Authorizer, r *DeregisterRequest) error {
	return rules.Require(a, rules.Node, rules.Write, r.Node)
}

// all returns the checks of the request.
func (r *RegisterRequest) all() []Check {
	if r.Check == nil {
		return r.Checks
	}
	return append([]Check{*r.Check}, r.Checks...)
}

func filterNodes(a rules.Authorizer, ns *Nodes) bool {
	return keep((*[]Node)(ns), func(n *Node) bool { return a.Allow(rules.Node, rules.Read, n.Node) })
}

func filterServices(a rules.Authorizer, s *ServiceTags) bool {
	shown := ServiceTags{}
	for name, tags := range *s {
		if a.Allow(rules.Service, rules.Read, name) {
			shown[name] = tags
		}
	}
	filtered := len(shown) < len(*s)
	*s = shown
	return filtered
}

func filterServiceNodes(a rules.Authorizer, ns *ServiceNodes) bool {
	return keep((*[]ServiceNode)(ns), func(n *ServiceNode) bool { return a.Allow(rules.Node, rules.Read, n.Node) })
}

func filterInstances(a rules.Authorizer, is *Instances) bool {
	return keep((*[]Instance)(is), func(i *Instance) bool { return a.Allow(rules.Node, rules.Read, i.Node.Node) })
}

func filterNodeServices(a rules.Authorizer, ns *NodeServices) bool {
	shown := map[string]*Service{}
	for id, s := range ns.Services {
		if a.Allow(rules.Service, rules.Read, s.Service) {
			shown[id] = s
		}
	}
	filtered := len(shown) < len(ns.Services)
	ns.Services = shown
	return filtered
}

func filterChecks(a rules.Authorizer, cs *Checks) bool {
	return keep((*[]Check)(cs), func(c *Check) bool {
		return a.Allow(rules.Node, rules.Read, c.Node) &&
			(c.ServiceName == "" || a.Allow(rules.Service, rules.Read, c.ServiceName))
	})
}

// keep removes what ok refuses, without touching the old array: results may be
// shared. It reports whether anything was removed.
func keep[T any](list *[]T, ok func(*T) bool) bool {
	n := 0
	for i := range *list {
		if ok(&(*list)[i]) {
			n++
		}
	}
	if n == len(*list) {
		return false
	}
	kept := make([]T, 0, n)
	for i := range *list {
		if ok(&(*list)[i]) {
			kept = append(kept, (*list)[i])
		}
	}
	*list = kept
	return true
}
