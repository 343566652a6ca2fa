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

// shownCheck is a check of this agent in the sums of its services: all that it
// could define is there, if empty.
type shownCheck struct {
	catalog.Check
	Definition shownDefinition
}

type shownDefinition struct {
	HTTP                           string
	Header                         map[string][]string
	Method                         string
	Body                           string
	TLSServerName                  string
	TLSSkipVerify                  bool
	TCP                            string
	TCPUseTLS                      bool
	UDP                            string
	GRPC                           string
	OSService                      string
	GRPCUseTLS                     bool
	Interval                       catalog.Duration
	Timeout                        catalog.Duration
	DeregisterCriticalServiceAfter catalog.Duration
}

func shown(c catalog.Check) shownCheck {
	rest.FixCheck(&c)
	d := &c.Definition
	return shownCheck{Check: c, Definition: shownDefinition{HTTP: d.HTTP, Header: d.Header, Method: d.Method, Body: d.Body,
		TLSServerName: d.TLSServerName, TLSSkipVerify: d.TLSSkipVerify, TCP: d.TCP, TCPUseTLS: d.TCPUseTLS, UDP: d.UDP, GRPC: d.GRPC,
		OSService: d.OSService, GRPCUseTLS: d.GRPCUseTLS, Interval: d.Interval, Timeout: d.Timeout,
		DeregisterCriticalServiceAfter: d.DeregisterCriticalServiceAfter}}
}
