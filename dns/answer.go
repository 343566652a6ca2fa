package dns

import (
	"cmp"
	"net/netip"
	"strings"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns/names"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// apex answers about the domain itself, also where its SOA or name servers are asked
// for below a name in it: those who look for a zone begin with the longest name.
func (x *exchange) apex(qtype uint16) int {
	if qtype == mdns.TypeSOA || qtype == mdns.TypeANY {
		x.add(x.soa())
	}
	if qtype == mdns.TypeNS || qtype == mdns.TypeANY || qtype == mdns.TypeSOA {
		if rcode := x.nameServers(qtype); rcode != mdns.RcodeSuccess {
			return rcode
		}
	}
	return x.done()
}

// nameServers adds some servers of this datacenter with their addresses, as
// answers or, to an answer with the SOA record, as authority.
func (x *exchange) nameServers(qtype uint16) int {
	list, reply, err := catalog.ListInstances.Ask(x.ctx, x.caller(), x.header(""), &catalog.ServiceRequest{Service: serverService, HealthyOnly: true})
	if err != nil {
		return x.failed(err)
	}
	x.note(reply)
	x.noteAge(&reply.Meta)
	if list == nil {
		return mdns.RcodeSuccess
	}
	ttl := x.ttl(wholeSeconds(x.conf.NodeTTL))
	for _, i := range x.order(len(*list), maxNameServers) {
		node := (*list)[i].Node
		target, ok := x.nodeTarget(node)
		if !ok {
			continue
		}
		ns := &mdns.NS{Hdr: head(x.domain[1:], mdns.TypeNS, ttl), Ns: target}
		if qtype == mdns.TypeSOA {
			x.out.Ns = append(x.out.Ns, ns)
			x.additional = append(x.additional, glue(target, node.Address, ttl)...)
			continue
		}
		x.answer = append(x.answer, record{ns, glue(target, node.Address, ttl)})
	}
	return mdns.RcodeSuccess
}

// node answers about a node.
func (x *exchange) node(n names.Name, qtype uint16) int {
	if !op.IsFanOut(n.DC) {
		x.dc = n.DC
	}
	node, reply, err := catalog.GetNode.Ask(x.ctx, x.caller(), x.header(n.DC), &catalog.NodeRequest{Node: n.Name})
	if err != nil {
		return x.failed(err)
	}
	x.note(reply)
	x.noteAge(&reply.Meta)
	if node == nil {
		return x.absent(&reply.Meta)
	}
	ttl := x.ttl(wholeSeconds(x.conf.NodeTTL))
	switch qtype {
	case mdns.TypeA, mdns.TypeAAAA, mdns.TypeANY, mdns.TypeCNAME:
		x.addresses(node.Reached(x.overWAN(node)), qtype, ttl)
		x.resolve(qtype)
	}
	if qtype == mdns.TypeTXT || qtype == mdns.TypeANY {
		for _, rr := range metaTXT(x.owner, node.Meta, ttl) {
			x.add(rr)
		}
	}
	return x.done()
}

// address answers about a name that is itself an address.
func (x *exchange) address(n names.Name, qtype uint16) int {
	a, ok := names.AddressOf(n.Name)
	if !ok {
		return x.negative(mdns.RcodeNameError)
	}
	rr := addrRecord(x.owner, a, wholeSeconds(x.conf.NodeTTL))
	if qtype == mdns.TypeANY || qtype == rr.Header().Rrtype {
		x.add(rr)
		return mdns.RcodeSuccess
	}
	x.additional = append(x.additional, rr)
	return x.negative(mdns.RcodeSuccess)
}

// service answers about the healthy instances of a service, or those through which a
// mesh reaches it, in random order
// within each datacenter.
func (x *exchange) service(n names.Name, qtype uint16) int {
	req := &catalog.ServiceRequest{Service: n.Name, HealthyOnly: true, PassingOnly: x.conf.OnlyPassing, Port: n.Port, Connect: n.Kind == names.Connect}
	if n.Tag != "" {
		req.Tags, req.OrPort = []string{n.Tag}, true
	}
	x.port = cmp.Or(n.Port, n.Tag)
	if !op.IsFanOut(n.DC) {
		x.dc = n.DC
	}
	list, meta, err := x.healthy(n, req)
	if err != nil {
		return x.failed(err)
	}
	x.noteAge(&meta)
	if len(list) == 0 {
		return x.absent(&meta)
	}
	ttl := x.ttl(x.conf.ttls.Of(n.Name))
	if qtype == mdns.TypeA || qtype == mdns.TypeAAAA || qtype == mdns.TypeSRV {
		x.found = &found{list, qtype, ttl}
	}
	x.instances(list, qtype, ttl)
	return x.done()
}

// instances adds what instances have of the type that was asked.
func (x *exchange) instances(list catalog.Instances, qtype uint16, ttl uint32) {
	switch qtype {
	case mdns.TypeSRV:
		x.srv(list, ttl)
	case mdns.TypeA, mdns.TypeAAAA, mdns.TypeANY, mdns.TypeCNAME:
		for _, i := range x.spread(list, maxAddresses) {
			x.addresses(x.whereIs(&list[i]), qtype, ttl)
		}
		x.deduplicate()
		x.resolve(qtype)
	}
}

// srv adds SRV records with the addresses of their targets.
func (x *exchange) srv(list catalog.Instances, ttl uint32) {
	seen, glued := map[endpoint]bool{}, map[string]bool{}
	rank := x.ranks(list)
	var hosts []int // of the answer, whose targets are host names
	for _, i := range x.spread(list, maxServices) {
		r, addr, ok := x.srvOf(&list[i], rank, ttl)
		if !ok {
			continue
		}
		srv := r.rr.(*mdns.SRV)
		at := endpoint{srv.Target, srv.Port}
		if seen[at] {
			continue
		}
		seen[at] = true
		if glued[at.target] {
			r.extra = nil
		} else if glued[at.target] = true; !isAddress(addr) {
			hosts = append(hosts, len(x.answer))
		}
		x.answer = append(x.answer, r)
	}
	x.resolveHosts(hosts)
}

// endpoint is where an SRV record leads.
type endpoint struct {
	target string
	port   uint16
}

// srvOf is the record of an instance with what is said of its target, and where that is.
func (x *exchange) srvOf(in *catalog.Instance, rank map[string]uint16, ttl uint32) (r record, addr string, ok bool) {
	target, addr, ok := x.target(in)
	if !ok {
		return r, addr, false
	}
	r.rr = &mdns.SRV{Hdr: head(x.owner, mdns.TypeSRV, ttl), Priority: rank[in.Node.Datacenter], Weight: weight(in), Port: x.portOf(in), Target: target}
	r.extra = glue(target, addr, ttl)
	// A host name of another zone is not ours to say anything about.
	if x.conf.EnableAdditionalNodeMetaTXT && strings.HasSuffix(target, x.domain) {
		r.extra = append(r.extra, metaTXT(target, in.Node.Meta, ttl)...)
	}
	return r, addr, true
}

// portOf is the port of an instance that has the name asked for, else its main one.
func (x *exchange) portOf(in *catalog.Instance) uint16 {
	if port, ok := in.Service.Ports.Named(x.port); ok {
		return uint16(port)
	}
	return uint16(in.Service.Reached(x.overWAN(in.Node)).Port)
}

// weight of an instance by its health.
func weight(in *catalog.Instance) uint16 {
	w := in.Service.Weights.Passing
	if in.Checks.Status() == catalog.Warning {
		w = in.Service.Weights.Warning
	}
	if in.Service.Weights == (catalog.Weights{}) {
		w = 1
	}
	return uint16(min(max(w, 0), 65535))
}

// target names where an instance is: its node, the address of its own that it
// has, or the host name that it was registered with.
func (x *exchange) target(in *catalog.Instance) (target, addr string, ok bool) {
	afar := x.overWAN(in.Node)
	own, node := in.Service.Reached(afar).Address, in.Node.Reached(afar).Address
	if own == "" || own == node {
		if target, ok := x.nodeTarget(in.Node); ok {
			return target, node, true
		}
		own = node // its name cannot be said in DNS
	}
	a, err := netip.ParseAddr(own)
	if err != nil {
		host := mdns.Fqdn(own)
		return host, own, encodable(host)
	}
	return names.DigitsOf(a.Unmap().WithZone("")) + ".addr." + x.dcOf(in.Node) + x.domain, own, true
}

// nodeTarget is the name of a node.
func (x *exchange) nodeTarget(n *catalog.Node) (string, bool) {
	target := n.Node + ".node." + x.dcOf(n) + x.domain
	return target, encodable(target)
}

func (x *exchange) dcOf(n *catalog.Node) string {
	if n.Datacenter != "" {
		return n.Datacenter
	}
	if x.dc != "" {
		return x.dc
	}
	return x.s.cfg.Datacenter
}

// encodable reports whether a name can be packed.
func encodable(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';' || c == '@' {
			return false
		}
	}
	_, ok := mdns.IsDomainName(name)
	return ok
}

