// Package mesh is the service mesh over HTTP: there is none, and tools that probe for
// it are told so the same way each time. What is there is shown: the authority under
// which agents trust each other.
package mesh

import (
	"crypto/x509"

	"github.com/legate-project/legate/httpapi/rest"
)

// API is what the area depends on.
type API struct {
	// Authority returns the certificate of the authority that signs those of agents, or
	// the agent's own if it is signed by itself; nil where there is none to show.
	Authority func() *x509.Certificate
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	roots := func(path string) rest.Route {
		if a.Authority == nil {
			return rest.Route{Path: path, Mesh: "GET"}
		}
		return rest.Route{Path: path, Get: a.roots}
	}
	return []rest.Route{
		roots("/v1/agent/connect/ca/roots"),
		roots("/v1/connect/ca/roots"),
		{Path: "/v1/internal/service-virtual-ip", Mesh: "PUT"},
		{Path: "/v1/internal/federation-states", Mesh: "GET"},
		{Path: "/v1/internal/federation-states/mesh-gateways", Mesh: "GET"},
		{Path: "/v1/internal/federation-state/", Mesh: "GET"},
		{Path: "/v1/config", Mesh: "PUT"},
		{Path: "/v1/config/", Mesh: "GET DELETE"},
		{Path: "/v1/connect/ca/configuration", Mesh: "GET PUT"},
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
