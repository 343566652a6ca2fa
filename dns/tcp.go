package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/legate-project/legate/internal/lifecycle"
)

// serveTCP answers on the connections of a listener, in any order: a slow answer
// holds up no other of the same connection (RFC 7766, section 6.2.1.1).
func (s *Server) serveTCP(g *lifecycle.Group, l net.Listener, failed chan<- error) error {
	l = netutil.LimitListener(&fairListener{l, newClientLimit(0, maxTCPEach)}, maxTCP)
	err := g.Go("tcp", func(ctx context.Context) {
		for g.Context().Err() == nil {
			conn, err := l.Accept()
			switch {
			case err == nil:
				s.serveStream(g, conn)
			case g.Context().Err() != nil:
			case errors.Is(err, net.ErrClosed):
				failed <- err
				return
			default: // too many files are open, or the client has left already
				pause(ctx, readingPause)
			}
		}
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return g.OnStop("tcp", func(context.Context) error { return l.Close() })
}

// stream is one connection. Each of its workers reads a query and answers it
// itself; who leaves nobody reading starts the next. The last one closes it.
type stream struct {
	s       *Server
	g       *lifecycle.Group
	conn    net.Conn
	from    netip.Addr
	workers atomic.Int32
	waiting atomic.Int32 // workers that read or wait for that

	ended atomic.Bool // nothing is read any more

	read, write sync.Mutex

	broken bool // an answer has left in part, if at all; guarded by write
}

func (s *Server) serveStream(g *lifecycle.Group, conn net.Conn) {
	c := &stream{s: s, g: g, conn: conn, from: addrOf(conn.RemoteAddr())}
	c.workers.Add(1)
	c.spawn()
}

// spawn starts a worker that is counted already.
func (c *stream) spawn() {
	if c.g.Spawn("tcp worker", c.work) != nil { // stopping
		c.leave()
	}
}

func (c *stream) leave() {
	if c.workers.Add(-1) == 0 {
		_ = c.conn.Close() // all has been written, or cannot be
	}
}

func (c *stream) work(ctx context.Context) {
	defer c.leave()
	defer context.AfterFunc(ctx, c.end)()
	var in []byte
	out := make([]byte, firstBuffer)
	for {
		waiting := c.waiting.Add(1)
		if waiting > 2 { // one reads, one is ready to
			c.waiting.Add(-1)
			return
		}
		query, err := c.next(ctx, in)
		lastReader := c.waiting.Add(-1) == 0
		if err != nil {
			return
		}
		in = query[:0]
		if lastReader && c.workers.Load() < maxPipelined {
			c.workers.Add(1)
			c.spawn()
		}
		b := c.s.respond(ctx, peer{c.from, true}, query, out)
		if b == nil { // no query: nothing that follows makes sense
			c.end()
			return
		}
		c.send(b)
		if cap(b) <= maxBuffer {
			out = b[:cap(b)]
		}
	}
}

// next reads a query, in its turn.
func (c *stream) next(ctx context.Context, buf []byte) (query []byte, err error) {
	c.read.Lock()
	defer c.read.Unlock()
	defer func() {
		if err != nil {
			c.ended.Store(true)
		}
	}()
	var length [2]byte
	for {
		if err := c.patience(ctx, tcpIdle); err != nil {
			return nil, err
		}
		n, err := io.ReadFull(c.conn, length[:])
		if err == nil {
			break
		}
		// A client that waits for answers has no reason to say anything.
		busy := c.workers.Load() > c.waiting.Load()
		if n > 0 || !busy || !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
	}
	size := int(binary.BigEndian.Uint16(length[:]))
	if size > maxQuery {
		c.s.metrics.malformed.Inc()
		return nil, io.ErrShortBuffer
	}
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	if err := c.patience(ctx, tcpTimeout); err != nil {
		return nil, err
	}
	_, err = io.ReadFull(c.conn, buf[:size])
	return buf[:size], err
}

// patience gives what is read next some time, unless it is over: whoever ends it
// says so first and then takes the time away.
func (c *stream) patience(ctx context.Context, d time.Duration) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	if c.ended.Load() {
		return io.EOF
	}
	return ctx.Err()
}

// end has nothing more read; who reads now is woken.
func (c *stream) end() {
	c.ended.Store(true)
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
}

func (c *stream) send(b []byte) {
	c.write.Lock()
	defer c.write.Unlock()
	if c.broken { // what is written now would be taken for the rest of another answer
		return
	}
	err := c.conn.SetWriteDeadline(time.Now().Add(tcpTimeout))
	if err == nil {
		length := binary.BigEndian.AppendUint16(nil, uint16(len(b)))
		_, err = (&net.Buffers{length, b}).WriteTo(c.conn)
	}
	if err != nil {
		c.s.metrics.failed.Inc()
		c.broken = true
		c.end() // a client that takes no answers has no more questions
	}
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
