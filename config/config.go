// Package config turns configuration files (HCL or JSON, in Consul's
// vocabulary) and command-line flags into one validated plain value.
//
// It promises: every key is declared once, as a field of Config or of one of
// its blocks, and everything else (decoding, flags, defaults, warnings, the
// reference page) is made from that declaration; an unknown key, a wrong type
// and a value that cannot work are errors that name file and key, and all of
// them are reported at once. The same files, flags and Environment give the
// same value.
//
// It knows no subsystem, opens no sockets and keeps no state: what a key does
// is the business of whoever reads the field.
//
// The tags of a field are its declaration:
//
//	key      the name in files; a struct is a block
//	alias    another name; for lists both may be given
//	flag     names of the command-line flags, the first one is documented
//	default  in the form in which a flag would be written
//	unit     of a plain number
//	plain    of a block, the key that a plain value in its place stands for; where
//	         that is true or false, a block without it is true
//	mark     reload (re-read on reload), pending (accepted, no effect yet),
//	         silent (accepted, there is nothing for it to do), enterprise
//	         (accepted with a warning), secret (never shown), words (one
//	         string that holds several values), names (a block whose keys may
//	         also be written in CamelCase)
//	doc      one or two sentences for the reference page
package config

import (
	"time"

	"github.com/legate-project/legate/state/catalog/mesh"
)

