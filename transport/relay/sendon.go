package relay

import (
	"net"
	"slices"

	"golang.org/x/net/ipv4"
)

const (
	// maxSegments and maxSegmented bound what the kernel cuts into packets: how many, and
	// bytes in all.
	maxSegments  = 64
	maxSegmented = 65_000
)

// sendOn gathers packets that go on to neighbors. Those of one flow and one length leave
// as one message that the kernel cuts, which spares most of what sending costs.
type sendOn struct {
	ms   []ipv4.Message
	runs []run
}

// run is the flow and the length of the packets of one message.
type run struct {
	f     *flow
	size  int // of each packet but the last
	bytes int
	ended bool // the last one is shorter
}

// add takes a packet; its bytes must stay until flush.
func (o *sendOn) add(f *flow, b []byte, gso bool) {
	for i := len(o.runs) - 1; gso && i >= 0; i-- {
		r := &o.runs[i]
		if r.f != f {
			continue
		}
		if r.ended || len(b) > r.size || len(o.ms[i].Buffers) == maxSegments || r.bytes+len(b) > maxSegmented {
			break // its packets stay in order
		}
		o.ms[i].Buffers = append(o.ms[i].Buffers, b)
		r.bytes += len(b)
		r.ended = len(b) < r.size
		return
	}
	to := f.to.addr()
	if to == nil {
		return // as if lost
	}
	o.runs = append(o.runs, run{f: f, size: len(b), bytes: len(b)})
	if n := len(o.ms); n < cap(o.ms) { // with its memory
		o.ms = o.ms[:n+1]
		m := &o.ms[n]
		m.Buffers, m.OOB, m.Addr = append(m.Buffers[:0], b), append(m.OOB[:0], f.to.from...), to
		return
	}
	o.ms = append(o.ms, ipv4.Message{Buffers: [][]byte{b}, OOB: slices.Clone(f.to.from), Addr: net.Addr(to)})
}

// flush sends what was gathered. What cannot be sent is lost, as packets are.
func (o *sendOn) flush(c *ipv4.PacketConn) {
	for i := range o.ms {
		if m := &o.ms[i]; len(m.Buffers) > 1 {
			m.OOB = withSegments(m.OOB, o.runs[i].size, o.runs[i].bytes)
		}
	}
	for ms := o.ms; len(ms) > 0; {
		n, err := c.WriteBatch(ms, 0)
		if err != nil {
			n = max(n, 0)
			if n < len(ms) && len(ms[n].Buffers) > 1 {
				o.singly(c, len(o.ms)-len(ms)+n)
			}
			n++ // the message that failed
		}
		ms = ms[min(n, len(ms)):]
	}
	o.ms, o.runs = o.ms[:0], o.runs[:0]
}

// singly sends the packets of a message one by one, because the kernel did not cut it: not
// all devices and not all routes (IPsec) allow that.
func (o *sendOn) singly(c *ipv4.PacketConn, i int) {
	from := o.runs[i].f.to.from
	for _, b := range o.ms[i].Buffers {
		_, _ = c.WriteBatch([]ipv4.Message{{Buffers: [][]byte{b}, OOB: from, Addr: o.ms[i].Addr}}, 0)
	}
}
