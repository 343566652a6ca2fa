package dns

import (
	"context"
	"math"
	"strings"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns/names"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// healthy asks for the instances of a service. A name without a datacenter that
// has none here fails over as configured.
func (x *exchange) healthy(n names.Name, req *catalog.ServiceRequest) (catalog.Instances, op.Meta, error) {
	list, reply, err := x.list(n.DC, req)
	x.fanOut = op.IsFanOut(n.DC)
	if n.DC == "" && (err != nil || list == nil || len(*list) == 0) {
		order := x.conf.orderOf(x.s, n.Name)
		x.failsOver, x.failover = n.Name, order
		if order != "" {
			x.fanOut = true
			list, reply, err = x.listInOrder(order, req)
		}
	}
	if err != nil {
		return nil, op.Meta{}, err
	}
	if list == nil {
		return nil, reply.Meta, nil
	}
	return *list, reply.Meta, nil
}

// list asks for the instances of a service in one datacenter, or several.
func (x *exchange) list(dc string, req *catalog.ServiceRequest) (*catalog.Instances, *op.Reply, error) {
	list, reply, err := catalog.ListInstances.Ask(x.ctx, x.caller(), x.header(dc), req)
	if err == nil {
		x.note(reply)
	}
	return list, reply, err
}

// listInOrder asks for the instances of a service in the datacenters that it fails over to.
func (x *exchange) listInOrder(order string, req *catalog.ServiceRequest) (*catalog.Instances, *op.Reply, error) {
	c := counting{Caller: x.caller()}
	list, reply, err := catalog.ListInOrder(x.ctx, &c, x.header(order), req)
	if err == nil && c.calls == 1 { // else it depends on what was passed over
		x.note(reply)
	}
	return list, reply, err
}

// counting counts calls.
type counting struct {
	op.Caller
	calls int
}

// Do implements op.Caller.
func (c *counting) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	c.calls++
	return c.Caller.Do(ctx, call)
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
		to := sameDatacenter(list, from)
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
