package config

import (
	"time"

	"github.com/legate-project/legate/state/catalog/mesh"
)

// ServiceDefinition is one service of a configuration file. Its keys may be
// written in snake_case or CamelCase.
type ServiceDefinition struct {
	ID                string                    `key:"id" doc:"Unique on the agent. Empty means the name."`
	Name              string                    `key:"name" doc:"Name of the service."`
	Kind              string                    `key:"kind" doc:"What a service mesh would take the service for; only kept and shown."`
	Tags              []string                  `key:"tags" doc:"Tags."`
	Address           string                    `key:"address" doc:"IP address or host name. Empty means the node's."`
	TaggedAddresses   map[string]ServiceAddress `key:"tagged_addresses" doc:"Further addresses by tag."`
	Port              int                       `key:"port" doc:"Port."`
	SocketPath        string                    `key:"socket_path" doc:"Unix socket instead of address and port."`
	Meta              map[string]string         `key:"meta" doc:"At most 64 pairs kept with the service."`
	Weights           *ServiceWeights           `key:"weights" doc:"Weights of the SRV records; 1 and 1 when left out."`
	EnableTagOverride bool                      `key:"enable_tag_override" doc:"The catalog's tags win over the agent's."`
	Token             string                    `key:"token" mark:"secret" doc:"Token to register with, and to deregister."`
	Checks            []CheckDefinition         `key:"checks" alias:"check" doc:"Checks of the service."`
	Locality          *mesh.Locality            `key:"locality" doc:"Where the service runs; only kept and shown."`
	Proxy             mesh.Proxy                `key:"proxy" doc:"What a proxy of a service mesh is told; only kept and shown."`
	Connect           mesh.Connect              `key:"connect" doc:"Which part the service has in a service mesh; only kept and shown."`
	AI                *mesh.AI                  `key:"ai" doc:"Which part the service has in an application of language models; only kept and shown."`
	Ports             mesh.Ports                `key:"ports" doc:"Several named ports, one of them the default, instead of port."`
	Namespace         string                    `key:"namespace" mark:"enterprise" doc:"Namespace."`
	Partition         string                    `key:"partition" mark:"enterprise" doc:"Admin partition."`

	// SidecarOf is the ID of the service that this one was registered with and goes
	// with. The agent sets it.
	SidecarOf string
}

// ServiceAddress is one tagged address of a service.
type ServiceAddress struct {
	Address string `key:"address" doc:"IP address or host name."`
	Port    int    `key:"port" doc:"Port."`
}

// ServiceWeights are the weights of a service's SRV records.
type ServiceWeights struct {
	Passing int `key:"passing" default:"1" doc:"Weight while all checks pass."`
	Warning int `key:"warning" default:"1" doc:"Weight while a check warns."`
}

// CheckDefinition is one check of a configuration file. Its keys may be
// written in snake_case or CamelCase. Exactly one of the fields that choose
// the kind is set: Args, HTTP, TCP, UDP, GRPC, H2Ping, TTL, OSService,
// DockerContainerID (with Args), AliasNode or AliasService.
type CheckDefinition struct {
	ID        string `key:"id" alias:"check_id" doc:"Unique on the agent. Empty means a name made from the service or the check."`
	Name      string `key:"name" doc:"Name of the check."`
	Notes     string `key:"notes" doc:"For humans."`
	ServiceID string `key:"service_id" doc:"Service that the check is about. Empty means the node."`
	Token     string `key:"token" mark:"secret" doc:"Token to register with, and to deregister."`
	Status    string `key:"status" doc:"State before the first result: passing, warning or critical (the default)."`

	Args              []string      `key:"args" alias:"script_args" doc:"Command to run: exit code 0 passes, 1 warns, others are critical. With docker_container_id it runs in that container."`
	DockerContainerID string        `key:"docker_container_id" doc:"ID or name of the container to run args in, by the Docker engine at DOCKER_HOST in the agent's environment (unix:///var/run/docker.sock, or tcp://host:port without TLS). A command that runs into its timeout goes on in the container, and is not started again before it has ended."`
	Shell             string        `key:"shell" doc:"Shell in the container that runs args if they are one string. Several are a command with its arguments, and run without a shell."`
	TTL               time.Duration `key:"ttl" doc:"The service itself reports at least this often."`

	HTTP             string              `key:"http" doc:"URL to ask: 2xx passes, 429 warns."`
	Method           string              `key:"method" doc:"HTTP method. Empty means GET."`
	Header           map[string][]string `key:"header" mark:"secret" doc:"HTTP headers."`
	Body             string              `key:"body" mark:"secret" doc:"HTTP body."`
	DisableRedirects bool                `key:"disable_redirects" doc:"Do not follow redirects."`
	TCP              string              `key:"tcp" doc:"host:port to connect to."`
	TCPUseTLS        bool                `key:"tcp_use_tls" doc:"Shake hands in TLS, too."`
	UDP              string              `key:"udp" doc:"host:port to send a packet to."`
	GRPC             string              `key:"grpc" doc:"host:port[/service] of a gRPC health service."`
	GRPCUseTLS       bool                `key:"grpc_use_tls" doc:"TLS for gRPC."`
	H2Ping           string              `key:"h2ping" doc:"host:port to send an HTTP/2 ping to."`
	H2PingUseTLS     bool                `key:"h2ping_use_tls" default:"true" doc:"TLS for the HTTP/2 ping."`
	TLSServerName    string              `key:"tls_server_name" doc:"Name to expect in the certificate."`
	TLSSkipVerify    bool                `key:"tls_skip_verify" doc:"Do not check the certificate."`
	OSService        string              `key:"os_service" doc:"Service of the operating system."`
	AliasNode        string              `key:"alias_node" doc:"Take over the state of this node."`
	AliasService     string              `key:"alias_service" doc:"Take over the state of this service."`

	Interval                       time.Duration `key:"interval" doc:"Time between runs."`
	Timeout                        time.Duration `key:"timeout" doc:"How long a run may take. 0 means the kind's own default."`
	SuccessBeforePassing           int           `key:"success_before_passing" unit:"runs" doc:"Good runs in a row before the check passes."`
	FailuresBeforeWarning          int           `key:"failures_before_warning" unit:"runs" doc:"Bad runs in a row before the check warns."`
	FailuresBeforeCritical         int           `key:"failures_before_critical" unit:"runs" doc:"Bad runs in a row before the check is critical."`
	DeregisterCriticalServiceAfter time.Duration `key:"deregister_critical_service_after" doc:"Remove the service after it has been critical this long; at least 1m."`
	OutputMaxSize                  int           `key:"output_max_size" unit:"bytes" doc:"Longest output to keep. 0 means check_output_max_size."`
	ExposedPort                    int           `key:"exposed_port" mark:"silent" doc:"Service mesh."`
	Namespace                      string        `key:"namespace" mark:"enterprise" doc:"Namespace."`
	Partition                      string        `key:"partition" mark:"enterprise" doc:"Admin partition."`
}
