package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go"

	"github.com/legate-project/legate/transport/counted"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/silence"
)

// conn is one verified connection, dialled or accepted.
type conn struct {
	e        *Endpoint
	qc       *quic.Conn
	protocol string
	serve    Protocol
	remote   Remote
	keys     [3]peerKey // in Endpoint.byPeer
	path     *path      // nil for an accepted one
	out      chan []byte
	began    time.Time

	muxMu sync.Mutex
	mux   *muxStream // the stream that small requests share; nil until the first, and after it broke

	series     connSeries
	sent, read counted.Bytes // of requests and of their answers

	seenMu sync.Mutex
	seen   seen // counters that the path's loss has taken in

	inFlight atomic.Int64 // streams of both directions
	lastUsed atomic.Int64 // time of the last use, Unix nanoseconds
	retired  atomic.Bool  // it takes no new requests: see Renew
	silence  *silence.Watch
}

// verified is a connection to a peer whose identity is known. It is whole: calls use one that is
// dialled before it is registered.
func (e *Endpoint) verified(qc *quic.Conn, protocol string, peer identity.Peer) *conn {
	proto, _ := e.protocol(protocol)
	c := &conn{e: e, qc: qc, protocol: protocol, serve: proto, began: time.Now(),
		remote: Remote{Peer: peer, Addr: qc.RemoteAddr()}, out: make(chan []byte, datagramQueue)}
	c.remote.Link = Link{c}
	c.keys = c.peerKeys()
	c.silence = c.watch()
	c.series = e.metrics.of(c)
	return c
}

// start registers the connection and runs what serves it.
func (e *Endpoint) start(c *conn) error {
	c.touch()
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		c.close(codeShutdown, "shutting down")
		if c.path != nil {
			c.path.lost(c, ErrClosed)
		}
		return ErrClosed
	}
	e.conns[c] = struct{}{}
	for _, k := range c.keys {
		e.byPeer[k] = append(e.byPeer[k], c)
	}
	e.mu.Unlock()

	err := e.group.Spawn("connection", func(context.Context) { c.run() })
	if err == nil && c.serve.Datagram != nil {
		err = errors.Join(
			e.group.Spawn("datagrams in", func(context.Context) { c.receive() }),
			e.group.Spawn("datagrams out", func(context.Context) { c.send() }),
		)
	}
	if err != nil {
		c.close(codeShutdown, "shutting down")
		e.forgetConn(c, ErrClosed)
		return ErrClosed
	}
	return nil
}

// run accepts streams until the connection ends.
func (c *conn) run() {
	for {
		qs, err := c.qc.AcceptStream(context.Background())
		if err != nil {
			c.e.forgetConn(c, err)
			return
		}
		c.touch()
		if c.serve.Serve == nil && c.serve.Answer == nil || c.e.served.Load() >= maxServed {
			qs.CancelRead(codeBusy)
			qs.CancelWrite(codeBusy)
			continue
		}
		c.e.served.Add(1)
		s := c.wrap(qs, c.series.in)
		err = c.e.workers.Do(func(context.Context) {
			defer c.e.served.Add(-1)
			defer s.Close()
			if c.serve.Answer != nil {
				c.answer(qs.Context(), s)
				return
			}
			c.serve.Serve(qs.Context(), c.remote, s)
		})
		if err != nil {
			c.e.served.Add(-1)
			s.Cancel()
		}
	}
}

func (c *conn) receive() {
	for {
		b, err := c.qc.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		c.touch()
		c.serve.Datagram(c.remote, b, time.Now())
	}
}

func (c *conn) send() {
	done := c.qc.Context().Done()
	for {
		select {
		case <-done:
			return
		case b := <-c.out:
			if err := c.qc.SendDatagram(b); err != nil {
				c.e.metrics.dropped("failed")
			}
		}
	}
}

// offer queues a datagram; false if the queue is full.
func (c *conn) offer(b []byte) bool {
	c.touch()
	select {
	case c.out <- b:
		return true
	default:
		return false
	}
}

func (c *conn) touch() { c.lastUsed.Store(time.Now().UnixNano()) }

func (c *conn) alive() bool { return c.qc.Context().Err() == nil }

// fit reports whether the connection takes requests.
func (c *conn) fit() bool { return c.alive() && !c.retired.Load() && !c.silence.Silent() }

// watch makes the connection's watch: who is given up costs the connection.
func (c *conn) watch() *silence.Watch {
	return silence.New(silence.Link{
		Received: func() uint64 { return c.qc.ConnectionStats().PacketsReceived },
		Waiting:  func() bool { return c.alive() && c.inFlight.Load() > 0 },
		Patience: func() time.Duration {
			least, trips := c.e.cfg.DeafAfter, time.Duration(deafTrips)
			if c.e.cfg.Hasty(c.remote) {
				least, trips = min(least, hastyAfter), hastyTrips
			}
			return c.slack() * max(least, trips*c.qc.ConnectionStats().SmoothedRTT)
		},
		Probe: func() { _ = c.qc.SendDatagram(nil) }, // fails once the connection has ended
		Gone: func() {
			c.e.cfg.Silent(c.remote) // first: who was waiting asks again at once
			if c.path != nil {
				c.path.slack.GaveUp(c.remote.Addr.String())
			}
			c.close(codeDeaf, "no answer to anything")
		},
	})
}

