package acl

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/legate-project/legate/internal/filter"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// GetMethod returns a method, or none.
var GetMethod = op.Read[NamedRequest, Method]{Name: "acl.method", Authorize: reads[NamedRequest],
	Query:  func(r storage.Reader, req *NamedRequest) (*Method, error) { return FindMethod(r, req.Name) },
	Filter: func(a rules.Authorizer, m *Method) bool { return hideConfig(a, m) }}

// ListMethods returns all methods.
var ListMethods = op.Read[op.Empty, Methods]{Name: "acl.methods", Authorize: reads[op.Empty], Query: listMethods, Filter: filterMethods}

// SetMethod makes a method or changes one.
var SetMethod = op.Write[SetMethodRequest, Method]{Name: "acl.method-set", Authorize: writes[SetMethodRequest], Prepare: prepareMethod, Check: checkMethod, Home: always[SetMethodRequest]}

// DeleteMethod removes a method, its binding rules and the tokens that were got by it.
var DeleteMethod = op.Write[NamedRequest, op.Empty]{Name: "acl.method-delete", Authorize: writes[NamedRequest], Home: always[NamedRequest]}

// GetBinding returns a binding rule, or none.
var GetBinding = op.Read[NamedRequest, Binding]{Name: "acl.binding", Authorize: reads[NamedRequest],
	Query: func(r storage.Reader, req *NamedRequest) (*Binding, error) { return FindBinding(r, req.ID) }}

// ListBindings returns binding rules in the order of their IDs.
var ListBindings = op.Read[BindingsRequest, Bindings]{Name: "acl.bindings", Authorize: reads[BindingsRequest], Query: listBindings}

// SetBinding makes a binding rule or changes one.
var SetBinding = op.Write[SetBindingRequest, Binding]{Name: "acl.binding-set", Authorize: writes[SetBindingRequest], Prepare: prepareBinding, Check: checkBinding, Home: always[SetBindingRequest]}

// DeleteBinding removes a binding rule. That there is none is no error.
var DeleteBinding = op.Write[NamedRequest, op.Empty]{Name: "acl.binding-delete", Authorize: writes[NamedRequest], Home: always[NamedRequest]}

func listMethods(r storage.Reader, _ *op.Empty) (*Methods, error) {
	list, err := all(methods.Scan(r, nil))
	return (*Methods)(&list), err
}

func listBindings(r storage.Reader, req *BindingsRequest) (*Bindings, error) {
	if req.AuthMethod != "" {
		list, err := BindingsOf(r, req.AuthMethod)
		return &list, err
	}
	list, err := all(bindings.Scan(r, nil))
	return (*Bindings)(&list), err
}

// secretKeys are the keys of configurations that hold secrets.
var secretKeys = []string{"ServiceAccountJWT", "OIDCClientSecret"}

// hideConfig hides the secrets of a method's configuration from who may not write it.
// Keys are read in any case of letters, so they are hidden in any.
func hideConfig(a rules.Authorizer, m *Method) bool {
	if len(m.Config) == 0 || a.Allow(rules.ACL, rules.Write, "") {
		return false
	}
	var c map[string]json.RawMessage
	if err := json.Unmarshal(m.Config, &c); err != nil { // a snapshot brought it: nobody knows what it holds
		m.Config = nil
		return true
	}
	hidden := false
	for key, value := range c {
		secret := slices.ContainsFunc(secretKeys, func(s string) bool { return strings.EqualFold(s, key) })
		if secret && string(value) != `""` {
			c[key], hidden = json.RawMessage(`"`+Hidden+`"`), true
		}
	}
	if !hidden {
		return false
	}
	b, err := json.Marshal(c)
	if err != nil {
		b = nil
	}
	m.Config = b
	return true
}

func filterMethods(a rules.Authorizer, list *Methods) bool {
	shown := append(Methods(nil), *list...)
	hidden := false
	for i := range shown {
		hidden = hideConfig(a, &shown[i]) || hidden
	}
	*list = shown
	return hidden
}

var methodName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func prepareMethod(_ op.Leader, r *SetMethodRequest) error {
	m := &r.Method
	m.CreateIndex, m.ModifyIndex = 0, 0
	switch {
	case !matches(methodName, m.Name, maxMethodName):
		return op.Errorf(op.CodeInvalid, "Invalid Auth Method: invalid Name. Only alphanumeric characters, '-' and '_' are allowed, and at most %d", maxMethodName)
	case len(m.Description) > maxDescription || len(m.DisplayName) > maxDescription || len(m.TokenNameFormat) > maxDescription:
		return op.Errorf(op.CodeInvalid, "Invalid Auth Method: DisplayName, Description or TokenNameFormat is longer than %d bytes", maxDescription)
	case len(m.Config) > maxConfig:
		return op.Errorf(op.CodeInvalid, "Invalid Auth Method: Config is longer than %d bytes", maxConfig)
	case m.TokenLocality != "" && m.TokenLocality != LocalityLocal && m.TokenLocality != LocalityGlobal:
		return op.Errorf(op.CodeInvalid, "Invalid Auth Method: TokenLocality should be one of 'local' or 'global'")
	case m.MaxTokenTTL != 0 && (m.MaxTokenTTL < MinTTL || m.MaxTokenTTL > MaxTTL):
		return op.Errorf(op.CodeInvalid, "MaxTokenTTL %s cannot be less than %s or more than %s", m.MaxTokenTTL, MinTTL, MaxTTL)
	}
	return nil
}

