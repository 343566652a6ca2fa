package dns

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns/question"
	"github.com/legate-project/legate/op"
)

// Bounds of what is packed.
const (
	packedSets = 4096 // of packedWays answers each
	packedWays = 4
	maxPacked  = 4096 // bytes of an answer that is made of packed ones
	// maxEntry bounds the bytes of one entry, maxEntries those of all.
	maxEntry, maxEntries = 32 << 10, 32 << 20
	// maxItems bounds the instances of an entry.
	maxItems = 1024
	// packedIdle is how long one that nobody asks for is kept, about, in seconds.
	packedIdle = 60
	// maxLookups bounds the lookups that an entry depends on.
	maxLookups = 4
)

// table keeps packed answers, in sets by the hash of what was asked. Nobody waits for
// anybody in it: an entry does not change, and takes the place of another whole.
type table struct {
	seed  maphash.Seed
	sets  [packedSets][packedWays]atomic.Pointer[entry]
	asked [packedSets]atomic.Uint32 // of what was asked last of what is not packed, by hash
	bytes atomic.Int64
}

// entry is an answer as packed, or what answers in any order are put together from.
type entry struct {
	key   string
	used  atomic.Int64 // Unix seconds, when it was looked up last
	lasts []op.Lasting
	// It was made by this configuration, for this token, and with these datacenters to fail
	// over to, if it depends on them.
	conf      *settings
	token     string
	failsOver string // the service that does; empty if that plays no part
	failover  string

	flags    [2]byte // of the header, but for TC
	class    uint8   // index in types of what was asked
	rcode    uint8   // index in rcodes
	fresh    freshness
	size     int // in bytes, estimated
	whole    []byte
	serialAt int // where in whole the serial number of the SOA record is; 0 for none
	*list        // nil for an answer that is whole
}

// find is the entry of the key, nil if there is none.
func (t *table) find(hash uint64, key []byte) *entry {
	set := &t.sets[hash%packedSets]
	for i := range set {
		if e := set[i].Load(); e != nil && e.key == string(key) {
			return e
		}
	}
	return nil
}

// wanted reports whether it is worth packing the answer to a question: it was asked lately.
func (t *table) wanted(hash uint64) bool {
	mark := uint32(hash>>32) | 1
	return t.asked[hash%packedSets].Swap(mark) == mark
}

// keep puts an entry in the place of one with its key, of none, or of another. A place that
// somebody else took meanwhile is left.
func (t *table) keep(hash uint64, e *entry) {
	set := &t.sets[hash%packedSets]
	at := int(hash>>32) % packedWays
	for i := range set {
		old := set[i].Load()
		if old != nil && old.key == e.key {
			at = i
			break
		}
		if old == nil {
			at = i
		}
	}
	old := set[at].Load()
	more := int64(e.size)
	if old != nil {
		more -= int64(old.size)
	}
	if t.bytes.Load()+more > maxEntries || !set[at].CompareAndSwap(old, e) {
		return
	}
	t.bytes.Add(more)
}

// sweepLoop drops entries that nobody asks for, with what they hold.
func (t *table) sweepLoop(ctx context.Context) {
	tick := time.NewTicker(packedIdle / 4 * time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			t.sweep(now)
		case <-ctx.Done():
			return
		}
	}
}

func (t *table) sweep(now time.Time) {
	if t.bytes.Load() == 0 {
		return
	}
	for i := range t.sets {
		for j := range t.sets[i] {
			p := &t.sets[i][j]
			if e := p.Load(); e != nil && now.Unix()-e.used.Load() > packedIdle && p.CompareAndSwap(e, nil) {
				t.bytes.Add(-int64(e.size))
			}
		}
	}
}

// reader answers plain questions from what is packed. It belongs to one goroutine.
type reader struct {
	s     *Server
	q     question.Plain
	order order

	// What is the same for a batch.
	now   time.Time
	conf  *settings
	token string

	// What of a list the answer at hand has.
	taken, extra int
	seen, glued  seen
	first        []place // of each target

	// What a batch came to: counts by class, for the metrics.
	answers   [len(rcodes)]int
	asked     [len(types)]int
	lookups   [failed + 1]int
	truncated int
}

