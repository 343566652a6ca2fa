package acl

import (
	"fmt"
	"maps"
	"slices"

	"github.com/legate-project/legate/internal/filter"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/method"
	"github.com/legate-project/legate/state/acl/rules/template"
	"github.com/legate-project/legate/storage"
)

// Chooses reports whether the rule is for somebody. An error says that its selector does
// not fit its method any more.
func (b *Binding) Chooses(id *method.Identity) (bool, error) {
	f, err := filter.Parse(b.Selector)
	if err != nil {
		return false, err
	}
	if what := id.Missing(f.Paths()); what != "" {
		return false, fmt.Errorf("the method does not tell %s", what)
	}
	return f.Pass(id.Fields)
}

// Grant adds to a token what the rule gives to somebody whom its selector has chosen,
// and reports whether that is anything: a name that is made of something that is not
// known of them, and a role or a policy that is not there, give nothing. An error with
// CodeInvalid says that what is made is no name. The datacenter is that of a node.
func (b *Binding) Grant(t *Token, id *method.Identity, r storage.Reader, datacenter string) (bool, error) {
	name, vars, whole, err := b.names(id.Variables)
	switch {
	case err != nil:
		return false, op.Errorf(op.CodeInvalid, "%v", err)
	case !whole:
		return false, nil
	}
	if err := b.validName(name, vars); err != nil {
		return false, err
	}
	switch b.BindType {
	case BindService:
		if !slices.ContainsFunc(t.ServiceIdentities, func(s ServiceIdentity) bool { return s.ServiceName == name }) {
			t.ServiceIdentities = append(t.ServiceIdentities, ServiceIdentity{ServiceName: name})
		}
	case BindNode:
		if n := (NodeIdentity{name, datacenter}); !slices.Contains(t.NodeIdentities, n) {
			t.NodeIdentities = append(t.NodeIdentities, n)
		}
	case BindRole:
		role, err := FindRole(r, "", name)
		if err != nil || role == nil {
			return false, err
		}
		t.Roles = add(t.Roles, role.ID)
	case BindPolicy:
		p, err := FindPolicy(r, "", name)
		if err != nil || p == nil {
			return false, err
		}
		t.Policies = add(t.Policies, p.ID)
	case BindTemplate:
		t.TemplatedPolicies = append(t.TemplatedPolicies, TemplatedPolicy{TemplateName: name, TemplateVariables: vars})
	}
	return true, nil
}

func add(links []Link, id string) []Link {
	if slices.Contains(links, Link{ID: id}) {
		return links
	}
	return append(links, Link{ID: id})
}

// names makes the name that the rule binds to, and the variables of a template.
func (b *Binding) names(variables map[string]string) (name string, vars *Variables, whole bool, err error) {
	if name, whole, err = method.Interpolate(b.BindName, variables); err != nil || b.BindVars == nil {
		return name, nil, whole, err
	}
	vars = &Variables{}
	var all bool
	vars.Name, all, err = method.Interpolate(b.BindVars.Name, variables)
	return name, vars, whole && all, err
}

// validName refuses what is no name for what the rule binds to.
func (b *Binding) validName(name string, vars *Variables) error {
	invalid := func(what string) error {
		return op.Errorf(op.CodeInvalid, "%.256q is no name of a %s", name, what)
	}
	var err error
	switch b.BindType {
	case BindService:
		_, err = template.ServiceIdentity(name)
	case BindNode:
		_, err = template.NodeIdentity(name)
	case BindTemplate:
		_, err = template.Render(name, (&TemplatedPolicy{TemplateVariables: vars}).variables())
	case BindRole:
		if !matches(roleName, name, maxRoleName) {
			return invalid("role")
		}
	case BindPolicy:
		if !matches(policyName, name, maxPolicyName) && name != ReadOnlyName {
			return invalid("policy")
		}
	default:
		return op.Errorf(op.CodeInvalid, "unknown BindType %.64q", b.BindType)
	}
	if err != nil {
		return op.Errorf(op.CodeInvalid, "%v", err)
	}
	return nil
}

// checkMethod refuses a configuration that the method's type cannot work with.
func checkMethod(r storage.Reader, req *SetMethodRequest) error {
	m := &req.Method
	kind := m.Type
	if kind == "" && !req.Create {
		old, err := FindMethod(r, m.Name)
		if err != nil || old == nil { // applying says that there is none
			return err
		}
		kind = old.Type
	}
	config, err := method.Parse(kind, m.Config)
	if err == nil {
		_, err = TokenName(m.TokenNameFormat, &Method{Name: m.Name, Type: kind}, config.Blank())
	}
	if err != nil {
		return op.Errorf(op.CodeInvalid, "Invalid Auth Method: %v", err)
	}
	return nil
}

// checkBinding refuses a rule that asks for what its method does not tell.
func checkBinding(r storage.Reader, req *SetBindingRequest) error {
	b := req.Binding
	if b.AuthMethod == "" {
		old, err := FindBinding(r, b.ID)
		if err != nil || old == nil { // applying says what is wrong
			return err
		}
		b.AuthMethod = old.AuthMethod
	}
	m, err := FindMethod(r, b.AuthMethod)
	if err != nil || m == nil {
		return err
	}
	config, err := method.Parse(m.Type, m.Config)
	if err != nil {
		return op.Errorf(op.CodeInvalid, "Invalid Binding Rule: nobody can log in by the auth method %q: %v", m.Name, err)
	}
	blank := config.Blank()
	f, err := filter.ParseFor(b.Selector, blank.Fields)
	if what := blank.Missing(f.Paths()); err == nil && what != "" {
		err = fmt.Errorf("the method does not tell %s", what)
	}
	if err != nil {
		return op.Errorf(op.CodeInvalid, "invalid Binding Rule: Selector is invalid: %v", err)
	}
	some := maps.Clone(blank.Variables)
	for name := range some {
		some[name] = "x"
	}
	name, vars, _, err := b.names(some)
	if err == nil {
		err = b.validName(name, vars)
	}
	if err != nil {
		return op.Errorf(op.CodeInvalid, "Invalid Binding Rule: BindName or BindVars: %v", err)
	}
	return nil
}

// TokenName makes the name of a token of a method from the method's format.
func TokenName(format string, m *Method, id *method.Identity) (string, error) {
	variables := maps.Clone(id.Variables)
	variables["auth_method_type"], variables["auth_method_name"] = m.Type, m.Name
	name, _, err := method.Interpolate(format, variables)
	if err != nil {
		return "", op.Errorf(op.CodeInvalid, "TokenNameFormat: %v", err)
	}
	return name, nil
}
