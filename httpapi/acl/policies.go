package acl

import (
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
)

// policyEntry is a policy in a list: without its rules.
type policyEntry struct {
	ID, Name, Description    string
	Datacenters              []string
	Hash                     []byte
	CreateIndex, ModifyIndex uint64
}

func (a *API) policies(x *rest.Exchange) error {
	return list(a, x, &acl.ListPolicies, &op.Empty{}, func(p *acl.Policy) policyEntry {
		return policyEntry{p.ID, p.Name, p.Description, p.Datacenters, p.Hash, p.CreateIndex, p.ModifyIndex}
	})
}

func (a *API) policy(x *rest.Exchange) error {
	id, err := x.Argument("Missing policy ID")
	if err != nil {
		return err
	}
	return a.showPolicy(x, &acl.NamedRequest{ID: id})
}

func (a *API) policyByName(x *rest.Exchange) error {
	name, err := nameOf(x, "Missing policy Name")
	if err != nil {
		return err
	}
	return a.showPolicy(x, &acl.NamedRequest{Name: name})
}

// showPolicy answers 403 where there is none, as clients know it of policies and tokens.
func (a *API) showPolicy(x *rest.Exchange, req *acl.NamedRequest) error {
	p, err := read(a, x, &acl.GetPolicy, req)
	switch {
	case err != nil:
		return err
	case p == nil:
		return missing(http.StatusForbidden, "policy")
	}
	return x.JSON(p)
}

func (a *API) createPolicy(x *rest.Exchange) error {
	return a.setPolicy(x, &acl.SetPolicyRequest{Create: true})
}

func (a *API) updatePolicy(x *rest.Exchange) error { return a.setPolicy(x, &acl.SetPolicyRequest{}) }

func (a *API) setPolicy(x *rest.Exchange, req *acl.SetPolicyRequest) error {
	if err := x.Decode(&req.Policy); err != nil {
		return err
	}
	if !req.Create {
		if err := named(x, &req.Policy.ID, "Policy ID"); err != nil {
			return err
		}
	}
	p, err := write(a, x, &acl.SetPolicy, req)
	if err != nil {
		return err
	}
	return x.JSON(p)
}

func (a *API) deletePolicy(x *rest.Exchange) error {
	id, err := x.Argument("Missing policy ID")
	if err != nil {
		return err
	}
	return remove(a, x, &acl.DeletePolicy, &acl.NamedRequest{ID: id})
}

// readRules says of a text what it would grant as the rules of a policy and what is wrong with it,
// line by line. It is stored nowhere.
func (a *API) readRules(x *rest.Exchange) error {
	if err := x.Require(rules.ACL, rules.Read, ""); err != nil {
		return err
	}
	b, err := x.Body(rest.MaxBody)
	if err != nil {
		return err
	}
	placed, faults := rules.ParseLines(string(b))
	return x.JSON(struct {
		Rules  []rules.Placed
		Faults []rules.Fault
	}{rest.Some(placed), rest.Some(faults)})
}

func (a *API) roles(x *rest.Exchange) error {
	return list(a, x, &acl.ListRoles, &acl.RolesRequest{Policy: x.Get("policy")}, same[acl.Role])
}

func (a *API) role(x *rest.Exchange) error {
	id, err := x.Argument("Missing role ID")
	if err != nil {
		return err
	}
	return a.showRole(x, &acl.NamedRequest{ID: id})
}

func (a *API) roleByName(x *rest.Exchange) error {
	name, err := nameOf(x, "Missing role Name")
	if err != nil {
		return err
	}
	return a.showRole(x, &acl.NamedRequest{Name: name})
}

func (a *API) showRole(x *rest.Exchange, req *acl.NamedRequest) error {
	r, err := read(a, x, &acl.GetRole, req)
	switch {
	case err != nil:
		return err
	case r == nil:
		return missing(http.StatusNotFound, "role")
	}
	return x.JSON(r)
}

func (a *API) createRole(x *rest.Exchange) error {
	return a.setRole(x, &acl.SetRoleRequest{Create: true})
}

func (a *API) updateRole(x *rest.Exchange) error { return a.setRole(x, &acl.SetRoleRequest{}) }

func (a *API) setRole(x *rest.Exchange, req *acl.SetRoleRequest) error {
	if err := x.Decode(&req.Role); err != nil {
		return err
	}
	if !req.Create {
		if err := named(x, &req.Role.ID, "Role ID"); err != nil {
			return err
		}
	}
	r, err := write(a, x, &acl.SetRole, req)
	if err != nil {
		return err
	}
	return x.JSON(r)
}

func (a *API) deleteRole(x *rest.Exchange) error {
	id, err := x.Argument("Missing role ID")
	if err != nil {
		return err
	}
	return remove(a, x, &acl.DeleteRole, &acl.NamedRequest{ID: id})
}
