package catalog

import (
	"cmp"
	"net/netip"
	"slices"
)

// The tags of addresses that say where something is reached.
const (
	lanIPv4 = "lan_ipv4"
	lanIPv6 = "lan_ipv6"
	wan     = "wan"
	wanIPv4 = "wan_ipv4"
	wanIPv6 = "wan_ipv6"
)

// Reach is where a node or an instance is reached.
type Reach struct {
	// Address is an IP address or a host name. Empty for an instance that has none
	// of its own: it is reached at its node.
	Address string
	// IPv4 and IPv6 are what was registered for that version, not valid for nothing.
	IPv4, IPv6 netip.Addr
	// Port of an instance.
	Port int
}

// Reached says where a node is reached; from afar, from another datacenter, at its
// WAN addresses if it has some.
func (n *Node) Reached(afar bool) Reach {
	return reached(n.Address, 0, afar, func(tag string) ServiceAddress { return ServiceAddress{Address: n.TaggedAddresses[tag]} })
}

// Reached says where an instance is reached, as for a node. Its port from afar is
// that of its WAN address if that has one.
func (s *Service) Reached(afar bool) Reach {
	return reached(s.Address, s.Port, afar, func(tag string) ServiceAddress { return s.TaggedAddresses[tag] })
}

func reached(address string, port int, afar bool, tagged func(tag string) ServiceAddress) Reach {
	local := Reach{Address: address, IPv4: version(tagged(lanIPv4), netip.Addr.Is4), IPv6: version(tagged(lanIPv6), netip.Addr.Is6), Port: port}
	if !afar {
		return local
	}
	any4, any6, either := tagged(wanIPv4), tagged(wanIPv6), tagged(wan)
	r := Reach{IPv4: version(any4, netip.Addr.Is4), IPv6: version(any6, netip.Addr.Is6)}
	for _, a := range []ServiceAddress{either, any4, any6} {
		r.Address, r.Port = cmp.Or(r.Address, a.Address), cmp.Or(r.Port, a.Port)
	}
	if r.Address == "" {
		return local // it is said to be the same everywhere
	}
	r.Port = cmp.Or(r.Port, port)
	return r
}

// version returns the address if it is one of the version.
func version(a ServiceAddress, is func(netip.Addr) bool) netip.Addr {
	if a.Address == "" {
		return netip.Addr{}
	}
	if addr, ok := parseAddress(a.Address); ok && is(addr) {
		return addr
	}
	return netip.Addr{}
}

// Foreign is a result that says where nodes or instances are reached.
type Foreign interface {
	// From returns the result as it is seen from a datacenter: what is in another one
	// is reached from afar. The result came from the datacenter named, for what does
	// not say itself where it is. What is returned shares what is not different.
	From(here, there string) any
}

var (
	_ Foreign = (*Node)(nil)
	_ Foreign = (*Nodes)(nil)
	_ Foreign = (*ServiceNodes)(nil)
	_ Foreign = (*Instances)(nil)
	_ Foreign = (*NodeServices)(nil)
	_ Foreign = (*NodeInfo)(nil)
	_ Foreign = (*NodeInfos)(nil)
)

// From is Foreign.From of a result, or of a list of what such results are made of;
// everything else says of nothing where it is, and stays as it is.
func From(result any, here, there string) any {
	var f Foreign
	switch r := result.(type) {
	case []Node:
		f = (*Nodes)(&r)
	case []ServiceNode:
		f = (*ServiceNodes)(&r)
	case []Instance:
		f = (*Instances)(&r)
	case []NodeInfo:
		f = (*NodeInfos)(&r)
	case Foreign:
		f = r
	default:
		return result
	}
	return f.From(here, there)
}

// Afar reports whether what is said to be in a datacenter, else in the one that said
// so, is in another one than here.
func Afar(here, there, said string) bool { return cmp.Or(said, there, here) != here }

// From implements Foreign.
func (n *Node) From(here, there string) any { return n.from(here, there) }

func (n *Node) from(here, there string) *Node {
	if n == nil || !Afar(here, there, n.Datacenter) {
		return n
	}
	seen := *n
	seen.Address = n.Reached(true).Address
	return &seen
}

// afar is an instance as it is seen from another datacenter.
func (s *Service) afar() *Service {
	seen, r := *s, s.Reached(true)
	seen.Address, seen.Port = r.Address, r.Port
	return &seen
}

// each returns a list with each item as it is seen.
func each[T any](list []T, see func(T) T) []T {
	out := slices.Clone(list)
	for i := range out {
		out[i] = see(out[i])
	}
	return out
}

// From implements Foreign.
func (l *Nodes) From(here, there string) any {
	seen := Nodes(each(*l, func(n Node) Node { return *n.from(here, there) }))
	return &seen
}

// From implements Foreign.
func (l *Instances) From(here, there string) any {
	seen := Instances(each(*l, func(in Instance) Instance {
		if Afar(here, there, in.Node.Datacenter) {
			in.Node, in.Service = in.Node.from(here, there), in.Service.afar()
		}
		return in
	}))
	return &seen
}

// From implements Foreign.
func (l *ServiceNodes) From(here, there string) any {
	seen := ServiceNodes(each(*l, func(n ServiceNode) ServiceNode {
		if Afar(here, there, n.Datacenter) {
			n.Address = (&Node{Address: n.Address, TaggedAddresses: n.TaggedAddresses}).Reached(true).Address
			r := (&Service{Address: n.ServiceAddress, Port: n.ServicePort, TaggedAddresses: n.ServiceTaggedAddresses}).Reached(true)
			n.ServiceAddress, n.ServicePort = r.Address, r.Port
		}
		return n
	}))
	return &seen
}

// From implements Foreign.
func (n *NodeServices) From(here, there string) any {
	if n.Node == nil || !Afar(here, there, n.Node.Datacenter) {
		return n
	}
	seen := &NodeServices{Node: n.Node.from(here, there), Services: make(map[string]*Service, len(n.Services))}
	for id, s := range n.Services {
		seen.Services[id] = s.afar()
	}
	return seen
}

// From implements Foreign.
func (n *NodeInfo) From(here, there string) any { return n.from(here, there) }

func (n *NodeInfo) from(here, there string) *NodeInfo {
	if !Afar(here, there, n.Datacenter) {
		return n
	}
	seen := *n
	seen.Address = (&Node{Address: n.Address, TaggedAddresses: n.TaggedAddresses}).Reached(true).Address
	seen.Services = each(n.Services, func(s Service) Service { return *s.afar() })
	return &seen
}

// From implements Foreign.
func (l *NodeInfos) From(here, there string) any {
	seen := NodeInfos(each(*l, func(n NodeInfo) NodeInfo { return *n.from(here, there) }))
	return &seen
}
