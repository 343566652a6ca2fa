package aclcmd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// page is what people are shown: a label and a value in each line.
type page struct {
	strings.Builder
	meta   bool
	safe   bool   // a terminal must not obey what is shown
	indent string // before each label
	column int    // at which values begin
}

// Columns at which values begin, as users of Consul know them.
const (
	tokenColumn  = 18
	recordColumn = 14
)

// row writes one line.
func (p *page) row(label, value string) {
	if p.safe {
		value = command.Printable(value)
	}
	fmt.Fprintln(p, strings.TrimRight(fmt.Sprintf("%s%-*s %s", p.indent, p.column-1, label+":", value), " "))
}

// given writes a line, unless there is nothing to say.
func (p *page) given(label, value string) {
	if value != "" {
		p.row(label, value)
	}
}

// text writes lines as they are.
func (p *page) text(indent, text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		line = strings.TrimRight(line, "\n")
		if p.safe {
			line = command.Printable(line)
		}
		if line != "" {
			line = indent + line
		}
		fmt.Fprintln(p, line)
	}
}

// indexes writes what -meta asks for.
func (p *page) indexes(hash []byte, created, modified uint64) {
	if !p.meta {
		return
	}
	if hash != nil {
		p.row("Hash", fmt.Sprintf("%x", hash))
	}
	p.row("Create Index", fmt.Sprint(created))
	p.row("Modify Index", fmt.Sprint(modified))
}

// grants is what tokens and roles both refer to.
type grants struct {
	policies, roles []*api.ACLLink
	services        []*api.ACLServiceIdentity
	nodes           []*api.ACLNodeIdentity
	templates       []*api.ACLTemplatedPolicy
}

func (p *page) links(title string, list []*api.ACLLink) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(p, "%s%s:\n", p.indent, title)
	for _, l := range list {
		p.text(p.indent+"   ", l.ID+" - "+l.Name)
	}
}

func (p *page) grants(g grants) {
	p.links("Policies", g.policies)
	p.links("Roles", g.roles)
	p.identities(g)
	if len(g.templates) > 0 {
		fmt.Fprintf(p, "%sTemplated Policies:\n", p.indent)
	}
	for _, t := range g.templates {
		p.text(p.indent+"   ", t.TemplateName)
		if v := t.TemplateVariables; v != nil && v.Name != "" {
			p.text(p.indent+"      ", "Name: "+v.Name)
		}
		p.text(p.indent+"      ", "Datacenters: "+everywhere(t.Datacenters))
	}
}

func (p *page) identities(g grants) {
	if len(g.services) > 0 {
		fmt.Fprintf(p, "%sService Identities:\n", p.indent)
	}
	for _, s := range g.services {
		p.text(p.indent+"   ", fmt.Sprintf("%s (Datacenters: %s)", s.ServiceName, everywhere(s.Datacenters)))
	}
	if len(g.nodes) > 0 {
		fmt.Fprintf(p, "%sNode Identities:\n", p.indent)
	}
	for _, n := range g.nodes {
		p.text(p.indent+"   ", fmt.Sprintf("%s (Datacenter: %s)", n.NodeName, n.Datacenter))
	}
}

// everywhere lists datacenters; none is all.
func everywhere(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, ", ")
}

// token shows what there is of a token before what it refers to.
func (p *page) token(t *api.ACLToken) {
	p.column = tokenColumn
	p.row("AccessorID", t.AccessorID)
	p.row("SecretID", t.SecretID)
	p.given("Name", t.Name)
	p.row("Description", t.Description)
	p.row("Local", fmt.Sprint(t.Local))
	p.given("Auth Method", t.AuthMethod)
	p.row("Create Time", shownTime(t.CreateTime))
	if t.ExpirationTime != nil && !t.ExpirationTime.IsZero() {
		p.row("Expiration Time", shownTime(*t.ExpirationTime))
	}
	p.indexes(t.Hash, t.CreateIndex, t.ModifyIndex)
}

