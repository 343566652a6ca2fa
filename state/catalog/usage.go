package catalog

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog/mesh"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o usage_gen.go -file usage.go
//msgp:limit arrays:64 maps:64

// Usage counts what is in the catalog.
type Usage struct {
	Nodes     int
	Services  int // names
	Instances int
	// Connect counts instances that belong to a mesh, by kind; native ones are of
	// the kind connect-native.
	Connect map[string]int
	// Billable counts instances of typical services, those of the servers left out.
	Billable int
}

const (
	connectNative = "connect-native"
	// ofServers is the service that stands for the servers themselves.
	ofServers = "consul"
)

// CountUsage counts what is in the catalog. It tells of all, so it asks for the right
// to read about the datacenter.
var CountUsage = op.Read[op.Empty, Usage]{Name: "catalog.usage", Query: countUsage, Shared: true,
	Authorize: func(a rules.Authorizer, _ *op.Empty) error { return rules.Require(a, rules.Operator, rules.Read, "") }}

func countUsage(r storage.Reader, _ *op.Empty) (*Usage, error) {
	u := &Usage{Connect: map[string]int{connectNative: 0, mesh.ConnectProxy: 0, mesh.MeshGateway: 0, mesh.TerminatingGateway: 0, mesh.IngressGateway: 0, mesh.APIGateway: 0}}
	for _, err := range nodes.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		u.Nodes++
	}
	for n, err := range serviceNames.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		if !n.Tagged {
			u.Services++
		}
	}
	for row, err := range services.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		u.add(&row.Service)
	}
	return u, nil
}

func (u *Usage) add(s *Service) {
	u.Instances++
	if _, known := u.Connect[s.Kind]; known && s.Kind != connectNative {
		u.Connect[s.Kind]++
		return
	}
	if s.Connect.Native {
		u.Connect[connectNative]++
	}
	if s.Kind == "" && s.Service != ofServers {
		u.Billable++
	}
}
