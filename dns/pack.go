package dns

import (
	"hash/maphash"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns/question"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// found are the instances that an answer is about.
type found struct {
	list  catalog.Instances
	qtype uint16
	ttl   uint32
}

// basis is what an answer depends on, beside the question.
type basis struct {
	lookups   int          // that were made
	lasts     []op.Lasting // of them, those whose answer is known to last
	token     string
	failsOver string // the service that does, as failover says; empty if that was not asked
	failover  string
	found     *found
	drawn     bool // the order was drawn
	whole     bool // all that was found fits
}

// noneLasts in lookups stands for an answer that is to be made anew each time.
const noneLasts = -1 << 30

// note keeps how it is found out whether what a lookup found still holds.
func (b *basis) note(r *op.Reply) {
	if l := r.Lasting(); l != nil {
		b.lasts = append(b.lasts, l)
	}
}

// lasting reports whether it will be known of the answer that it is still the same.
func (x *exchange) lasting() bool {
	return x.lookups == len(x.lasts) && len(x.lasts) <= maxLookups && x.fresh <= current && !x.conf.DisableCompression && x.s.cfg.Tracer == nil &&
		(x.out.Rcode == mdns.RcodeSuccess || x.out.Rcode == mdns.RcodeNameError)
}

// keep packs the answer that was just made to a plain question, and lasts, if it is asked
// often and more answers can be made of it.
func (s *Server) keep(q *question.Plain, x *exchange, b []byte) {
	hash := maphash.Bytes(s.packed.seed, q.Key())
	old := s.packed.find(hash, q.Key())
	if old == nil && !s.packed.wanted(hash) {
		return
	}
	e := &entry{key: string(q.Key()), lasts: x.lasts, conf: x.conf, token: x.token, failsOver: x.failsOver, failover: x.failover,
		flags: [2]byte{b[2] &^ question.BitTC, b[3]}, class: uint8(x.typeClass()), rcode: uint8(rcodeClass(x.out.Rcode)), fresh: x.fresh}
	switch {
	case (!x.drawn || len(x.answer) == 0) && x.whole && len(b) <= maxPacked:
		e.whole = []byte(string(b))
		if !e.findSerial(&x.out) {
			return
		}
	case x.drawn && x.found != nil:
		if e.list = x.listOf(x.found); e.list == nil {
			return
		}
	default:
		return
	}
	const fixed = 256
	e.size = fixed + len(e.key) + len(e.whole)
	if e.list != nil {
		e.size += e.list.bytes()
	}
	if e.size > maxEntry {
		return
	}
	e.used.Store(time.Now().Unix())
	s.packed.keep(hash, e)
}

// findSerial finds the serial number of the SOA record in the authority of an answer, which is
// the time. It fails where that stands elsewhere.
func (e *entry) findSerial(m *mdns.Msg) bool {
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == mdns.TypeSOA {
			return false
		}
	}
	if len(m.Ns) == 0 {
		return true
	}
	if _, ok := m.Ns[0].(*mdns.SOA); !ok || len(m.Ns) != 1 || len(m.Answer) > 0 {
		return false
	}
	at := skipName(e.whole, question.HeaderSize) + 4 // the question
	at = skipName(e.whole, at) + recordHead          // the head of the record
	at = skipName(e.whole, skipName(e.whole, at))    // the server and the mailbox
	e.serialAt = at
	return true
}

// skipName is where a name ends that is known to be one.
func skipName(b []byte, at int) int {
	for b[at] != 0 {
		if b[at]&pointer == pointer {
			return at + 2
		}
		at += 1 + int(b[at])
	}
	return at + 1
}

// asAsked writes the name of the question as it was asked, letter by letter: resolvers know
// their questions by that. Answers refer to it.
func (x *exchange) asAsked(b []byte) {
	if len(x.req.Question) != 1 || len(b) < question.HeaderSize || len(x.out.Question) != 1 || x.out.Question[0].Name == x.req.Question[0].Name {
		return
	}
	if _, err := mdns.PackDomainName(x.req.Question[0].Name, b, question.HeaderSize, nil, false); err != nil {
		x.s.metrics.failed.Inc()
	}
}

// sameDatacenter is where the instances of the datacenter of one end, in a list that has them
// together.
func sameDatacenter(list catalog.Instances, from int) int {
	to := from + 1
	for to < len(list) && list[to].Node.Datacenter == list[from].Node.Datacenter {
		to++
	}
	return to
}

// token is what lookups are made with.
func (s *Server) token() string {
	if s.cfg.Token == nil {
		return ""
	}
	return s.cfg.Token()
}

// orderOf is where a service is looked for that has no healthy instance here: as this agent's
// configuration says, else as the datacenter does.
func (c *settings) orderOf(s *Server, service string) string {
	if order := c.failover.Of(service); order != "" || s.cfg.Failover == nil {
		return order
	}
	return s.cfg.Failover(service)
}

// small is how many records go into a packet of 512 bytes.
func (c *settings) small() int {
	if n := c.UDPAnswerLimit; n > 0 {
		return min(n, maxSmallAnswers)
	}
	return maxSmallAnswers
}

// lowered is the name of a question as answers are packed with: its letters are put back.
func (x *exchange) lowered(name string) string {
	if x.conf.DisableCompression {
		return name
	}
	return strings.ToLower(name)
}
