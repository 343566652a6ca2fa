package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns/question"
	"github.com/legate-project/legate/internal/lifecycle"
)

// Bounds on what clients of TCP may occupy, and on buffers.
const (
	maxTCP       = 256 // connections, for each listener
	maxTCPEach   = 32  // connections of one client address, for each listener
	maxPipelined = 32  // queries of one connection that are answered at a time
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
	const response = 0x80
	if len(in) < question.HeaderSize || in[2]&response != 0 { // answering answers could go on for ever
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
		return b
	}
	x.asAsked(b)
	if !from.tcp && x.lasting() && x.asked.Read(in) {
		s.keep(x.asked, x, b)
	}
	return b
}
