package config

import "time"

// Ports are the port numbers of the listeners; -1 means none.
type Ports struct {
	DNS        int `key:"dns" flag:"dns-port" default:"8600" doc:"DNS, UDP and TCP."`
	HTTP       int `key:"http" flag:"http-port" default:"8500" doc:"HTTP API."`
	HTTPS      int `key:"https" flag:"https-port" default:"-1" doc:"HTTP API over TLS, HTTP/1.1 and HTTP/2. Takes tls.https.cert_file."`
	SerfLAN    int `key:"serf_lan" flag:"serf-lan-port" default:"8301" doc:"Gossip inside the datacenter, UDP and TCP."`
	SerfWAN    int `key:"serf_wan" flag:"serf-wan-port" default:"8302" doc:"Everything between datacenters, one UDP port. -1 keeps this datacenter alone."`
	Server     int `key:"server" flag:"server-port" default:"8300" doc:"Inside the datacenter: RPC on UDP, Raft on TCP."`
	GatewayTCP int `key:"gateway_tcp" doc:"Packets between datacenters over TCP, for servers whose UDP does not get through. On a gateway: where it takes them, such as 443; 0 or -1 for nowhere. On a server: the port of its gateways that it tries when UDP fails; 0 for what a gateway of its own datacenter shows, and of others the number of their UDP port; -1 never tries."`

	GRPC           int `key:"grpc" flag:"grpc-port" default:"-1" mark:"silent" doc:"Service mesh."`
	GRPCTLS        int `key:"grpc_tls" flag:"grpc-tls-port" default:"-1" mark:"silent" doc:"Service mesh."`
	SidecarMinPort int `key:"sidecar_min_port" default:"21000" doc:"First port that a sidecar gets which is registered without one."`
	SidecarMaxPort int `key:"sidecar_max_port" default:"21255" doc:"Last one."`
	ExposeMinPort  int `key:"expose_min_port" default:"21500" mark:"silent" doc:"Service mesh."`
	ExposeMaxPort  int `key:"expose_max_port" default:"21755" mark:"silent" doc:"Service mesh."`
	ProxyMinPort   int `key:"proxy_min_port" mark:"silent" doc:"Service mesh."`
	ProxyMaxPort   int `key:"proxy_max_port" mark:"silent" doc:"Service mesh."`
}

// Ways to reach the servers of a datacenter.
const (
	ReachDirect   = "direct"
	ReachGateways = "gateways"
)

// Federation says what this datacenter is part of, and how others reach it.
type Federation struct {
	Name     string   `key:"name" default:"legate" doc:"Name of the federation. Servers of different federations refuse each other."`
	Reach    string   `key:"reach" default:"direct" doc:"How servers of other datacenters reach this one: direct, or gateways, through which then everything goes that others begin."`
	Gateways []string `key:"gateways" doc:"Gateways (host or host:port) of other datacenters, or outside of this one, that this server keeps connections to and is reached through. Those of its own datacenter are found by gossip. With reach gateways."`
	Transit  bool     `key:"transit" doc:"Servers of this datacenter carry what those of other datacenters say to each other that do not reach each other; what they carry is encrypted end to end."`
	Links    []string `key:"links" doc:"Datacenters that this one reaches directly: others are only reached through the servers of datacenters with transit. Empty tries all."`
}

// Gateway is the part of a client agent that carries what servers of other datacenters and
// of its own say to each other.
type Gateway struct {
	Enabled bool `key:"enabled" flag:"gateway" doc:"Carry what servers of other datacenters and of this one say to each other, on the UDP port ports.serf_wan; what it carries is encrypted end to end. Clients only."`
	Rate    int  `key:"rate" default:"1000" unit:"Mbit/s" doc:"The most that is carried for one pair of servers, both directions together."`
}

// Addresses override ClientAddrs for single listeners: each is a list of IP
// addresses (templates already expanded) or unix:// paths.
type Addresses struct {
	DNS     []string `key:"dns" mark:"words" doc:"Addresses of the DNS listener."`
	HTTP    []string `key:"http" mark:"words" doc:"Addresses of the HTTP listener; unix:// paths are allowed."`
	HTTPS   []string `key:"https" mark:"words" doc:"Addresses of the HTTPS listener; unix:// paths are allowed."`
	GRPC    []string `key:"grpc" mark:"words,silent" doc:"Service mesh."`
	GRPCTLS []string `key:"grpc_tls" mark:"words,silent" doc:"Service mesh."`
}

