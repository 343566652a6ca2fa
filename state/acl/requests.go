package acl

import "time"

//go:generate go tool msgp -tests=false -io=false -o requests_gen.go -file requests.go
//msgp:limit arrays:1048576 maps:1024

// TokenRequest names a token by its accessor or, for who has it, by its secret.
type TokenRequest struct {
	Accessor string `msg:"a,omitempty"`
	Secret   string `msg:"s,omitempty"`
	// Expanded asks for the policies and roles behind it, too.
	Expanded bool `msg:"x,omitempty"`
}

// TokenResult is a token and, if they were asked for, the policies and roles
// behind it.
type TokenResult struct {
	Token    Token    `msg:"t"`
	Policies Policies `msg:"p,omitempty,limit=65536"`
	Roles    Roles    `msg:"r,omitempty,limit=1024"`
	// Own is set when it was asked for by its secret: who asked has that.
	Own bool `msg:"o,omitempty"`
}

// TokensRequest asks for the tokens that refer to what is given, or for all.
type TokensRequest struct {
	Policy      string `msg:"p,omitempty"` // by ID
	Role        string `msg:"r,omitempty"` // by ID
	ServiceName string `msg:"s,omitempty"` // of an identity
	AuthMethod  string `msg:"m,omitempty"`
}

// NamedRequest names a policy, a role, a method or a binding rule: by its ID or
// its name, whichever it has.
type NamedRequest struct {
	ID   string `msg:"id,omitempty"`
	Name string `msg:"n,omitempty"`
}

// RolesRequest asks for the roles that refer to a policy, or for all.
type RolesRequest struct {
	Policy string `msg:"p,omitempty"` // by ID
}

// BindingsRequest asks for the binding rules of a method, or for all.
type BindingsRequest struct {
	AuthMethod string `msg:"m,omitempty"`
}

// SetTokenRequest makes a token or changes one. What is made is fixed by the leader.
type SetTokenRequest struct {
	Token  Token         `msg:"t"`
	Create bool          `msg:"c,omitempty"`
	TTL    time.Duration `msg:"ttl,omitempty"` // from which ExpirationTime is made
	// From is the accessor of a token whose grants and locality the new one gets.
	From string `msg:"f,omitempty"`
}

// AccessorRequest names a token.
type AccessorRequest struct {
	Accessor string `msg:"a"`
}

// SecretRequest shows a secret.
type SecretRequest struct {
	Secret string `msg:"s"`
}

// SetPolicyRequest makes a policy or changes one.
type SetPolicyRequest struct {
	Policy Policy `msg:"p"`
	Create bool   `msg:"c,omitempty"`
}

// SetRoleRequest makes a role or changes one.
type SetRoleRequest struct {
	Role   Role `msg:"r"`
	Create bool `msg:"c,omitempty"`
}

// SetMethodRequest makes a method or changes one.
type SetMethodRequest struct {
	Method Method `msg:"m"`
	Create bool   `msg:"c,omitempty"`
}

// SetBindingRequest makes a binding rule or changes one.
type SetBindingRequest struct {
	Binding Binding `msg:"b"`
	Create  bool    `msg:"c,omitempty"`
}

// BootstrapRequest makes the first management token.
type BootstrapRequest struct {
	Token Token `msg:"t"` // its secret, if the caller chose one
	// Reset is the index that whoever reset it has read in the refusal; the leader
	// fills it in.
	Reset uint64 `msg:"r,omitempty"`
}

// BeginRequest makes what must always be there.
type BeginRequest struct {
	Tokens   Tokens   `msg:"t,limit=8"`
	Policies Policies `msg:"p,limit=8"`
}

// ExpireRequest removes tokens that have ended.
type ExpireRequest struct {
	Accessors []string  `msg:"a,limit=128"`
	Now       time.Time `msg:"now"` // as the leader has it
}

// MaxExpiries is how many tokens one command removes.
const MaxExpiries = 128
