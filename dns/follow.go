package dns

import (
	"context"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// Bounds of following host names.
const (
	// maxFollowed bounds the lookups from one host name to the next.
	maxFollowed = 3
	// maxAliases bounds the CNAME records that are taken over of one answer.
	maxAliases = 16
	// maxHosts bounds the host names of an answer whose addresses go with it, and
	// hostsTime the time for that: clients can ask for them themselves.
	maxHosts  = 8
	hostsTime = 300 * time.Millisecond
	// maxAdditional and maxAdditionalEach bound the questions that recursors are asked for
	// that, apart from those of clients.
	maxAdditional, maxAdditionalEach = 64, 16
)

// resolve adds to an answer that is a host name the addresses of that.
func (x *exchange) resolve(qtype uint16) {
	if len(x.answer) != 1 || qtype != mdns.TypeA && qtype != mdns.TypeAAAA {
		return
	}
	if alias, ok := x.answer[0].rr.(*mdns.CNAME); ok {
		for _, rr := range x.follow(alias.Target, qtype) {
			x.add(rr)
		}
	}
}

// follow returns what a host name stands for: the aliases that lead to records of
// the type, and those. Where they cannot be found, as far as it came.
func (x *exchange) follow(host string, qtype uint16) []mdns.RR {
	_, _, ours := x.s.within(strings.ToLower(host))
	if x.depth >= maxFollowed || !ours && !x.recurses() {
		return nil
	}
	y := &exchange{s: x.s, conf: x.conf, ctx: x.ctx, recursorCtx: x.recursorCtx, recursion: x.recursion, via: x.via, from: x.from,
		domain: x.domain, depth: x.depth + 1, owner: host}
	y.req.RecursionDesired = x.req.RecursionDesired
	y.req.Question = []mdns.Question{{Name: host, Qtype: qtype, Qclass: mdns.ClassINET}}
	rcode := y.question(qtype)
	x.lookups = noneLasts
	x.fresh = max(x.fresh, y.fresh)
	if rcode != mdns.RcodeSuccess {
		return nil
	}
	return chain(host, qtype, y.answer)
}

// chain picks the records that the aliases of a host name lead to. What else a
// recursor says is not asked for.
func chain(host string, qtype uint16, answer []record) (out []mdns.RR) {
	for range maxAliases {
		next := ""
		for _, r := range answer {
			h := r.rr.Header()
			if h.Class != mdns.ClassINET || !strings.EqualFold(h.Name, host) {
				continue
			}
			if h.Rrtype == qtype {
				out = append(out, r.rr)
			} else if alias, ok := r.rr.(*mdns.CNAME); ok && next == "" {
				out, next = append(out, alias), alias.Target
			}
		}
		if next == "" {
			return out
		}
		host = next
	}
	return nil // it leads nowhere
}

// resolveHosts adds to SRV records, which are named by their places in the answer, the
// addresses of targets that were registered as host names, if they are found soon.
func (x *exchange) resolveHosts(places []int) {
	if len(places) == 0 {
		return
	}
	y := *x
	var stop context.CancelFunc
	y.ctx, stop = context.WithTimeout(x.ctx, hostsTime)
	defer stop()
	y.recursorCtx, y.recursion = y.ctx, x.s.additionalRecursion
	for _, i := range places[:min(len(places), maxHosts)] {
		target := x.answer[i].rr.(*mdns.SRV).Target
		found := y.follow(target, mdns.TypeA)
		if len(found) == 0 {
			found = y.follow(target, mdns.TypeAAAA)
		}
		x.answer[i].extra = append(found, x.answer[i].extra...)
	}
}
