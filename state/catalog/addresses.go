package catalog

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o addresses_gen.go -file addresses.go
//msgp:limit arrays:65536 maps:16

const (
	// maxNamesAt bounds the names of one address: those of all machines behind one
	// that is shared are of no use to anybody.
	maxNamesAt = 1024
	// askedForNames bounds the other datacenters that are asked for the names of one
	// address, the nearest of those that have addresses of its network: private
	// networks are used again in each datacenter, and one question must not go to all.
	askedForNames = 8
)

// AddressRequest names an IP address, in the form of CanonicalAddress.
type AddressRequest struct {
	Address string
}

// NameAt is who has an address: a node, or a service with instances that were
// registered with the address as their own.
type NameAt struct {
	Datacenter string `msg:",omitempty"`
	Node       string `msg:",omitempty"`
	Service    string `msg:",omitempty"`
}

// NamesAt are nodes by name and then services by name, each once.
type NamesAt []NameAt

// ListNamesAt returns who has an address, at most 1,024 names. Of several
// datacenters it asks the own one and at most 8 others that have addresses near it.
var ListNamesAt = op.Read[AddressRequest, NamesAt]{Name: "catalog.names-by-address", Authorize: filtered[AddressRequest],
	Query: listNamesAt, Filter: filterNamesAt, Shared: true, FanOut: &fanOutNamesAt}

var fanOutNamesAt = op.FanOut[AddressRequest, NamesAt]{Merge: mergeLists[NamesAt](nameAtIn), Probe: probeNetwork, MaxRemote: askedForNames}

// CanonicalAddress returns the form in which addresses are compared; ok is false
// for what is no IP address.
func CanonicalAddress(address string) (canonical string, ok bool) {
	a, ok := parseAddress(address)
	if !ok {
		return "", false
	}
	return a.String(), true
}

func parseAddress(address string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(address)
	return a.Unmap().WithZone(""), err == nil
}

// addresses lists the IP addresses of a node, each once.
func (n *Node) addresses() []netip.Addr {
	found := appendAddress(nil, n.Address)
	for _, a := range n.TaggedAddresses {
		found = appendAddress(found, a)
	}
	return found
}

// addresses lists the IP addresses that an instance has of its own, each once.
func (s *Service) addresses() []netip.Addr {
	found := appendAddress(nil, s.Address)
	for _, a := range s.TaggedAddresses {
		found = appendAddress(found, a.Address)
	}
	return found
}

func appendAddress(to []netip.Addr, address string) []netip.Addr {
	if a, ok := parseAddress(address); ok && !slices.Contains(to, a) {
		return append(to, a)
	}
	return to
}

// addressKeys are the index keys of addresses.
func addressKeys(addresses []netip.Addr) [][]byte {
	keys := make([][]byte, len(addresses))
	for i, a := range addresses {
		keys[i] = storage.Key(a.String())
	}
	return keys
}

func listNamesAt(r storage.Reader, req *AddressRequest) (*NamesAt, error) {
	address, ok := CanonicalAddress(req.Address)
	if !ok {
		return nil, op.Errorf(op.CodeInvalid, "%.64q is no IP address", req.Address)
	}
	key := storage.Key(address)
	list := NamesAt{}
	for n, err := range nodesByAddress.Scan(r, key) {
		if err != nil {
			return nil, err
		}
		if list = append(list, NameAt{Datacenter: n.Datacenter, Node: n.Node}); len(list) == maxNamesAt {
			return &list, nil
		}
	}
	named := map[string]bool{}
	for s, err := range servicesByAddress.Scan(r, key) {
		if err != nil {
			return nil, err
		}
		name := strings.ToLower(s.Service.Service)
		if named[name] {
			continue
		}
		named[name] = true
		if list = append(list, NameAt{Service: s.Service.Service}); len(list) == maxNamesAt {
			break
		}
	}
	slices.SortStableFunc(list, func(a, b NameAt) int { return cmp.Compare(strings.ToLower(a.Service), strings.ToLower(b.Service)) })
	return &list, nil
}

func filterNamesAt(a rules.Authorizer, l *NamesAt) bool {
	return keep((*[]NameAt)(l), func(n *NameAt) bool {
		if n.Service != "" {
			return a.Allow(rules.Service, rules.Read, n.Service)
		}
		return a.Allow(rules.Node, rules.Read, n.Node)
	})
}

func nameAtIn(n NameAt, dc string) NameAt {
	n.Datacenter = cmp.Or(n.Datacenter, dc)
	return n
}

// probeNetwork has those datacenters asked whose digest knows the network.
func probeNetwork(r *AddressRequest) op.Probe {
	p := op.Probe{Request: r, Has: func(result any) bool {
		list, _ := result.(*NamesAt)
		return list != nil && len(*list) > 0
	}}
	if a, ok := parseAddress(r.Address); ok {
		p.Service = networkOf(a)
	}
	return p
}

// Networks by which a digest tells where a datacenter has addresses: as long as the
// prefixes that one site commonly has of its own.
const (
	networkBits4 = 24
	networkBits6 = 48
	// networkMark begins the name of a network in a digest. No service's has it.
	networkMark = "\x00"
)

// networkOf is what a digest calls the network that an address is in.
func networkOf(a netip.Addr) string {
	bits := networkBits6
	if a.Is4() {
		bits = networkBits4
	}
	p, err := a.Prefix(bits)
	if err != nil { // cannot be: the address is valid and long enough
		return networkMark
	}
	return networkMark + p.String()
}

// IsNetwork reports whether a name in a digest is that of a network.
func IsNetwork(name string) bool { return strings.HasPrefix(name, networkMark) }

// networksOf names the networks of addresses, one after the other, each once.
func networksOf(addresses []netip.Addr) string {
	if len(addresses) == 0 {
		return ""
	}
	names := make([]string, len(addresses))
	for i, a := range addresses {
		names[i] = networkOf(a)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), "")
}