// UnixSockets are the rights of listeners on Unix sockets.
type UnixSockets struct {
	User  string `key:"user" doc:"Owner: a name or a number. Empty means who runs the agent."`
	Group string `key:"group" doc:"Group: a name or a number. Empty means that of who runs the agent."`
	Mode  string `key:"mode" doc:"Permission bits in octal, such as 0660. Who may write may use the API. Empty goes by the umask."`
}

// Gossip is the timing of one pool. Zero means the pool's own default.
type Gossip struct {
	GossipInterval time.Duration `key:"gossip_interval" doc:"Time between gossip rounds. 0 means the pool's own default, as for all of these."`
	GossipNodes    int           `key:"gossip_nodes" unit:"nodes" doc:"Nodes told in a round."`
	ProbeInterval  time.Duration `key:"probe_interval" doc:"Time between probes."`
	ProbeTimeout   time.Duration `key:"probe_timeout" doc:"How long a probe waits."`
	RetransmitMult int           `key:"retransmit_mult" doc:"Multiplier of retransmissions."`
	SuspicionMult  int           `key:"suspicion_mult" doc:"Multiplier of the time that a suspect has to object."`
}

// Autopilot is the first configuration of autopilot.
type Autopilot struct {
	CleanupDeadServers      bool          `key:"cleanup_dead_servers" default:"true" doc:"Remove failed servers where that raises how many more may fail: when a new one has taken the place."`
	LastContactThreshold    time.Duration `key:"last_contact_threshold" default:"200ms" doc:"Longest silence between a healthy server and its leader."`
	MaxTrailingLogs         int           `key:"max_trailing_logs" default:"250" unit:"entries" doc:"Entries of the log that a healthy server may lack."`
	MinQuorum               int           `key:"min_quorum" unit:"servers" doc:"Remove no failed server if fewer voters were left."`
	ServerStabilizationTime time.Duration `key:"server_stabilization_time" default:"10s" doc:"How long a new server must be healthy before it votes."`
	RedundancyZoneTag       string        `key:"redundancy_zone_tag" doc:"Key of node_meta that names the zone of a server: one server of each zone votes, the others stand by. Empty means that all vote."`

	DisableUpgradeMigration bool   `key:"disable_upgrade_migration" mark:"enterprise" doc:"Upgrade migration."`
	UpgradeVersionTag       string `key:"upgrade_version_tag" mark:"enterprise" doc:"Upgrade migration."`
}

// Performance is Raft's timing and how long to hold on.
type Performance struct {
	RaftMultiplier        int           `key:"raft_multiplier" default:"5" doc:"Factor on Raft's timeouts (heartbeat 0.5 s, election 0.5 s, lease 0.4 s), 1 to 10."`
	LeaveDrainTime        time.Duration `key:"leave_drain_time" default:"5s" doc:"How long a server that leaves goes on answering, with another in the lead, before the others hear that it goes. 0 leaves at once, and so does who is alone."`
	RPCHoldTimeout        time.Duration `key:"rpc_hold_timeout" default:"7s" doc:"How long a request waits while there is no leader, and a registration with the agent for the catalog to have it. Then it is answered all the same, and the agent goes on. 0 waits for nothing."`
	GRPCKeepaliveInterval time.Duration `key:"grpc_keepalive_interval" default:"30s" mark:"silent" doc:"Service mesh."`
	GRPCKeepaliveTimeout  time.Duration `key:"grpc_keepalive_timeout" default:"20s" mark:"silent" doc:"Service mesh."`
}

