package aclcmd

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// TokenCreate is the command acl token create.
func TokenCreate() command.Command {
	return command.Command{
		Name: "acl token create", Synopsis: "Make a token", Access: command.ToDatacenter,
		About:   "Makes a token that refers to policies, roles, identities and templated policies, and shows it with its secret.",
		Example: "legate acl token create -description='reads keys' -policy-name=read-keys\nlegate acl token create -service-identity=web:dc1,dc2 -expires-ttl=1h\nlegate acl token create -node-identity=n1:dc1 -local\nlegate acl token create -templated-policy=builtin/service -var=name:web",
		New:     func() command.Action { return &tokenCreate{} },
	}
}

type tokenCreate struct {
	output
	grantFlags
	accessor, secret, description string
	local                         bool
	ttl                           time.Duration
}

func (a *tokenCreate) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.grantFlags.Flags(fs, true)
	fs.StringVar(&a.accessor, "accessor", "", "`UUID` to use as its AccessorID.")
	fs.StringVar(&a.secret, "secret", "", "`UUID` to use as its secret; it must be hard to guess.")
	fs.StringVar(&a.description, "description", "", "`text` that says what it is for.")
	fs.BoolVar(&a.local, "local", false, "it counts in this datacenter alone.")
	fs.DurationVar(&a.ttl, "expires-ttl", 0, "`time` from now at which it ends, from 1m to 24h.")
}

func (a *tokenCreate) Run(c *command.Call, _ []string) error {
	if a.empty() {
		return errors.New("cannot create a token without anything that it refers to: give at least one of -policy-id, -policy-name, -role-id, -role-name, -service-identity, -node-identity, -templated-policy, -templated-policy-file")
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	g, err := a.read(client, c.Client.Query())
	if err != nil {
		return err
	}
	t, _, err := client.ACL().TokenCreate(&api.ACLToken{AccessorID: a.accessor, SecretID: a.secret, Description: a.description, Local: a.local, ExpirationTTL: a.ttl,
		Policies: g.policies, Roles: g.roles, ServiceIdentities: g.services, NodeIdentities: g.nodes, TemplatedPolicies: g.templates}, nil)
	if err != nil {
		return fmt.Errorf("create the token: %w", err)
	}
	return a.show(c, t, func(p *page) { p.wholeToken(t) })
}

// accessorFlags name a token.
type accessorFlags struct{ accessor, id string }

func (a *accessorFlags) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.accessor, "accessor-id", "", "`AccessorID` of the token, or the beginning of one; anonymous is the token of who shows none.")
	fs.StringVar(&a.id, "id", "", "as -accessor-id.")
}

// find returns the whole AccessorID.
func (a *accessorFlags) find(client *api.Client, q *api.QueryOptions) (string, error) {
	given := a.accessor
	switch {
	case a.accessor == "" && a.id == "":
		return "", errors.New("missing -accessor-id")
	case a.accessor != "" && a.id != "":
		return "", errors.New("-id and -accessor-id are the same: give one")
	case given == "":
		given = a.id
	}
	return tokenID(client, q, given)
}

// TokenRead is the command acl token read.
func TokenRead() command.Command {
	return command.Command{
		Name: "acl token read", Synopsis: "Show a token", Access: command.ToDatacenter,
		About:   "Shows a token: that with an AccessorID, or with -self that of the command. Secrets are shown to who may write access control.",
		Example: "legate acl token read -accessor-id=986193b5\nlegate acl token read -self\nlegate acl token read -self -expanded",
		New:     func() command.Action { return &tokenRead{} },
	}
}

type tokenRead struct {
	output
	accessorFlags
	self, expanded bool
}

func (a *tokenRead) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.accessorFlags.Flags(fs)
	fs.BoolVar(&a.self, "self", false, "the token of this command.")
	fs.BoolVar(&a.expanded, "expanded", false, "show the rules of the policies and roles behind it.")
}

