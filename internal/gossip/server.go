package gossip

import (
	"net"
	"strconv"
	"strings"
	"time"
)

// Tags of members, as Consul's users know them.
const (
	RoleServer = "consul"
	RoleClient = "node"

	tagRole       = "role"
	tagDatacenter = "dc"
	tagID         = "id"
	tagPort       = "port"
	tagRaftPort   = "raft_port"
	tagWANPort    = "wan_join_port"
	tagWANAddr    = "wan_addr"
	tagBootstrap  = "bootstrap"
	tagExpect     = "expect"
	tagBuild      = "build"
	tagSegment    = "segment"
	tagRemovals   = "removals"
	tagVia        = "via"
	tagSeen       = "seen"
	tagGateway    = "gateway"
	tagGatewayTCP = "gateway_tcp"
	tagTransit    = "transit"
	tagVersion    = "legate"
	tagReconnect  = "rc_tm"
	tagLevel      = "level"
	tagReplica    = "read_replica"
	tagNonVoter   = "nonvoter" // what older clients know tagReplica by
)

// Server is a member that is a server, read from its tags.
type Server struct {
	Name       string // node name, without the datacenter
	ID         string // node ID
	Datacenter string
	Addr       string // IP address in the pool
	WANAddr    string // IP address for other datacenters, if it is another one
	RPCPort    int
	RaftPort   int // RPCPort if the tag is missing
	WANPort    int // 0 if the server takes no part in the WAN
	Bootstrap  bool
	Expect     int
	// ReadReplica: it never votes.
	ReadReplica bool
	Build       string // of Consul, whose interfaces it has
	Version     string // of Legate; empty for builds before 0.2.0 in the LAN pool
	// Level is the highest feature level of the replicated state that it knows, or wants
	// used; builds that do not say have 1.
	Level  uint16
	Status Status
	// Damped: it failed and came back again and again, so it should be asked
	// last. Only the WAN pool sets it.
	Damped bool
	// Via lists the gateways that servers of other datacenters reach it through, host and port,
	// separated by commas; empty for none. Seen is where one of them sees it, if that is
	// another address than it has itself.
	Via, Seen string
	// Transit: it carries what servers of other datacenters say to each other.
	Transit bool
	// Removals stands for what it knows of removed datacenters; empty for
	// nothing.
	Removals string
}

// Tags returns the server's tags.
func (s Server) Tags() map[string]string {
	tags := commonTags(RoleServer, s.Datacenter, s.ID, s.Build)
	tags[tagPort] = strconv.Itoa(s.RPCPort)
	tags["raft_vsn"] = "3"
	if s.RaftPort != 0 && s.RaftPort != s.RPCPort {
		tags[tagRaftPort] = strconv.Itoa(s.RaftPort)
	}
	if s.WANPort > 0 {
		tags[tagWANPort] = strconv.Itoa(s.WANPort)
	}
	if s.WANAddr != "" {
		tags[tagWANAddr] = s.WANAddr
	}
	if s.Bootstrap {
		tags[tagBootstrap] = "1"
	}
	if s.ReadReplica {
		tags[tagReplica], tags[tagNonVoter] = "1", "1"
	}
	if s.Removals != "" {
		tags[tagRemovals] = s.Removals
	}
	if s.Via != "" {
		tags[tagVia] = s.Via
	}
	if s.Seen != "" {
		tags[tagSeen] = s.Seen
	}
	if s.Transit {
		tags[tagTransit] = "1"
	}
	if s.Version != "" {
		tags[tagVersion] = s.Version
	}
	if s.Level > 1 {
		tags[tagLevel] = strconv.Itoa(int(s.Level))
	}
	if s.Expect > 0 {
		tags[tagExpect] = strconv.Itoa(s.Expect)
	}
	return tags
}

// Gateways are those of Via.
func (s Server) Gateways() []string {
	if s.Via == "" {
		return nil
	}
	return strings.Split(s.Via, ",")
}

// RPCAddr is where the server takes calls of its datacenter, host and port.
func (s Server) RPCAddr() string { return net.JoinHostPort(s.Addr, strconv.Itoa(s.RPCPort)) }

