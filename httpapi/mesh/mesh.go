// Package mesh is the service mesh over HTTP: there is none, and tools that probe for
// it are told so the same way each time.
package mesh

import (
	"github.com/legate-project/legate/httpapi/rest"
)

// Routes returns the rows of the area.
func Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/internal/service-virtual-ip", Mesh: "PUT"},
		{Path: "/v1/internal/federation-states", Mesh: "GET"},
		{Path: "/v1/internal/federation-states/mesh-gateways", Mesh: "GET"},
		{Path: "/v1/internal/federation-state/", Mesh: "GET"},
		{Path: "/v1/config", Mesh: "PUT"},
		{Path: "/v1/config/", Mesh: "GET DELETE"},
		{Path: "/v1/connect/ca/configuration", Mesh: "GET PUT"},
		{Path: "/v1/connect/ca/roots", Mesh: "GET"},
		{Path: "/v1/connect/intentions", Mesh: "GET POST"},
		{Path: "/v1/connect/intentions/match", Mesh: "GET"},
		{Path: "/v1/connect/intentions/check", Mesh: "GET"},
		{Path: "/v1/connect/intentions/exact", Mesh: "GET PUT DELETE"},
		{Path: "/v1/connect/intentions/", Mesh: "GET PUT DELETE"},
		{Path: "/v1/discovery-chain/", Mesh: "GET POST"},
		{Path: "/v1/exported-services", Mesh: "GET"},
		{Path: "/v1/peering/token", Mesh: "POST"},
		{Path: "/v1/peering/establish", Mesh: "POST"},
		{Path: "/v1/peering/", Mesh: "GET DELETE"},
		{Path: "/v1/peerings", Mesh: "GET"},
	}
}
