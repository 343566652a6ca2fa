package catalog

import (
	"maps"
	"slices"

	"github.com/legate-project/legate/state/catalog/mesh"
)

// Same reports whether two nodes differ in nothing but their indexes.
func (n *Node) Same(o *Node) bool {
	return n.ID == o.ID && n.Node == o.Node && n.Address == o.Address && n.Datacenter == o.Datacenter &&
		maps.Equal(n.TaggedAddresses, o.TaggedAddresses) && maps.Equal(n.Meta, o.Meta) &&
		n.PeerName == o.PeerName && mesh.Same(n.Locality, o.Locality)
}

// Same reports whether two services differ in nothing but their indexes.
func (s *Service) Same(o *Service) bool {
	return s.Kind == o.Kind && s.ID == o.ID && s.Service == o.Service && slices.Equal(s.Tags, o.Tags) &&
		s.Address == o.Address && maps.Equal(s.TaggedAddresses, o.TaggedAddresses) && maps.Equal(s.Meta, o.Meta) &&
		s.Port == o.Port && slices.Equal(s.Ports, o.Ports) && s.SocketPath == o.SocketPath && s.Weights == o.Weights &&
		s.EnableTagOverride == o.EnableTagOverride && s.PeerName == o.PeerName && mesh.Same(s.Locality, o.Locality) &&
		mesh.Same(&s.Proxy, &o.Proxy) && mesh.Same(&s.Connect, &o.Connect) && mesh.Same(s.AI, o.AI)
}

// Same reports whether two checks differ in nothing but their indexes.
func (c *Check) Same(o *Check) bool {
	return c.Node == o.Node && c.CheckID == o.CheckID && c.Name == o.Name && c.Status == o.Status && c.Notes == o.Notes &&
		c.Output == o.Output && c.ServiceID == o.ServiceID && c.ServiceName == o.ServiceName &&
		slices.Equal(c.ServiceTags, o.ServiceTags) && c.Type == o.Type && c.Interval == o.Interval &&
		c.Timeout == o.Timeout && c.ExposedPort == o.ExposedPort && c.PeerName == o.PeerName && c.Definition.same(&o.Definition)
}

func (d *CheckDefinition) same(o *CheckDefinition) bool {
	return d.HTTP == o.HTTP && d.TLSServerName == o.TLSServerName && d.TLSSkipVerify == o.TLSSkipVerify &&
		maps.EqualFunc(d.Header, o.Header, slices.Equal) && d.Method == o.Method && d.Body == o.Body && d.TCP == o.TCP &&
		d.TCPUseTLS == o.TCPUseTLS && d.UDP == o.UDP && d.GRPC == o.GRPC && d.GRPCUseTLS == o.GRPCUseTLS &&
		d.H2PING == o.H2PING && d.H2PingUseTLS == o.H2PingUseTLS && d.OSService == o.OSService && d.AliasNode == o.AliasNode &&
		d.AliasService == o.AliasService && slices.Equal(d.ScriptArgs, o.ScriptArgs) && d.DisableRedirects == o.DisableRedirects &&
		d.DockerContainerID == o.DockerContainerID && d.Shell == o.Shell && d.SessionName == o.SessionName &&
		d.OutputMaxSize == o.OutputMaxSize && d.TTL == o.TTL && d.Interval == o.Interval && d.Timeout == o.Timeout && d.DeregisterCriticalServiceAfter == o.DeregisterCriticalServiceAfter
}
