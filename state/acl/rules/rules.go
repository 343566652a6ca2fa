// Package rules says what a caller may do: resources, access levels, the language
// of rules, how rules of several policies come together, and the Authorizer that
// answers for one caller.
//
// It holds no tokens and stores nothing. It does not say which access an operation
// needs: each operation asks for itself.
package rules

import "fmt"

// Authorizer answers for one caller. Implementations are immutable and safe
// for concurrent use.
type Authorizer interface {
	// Allow reports whether the caller has the access to the named thing. For a
	// recursive access (List, WriteAll, ReadAll) the name is a prefix.
	Allow(Resource, Access, string) bool
	// Who names the caller in errors, without its secret.
	Who() string
}

// Anonymous is Who of callers that show no token.
const Anonymous = "anonymous token"

// DeniedError says which permission a caller lacks.
type DeniedError struct {
	Who      string
	Resource Resource
	Access   Access
	Name     string
}

// Error implements error. Clients match on this text.
func (e *DeniedError) Error() string {
	access, below := e.Access, ""
	switch access {
	case WriteAll:
		access, below = Write, " and everything below it"
	case ReadAll:
		access, below = Read, " and everything below it"
	case Recurse:
		access = List
	}
	text := fmt.Sprintf("Permission denied: %s lacks permission '%s:%s'", e.Who, e.Resource, access)
	if e.Name != "" {
		text += fmt.Sprintf(" on %q%s", e.Name, below)
	}
	if e.Who == Anonymous {
		text += ". The anonymous token is used implicitly when a request does not specify a token."
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

// Unlimited reports whether a grants everything that can be asked, so that nothing
// needs to be looked at.
func Unlimited(a Authorizer) bool {
	if c, ok := a.(*caller); ok {
		return c.tree.unlimited
	}
	return a == everything{}
}

// everything is granted.
type everything struct{}

var _ Authorizer = everything{}

// Allow implements Authorizer.
func (everything) Allow(Resource, Access, string) bool { return true }

// Who implements Authorizer.
func (everything) Who() string { return Anonymous }
