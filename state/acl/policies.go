package acl

import (
	"regexp"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/acl/rules/template"
	"github.com/legate-project/legate/storage"
)

// GetPolicy returns a policy, or none.
var GetPolicy = op.Read[NamedRequest, Policy]{Name: "acl.policy", Authorize: reads[NamedRequest],
	Query: func(r storage.Reader, req *NamedRequest) (*Policy, error) { return FindPolicy(r, req.ID, req.Name) }}

// ListPolicies returns all policies in the order of their names.
var ListPolicies = op.Read[op.Empty, Policies]{Name: "acl.policies", Authorize: reads[op.Empty],
	Query: func(r storage.Reader, _ *op.Empty) (*Policies, error) {
		list, err := all(policyByName.Scan(r, nil))
		return (*Policies)(&list), err
	}}

// SetPolicy makes a policy or changes one.
var SetPolicy = op.Write[SetPolicyRequest, Policy]{Name: "acl.policy-set", Authorize: writes[SetPolicyRequest], Prepare: preparePolicy, Home: always[SetPolicyRequest]}

// DeletePolicy removes a policy. That there is none is no error.
var DeletePolicy = op.Write[NamedRequest, op.Empty]{Name: "acl.policy-delete", Authorize: writes[NamedRequest], Home: always[NamedRequest]}

// always is for what is global: it is written where the home is.
func always[Req any](storage.Reader, *Req) (bool, error) { return true, nil }

func preparePolicy(l op.Leader, r *SetPolicyRequest) error {
	p := &r.Policy
	p.CreateIndex, p.ModifyIndex, p.Hash = 0, 0, nil
	switch {
	case r.Create && p.ID != "":
		return op.Errorf(op.CodeInvalid, "Cannot specify the Policy ID when creating a new policy")
	case r.Create:
		p.ID = l.NewID()
	case p.ID == "":
		return op.Errorf(op.CodeInvalid, "Must specify the ID of the policy to update")
	}
	p.ID = strings.ToLower(p.ID)
	if !matches(policyName, p.Name, maxPolicyName) && p.ID != ReadOnlyID {
		return op.Errorf(op.CodeInvalid, "Invalid Policy: invalid Name. Only alphanumeric characters, '-' and '_' are allowed, and at most %d", maxPolicyName)
	}
	return ParsePolicy(p)
}

var policyName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func matches(re *regexp.Regexp, name string, max int) bool {
	return len(name) <= max && re.MatchString(name)
}

// ParsePolicy checks a policy's texts and fills in what its rules say.
func ParsePolicy(p *Policy) error {
	switch {
	case len(p.Description) > maxDescription:
		return op.Errorf(op.CodeInvalid, "Invalid Policy: Description is longer than %d bytes", maxDescription)
	case len(p.Rules) > maxRules:
		return op.Errorf(op.CodeInvalid, "Invalid Policy: Rules are longer than %d bytes", maxRules)
	}
	if err := validDatacenters("Policy", p.Datacenters); err != nil {
		return err
	}
	parsed, err := rules.Parse(p.Rules)
	if err != nil {
		return op.Errorf(op.CodeInvalid, "%v", err)
	}
	p.Parsed = *rules.Merge(parsed)
	return nil
}

func validDatacenters(what string, list []string) error {
	if len(list) > maxList {
		return op.Errorf(op.CodeInvalid, "Invalid %s: it lists %d datacenters, at most %d are allowed", what, len(list), maxList)
	}
	for _, dc := range list {
		if dc == "" || len(dc) > maxRoleName {
			return op.Errorf(op.CodeInvalid, "Invalid %s: %.64q is no name of a datacenter", what, dc)
		}
	}
	return nil
}

// ApplySetPolicy makes or changes the policy.
func ApplySetPolicy(tx *storage.Txn, r *SetPolicyRequest) (*Policy, error) {
	if err := writable(tx); err != nil {
		return nil, err
	}
	p := r.Policy
	old, err := FindPolicy(tx, p.ID, "")
	if err != nil {
		return nil, err
	}
	named, err := FindPolicy(tx, "", p.Name)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Create && old != nil:
		return nil, op.Errorf(op.CodeInvalid, "Invalid Policy: the ID is in use")
	case !r.Create && old == nil:
		return nil, op.Errorf(op.CodeNotFound, "Cannot find policy %s", p.ID)
	case named != nil && (old == nil || named.ID != old.ID):
		return nil, op.Errorf(op.CodeInvalid, "Invalid Policy: A Policy with Name %q already exists", p.Name)
	case old != nil && builtIn(old.ID) && (p.Rules != old.Rules || p.Name != old.Name || !slices.Equal(p.Datacenters, old.Datacenters)):
		return nil, op.Errorf(op.CodeInvalid, "Changing the Name, Rules or Datacenters of the builtin %s policy is not permitted", old.Name)
	}
	return &p, putPolicy(tx, old, &p)
}

func builtIn(id string) bool { return id == ManagementID || id == ReadOnlyID }

func putPolicy(tx *storage.Txn, old, p *Policy) error {
	bare := *p
	bare.CreateIndex, bare.ModifyIndex, bare.Hash, bare.Parsed = 0, 0, nil, rules.Policy{}
	var err error
	if p.Hash, err = hashed(bare.MarshalMsg(nil)); err != nil {
		return err
	}
	p.CreateIndex, p.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		p.CreateIndex = old.CreateIndex
	}
	return policies.Replace(tx, idKey(p.ID), old, p)
}

// ApplyDeletePolicy removes a policy. Who refers to it grants nothing by it from then on.
func ApplyDeletePolicy(tx *storage.Txn, r *NamedRequest) (*op.Empty, error) {
	if err := writable(tx); err != nil {
		return nil, err
	}
	if builtIn(r.ID) {
		return nil, op.Errorf(op.CodeInvalid, "Delete operation not permitted on a builtin policy")
	}
	_, err := policies.Delete(tx, idKey(r.ID))
	return nil, err
}

// validGrants checks what a token or a role refers to.
func validGrants(what string, g *Grants) error {
	for _, n := range []int{len(g.Policies), len(g.ServiceIdentities), len(g.NodeIdentities), len(g.TemplatedPolicies)} {
		if n > maxLinks {
			return op.Errorf(op.CodeInvalid, "Invalid %s: it refers to %d of one kind, at most %d are allowed", what, n, maxLinks)
		}
	}
	for _, s := range g.ServiceIdentities {
		if _, err := template.ServiceIdentity(s.ServiceName); err != nil {
			return op.Errorf(op.CodeInvalid, "Invalid %s: %v", what, err)
		}
		if err := validDatacenters(what, s.Datacenters); err != nil {
			return err
		}
	}
	for _, n := range g.NodeIdentities {
		if n.Datacenter == "" {
			return op.Errorf(op.CodeInvalid, "Invalid %s: the node identity %q needs a Datacenter", what, n.NodeName)
		}
		if _, err := template.NodeIdentity(n.NodeName); err != nil {
			return op.Errorf(op.CodeInvalid, "Invalid %s: %v", what, err)
		}
	}
	for i := range g.TemplatedPolicies {
		t := &g.TemplatedPolicies[i]
		if _, err := template.Render(t.TemplateName, t.variables()); err != nil {
			return op.Errorf(op.CodeInvalid, "Invalid %s: %v", what, err)
		}
		if err := validDatacenters(what, t.Datacenters); err != nil {
			return err
		}
	}
	return nil
}

func (t *TemplatedPolicy) variables() template.Variables {
	if t.TemplateVariables == nil {
		return template.Variables{}
	}
	return template.Variables{Name: t.TemplateVariables.Name}
}
