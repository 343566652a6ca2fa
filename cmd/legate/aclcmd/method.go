package aclcmd

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

func (p *page) method(m *api.ACLAuthMethod) {
	p.column = recordColumn
	p.row("Name", m.Name)
	p.row("Type", m.Type)
	p.given("DisplayName", m.DisplayName)
	p.row("Description", m.Description)
	if m.MaxTokenTTL != 0 {
		p.row("MaxTokenTTL", m.MaxTokenTTL.String())
	}
	p.given("TokenLocality", m.TokenLocality)
	p.given("TokenNameFormat", m.TokenNameFormat)
	p.indexes(nil, m.CreateIndex, m.ModifyIndex)
	p.text("", "Config:")
	b, err := json.MarshalIndent(m.Config, "", "  ")
	if err != nil { // it came as JSON
		b = nil
	}
	p.text("", string(b))
}

// methodFlags are those that say what is in an auth method.
type methodFlags struct {
	name, kind, displayName, description, locality, nameFormat, config string
	ttl                                                                time.Duration
	kubernetesHost, kubernetesCA, kubernetesJWT                        string
}

func (f *methodFlags) Flags(fs *flag.FlagSet) {
	fs.StringVar(&f.name, "name", "", "`name` of the auth method.")
	fs.StringVar(&f.kind, "type", "", "its `type`: jwt or kubernetes.")
	fs.StringVar(&f.displayName, "display-name", "", "`name` to show in its place.")
	fs.StringVar(&f.description, "description", "", "`text` that says what it is for.")
	fs.DurationVar(&f.ttl, "max-token-ttl", 0, "`time` for which its tokens live.")
	fs.StringVar(&f.locality, "token-locality", "", "where its tokens count: `local` or global.")
	fs.StringVar(&f.nameFormat, "token-name-format", "", "`format` of the names of its tokens.")
	fs.StringVar(&f.config, "config", "", "its configuration in `JSON`: a text, @ and the name of a file, or - for the standard input.")
	fs.StringVar(&f.kubernetesHost, "kubernetes-host", "", "`address` of the Kubernetes API.")
	fs.StringVar(&f.kubernetesCA, "kubernetes-ca-cert", "", "`certificate` of its authority in PEM, or @ and the name of a file.")
	fs.StringVar(&f.kubernetesJWT, "kubernetes-service-account-jwt", "", "`token` of the service account that reviews others, or @ and the name of a file.")
}

// apply sets what was given.
func (f *methodFlags) apply(c *command.Call, m *api.ACLAuthMethod) error {
	if f.kind != "" && m.Type != "" && f.kind != m.Type {
		return errors.New("the type of an auth method cannot be changed")
	}
	replace(&m.Type, f.kind)
	replace(&m.DisplayName, f.displayName)
	replace(&m.Description, f.description)
	replace(&m.TokenLocality, f.locality)
	replace(&m.TokenNameFormat, f.nameFormat)
	if f.ttl != 0 {
		m.MaxTokenTTL = f.ttl
	}
	if f.config != "" {
		if f.kubernetesHost+f.kubernetesCA+f.kubernetesJWT != "" {
			return errors.New("-config and -kubernetes-… exclude each other")
		}
		text, err := textOf(c.Stdin, f.config)
		if err != nil {
			return err
		}
		m.Config = nil
		if err := json.Unmarshal([]byte(text), &m.Config); err != nil {
			return fmt.Errorf("-config is no JSON object: %w", err)
		}
	}
	for key, given := range map[string]string{"Host": f.kubernetesHost, "CACert": f.kubernetesCA, "ServiceAccountJWT": f.kubernetesJWT} {
		if given == "" {
			continue
		}
		text, err := textOf(c.Stdin, given)
		if err != nil {
			return err
		}
		if m.Config == nil {
			m.Config = map[string]any{}
		}
		m.Config[key] = text
	}
	return nil
}

// MethodCreate is the command acl auth-method create.
func MethodCreate() command.Command {
	return command.Command{
		Name: "acl auth-method create", Synopsis: "Make an auth method", Access: command.ToDatacenter,
		About:   "Makes a way to log in: with a credential that somebody else vouches for. What who logs in gets, binding rules say.",
		Example: "legate acl auth-method create -name=ci -type=jwt -max-token-ttl=15m -config=@ci.json\nlegate acl auth-method create -name=k8s -type=kubernetes -kubernetes-host=https://10.0.0.1:6443 -kubernetes-ca-cert=@ca.pem -kubernetes-service-account-jwt=@reviewer.jwt",
		New:     func() command.Action { return &methodCreate{} },
	}
}

type methodCreate struct {
	output
	methodFlags
}

func (a *methodCreate) Flags(fs *flag.FlagSet) { a.output.Flags(fs); a.methodFlags.Flags(fs) }

