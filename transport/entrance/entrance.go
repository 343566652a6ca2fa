// Package entrance is how QUIC connections from outside are let in, from the first packet
// of the handshake until they are closed: so many handshakes a second, so many under way,
// so many connections, of one address and in all.
//
// It does not judge who is at the other end.
package entrance

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"github.com/legate-project/legate/internal/admission"
)

// Bounds of what peers may cause before they are known.
const (
	// maxConnections bounds connections from outside, maxPerHost those from one IP
	// address, and maxProving those whose handshake is not over.
	maxConnections = 2048
	maxPerHost     = 256
	maxProving     = 512
	// maxHandshakes is how many handshakes a second begin at all.
	maxHandshakes = 512
	// unprovenHandshakes is how many handshakes a second, from addresses that are not
	// proven, begin without a proof (a QUIC Retry), and maxUnproven how many are under
	// way when a proof is demanded of all: less than the share of one address.
	unprovenHandshakes = 64
	maxUnproven        = 32
)

// Bounds are those of a gate, unless something else is configured.
func Bounds() admission.Bounds {
	return admission.Bounds{Total: maxConnections, Each: maxPerHost, Proving: maxProving}
}

var errTooMany = errors.New("too many handshakes a second")

// Config says how connections are let in.
type Config struct {
	// Gate counts them; nil for one with Bounds.
	Gate *admission.Gate
	// Handshake is how long one may take, asked for each. Required.
	Handshake func() time.Duration
	// Failed is told of handshakes that did not end well. Required.
	Failed func(from net.Addr, cause error)
}

// Entrance is that of one socket. It is safe for concurrent use.
type Entrance struct {
	cfg      Config
	rate     *rate.Limiter // of all handshakes
	unproven *rate.Limiter // of those from addresses that are not proven
}

// New returns an entrance.
func New(cfg Config) *Entrance {
	if cfg.Gate == nil {
		cfg.Gate = admission.New(Bounds(), nil)
	}
	return &Entrance{cfg, rate.NewLimiter(maxHandshakes, maxHandshakes), rate.NewLimiter(unprovenHandshakes, 2*unprovenHandshakes)}
}

// ErrNobody is why a handshake fails while this end has no certificate.
var ErrNobody = errors.New("this agent has no identity yet, or not any more")

// TLS asks who connects for a certificate and leaves its judgement to who accepts the
// connection, right after the handshake and before anything is read: so the reason of a
// refusal can be told to the peer in words. What this end shows, nil for nothing, and the
// protocols that it serves are asked for each handshake.
func TLS(certificate func() *tls.Certificate, protocols func() []string) *tls.Config {
	base := &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		own := certificate()
		if own == nil {
			return nil, ErrNobody
		}
		c := base.Clone()
		c.GetConfigForClient = nil
		c.Certificates, c.NextProtos = []tls.Certificate{*own}, protocols()
		return c, nil
	}
	return base
}

// Guard has a transport let connections in here.
func (e *Entrance) Guard(t *quic.Transport) {
	t.VerifySourceAddress, t.ConnContext = e.demandsProof, e.begin
}

// For is the configuration of connections from outside, made of that of all.
func (e *Entrance) For(all *quic.Config) *quic.Config {
	c := all.Clone()
	c.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) {
		own := all.Clone()
		own.HandshakeIdleTimeout = e.cfg.Handshake() / 2 // QUIC gives up after twice that time
		return own, nil
	}
	return c
}

// demandsProof has addresses proven, by a QUIC Retry, once there are so many handshakes
// that some may come from addresses that are made up. These never take the share of an
// address whose name they use.
func (e *Entrance) demandsProof(net.Addr) bool {
	_, proving := e.cfg.Gate.Open()
	return proving >= maxUnproven || !e.unproven.Allow()
}

// visitor is what a connection's context carries.
type visitor struct {
	*admission.Place
	accepted atomic.Bool // its handshake is over
}

type visitorKey struct{}

// begin is a quic.Transport.ConnContext: its context ends with the connection.
func (e *Entrance) begin(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if !e.rate.Allow() {
		return nil, errTooMany
	}
	place, err := e.cfg.Gate.Enter(info.RemoteAddr)
	if err != nil {
		return nil, err
	}
	v := &visitor{Place: place}
	context.AfterFunc(ctx, func() {
		v.Leave()
		if !v.accepted.Load() {
			e.cfg.Failed(info.RemoteAddr, context.Cause(ctx))
		}
	})
	return context.WithValue(ctx, visitorKey{}, v), nil
}

// Accepted notes that the handshake of a connection from outside is over: who gives it
// up from now on says so itself.
func Accepted(qc *quic.Conn) {
	if v, ok := qc.Context().Value(visitorKey{}).(*visitor); ok {
		v.accepted.Store(true)
	}
}

// Proven notes that it is known who is at the other end of a connection from outside.
func Proven(qc *quic.Conn) {
	if v, ok := qc.Context().Value(visitorKey{}).(*visitor); ok {
		v.Proven()
	}
}
