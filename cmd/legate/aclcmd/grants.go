package aclcmd

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/hcl"

	"github.com/legate-project/legate/cmd/legate/command"
)

// grantFlags are those that say what a token or a role refers to.
type grantFlags struct {
	policyIDs, policyNames command.ListFlag
	roleIDs, roleNames     command.ListFlag
	services, nodes        command.ListFlag
	template               templateFlags
}

func (g *grantFlags) Flags(fs *flag.FlagSet, roles bool) {
	fs.Var(&g.policyIDs, "policy-id", "`ID` of a policy, or the beginning of one; may be repeated.")
	fs.Var(&g.policyNames, "policy-name", "`name` of a policy; may be repeated.")
	if roles {
		fs.Var(&g.roleIDs, "role-id", "`ID` of a role, or the beginning of one; may be repeated.")
		fs.Var(&g.roleNames, "role-name", "`name` of a role; may be repeated.")
	}
	fs.Var(&g.services, "service-identity", "`service` whose instances may register with it, as NAME or NAME:dc1,dc2; may be repeated.")
	fs.Var(&g.nodes, "node-identity", "`node` whose agent may use it, as NAME:DATACENTER; may be repeated.")
	fs.StringVar(&g.template.name, "templated-policy", "", "`name` of a templated policy, filled with -var.")
	fs.StringVar(&g.template.file, "templated-policy-file", "", "`file` of templated policies with their variables.")
	fs.Var(&g.template.vars, "var", "variable of the templated policy, as `NAME:VALUE`; may be repeated.")
}

// empty says that no flag was given.
func (g *grantFlags) empty() bool {
	return len(g.policyIDs)+len(g.policyNames)+len(g.roleIDs)+len(g.roleNames)+len(g.services)+len(g.nodes) == 0 && g.template.empty()
}

// read is what the flags name. IDs are made whole by asking for lists.
func (g *grantFlags) read(client *api.Client, q *api.QueryOptions) (grants, error) {
	var out grants
	var err error
	if out.policies, err = links(client, q, g.policyIDs, g.policyNames, policyID); err != nil {
		return out, err
	}
	if out.roles, err = links(client, q, g.roleIDs, g.roleNames, roleID); err != nil {
		return out, err
	}
	for _, text := range g.services {
		s, err := serviceIdentity(text)
		if err != nil {
			return out, err
		}
		out.services = append(out.services, s)
	}
	for _, text := range g.nodes {
		name, dc, ok := strings.Cut(text, ":")
		if !ok || name == "" || dc == "" || strings.Contains(dc, ":") {
			return out, fmt.Errorf("-node-identity %q: want NAME:DATACENTER", text)
		}
		out.nodes = append(out.nodes, &api.ACLNodeIdentity{NodeName: name, Datacenter: dc})
	}
	out.templates, err = g.template.read()
	return out, err
}

// find makes an ID whole.
type find func(client *api.Client, q *api.QueryOptions, given string) (string, error)

func links(client *api.Client, q *api.QueryOptions, ids, names []string, whole find) ([]*api.ACLLink, error) {
	var out []*api.ACLLink
	for _, name := range names {
		out = append(out, &api.ACLLink{Name: name})
	}
	for _, given := range ids {
		id, err := whole(client, q, given)
		if err != nil {
			return nil, err
		}
		out = append(out, &api.ACLLink{ID: id})
	}
	return out, nil
}

func serviceIdentity(text string) (*api.ACLServiceIdentity, error) {
	name, dcs, listed := strings.Cut(text, ":")
	s := &api.ACLServiceIdentity{ServiceName: name}
	if listed {
		s.Datacenters = strings.Split(dcs, ",")
	}
	for _, dc := range s.Datacenters {
		if dc == "" || strings.Contains(dc, ":") {
			return nil, fmt.Errorf("-service-identity %q: want NAME or NAME:dc1,dc2", text)
		}
	}
	if name == "" {
		return nil, fmt.Errorf("-service-identity %q: want NAME or NAME:dc1,dc2", text)
	}
	return s, nil
}

// templateFlags name templated policies.
type templateFlags struct {
	name, file string
	vars       command.ListFlag
}

func (t *templateFlags) empty() bool { return t.name == "" && t.file == "" }

// read is what the flags name: one policy, or those of a file.
func (t *templateFlags) read() ([]*api.ACLTemplatedPolicy, error) {
	switch {
	case t.name != "" && t.file != "":
		return nil, errors.New("a templated policy is given by its name or by a file, not by both")
	case t.name == "" && len(t.vars) > 0:
		return nil, errors.New("-var fills the templated policy that is named: its name is missing")
	case t.file != "":
		return templatesOf(t.file)
	case t.name == "":
		return nil, nil
	}
	p := &api.ACLTemplatedPolicy{TemplateName: t.name}
	for _, text := range t.vars {
		name, value, ok := strings.Cut(text, ":")
		if !ok || !strings.EqualFold(name, "name") {
			return nil, fmt.Errorf("-var %q: want name:VALUE", text)
		}
		p.TemplateVariables = &api.ACLTemplatedPolicyVariables{Name: value}
	}
	return []*api.ACLTemplatedPolicy{p}, nil
}

// templatesOf reads a file of blocks: TemplatedPolicy "builtin/service" { Name = "web" }.
func templatesOf(file string) ([]*api.ACLTemplatedPolicy, error) {
	text, err := textOf(nil, "@"+file)
	if err != nil {
		return nil, err
	}
	type block struct {
		Name        string
		Datacenters []string
	}
	var parsed struct {
		TemplatedPolicy map[string][]block
	}
	if err := hcl.Decode(&parsed, text); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var out []*api.ACLTemplatedPolicy
	for _, name := range command.SortedKeys(parsed.TemplatedPolicy) {
		for _, b := range parsed.TemplatedPolicy[name] {
			p := &api.ACLTemplatedPolicy{TemplateName: name, Datacenters: b.Datacenters}
			if b.Name != "" {
				p.TemplateVariables = &api.ACLTemplatedPolicyVariables{Name: b.Name}
			}
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf(`%s has no templated policy: want blocks such as TemplatedPolicy "builtin/service" { Name = "web" }`, file)
	}
	return out, nil
}

// secretFile reads a secret that stands alone in a file, or on the standard input (-).
func secretFile(c *command.Call, name string) (string, error) {
	if name != "-" {
		name = "@" + name
	}
	text, err := textOf(c.Stdin, name)
	if err != nil {
		return "", err
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return "", fmt.Errorf("%s is empty", strings.TrimPrefix(name, "@"))
	}
	return text, nil
}

// writeSecret keeps a secret in a file that only its owner reads.
func writeSecret(file, secret string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".token-*")
	if err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	_, err = f.WriteString(secret)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("keep the token: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
