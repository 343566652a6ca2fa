package dns

import (
	"net/netip"
	"strings"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns/names"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// pointers answers about the name of an address: with the nodes that have it, else
// with the services that do. The own datacenter is asked first: the same private
// network may be in each. known is false if nobody has the address.
func (x *exchange) pointers(a netip.Addr, qtype uint16) (rcode int, known bool) {
	req := &catalog.AddressRequest{Address: a.Unmap().String()}
	var meta op.Meta
	for _, dc := range []string{"", op.All} {
		list, reply, err := catalog.ListNamesAt.Ask(x.ctx, x.caller(), x.header(dc), req)
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
	a, kind := names.ReverseOf(lower)
	switch {
	case kind == names.Whole:
		x.out.Authoritative = true
		rcode, known := x.pointers(a, qtype)
		if !known && rcode == mdns.RcodeNameError && x.recurses() {
			return x.recurse()
		}
		return rcode
	case x.recurses():
		return x.recurse()
	case kind == names.Part:
		x.out.Authoritative = true
		return x.negative(mdns.RcodeSuccess)
	case strings.HasSuffix(lower, ".arpa."):
		x.out.Authoritative = true
		return x.negative(mdns.RcodeNameError)
	}
	return mdns.RcodeRefused
}
