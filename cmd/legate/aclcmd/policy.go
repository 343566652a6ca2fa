package aclcmd

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// named are the flags that name a record by its ID or its name.
type named struct {
	what, id, name string
}

func (n *named) Flags(fs *flag.FlagSet) {
	fs.StringVar(&n.id, "id", "", "`ID` of the "+n.what+", or the beginning of one.")
	fs.StringVar(&n.name, "name", "", "`name` of the "+n.what+".")
}

func (p *page) policy(pol *api.ACLPolicy) {
	p.column = recordColumn
	p.row("ID", pol.ID)
	p.row("Name", pol.Name)
	p.row("Description", pol.Description)
	p.row("Datacenters", strings.Join(pol.Datacenters, ", "))
	p.indexes(pol.Hash, pol.CreateIndex, pol.ModifyIndex)
	p.text("", "Rules:")
	p.text("", pol.Rules)
}

// findPolicy reads the policy that flags name.
func (n *named) findPolicy(client *api.Client, q *api.QueryOptions) (*api.ACLPolicy, error) {
	if n.id != "" {
		id, err := policyID(client, q, n.id)
		if err != nil {
			return nil, err
		}
		p, _, err := client.ACL().PolicyRead(id, q)
		if err != nil {
			return nil, fmt.Errorf("read the policy %s: %w", id, err)
		}
		return p, nil
	}
	p, _, err := client.ACL().PolicyReadByName(n.name, q)
	if err == nil && p == nil {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, fmt.Errorf("read the policy %q: %w", n.name, err)
	}
	return p, nil
}

// PolicyCreate is the command acl policy create.
func PolicyCreate() command.Command {
	return command.Command{
		Name: "acl policy create", Synopsis: "Make a policy", Access: command.ToDatacenter,
		About:   "Makes a policy from rules: as a text, from a file (@name) or from the standard input (-).",
		Example: "legate acl policy create -name=read-keys -rules='key_prefix \"app/\" { policy = \"read\" }'\nlegate acl policy create -name=agents -rules=@agents.hcl -valid-datacenter=dc1",
		New:     func() command.Action { return &policyCreate{} },
	}
}

// policyBody are the flags that say what is in a policy.
type policyBody struct {
	description, rules string
	datacenters        command.ListFlag
}

func (b *policyBody) Flags(fs *flag.FlagSet) {
	fs.StringVar(&b.description, "description", "", "`text` that says what it is for.")
	fs.StringVar(&b.rules, "rules", "", "the `rules`: a text, @ and the name of a file, or - for the standard input.")
	fs.Var(&b.datacenters, "valid-datacenter", "`datacenter` in which it counts; may be repeated. Default: all.")
}

type policyCreate struct {
	output
	policyBody
	name string
}

func (a *policyCreate) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.policyBody.Flags(fs)
	fs.StringVar(&a.name, "name", "", "`name` of the policy.")
}

func (a *policyCreate) Run(c *command.Call, _ []string) error {
	if a.name == "" {
		return errors.New("missing -name")
	}
	rules, err := textOf(c.Stdin, a.rules)
	if err != nil {
		return err
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	p, _, err := client.ACL().PolicyCreate(&api.ACLPolicy{Name: a.name, Description: a.description, Datacenters: a.datacenters, Rules: rules}, nil)
	if err != nil {
		return fmt.Errorf("create the policy %q: %w", a.name, err)
	}
	return a.show(c, p, func(out *page) { out.policy(p) })
}

// PolicyUpdate is the command acl policy update.
func PolicyUpdate() command.Command {
	return command.Command{
		Name: "acl policy update", Synopsis: "Change a policy", Access: command.ToDatacenter,
		About:   "Changes what is given of a policy; with -no-merge, what is not given is emptied. With -id, -name is its new name.",
		Example: "legate acl policy update -name=read-keys -rules=@read-keys.hcl\nlegate acl policy update -id=35b8ecb0 -name=read-app",
		New:     func() command.Action { return &policyUpdate{named: named{what: "policy"}} },
	}
}

type policyUpdate struct {
	output
	named
	policyBody
	noMerge bool
}

func (a *policyUpdate) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.named.Flags(fs)
	a.policyBody.Flags(fs)
	fs.BoolVar(&a.noMerge, "no-merge", false, "empty what is not given.")
}