func (a *tokenRead) Run(c *command.Call, _ []string) error {
	if a.self && (a.id != "" || a.accessor != "") {
		return errors.New("give either -self or -accessor-id")
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	q := c.Client.Query()
	accessor := "self"
	if !a.self {
		if accessor, err = a.find(client, q); err != nil {
			return err
		}
	}
	if a.expanded {
		t, _, err := client.ACL().TokenReadExpanded(accessor, q)
		if err != nil {
			return fmt.Errorf("read the token: %w", err)
		}
		return a.show(c, t, func(p *page) { p.expanded(t) })
	}
	t, _, err := client.ACL().TokenRead(accessor, q)
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	return a.show(c, t, func(p *page) { p.wholeToken(t) })
}

// TokenDelete is the command acl token delete.
func TokenDelete() command.Command {
	return command.Command{
		Name: "acl token delete", Synopsis: "Delete a token", Access: command.ToDatacenter,
		About:   "Deletes a token. Who shows it is refused from then on.",
		Example: "legate acl token delete -accessor-id=986193b5",
		New:     func() command.Action { return &tokenDelete{} },
	}
}

type tokenDelete struct{ accessorFlags }

func (a *tokenDelete) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	id, err := a.find(client, c.Client.Query())
	if err != nil {
		return err
	}
	if _, err := client.ACL().TokenDelete(id, nil); err != nil {
		return fmt.Errorf("delete the token %s: %w", id, err)
	}
	fmt.Fprintf(c.Stdout, "Token %q deleted successfully\n", id)
	return nil
}

// TokenClone is the command acl token clone.
func TokenClone() command.Command {
	return command.Command{
		Name: "acl token clone", Synopsis: "Make a token like another one", Access: command.ToDatacenter,
		About:   "Makes a token that refers to what another one does, with an AccessorID and a secret of its own.",
		Example: "legate acl token clone -accessor-id=986193b5 -description='for the second instance'",
		New:     func() command.Action { return &tokenClone{} },
	}
}

type tokenClone struct {
	output
	accessorFlags
	description string
}

func (a *tokenClone) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.accessorFlags.Flags(fs)
	fs.StringVar(&a.description, "description", "", "`text` that says what the new one is for.")
}

func (a *tokenClone) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	id, err := a.find(client, c.Client.Query())
	if err != nil {
		return err
	}
	t, _, err := client.ACL().TokenClone(id, a.description, nil)
	if err != nil {
		return fmt.Errorf("clone the token %s: %w", id, err)
	}
	return a.show(c, t, func(p *page) {
		p.text("", "Token cloned successfully.")
		p.wholeToken(t)
	})
}

// TokenList is the command acl token list.
func TokenList() command.Command {
	return command.Command{
		Name: "acl token list", Synopsis: "List tokens", Access: command.ToDatacenter,
		About:   "Lists all tokens. Secrets are shown to who may write access control.",
		Example: "legate acl token list\nlegate acl token list -format=json",
		New:     func() command.Action { return &tokenList{} },
	}
}

type tokenList struct{ output }

func (a *tokenList) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	list, _, err := client.ACL().TokenList(c.Client.Query())
	if err != nil {
		return fmt.Errorf("list tokens: %w", err)
	}
	return a.show(c, list, func(p *page) {
		for i, e := range list {
			if i > 0 {
				fmt.Fprintln(p)
			}
			p.wholeToken(&api.ACLToken{AccessorID: e.AccessorID, SecretID: e.SecretID, Name: e.Name, Description: e.Description, Local: e.Local, AuthMethod: e.AuthMethod,
				CreateTime: e.CreateTime, ExpirationTime: e.ExpirationTime, Hash: e.Hash, CreateIndex: e.CreateIndex, ModifyIndex: e.ModifyIndex,
				Policies: e.Policies, Roles: e.Roles, ServiceIdentities: e.ServiceIdentities, NodeIdentities: e.NodeIdentities, TemplatedPolicies: e.TemplatedPolicies})
		}
	})
}
