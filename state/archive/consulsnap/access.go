package consulsnap

import (
	"slices"
	"time"

	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog/mesh"
)

// The types of records of access control.
const (
	typeToken   = 17
	typePolicy  = 19
	typeRole    = 23
	typeBinding = 25
	typeMethod  = 27
)

func (c *converter) access(r *record) error {
	switch r.typ {
	case typeToken:
		return c.token(r)
	case typePolicy:
		return c.policy(r)
	case typeRole:
		return c.role(r)
	case typeBinding:
		return c.binding(r)
	}
	return c.method(r)
}

func (c *converter) token(r *record) error {
	var t struct {
		acl.Token
		tenant
		ExpirationTTL time.Duration // from which ExpirationTime was made
	}
	if err := decode(r.body, &t, c.lost(r)); err != nil {
		return err
	}
	if t.SecretID == "" || t.AccessorID == "" {
		c.tally.add(kind{"ACL tokens that are not whole", left, "nobody can show or name them"}, r.size, nil)
		return nil
	}
	c.indexed(&t.CreateIndex, &t.ModifyIndex)
	if slices.ContainsFunc(t.Policies, func(l acl.Link) bool { return l.ID == acl.ManagementID }) {
		c.bootstrapped = max(c.bootstrapped, t.CreateIndex)
	}
	rows, err := acl.TokenRows(&t.Token)
	return c.put(r.kind.name, r.size, rows, err)
}

func (c *converter) policy(r *record) error {
	var p struct {
		acl.Policy
		tenant
	}
	if err := decode(r.body, &p, c.lost(r)); err != nil {
		return err
	}
	if acl.ParsePolicy(&p.Policy) != nil { // left out, its tokens might do what it denied them
		p.Parsed = *rules.Nothing()
		c.tally.field(r.kind.name + ": the Rules of " + nameOf(r) + ", which are not known here, so that it denies everything")
	}
	c.indexed(&p.CreateIndex, &p.ModifyIndex)
	rows, err := acl.PolicyRows(&p.Policy)
	return c.put(r.kind.name, r.size, rows, err)
}

func (c *converter) role(r *record) error {
	var role struct {
		acl.Role
		tenant
	}
	if err := decode(r.body, &role, c.lost(r)); err != nil {
		return err
	}
	c.indexed(&role.CreateIndex, &role.ModifyIndex)
	rows, err := acl.RoleRows(&role.Role)
	return c.put(r.kind.name, r.size, rows, err)
}

func (c *converter) binding(r *record) error {
	var b struct {
		acl.Binding
		tenant
	}
	if err := decode(r.body, &b, c.lost(r)); err != nil {
		return err
	}
	c.indexed(&b.CreateIndex, &b.ModifyIndex)
	rows, err := acl.BindingRows(&b.Binding)
	return c.put(r.kind.name, r.size, rows, err)
}

func (c *converter) method(r *record) error {
	var m struct {
		acl.Method
		tenant
		Config mesh.FreeForm // an object whose keys the kind of method knows
	}
	if err := decode(r.body, &m, c.lost(r)); err != nil {
		return err
	}
	m.Method.Config = m.Config
	c.indexed(&m.CreateIndex, &m.ModifyIndex)
	rows, err := acl.MethodRows(&m.Method)
	return c.put(r.kind.name, r.size, rows, err)
}