func (a *policyUpdate) Run(c *command.Call, _ []string) error {
	if a.id == "" && a.name == "" {
		return errors.New("give -id, -name or both")
	}
	rules, err := textOf(c.Stdin, a.rules)
	if err != nil {
		return err
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	p, err := a.findPolicy(client, c.Client.Query())
	if err != nil {
		return err
	}
	if a.noMerge {
		p = &api.ACLPolicy{ID: p.ID, Name: p.Name}
	}
	replace(&p.Name, a.name)
	replace(&p.Description, a.description)
	replace(&p.Rules, rules)
	if len(a.datacenters) > 0 {
		p.Datacenters = a.datacenters
	}
	p, _, err = client.ACL().PolicyUpdate(p, nil)
	if err != nil {
		return fmt.Errorf("update the policy: %w", err)
	}
	return a.show(c, p, func(out *page) {
		out.text("", "Policy updated successfully")
		out.policy(p)
	})
}

// replace sets what was given.
func replace(to *string, given string) {
	if given != "" {
		*to = given
	}
}

// PolicyRead is the command acl policy read.
func PolicyRead() command.Command {
	return command.Command{
		Name: "acl policy read", Synopsis: "Show a policy", Access: command.ToDatacenter,
		About:   "Shows a policy with its rules.",
		Example: "legate acl policy read -name=read-keys\nlegate acl policy read -id=35b8ecb0 -meta",
		New:     func() command.Action { return &policyRead{named: named{what: "policy"}} },
	}
}

type policyRead struct {
	output
	named
}

func (a *policyRead) Flags(fs *flag.FlagSet) { a.output.Flags(fs); a.named.Flags(fs) }

func (a *policyRead) Run(c *command.Call, _ []string) error {
	if err := choice(a.id, a.name); err != nil {
		return err
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	p, err := a.findPolicy(client, c.Client.Query())
	if err != nil {
		return err
	}
	return a.show(c, p, func(out *page) { out.policy(p) })
}

// PolicyDelete is the command acl policy delete.
func PolicyDelete() command.Command {
	return command.Command{
		Name: "acl policy delete", Synopsis: "Delete a policy", Access: command.ToDatacenter,
		About:   "Deletes a policy. Tokens and roles that refer to it grant nothing by it any more.",
		Example: "legate acl policy delete -name=read-keys",
		New:     func() command.Action { return &policyDelete{named{what: "policy"}} },
	}
}

type policyDelete struct{ named }

func (a *policyDelete) Run(c *command.Call, _ []string) error {
	if err := choice(a.id, a.name); err != nil {
		return err
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	p, err := a.findPolicy(client, c.Client.Query())
	if err != nil {
		return err
	}
	if _, err := client.ACL().PolicyDelete(p.ID, nil); err != nil {
		return fmt.Errorf("delete the policy %q: %w", p.Name, err)
	}
	fmt.Fprintf(c.Stdout, "Policy %q deleted successfully\n", p.ID)
	return nil
}

// PolicyList is the command acl policy list.
func PolicyList() command.Command {
	return command.Command{
		Name: "acl policy list", Synopsis: "List policies", Access: command.ToDatacenter,
		About:   "Lists all policies, without their rules.",
		Example: "legate acl policy list\nlegate acl policy list -meta",
		New:     func() command.Action { return &policyList{} },
	}
}

type policyList struct{ output }

func (a *policyList) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	list, _, err := client.ACL().PolicyList(c.Client.Query())
	if err != nil {
		return fmt.Errorf("list policies: %w", err)
	}
	return a.show(c, list, func(p *page) {
		for _, e := range list {
			p.entry(e.Name)
			p.row("ID", e.ID)
			p.row("Description", e.Description)
			p.row("Datacenters", strings.Join(e.Datacenters, ", "))
			p.indexes(e.Hash, e.CreateIndex, e.ModifyIndex)
		}
	})
}

// entry begins a record of a list.
func (p *page) entry(name string) {
	p.text("", name+":")
	p.indent, p.column = "   ", recordColumn
}
