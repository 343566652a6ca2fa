package dns

import (
	"encoding/hex"
	"net/netip"
	"strings"
)

// kind of thing that a name stands for.
type kind uint8

const (
	kindOther kind = iota // a kind that is known but has no records here
	kindService
	kindNode
	kindAddr
	kindQuery
	kindConnect
	kindAbove // other names are below it, as those of nodes below node.<domain>
)

// portLabel follows the name of a port.
const portLabel = "port"

// dcLabel may follow the name of a datacenter.
const dcLabel = "dc"

// kindOf returns what a label says of the kind, if it does.
func kindOf(label string) (kind, bool) {
	switch label {
	case "service":
		return kindService, true
	case "node":
		return kindNode, true
	case "addr":
		return kindAddr, true
	case "query":
		return kindQuery, true
	case "connect":
		return kindConnect, true
	case "virtual", "ingress":
		return kindOther, true
	}
	return kindOther, false
}

// name is a parsed question.
type name struct {
	kind kind
	name string // of the service, node or query; hex digits of an address
	tag  string // of a service, or the name of a port; empty for any
	port string // name of a port of a service; empty for the main one
	dc   string // empty for the own datacenter
}

// parse reads what precedes the domain, in lower case, from right to left:
// [tag.]name.kind[.dc[.dc-label]], or _name._tag[.service][.dc] as in RFC 2782,
// also of a query. A port of a service is named like a tag, or where there may be
// a tag of that name port.port.name.service or [tag.]name.service.port.port.
func parse(rest string) (name, bool) {
	if strings.Count(rest, ".") >= maxLabels {
		return name{}, false
	}
	labels := strings.Split(rest, ".")
	for i := len(labels) - 1; i >= 0; i-- {
		kind, ok := kindOf(labels[i])
		front, back := labels[:i], labels[i+1:]
		switch {
		case ok && i > 0:
		case ok:
			dc, ok := locality(back)
			return name{kind: kindAbove, dc: dc}, ok
		case strings.HasPrefix(labels[i], "_"):
			kind, front = kindService, labels[:i+1]
		default:
			continue
		}
		port := ""
		if kind == kindService && len(back) > 1 && back[1] == portLabel {
			port, back = back[0], back[2:]
		}
		dc, ok := locality(back)
		if !ok {
			return name{}, false
		}
		n, ok := subject(kind, dc, front)
		if port != "" {
			n.port = port
		}
		return n, ok
	}
	return name{}, false
}

// locality reads what follows the kind: nothing, a datacenter, or a datacenter
// and the word dc.
func locality(labels []string) (string, bool) {
	switch {
	case len(labels) == 0:
		return "", true
	case len(labels) == 1, len(labels) == 2 && labels[1] == dcLabel:
		return labels[0], labels[0] != ""
	}
	return "", false
}

// subject reads what precedes the kind.
func subject(k kind, dc string, labels []string) (name, bool) {
	n := name{kind: k, dc: dc}
	last := len(labels) - 1
	switch {
	case k == kindQuery && last == 1 && strings.HasPrefix(labels[0], "_") && (labels[1] == "_tcp" || labels[1] == "_udp"):
		n.name = labels[0][1:]
	case k == kindNode || k == kindQuery:
		n.name = strings.Join(labels, ".")
	case k != kindService:
		n.name = labels[last]
		return n, last == 0 || k == kindOther || k == kindConnect
	case last == 1 && strings.HasPrefix(labels[0], "_") && strings.HasPrefix(labels[1], "_"):
		n.name, n.tag = labels[0][1:], labels[1][1:]
		if n.tag == "tcp" || n.tag == "udp" {
			n.tag = ""
		}
	case last == 2 && labels[1] == portLabel:
		n.name, n.port = labels[2], labels[0]
	default:
		n.name, n.tag = labels[last], strings.Join(labels[:last], ".")
	}
	return n, n.name != ""
}

// addressOf reads the hex digits of an addr name.
func addressOf(digits string) (netip.Addr, bool) {
	if len(digits) != 8 && len(digits) != 32 {
		return netip.Addr{}, false
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(b)
}

// digitsOf is the reverse of addressOf.
func digitsOf(a netip.Addr) string { return hex.EncodeToString(a.AsSlice()) }