// DNSConfig is the behaviour of the DNS interface.
type DNSConfig struct {
	AllowStale                  bool                     `key:"allow_stale" default:"true" doc:"Answer from what the agent keeps, or any server; false asks the leader."`
	MaxStale                    time.Duration            `key:"max_stale" default:"87600h" doc:"A staler answer is asked of the leader again. See view_max_stale as well."`
	AnswerTimeout               time.Duration            `key:"answer_timeout" default:"2s" doc:"How long a query may take; then the answer is SERVFAIL."`
	NodeTTL                     time.Duration            `key:"node_ttl" doc:"TTL of answers about nodes."`
	ServiceTTL                  map[string]time.Duration `key:"service_ttl" doc:"TTL of answers by service name; a name may end in *, the longest match counts."`
	Failover                    map[string][]string      `key:"failover" doc:"Datacenters that answer for a service of which this one has no healthy instance, by service name; a name may end in *, the longest match counts. The first of the list that has some; the last may be nearest. Names that say a datacenter do not fail over."`
	OnlyPassing                 bool                     `key:"only_passing" doc:"Leave out instances in the state warning, too."`
	EnableTruncate              bool                     `key:"enable_truncate" doc:"Set the TC bit on answers that were cut."`
	DisableCompression          bool                     `key:"disable_compression" doc:"Do not compress names in answers."`
	UDPAnswerLimit              int                      `key:"udp_answer_limit" default:"3" unit:"records" doc:"Most answers in a UDP packet of 512 bytes."`
	ARecordLimit                int                      `key:"a_record_limit" unit:"records" doc:"Most A or AAAA records in any answer; 0 means no limit."`
	RecursorTimeout             time.Duration            `key:"recursor_timeout" default:"2s" doc:"How long one recursor may take, all of them 10 s."`
	RecursorStrategy            string                   `key:"recursor_strategy" default:"sequential" doc:"Order of recursors: sequential or random. One that did not answer comes after the others for 10 s."`
	SOA                         SOA                      `key:"soa" doc:"Numbers of the SOA record."`
	UseCache                    bool                     `key:"use_cache" mark:"silent" doc:"Answers come from what the agent keeps and its owner pushes, unless allow_stale is false."`
	CacheMaxAge                 time.Duration            `key:"cache_max_age" doc:"Oldest answer from what the agent keeps of a datacenter that cannot be reached; 0 means max_stale."`
	EnableAdditionalNodeMetaTXT bool                     `key:"enable_additional_node_meta_txt" default:"true" doc:"Add the node's meta as TXT records."`
	PreferNamespace             bool                     `key:"prefer_namespace" mark:"enterprise" doc:"Namespaces in names."`
}

// SOA are the numbers of the SOA record, in seconds.
type SOA struct {
	Refresh int `key:"refresh" default:"3600" unit:"seconds" doc:"Refresh."`
	Retry   int `key:"retry" default:"600" unit:"seconds" doc:"Retry."`
	Expire  int `key:"expire" default:"86400" unit:"seconds" doc:"Expire."`
	MinTTL  int `key:"min_ttl" unit:"seconds" doc:"How long a negative answer may be kept."`
}

// HTTPConfig is the behaviour of the HTTP interface.
type HTTPConfig struct {
	BlockEndpoints     []string          `key:"block_endpoints" doc:"Path prefixes that are refused."`
	AllowWriteHTTPFrom []string          `key:"allow_write_http_from" flag:"allow-write-http-from" doc:"Networks that may write. Empty means all."`
	ResponseHeaders    map[string]string `key:"response_headers" doc:"Headers added to every answer."`
	UseCache           bool              `key:"use_cache" default:"true" doc:"Answer ?cached from what this agent keeps and its owner pushes; false ignores ?cached."`
	MaxHeaderBytes     int               `key:"max_header_bytes" unit:"bytes" doc:"Longest request line and headers; 0 means 64 KiB."`
}

// UIConfig is the web interface.
type UIConfig struct {
	Enabled     bool   `key:"enabled" flag:"ui" doc:"Serve the web interface, to everybody who reaches the HTTP interface: what it shows is what the reader's token may see."`
	Dir         string `key:"dir" flag:"ui-dir" doc:"Serve the files of this folder instead of the built-in ones, read again for each request."`
	ContentPath string `key:"content_path" flag:"ui-content-path" default:"/ui/" doc:"Path of the web interface; not below /v1/, /metrics/ or /debug/."`

	MetricsProvider            string   `key:"metrics_provider" mark:"silent" doc:"Service mesh."`
	MetricsProviderFiles       []string `key:"metrics_provider_files" mark:"silent" doc:"Service mesh."`
	MetricsProviderOptionsJSON string   `key:"metrics_provider_options_json" mark:"silent" doc:"Service mesh."`
	MetricsProxy               any      `key:"metrics_proxy" mark:"silent" doc:"Service mesh."`
	DashboardURLTemplates      any      `key:"dashboard_url_templates" mark:"silent" doc:"Service mesh."`
}

