package dns

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// Zones of names that stand for addresses (RFC 1035, section 3.5, and RFC 3596).
const (
	zone4 = "in-addr.arpa."
	zone6 = "ip6.arpa."
)

// reverseName is what a name in lower case says of an address.
type reverseName uint8

const (
	noReverse    reverseName = iota
	partReverse              // the names of addresses are below it
	wholeReverse             // it is the name of an address
)

// reverseOf reads a name below in-addr.arpa or ip6.arpa.
func reverseOf(name string) (netip.Addr, reverseName) {
	digits, long, size := "", 3, 4
	var ok bool
	if digits, ok = strings.CutSuffix(name, zone4); !ok {
		if digits, ok = strings.CutSuffix(name, zone6); !ok {
			return netip.Addr{}, noReverse
		}
		long, size = 1, 32
	}
	if digits == "" {
		return netip.Addr{}, partReverse
	}
	digits, ok = strings.CutSuffix(digits, ".")
	labels := strings.Split(digits, ".")
	if !ok || len(labels) > size {
		return netip.Addr{}, noReverse
	}
	slices.Reverse(labels)
	parts := make([]byte, 0, size)
	for _, l := range labels {
		base := 10
		if size == 32 {
			base = 16
		}
		n, err := strconv.ParseUint(l, base, 8)
		if err != nil || len(l) > long || len(l) > 1 && l[0] == '0' {
			return netip.Addr{}, noReverse
		}
		parts = append(parts, byte(n))
	}
	if len(parts) < size {
		return netip.Addr{}, partReverse
	}
	if size == 4 {
		return netip.AddrFrom4([4]byte(parts)), wholeReverse
	}
	var a [16]byte
	for i := range a {
		a[i] = parts[2*i]<<4 | parts[2*i+1]
	}
	return netip.AddrFrom16(a), wholeReverse
}

// pointers answers about the name of an address: with the nodes that have it, else
// with the services that do. The own datacenter is asked first: the same private
// network may be in each. known is false if nobody has the address.
func (x *exchange) pointers(a netip.Addr, qtype uint16) (rcode int, known bool) {
	req := &catalog.AddressRequest{Address: a.Unmap().String()}
	var meta op.Meta
	for _, dc := range []string{"", op.All} {
		list, reply, err := catalog.ListNamesAt.Ask(x.ctx, x.s.cfg.Caller, x.header(dc), req)
		if err != nil {
			return x.failed(err), false
		}
		x.note(reply)
		x.noteAge(&reply.Meta)
		if meta = reply.Meta; list == nil || len(*list) == 0 {
			continue
		}
		if qtype == mdns.TypePTR || qtype == mdns.TypeANY {
			x.point(*list)
		}
		return x.done(), true
	}
	return x.absent(&meta), false
}

// point adds the names of an address. Without a TTL of their own, as an address
// that is given to another is known here at once.
func (x *exchange) point(list catalog.NamesAt) {
	nodes := list[0].Service == ""
	for i := range list {
		n := &list[i]
		target := n.Node + ".node."
		if n.Service != "" {
			if nodes {
				return
			}
			target = n.Service + ".service."
		}
		dc := n.Datacenter
		if dc == "" {
			dc = x.s.cfg.Datacenter
		}
		if target += dc + x.domain; encodable(target) {
			x.add(&mdns.PTR{Hdr: head(x.owner, mdns.TypePTR, 0), Ptr: target})
		}
	}
}

// outside answers about names outside the domains: of those that stand for addresses
// the catalog may know, the others are recursors'.
func (x *exchange) outside(lower string, qtype uint16) int {
	a, kind := reverseOf(lower)
	switch {
	case kind == wholeReverse:
		x.out.Authoritative = true
		rcode, known := x.pointers(a, qtype)
		if !known && rcode == mdns.RcodeNameError && x.recurses() {
			return x.recurse()
		}
		return rcode
	case x.recurses():
		return x.recurse()
	case kind == partReverse:
		x.out.Authoritative = true
		return x.negative(mdns.RcodeSuccess)
	case strings.HasSuffix(lower, ".arpa."):
		x.out.Authoritative = true
		return x.negative(mdns.RcodeNameError)
	}
	return mdns.RcodeRefused
}
