// Package rules says what a caller may do: resources, access levels and the
// Authorizer that answers for one caller.
//
// It holds no tokens and stores nothing.
package rules

import "fmt"

// Resource is a kind of thing that access is granted to.
type Resource string

// The resources of the interfaces that clients know.
const (
	ACL      Resource = "acl"
	Agent    Resource = "agent"
	Event    Resource = "event"
	Key      Resource = "key"
	Keyring  Resource = "keyring"
	Node     Resource = "node"
	Operator Resource = "operator"
	Query    Resource = "query"
	Service  Resource = "service"
	Session  Resource = "session"
)

// Access is what is asked for.
type Access string

// The access levels, weakest first.
const (
	List  Access = "list"
	Read  Access = "read"
	Write Access = "write"
)

// Authorizer answers for one caller. Implementations are immutable and safe
// for concurrent use.
type Authorizer interface {
	// Allow reports whether the caller has the access to the named thing. For a
	// recursive access the name is a prefix.
	Allow(Resource, Access, string) bool
	// Who names the caller in errors, without its secret.
	Who() string
}

// DeniedError says which permission a caller lacks.
type DeniedError struct {
	Who      string
	Resource Resource
	Access   Access
	Name     string
}

// Error implements error. Clients match on this text.
func (e *DeniedError) Error() string {
	text := fmt.Sprintf("Permission denied: %s lacks permission '%s:%s'", e.Who, e.Resource, e.Access)
	if e.Name != "" {
		text += fmt.Sprintf(" on %q", e.Name)
	}
	return text
}

// Require returns a *DeniedError unless the caller has the access.
func Require(a Authorizer, r Resource, access Access, name string) error {
	if a.Allow(r, access, name) {
		return nil
	}
	return &DeniedError{Who: a.Who(), Resource: r, Access: access, Name: name}
}

// AllowAll returns the authorizer of a datacenter without access control.
func AllowAll() Authorizer { return everything{} }

// Unlimited reports whether a grants everything, so that nothing needs to be
// looked at.
func Unlimited(a Authorizer) bool { return a == everything{} }

// everything is granted.
type everything struct{}

var _ Authorizer = everything{}

// Allow implements Authorizer.
func (everything) Allow(Resource, Access, string) bool { return true }

// Who implements Authorizer.
func (everything) Who() string { return "anonymous token" }
