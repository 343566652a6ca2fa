package dns

import (
	"sort"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns/question"
)

// Sizes of answers in bytes.
const (
	// ownSize is what this server says that it can take over UDP: what passes
	// most paths in one piece (DNS Flag Day 2020).
	ownSize = 1232
	// maxSmallAnswers bounds the records of a packet of 512 bytes, whatever
	// udp_answer_limit says.
	maxSmallAnswers = 8
)

// fill makes the message of what was found, and makes it fit.
func (x *exchange) fill() {
	limit, own := x.limit(), 0
	if opt := x.opt(); opt != nil {
		x.out.Extra = append(x.out.Extra, opt)
		own++
	}
	if limit == mdns.MinMsgSize && x.recursed == nil {
		if small := x.conf.small(); len(x.answer) > small {
			x.answer, x.truncated = x.answer[:small], true
		}
	}
	all := len(x.answer)
	x.take(all, own)
	x.out.Extra = append(x.out.Extra, x.additional...)
	x.out.Truncated = x.truncated
	if x.surelyFits(limit) || x.out.Len() <= limit {
		x.whole = !x.truncated
		return
	}
	if len(x.additional) > 0 { // what is lost least goes first
		if x.take(all, own); x.out.Len() <= limit {
			return
		}
	}
	if x.out.Ns = x.out.Ns[:0]; all > 0 && x.out.Len() <= limit {
		return
	}
	// The largest number of answers that fits; more answers are never shorter.
	n := sort.Search(all+1, func(n int) bool {
		x.take(n, own)
		return x.out.Len() > limit
	}) - 1
	x.take(max(n, 0), own)
	x.out.Truncated = true
	if opt := x.out.IsEdns0(); n < 0 && opt != nil { // a recursor's options may have any length
		opt.Option = nil
	}
}

// take sets the first n answers with what belongs to them; the first of the
// additional records belong to the message.
func (x *exchange) take(n, own int) {
	x.out.Answer, x.out.Extra = x.out.Answer[:0], x.out.Extra[:own]
	for _, r := range x.answer[:n] {
		x.out.Answer = append(x.out.Answer, r.rr)
		x.out.Extra = append(x.out.Extra, r.extra...)
	}
}

// surelyFits spares short answers the exact count: one address or one SOA record of
// ours with names of 100 bytes is below the smallest limit.
func (x *exchange) surelyFits(limit int) bool {
	const short = 100
	return x.recursed == nil && len(x.out.Answer)+len(x.out.Ns) <= 1 && len(x.out.Extra) <= 1 && len(x.owner) <= short && len(x.domain) <= short &&
		limit >= mdns.MinMsgSize && x.plain()
}

// plain reports whether all records are addresses.
func (x *exchange) plain() bool {
	for _, rr := range x.out.Answer {
		switch rr.(type) {
		case *mdns.A, *mdns.AAAA:
		default:
			return false
		}
	}
	return true
}

// limit is the number of bytes that the client can take.
func (x *exchange) limit() int {
	if x.tcp {
		return mdns.MaxMsgSize
	}
	if opt := x.req.IsEdns0(); opt != nil && !x.any() {
		return min(max(int(opt.UDPSize()), mdns.MinMsgSize), question.MaxUDP)
	}
	return mdns.MinMsgSize
}

// any reports whether all records of a name are asked for. Over UDP, where the
// client's address may be another's, that gets a small answer (RFC 8482).
func (x *exchange) any() bool {
	return len(x.req.Question) == 1 && x.req.Question[0].Qtype == mdns.TypeANY
}

// options counts the OPT records of a message.
func options(m *mdns.Msg) (n int) {
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == mdns.TypeOPT {
			n++
		}
	}
	return n
}

// opt returns the OPT record of the answer: a client that sent none gets none.
// A client subnet is sent back with scope 0, as answers do not depend on it, or
// as those of prepared queries may with the scope that was asked for.
func (x *exchange) opt() *mdns.OPT {
	asked := x.req.IsEdns0()
	if asked == nil {
		return nil
	}
	o := &mdns.OPT{Hdr: mdns.RR_Header{Name: ".", Rrtype: mdns.TypeOPT}}
	o.SetUDPSize(ownSize)
	o.SetDo(asked.Do())
	if x.recursed != nil {
		if said := x.recursed.IsEdns0(); said != nil {
			o.Option = passedOn(said.Option)
		}
		return o
	}
	if subnet := x.subnet(); subnet != nil {
		back := *subnet
		back.SourceScope = x.scope
		o.Option = append(o.Option, &back)
	}
	return o
}
