// Package acl is access control over HTTP. None of it is served yet.
package acl

import (
	"github.com/legate-project/legate/httpapi/rest"
)

// Routes returns the rows of the area.
func Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/acl/bootstrap", Later: "PUT"},
		{Path: "/v1/acl/login", Later: "POST"},
		{Path: "/v1/acl/logout", Later: "POST"},
		{Path: "/v1/acl/replication", Later: "GET"},
		{Path: "/v1/acl/policies", Later: "GET"},
		{Path: "/v1/acl/policy", Later: "PUT"},
		{Path: "/v1/acl/policy/", Later: "GET PUT DELETE"},
		{Path: "/v1/acl/policy/name/", Later: "GET"},
		{Path: "/v1/acl/roles", Later: "GET"},
		{Path: "/v1/acl/role", Later: "PUT"},
		{Path: "/v1/acl/role/name/", Later: "GET"},
		{Path: "/v1/acl/role/", Later: "GET PUT DELETE"},
		{Path: "/v1/acl/binding-rules", Later: "GET"},
		{Path: "/v1/acl/binding-rule", Later: "PUT"},
		{Path: "/v1/acl/binding-rule/", Later: "GET PUT DELETE"},
		{Path: "/v1/acl/auth-methods", Later: "GET"},
		{Path: "/v1/acl/auth-method", Later: "PUT"},
		{Path: "/v1/acl/auth-method/", Later: "GET PUT DELETE"},
		{Path: "/v1/acl/tokens", Later: "GET"},
		{Path: "/v1/acl/token", Later: "PUT"},
		{Path: "/v1/acl/token/self", Later: "GET"},
		{Path: "/v1/acl/token/", Later: "GET PUT DELETE"},
		{Path: "/v1/acl/templated-policies", Later: "GET"},
		{Path: "/v1/acl/templated-policy/name/", Later: "GET"},
		{Path: "/v1/acl/templated-policy/preview/", Later: "POST"},
		{Path: "/v1/internal/acl/authorize", Later: "POST"},
	}
}
