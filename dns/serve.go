package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/legate-project/legate/internal/lifecycle"
)

// Bounds on what clients may occupy.
const (
	maxWorkers   = 1024 // goroutines that answer UDP queries, for each socket
	idleWorkers  = 4    // of them that may wait for packets
	maxTCP       = 256  // connections, for each listener
	maxTCPEach   = 32   // connections of one client address, for each listener
	maxQuery     = 4096 // bytes of a UDP query; more is cut and refused
	maxPipelined = 32   // queries of one connection that are answered at a time
	tcpIdle      = 8 * time.Second
	tcpTimeout   = 2 * time.Second // for a query to arrive whole, and for the answer to leave
	stopTimeout  = deadline + time.Second
	firstBuffer  = 4096     // bytes of a worker's buffer for answers
	maxBuffer    = 16 << 10 // a larger one is not kept
	readingPause = 10 * time.Millisecond
)

// Listen opens a UDP socket and a TCP listener on the same host:port. With
// port 0 the system chooses a free one for both.
func Listen(ctx context.Context, addr string) (*net.UDPConn, net.Listener, error) {
	var lc net.ListenConfig
	const tries = 10 // for a port that is free for UDP but not for TCP
	var err error
	for range tries {
		var pc net.PacketConn
		if pc, err = lc.ListenPacket(ctx, "udp", addr); err != nil {
			return nil, nil, fmt.Errorf("listen for DNS: %w", err)
		}
		conn := pc.(*net.UDPConn)
		var l net.Listener
		if l, err = lc.Listen(ctx, "tcp", conn.LocalAddr().String()); err == nil {
			return conn, l, nil
		}
		_ = conn.Close()
		if _, port, split := net.SplitHostPort(addr); split != nil || port != "0" {
			break
		}
	}
	return nil, nil, fmt.Errorf("listen for DNS: %w", err)
}

// Serve answers queries on the socket and the listener, either of which may be
// nil, until ctx ends; it closes both. It may be called for several pairs.
func (s *Server) Serve(ctx context.Context, conn *net.UDPConn, l net.Listener) error {
	g := lifecycle.New("DNS")
	failed := make(chan error, 1)
	if l != nil {
		if err := s.serveTCP(g, l, failed); err != nil {
			return err
		}
	}
	if conn != nil {
		if err := s.serveUDP(g, conn); err != nil {
			return errors.Join(err, s.stop(g))
		}
	}
	select {
	case <-ctx.Done():
		return s.stop(g)
	case err := <-failed:
		return errors.Join(fmt.Errorf("serve DNS on %s: %w", l.Addr(), err), s.stop(g))
	}
}

func (s *Server) stop(g *lifecycle.Group) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return g.Stop(ctx)
}

// udp is one socket with those who answer on it. Each worker reads a packet
// and answers it itself; whoever leaves nobody reading starts the next, so
// that a slow answer holds up no other, and a fast one needs no hand-over.
type udp struct {
	s       *Server
	g       *lifecycle.Group
	conn    *net.UDPConn
	session bool // the socket has several addresses: answer from the one asked
	reading atomic.Int64
	workers atomic.Int64
}

func (s *Server) serveUDP(g *lifecycle.Group, conn *net.UDPConn) error {
	u := &udp{s: s, g: g, conn: conn}
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok && a.IP.IsUnspecified() {
		u.session = true
		err4 := ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
		err6 := ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
		if err4 != nil && err6 != nil {
			return fmt.Errorf("serve DNS on %s: learn the addresses that queries were sent to: %w", conn.LocalAddr(), err4)
		}
	}
	context.AfterFunc(g.Context(), func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // wakes the readers
	if err := g.OnStop("udp", func(context.Context) error { return conn.Close() }); err != nil {
		return err
	}
	u.workers.Add(1)
	return g.Spawn("udp worker", u.work)
}

func (u *udp) work(ctx context.Context) {
	u.s.metrics.workers.Inc()
	defer u.s.metrics.workers.Dec()
	defer u.workers.Add(-1)
	in, out := make([]byte, maxQuery), make([]byte, firstBuffer)
	for ctx.Err() == nil {
		u.reading.Add(1)
		n, from, session, err := u.read(in)
		lastReader := u.reading.Add(-1) == 0
		if err != nil {
			u.pause(ctx, err)
			continue
		}
		if lastReader && u.workers.Load() < maxWorkers {
			u.workers.Add(1)
			if u.g.Spawn("udp worker", u.work) != nil { // stopping
				u.workers.Add(-1)
			}
		}
		client := from.Addr()
		if session != nil {
			client = addrOf(session.RemoteAddr())
		}
		b := u.s.packet(ctx, client.Unmap(), in[:n], out)
		if b != nil {
			u.write(b, from, session)
			if cap(b) <= maxBuffer {
				out = b[:cap(b)]
			}
		}
		if u.reading.Load() >= idleWorkers {
			return
		}
	}
}

func (u *udp) read(in []byte) (int, netip.AddrPort, *mdns.SessionUDP, error) {
	if u.session {
		n, session, err := mdns.ReadFromSessionUDP(u.conn, in)
		return n, netip.AddrPort{}, session, err
	}
	n, from, err := u.conn.ReadFromUDPAddrPort(in)
	return n, from, nil, err
}

func (u *udp) write(b []byte, to netip.AddrPort, session *mdns.SessionUDP) {
	var err error
	if session != nil {
		_, err = mdns.WriteToSessionUDP(u.conn, b, session)
	} else {
		_, err = u.conn.WriteToUDPAddrPort(b, to)
	}
	if err != nil {
		u.s.metrics.failed.Inc()
	}
}

// pause keeps an error that stays from keeping the processor busy.
func (u *udp) pause(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return
	}
	pause(ctx, readingPause)
}

// addrOf is the IP address of a client.
func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// peer is who asks, and how.
type peer struct {
	addr netip.Addr
	tcp  bool
}

// packet answers one UDP packet.
func (s *Server) packet(ctx context.Context, from netip.Addr, in, out []byte) []byte {
	return s.respond(ctx, peer{addr: from}, in, out)
}

// respond answers one query into out, or into a longer buffer; nil is no answer.
func (s *Server) respond(ctx context.Context, from peer, in, out []byte) []byte {
	const headerSize, response = 12, 0x80
	if len(in) < headerSize || in[2]&response != 0 { // answering answers could go on for ever
		s.metrics.malformed.Inc()
		return nil
	}
	x := s.messages.Get().(*exchange)
	defer s.messages.Put(x)
	x.reset(ctx, from.tcp)
	x.from = from.addr
	if err := x.req.Unpack(in); err != nil {
		s.metrics.malformed.Inc()
		s.metrics.answers[rcodeClass(mdns.RcodeFormatError)].Inc()
		x.out.MsgHdr = mdns.MsgHdr{Id: uint16(in[0])<<8 | uint16(in[1]), Response: true, Rcode: mdns.RcodeFormatError}
	} else {
		x.reply()
	}
	b, err := x.out.PackBuffer(out)
	if err != nil {
		s.metrics.failed.Inc()
		s.log.Error("answer cannot be packed", "question", x.owner, "error", err)
		fail := mdns.Msg{MsgHdr: x.out.MsgHdr, Question: x.req.Question}
		fail.Rcode = mdns.RcodeServerFailure
		if b, err = fail.PackBuffer(out); err != nil {
			return nil
		}
	}
	return b
}
