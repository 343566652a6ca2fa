package aclcmd

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

func (p *page) binding(b *api.ACLBindingRule) {
	p.column = recordColumn
	p.row("AuthMethod", b.AuthMethod)
	p.row("Description", b.Description)
	p.row("BindType", string(b.BindType))
	p.row("BindName", b.BindName)
	if b.BindVars != nil {
		p.row("BindVars", "Name: "+b.BindVars.Name)
	}
	p.row("Selector", b.Selector)
	p.indexes(nil, b.CreateIndex, b.ModifyIndex)
}

func (p *page) wholeBinding(b *api.ACLBindingRule) {
	p.column = recordColumn
	p.row("ID", b.ID)
	p.binding(b)
}

// bindingFlags are those that say what is in a binding rule.
type bindingFlags struct {
	description, selector, bindType, bindName string
	vars                                      command.ListFlag
}

func (f *bindingFlags) Flags(fs *flag.FlagSet) {
	fs.StringVar(&f.description, "description", "", "`text` that says what it is for.")
	fs.StringVar(&f.selector, "selector", "", "`expression` over what is known of who logs in. Default: everybody.")
	fs.StringVar(&f.bindType, "bind-type", "", "`kind` of what is given: service, node, role, policy or templated-policy. A new rule is for a service by default.")
	fs.StringVar(&f.bindName, "bind-name", "", "its `name`; ${…} stands for what is known of who logs in.")
	fs.Var(&f.vars, "bind-vars", "variable of a templated policy, as `name=VALUE`; may be repeated.")
}

// apply sets what was given.
func (f *bindingFlags) apply(b *api.ACLBindingRule) error {
	replace(&b.Description, f.description)
	replace(&b.Selector, f.selector)
	replace((*string)(&b.BindType), f.bindType)
	replace(&b.BindName, f.bindName)
	for _, text := range f.vars {
		name, value, ok := strings.Cut(text, "=")
		if !ok || !strings.EqualFold(name, "name") {
			return fmt.Errorf("-bind-vars %q: want name=VALUE", text)
		}
		b.BindVars = &api.ACLTemplatedPolicyVariables{Name: value}
	}
	return nil
}

// BindingCreate is the command acl binding-rule create.
func BindingCreate() command.Command {
	return command.Command{
		Name: "acl binding-rule create", Synopsis: "Make a binding rule", Access: command.ToDatacenter,
		About:   "Makes a rule that says what who logs in by an auth method gets.",
		Example: "legate acl binding-rule create -method=ci -bind-type=role -bind-name=deployers -selector='value.branch==main'\nlegate acl binding-rule create -method=k8s -bind-type=service -bind-name='${serviceaccount.name}'",
		New:     func() command.Action { return &bindingCreate{} },
	}
}

type bindingCreate struct {
	output
	bindingFlags
	method string
}

func (a *bindingCreate) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.bindingFlags.Flags(fs)
	fs.StringVar(&a.method, "method", "", "`name` of the auth method.")
}

func (a *bindingCreate) Run(c *command.Call, _ []string) error {
	if a.method == "" || a.bindName == "" {
		return errors.New("missing -method or -bind-name")
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	b := &api.ACLBindingRule{AuthMethod: a.method, BindType: api.BindingRuleBindTypeService}
	if err := a.apply(b); err != nil {
		return err
	}
	b, _, err = client.ACL().BindingRuleCreate(b, nil)
	if err != nil {
		return fmt.Errorf("create the binding rule: %w", err)
	}
	return a.show(c, b, func(p *page) { p.wholeBinding(b) })
}

// BindingUpdate is the command acl binding-rule update.
func BindingUpdate() command.Command {
	return command.Command{
		Name: "acl binding-rule update", Synopsis: "Change a binding rule", Access: command.ToDatacenter,
		About:   "Changes what is given of a binding rule; with -no-merge, what is not given is emptied.",
		Example: "legate acl binding-rule update -id=0ec1bd2f -selector='value.branch==main'",
		New:     func() command.Action { return &bindingUpdate{} },
	}
}

type bindingUpdate struct {
	output
	bindingFlags
	id      string
	noMerge bool
}

func (a *bindingUpdate) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.bindingFlags.Flags(fs)
	fs.StringVar(&a.id, "id", "", "`ID` of the binding rule, or the beginning of one.")
	fs.BoolVar(&a.noMerge, "no-merge", false, "empty what is not given.")
}

