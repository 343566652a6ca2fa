package tunnel

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/relay"
)

const (
	// maxTunnels bounds the connections of a gateway, maxPerHost those of one address (servers
	// behind one router), and maxProving those whose handshake is not over.
	maxTunnels = 1024
	maxPerHost = 256
	maxProving = 128
	// maxOfPeer bounds the tunnels of one server: of more the oldest is closed, which may be one
	// that a router forgot.
	maxOfPeer = 4
	// handshakeTime is how long a handshake may take.
	handshakeTime = 5 * time.Second
	// burstTime is how much of a second's bytes may come at once.
	burstTime = 4
)

// ServerConfig makes a Server.
type ServerConfig struct {
	// Listener takes connections; the Server owns it. Required, as are Identity and Board.
	Listener net.Listener
	Identity Identity
	// Board is that of the socket which packets of tunnels seem to come in by.
	Board *relay.Board
	// Refuse returns why servers of a datacenter are refused; nil refuses none.
	Refuse func(datacenter string) error
	// Rate is how many bytes a second one tunnel may bring; 0 for no bound.
	Rate int

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Server takes tunnels. It is safe for concurrent use.
type Server struct {
	cfg     ServerConfig
	group   *lifecycle.Group
	metrics *metrics

	mu    sync.Mutex
	next  uint64
	links map[uint64]*link
}

// Serve takes tunnels from servers until Stop.
func Serve(cfg ServerConfig) (*Server, error) {
	if cfg.Refuse == nil {
		cfg.Refuse = func(string) error { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = logging.Discard()
	}
	s := &Server{cfg: cfg, group: lifecycle.New("tunnels"), metrics: newMetrics(cfg.Registerer), links: map[uint64]*link{}}
	gate := admission.New(admission.Bounds{Total: maxTunnels, Each: maxPerHost, Proving: maxProving}, nil)
	l := admission.ListenTLS(cfg.Listener, gate, config(cfg.Identity, identity.Incoming, s.admit), func() time.Duration { return handshakeTime })
	if err := s.group.Go("accept tunnels", func(ctx context.Context) { s.accept(ctx, l) }); err != nil {
		return nil, err
	}
	return s, nil
}

// Stop ends all tunnels.
func (s *Server) Stop(ctx context.Context) error {
	_ = s.cfg.Listener.Close() // it ends either way
	s.Renew()
	defer s.metrics.unregister()
	return s.group.Stop(ctx)
}

// Renew ends the tunnels that there are: who is at their other ends is to be proven again.
func (s *Server) Renew() {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.links))
	s.mu.Unlock()
	for _, l := range all {
		l.end(errClosed)
	}
}

// EndRefused ends the tunnels of servers of datacenters that are refused now.
func (s *Server) EndRefused() {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.links))
	s.mu.Unlock()
	for _, l := range all {
		if why := s.cfg.Refuse(l.peer.Datacenter); why != nil {
			l.end(why)
		}
	}
}

func (s *Server) admit(p identity.Peer) error {
	if !p.Server {
		return fmt.Errorf("tunnels are for servers, and this is %s", p)
	}
	return s.cfg.Refuse(p.Datacenter)
}

// acceptPause is how long it waits when no connection can be accepted: no file may be open more.
const acceptPause = 50 * time.Millisecond

func (s *Server) accept(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || s.group.Context().Err() != nil {
			return
		}
		if err != nil {
			select {
			case <-s.group.Context().Done():
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		if s.group.Spawn("tunnel", func(context.Context) { s.serve(c) }) != nil {
			_ = c.Close() // it stops
			return
		}
	}
}

// serve carries what one connection brings until it ends.
func (s *Server) serve(c net.Conn) {
	log := s.cfg.Log.With("address", c.RemoteAddr().String())
	if _, err := c.Write([]byte{0, 0}); err != nil { // with the handshake before it
		log.Debug("a tunnel was not let in", "error", err)
		_ = c.Close()
		return
	}
	peer, err := peerOf(s.cfg.Identity, identity.Incoming, c.(interface{ ConnectionState() tls.ConnectionState }).ConnectionState())
	if err != nil {
		log.Debug("a tunnel was not let in", "error", err)
		_ = c.Close()
		return
	}
	n, stands, l := s.add(c, peer)
	s.metrics.open.Inc()
	log.Info("a server comes by TCP, since UDP does not get through", "server", peer.FullName())
	if l.run(s.group) == nil {
		<-l.gone
	}
	s.cfg.Board.Divert(stands, nil)
	s.metrics.open.Dec()
	s.mu.Lock()
	delete(s.links, n)
	s.mu.Unlock()
	log.Info("a tunnel over TCP has ended", "server", peer.FullName(), "error", l.why)
}

// add notes a tunnel, in place of the oldest one if its peer has too many.
func (s *Server) add(c net.Conn, peer identity.Peer) (n uint64, stands *net.UDPAddr, l *link) {
	s.mu.Lock()
	s.next++
	n = s.next
	stands = relay.TunnelAddr(n)
	l = newLink(c, peer, s.metrics, func(b []byte) bool { return s.cfg.Board.Deliver(stands, b) })
	if s.cfg.Rate > 0 {
		l.limit = rate.NewLimiter(rate.Limit(s.cfg.Rate), max(s.cfg.Rate/burstTime, relay.MaxPacket))
	}
	var same []uint64
	for k, other := range s.links {
		if other.peer.NodeID == peer.NodeID && other.peer.FullName() == peer.FullName() {
			same = append(same, k)
		}
	}
	var oldest *link
	if len(same) >= maxOfPeer {
		oldest = s.links[slices.Min(same)]
	}
	s.links[n] = l
	s.mu.Unlock()
	s.cfg.Board.Divert(stands, l)
	if oldest != nil {
		oldest.end(errTooMany)
	}
	return n, stands, l
}