func (a *methodCreate) Run(c *command.Call, _ []string) error {
	if a.name == "" || a.kind == "" {
		return errors.New("missing -name or -type")
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	m := &api.ACLAuthMethod{Name: a.name}
	if err := a.apply(c, m); err != nil {
		return err
	}
	m, _, err = client.ACL().AuthMethodCreate(m, nil)
	if err != nil {
		return fmt.Errorf("create the auth method %q: %w", a.name, err)
	}
	return a.show(c, m, func(p *page) { p.method(m) })
}

// MethodUpdate is the command acl auth-method update.
func MethodUpdate() command.Command {
	return command.Command{
		Name: "acl auth-method update", Synopsis: "Change an auth method", Access: command.ToDatacenter,
		About:   "Changes what is given of an auth method; with -no-merge, what is not given is emptied. The configuration is given as a whole.",
		Example: "legate acl auth-method update -name=ci -max-token-ttl=30m\nlegate acl auth-method update -name=ci -config=@ci.json",
		New:     func() command.Action { return &methodUpdate{} },
	}
}

type methodUpdate struct {
	output
	methodFlags
	noMerge bool
}

func (a *methodUpdate) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.methodFlags.Flags(fs)
	fs.BoolVar(&a.noMerge, "no-merge", false, "empty what is not given.")
}

func (a *methodUpdate) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	m, err := readMethod(client, c.Client.Query(), a.name)
	if err != nil {
		return err
	}
	if a.noMerge {
		m = &api.ACLAuthMethod{Name: m.Name, Type: m.Type}
	}
	if err := a.apply(c, m); err != nil {
		return err
	}
	m, _, err = client.ACL().AuthMethodUpdate(m, nil)
	if err != nil {
		return fmt.Errorf("update the auth method %q: %w", a.name, err)
	}
	return a.show(c, m, func(p *page) {
		p.text("", "Auth method updated successfully")
		p.method(m)
	})
}

func readMethod(client *api.Client, q *api.QueryOptions, name string) (*api.ACLAuthMethod, error) {
	if name == "" {
		return nil, errors.New("missing -name")
	}
	m, _, err := client.ACL().AuthMethodRead(name, q)
	if err == nil && m == nil {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, fmt.Errorf("read the auth method %q: %w", name, err)
	}
	return m, nil
}

// MethodRead is the command acl auth-method read.
func MethodRead() command.Command {
	return command.Command{
		Name: "acl auth-method read", Synopsis: "Show an auth method", Access: command.ToDatacenter,
		About:   "Shows an auth method with its configuration. Secrets of it are shown to who may write access control.",
		Example: "legate acl auth-method read -name=ci",
		New:     func() command.Action { return &methodRead{} },
	}
}

type methodRead struct {
	output
	name string
}

func (a *methodRead) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	fs.StringVar(&a.name, "name", "", "`name` of the auth method.")
}

func (a *methodRead) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	m, err := readMethod(client, c.Client.Query(), a.name)
	if err != nil {
		return err
	}
	return a.show(c, m, func(p *page) { p.method(m) })
}

// MethodDelete is the command acl auth-method delete.
func MethodDelete() command.Command {
	return command.Command{
		Name: "acl auth-method delete", Synopsis: "Delete an auth method", Access: command.ToDatacenter,
		About:   "Deletes an auth method, with its binding rules and the tokens that were got by it.",
		Example: "legate acl auth-method delete -name=ci",
		New:     func() command.Action { return &methodDelete{} },
	}
}

type methodDelete struct{ name string }

func (a *methodDelete) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.name, "name", "", "`name` of the auth method.")
}

func (a *methodDelete) Run(c *command.Call, _ []string) error {
	if a.name == "" {
		return errors.New("missing -name")
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	if _, err := client.ACL().AuthMethodDelete(a.name, nil); err != nil {
		return fmt.Errorf("delete the auth method %q: %w", a.name, err)
	}
	fmt.Fprintf(c.Stdout, "Auth-method %q deleted successfully\n", a.name)
	return nil
}

// MethodList is the command acl auth-method list.
func MethodList() command.Command {
	return command.Command{
		Name: "acl auth-method list", Synopsis: "List auth methods", Access: command.ToDatacenter,
		About:   "Lists all auth methods, without their configuration.",
		Example: "legate acl auth-method list",
		New:     func() command.Action { return &methodList{} },
	}
}

type methodList struct{ output }

func (a *methodList) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	list, _, err := client.ACL().AuthMethodList(c.Client.Query())
	if err != nil {
		return fmt.Errorf("list auth methods: %w", err)
	}
	return a.show(c, list, func(p *page) {
		for _, m := range list {
			p.entry(m.Name)
			p.row("Type", m.Type)
			p.given("DisplayName", m.DisplayName)
			p.row("Description", m.Description)
			p.indexes(nil, m.CreateIndex, m.ModifyIndex)
		}
	})
}
