package agent

import (
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
)

// localService is a service of this agent as clients see it.
type localService struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Meta              map[string]string
	Port              int
	Ports             mesh.Ports `json:",omitempty" bexpr:"-"`
	Address           string
	SocketPath        string                            `json:",omitempty"`
	TaggedAddresses   map[string]catalog.ServiceAddress `json:",omitempty"`
	Weights           catalog.Weights
	EnableTagOverride bool
	ContentHash       string         `json:",omitempty" bexpr:"-"`
	Proxy             *mesh.Proxy    `json:",omitempty"`
	Connect           *mesh.Connect  `json:",omitempty"`
	AI                *mesh.AI       `json:",omitempty" bexpr:"-"`
	Datacenter        string         `bexpr:"-"`
	Locality          *mesh.Locality `json:",omitempty" bexpr:"-"`
}

// localService is the record in that shape.
func (a *API) localService(s *catalog.Service) localService {
	out := localService{Kind: s.Kind, ID: s.ID, Service: s.Service, Tags: rest.Some(s.Tags), Meta: rest.Pairs(s.Meta), Port: s.Port, Ports: s.Ports,
		Address: s.Address, SocketPath: s.SocketPath, TaggedAddresses: s.TaggedAddresses, Weights: s.Weights,
		EnableTagOverride: s.EnableTagOverride, AI: s.AI, Datacenter: a.Datacenter, Locality: s.Locality}
	// Clients of proxies and gateways look into Proxy without asking whether it is there.
	if s.Kind != "" || !s.Proxy.IsZero() {
		out.Proxy = &s.Proxy
	}
	if !s.Connect.IsZero() {
		out.Connect = &s.Connect
	}
	return out
}
