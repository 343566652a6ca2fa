// Package catalog knows the nodes of a datacenter, the services on them and
// their health checks.
//
// It decides nothing about health: agents and the leader report it. It does
// not sort by distance and knows no sessions; what must happen elsewhere when
// a node or check goes is called from package state.
package catalog

import (
	"strings"

	"github.com/legate-project/legate/state/catalog/mesh"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o records_gen.go -file records.go
//msgp:limit arrays:1048576 maps:4096
//msgp:shim Duration as:time.Duration using:time.Duration/Duration

// The states of a check.
const (
	Passing  = "passing"
	Warning  = "warning"
	Critical = "critical"
)

// SerfHealth is the check by which the leader shows whether gossip sees a
// node alive.
const SerfHealth = "serfHealth"

// AnyState asks for checks in every state.
const AnyState = "any"

// Node is a machine in the catalog.
type Node struct {
	ID              string `msg:",omitempty"`
	Node            string
	Address         string
	Datacenter      string            `msg:",omitempty"`
	TaggedAddresses map[string]string `msg:",omitempty"`
	Meta            map[string]string `msg:",omitempty"`
	CreateIndex     uint64            `msg:",omitempty"`
	ModifyIndex     uint64            `msg:",omitempty"`
	PeerName        string            `json:",omitempty" msg:",omitempty"`
	Locality        *mesh.Locality    `json:",omitempty" msg:",omitempty" bexpr:"-"`
}

// Nodes are nodes in the order of their names.
type Nodes []Node

// ServiceAddress is an address with its port.
type ServiceAddress struct {
	Address string
	Port    int
}

// Weights of an instance in DNS SRV answers, by its health.
type Weights struct {
	Passing int
	Warning int
}

// Service is an instance of a service on a node.
type Service struct {
	Kind              string `json:",omitempty" msg:",omitempty"`
	ID                string
	Service           string
	Tags              []string                  `msg:",omitempty,limit=1024"`
	Address           string                    `msg:",omitempty"`
	TaggedAddresses   map[string]ServiceAddress `json:",omitempty" msg:",omitempty"`
	Meta              map[string]string         `msg:",omitempty"`
	Port              int                       `msg:",omitempty"`
	Ports             mesh.Ports                `json:",omitempty" msg:",omitzero" bexpr:"-"`
	SocketPath        string                    `json:",omitempty" msg:",omitempty"`
	Weights           Weights
	EnableTagOverride bool           `msg:",omitempty"`
	Proxy             mesh.Proxy     `msg:",omitzero"`
	Connect           mesh.Connect   `msg:",omitzero"`
	AI                *mesh.AI       `json:",omitempty" msg:",omitempty" bexpr:"-"`
	PeerName          string         `msg:",omitempty"`
	Locality          *mesh.Locality `json:",omitempty" msg:",omitempty" bexpr:"-"`
	CreateIndex       uint64         `msg:",omitempty"`
	ModifyIndex       uint64         `msg:",omitempty"`
}

// ServiceRow is a service with the node it is on, as the table holds it.
type ServiceRow struct {
	Node    string
	Service Service
}

// CheckDefinition says how a check is run, for those who run checks of nodes
// without an agent.
type CheckDefinition struct {
	HTTP                           string              `json:",omitempty" msg:",omitempty"`
	TLSServerName                  string              `json:",omitempty" msg:",omitempty"`
	TLSSkipVerify                  bool                `json:",omitempty" msg:",omitempty"`
	Header                         map[string][]string `json:",omitempty" msg:",omitempty"`
	Method                         string              `json:",omitempty" msg:",omitempty"`
	Body                           string              `json:",omitempty" msg:",omitempty"`
	TCP                            string              `json:",omitempty" msg:",omitempty"`
	TCPUseTLS                      bool                `json:",omitempty" msg:",omitempty"`
	UDP                            string              `json:",omitempty" msg:",omitempty"`
	GRPC                           string              `json:",omitempty" msg:",omitempty"`
	GRPCUseTLS                     bool                `json:",omitempty" msg:",omitempty"`
	H2PING                         string              `json:",omitempty" msg:",omitempty"`
	H2PingUseTLS                   bool                `json:",omitempty" msg:",omitempty"`
	OSService                      string              `json:",omitempty" msg:",omitempty"`
	AliasNode                      string              `json:",omitempty" msg:",omitempty"`
	AliasService                   string              `json:",omitempty" msg:",omitempty"`
	ScriptArgs                     []string            `json:",omitempty" msg:",omitempty,limit=1024"`
	DockerContainerID              string              `json:",omitempty" msg:",omitempty"`
	Shell                          string              `json:",omitempty" msg:",omitempty"`
	SessionName                    string              `json:",omitempty" msg:",omitempty"`
	DisableRedirects               bool                `json:",omitempty" msg:",omitempty"`
	OutputMaxSize                  int                 `json:",omitempty" msg:",omitempty"`
	TTL                            Duration            `json:",omitempty" msg:",omitempty"`
	Interval                       Duration            `json:",omitempty" msg:",omitempty"`
	Timeout                        Duration            `json:",omitempty" msg:",omitempty"`
	DeregisterCriticalServiceAfter Duration            `json:",omitempty" msg:",omitempty"`
}

// Kind names what is run, with the names that an agent's checks have as their
// Type; "" if nothing is. It is the first in the order in which agents look.
func (d *CheckDefinition) Kind() string {
	for _, k := range []struct {
		name string
		is   bool
	}{
		{"ttl", d.TTL > 0}, {"http", d.HTTP != ""}, {"tcp", d.TCP != ""}, {"udp", d.UDP != ""}, {"grpc", d.GRPC != ""},
		{"h2ping", d.H2PING != ""}, {"docker", d.DockerContainerID != ""}, {"script", len(d.ScriptArgs) > 0},
		{"os_service", d.OSService != ""}, {"alias", d.AliasNode != "" || d.AliasService != ""},
	} {
		if k.is {
			return k.name
		}
	}
	return ""
}

// Check is the result of a health check of a node or of one service on it.
type Check struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string          `msg:",omitempty"`
	Output      string          `msg:",omitempty"`
	ServiceID   string          `msg:",omitempty"`
	ServiceName string          `msg:",omitempty"`
	ServiceTags []string        `msg:",omitempty,limit=1024"`
	Type        string          `msg:",omitempty"`
	Interval    string          `msg:",omitempty"`
	Timeout     string          `msg:",omitempty"`
	ExposedPort int             `msg:",omitempty"`
	PeerName    string          `json:",omitempty" msg:",omitempty"`
	Definition  CheckDefinition `bexpr:"-"`
	// Datacenter is set in answers of several datacenters; it is not stored.
	Datacenter  string `json:",omitempty" msg:",omitempty"`
	CreateIndex uint64 `msg:",omitempty"`
	ModifyIndex uint64 `msg:",omitempty"`
}

