// Package dns answers DNS questions about nodes, services and prepared queries: it parses a
// question, calls an operation and renders records.
//
// It keeps no answers and has no catalog logic; the Caller decides where an
// answer comes from, and says how old it is: an answer that is not current has a
// short TTL. Every query is answered within a deadline, if only with
// SERVFAIL. Names outside its domains are recursors' to answer, and refused without.
package dns

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/dns/names"
	"github.com/legate-project/legate/dns/question"
	"github.com/legate-project/legate/internal/byname"
	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/op"
)

// Bounds of a query.
const (
	// deadline of one query unless configured: resolvers ask again after 2 to 5 s.
	deadline = 2 * time.Second
	// AgedTTL bounds the TTL of an answer that is not known to be current, in
	// seconds: a resolver is to ask again soon after the cut is healed.
	AgedTTL = 5
	// maxAddresses and maxServices bound the instances looked at for one answer;
	// more do not fit into 64 KiB.
	maxAddresses, maxServices = 4096, 1024
	// maxNameServers in answers about the domain itself.
	maxNameServers = 3
)

// serverService is the name under which the servers of a datacenter are in its
// catalog.
const serverService = "consul"

// Config says what the DNS interface speaks for.
type Config struct {
	Caller op.Caller
	// Domain, and AltDomain if it is not empty, are answered for. A dot at the
	// end may be left out.
	Domain, AltDomain string
	Datacenter        string
	Node              string // of this agent
	// TranslateWAN answers about other datacenters with the WAN addresses there.
	TranslateWAN bool
	// DNS is the dns_config block.
	DNS config.DNSConfig
	// Recursors answer for names outside the domains, each an IP address with or
	// without port. Without any such names are refused.
	Recursors []string
	// Failover is which datacenters are asked for a service, by its name in lower case, that
	// has no healthy instance here and nothing in dns_config.failover; empty for none. It may be
	// nil.
	Failover func(service string) string
	// Token for lookups; nil uses none.
	Token func() string
	// Stands says whether a token stands for anything: its error is denied if not. Nil
	// takes each for one that does.
	Stands func(ctx context.Context, token string) error

	// Tracer begins the traces of queries; nil for none.
	Tracer     *tracing.Tracer
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Server answers queries. It is safe for concurrent use.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	domains []string // lower case, with a dot at both ends
	conf    atomic.Pointer[settings]

	recursion, additionalRecursion *recursion // for clients, and for additional records

	messages sync.Pool // *exchange

	packed table
	draw   func(n int) int // a random number below n
}

// settings are what a reload changes.
type settings struct {
	config.DNSConfig
	ttls     *byname.Table[uint32]
	failover *byname.Table[string] // what lookups that find nothing here are asked with
	*recursors
}

// Reload takes another dns_config and other recursors: queries that come from now
// on are answered by them. With an error all stays as it is.
func (s *Server) Reload(c config.DNSConfig, recursors []string) error {
	if c.AnswerTimeout <= 0 {
		c.AnswerTimeout = deadline
	}
	r, err := newRecursors(recursors, &c)
	if err != nil {
		return fmt.Errorf("configure DNS: %w", err)
	}
	s.conf.Store(&settings{DNSConfig: c, ttls: byname.New(secondsOf(c.ServiceTTL)), failover: byname.New(orders(c.Failover)), recursors: r})
	return nil
}

// New returns a server, or an error that says what is wrong with the
// configuration.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, log: cfg.Log.With("component", "dns")}
	if err := s.Reload(cfg.DNS, cfg.Recursors); err != nil {
		return nil, err
	}
	if cfg.Caller == nil {
		return nil, errors.New("DNS needs a Caller")
	}
	for _, d := range []string{cfg.Domain, cfg.AltDomain} {
		if d == "" {
			continue
		}
		name := strings.ToLower(mdns.Fqdn(strings.TrimPrefix(d, ".")))
		if _, ok := mdns.IsDomainName(name); !ok || name == "." {
			return nil, fmt.Errorf("DNS domain %q is no domain name", d)
		}
		s.domains = append(s.domains, "."+name)
	}
	if len(s.domains) == 0 {
		return nil, errors.New("DNS needs a domain")
	}
	s.metrics = newMetrics(cfg.Registerer)
	s.recursion = newRecursion(s.metrics, newClientLimit(maxRecursing, maxRecursingEach))
	s.additionalRecursion = newRecursion(s.metrics, newClientLimit(maxAdditional, maxAdditionalEach))
	s.packed.seed, s.draw = maphash.MakeSeed(), rand.IntN
	s.messages.New = func() any { return &exchange{s: s, asked: new(question.Plain)} }
	return s, nil
}

