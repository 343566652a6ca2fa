package dns

import (
	"encoding/binary"
	"strings"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns/question"
	"github.com/legate-project/legate/state/catalog"
)

// recordHead is the bytes of a record from its type to the length of its data.
const recordHead = 10

// list is what the answers about the instances of a service are put together from, in an
// order that is drawn for each.
type list struct {
	groups []int    // where each datacenter's items end, the nearest first
	items  []uint16 // the record of each instance; noRecord for none of the type
	// records are without their owners, which are the question's name.
	records [][]byte
	most    int // of the records of an answer
	// Of SRV records: the target of each, and the additional records of each target,
	// without their owners, which are the target.
	targets []uint16
	extras  [][][]byte
}

const noRecord = 1<<16 - 1

// seen notes what of a list an answer has already. It belongs to one goroutine.
type seen [maxItems / 64]uint64

func (s *seen) add(i uint16) (again bool) {
	w, bit := &s[i/64], uint64(1)<<(i%64)
	again = *w&bit != 0
	*w |= bit
	return again
}

// ordered appends an answer in an order of its own, and whether records were left out; nil
// if there is no room for it here.
func (e *entry) ordered(out []byte, q *question.Plain, in []byte, r *reader) ([]byte, bool) {
	limit := q.Limit
	if limit > maxPacked { // it may be cut here and not there
		limit = maxPacked
	}
	total, most := e.most, e.most
	if q.Limit == mdns.MinMsgSize {
		most = min(most, r.conf.small())
	}
	own := 0
	if q.Asked&question.EDNS != 0 {
		own = question.OPTSize
	}
	out = e.list.fill(e.head(out, q, in), limit-own, most, r)
	n, extra := r.taken, r.extra
	if n < most && q.Limit > maxPacked {
		return nil, false
	}
	out = appendOpt(out, q)
	if e.targets != nil {
		out = e.list.additional(out, r)
	}
	if own > 0 {
		extra++
	}
	if n < total {
		out[2] |= question.BitTC
	}
	binary.BigEndian.PutUint16(out[6:], uint16(n))
	binary.BigEndian.PutUint16(out[10:], uint16(extra))
	return out, n < total
}

// fill appends records as long as they fit with what belongs to them, at most most. What it
// took is noted in r.
func (l *list) fill(out []byte, limit, most int, r *reader) []byte {
	r.taken, r.extra, r.seen, r.glued = 0, 0, seen{}, seen{}
	r.first = r.first[:0]
	room := limit - len(out)
	group := 0
	for i := 0; i < len(l.items) && r.taken < most; i++ {
		for i == l.groups[group] {
			group++
		}
		id := l.items[r.order.next(l.groups[group], r.s.draw)]
		if id == noRecord || r.seen.add(id) {
			continue
		}
		rec := l.records[id]
		size, more := 2+len(rec), 0
		if l.targets != nil && !r.glued.add(l.targets[id]) {
			for _, extra := range l.extras[l.targets[id]] {
				size += 2 + len(extra)
				more++
			}
			r.first = append(r.first, place{l.targets[id], len(out) + 2 + recordHead + srvHead})
		}
		if room -= size; room < 0 {
			if n := len(r.first); n > 0 && more > 0 && r.first[n-1].target == l.targets[id] {
				r.first = r.first[:n-1]
			}
			break
		}
		r.extra += more
		r.taken++
		out = append(append(out, pointer, question.HeaderSize), rec...)
	}
	r.order.reset()
	return out
}

// srvHead is what precedes the target in the data of an SRV record, pointer the first byte of
// a name that stands at an offset below 256 (RFC 1035, section 4.1.4).
const srvHead, pointer = 6, 0xc0

// place is where the name of a target stands in an answer.
type place struct {
	target uint16
	at     int
}

// additional appends the addresses of targets, and the metadata of their nodes.
func (l *list) additional(out []byte, r *reader) []byte {
	for _, p := range r.first {
		for _, extra := range l.extras[p.target] {
			out = append(append(out, pointer|byte(p.at>>8), byte(p.at)), extra...)
		}
	}
	return out
}

