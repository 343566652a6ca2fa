// Package catalog knows the nodes of a datacenter, the services on them and
// their health checks.
//
// It decides nothing about health: agents and the leader report it. It does
// not sort by distance and knows no sessions; what must happen elsewhere when
// a node or check goes is called from package state.
package catalog

import (
	"maps"
	"slices"
	"strings"

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
	SocketPath        string                    `json:",omitempty" msg:",omitempty"`
	Weights           Weights
	EnableTagOverride bool      `msg:",omitempty"`
	Proxy             NoProxy   `msg:"-" bexpr:"-"`
	Connect           NoConnect `msg:"-" bexpr:"-"`
	CreateIndex       uint64    `msg:",omitempty"`
	ModifyIndex       uint64    `msg:",omitempty"`
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
	DisableRedirects               bool                `json:",omitempty" msg:",omitempty"`
	OutputMaxSize                  int                 `json:",omitempty" msg:",omitempty"`
	TTL                            Duration            `json:",omitempty" msg:",omitempty"`
	Interval                       Duration            `json:",omitempty" msg:",omitempty"`
	Timeout                        Duration            `json:",omitempty" msg:",omitempty"`
	DeregisterCriticalServiceAfter Duration            `json:",omitempty" msg:",omitempty"`
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
	ServiceSocketPath        string            `msg:",omitempty"`
	ServiceEnableTagOverride bool              `msg:",omitempty"`
	ServiceProxy             NoProxy           `msg:"-" bexpr:"-"`
	ServiceConnect           NoConnect         `msg:"-" bexpr:"-"`
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
	services = storage.NewTable(3, "services", servicesByName, servicesByAddress)
	checks   = storage.NewTable(4, "checks", checksByInstance, checksByService, checksByState)

	serviceNames = storage.NewTable[ServiceName](6, "service-names")
	tallies      = storage.NewTable[Tally](7, "service-tallies")
)

// Same reports whether two nodes differ in nothing but their indexes.
func (n *Node) Same(o *Node) bool {
	return n.ID == o.ID && n.Node == o.Node && n.Address == o.Address && n.Datacenter == o.Datacenter &&
		maps.Equal(n.TaggedAddresses, o.TaggedAddresses) && maps.Equal(n.Meta, o.Meta)
}

// Same reports whether two services differ in nothing but their indexes.
func (s *Service) Same(o *Service) bool {
	return s.Kind == o.Kind && s.ID == o.ID && s.Service == o.Service && slices.Equal(s.Tags, o.Tags) &&
		s.Address == o.Address && maps.Equal(s.TaggedAddresses, o.TaggedAddresses) && maps.Equal(s.Meta, o.Meta) &&
		s.Port == o.Port && s.SocketPath == o.SocketPath && s.Weights == o.Weights && s.EnableTagOverride == o.EnableTagOverride
}

// Same reports whether two checks differ in nothing but their indexes.
func (c *Check) Same(o *Check) bool {
	return c.Node == o.Node && c.CheckID == o.CheckID && c.Name == o.Name && c.Status == o.Status && c.Notes == o.Notes &&
		c.Output == o.Output && c.ServiceID == o.ServiceID && c.ServiceName == o.ServiceName &&
		slices.Equal(c.ServiceTags, o.ServiceTags) && c.Type == o.Type && c.Interval == o.Interval &&
		c.Timeout == o.Timeout && c.ExposedPort == o.ExposedPort && c.Definition.same(&o.Definition)
}

func (d *CheckDefinition) same(o *CheckDefinition) bool {
	return d.HTTP == o.HTTP && d.TLSServerName == o.TLSServerName && d.TLSSkipVerify == o.TLSSkipVerify &&
		maps.EqualFunc(d.Header, o.Header, slices.Equal) && d.Method == o.Method && d.Body == o.Body && d.TCP == o.TCP &&
		d.TCPUseTLS == o.TCPUseTLS && d.UDP == o.UDP && d.GRPC == o.GRPC && d.GRPCUseTLS == o.GRPCUseTLS &&
		d.H2PING == o.H2PING && d.H2PingUseTLS == o.H2PingUseTLS && d.OSService == o.OSService && d.AliasNode == o.AliasNode &&
		d.AliasService == o.AliasService && slices.Equal(d.ScriptArgs, o.ScriptArgs) && d.DisableRedirects == o.DisableRedirects &&
		d.OutputMaxSize == o.OutputMaxSize && d.TTL == o.TTL && d.Interval == o.Interval && d.Timeout == o.Timeout && d.DeregisterCriticalServiceAfter == o.DeregisterCriticalServiceAfter
}

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
