// Package rulestest has the callers that only tests know, as long as there is no access
// control that could tell callers apart.
package rulestest

import "github.com/legate-project/legate/state/acl/rules"

// DenyAll is the authorizer of a caller that may do nothing.
type DenyAll struct{}

var _ rules.Authorizer = DenyAll{}

// Allow implements rules.Authorizer.
func (DenyAll) Allow(rules.Resource, rules.Access, string) bool { return false }

// Who implements rules.Authorizer.
func (DenyAll) Who() string { return "anonymous token" }