// listOf makes of the instances that an answer was made of what more of them can be made of;
// nil if those must be made one by one. ttl is that of its records.
func (x *exchange) listOf(f *found) *list {
	if len(f.list) > maxItems {
		return nil
	}
	y := &exchange{s: x.s, conf: x.conf, owner: x.owner, domain: x.domain, dc: x.dc, port: x.port, fanOut: x.fanOut}
	l := &list{items: make([]uint16, len(f.list)), groups: y.groups(f.list)}
	ok := false
	if f.qtype == mdns.TypeSRV {
		ok = y.listSRV(l, f)
	} else {
		ok = y.listAddresses(l, f)
	}
	if !ok || len(l.records) == 0 {
		return nil
	}
	l.most = len(l.records)
	if limit := x.conf.ARecordLimit; limit > 0 && f.qtype != mdns.TypeSRV {
		l.most = min(l.most, limit)
	}
	return l
}

// groups are where the instances of each datacenter end.
func (x *exchange) groups(list catalog.Instances) (out []int) {
	for from := 0; from < len(list); {
		to := len(list)
		if x.fanOut {
			to = sameDatacenter(list, from)
		}
		out = append(out, to)
		from = to
	}
	return out
}

func (x *exchange) listAddresses(l *list, f *found) bool {
	ids := map[string]uint16{}
	for i := range f.list {
		x.answer = x.answer[:0]
		x.addresses(x.whereIs(&f.list[i]), f.qtype, f.ttl)
		l.items[i] = noRecord
		if len(x.answer) == 0 {
			continue
		}
		if len(x.answer) > 1 || x.answer[0].rr.Header().Rrtype != f.qtype {
			return false
		}
		rec, ok := withoutOwner(x.answer[0].rr)
		if !ok {
			return false
		}
		id, again := ids[string(rec)]
		if !again {
			id = uint16(len(l.records))
			ids[string(rec)] = id
			l.records = append(l.records, rec)
		}
		l.items[i] = id
	}
	return true
}

// listSRV fails where what an answer says of a target depends on more than that: where its
// name is a host's, two instances are at one port, or a name could be written as the end of
// another.
func (x *exchange) listSRV(l *list, f *found) bool {
	rank := x.ranks(f.list)
	ids, at, ends := map[string]uint16{}, map[endpoint]bool{}, map[string]bool{}
	noteEnds(ends, strings.ToLower(x.owner), true)
	for i := range f.list {
		in := &f.list[i]
		r, addr, ok := x.srvOf(in, rank, f.ttl)
		if l.items[i] = noRecord; !ok {
			continue
		}
		srv := r.rr.(*mdns.SRV)
		where := endpoint{srv.Target, srv.Port}
		if !isAddress(addr) || at[where] {
			return false
		}
		at[where] = true
		rec, ok := withoutOwner(srv)
		if !ok {
			return false
		}
		l.items[i] = uint16(len(l.records))
		l.records = append(l.records, rec)
		id, again := ids[srv.Target]
		if !again {
			id = uint16(len(l.extras))
			ids[srv.Target] = id
			var extras [][]byte
			for _, rr := range r.extra {
				extra, ok := withoutOwner(rr)
				if !ok {
					return false
				}
				extras = append(extras, extra)
			}
			l.extras = append(l.extras, extras)
			noteEnds(ends, srv.Target, false)
		}
		l.targets = append(l.targets, id)
	}
	for target := range ids {
		if ends[target] {
			return false
		}
	}
	return true
}

// noteEnds notes the ends of a name at its labels, and the name itself with self.
func noteEnds(ends map[string]bool, name string, self bool) {
	if self {
		ends[name] = true
	}
	for off, end := mdns.NextLabel(name, 0); !end; off, end = mdns.NextLabel(name, off) {
		ends[name[off:]] = true
	}
}

// withoutOwner packs a record but for its owner.
func withoutOwner(rr mdns.RR) ([]byte, bool) {
	b := make([]byte, mdns.Len(rr)+question.MaxName)
	end, err := mdns.PackRR(rr, b, 0, nil, false)
	if err != nil {
		return nil, false
	}
	name, err := mdns.PackDomainName(rr.Header().Name, make([]byte, question.MaxName+1), 0, nil, false)
	if err != nil || name > end {
		return nil, false
	}
	return b[name:end:end], true
}

// bytes estimates what the list holds.
func (l *list) bytes() int {
	n := 2*(len(l.items)+len(l.targets)) + 8*len(l.groups)
	for _, rec := range l.records {
		n += len(rec) + 24
	}
	for _, extras := range l.extras {
		n += 24
		for _, extra := range extras {
			n += len(extra) + 24
		}
	}
	return n
}