func (a *bindingUpdate) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	b, err := readBinding(client, c.Client.Query(), a.id)
	if err != nil {
		return err
	}
	if a.noMerge {
		b = &api.ACLBindingRule{ID: b.ID, AuthMethod: b.AuthMethod}
	}
	if err := a.apply(b); err != nil {
		return err
	}
	b, _, err = client.ACL().BindingRuleUpdate(b, nil)
	if err != nil {
		return fmt.Errorf("update the binding rule: %w", err)
	}
	return a.show(c, b, func(p *page) {
		p.text("", "Binding rule updated successfully")
		p.wholeBinding(b)
	})
}

func readBinding(client *api.Client, q *api.QueryOptions, given string) (*api.ACLBindingRule, error) {
	if given == "" {
		return nil, errors.New("missing -id")
	}
	id, err := bindingID(client, q, given)
	if err != nil {
		return nil, err
	}
	b, _, err := client.ACL().BindingRuleRead(id, q)
	if err == nil && b == nil {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, fmt.Errorf("read the binding rule %s: %w", id, err)
	}
	return b, nil
}

// BindingRead is the command acl binding-rule read.
func BindingRead() command.Command {
	return command.Command{
		Name: "acl binding-rule read", Synopsis: "Show a binding rule", Access: command.ToDatacenter,
		About:   "Shows a binding rule.",
		Example: "legate acl binding-rule read -id=0ec1bd2f",
		New:     func() command.Action { return &bindingRead{} },
	}
}

type bindingRead struct {
	output
	id string
}

func (a *bindingRead) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	fs.StringVar(&a.id, "id", "", "`ID` of the binding rule, or the beginning of one.")
}

func (a *bindingRead) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	b, err := readBinding(client, c.Client.Query(), a.id)
	if err != nil {
		return err
	}
	return a.show(c, b, func(p *page) { p.wholeBinding(b) })
}

// BindingDelete is the command acl binding-rule delete.
func BindingDelete() command.Command {
	return command.Command{
		Name: "acl binding-rule delete", Synopsis: "Delete a binding rule", Access: command.ToDatacenter,
		About:   "Deletes a binding rule. Tokens that were got by it stay.",
		Example: "legate acl binding-rule delete -id=0ec1bd2f",
		New:     func() command.Action { return &bindingDelete{} },
	}
}

type bindingDelete struct{ id string }

func (a *bindingDelete) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.id, "id", "", "`ID` of the binding rule, or the beginning of one.")
}

func (a *bindingDelete) Run(c *command.Call, _ []string) error {
	if a.id == "" {
		return errors.New("missing -id")
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	id, err := bindingID(client, c.Client.Query(), a.id)
	if err != nil {
		return err
	}
	if _, err := client.ACL().BindingRuleDelete(id, nil); err != nil {
		return fmt.Errorf("delete the binding rule %s: %w", id, err)
	}
	fmt.Fprintf(c.Stdout, "Binding rule %q deleted successfully\n", id)
	return nil
}

// BindingList is the command acl binding-rule list.
func BindingList() command.Command {
	return command.Command{
		Name: "acl binding-rule list", Synopsis: "List binding rules", Access: command.ToDatacenter,
		About:   "Lists all binding rules, or those of an auth method.",
		Example: "legate acl binding-rule list\nlegate acl binding-rule list -method=ci",
		New:     func() command.Action { return &bindingList{} },
	}
}

type bindingList struct {
	output
	method string
}

func (a *bindingList) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	fs.StringVar(&a.method, "method", "", "`name` of the auth method.")
}

func (a *bindingList) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	list, _, err := client.ACL().BindingRuleList(a.method, c.Client.Query())
	if err != nil {
		return fmt.Errorf("list binding rules: %w", err)
	}
	return a.show(c, list, func(p *page) {
		for _, b := range list {
			p.entry(b.ID)
			p.binding(b)
		}
	})
}