// Cache bounds the agent's cache.
type Cache struct {
	EntryFetchRate     float64 `key:"entry_fetch_rate" default:"-1" unit:"per second" doc:"Fetches of one entry; -1 means no limit."`
	EntryFetchMaxBurst int     `key:"entry_fetch_max_burst" default:"2" doc:"Fetches of one entry at once."`
}

// RPC is accepted for compatibility.
type RPC struct {
	EnableStreaming bool `key:"enable_streaming" default:"true" doc:"Streaming of health reads."`
}

// Limits bound what clients may ask for.
type Limits struct {
	HTTPMaxConnsPerClient int           `key:"http_max_conns_per_client" default:"200" unit:"connections" mark:"reload" doc:"HTTP connections of one client address."`
	HTTPSHandshakeTimeout time.Duration `key:"https_handshake_timeout" default:"5s" doc:"How long a TLS handshake with the HTTPS listener may take, and then the headers of a request."`
	RPCHandshakeTimeout   time.Duration `key:"rpc_handshake_timeout" default:"5s" mark:"reload" doc:"How long the handshake of a connection between agents may take that another one makes."`
	RPCClientTimeout      time.Duration `key:"rpc_client_timeout" default:"60s" mark:"reload" doc:"How long an RPC that does not block may take."`
	RPCRate               float64       `key:"rpc_rate" default:"-1" unit:"per second" mark:"reload" doc:"RPCs that a client agent sends to servers for its own clients; -1 means no limit. Above it they are refused; what keeps the agent's own services and checks in the catalog is not, and counts."`
	RPCMaxBurst           int           `key:"rpc_max_burst" default:"1000" mark:"reload" doc:"RPCs that a client agent sends at once before rpc_rate bounds them."`
	RPCMaxConnsPerClient  int           `key:"rpc_max_conns_per_client" default:"100" unit:"connections" mark:"reload" doc:"Connections of one address to ports.server, over QUIC and over TCP (Raft) each; 0 means no limit. Between datacenters it is 256."`
	KVMaxValueSize        int           `key:"kv_max_value_size" default:"524288" unit:"bytes" doc:"Longest value of the key/value store."`
	TxnMaxReqLen          int           `key:"txn_max_req_len" default:"524288" unit:"bytes" doc:"Longest body of a transaction."`
	RequestLimits         RequestLimits `key:"request_limits" mark:"reload" doc:"Rates of reads and writes that a server admits from clients, agents and other datacenters, shared fairly among them."`
}

// RequestLimits are the rates that a server admits.
type RequestLimits struct {
	Mode      string  `key:"mode" default:"disabled" doc:"disabled, permissive (counts) or enforcing (refuses)."`
	ReadRate  float64 `key:"read_rate" default:"-1" unit:"per second" doc:"Reads; -1 means no limit."`
	WriteRate float64 `key:"write_rate" default:"-1" unit:"per second" doc:"Writes; -1 means no limit."`
}