// overWAN reports whether a node is reached at its WAN addresses.
func (x *exchange) overWAN(n *catalog.Node) bool {
	return x.s.cfg.TranslateWAN && catalog.Afar(x.s.cfg.Datacenter, x.dc, n.Datacenter)
}

// whereIs returns where clients of an instance connect to.
func (x *exchange) whereIs(in *catalog.Instance) catalog.Reach {
	afar := x.overWAN(in.Node)
	if r := in.Service.Reached(afar); r.Address != "" || r.IPv4.IsValid() || r.IPv6.IsValid() {
		return r
	}
	return in.Node.Reached(afar)
}

// addresses adds what a place has of the type that was asked: of each IP version what
// was registered for it, else the address if it is one. A host name is an alias.
func (x *exchange) addresses(at catalog.Reach, qtype uint16, ttl uint32) {
	v4, v6 := at.IPv4, at.IPv6
	a, err := netip.ParseAddr(at.Address)
	if err == nil {
		if a = a.Unmap().WithZone(""); a.Is4() && !v4.IsValid() {
			v4 = a
		} else if a.Is6() && !v6.IsValid() {
			v6 = a
		}
	}
	if v4.IsValid() && (qtype == mdns.TypeA || qtype == mdns.TypeANY) {
		x.add(addrRecord(x.owner, v4, ttl))
	}
	if v6.IsValid() && (qtype == mdns.TypeAAAA || qtype == mdns.TypeANY) {
		x.add(addrRecord(x.owner, v6, ttl))
	}
	if v4.IsValid() || v6.IsValid() || at.Address == "" {
		return
	}
	if host := mdns.Fqdn(at.Address); encodable(host) {
		x.add(&mdns.CNAME{Hdr: head(x.owner, mdns.TypeCNAME, ttl), Target: host})
	}
}