// Checks are checks in the order of node and ID.
type Checks []Check

// ServiceNode is an instance of a service together with its node, flat.
type ServiceNode struct {
	ID                       string `msg:",omitempty"`
	Node                     string
	Address                  string
	Datacenter               string            `msg:",omitempty"`
	TaggedAddresses          map[string]string `msg:",omitempty"`
	NodeMeta                 map[string]string `msg:",omitempty"`
	ServiceKind              string            `msg:",omitempty"`
	ServiceID                string
	ServiceName              string
	ServiceTags              []string                  `msg:",omitempty,limit=1024"`
	ServiceAddress           string                    `msg:",omitempty"`
	ServiceTaggedAddresses   map[string]ServiceAddress `json:",omitempty" msg:",omitempty"`
	ServiceWeights           Weights
	ServiceMeta              map[string]string `msg:",omitempty"`
	ServicePort              int               `msg:",omitempty"`
	ServicePorts             mesh.Ports        `json:",omitempty" msg:",omitzero" bexpr:"-"`
	ServiceSocketPath        string            `msg:",omitempty"`
	ServiceEnableTagOverride bool              `msg:",omitempty"`
	ServiceProxy             mesh.Proxy        `msg:",omitzero"`
	ServiceConnect           mesh.Connect      `msg:",omitzero"`
	ServiceLocality          *mesh.Locality    `msg:",omitempty" bexpr:"-"`
	CreateIndex              uint64
	ModifyIndex              uint64
}