// slack multiplies the patience with a peer that was dialled.
func (c *conn) slack() time.Duration {
	if c.path == nil {
		return 1
	}
	return c.path.slack.Factor()
}

// Remotes are the other ends of all connections for a protocol; "" is any.
func (e *Endpoint) Remotes(protocol string) []Remote {
	var out []Remote
	for _, c := range e.snapshot() {
		if protocol == "" || c.protocol == protocol {
			out = append(out, c.remote)
		}
	}
	return out
}

// gaveUp notes that a call ended without an answer: a silent connection is not chosen.
func (c *conn) gaveUp(since silence.Mark) {
	c.silence.GaveUp(since, max(minSilence, silentTrips*c.qc.ConnectionStats().SmoothedRTT))
}

// idle says since when nothing used the connection, if nothing does.
func (c *conn) idle(now time.Time) time.Duration {
	if c.inFlight.Load() > 0 {
		return 0
	}
	return now.Sub(time.Unix(0, c.lastUsed.Load()))
}

func (c *conn) close(code quic.ApplicationErrorCode, text string) {
	// The peer may be gone: there is nobody to tell an error.
	_ = c.qc.CloseWithError(code, text)
}

// open opens a stream, waiting while the peer allows no more.
func (c *conn) open(ctx context.Context) (*stream, error) {
	qs, err := c.qc.OpenStreamSync(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ended(ctx, ErrUnreachable)
		}
		return nil, connError(err, false)
	}
	c.touch()
	return c.wrap(qs, c.series.out), nil
}

func (c *conn) wrap(qs *quic.Stream, opened prometheus.Counter) *stream {
	c.inFlight.Add(1)
	opened.Inc()
	return &stream{Stream: qs, c: c}
}

// forgetConn is called once, when the connection has ended.
func (e *Endpoint) forgetConn(c *conn, cause error) {
	e.mu.Lock()
	e.metrics.links.closed(c)
	delete(e.conns, c)
	for _, k := range c.keys {
		if e.byPeer[k] = without(e.byPeer[k], c); len(e.byPeer[k]) == 0 {
			delete(e.byPeer, k)
		}
	}
	e.mu.Unlock()
	if c.path != nil {
		c.path.lost(c, cause)
	}
	if gone(cause) {
		e.gaveUp(c)
	}
	err := connError(cause, false)
	if errors.Is(err, ErrRefused) && !errors.Is(err, ErrNoProtocol) {
		e.warnRefused("Peer refused the connection", c.remote.Addr, c.protocol, err)
	}
}

// Expel closes the connections to peers that match, as refused for the reason, and
// returns how many there were. Whether they come back is for Protocol.Admit to
// say.
func (e *Endpoint) Expel(match func(identity.Peer) bool, why string) int {
	n := 0
	for _, c := range e.snapshot() {
		if match(c.remote.Peer) {
			c.close(codeNotAdmitted, why[:min(len(why), maxReason)])
			n++
		}
	}
	return n
}

// warnRefused writes the one line about a refused peer, not too often.
func (e *Endpoint) warnRefused(message string, addr net.Addr, protocol string, err error) {
	if e.warn.Allow() {
		e.log.Warn(message, "address", addr.String(), "protocol", protocol, "error", err)
	}
}

func without(list []*conn, c *conn) []*conn {
	return slices.DeleteFunc(slices.Clone(list), func(other *conn) bool { return other == c })
}

// stream implements Stream.
type stream struct {
	*quic.Stream
	c        *conn
	released atomic.Bool
}

var _ Stream = (*stream)(nil)

func (s *stream) release() {
	if s.released.CompareAndSwap(false, true) {
		s.c.touch()
		s.c.inFlight.Add(-1)
	}
}

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	return n, streamError(err)
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	return n, streamError(err)
}

// streamError tells the kind of a stream's error; the end of the stream and a
// deadline of the caller's are none.
func streamError(err error) error {
	if err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return connError(err, true)
}

// Close implements Stream.
func (s *stream) Close() error {
	err := s.Stream.Close()
	s.CancelRead(codeNone)
	s.release()
	if err != nil && !s.c.alive() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("close stream to %s: %w", s.c.remote.Addr, err)
	}
	return nil
}

// CloseWrite implements Stream.
func (s *stream) CloseWrite() error { return s.Stream.Close() }

// Cancel implements Stream.
func (s *stream) Cancel() {
	s.CancelWrite(codeCancelled)
	s.CancelRead(codeCancelled)
	s.release()
}

// Remote implements Stream.
func (s *stream) Remote() Remote { return s.c.remote }

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return s.c.qc.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return s.c.remote.Addr }
