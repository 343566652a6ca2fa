// Package names reads names of DNS below the domain of an agent, and those that stand for addresses.
//
// It knows what a name says, and neither whether there is such a thing nor what is answered.
package names

import (
	"encoding/hex"
	"net/netip"
	"strings"
)

// Kind of thing that a name stands for.
type Kind uint8

const (
	Other Kind = iota // a kind that is known but has no records here
	Service
	Node
	Addr
	Query
	Connect
	Above // other names are below it, as those of nodes below node.<domain>
)

// PortLabel follows the name of a port.
const PortLabel = "port"

// DatacenterLabel may follow the name of a datacenter.
const DatacenterLabel = "dc"

// KindOf returns what a label says of the kind, if it does.
func KindOf(label string) (Kind, bool) {
	switch label {
	case "service":
		return Service, true
	case "node":
		return Node, true
	case "addr":
		return Addr, true
	case "query":
		return Query, true
	case "connect":
		return Connect, true
	case "virtual", "ingress":
		return Other, true
	}
	return Other, false
}

// Name is what a name says.
type Name struct {
	Kind Kind
	Name string // of the service, node or query; hex digits of an address
	Tag  string // of a service, or the name of a port; empty for any
	Port string // name of a port of a service; empty for the main one
	DC   string // empty for the own datacenter
	// Labels are how many of its first labels name the thing.
	Labels int
	// Fault is why it says nothing, where Parse says so.
	Fault Fault
}

// Fault is why a name says nothing.
type Fault uint8

// The faults of names.
const (
	NoFault Fault = iota
	TooLong       // it has too many labels
	NoKind        // no label says what it is
	NoPlace       // what follows the kind is no datacenter
	NoThing       // what precedes the kind names none
)

// maxLabels in a name: node names and tags may have dots, but not that many.
const maxLabels = 32

// Parse reads what precedes the domain, in lower case, from right to left:
// [tag.]name.kind[.dc[.dc-label]], or _name._tag[.service][.dc] as in RFC 2782,
// also of a query. A port of a service is named like a tag, or where there may be
// a tag of that name port.port.name.service or [tag.]name.service.port.port.
func Parse(rest string) (Name, bool) {
	if strings.Count(rest, ".") >= maxLabels {
		return Name{Fault: TooLong}, false
	}
	labels := strings.Split(rest, ".")
	for i := len(labels) - 1; i >= 0; i-- {
		kind, ok := KindOf(labels[i])
		front, back := labels[:i], labels[i+1:]
		switch {
		case ok && i > 0:
		case ok:
			dc, ok := locality(back)
			return above(dc, ok)
		case strings.HasPrefix(labels[i], "_"):
			kind, front = Service, labels[:i+1]
		default:
			continue
		}
		port := ""
		if kind == Service && len(back) > 1 && back[1] == PortLabel {
			port, back = back[0], back[2:]
		}
		dc, ok := locality(back)
		if !ok {
			return Name{Fault: NoPlace}, false
		}
		n, ok := subject(kind, dc, front)
		if port != "" {
			n.Port = port
		}
		if !ok {
			n.Fault = NoThing
		}
		return n, ok
	}
	return Name{Fault: NoKind}, false
}

// above is the name of what others are below.
func above(dc string, ok bool) (Name, bool) {
	if !ok {
		return Name{Fault: NoPlace}, false
	}
	return Name{Kind: Above, DC: dc}, true
}

// locality reads what follows the kind: nothing, a datacenter, or a datacenter
// and the word dc.
func locality(labels []string) (string, bool) {
	switch {
	case len(labels) == 0:
		return "", true
	case len(labels) == 1, len(labels) == 2 && labels[1] == DatacenterLabel:
		return labels[0], labels[0] != ""
	}
	return "", false
}

// subject reads what precedes the kind.
func subject(k Kind, dc string, labels []string) (Name, bool) {
	n := Name{Kind: k, DC: dc, Labels: len(labels)}
	last := len(labels) - 1
	switch {
	case k == Query && last == 1 && strings.HasPrefix(labels[0], "_") && (labels[1] == "_tcp" || labels[1] == "_udp"):
		n.Name = labels[0][1:]
	case k == Node || k == Query:
		n.Name = strings.Join(labels, ".")
	case k != Service:
		n.Name = labels[last]
		return n, last == 0 || k == Other || k == Connect
	case last == 1 && strings.HasPrefix(labels[0], "_") && strings.HasPrefix(labels[1], "_"):
		n.Name, n.Tag = labels[0][1:], labels[1][1:]
		if n.Tag == "tcp" || n.Tag == "udp" {
			n.Tag = ""
		}
	case last == 2 && labels[1] == PortLabel:
		n.Name, n.Port = labels[2], labels[0]
	default:
		n.Name, n.Tag = labels[last], strings.Join(labels[:last], ".")
	}
	return n, n.Name != ""
}

// AddressOf reads the hex digits of an addr name.
func AddressOf(digits string) (netip.Addr, bool) {
	if len(digits) != 8 && len(digits) != 32 {
		return netip.Addr{}, false
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(b)
}

// DigitsOf is the reverse of AddressOf.
func DigitsOf(a netip.Addr) string { return hex.EncodeToString(a.AsSlice()) }
