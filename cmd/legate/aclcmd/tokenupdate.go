package aclcmd

import (
	"errors"
	"flag"
	"fmt"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// TokenUpdate is the command acl token update.
func TokenUpdate() command.Command {
	return command.Command{
		Name: "acl token update", Synopsis: "Change a token", Access: command.ToDatacenter,
		About: "Changes a token. What is given of a kind takes the place of what there was of it; with -append-… and -merge-… it is added.\n" +
			"A kind of which nothing is given stays.",
		Example: "legate acl token update -accessor-id=986193b5 -description='reads keys'\nlegate acl token update -accessor-id=986193b5 -append-policy-name=read-nodes\nlegate acl token update -id=anonymous -policy-name=read-services",
		New:     func() command.Action { return &tokenUpdate{} },
	}
}

type tokenUpdate struct {
	output
	accessorFlags
	grantFlags
	description                                                    string
	mergePolicies, mergeRoles, mergeServices, mergeNodes, mergeTPs bool

	appendPolicyIDs, appendPolicyNames, appendRoleIDs, appendRoleNames command.ListFlag
	appendTemplate                                                     templateFlags
}

func (a *tokenUpdate) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	a.accessorFlags.Flags(fs)
	a.grantFlags.Flags(fs, true)
	fs.StringVar(&a.description, "description", "", "`text` that says what it is for.")
	fs.Var(&a.appendPolicyIDs, "append-policy-id", "`ID` of a policy to add; may be repeated.")
	fs.Var(&a.appendPolicyNames, "append-policy-name", "`name` of a policy to add; may be repeated.")
	fs.Var(&a.appendRoleIDs, "append-role-id", "`ID` of a role to add; may be repeated.")
	fs.Var(&a.appendRoleNames, "append-role-name", "`name` of a role to add; may be repeated.")
	fs.StringVar(&a.appendTemplate.name, "append-templated-policy", "", "`name` of a templated policy to add, filled with -var.")
	fs.StringVar(&a.appendTemplate.file, "append-templated-policy-file", "", "`file` of templated policies to add.")
	fs.BoolVar(&a.mergePolicies, "merge-policies", false, "add the policies to those that there are.")
	fs.BoolVar(&a.mergeRoles, "merge-roles", false, "add the roles to those that there are.")
	fs.BoolVar(&a.mergeServices, "merge-service-identities", false, "add the service identities to those that there are.")
	fs.BoolVar(&a.mergeNodes, "merge-node-identities", false, "add the node identities to those that there are.")
	fs.BoolVar(&a.mergeTPs, "merge-templated-policies", false, "add the templated policies to those that there are.")
}

// appended makes what is to be added, and has it added: each kind is given in one way.
func (a *tokenUpdate) appended() error {
	for _, kind := range []struct {
		what             string
		ids, names       *command.ListFlag
		addIDs, addNames command.ListFlag
		merge            *bool
	}{
		{"policies", &a.policyIDs, &a.policyNames, a.appendPolicyIDs, a.appendPolicyNames, &a.mergePolicies},
		{"roles", &a.roleIDs, &a.roleNames, a.appendRoleIDs, a.appendRoleNames, &a.mergeRoles},
	} {
		if len(kind.addIDs)+len(kind.addNames) == 0 {
			continue
		}
		if len(*kind.ids)+len(*kind.names) > 0 {
			return fmt.Errorf("%s are either given anew or added with -append-…, not both", kind.what)
		}
		*kind.ids, *kind.names, *kind.merge = kind.addIDs, kind.addNames, true
	}
	if a.appendTemplate.empty() {
		return nil
	}
	if !a.template.empty() {
		return errors.New("templated policies are either given anew or added with -append-…, not both")
	}
	a.template.name, a.template.file, a.mergeTPs = a.appendTemplate.name, a.appendTemplate.file, true
	return nil
}

func (a *tokenUpdate) Run(c *command.Call, _ []string) error {
	if err := a.appended(); err != nil {
		return err
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	q := c.Client.Query()
	id, err := a.find(client, q)
	if err != nil {
		return err
	}
	t, _, err := client.ACL().TokenRead(id, q)
	if err != nil {
		return fmt.Errorf("read the token %s: %w", id, err)
	}
	g, err := a.read(client, q)
	if err != nil {
		return err
	}
	if a.description != "" {
		t.Description = a.description
	}
	t.Policies = merged(t.Policies, g.policies, a.mergePolicies, sameLink)
	t.Roles = merged(t.Roles, g.roles, a.mergeRoles, sameLink)
	t.ServiceIdentities = merged(t.ServiceIdentities, g.services, a.mergeServices, sameService)
	t.NodeIdentities = merged(t.NodeIdentities, g.nodes, a.mergeNodes, sameNode)
	t.TemplatedPolicies = merged(t.TemplatedPolicies, g.templates, a.mergeTPs, sameTemplate)
	t, _, err = client.ACL().TokenUpdate(t, nil)
	if err != nil {
		return fmt.Errorf("update the token %s: %w", id, err)
	}
	return a.show(c, t, func(p *page) {
		p.text("", "Token updated successfully.")
		p.wholeToken(t)
	})
}

// merged is what there is of a kind after it was given: that alone, or with what there
// was. Nothing given leaves it.
func merged[T any](old, given []*T, keep bool, same func(a, b *T) bool) []*T {
	if len(given) == 0 {
		return old
	}
	if !keep {
		return given
	}
	for _, v := range given {
		at := -1
		for i := range old {
			if same(old[i], v) {
				at = i
			}
		}
		if at < 0 {
			old = append(old, v)
		} else {
			old[at] = v
		}
	}
	return old
}

func sameLink(a, b *api.ACLLink) bool {
	return a.ID != "" && a.ID == b.ID || a.Name != "" && a.Name == b.Name
}

// sameService compares names: the datacenters that are given count.
func sameService(a, b *api.ACLServiceIdentity) bool { return a.ServiceName == b.ServiceName }

func sameNode(a, b *api.ACLNodeIdentity) bool { return *a == *b }

func sameTemplate(a, b *api.ACLTemplatedPolicy) bool {
	return a.TemplateName == b.TemplateName && nameIn(a) == nameIn(b)
}

func nameIn(t *api.ACLTemplatedPolicy) string {
	if t.TemplateVariables == nil {
		return ""
	}
	return t.TemplateVariables.Name
}
