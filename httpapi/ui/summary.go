package ui

import (
	"slices"

	"github.com/legate-project/legate/state/catalog"
)

// Summary is a service as the web interface lists it.
type Summary struct {
	Kind                 string `json:",omitempty"`
	Name                 string
	Datacenter           string
	Tags                 []string
	Nodes                []string
	ExternalSources      []string
	InstanceCount        int
	ChecksPassing        int
	ChecksWarning        int
	ChecksCritical       int
	GatewayConfig        struct{}
	TransparentProxy     bool
	ConnectNative        bool
	ConnectedWithProxy   bool
	ConnectedWithGateway bool
}

// SummaryOf adds up the parts of a service.
func SummaryOf(dc string, s *catalog.ServiceParts) Summary {
	out := Summary{Kind: s.Kind, Name: s.Name, Datacenter: dc, Nodes: []string{},
		TransparentProxy: s.Transparent, ConnectNative: s.Native, ConnectedWithProxy: s.Proxied}
	for i := range s.Parts {
		p := &s.Parts[i]
		out.Tags = append(out.Tags, p.Tags...)
		out.Nodes = append(out.Nodes, p.Node)
		out.ExternalSources = append(out.ExternalSources, p.Sources...)
		out.InstanceCount += p.Instances
		out.ChecksPassing += p.Passing
		out.ChecksWarning += p.Warning
		out.ChecksCritical += p.Critical
	}
	slices.Sort(out.Tags)
	slices.Sort(out.ExternalSources)
	out.Tags, out.ExternalSources = slices.Compact(out.Tags), slices.Compact(out.ExternalSources)
	return out
}