// deduplicate makes the addresses of several instances one answer: each once, a
// host name only where there is nothing else (RFC 1034, section 3.6.2), and no
// more than are wanted.
func (x *exchange) deduplicate() {
	seen := make(map[string]bool, len(x.answer))
	kept, alias := x.answer[:0], record{}
	for _, r := range x.answer {
		var key string
		switch rr := r.rr.(type) {
		case *mdns.A:
			key = string(rr.A)
		case *mdns.AAAA:
			key = string(rr.AAAA)
		default:
			if alias.rr == nil {
				alias = r
			}
			continue
		}
		if !seen[key] {
			seen[key] = true
			kept = append(kept, r)
		}
	}
	if len(kept) == 0 && alias.rr != nil {
		kept = append(kept, alias)
	}
	if limit := x.conf.ARecordLimit; limit > 0 && len(kept) > limit {
		kept = kept[:limit]
	}
	x.answer = kept
}

// order returns at most limit of n indexes, in random order unless the list is
// sorted: results are shared and must not be moved.
func (x *exchange) order(n, limit int) []int {
	if n == 1 || x.sorted {
		out := make([]int, min(n, limit))
		for i := range out {
			out[i] = i
		}
		return out
	}
	x.drawn = true
	return shuffled(n, limit, x.s.draw)
}