// exchange is one query with its answer. It lives in a pool.
type exchange struct {
	s   *Server
	ctx context.Context // until the catalog must have answered
	// recursorCtx is for recursors, which have a time of their own.
	recursorCtx context.Context
	recursion   *recursion
	// via carries out the lookups of a question that is looked at; nil for those of clients.
	via op.Caller
	req mdns.Msg
	out mdns.Msg
	tcp bool
	// from is the client's address, not valid where it is unknown.
	from netip.Addr
	// conf is the same for the whole answer.
	conf *settings

	dc         string // where the instances of an answer are; empty for the own datacenter
	port       string // the name of one of their ports, if they have one of that name
	sorted     bool   // they are in the order of the answer
	scope      uint8  // bits of the client's subnet that the answer is for
	domain     string // that was asked, with a dot at both ends; the first for others
	owner      string // the name that was asked; its letters are put back where it is referred to
	answer     []record
	additional []mdns.RR // additional records that belong to no answer
	depth      int       // how many host names have led here
	// recursed is the recursors' answer, if it is one.
	recursed  *mdns.Msg
	truncated bool // a limit left records out
	fanOut    bool // what is found may be of several datacenters
	fresh     freshness
	basis
	asked *question.Plain // the query as it was read for what is packed, if it was
}

// record is an answer with what belongs to it in the additional section.
type record struct {
	rr    mdns.RR
	extra []mdns.RR
}

func (x *exchange) reset(ctx context.Context, tcp bool) {
	clear(x.answer)
	clear(x.additional)
	*x = exchange{s: x.s, conf: x.s.conf.Load(), ctx: ctx, recursorCtx: ctx, recursion: x.s.recursion, req: x.req, tcp: tcp, answer: x.answer[:0], additional: x.additional[:0],
		asked: x.asked, out: mdns.Msg{Question: x.out.Question[:0], Answer: x.out.Answer[:0], Ns: x.out.Ns[:0], Extra: x.out.Extra[:0]}}
}

// reply answers x.req into x.out. It does not fail: what goes wrong is an
// answer too.
func (x *exchange) reply() {
	begin := time.Now()
	var span tracing.Span
	if t := x.s.cfg.Tracer; t != nil {
		x.ctx, span = t.Root(x.ctx, "DNS", tracing.Origin{Kind: tracing.Server, Began: begin})
	}
	rcode := x.recovered()
	x.out.Rcode = rcode
	x.fill()
	if span.Recording() {
		x.trace(span, rcode)
	}
	m := x.s.metrics
	m.answers[rcodeClass(rcode)].Inc()
	m.lookups[x.fresh].Inc()
	m.seconds[x.typeClass()].Observe(time.Since(begin).Seconds())
	if x.out.Truncated {
		m.truncated.Inc()
	}
}

// trace says how a query ended, and ends its span. Names that are none of ours are of
// no concern to who reads our traces.
func (x *exchange) trace(span tracing.Span, rcode int) {
	if x.out.Authoritative {
		span.Text("dns.question.name", x.owner)
	}
	if len(x.req.Question) == 1 {
		span.Text("legate.dns.type", mdns.Type(x.req.Question[0].Qtype).String())
	}
	span.Text("legate.dns.rcode", mdns.RcodeToString[rcode])
	span.Text("client.address", x.from.String())
	if rcode == mdns.RcodeServerFailure {
		span.Fail("SERVFAIL")
	}
	span.End()
}

// recovered keeps a fault in one answer from ending the agent.
func (x *exchange) recovered() (rcode int) {
	defer func() {
		if p := recover(); p != nil {
			x.s.metrics.panics.Inc()
			x.s.log.Error("query panicked", "question", x.owner, "panic", p)
			x.answer, x.out.Ns, x.additional = x.answer[:0], x.out.Ns[:0], x.additional[:0]
			x.lookups = noneLasts
			rcode = mdns.RcodeServerFailure
		}
	}()
	x.out.SetReply(&x.req)
	x.out.Compress, x.out.RecursionAvailable = !x.conf.DisableCompression, x.conf.recursors != nil
	x.domain = x.s.domains[0]
	if x.req.Opcode != mdns.OpcodeQuery {
		return mdns.RcodeNotImplemented
	}
	if opt := x.req.IsEdns0(); opt != nil && opt.Version() != 0 {
		return mdns.RcodeBadVers
	}
	if len(x.req.Question) != 1 || options(&x.req) > 1 {
		return mdns.RcodeFormatError
	}
	q := x.req.Question[0]
	x.owner = q.Name
	switch {
	case q.Qtype == mdns.TypeAXFR || q.Qtype == mdns.TypeIXFR:
		return mdns.RcodeNotImplemented
	case q.Qclass != mdns.ClassINET && q.Qclass != mdns.ClassANY:
		return mdns.RcodeRefused
	}
	ctx, cancel := context.WithTimeout(x.ctx, x.conf.AnswerTimeout)
	defer cancel()
	x.ctx = ctx
	return x.question(q.Qtype)
}

