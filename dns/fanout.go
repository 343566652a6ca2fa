package dns

import (
	"math"
	"strings"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// healthy asks for the instances of a service. A name without a datacenter that
// has none here fails over as configured.
func (x *exchange) healthy(n name, req *catalog.ServiceRequest) (catalog.Instances, op.Meta, error) {
	list, meta, err := catalog.ListInstances.Call(x.ctx, x.s.cfg.Caller, x.header(n.dc), req)
	x.fanOut = op.IsFanOut(n.dc)
	if n.dc == "" && (err != nil || list == nil || len(*list) == 0) {
		if order := x.failover(n.name); order != "" {
			x.fanOut = true
			var reply *op.Reply
			if list, reply, err = catalog.ListInOrder(x.ctx, x.s.cfg.Caller, x.header(order), req); err == nil {
				meta = reply.Meta
			}
		}
	}
	if err != nil || list == nil {
		return nil, meta, err
	}
	return *list, meta, nil
}

// failover is where a service is looked for that has no healthy instance here: as this agent's
// configuration says, else as the datacenter does.
func (x *exchange) failover(service string) string {
	if order := x.conf.failover.Of(service); order != "" || x.s.cfg.Failover == nil {
		return order
	}
	return x.s.cfg.Failover(service)
}

// absent answers about what nobody has: that there is no such name only if every
// datacenter that was to be asked has answered, or said so when it was heard last.
func (x *exchange) absent(m *op.Meta) int {
	if m.AnyUnreachable() {
		x.fresh = failed
		return mdns.RcodeServerFailure
	}
	return x.negative(mdns.RcodeNameError)
}

// spread returns at most limit of the indexes of a list: those of the datacenter
// that comes first before those of the next, in random order within each.
func (x *exchange) spread(list catalog.Instances, limit int) []int {
	if !x.fanOut {
		return x.order(len(list), limit)
	}
	out := make([]int, 0, min(len(list), limit))
	for from := 0; from < len(list) && len(out) < limit; {
		to := from + 1
		for to < len(list) && list[to].Node.Datacenter == list[from].Node.Datacenter {
			to++
		}
		for _, i := range x.order(to-from, limit-len(out)) {
			out = append(out, from+i)
		}
		from = to
	}
	return out
}

// ranks are the SRV priorities of datacenters: 1 for the one that comes first.
func (x *exchange) ranks(list catalog.Instances) map[string]uint16 {
	ranks := map[string]uint16{}
	for i := range list {
		dc := list[i].Node.Datacenter
		switch {
		case ranks[dc] > 0:
		case x.fanOut:
			ranks[dc] = uint16(min(len(ranks)+1, math.MaxUint16))
		default:
			ranks[dc] = 1
		}
	}
	return ranks
}

// orders makes of the datacenters to fail over to what the header of a lookup says.
func orders(failover map[string][]string) map[string]string {
	out := make(map[string]string, len(failover))
	for service, dcs := range failover {
		if len(dcs) > 0 {
			out[service] = strings.ToLower(op.FailoverOrder(dcs))
		}
	}
	return out
}
