// Package mesh holds what the record of a service says to a service mesh and
// to those who choose among instances: its proxy, its named ports, where it
// runs. It is kept and shown, and has no effect here.
//
// The types are records (MessagePack, JSON) and blocks of configuration at
// once: what a client sends, a file defines and a server stores is one thing.
package mesh

import (
	"bytes"
	"reflect"
)

//go:generate go tool msgp -tests=false -io=false -o mesh_gen.go -file mesh.go
//msgp:limit arrays:65536 maps:16

// Kinds of a service, beside the typical one, which has none.
const (
	ConnectProxy       = "connect-proxy"
	MeshGateway        = "mesh-gateway"
	TerminatingGateway = "terminating-gateway"
	IngressGateway     = "ingress-gateway"
	APIGateway         = "api-gateway"
)

// Locality is where a node or a service runs.
type Locality struct {
	Region string `key:"region" doc:"Region, such as us-west-1." msg:",omitempty"`
	Zone   string `key:"zone" doc:"Zone of the region, such as us-west-1a." msg:",omitempty"`
}

// Port is one of several ports of a service.
type Port struct {
	Name    string `key:"name" doc:"Name, unique among the ports of the service."`
	Port    int    `key:"port" doc:"Port."`
	Default bool   `key:"default" doc:"The one that is meant where no name is given." msg:",omitempty"`
}

// Ports are the ports of a service.
type Ports []Port

// Proxy says what a service does that is a proxy of another.
type Proxy struct {
	EnvoyExtensions        []EnvoyExtension `json:",omitempty" key:"envoy_extensions" doc:"Extensions of Envoy." msg:",omitempty" bexpr:"-"`
	DestinationServiceName string           `json:",omitempty" key:"destination_service_name" doc:"Service that it is the proxy of." msg:",omitempty"`
	DestinationServiceID   string           `json:",omitempty" key:"destination_service_id" doc:"Instance that it is the proxy of." msg:",omitempty"`
	LocalServiceAddress    string           `json:",omitempty" key:"local_service_address" doc:"Address of that instance." msg:",omitempty"`
	LocalServicePort       int              `json:",omitempty" key:"local_service_port" doc:"Port of that instance." msg:",omitempty"`
	LocalServicePorts      Ports            `json:",omitempty" key:"local_service_ports" doc:"Named ports of that instance." msg:",omitempty" bexpr:"-"`
	LocalServiceSocketPath string           `json:",omitempty" key:"local_service_socket_path" doc:"Unix socket of that instance." msg:",omitempty"`
	Mode                   string           `key:"mode" doc:"transparent or direct." msg:",omitempty"`
	TransparentProxy       TransparentProxy `json:",omitzero" key:"transparent_proxy" doc:"Settings of the mode transparent." msg:",omitempty"`
	Config                 FreeForm         `json:",omitempty" key:"config" doc:"Whatever the proxy wants." msg:",omitzero" bexpr:"-"`
	Upstreams              []Upstream       `json:",omitempty" key:"upstreams" doc:"Services that it leads to." msg:",omitempty"`
	MeshGateway            Gateway          `key:"mesh_gateway" doc:"How other datacenters are reached." msg:",omitempty"`
	Expose                 Expose           `key:"expose" doc:"Paths to be reached without the mesh." msg:",omitzero"`
	AccessLogs             AccessLogs       `json:",omitzero" key:"access_logs" doc:"Logs of requests." msg:",omitempty"`
}

// EnvoyExtension changes what Envoy is told.
type EnvoyExtension struct {
	Name          string   `key:"name" doc:"Name."`
	Required      bool     `key:"required" doc:"The proxy must not do without." msg:",omitempty"`
	Arguments     FreeForm `key:"arguments" doc:"Whatever the extension wants." msg:",omitzero"`
	ConsulVersion string   `key:"consul_version" doc:"Versions of the mesh that it is for." msg:",omitempty"`
	EnvoyVersion  string   `key:"envoy_version" doc:"Versions of Envoy that it is for." msg:",omitempty"`
}

// TransparentProxy are the settings of a proxy that traffic is redirected to.
type TransparentProxy struct {
	OutboundListenerPort int  `json:",omitempty" key:"outbound_listener_port" doc:"Port that traffic is redirected to." msg:",omitempty"`
	DialedDirectly       bool `json:",omitempty" key:"dialed_directly" doc:"Proxies may dial this one instance." msg:",omitempty"`
}

