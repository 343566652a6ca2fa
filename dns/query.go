package dns

import (
	"net/netip"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns/names"
	"github.com/legate-project/legate/state/query"
)

// query answers about the instances that a prepared query leads to, in the order
// in which they come: it is random unless the query sorts.
func (x *exchange) query(n names.Name, qtype uint16) int {
	req := &query.ExecuteRequest{Name: n.Name, Limit: maxAddresses, Agent: x.s.cfg.Node, AgentDatacenter: x.s.cfg.Datacenter}
	if addr := x.client(); addr.IsValid() {
		req.Address = addr.String()
	}
	found, meta, err := query.Execute.Call(x.ctx, x.caller(), x.header(n.DC), req)
	if err != nil {
		return x.failed(err)
	}
	x.noteAge(&meta)
	if found == nil || len(found.Nodes) == 0 {
		return x.absent(&meta)
	}
	ttl := x.conf.ttls.Of(found.Service)
	if d, err := time.ParseDuration(found.DNS.TTL); err == nil {
		ttl = wholeSeconds(d)
	}
	x.dc, x.sorted = found.Datacenter, true
	x.instances(found.Nodes, qtype, x.ttl(ttl))
	return x.done()
}

// client is whom the answer is for: whom a resolver asks for (RFC 7871), else who
// asks. The answer then says that it is for the network that was named.
func (x *exchange) client() netip.Addr {
	subnet := x.subnet()
	if subnet == nil {
		return x.from
	}
	addr, ok := netip.AddrFromSlice(subnet.Address)
	if !ok {
		return x.from
	}
	x.scope = subnet.SourceNetmask
	return addr.Unmap()
}

// subnet is the network that a resolver asks for, nil if it does not say.
func (x *exchange) subnet() *mdns.EDNS0_SUBNET {
	opt := x.req.IsEdns0()
	if opt == nil {
		return nil
	}
	for _, o := range opt.Option {
		if s, ok := o.(*mdns.EDNS0_SUBNET); ok {
			return s
		}
	}
	return nil
}
