package dns

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/dns/names"
	"github.com/legate-project/legate/op"
)

// Look is a question that somebody wants to know more of than clients are told. No recursor is
// asked for it, nothing of it is kept, and it counts in no metric of answers.
type Look struct {
	Name string // as clients write it
	Type uint16
	From netip.Addr // who asks
	// Caller carries out the lookups in place of that of the server.
	Caller op.Caller
}

// Seen is the answer to a question, and what it followed from.
type Seen struct {
	Message mdns.Msg   // the whole answer, as over TCP
	Name    names.Name // what the name says; its Fault says why that is nothing
	// Domain is the one that the name is in, without a dot before it, Rest what precedes it. It is
	// empty for other names: of those recursors would be asked, if Recurses.
	Domain, Rest string
	Recurses     bool
	// Cut are the sizes of UDP, in bytes, in which not all of the answer fits.
	Cut []int
	// FailsOver is the order of datacenters in which a service was looked for that has no healthy
	// instance here; empty where that played no part.
	FailsOver string
	// Drawn says that the order of the answer was drawn, among the instances of each datacenter.
	Drawn  bool
	Config config.DNSConfig
}

// Look answers a question as a client's over TCP that may have recursors asked.
func (s *Server) Look(ctx context.Context, q Look) *Seen {
	x := s.messages.New().(*exchange)
	x.reset(ctx, true)
	x.via, x.from = q.Caller, q.From
	x.req.SetQuestion(mdns.Fqdn(q.Name), q.Type)
	x.out.Rcode = x.recovered()
	out := &Seen{Recurses: x.conf.recursors != nil, FailsOver: x.failover, Drawn: x.drawn, Config: x.conf.DNSConfig}
	if rest, domain, ok := s.within(strings.ToLower(x.req.Question[0].Name)); ok {
		out.Domain, out.Rest = domain[1:], rest
		out.Name, _ = names.Parse(rest)
	}
	for _, size := range []int{mdns.MinMsgSize, ownSize} {
		if x.cut(size) {
			out.Cut = append(out.Cut, size)
		}
	}
	x.fill()
	out.Message = x.out
	return out
}

// caller carries out lookups.
func (x *exchange) caller() op.Caller {
	if x.via != nil {
		return x.via
	}
	return x.s.cfg.Caller
}

// cut reports whether not all of an answer fits a packet of UDP of a size in bytes.
func (x *exchange) cut(size int) bool {
	y := *x
	y.tcp, y.req = false, *x.req.Copy()
	if size > mdns.MinMsgSize {
		y.req.SetEdns0(uint16(size), false)
	}
	y.answer = slices.Clone(x.answer)
	y.out.Answer, y.out.Ns, y.out.Extra = nil, slices.Clone(x.out.Ns), nil
	y.fill()
	return y.out.Truncated
}
