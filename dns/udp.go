package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/dns/packets"
	"github.com/legate-project/legate/internal/lifecycle"
)

// Bounds of what one socket occupies.
const (
	maxSockets  = 8    // for each address, at most one for each core
	batch       = 32   // packets that are read at a time
	maxWorkers  = 1024 // goroutines that answer what is not packed, for each socket
	idleWorkers = 4    // of them that may wait for more
	maxQuery    = 4096 // bytes of a UDP query; more is cut and refused
)

// udp is one socket. Its reader answers what is packed, and never waits for anything but
// packets; the rest is for workers, so that a slow answer holds up no other.
type udp struct {
	s    *Server
	g    *lifecycle.Group
	conn *packets.Conn

	workers atomic.Int64
	idle    atomic.Int64 // workers that wait, but for those that have been promised a packet
	jobs    chan *packets.Batch
	spare   sync.Pool // *packets.Batch of one packet
}

// serveUDP answers on the socket and its siblings, and closes them.
func (s *Server) serveUDP(g *lifecycle.Group, first *net.UDPConn) error {
	conns := append([]*net.UDPConn{first}, packets.Siblings(g.Context(), first, min(runtime.GOMAXPROCS(0), maxSockets)-1)...)
	for _, conn := range conns {
		if err := g.OnStop("udp", func(context.Context) error { return conn.Close() }); err != nil {
			return err
		}
		context.AfterFunc(g.Context(), func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // wakes the reader
	}
	for _, conn := range conns {
		c, err := packets.New(conn)
		if err != nil {
			return fmt.Errorf("serve DNS on %s: %w", conn.LocalAddr(), err)
		}
		u := &udp{s: s, g: g, conn: c, jobs: make(chan *packets.Batch, maxWorkers)}
		u.spare.New = func() any { return c.Batch(1, maxQuery) }
		if err := g.Go("udp reader", u.read); err != nil {
			return err
		}
	}
	return g.Go("packed answers", s.packed.sweepLoop)
}

// read answers what is packed, and hands on the rest.
func (u *udp) read(ctx context.Context) {
	b := u.conn.Batch(batch, maxQuery)
	r := newReader(u.s)
	out := make([]byte, batch*maxPacked)
	for u.g.Context().Err() == nil {
		n, err := b.Read()
		if err != nil {
			u.pause(ctx, err)
			continue
		}
		r.begin()
		left := 0
		for i := range b.Packets[:n] {
			p := &b.Packets[i]
			if p.Out = r.answer(p.In, out[i*maxPacked:i*maxPacked:(i+1)*maxPacked]); p.Out == nil {
				left++
			}
		}
		r.end()
		if left < n {
			u.s.metrics.failed.Add(float64(b.Write(n)))
		}
		for i := 0; i < n && left > 0; i++ {
			if p := &b.Packets[i]; p.Out == nil {
				u.hand(p)
				left--
			}
		}
		runtime.Gosched() // under load there is always more to read: what else the agent does would wait for its slice of time
	}
}

// hand has a worker answer a packet. While all wait for answers that are slow it is left, as
// the kernel leaves what nobody reads.
func (u *udp) hand(p *packets.Packet) {
	job := u.spare.Get().(*packets.Batch)
	job.Packets[0].Take(p)
	if u.idle.Add(-1) >= 0 { // one of those that wait is this packet's now
		u.jobs <- job
		return
	}
	u.idle.Add(1)
	if u.workers.Add(1) <= maxWorkers && u.g.Spawn("udp worker", func(ctx context.Context) { u.work(ctx, job) }) == nil {
		return
	}
	u.workers.Add(-1)
	u.s.metrics.dropped.Inc()
	u.spare.Put(job)
}

// work answers a packet, and more while they come soon.
func (u *udp) work(ctx context.Context, job *packets.Batch) {
	u.s.metrics.workers.Inc()
	defer u.s.metrics.workers.Dec()
	defer u.workers.Add(-1)
	out := make([]byte, firstBuffer)
	for {
		p := &job.Packets[0]
		if b := u.s.packet(ctx, p.From(), p.In, out); b != nil {
			p.Out = b
			u.s.metrics.failed.Add(float64(job.Write(1)))
			p.Out = nil
			if cap(b) <= maxBuffer {
				out = b[:cap(b)]
			}
		}
		u.spare.Put(job)
		if u.idle.Add(1) > idleWorkers && u.leaves() {
			return
		}
		select {
		case job = <-u.jobs:
		case <-ctx.Done():
			return
		}
	}
}

// leaves takes a worker back from those that wait, unless it has been promised a packet.
func (u *udp) leaves() bool {
	for {
		n := u.idle.Load()
		if n <= 0 {
			return false
		}
		if u.idle.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// pause keeps an error that stays from keeping the processor busy.
func (u *udp) pause(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return
	}
	pause(ctx, readingPause)
}
