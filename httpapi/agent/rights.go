package agent

import (
	"cmp"

	"github.com/legate-project/legate/agent/local"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
)

// visible returns what passes, and says in the answer if something did not.
func visible[T any](x *rest.Exchange, all []T, passes func(*T) bool) []T {
	out := make([]T, 0, len(all))
	for i := range all {
		if passes(&all[i]) {
			out = append(out, all[i])
		}
	}
	x.Hidden(len(out) < len(all))
	return out
}

// caller is who asks something about this agent's services and checks.
type caller struct {
	rules.Authorizer
	node  string
	local Records
}

func (a *API) caller(x *rest.Exchange) (caller, error) {
	may, err := x.Authorizer()
	return caller{may, x.NodeName(), a.Local}, err
}

// seesCheck reports whether a check may be shown: as its service, or its node.
func (c caller) seesCheck(check *catalog.Check) bool {
	if check.ServiceName != "" {
		return c.Allow(rules.Service, rules.Read, check.ServiceName)
	}
	return c.Allow(rules.Node, rules.Read, c.node)
}

// writesService asks for a service that this agent has.
func (c caller) writesService(id string) error {
	if rules.Unlimited(c.Authorizer) { // whether it is there is found later
		return nil
	}
	s, _, ok := c.local.Service(id)
	if !ok {
		return localFault(local.ErrUnknownService, id)
	}
	return rules.Require(c, rules.Service, rules.Write, s.Service)
}

// writesCheck asks for a check that this agent has: for its service, or its node.
func (c caller) writesCheck(id string) error {
	if rules.Unlimited(c.Authorizer) {
		return nil
	}
	check, ok := c.local.Check(id)
	if !ok {
		return localFault(local.ErrUnknownCheck, id)
	}
	return c.writesOwner(check.ServiceName)
}

// writesOwner asks for what a check is about: the service of that name, or the node.
func (c caller) writesOwner(service string) error {
	if service != "" {
		return rules.Require(c, rules.Service, rules.Write, service)
	}
	return rules.Require(c, rules.Node, rules.Write, c.node)
}

// registersService asks for all that a definition is or takes the place of: the service
// and its sidecar, those that have their IDs, those that they are proxies of, and the
// owners of checks that have the IDs of theirs.
func (c caller) registersService(def *config.ServiceDefinition) error {
	if rules.Unlimited(c.Authorizer) {
		return nil
	}
	defs, err := c.local.Registered(*def)
	if err != nil {
		return localFault(err, def.ID)
	}
	for i := range defs {
		if err := c.registers(&defs[i]); err != nil {
			return err
		}
	}
	return nil
}

// registers asks for one service of those.
func (c caller) registers(def *config.ServiceDefinition) error {
	names := []string{def.Name}
	if old, _, ok := c.local.Service(def.ID); ok {
		names = append(names, old.Service)
	}
	if def.Kind == mesh.ConnectProxy {
		names = append(names, def.Proxy.DestinationServiceName)
	}
	for _, n := range names {
		if err := rules.Require(c, rules.Service, rules.Write, n); err != nil {
			return err
		}
	}
	for i := range def.Checks {
		if old, ok := c.local.Check(def.Checks[i].ID); ok {
			if err := c.writesOwner(old.ServiceName); err != nil {
				return err
			}
		}
	}
	return nil
}

// registersCheck asks for what a check is about, and for the one that has its ID.
func (c caller) registersCheck(def *config.CheckDefinition) error {
	if rules.Unlimited(c.Authorizer) {
		return nil
	}
	about := ""
	if def.ServiceID != "" {
		s, _, ok := c.local.Service(def.ServiceID)
		if !ok {
			return nil // it is refused as wrong
		}
		about = s.Service
	}
	if err := c.writesOwner(about); err != nil {
		return err
	}
	if old, ok := c.local.Check(cmp.Or(def.ID, def.Name)); ok {
		return c.writesOwner(old.ServiceName)
	}
	return nil
}
