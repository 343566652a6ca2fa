package acl

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// Bootstrap makes the first management token: once, and again after it was reset.
var Bootstrap = op.Write[BootstrapRequest, Token]{Name: "acl.bootstrap", Authorize: anybody[BootstrapRequest], Prepare: prepareBootstrap, Home: always[BootstrapRequest]}

// Begin makes what must always be there, as far as it is not.
var Begin = op.Internal[BeginRequest, op.Empty]{Name: "acl.begin"}

// Operations lists what this package declares.
func Operations() []op.Operation {
	return []op.Operation{&GetToken, &ListTokens, &SetToken, &DeleteToken, &Logout, &Expire, &Mint,
		&GetPolicy, &ListPolicies, &SetPolicy, &DeletePolicy, &GetRole, &ListRoles, &SetRole, &DeleteRole,
		&GetMethod, &ListMethods, &SetMethod, &DeleteMethod, &GetBinding, &ListBindings, &SetBinding, &DeleteBinding,
		&Bootstrap, &Begin, &ResolveSecret, &Authorize, &AuthorizeToken, &ReplicationStatus, &Login,
		&Copy, &TakeStep, &MoveHome, &YieldHome, &SettleHome, &ShowHome}
}

func prepareBootstrap(l op.Leader, r *BootstrapRequest) error {
	t := Token{SecretID: r.Token.SecretID}
	if err := given(&t.SecretID, "BootstrapSecret", l); err != nil {
		return err
	}
	t.AccessorID, t.Description, t.CreateTime = l.NewID(), "Bootstrap Token (Global Management)", l.Now.UTC()
	t.Policies = []Link{{ID: ManagementID}}
	r.Token, r.Reset = t, 0
	if l.BootstrapReset != nil {
		r.Reset = l.BootstrapReset()
	}
	return nil
}

// ApplyBootstrap makes the token unless that was done already.
func ApplyBootstrap(tx *storage.Txn, r *BootstrapRequest) (*Token, error) {
	if err := writable(tx); err != nil {
		return nil, err
	}
	s, err := start.Get(tx, nil)
	if err != nil {
		return nil, err
	}
	if s != nil && s.Bootstrapped > 0 && r.Reset != s.Bootstrapped {
		return nil, op.Errorf(op.CodeDenied, "Permission denied: ACL bootstrap no longer allowed (reset index: %d)", s.Bootstrapped)
	}
	other, err := FindSecret(tx, r.Token.SecretID)
	if err != nil {
		return nil, err
	}
	if other != nil {
		return nil, op.Errorf(op.CodeInvalid, "Invalid Token: SecretID is already in use")
	}
	t := r.Token
	if err := putToken(tx, nil, &t); err != nil {
		return nil, err
	}
	if err := start.Put(tx, nil, &Start{Bootstrapped: tx.Index()}); err != nil {
		return nil, err
	}
	return &t, nameLinks(tx, &t)
}

// Beginning is what must always be there: the policies that are built in, the
// anonymous token and, if a secret is configured for it, a management token.
func Beginning(l op.Leader, management string) (*BeginRequest, error) {
	now := l.Now.UTC()
	r := &BeginRequest{
		Policies: Policies{
			{ID: ManagementID, Name: ManagementName, Description: "Builtin Policy that grants unlimited access", Rules: rules.Manage().Text()},
			{ID: ReadOnlyID, Name: ReadOnlyName, Description: "Builtin Policy that grants read access to everything", Rules: rules.ReadOnly().Text()},
		},
		Tokens: Tokens{{AccessorID: AnonymousAccessor, SecretID: AnonymousSecret, Description: "Anonymous Token", CreateTime: now}},
	}
	for i := range r.Policies {
		if err := ParsePolicy(&r.Policies[i]); err != nil {
			return nil, err
		}
	}
	if management != "" {
		r.Tokens = append(r.Tokens, Token{AccessorID: l.NewID(), SecretID: management, Description: "Initial Management Token",
			Grants: Grants{Policies: []Link{{ID: ManagementID}}}, CreateTime: now})
	}
	return r, nil
}

// Begun reports whether what must always be there is.
func Begun(r storage.Reader, management string) (bool, error) {
	for _, id := range []string{ManagementID, ReadOnlyID} {
		found, err := FindPolicy(r, id, "")
		if err != nil || found == nil {
			return false, err
		}
	}
	for _, secret := range []string{AnonymousSecret, management} {
		if secret == "" {
			continue
		}
		t, err := FindSecret(r, secret)
		if err != nil || t == nil {
			return false, err
		}
	}
	return true, nil
}

// ApplyBegin makes what is missing. A management token of the configuration counts
// as bootstrapping.
func ApplyBegin(tx *storage.Txn, r *BeginRequest) (*op.Empty, error) {
	if err := writable(tx); err != nil {
		return nil, err
	}
	for i := range r.Policies {
		p := &r.Policies[i]
		old, err := FindPolicy(tx, p.ID, "")
		if err != nil {
			return nil, err
		}
		if old != nil { // perhaps with other texts, out of a snapshot of Consul
			continue
		}
		if err := putPolicy(tx, nil, p); err != nil {
			return nil, err
		}
	}
	for i := range r.Tokens {
		t := &r.Tokens[i]
		old, err := FindSecret(tx, t.SecretID)
		if err != nil {
			return nil, err
		}
		if old != nil {
			continue
		}
		if err := putToken(tx, nil, t); err != nil {
			return nil, err
		}
		if t.AccessorID == AnonymousAccessor {
			continue
		}
		if err := start.Put(tx, nil, &Start{Bootstrapped: tx.Index()}); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// Bootstrapped reports whether there has been a first management token.
func Bootstrapped(r storage.Reader) (bool, error) {
	s, err := start.Get(r, nil)
	return s != nil && s.Bootstrapped > 0, err
}

// ErrNotFound is the answer to a secret that stands for nothing. Clients match on it.
var ErrNotFound = op.Errorf(op.CodeDenied, "ACL not found")

// ErrNotBegun is the answer to it while there was no first management token.
var ErrNotBegun = op.Errorf(op.CodeDenied, "ACL system must be bootstrapped before making any requests that require authorization: ACL not found")

// ErrDisabled is the answer where access control is switched off. Clients match on it.
var ErrDisabled = op.Errorf(op.CodeUnsupported, "ACL support disabled")