// Config is the whole configuration of one agent. It is plain data: who gets
// one from Load may keep it and must not change it.
type Config struct {
	// DevMode says that the agent keeps everything in memory and that timers
	// may be short. It is set by the flag -dev alone.
	DevMode bool

	// Identity.
	Datacenter        string            `key:"datacenter" flag:"datacenter,dc" default:"dc1" doc:"Name of this agent's datacenter: letters, digits, - and _; kept in lower case. The words nearest and all are reserved."`
	PrimaryDatacenter string            `key:"primary_datacenter" doc:"Datacenter where policies, roles and global tokens are written first. Empty means this one."`
	Federation        Federation        `key:"federation" plain:"name" doc:"The federation, and how this datacenter is reached in it. A plain string is its name."`
	Gateway           Gateway           `key:"gateway" plain:"enabled" doc:"This client agent is a gateway of its datacenter: true, or a block."`
	NodeName          string            `key:"node_name" flag:"node" doc:"Name of this node, unique in its datacenter. Empty means the host's name."`
	NodeID            string            `key:"node_id" flag:"node-id" doc:"UUID of this node. Empty means a random one that is kept in data_dir."`
	DisableHostNodeID bool              `key:"disable_host_node_id" flag:"disable-host-node-id" default:"true" doc:"False derives the node ID of a new data_dir from the host, so that a host which loses its data stays the same node; two agents of one host must then say which they are by node_id. Where the host tells nothing, or by default, the ID is chosen at random."`
	NodeMeta          map[string]string `key:"node_meta" flag:"node-meta" mark:"reload" doc:"At most 64 pairs kept with the node; keys of at most 128 and values of at most 512 bytes."`
	DataDir           string            `key:"data_dir" flag:"data-dir" doc:"Directory for everything the agent keeps. Required, except with -dev."`
	Server            bool              `key:"server" flag:"server" doc:"Server mode: the agent takes part in its datacenter's Raft group."`
	Bootstrap         bool              `key:"bootstrap" flag:"bootstrap" doc:"This server starts a datacenter alone."`
	BootstrapExpect   int               `key:"bootstrap_expect" flag:"bootstrap-expect" unit:"servers" doc:"Start the datacenter when this many servers have found each other. Excludes bootstrap."`

	// Addresses.
	BindAddr             string            `key:"bind_addr" flag:"bind" default:"0.0.0.0" doc:"Address for traffic between agents: an IP address or a go-sockaddr template."`
	ClientAddrs          []string          `key:"client_addr" flag:"client" default:"127.0.0.1" mark:"words" doc:"Addresses of the HTTP and DNS listeners, separated by spaces; go-sockaddr templates are allowed."`
	Addresses            Addresses         `key:"addresses" doc:"Addresses of single listeners where they differ from client_addr."`
	AdvertiseAddr        string            `key:"advertise_addr" flag:"advertise" doc:"Address that other agents of the datacenter are told. Empty means bind_addr or, if that is 0.0.0.0 or ::, the host's only private address."`
	AdvertiseAddrIPv4    string            `key:"advertise_addr_ipv4" doc:"IPv4 address among the node's tagged addresses."`
	AdvertiseAddrIPv6    string            `key:"advertise_addr_ipv6" doc:"IPv6 address among the node's tagged addresses."`
	AdvertiseAddrWAN     string            `key:"advertise_addr_wan" flag:"advertise-wan" doc:"Address that servers of other datacenters are told. Empty means advertise_addr."`
	AdvertiseAddrWANIPv4 string            `key:"advertise_addr_wan_ipv4" doc:"IPv4 WAN address among the node's tagged addresses."`
	AdvertiseAddrWANIPv6 string            `key:"advertise_addr_wan_ipv6" doc:"IPv6 WAN address among the node's tagged addresses."`
	TaggedAddresses      map[string]string `key:"tagged_addresses" doc:"Further addresses of the node by tag: lan, wan and their _ipv4 and _ipv6 forms."`
	TranslateWANAddrs    bool              `key:"translate_wan_addrs" doc:"Answer HTTP and DNS with WAN addresses (tagged_addresses wan, wan_ipv4, wan_ipv6) and ports for nodes and services of other datacenters."`
	SerfLANBind          string            `key:"serf_lan" flag:"serf-lan-bind" doc:"Address of the LAN gossip listener. Empty means bind_addr."`
	SerfWANBind          string            `key:"serf_wan" flag:"serf-wan-bind" doc:"Address of the listener for everything between datacenters. Empty means bind_addr."`
	SerfLANAllowedCIDRs  []string          `key:"serf_lan_allowed_cidrs" flag:"serf-lan-allowed-cidrs" doc:"Networks whose members may join the LAN pool; this agent's own address must be in one. Empty means all."`
	SerfWANAllowedCIDRs  []string          `key:"serf_wan_allowed_cidrs" flag:"serf-wan-allowed-cidrs" doc:"Networks whose members may join the WAN pool; this agent's own address must be in one. Empty means all."`
	Ports                Ports             `key:"ports" doc:"Port numbers; -1 switches a listener off."`
	UnixSockets          UnixSockets       `key:"unix_sockets" doc:"Rights of listeners on Unix sockets."`

	// Joining and leaving.
	RetryJoin                 []string      `key:"retry_join" alias:"start_join" flag:"retry-join,join" doc:"LAN addresses (host or host:port) to join through, tried until one answers. An entry provider=NAME key=value … asks a cloud for them: aws, azure, digitalocean, gce or mdns, with the keys of hashicorp/go-discover."`
	RetryInterval             time.Duration `key:"retry_interval" flag:"retry-interval" default:"30s" doc:"Time between attempts to join the LAN."`
	RetryMax                  int           `key:"retry_max" flag:"retry-max" unit:"attempts" doc:"Attempts to join the LAN before the agent gives up; 0 means without end."`
	RetryJoinWAN              []string      `key:"retry_join_wan" alias:"start_join_wan" flag:"retry-join-wan,join-wan" doc:"WAN addresses of servers of other datacenters to join through; or a cloud to ask for them, as in retry_join. Servers only."`
	RetryIntervalWAN          time.Duration `key:"retry_interval_wan" flag:"retry-interval-wan" default:"30s" doc:"Time between attempts to join the WAN."`
	RetryMaxWAN               int           `key:"retry_max_wan" flag:"retry-max-wan" unit:"attempts" doc:"Attempts to join the WAN before the agent gives up; 0 means without end."`
	RejoinAfterLeave          bool          `key:"rejoin_after_leave" flag:"rejoin" doc:"Rejoin the known members after a leave, too."`
	ServerRejoinAgeMax        time.Duration `key:"server_rejoin_age_max" default:"168h" doc:"A server that was away longer refuses to start, since the others may have gone on without it: its data_dir is to be emptied first. At least 6h."`
	ReconnectTimeoutLAN       time.Duration `key:"reconnect_timeout" default:"72h" doc:"Failed LAN members are forgotten after this time; at least 8h."`
	ReconnectTimeoutWAN       time.Duration `key:"reconnect_timeout_wan" default:"72h" doc:"Failed WAN members are forgotten after this time; at least 8h."`
	AdvertiseReconnectTimeout time.Duration `key:"advertise_reconnect_timeout" doc:"The others forget this client when it has been failed for this time; for clients that come and go. 0 means their own reconnect_timeout. Not for servers."`
	LeaveOnTerminate          bool          `key:"leave_on_terminate" doc:"Leave gracefully on SIGTERM. The default is true for clients, false for servers."`
	SkipLeaveOnInterrupt      bool          `key:"skip_leave_on_interrupt" doc:"Stop without leaving on SIGINT. The default is false for clients, true for servers."`

	// Gossip and Raft.
	EncryptKey            []byte        `key:"encrypt" flag:"encrypt" mark:"secret" doc:"Gossip key: 16, 24 or 32 bytes in base64 (legate keygen makes one). One key for the whole federation, or with encrypt_wan one for each datacenter. The keyrings in data_dir begin with it and count from then on (legate keyring)."`
	EncryptWANKey         []byte        `key:"encrypt_wan" mark:"secret" doc:"Gossip key of the WAN pool, which client agents, and so gateways, must not have: another one than encrypt, the same on the servers of all datacenters. The keyring remote.keyring in data_dir begins with it and counts from then on (legate keyring -wan). Without, it is encrypt. Servers only."`
	EncryptVerifyIncoming bool          `key:"encrypt_verify_incoming" default:"true" mark:"pending" doc:"Refuse gossip that is not encrypted."`
	EncryptVerifyOutgoing bool          `key:"encrypt_verify_outgoing" default:"true" mark:"pending" doc:"Encrypt outgoing gossip."`
	DisableKeyringFile    bool          `key:"disable_keyring_file" flag:"disable-keyring-file" doc:"Do not keep gossip keys in data_dir: after a restart the key is that of encrypt again."`
	GossipLAN             Gossip        `key:"gossip_lan" doc:"Timing of the LAN pool."`
	GossipWAN             Gossip        `key:"gossip_wan" doc:"Timing of the WAN pool."`
	Protocol              int           `key:"protocol" flag:"protocol" default:"2" mark:"silent" doc:"Protocol version; 2 or 3 are accepted and mean the same."`
	RaftProtocol          int           `key:"raft_protocol" flag:"raft-protocol" default:"3" mark:"silent" doc:"Raft protocol version; 3 is the only one."`
	RaftSnapshotThreshold int           `key:"raft_snapshot_threshold" default:"16384" unit:"entries" doc:"Log entries after which a snapshot is taken."`
	RaftSnapshotInterval  time.Duration `key:"raft_snapshot_interval" default:"30s" doc:"Time between looks at whether a snapshot is due."`
	RaftTrailingLogs      int           `key:"raft_trailing_logs" default:"10240" unit:"entries" doc:"Log entries kept behind a snapshot."`
	RaftPreVoteDisabled   bool          `key:"raft_prevote_disabled" doc:"Switch Raft's pre-vote off. Then a server that was cut off ends the term of the leader when it comes back."`
	RaftLogStore          any           `key:"raft_logstore" mark:"silent" doc:"Choice of log store; there is only one here."`
	ReadReplica           bool          `key:"read_replica" alias:"non_voting_server" flag:"read-replica,non-voting-server" doc:"This server never votes: it answers reads, and counts for no majority."`
	FeatureLevel          int           `key:"feature_level" mark:"reload" doc:"Highest feature level that the datacenter may use while this server is in it; 0 for the highest that this version knows. An upgrade that may have to be undone keeps that of the version before, see docs/upgrading.md."`
	Autopilot             Autopilot     `key:"autopilot" doc:"How the servers are looked after. The first leader of a datacenter writes this into the state; from then on that counts (legate operator autopilot set-config)."`
	Performance           Performance   `key:"performance" doc:"Raft timing, and how long to wait for a leader or for a leave."`

	// Client interfaces.
	Domain                    string        `key:"domain" flag:"domain" default:"consul." doc:"DNS domain that the agent answers for."`
	AltDomain                 string        `key:"alt_domain" flag:"alt-domain" doc:"A second DNS domain to answer for."`
	Recursors                 []string      `key:"recursors" flag:"recursor" mark:"reload" doc:"DNS servers (ip or ip:port; go-sockaddr templates are allowed) for names outside the domain. Without any such names are refused."`
	DNSConfig                 DNSConfig     `key:"dns_config" mark:"reload" doc:"Behaviour of the DNS interface."`
	HTTPConfig                HTTPConfig    `key:"http_config" doc:"Behaviour of the HTTP interface."`
	UIConfig                  UIConfig      `key:"ui_config" doc:"The web interface."`
	DefaultQueryTime          time.Duration `key:"default_query_time" flag:"default-query-time" default:"300s" doc:"How long a blocking query waits when it does not say."`
	MaxQueryTime              time.Duration `key:"max_query_time" flag:"max-query-time" default:"600s" doc:"The longest that a blocking query may wait."`
	DiscoveryMaxStale         time.Duration `key:"discovery_max_stale" mark:"reload" doc:"Above 0, reads of the catalog and of health that ask for no consistency are answered by any server that is no staler than this."`
	ViewMaxStale              time.Duration `key:"view_max_stale" default:"1h" doc:"Oldest answer that is given from what is kept of a datacenter while it cannot be reached."`
	Cache                     Cache         `key:"cache" mark:"reload,pending" doc:"Limits of the agent's cache."`
	RPC                       RPC           `key:"rpc" mark:"silent" doc:"Streaming of health reads on servers; always on here."`
	UseStreamingBackend       bool          `key:"use_streaming_backend" default:"true" mark:"silent" doc:"Streaming of health reads on clients; always on here."`
	SessionTTLMin             time.Duration `key:"session_ttl_min" default:"10s" doc:"Shortest TTL that a session may have."`
	Limits                    Limits        `key:"limits" doc:"Bounds on what clients may ask for."`
	Locality                  mesh.Locality `key:"locality" doc:"Where this agent runs; shown with its node."`
	DisableCoordinates        bool          `key:"disable_coordinates" doc:"Do not send network coordinates to the catalog."`
	DisableUpdateCheck        bool          `key:"disable_update_check" mark:"silent" doc:"Nothing is ever asked of the project's home."`
	DisableAnonymousSignature bool          `key:"disable_anonymous_signature" mark:"silent" doc:"Nothing is ever sent to the project's home."`
	EnableAgentTLSForChecks   bool          `key:"enable_agent_tls_for_checks" mark:"pending" doc:"Present the agent's certificate in HTTP checks."`
	EnableDebug               bool          `key:"enable_debug" mark:"reload" doc:"Serve run-time profiles below /debug/pprof/."`
	DisableRemoteExec         bool          `key:"disable_remote_exec" default:"true" doc:"Refuse remote execution: with false, who may fire events and write keys runs commands on this agent."`

	DisableUnprintableFilter   bool `key:"disable_http_unprintable_char_filter" mark:"pending" doc:"Accept control characters in HTTP paths."`
	EnableCentralServiceConfig bool `key:"enable_central_service_config" default:"true" mark:"silent" doc:"Service mesh."`

	// Own services and checks.
	Services                []ServiceDefinition `key:"services" alias:"service" mark:"reload,names" doc:"Services that this agent registers."`
	Checks                  []CheckDefinition   `key:"checks" alias:"check" mark:"reload,names" doc:"Checks that this agent runs for its node or, with service_id, for a service."`
	CheckUpdateInterval     time.Duration       `key:"check_update_interval" default:"5m" doc:"Changes of a check's output alone are sent no more often than this."`
	CheckOutputMaxSize      int                 `key:"check_output_max_size" flag:"check_output_max_size" default:"4096" unit:"bytes" doc:"Longest output kept of a check."`
	DiscardCheckOutput      bool                `key:"discard_check_output" mark:"reload" doc:"Keep no output of checks, here or in the catalog: one that changes with each run then costs no writes."`
	EnableScriptChecks      bool                `key:"enable_script_checks" flag:"enable-script-checks" doc:"Allow script checks from files and from the HTTP API."`
	EnableLocalScriptChecks bool                `key:"enable_local_script_checks" flag:"enable-local-script-checks" doc:"Allow script checks from files only."`
	Watches                 []map[string]any    `key:"watches" mark:"reload" doc:"Handlers to run when something changes."`

	// Logs and process.
	LogLevel          string        `key:"log_level" flag:"log-level" default:"INFO" mark:"reload" doc:"TRACE, DEBUG, INFO, WARN or ERR."`
	LogJSON           bool          `key:"log_json" flag:"log-json" doc:"Write log lines as JSON."`
	LogFile           string        `key:"log_file" flag:"log-file" doc:"Write the log to this file, too. A name that ends in / is a directory."`
	LogRotateBytes    int           `key:"log_rotate_bytes" flag:"log-rotate-bytes" unit:"bytes" doc:"Start a new log file at this size; 0 means no limit."`
	LogRotateDuration time.Duration `key:"log_rotate_duration" flag:"log-rotate-duration" default:"24h" doc:"Start a new log file at this age."`
	LogRotateMaxFiles int           `key:"log_rotate_max_files" flag:"log-rotate-max-files" unit:"files" doc:"Old log files to keep; 0 means all, -1 none."`
	EnableSyslog      bool          `key:"enable_syslog" flag:"syslog" doc:"Send the log to syslog, too."`
	SyslogFacility    string        `key:"syslog_facility" default:"LOCAL0" doc:"Syslog facility: KERN, USER, MAIL, DAEMON, AUTH, SYSLOG, LPR, NEWS, UUCP, CRON, AUTHPRIV, FTP or LOCAL0 to LOCAL7."`
	PidFile           string        `key:"pid_file" flag:"pid-file" doc:"File that holds the process ID while the agent runs."`
	AutoReloadConfig  bool          `key:"auto_reload_config" flag:"auto-reload-config" doc:"Reload when configuration files change, come or go, as soon as they are the same for a second."`
	Telemetry         Telemetry     `key:"telemetry" doc:"Metrics."`

	// Security.
	ACL         ACL         `key:"acl" doc:"Access control."`
	TLS         TLS         `key:"tls" mark:"reload" doc:"Certificates, one block for each listener over the defaults."`
	AutoEncrypt AutoEncrypt `key:"auto_encrypt" doc:"Certificates for client agents from the servers."`
	AutoConfig  any         `key:"auto_config" mark:"pending" doc:"Configuration for clients from the servers."`

	// Accepted, without a use here.
	TLSPreferServerSuites  bool     `key:"tls_prefer_server_cipher_suites" mark:"silent" doc:"The order of cipher suites is not chosen."`
	Version                string   `key:"version" mark:"silent" doc:"Version of the agent that the file was written for."`
	Connect                any      `key:"connect" mark:"silent" doc:"Service mesh."`
	ConfigEntries          any      `key:"config_entries" mark:"silent" doc:"Service mesh."`
	Peering                any      `key:"peering" mark:"silent" doc:"Service mesh."`
	XDS                    any      `key:"xds" mark:"silent" doc:"Service mesh."`
	Cloud                  any      `key:"cloud" mark:"silent" doc:"Service mesh."`
	PrimaryGateways        []string `key:"primary_gateways" flag:"primary-gateway" mark:"silent" doc:"Service mesh."`
	PrimaryGatewaysIntvl   string   `key:"primary_gateways_interval" mark:"silent" doc:"Service mesh."`
	DefaultIntentionPolicy string   `key:"default_intention_policy" mark:"silent" doc:"Service mesh."`
	Experiments            []string `key:"experiments" mark:"silent" doc:"Experiments of Consul."`
	Partition              string   `key:"partition" mark:"enterprise" doc:"Admin partition."`
	Segment                string   `key:"segment" flag:"segment" mark:"enterprise" doc:"Network segment."`
	Segments               any      `key:"segments" mark:"enterprise" doc:"Network segments."`
	Audit                  any      `key:"audit" mark:"enterprise" doc:"Audit log."`
	LicensePath            string   `key:"license_path" mark:"enterprise" doc:"License."`
	Reporting              any      `key:"reporting" mark:"enterprise" doc:"License reports."`
}