// ApplySetMethod makes or changes the method.
func ApplySetMethod(tx *storage.Txn, r *SetMethodRequest) (*Method, error) {
	if err := writable(tx); err != nil {
		return nil, err
	}
	m := r.Method
	old, err := FindMethod(tx, m.Name)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Create && old != nil:
		return nil, op.Errorf(op.CodeInvalid, "Invalid Auth Method: An Auth Method with Name %q already exists", m.Name)
	case !r.Create && old == nil:
		return nil, op.Errorf(op.CodeNotFound, "Cannot find auth method %q", m.Name)
	case old != nil && m.Type != "" && m.Type != old.Type:
		return nil, op.Errorf(op.CodeInvalid, "Changing an auth method's type from %q to %q is not permitted.", old.Type, m.Type)
	}
	m.CreateIndex, m.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		m.Type, m.CreateIndex = old.Type, old.CreateIndex
	}
	return &m, methods.Replace(tx, nameKey(m.Name), old, &m)
}

// ApplyDeleteMethod removes a method with all that stands on it.
func ApplyDeleteMethod(tx *storage.Txn, r *NamedRequest) (*op.Empty, error) {
	if err := writable(tx); err != nil {
		return nil, err
	}
	return nil, deleteMethod(tx, r.Name)
}

func deleteMethod(tx *storage.Txn, name string) error {
	for b, err := range bindingByMethod.Scan(tx, nameKey(name)) {
		if err != nil {
			return err
		}
		if _, err := bindings.Delete(tx, idKey(b.ID)); err != nil {
			return err
		}
	}
	for t, err := range tokenByMethod.Scan(tx, nameKey(name)) {
		if err != nil {
			return err
		}
		if _, err := tokens.Delete(tx, idKey(t.AccessorID)); err != nil {
			return err
		}
	}
	_, err := methods.Delete(tx, nameKey(name))
	return err
}

func prepareBinding(l op.Leader, r *SetBindingRequest) error {
	b := &r.Binding
	b.CreateIndex, b.ModifyIndex = 0, 0
	switch {
	case r.Create && b.ID != "":
		return op.Errorf(op.CodeInvalid, "Cannot specify the Binding Rule ID when creating a new binding rule")
	case r.Create:
		b.ID = l.NewID()
	case b.ID == "":
		return op.Errorf(op.CodeInvalid, "Must specify the ID of the binding rule to update")
	}
	b.ID = strings.ToLower(b.ID)
	switch {
	case b.AuthMethod == "" && r.Create:
		return op.Errorf(op.CodeInvalid, "Invalid Binding Rule: no AuthMethod is set")
	case len(b.Description) > maxDescription || len(b.BindName) > maxDescription:
		return op.Errorf(op.CodeInvalid, "Invalid Binding Rule: Description or BindName is longer than %d bytes", maxDescription)
	case b.BindName == "":
		return op.Errorf(op.CodeInvalid, "Invalid Binding Rule: no BindName is set")
	}
	if _, err := filter.Parse(b.Selector); err != nil {
		return op.Errorf(op.CodeInvalid, "invalid Binding Rule: Selector is invalid: %v", err)
	}
	switch b.BindType {
	case BindService, BindNode, BindRole, BindPolicy, BindTemplate:
	default:
		return op.Errorf(op.CodeInvalid, "Invalid Binding Rule: unknown BindType %q: it is one of %s, %s, %s, %s, %s", b.BindType, BindService, BindNode, BindRole, BindPolicy, BindTemplate)
	}
	if b.BindType != BindTemplate && b.BindVars != nil {
		return op.Errorf(op.CodeInvalid, "Invalid Binding Rule: BindVars are for the BindType %s", BindTemplate)
	}
	if b.BindVars != nil && len(b.BindVars.Name) > maxDescription {
		return op.Errorf(op.CodeInvalid, "Invalid Binding Rule: the name in BindVars is longer than %d bytes", maxDescription)
	}
	return nil
}

// ApplySetBinding makes or changes the binding rule.
func ApplySetBinding(tx *storage.Txn, r *SetBindingRequest) (*Binding, error) {
	if err := writable(tx); err != nil {
		return nil, err
	}
	b := r.Binding
	old, err := FindBinding(tx, b.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case !r.Create && old == nil:
		return nil, op.Errorf(op.CodeNotFound, "Cannot find binding rule %s", b.ID)
	case old != nil && b.AuthMethod == "":
		b.AuthMethod = old.AuthMethod
	case old != nil && b.AuthMethod != old.AuthMethod:
		return nil, op.Errorf(op.CodeInvalid, "the AuthMethod field of a Binding Rule is immutable")
	}
	m, err := FindMethod(tx, b.AuthMethod)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, op.Errorf(op.CodeInvalid, "No such ACL auth method %q", b.AuthMethod)
	}
	b.CreateIndex, b.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		b.CreateIndex = old.CreateIndex
	}
	return &b, bindings.Replace(tx, idKey(b.ID), old, &b)
}

// ApplyDeleteBinding removes a binding rule.
func ApplyDeleteBinding(tx *storage.Txn, r *NamedRequest) (*op.Empty, error) {
	if err := writable(tx); err != nil {
		return nil, err
	}
	_, err := bindings.Delete(tx, idKey(r.ID))
	return nil, err
}