// Telemetry is where metrics go, beside /metrics.
type Telemetry struct {
	PrometheusRetentionTime time.Duration `key:"prometheus_retention_time" mark:"silent" doc:"Metrics are always served; nothing has to be switched on."`
	MetricsPrefix           string        `key:"metrics_prefix" default:"consul" doc:"Prefix of the names in /v1/agent/metrics that Consul has for metrics."`
	DisableHostname         bool          `key:"disable_hostname" doc:"Leave the host's name out of the names of gauges in /v1/agent/metrics."`
	Compat                  string        `key:"compat" doc:"consul: /metrics has, beside its own, the metrics under the names that Consul's have in Prometheus, for dashboards and alerts that ask for them."`
	FilterDefault           bool          `key:"filter_default" default:"true" mark:"reload" doc:"Whether metrics under Consul's names are shown and sent that no prefix_filter names."`
	PrefixFilter            []string      `key:"prefix_filter" mark:"reload" doc:"Prefixes of metrics under Consul's names to keep (+) or to drop (-), such as -consul.rpc.server.call; the longest decides."`
	EnableHostMetrics       bool          `key:"enable_host_metrics" mark:"silent" doc:"Hosts are measured by what is made for it, such as node_exporter: without effect."`
	StatsdAddr              string        `key:"statsd_address" doc:"host:port of a statsd server, which gets the metrics under Consul's names each 10 s over UDP."`
	StatsiteAddr            string        `key:"statsite_address" doc:"The same for statsite, over TCP."`
	DogstatsdAddr           string        `key:"dogstatsd_addr" doc:"The same for dogstatsd, over UDP, with labels as tags."`
	DogstatsdTags           []string      `key:"dogstatsd_tags" doc:"Tags of all that is sent to dogstatsd."`
	RetryFailedConnection   bool          `key:"retry_failed_connection" default:"true" doc:"Start although one of these servers cannot be reached, and try it again; else that is an error."`

	OTLPEndpoint     string            `key:"otlp_endpoint" doc:"Collector of OpenTelemetry that traces are sent to, over HTTP: a URL, to which /v1/traces is added. Without one nothing is traced, whatever the environment says."`
	OTLPHeaders      map[string]string `key:"otlp_headers" mark:"secret" doc:"Headers of the requests to otlp_endpoint, such as those that it knows its clients by."`
	TraceSampleRatio float64           `key:"trace_sample_ratio" default:"1" doc:"Share of HTTP requests and DNS queries that begin a trace, 0 to 1. A request with a traceparent is traced if that says so, and only then."`

	DisablePerTenancyUsageMetrics bool   `key:"disable_per_tenancy_usage_metrics" mark:"silent" doc:"There are no tenancies."`
	CirconusAPIToken              string `key:"circonus_api_token" mark:"silent,secret" doc:"Circonus is no more: without effect."`
	CirconusAPIApp                string `key:"circonus_api_app" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusAPIURL                string `key:"circonus_api_url" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusSubmissionInterval    string `key:"circonus_submission_interval" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusSubmissionURL         string `key:"circonus_submission_url" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusCheckID               string `key:"circonus_check_id" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusCheckForceActivation  string `key:"circonus_check_force_metric_activation" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusCheckInstanceID       string `key:"circonus_check_instance_id" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusCheckSearchTag        string `key:"circonus_check_search_tag" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusCheckDisplayName      string `key:"circonus_check_display_name" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusCheckTags             string `key:"circonus_check_tags" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusBrokerID              string `key:"circonus_broker_id" mark:"silent" doc:"Circonus is no more: without effect."`
	CirconusBrokerSelectTag       string `key:"circonus_broker_select_tag" mark:"silent" doc:"Circonus is no more: without effect."`
}

// ACL is access control.
type ACL struct {
	Enabled                bool          `key:"enabled" doc:"Switch access control on."`
	DefaultPolicy          string        `key:"default_policy" default:"allow" doc:"What happens where no rule matches: allow or deny."`
	DownPolicy             string        `key:"down_policy" default:"extend-cache" doc:"What a client agent lets its callers do while no server can be asked what their tokens stand for: allow everything, deny everything, extend-cache (what it knew goes on counting, unknown tokens are denied) or async-cache (what it knows counts at once, and servers are asked behind that)."`
	TokenTTL               time.Duration `key:"token_ttl" default:"30s" doc:"How long a client agent takes for its own requests what a server said that a token stands for, with its policies and roles. Servers are never behind their state."`
	PolicyTTL              time.Duration `key:"policy_ttl" default:"30s" mark:"silent" doc:"Without effect: what a token stands for is kept whole, for token_ttl."`
	RoleTTL                time.Duration `key:"role_ttl" default:"30s" mark:"silent" doc:"Without effect: what a token stands for is kept whole, for token_ttl."`
	EnableTokenReplication bool          `key:"enable_token_replication" mark:"silent" doc:"Without effect: global tokens are copied to every datacenter in any case."`
	EnableTokenPersistence bool          `key:"enable_token_persistence" doc:"Keep tokens set at run time in data_dir."`
	EnableKeyListPolicy    bool          `key:"enable_key_list_policy" doc:"Recursive reads of keys need the right to list."`
	Tokens                 ACLTokens     `key:"tokens" mark:"reload" doc:"Tokens of the agent itself."`
	MSPDisableBootstrap    bool          `key:"msp_disable_bootstrap" mark:"enterprise" doc:"Managed service provider."`
}