// Upstream is a service that a proxy leads to.
type Upstream struct {
	DestinationType      string   `key:"destination_type" doc:"service or prepared_query." msg:",omitempty"`
	DestinationPartition string   `json:",omitempty" key:"destination_partition" doc:"Admin partition." msg:",omitempty"`
	DestinationNamespace string   `json:",omitempty" key:"destination_namespace" doc:"Namespace." msg:",omitempty"`
	DestinationPeer      string   `json:",omitempty" key:"destination_peer" doc:"Peer." msg:",omitempty"`
	DestinationName      string   `key:"destination_name" doc:"Service or query." msg:",omitempty"`
	DestinationPort      string   `json:",omitempty" key:"destination_port" doc:"Name of a port of the service." msg:",omitempty"`
	Datacenter           string   `key:"datacenter" doc:"Datacenter." msg:",omitempty"`
	LocalBindAddress     string   `json:",omitempty" key:"local_bind_address" doc:"Address to listen on." msg:",omitempty"`
	LocalBindPort        int      `json:",omitempty" key:"local_bind_port" doc:"Port to listen on." msg:",omitempty"`
	LocalBindSocketPath  string   `json:",omitempty" key:"local_bind_socket_path" doc:"Unix socket to listen on." msg:",omitempty"`
	LocalBindSocketMode  string   `json:",omitempty" key:"local_bind_socket_mode" doc:"Mode of that socket." msg:",omitempty"`
	Config               FreeForm `json:",omitempty" key:"config" doc:"Whatever the proxy wants." msg:",omitzero" bexpr:"-"`
	MeshGateway          Gateway  `key:"mesh_gateway" doc:"How other datacenters are reached." msg:",omitempty"`
	CentrallyConfigured  bool     `json:",omitempty" key:"centrally_configured" doc:"It comes from configuration that proxies share." msg:",omitempty" bexpr:"-"`
}

// Gateway says how other datacenters are reached.
type Gateway struct {
	Mode string `json:",omitempty" key:"mode" doc:"none, local or remote." msg:",omitempty"`
}

// Expose says what can be reached without the mesh.
type Expose struct {
	Checks bool         `json:",omitempty" key:"checks" doc:"What the service's checks ask." msg:",omitempty"`
	Paths  []ExposePath `json:",omitempty" key:"paths" doc:"Single paths." msg:",omitempty"`
}

// ExposePath is a path that can be reached without the mesh.
type ExposePath struct {
	ListenerPort    int    `json:",omitempty" key:"listener_port" doc:"Port of the proxy." msg:",omitempty"`
	Path            string `json:",omitempty" key:"path" doc:"Path." msg:",omitempty"`
	LocalPathPort   int    `json:",omitempty" key:"local_path_port" doc:"Port of the service." msg:",omitempty"`
	Protocol        string `json:",omitempty" key:"protocol" doc:"http or http2." msg:",omitempty"`
	ParsedFromCheck bool   `key:"parsed_from_check" doc:"It comes from a check." msg:",omitempty"`
}

// AccessLogs says what a proxy logs of requests.
type AccessLogs struct {
	Enabled             bool   `json:",omitempty" key:"enabled" doc:"Log requests." msg:",omitempty"`
	DisableListenerLogs bool   `json:",omitempty" key:"disable_listener_logs" doc:"Not those that no listener fits." msg:",omitempty"`
	Type                string `json:",omitempty" key:"type" doc:"file, stderr or stdout." msg:",omitempty"`
	Path                string `json:",omitempty" key:"path" doc:"File." msg:",omitempty"`
	JSONFormat          string `json:",omitempty" key:"json_format" doc:"Form of a line, in JSON." msg:",omitempty"`
	TextFormat          string `json:",omitempty" key:"text_format" doc:"Form of a line, in text." msg:",omitempty"`
}

// Connect says which part an instance has in a mesh.
type Connect struct {
	Native         bool     `json:",omitempty" key:"native" doc:"The service speaks the mesh's protocol itself." msg:",omitempty"`
	SidecarService FreeForm `json:",omitempty" key:"sidecar_service" doc:"Service to register beside it as its proxy." msg:",omitzero" bexpr:"-"`
}