func newReader(s *Server) *reader { return &reader{s: s, order: newOrder()} }

// begin is called before the questions of a batch.
func (r *reader) begin() {
	r.now, r.conf, r.token = time.Now(), r.s.conf.Load(), r.s.token()
}

// end is called after them: what was answered is counted.
func (r *reader) end() {
	n := 0
	for _, count := range r.asked {
		n += count
	}
	if n == 0 {
		return
	}
	m := r.s.metrics
	each := time.Since(r.now).Seconds() / float64(n)
	for i, count := range r.asked {
		for range count {
			m.seconds[i].Observe(each)
		}
	}
	for i, count := range r.answers {
		if count > 0 {
			m.answers[i].Add(float64(count))
		}
	}
	for i, count := range r.lookups {
		if count > 0 {
			m.lookups[i].Add(float64(count))
		}
	}
	if r.truncated > 0 {
		m.truncated.Add(float64(r.truncated))
	}
	m.packed.Add(float64(n))
	r.asked, r.answers, r.lookups, r.truncated = [len(types)]int{}, [len(rcodes)]int{}, [failed + 1]int{}, 0
}

// answer appends to out the answer to a packet, nil if there is none that is packed. There
// must be room for maxPacked bytes.
func (r *reader) answer(in, out []byte) []byte {
	if r.s.cfg.Tracer != nil || !r.q.Read(in) {
		return nil
	}
	t := &r.s.packed
	e := t.find(maphash.Bytes(t.seed, r.q.Key()), r.q.Key())
	if e == nil || !r.holds(e) {
		return nil
	}
	var cut bool
	if e.list == nil {
		out = e.patched(out, &r.q, in, r.now)
	} else {
		out, cut = e.ordered(out, &r.q, in, r)
	}
	if out == nil {
		return nil
	}
	if now := r.now.Unix(); e.used.Load() != now {
		e.used.Store(now)
	}
	r.asked[e.class]++
	r.answers[e.rcode]++
	r.lookups[e.fresh]++
	if cut {
		r.truncated++
	}
	return out
}

// holds reports whether an entry is what asking would give.
func (r *reader) holds(e *entry) bool {
	if e.conf != r.conf || e.token != r.token || e.failsOver != "" && e.conf.orderOf(r.s, e.failsOver) != e.failover {
		return false
	}
	for _, l := range e.lasts {
		if !l.Lasts(r.now) {
			return false
		}
	}
	return true
}

// patched is a whole answer to the question as it was asked, nil if it does not fit.
func (e *entry) patched(out []byte, q *question.Plain, in []byte, now time.Time) []byte {
	if len(e.whole) > q.Limit {
		return nil
	}
	out = append(out, e.whole...)
	copy(out, in[:2])
	copy(out[question.HeaderSize:], in[question.HeaderSize:q.End-4])
	if e.serialAt > 0 {
		binary.BigEndian.PutUint32(out[e.serialAt:], uint32(now.Unix()))
	}
	return out
}

// head appends the header and the question of an answer; counts are set later.
func (e *entry) head(out []byte, q *question.Plain, in []byte) []byte {
	out = append(out, in[0], in[1], e.flags[0], e.flags[1], 0, 1, 0, 0, 0, 0, 0, 0)
	return append(out, in[question.HeaderSize:q.End]...)
}

// appendOpt appends the OPT record of an answer to a question that has one.
func appendOpt(out []byte, q *question.Plain) []byte {
	if q.Asked&question.EDNS == 0 {
		return out
	}
	var flags byte
	if q.Asked&question.DO != 0 {
		flags = byte(question.BitDO >> 8)
	}
	return append(out, 0, 0, byte(mdns.TypeOPT), ownSize>>8, ownSize&0xff, 0, 0, flags, 0, 0, 0)
}
