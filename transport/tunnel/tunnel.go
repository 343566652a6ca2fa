// Package tunnel carries packets over TCP where UDP does not get through: between a server
// and a gateway, in one connection of TLS, each packet with its length before it (two bytes,
// big endian; a length of zero is a sign of life). A gateway takes tunnels (Serve); a server
// finds out when it needs one, and when not any more (Keeper).
//
// Both ends prove who they are. What is carried is ciphertext of QUIC, which proves that once
// more between its own ends. A tunnel is a network: it drops what is more than it can take,
// and never makes who sends wait.
//
// What peers may have is bounded: tunnels in all and of each peer, the time of handshakes, the
// length of packets, bytes a second, and what waits.
package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/transport/identity"
)

// Protocol is the ALPN of tunnels.
const Protocol = version.Tunnel

// Identity is what one end shows and how it judges the other end.
type Identity interface {
	Certificate() *tls.Certificate
	Verify(rawCerts [][]byte, d identity.Direction) (identity.Peer, error)
}

// metrics of the tunnels of one process.
type metrics struct {
	reg     prometheus.Registerer
	open    prometheus.Gauge
	in, out prometheus.Counter
	dropped prometheus.Counter
	all     []prometheus.Collector
}

func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_gateway_tunnel_bytes_total",
		Help: "Bytes that tunnels carried over TCP, because UDP does not get through."}, []string{"direction"})
	m := &metrics{reg: reg, in: bytes.WithLabelValues("in"), out: bytes.WithLabelValues("out"),
		open: prometheus.NewGauge(prometheus.GaugeOpts{Name: "legate_gateway_tunnels",
			Help: "Tunnels over TCP between servers and gateways: of a server those that are in use because UDP does not get through, of a gateway those that it has taken. Worry: of a server, any for long."}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_gateway_tunnel_dropped_packets_total",
			Help: "Packets that tunnels dropped, because there were more than TCP or the peer takes. Worry: it rises for long."})}
	m.all = []prometheus.Collector{bytes, m.open, m.dropped}
	reg.MustRegister(m.all...)
	return m
}

func (m *metrics) unregister() {
	for _, c := range m.all {
		m.reg.Unregister(c)
	}
}

// config is mutual TLS by the identity; judge says why a peer is refused, nil if it is not.
func config(id Identity, d identity.Direction, judge func(identity.Peer) error) *tls.Config {
	certificate := func() (*tls.Certificate, error) {
		if c := id.Certificate(); c != nil {
			return c, nil
		}
		return nil, errNobody
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{Protocol}, ServerName: "legate",
		InsecureSkipVerify: true, // names are not what identifies a node: its identity is
		ClientAuth:         tls.RequireAnyClientCert,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			p, err := id.Verify(raw, d)
			if err != nil {
				return err
			}
			return judge(p)
		},
		SessionTicketsDisabled: true, // resumption would go past that
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate() },
	}
}

var (
	errNobody     = errors.New("this agent has no identity yet, or not any more")
	errNoProtocol = errors.New("the other end speaks another protocol")
)

// peerOf is who stands at the other end of a connection whose handshake is over.
func peerOf(id Identity, d identity.Direction, state tls.ConnectionState) (identity.Peer, error) {
	if state.NegotiatedProtocol != Protocol {
		return identity.Peer{}, errNoProtocol
	}
	var raw [][]byte
	for _, c := range state.PeerCertificates {
		raw = append(raw, c.Raw)
	}
	return id.Verify(raw, d)
}

// segment is how many bytes of TCP go into one packet, in both directions, with which it fits a
// path of 1,280 bytes over IPv6: a router that drops larger ones and does not say so would hold up
// a tunnel for ever.
const segment = 1220

// Listen listens for tunnels at an address, host:port.
func Listen(addr string) (net.Listener, error) {
	how := net.ListenConfig{Control: short}
	return how.Listen(context.Background(), "tcp", addr)
}

// dial makes a tunnel to a gateway. It has come about when the gateway has sent something: its
// side of the handshake ends after this one's.
func dial(ctx context.Context, id Identity, addr string, local net.IP) (net.Conn, identity.Peer, error) {
	d := net.Dialer{Control: short}
	if local != nil {
		d.LocalAddr = &net.TCPAddr{IP: local}
	}
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, identity.Peer{}, err
	}
	conn := tls.Client(raw, config(id, identity.Outgoing, func(p identity.Peer) error {
		if !p.Gateway {
			return fmt.Errorf("%s is no gateway", p)
		}
		return nil
	}))
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	peer, err := greeted(ctx, id, conn)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, identity.Peer{}, errors.Join(err, raw.Close())
	}
	return conn, peer, nil
}

func greeted(ctx context.Context, id Identity, conn *tls.Conn) (identity.Peer, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return identity.Peer{}, fmt.Errorf("handshake: %w", err)
	}
	var b [head]byte
	if n, err := conn.Read(b[:]); err != nil {
		return identity.Peer{}, fmt.Errorf("it is not let in: %w", err)
	} else if n != head || b != [head]byte{} {
		return identity.Peer{}, errNoProtocol
	}
	return peerOf(id, identity.Outgoing, conn.ConnectionState())
}