// AI says which part an instance has in an application of language models.
type AI struct {
	Role           string          `json:",omitempty" key:"role" doc:"inference-model, mcp-server or ai-agent." msg:",omitempty"`
	InferenceModel *InferenceModel `json:",omitempty" key:"inference_model" doc:"Of a model." msg:",omitempty"`
	MCPServer      *MCPServer      `json:",omitempty" key:"mcp_server" doc:"Of a server of tools." msg:",omitempty"`
	Agent          *AIAgent        `json:",omitempty" key:"agent" doc:"Of an agent." msg:",omitempty"`
}

// InferenceModel is how a model is asked.
type InferenceModel struct {
	Protocol string         `json:",omitempty" key:"protocol" doc:"Protocol." msg:",omitempty"`
	Path     string         `json:",omitempty" key:"path" doc:"Path." msg:",omitempty"`
	Defaults *ModelDefaults `json:",omitempty" key:"defaults" doc:"What holds where a request says nothing." msg:",omitempty"`
}

// ModelDefaults hold where a request to a model says nothing.
type ModelDefaults struct {
	MaxTokens   int     `json:",omitempty" key:"max_tokens" doc:"Longest answer." msg:",omitempty"`
	Temperature float64 `json:",omitempty" key:"temperature" doc:"Temperature." msg:",omitempty"`
}

// MCPServer is how a server of tools is asked.
type MCPServer struct {
	Transport       string `json:",omitempty" key:"transport" doc:"Transport." msg:",omitempty"`
	Path            string `json:",omitempty" key:"path" doc:"Path." msg:",omitempty"`
	ProtocolVersion string `json:",omitempty" key:"protocol_version" doc:"Version of the protocol." msg:",omitempty"`
}

// AIAgent is what an agent may do.
type AIAgent struct {
	Inference   *AIInference   `json:",omitempty" key:"inference" doc:"Models that it asks." msg:",omitempty"`
	MCP         *AITools       `json:",omitempty" key:"mcp" doc:"Tools that it calls." msg:",omitempty"`
	RateLimits  *AIRateLimits  `json:",omitempty" key:"rate_limits" doc:"How often." msg:",omitempty"`
	Interceptor *AIInterceptor `json:",omitempty" key:"interceptor" doc:"What stands between." msg:",omitempty"`
}

// AIInference says which models an agent asks.
type AIInference struct {
	Specialization []string `json:",omitempty" key:"specialization" doc:"What they are good at." msg:",omitempty"`
	Vendor         string   `json:",omitempty" key:"vendor" doc:"Who made them." msg:",omitempty"`
}

// AITools says how an agent calls tools.
type AITools struct {
	Port int         `json:",omitempty" key:"port" doc:"Port." msg:",omitempty"`
	HITL *AIApproval `json:",omitempty" key:"hitl" doc:"Approval by a human." msg:",omitempty"`
}

// AIApproval says how a human approves of a call.
type AIApproval struct {
	Port            int    `json:",omitempty" key:"port" doc:"Port." msg:",omitempty"`
	ApprovalTimeout string `json:",omitempty" key:"approval_timeout" doc:"How long to wait." msg:",omitempty"`
}

// AIRateLimits says how often an agent calls tools.
type AIRateLimits struct {
	ToolCallsPerMinute int `json:",omitempty" key:"tool_calls_per_minute" doc:"In a minute." msg:",omitempty"`
	ToolCallsPerHour   int `json:",omitempty" key:"tool_calls_per_hour" doc:"In an hour." msg:",omitempty"`
}

// AIInterceptor says what stands between an agent and its tools.
type AIInterceptor struct {
	Port int `json:",omitempty" key:"port" doc:"Port." msg:",omitempty"`
}

// IsZero reports whether nothing is said.
func (p *Proxy) IsZero() bool { return Same(p, &Proxy{}) }

// IsZero reports whether nothing is said.
func (c *Connect) IsZero() bool { return Same(c, &Connect{}) }

// IsZero reports whether nothing is said.
func (e *Expose) IsZero() bool { return !e.Checks && len(e.Paths) == 0 }

// Same reports whether two of the records here say the same; either may be nil.
// Nothing and an empty list are one, as they are when they are stored.
func Same[T any](a, b *T) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() && b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Type().Elem().Kind() == reflect.Uint8 {
			return bytes.Equal(a.Bytes(), b.Bytes())
		}
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}
