package catalog

import (
	"strings"

	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog/mesh"
	"github.com/legate-project/legate/storage"
)

// filtered is for lists: what the caller may not see is removed from them.
func filtered[Req any](rules.Authorizer, *Req) error { return nil }

func authorizeNodeRead(a rules.Authorizer, r *NodeRequest) error {
	return rules.Require(a, rules.Node, rules.Read, r.Node)
}

// authorizeInstances asks for the service itself where the instances through which a
// mesh reaches it are wanted, which have names of their own. Else what the caller may
// not see is removed from the list.
func authorizeInstances(a rules.Authorizer, r *ServiceRequest) error {
	if !r.Connect {
		return nil
	}
	return rules.Require(a, rules.Service, rules.Read, r.Service)
}

// authorizeRegister asks for what the request says of itself. Which node and
// which services it changes, only what is stored can tell.
func authorizeRegister(a rules.Authorizer, r *RegisterRequest) error {
	needNode := r.Service == nil && len(r.all()) == 0
	if r.Service != nil {
		if err := rules.Require(a, rules.Service, rules.Write, r.Service.Service); err != nil {
			return err
		}
		if r.Service.Kind == mesh.ConnectProxy { // it is found as an instance of what it stands before
			if err := rules.Require(a, rules.Service, rules.Write, r.Service.Proxy.DestinationServiceName); err != nil {
				return err
			}
		}
	}
	for _, c := range r.all() {
		if c.ServiceID == "" {
			needNode = true
		}
	}
	if needNode {
		return rules.Require(a, rules.Node, rules.Write, r.Node)
	}
	return nil
}

// authorizeStoredRegister asks for the node if it changes, for the service that
// is replaced, and for those whose checks are written.
func authorizeStoredRegister(a rules.Authorizer, tx storage.Reader, r *RegisterRequest) error {
	old, err := nodes.Get(tx, nodeKey(r.Node))
	if err != nil {
		return err
	}
	if old == nil || !r.SkipNodeUpdate && !r.node(old).Same(old) {
		if err := authorizeNode(a, tx, r); err != nil {
			return err
		}
	}
	if s := r.Service; s != nil {
		stored, err := services.Get(tx, serviceKey(r.Node, s.ID))
		if err != nil {
			return err
		}
		if stored != nil {
			if err := rules.Require(a, rules.Service, rules.Write, stored.Service.Service); err != nil {
				return err
			}
		}
	}
	for _, c := range r.all() {
		if err := authorizeCheck(a, tx, r, &c); err != nil {
			return err
		}
	}
	return nil
}

// authorizeNode asks for the node, and for the one that would make room for it
// because it has its ID.
func authorizeNode(a rules.Authorizer, tx storage.Reader, r *RegisterRequest) error {
	if err := rules.Require(a, rules.Node, rules.Write, r.Node); err != nil || r.ID == "" {
		return err
	}
	for other, err := range nodesByID.Scan(tx, storage.Key(strings.ToLower(r.ID))) {
		if err != nil {
			return err
		}
		if err := rules.Require(a, rules.Node, rules.Write, other.Node); err != nil {
			return err
		}
	}
	return nil
}

// authorizeCheck asks for what a check is of, and for what the check was of
// that it replaces.
func authorizeCheck(a rules.Authorizer, tx storage.Reader, r *RegisterRequest, c *Check) error {
	of := c.ServiceID
	if r.Service == nil || of != r.Service.ID { // the request's own service is allowed already
		if err := authorizeOwner(a, tx, r.Node, of); err != nil {
			return err
		}
	}
	stored, err := checks.Get(tx, checkKey(r.Node, c.CheckID))
	if err != nil || stored == nil || stored.ServiceID == of {
		return err
	}
	return authorizeOwner(a, tx, r.Node, stored.ServiceID)
}

// authorizeOwner asks for a service on a node, or for the node itself without
// an ID or if it has no such service.
func authorizeOwner(a rules.Authorizer, tx storage.Reader, node, serviceID string) error {
	if serviceID != "" {
		s, err := services.Get(tx, serviceKey(node, serviceID))
		if err != nil {
			return err
		}
		if s != nil {
			return rules.Require(a, rules.Service, rules.Write, s.Service.Service)
		}
	}
	return rules.Require(a, rules.Node, rules.Write, node)
}

// authorizeDeregister asks for the node if the whole of it goes.
func authorizeDeregister(a rules.Authorizer, r *DeregisterRequest) error {
	if r.ServiceID != "" || r.CheckID != "" {
		return nil
	}
	return rules.Require(a, rules.Node, rules.Write, r.Node)
}

// authorizeStoredDeregister asks for the node or for the service that goes or
// loses a check: an agent must be able to remove what it may not register any
// more.
func authorizeStoredDeregister(a rules.Authorizer, tx storage.Reader, r *DeregisterRequest) error {
	denied := rules.Require(a, rules.Node, rules.Write, r.Node)
	if denied == nil {
		return nil
	}
	id := r.ServiceID
	if id == "" {
		c, err := checks.Get(tx, checkKey(r.Node, r.CheckID))
		if err != nil {
			return err
		}
		if c == nil {
			return denied
		}
		id = c.ServiceID
	}
	return authorizeOwner(a, tx, r.Node, id)
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

// filterServiceNodes looks at the service too: proxies have names of their own.
func filterServiceNodes(a rules.Authorizer, ns *ServiceNodes) bool {
	return keep((*[]ServiceNode)(ns), func(n *ServiceNode) bool {
		return a.Allow(rules.Node, rules.Read, n.Node) && a.Allow(rules.Service, rules.Read, n.ServiceName)
	})
}

func filterInstances(a rules.Authorizer, is *Instances) bool {
	return keep((*[]Instance)(is), func(i *Instance) bool {
		return a.Allow(rules.Node, rules.Read, i.Node.Node) && a.Allow(rules.Service, rules.Read, i.Service.Service)
	})
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