// RaftAddr is where it takes part in consensus, host and port.
func (s Server) RaftAddr() string { return net.JoinHostPort(s.Addr, strconv.Itoa(s.RaftPort)) }

// ClientTags returns the tags of a client agent.
func ClientTags(datacenter, id, build string) map[string]string {
	return commonTags(RoleClient, datacenter, id, build)
}

// ForgetAfter adds to the tags of a client agent how long after its failure the
// others forget it; 0 leaves that to them.
func ForgetAfter(tags map[string]string, d time.Duration) map[string]string {
	if d > 0 {
		tags[tagReconnect] = d.String()
	}
	return tags
}

// GatewayAt adds to the tags of a client agent where it is a gateway, host and port, and at which
// port of TCP it is one, too, if that is not 0; an empty address adds nothing.
func GatewayAt(tags map[string]string, addr string, tcp int) map[string]string {
	if addr != "" {
		tags[tagGateway] = addr
		if tcp > 0 {
			tags[tagGatewayTCP] = strconv.Itoa(tcp)
		}
	}
	return tags
}

// GatewayTCP is the port of TCP at which the member is a gateway; 0 if it is not.
func (m Member) GatewayTCP() int {
	port, err := strconv.ParseUint(m.Tags[tagGatewayTCP], 10, 16)
	if err != nil {
		return 0
	}
	return int(port)
}

// Gateway is where the member is a gateway of its datacenter, host and port; empty if it
// is none.
func (m Member) Gateway() string { return m.Tags[tagGateway] }

func commonTags(role, datacenter, id, build string) map[string]string {
	return map[string]string{
		tagRole: role, tagDatacenter: datacenter, tagID: id, tagBuild: build, tagSegment: "",
		"vsn": "2", "vsn_min": "2", "vsn_max": "3",
	}
}

// Role is RoleServer, RoleClient or what else the member says.
func (m Member) Role() string { return m.Tags[tagRole] }

// Datacenter is the member's datacenter.
func (m Member) Datacenter() string { return m.Tags[tagDatacenter] }

// ID is the member's node ID.
func (m Member) ID() string { return m.Tags[tagID] }

// HostPort is where the member gossips.
func (m Member) HostPort() string { return net.JoinHostPort(m.Addr, strconv.Itoa(int(m.Port))) }

// ServerOf reads a server from a member; false if it is none or its tags make
// no sense. In the WAN pool the name still has the datacenter at its end.
func ServerOf(m Member) (Server, bool) {
	if m.Role() != RoleServer || m.Datacenter() == "" {
		return Server{}, false
	}
	s := Server{Name: m.Name, ID: m.ID(), Datacenter: m.Datacenter(), Addr: m.Addr, WANAddr: m.Tags[tagWANAddr],
		Bootstrap: m.Tags[tagBootstrap] == "1", ReadReplica: m.Tags[tagReplica] == "1" || m.Tags[tagNonVoter] == "1", Build: m.Tags[tagBuild], Version: m.Tags[tagVersion], Status: m.Status, Removals: m.Tags[tagRemovals], Via: m.Tags[tagVia], Seen: m.Tags[tagSeen], Transit: m.Tags[tagTransit] == "1"}
	s.Level = 1
	if n, err := strconv.ParseUint(m.Tags[tagLevel], 10, 16); err == nil && n > 1 {
		s.Level = uint16(n)
	}
	var ok bool
	if s.RPCPort, ok = port(m.Tags[tagPort]); !ok || s.RPCPort == 0 {
		return Server{}, false
	}
	if s.RaftPort, ok = port(m.Tags[tagRaftPort]); !ok {
		return Server{}, false
	}
	if s.RaftPort == 0 {
		s.RaftPort = s.RPCPort
	}
	if s.WANPort, ok = port(m.Tags[tagWANPort]); !ok {
		return Server{}, false
	}
	if text := m.Tags[tagExpect]; text != "" {
		n, err := strconv.ParseUint(text, 10, 8)
		if err != nil {
			return Server{}, false
		}
		s.Expect = int(n)
	}
	return s, true
}

// port reads a port number; 0 if the text is empty.
func port(text string) (int, bool) {
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err == nil
}