func shownTime(t time.Time) string { return t.Local().String() }

func tokenGrants(t *api.ACLToken) grants {
	return grants{t.Policies, t.Roles, t.ServiceIdentities, t.NodeIdentities, t.TemplatedPolicies}
}

// wholeToken shows a token.
func (p *page) wholeToken(t *api.ACLToken) {
	p.token(t)
	p.grants(tokenGrants(t))
}

// policyText shows what a policy says, below an indent.
func (p *page) policyText(indent string, pol *api.ACLPolicy) {
	p.text(indent, "Policy Name: "+pol.Name)
	p.text(indent+"\t", "ID: "+pol.ID)
	p.text(indent+"\t", strings.TrimSpace("Description: "+pol.Description))
	if len(pol.Datacenters) > 0 {
		p.text(indent+"\t", "Datacenters: "+strings.Join(pol.Datacenters, ", "))
	}
	p.text(indent+"\t", "Rules:")
	p.text(indent+"\t\t", pol.Rules)
	fmt.Fprintln(p)
}

// expanded shows a token with the rules that it leads to.
func (p *page) expanded(t *api.ACLTokenExpanded) {
	p.token(&t.ACLToken)
	policies := map[string]*api.ACLPolicy{}
	for i := range t.ExpandedPolicies {
		policies[t.ExpandedPolicies[i].ID] = &t.ExpandedPolicies[i]
	}
	p.linked("", t.Policies, policies)
	p.identities(tokenGrants(&t.ACLToken))
	p.grants(grants{templates: t.TemplatedPolicies})
	if len(t.ExpandedRoles) > 0 {
		fmt.Fprintln(p, "Roles:")
	}
	for i := range t.ExpandedRoles {
		r := &t.ExpandedRoles[i]
		p.text("\t", "Role Name: "+r.Name)
		p.text("\t\t", "ID: "+r.ID)
		p.text("\t\t", strings.TrimSpace("Description: "+r.Description))
		p.linked("\t\t", r.Policies, policies)
		p.indent = "\t\t"
		p.identities(grants{services: r.ServiceIdentities, nodes: r.NodeIdentities})
		p.grants(grants{templates: r.TemplatedPolicies})
		p.indent = ""
	}
	p.synthetic(t)
	fmt.Fprintf(p, "=== End of Authorizer Layer 0: Token ===\n=== Start of Authorizer Layer 2: Agent Configuration Defaults (Inherited) ===\n"+
		"Description: what the agent that was asked falls back on; other agents may be configured otherwise\n"+
		"Resolved By Agent: %q\n\nDefault Policy: %s\n\tDescription: counts where no rule does (default_policy of the agent's configuration)\n\n"+
		"Down Policy: %s\n\tDescription: counts while no server can be asked what a token may do (down_policy of the agent's configuration)\n",
		t.ResolvedByAgent, t.AgentACLDefaultPolicy, t.AgentACLDownPolicy)
}

// synthetic shows the rules that identities and templates stand for: what is behind a
// token and no link leads to.
func (p *page) synthetic(t *api.ACLTokenExpanded) {
	links := slices.Clone(t.Policies)
	for i := range t.ExpandedRoles {
		links = append(links, t.ExpandedRoles[i].Policies...)
	}
	head := "Rules of identities and templated policies:"
	for i := range t.ExpandedPolicies {
		pol := &t.ExpandedPolicies[i]
		if slices.ContainsFunc(links, func(l *api.ACLLink) bool { return l.ID == pol.ID }) {
			continue
		}
		if head != "" {
			fmt.Fprintln(p, head)
		}
		head = ""
		p.policyText("\t", pol)
	}
}

// linked shows the policies behind links.
func (p *page) linked(indent string, links []*api.ACLLink, policies map[string]*api.ACLPolicy) {
	if len(links) == 0 {
		return
	}
	p.text(indent, "Policies:")
	for _, l := range links {
		if pol := policies[l.ID]; pol != nil {
			p.policyText(indent+"\t", pol)
		}
	}
}
