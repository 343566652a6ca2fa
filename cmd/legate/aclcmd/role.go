package aclcmd

import (
	"errors"
	"flag"
	"fmt"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

func (p *page) role(r *api.ACLRole) {
	p.column = recordColumn
	p.row("ID", r.ID)
	p.row("Name", r.Name)
	p.roleBody(r)
}

func (p *page) roleBody(r *api.ACLRole) {
	p.row("Description", r.Description)
	p.indexes(r.Hash, r.CreateIndex, r.ModifyIndex)
	p.grants(grants{policies: r.Policies, services: r.ServiceIdentities, nodes: r.NodeIdentities, templates: r.TemplatedPolicies})
}

// findRole reads the role that flags name.
func (n *named) findRole(client *api.Client, q *api.QueryOptions) (*api.ACLRole, error) {
	var r *api.ACLRole
	shown := n.name
	var err error
	if n.id != "" {
		if shown, err = roleID(client, q, n.id); err != nil {
			return nil, err
		}
		r, _, err = client.ACL().RoleRead(shown, q)
	} else {
		r, _, err = client.ACL().RoleReadByName(n.name, q)
	}
	if err == nil && r == nil {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, fmt.Errorf("read the role %q: %w", shown, err)
	}
	return r, nil
}

// RoleCreate is the command acl role create.
func RoleCreate() command.Command {
	return command.Command{
		Name: "acl role create", Synopsis: "Make a role", Access: command.ToDatacenter,
		About:   "Makes a role: what tokens refer to in place of policies, identities and templated policies of their own.",
		Example: "legate acl role create -name=readers -policy-name=read-keys\nlegate acl role create -name=web -service-identity=web",
		New:     func() command.Action { return &roleCreate{} },
	}
}

type roleCreate struct {
	output
	grantFlags
	name, description string
}

func (a *roleCreate) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.grantFlags.Flags(fs, false)
	fs.StringVar(&a.name, "name", "", "`name` of the role.")
	fs.StringVar(&a.description, "description", "", "`text` that says what it is for.")
}

func (a *roleCreate) Run(c *command.Call, _ []string) error {
	switch {
	case a.name == "":
		return errors.New("missing -name")
	case a.empty():
		return errors.New("cannot create a role without anything that it refers to: give at least one of -policy-id, -policy-name, -service-identity, -node-identity, -templated-policy, -templated-policy-file")
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	g, err := a.read(client, c.Client.Query())
	if err != nil {
		return err
	}
	r, _, err := client.ACL().RoleCreate(&api.ACLRole{Name: a.name, Description: a.description,
		Policies: g.policies, ServiceIdentities: g.services, NodeIdentities: g.nodes, TemplatedPolicies: g.templates}, nil)
	if err != nil {
		return fmt.Errorf("create the role %q: %w", a.name, err)
	}
	return a.show(c, r, func(p *page) { p.role(r) })
}

// RoleUpdate is the command acl role update.
func RoleUpdate() command.Command {
	return command.Command{
		Name: "acl role update", Synopsis: "Change a role", Access: command.ToDatacenter,
		About:   "Adds what is given to a role; with -no-merge it takes the place of all that there was. With -id, -name is its new name.",
		Example: "legate acl role update -name=readers -policy-name=read-nodes\nlegate acl role update -name=readers -no-merge -policy-name=read-keys",
		New:     func() command.Action { return &roleUpdate{named: named{what: "role"}} },
	}
}

type roleUpdate struct {
	output
	named
	grantFlags
	description string
	noMerge     bool
}

func (a *roleUpdate) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.named.Flags(fs)
	a.grantFlags.Flags(fs, false)
	fs.StringVar(&a.description, "description", "", "`text` that says what it is for.")
	fs.BoolVar(&a.noMerge, "no-merge", false, "what is given takes the place of all that there was.")
}

func (a *roleUpdate) Run(c *command.Call, _ []string) error {
	if a.id == "" && a.name == "" {
		return errors.New("give -id, -name or both")
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	q := c.Client.Query()
	r, err := a.findRole(client, q)
	if err != nil {
		return err
	}
	g, err := a.read(client, q)
	if err != nil {
		return err
	}
	if a.noMerge {
		r = &api.ACLRole{ID: r.ID, Name: r.Name}
	}
	replace(&r.Name, a.name)
	replace(&r.Description, a.description)
	r.Policies = merged(r.Policies, g.policies, true, sameLink)
	r.ServiceIdentities = merged(r.ServiceIdentities, g.services, true, sameService)
	r.NodeIdentities = merged(r.NodeIdentities, g.nodes, true, sameNode)
	r.TemplatedPolicies = merged(r.TemplatedPolicies, g.templates, true, sameTemplate)
	r, _, err = client.ACL().RoleUpdate(r, nil)
	if err != nil {
		return fmt.Errorf("update the role: %w", err)
	}
	return a.show(c, r, func(p *page) {
		p.text("", "Role updated successfully")
		p.role(r)
	})
}

// RoleRead is the command acl role read.
func RoleRead() command.Command {
	return command.Command{
		Name: "acl role read", Synopsis: "Show a role", Access: command.ToDatacenter,
		About:   "Shows a role and what it refers to.",
		Example: "legate acl role read -name=readers\nlegate acl role read -id=57147d87",
		New:     func() command.Action { return &roleRead{named: named{what: "role"}} },
	}
}

type roleRead struct {
	output
	named
}

func (a *roleRead) Flags(fs *flag.FlagSet) { a.output.Flags(fs); a.named.Flags(fs) }

func (a *roleRead) Run(c *command.Call, _ []string) error {
	if err := choice(a.id, a.name); err != nil {
		return err
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	r, err := a.findRole(client, c.Client.Query())
	if err != nil {
		return err
	}
	return a.show(c, r, func(p *page) { p.role(r) })
}

// RoleDelete is the command acl role delete.
func RoleDelete() command.Command {
	return command.Command{
		Name: "acl role delete", Synopsis: "Delete a role", Access: command.ToDatacenter,
		About:   "Deletes a role. Tokens that refer to it grant nothing by it any more.",
		Example: "legate acl role delete -name=readers",
		New:     func() command.Action { return &roleDelete{named{what: "role"}} },
	}
}

type roleDelete struct{ named }

func (a *roleDelete) Run(c *command.Call, _ []string) error {
	if err := choice(a.id, a.name); err != nil {
		return err
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	r, err := a.findRole(client, c.Client.Query())
	if err != nil {
		return err
	}
	if _, err := client.ACL().RoleDelete(r.ID, nil); err != nil {
		return fmt.Errorf("delete the role %q: %w", r.Name, err)
	}
	fmt.Fprintf(c.Stdout, "Role %q deleted successfully\n", r.ID)
	return nil
}

// RoleList is the command acl role list.
func RoleList() command.Command {
	return command.Command{
		Name: "acl role list", Synopsis: "List roles", Access: command.ToDatacenter,
		About:   "Lists all roles with what they refer to.",
		Example: "legate acl role list\nlegate acl role list -format=json",
		New:     func() command.Action { return &roleList{} },
	}
}

type roleList struct{ output }

func (a *roleList) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	list, _, err := client.ACL().RoleList(c.Client.Query())
	if err != nil {
		return fmt.Errorf("list roles: %w", err)
	}
	return a.show(c, list, func(p *page) {
		for _, r := range list {
			p.entry(r.Name)
			p.row("ID", r.ID)
			p.roleBody(r)
		}
	})
}