// question finds what a name stands for.
func (x *exchange) question(qtype uint16) int {
	lower := strings.ToLower(x.owner)
	rest, domain, ok := x.s.within(lower)
	if !ok {
		return x.outside(lower, qtype)
	}
	x.out.Authoritative = true
	x.domain = domain
	if x.depth == 0 {
		x.owner = x.lowered(x.owner)
		x.out.Question[0].Name = x.owner
	}
	if rest == "" || qtype == mdns.TypeSOA || qtype == mdns.TypeNS {
		return x.apex(qtype)
	}
	n, ok := names.Parse(rest)
	if !ok {
		if x.s.above(rest) {
			return x.negative(mdns.RcodeSuccess)
		}
		return x.negative(mdns.RcodeNameError)
	}
	switch n.Kind {
	case names.Node:
		return x.node(n, qtype)
	case names.Service, names.Connect:
		return x.service(n, qtype)
	case names.Addr:
		return x.address(n, qtype)
	case names.Query:
		return x.query(n, qtype)
	case names.Above:
		return x.negative(mdns.RcodeSuccess)
	}
	return x.negative(mdns.RcodeNameError)
}

// above reports whether the names of the own datacenter, or of ports, are below a
// name: that it did not exist would say that neither do they (RFC 8020).
func (s *Server) above(rest string) bool {
	dc := strings.ToLower(s.cfg.Datacenter)
	switch rest {
	case dc, names.DatacenterLabel, dc + "." + names.DatacenterLabel, names.PortLabel:
		return true
	}
	return false
}

// within strips the domain from a name in lower case.
func (s *Server) within(name string) (rest, domain string, ok bool) {
	for _, d := range s.domains {
		if name == d[1:] {
			return "", d, true
		}
		if rest, ok := strings.CutSuffix(name, d); ok {
			return rest, d, true
		}
	}
	return "", "", false
}

// header is what lookups in a datacenter are asked with.
func (x *exchange) header(dc string) op.Header {
	h := op.Header{Datacenter: dc}
	if x.conf.AllowStale {
		h.Consistency, h.MaxAge = op.Cached, x.conf.MaxStale
		if m := x.conf.CacheMaxAge; m > 0 && (h.MaxAge == 0 || m < h.MaxAge) {
			h.MaxAge = m
		}
	}
	token := x.s.token()
	if x.lookups > 0 && token != x.token { // it was changed: the answer is not what asking again would give
		x.lookups = noneLasts
	}
	x.token, h.Token = token, token
	x.lookups++
	return h
}

// noteAge notes how fresh what a lookup found is.
func (x *exchange) noteAge(m *op.Meta) {
	x.fresh = max(x.fresh, current)
	if m.Age > 0 {
		x.fresh = aged
		x.s.metrics.age.Observe(m.Age.Seconds())
	}
}

// ttl is how long an answer may be kept: not long if it is not current.
func (x *exchange) ttl(seconds uint32) uint32 {
	if x.fresh == aged {
		return min(seconds, AgedTTL)
	}
	return seconds
}

// failed says how a lookup that failed is answered.
func (x *exchange) failed(err error) int {
	switch op.CodeOf(err) {
	case op.CodeDenied:
		if why := x.powerless(); why != nil {
			x.fresh = failed
			x.s.log.Warn("names cannot be looked up: the token for that stands for nothing; set another one (acl.tokens.dns, or default where that is not set)", "error", why)
			return mdns.RcodeServerFailure
		}
		return x.negative(mdns.RcodeNameError)
	case op.CodeUnknownDatacenter, op.CodeRemovedDatacenter, op.CodeLeftDatacenter, op.CodeNotFound, op.CodeInvalid:
		return x.negative(mdns.RcodeNameError)
	}
	x.fresh = failed
	x.s.log.Debug("lookup failed", "question", x.owner, "error", err)
	return mdns.RcodeServerFailure
}

// powerless is an error if lookups are refused because their token stands for nothing,
// whatever the name: then it is not known whether there is such a name, and who asks may
// have another server to ask.
func (x *exchange) powerless() error {
	if x.s.cfg.Stands == nil || x.s.cfg.Token == nil || x.via != nil {
		return nil
	}
	if err := x.s.cfg.Stands(x.ctx, x.s.cfg.Token()); op.CodeOf(err) == op.CodeDenied {
		return err
	}
	return nil
}

// negative adds the SOA record by which resolvers keep a negative answer, not long
// if it is not current (RFC 2308, section 5).
func (x *exchange) negative(rcode int) int {
	soa := x.soa()
	soa.Hdr.Ttl, soa.Minttl = x.ttl(soa.Hdr.Ttl), x.ttl(soa.Minttl)
	x.out.Ns = append(x.out.Ns, soa)
	return rcode
}

// done answers with what was found; nothing means that the name exists without
// records of the type.
func (x *exchange) done() int {
	if len(x.answer) == 0 {
		return x.negative(mdns.RcodeSuccess)
	}
	return mdns.RcodeSuccess
}