// ACLTokens are the tokens that the agent itself uses.
type ACLTokens struct {
	InitialManagement      string `key:"initial_management" alias:"master" mark:"secret" doc:"Secret of the first management token."`
	Default                string `key:"default" mark:"secret" doc:"Used for requests without a token, and for services and checks that were registered without one."`
	Agent                  string `key:"agent" mark:"secret" doc:"Used for the agent's own requests: its node, its coordinate, comparing the catalog with what it has."`
	AgentRecovery          string `key:"agent_recovery" alias:"agent_master" mark:"secret" doc:"Accepted by this agent without asking a server: it may write the agent (agent:write on its node name) and read nodes."`
	Replication            string `key:"replication" mark:"silent,secret" doc:"Without effect: servers of the federation copy from each other by their certificates."`
	DNS                    string `key:"dns" mark:"secret" doc:"Used for DNS."`
	ConfigFileRegistration string `key:"config_file_service_registration" mark:"secret" doc:"Used to register services and checks from files that name no token."`
	ManagedServiceProvider any    `key:"managed_service_provider" mark:"enterprise,secret" doc:"Managed service provider."`
}

// TLS is the certificates of each listener; what a listener leaves out comes
// from Defaults, and after Load it has that.
type TLS struct {
	Defaults    TLSListener `key:"defaults" doc:"For every listener."`
	InternalRPC TLSListener `key:"internal_rpc" doc:"Between agents, inside a datacenter and between datacenters: QUIC, and Raft over TCP. Without cert_file the certificate is derived from the gossip key. TLS 1.3 alone is spoken there."`
	HTTPS       TLSListener `key:"https" doc:"HTTP API."`
	GRPC        TLSListener `key:"grpc" mark:"silent" doc:"Service mesh."`
}

// TLSListener is the certificates of one listener.
type TLSListener struct {
	CAFile               string `key:"ca_file" doc:"File of the authorities' certificates, in PEM. Files are read again on a reload, and when they change."`
	CAPath               string `key:"ca_path" doc:"Directory of such files; all that they and ca_file have is trusted."`
	CertFile             string `key:"cert_file" doc:"File of the certificate and of those between it and an authority, in PEM."`
	KeyFile              string `key:"key_file" doc:"File of the private key, in PEM: ECDSA, RSA or Ed25519, without a passphrase."`
	TLSMinVersion        string `key:"tls_min_version" doc:"TLSv1_2 (the default) or TLSv1_3."`
	TLSCipherSuites      string `key:"tls_cipher_suites" doc:"Cipher suites for TLS 1.2, separated by commas, by the names of RFC 5289 and RFC 7905. For https."`
	VerifyIncoming       bool   `key:"verify_incoming" doc:"Who connects must show a certificate of an authority of ca_file."`
	VerifyOutgoing       bool   `key:"verify_outgoing" doc:"Who answers must show a certificate of an authority of ca_file. For internal_rpc."`
	VerifyServerHostname bool   `key:"verify_server_hostname" doc:"Who says that it is a server must show a certificate with the DNS name server.<datacenter>.<domain>. For internal_rpc; means verify_outgoing."`
	UseAutoCert          bool   `key:"use_auto_cert" mark:"silent" doc:"Service mesh."`
}

// AutoEncrypt is certificates for client agents from the servers of their datacenter.
type AutoEncrypt struct {
	AllowTLS bool     `key:"allow_tls" doc:"On servers: give client agents with the gossip key a certificate, signed with the key of this server's own. Takes tls.internal_rpc.cert_file and encrypt."`
	TLS      bool     `key:"tls" doc:"On client agents: ask the servers for a certificate to show to them, and for another when two thirds of its 72 hours are over. Takes ca_file and encrypt."`
	DNSSAN   []string `key:"dns_san" mark:"silent" doc:"The certificate is for connections between agents, which name no hosts."`
	IPSAN    []string `key:"ip_san" mark:"silent" doc:"The same."`
}
