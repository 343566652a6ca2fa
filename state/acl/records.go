// Package acl knows who may do what: tokens, the policies and roles that they
// refer to, and by which methods one logs in to get one.
//
// It decides what a secret stands for (Resolve) and keeps the records in order. It
// asks nobody's rights itself but for its own operations, and verifies no
// credentials of others: who logs in was verified before.
package acl

import (
	"crypto/sha256"
	"time"

	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -o records_gen.go -file records.go
//msgp:limit arrays:1048576 maps:1024

// IDs and names that are always there.
const (
	AnonymousAccessor = "00000000-0000-0000-0000-000000000002"
	AnonymousSecret   = "anonymous"
	ManagementID      = "00000000-0000-0000-0000-000000000001"
	ManagementName    = "global-management"
	ReadOnlyID        = "00000000-0000-0000-0000-000000000002"
	ReadOnlyName      = "builtin/global-read-only"
)

// Hidden is shown in place of a secret to who may not see it.
const Hidden = "<hidden>"

// Bounds of the records.
const (
	maxPolicyName  = 128 // as clients know them
	maxRoleName    = 256
	maxMethodName  = 128
	maxDescription = 4096
	maxLinks       = 1024 // policies, roles or identities of one token or role
	maxSecret      = 256
	maxConfig      = 256 << 10 // bytes of a method's configuration
	maxRules       = 512 << 10 // bytes of a policy's rules
	maxList        = 128       // datacenters of one record
)

// Link names a policy or a role. Records keep its ID; the name is that of today.
type Link struct {
	ID   string
	Name string `msg:",omitempty"`
}

// ServiceIdentity grants what an instance of a service needs.
type ServiceIdentity struct {
	ServiceName string
	Datacenters []string `json:",omitempty" msg:",omitempty,limit=128"` // where it counts; everywhere if empty
}

// NodeIdentity grants what an agent needs.
type NodeIdentity struct {
	NodeName   string
	Datacenter string
}

// Variables are what a templated policy is made with.
type Variables struct {
	Name string `json:"name,omitempty" msg:",omitempty"`
}

// TemplatedPolicy is a policy made from a template.
type TemplatedPolicy struct {
	TemplateID        string `json:",omitempty" msg:",omitempty"`
	TemplateName      string
	TemplateVariables *Variables `json:",omitempty" msg:",omitempty"`
	Datacenters       []string   `json:",omitempty" msg:",omitempty,limit=128"` // where it counts; everywhere if empty
}

// Grants are what tokens and roles both refer to.
type Grants struct {
	Policies          []Link            `json:",omitempty" msg:",omitempty,limit=1024"`
	ServiceIdentities []ServiceIdentity `json:",omitempty" msg:",omitempty,limit=1024"`
	NodeIdentities    []NodeIdentity    `json:",omitempty" msg:",omitempty,limit=1024"`
	TemplatedPolicies []TemplatedPolicy `json:",omitempty" msg:",omitempty,limit=1024"`
}

// Token is what a secret stands for.
type Token struct {
	AccessorID string
	// SecretID is what a caller shows. Never logged.
	SecretID    string
	Name        string `json:",omitempty" msg:",omitempty"`
	Description string
	Grants
	Roles []Link `json:",omitempty" msg:",omitempty,limit=1024"`
	// Local tokens mean nothing in other datacenters.
	Local bool
	// AuthMethod that the token was got by, empty for none.
	AuthMethod string `json:",omitempty" msg:",omitempty"`
	// ExpirationTime is when the token ends; the zero time is never.
	ExpirationTime time.Time `json:",omitzero"`
	CreateTime     time.Time
	// Hash is of the content, the same in every datacenter.
	Hash        []byte `json:",omitempty"`
	CreateIndex uint64
	ModifyIndex uint64
}

// Tokens are several tokens.
type Tokens []Token

// Expired reports whether the token has ended.
func (t *Token) Expired(now time.Time) bool {
	return !t.ExpirationTime.IsZero() && !now.Before(t.ExpirationTime)
}

// Policy is a set of rules with a name.
type Policy struct {
	ID          string
	Name        string
	Description string
	Rules       string   // as the client wrote them
	Datacenters []string `msg:",omitempty,limit=128"` // where it counts; everywhere if empty
	Hash        []byte
	CreateIndex uint64
	ModifyIndex uint64
	// Parsed are the rules as they are compiled, so that to resolve a token parses
	// nothing.
	Parsed rules.Policy `json:"-"`
}

// Policies are several policies.
type Policies []Policy

// Role is a set of grants with a name.
type Role struct {
	ID          string
	Name        string
	Description string
	Grants
	Hash        []byte
	CreateIndex uint64
	ModifyIndex uint64
}

// Roles are several roles.
type Roles []Role

// Method is a way to log in with a credential that somebody else vouches for.
type Method struct {
	Name        string
	Type        string // jwt or kubernetes
	DisplayName string `json:",omitempty" msg:",omitempty"`
	Description string `json:",omitempty" msg:",omitempty"`
	// MaxTokenTTL is how long its tokens live; 0 for ever.
	MaxTokenTTL time.Duration `json:"-"` // the interface writes it as a text
	// TokenLocality is local or global; empty is local.
	TokenLocality string `json:",omitempty" msg:",omitempty"`
	// TokenNameFormat makes the names of its tokens.
	TokenNameFormat string `json:",omitempty" msg:",omitempty"`
	// Config is a JSON object whose keys the type knows. It can hold secrets: see
	// who may read it.
	Config      []byte `json:"-"`
	CreateIndex uint64
	ModifyIndex uint64
}

// Methods are methods in the order of their names.
type Methods []Method

// Binding says what who logs in by a method gets.
type Binding struct {
	ID          string
	Description string
	AuthMethod  string
	Selector    string // an expression over what is known of who logs in; empty for everybody
	BindType    string
	BindName    string
	BindVars    *Variables `json:",omitempty" msg:",omitempty"`
	CreateIndex uint64
	ModifyIndex uint64
}

// Bindings are binding rules in the order of their IDs.
type Bindings []Binding

// What a binding binds to.
const (
	BindService  = "service"
	BindNode     = "node"
	BindRole     = "role"
	BindPolicy   = "policy"
	BindTemplate = "templated-policy"
)

// Local and global tokens, as methods name them.
const (
	LocalityLocal  = "local"
	LocalityGlobal = "global"
)

// Start is what there is once of access control in a datacenter.
type Start struct {
	// Bootstrapped is the index at which the first management token was made by
	// bootstrapping; 0 while it was not.
	Bootstrapped uint64 `msg:"b,omitempty"`
}

// hashed is the hash of a record's content. The record is given without what
// differs between datacenters.
func hashed(b []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return sum[:], nil
}
