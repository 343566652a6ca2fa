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
	maxSockets   = 8    // for each address, at most one for each core
	batch        = 32   // packets that are read at a time
	maxWorkers   = 1024 // goroutines that answer what is not packed, for each socket
	usualWorkers = 4    // of them that there are while answers are quick
	maxWaiting   = 1024 // packets that wait for a worker, for each socket
	maxQuery     = 4096 // bytes of a UDP query; more is cut and refused
	// stuckAfter is how long workers may have taken nothing before there are more.
	stuckAfter = 2 * time.Millisecond
)

// udp is one socket. Its reader answers what is packed, and never waits for anything but
// packets; the rest is for workers, so that a slow answer holds up no other.
//
// Few workers take what is handed on one after the other, which spares switches: answers are
// quick as a rule. Once they all have been busy with what they took for stuckAfter, all that
// waits gets workers of its own.
type udp struct {
	s    *Server
	g    *lifecycle.Group
	conn *packets.Conn

	jobs    chan *packets.Batch
	workers atomic.Int64
	idle    atomic.Int64 // workers that wait
	taken   atomic.Uint64
	spare   sync.Pool // *packets.Batch of one packet

	watched atomic.Bool // the watch will look
	seen    atomic.Uint64
	watch   *time.Timer
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
		u := &udp{s: s, g: g, conn: c, jobs: make(chan *packets.Batch, maxWaiting)}
		u.spare.New = func() any { return c.Batch(1, maxQuery) }
		u.watch = time.AfterFunc(time.Hour, u.unstick)
		if err := g.OnStop("udp watch", func(context.Context) error { u.watch.Stop(); return nil }); err != nil {
			return err
		}
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

// hand has a worker answer a packet. While too many wait it is left, as the kernel leaves what
// nobody reads.
func (u *udp) hand(p *packets.Packet) {
	job := u.spare.Get().(*packets.Batch)
	job.Packets[0].Take(p)
	select {
	case u.jobs <- job:
	default:
		u.s.metrics.dropped.Inc()
		u.spare.Put(job)
		return
	}
	if len(u.jobs) == 0 {
		return // somebody waited for it
	}
	if u.workers.Load() < usualWorkers {
		u.spawn()
	}
	u.look()
}

// spawn starts a worker.
func (u *udp) spawn() {
	if u.workers.Add(1) > maxWorkers || u.g.Spawn("udp worker", u.work) != nil {
		u.workers.Add(-1)
	}
}

// look has it looked soon whether workers are stuck.
func (u *udp) look() {
	if u.watched.CompareAndSwap(false, true) {
		u.seen.Store(u.taken.Load())
		u.watch.Reset(stuckAfter)
	}
}

// unstick gives what waits workers of its own if none took anything for a while.
func (u *udp) unstick() {
	waiting := len(u.jobs)
	if waiting > 0 && u.taken.Load() == u.seen.Load() {
		for range waiting {
			u.spawn()
		}
	}
	u.watched.Store(false)
	if len(u.jobs) > 0 && u.g.Context().Err() == nil {
		u.look()
	}
}

// work answers packets while they come soon.
func (u *udp) work(ctx context.Context) {
	u.s.metrics.workers.Inc()
	defer u.s.metrics.workers.Dec()
	defer u.workers.Add(-1)
	out := make([]byte, firstBuffer)
	for ctx.Err() == nil {
		job := u.next(ctx)
		if job == nil {
			return
		}
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
	}
}

// next is what a worker answers next, nil if enough others wait for that.
func (u *udp) next(ctx context.Context) (job *packets.Batch) {
	select {
	case job = <-u.jobs:
	default:
		if u.idle.Add(1) > usualWorkers {
			u.idle.Add(-1)
			return nil
		}
		select {
		case job = <-u.jobs:
		case <-ctx.Done():
		}
		u.idle.Add(-1)
	}
	u.taken.Add(1)
	return job
}

// pause keeps an error that stays from keeping the processor busy.
func (u *udp) pause(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return
	}
	pause(ctx, readingPause)
}