// ServiceNodes are instances in the order of node and ID.
type ServiceNodes []ServiceNode

// Instance is an instance of a service with its node and the checks that
// decide on its health.
type Instance struct {
	Node    *Node
	Service *Service
	Checks  Checks
}

// Instances are instances in the order of node and ID.
type Instances []Instance

// NodeServices is a node with what runs on it, by service ID.
type NodeServices struct {
	Node     *Node
	Services map[string]*Service
}

// ServiceTags holds for each service name all tags in use.
type ServiceTags map[string][]string

// ServiceName is a name that at least one service has or, if it is Tagged, a
// tag that one of that name has. It is written when the first comes and goes
// with the last, so that who watches the list of names is not woken by each
// instance.
type ServiceName struct {
	Name   string
	Tag    string
	Tagged bool
}

// Tally counts the services that have a name, or a name and a tag.
type Tally struct {
	N int
}

// connects is the name of the service that others of the mesh reach through the
// instance: its own, or that of which it is the proxy. Empty for none.
func (s *Service) connects() string {
	switch {
	case s.Kind == mesh.ConnectProxy:
		return s.Proxy.DestinationServiceName
	case s.Connect.Native:
		return s.Service
	}
	return ""
}

// Row keys: names of nodes are compared without case.
func nodeKey(node string) []byte        { return storage.Key(strings.ToLower(node)) }
func serviceKey(node, id string) []byte { return storage.Key(strings.ToLower(node), id) }
func checkKey(node, id string) []byte   { return storage.Key(strings.ToLower(node), id) }

// Key prefixes of the indexes.
func byService(name string) []byte             { return storage.Key(strings.ToLower(name)) }
func byInstance(node, serviceID string) []byte { return storage.Key(strings.ToLower(node), serviceID) }

var (
	nodesByID = storage.NewIndex(1, "node-id", func(n *Node) [][]byte {
		if n.ID == "" {
			return nil
		}
		return [][]byte{storage.Key(strings.ToLower(n.ID))}
	})
	nodesByAddress = storage.NewDerivedIndex(2, "node-address", func(n *Node) [][]byte {
		return addressKeys(n.addresses())
	})
	servicesByName = storage.NewIndex(1, "service-name", func(s *ServiceRow) [][]byte {
		return [][]byte{byService(s.Service.Service)}
	})
	servicesByAddress = storage.NewDerivedIndex(3, "service-address", func(s *ServiceRow) [][]byte {
		return addressKeys(s.Service.addresses())
	})
	servicesByConnect = storage.NewDerivedIndex(2, "service-connect", func(s *ServiceRow) [][]byte {
		if name := s.Service.connects(); name != "" {
			return [][]byte{byService(name)}
		}
		return nil
	})
	checksByInstance = storage.NewIndex(1, "check-instance", func(c *Check) [][]byte {
		return [][]byte{byInstance(c.Node, c.ServiceID)}
	})
	checksByService = storage.NewIndex(2, "check-service", func(c *Check) [][]byte {
		if c.ServiceName == "" {
			return nil
		}
		return [][]byte{byService(c.ServiceName)}
	})
	checksByState = storage.NewIndex(3, "check-state", func(c *Check) [][]byte {
		return [][]byte{storage.Key(c.Status)}
	})

	nodes    = storage.NewTable(2, "nodes", nodesByID, nodesByAddress)
	services = storage.NewTable(3, "services", servicesByName, servicesByAddress, servicesByConnect)
	checks   = storage.NewTable(4, "checks", checksByInstance, checksByService, checksByState)

	serviceNames = storage.NewTable[ServiceName](6, "service-names")
	tallies      = storage.NewTable[Tally](7, "service-tallies")
)

// Status is the worst state among the checks.
func (cs Checks) Status() string {
	worst := Passing
	for i := range cs {
		switch cs[i].Status {
		case Critical:
			return Critical
		case Warning:
			worst = Warning
		}
	}
	return worst
}

// Tables lists the tables of the domain.
func Tables() []storage.AnyTable {
	return []storage.AnyTable{nodes, services, checks, serviceNames, tallies}
}
