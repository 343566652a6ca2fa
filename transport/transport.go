// Package transport is one QUIC endpoint on one UDP socket: mutual TLS 1.3,
// several protocols told apart by ALPN, a pool of connections for each peer
// and protocol, requests on streams of their own and datagrams.
//
// It promises that nothing is handed to a protocol before the peer's identity
// is verified, that SendDatagram never blocks, that a call ends when its
// context does, and that what a peer may make it hold is bounded. It does not
// repeat requests that may have been executed, knows nothing of what the
// bytes mean and does not choose among peers.
//
// Connections work in both directions: a peer that dialled may be answered
// and called on the connection that it made.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/transport/chunk"
	"github.com/legate-project/legate/transport/entrance"
	"github.com/legate-project/legate/transport/identity"
)

// Bounds of what peers may cause; see also frame.go.
const (
	// MaxDatagram is the largest datagram, in bytes: what fits a QUIC packet
	// on any path that carries 1200 bytes.
	MaxDatagram = 1100
	// maxStreams bounds the requests in progress on one connection from the
	// peer; who is at the bound waits.
	maxStreams = 4096
	// maxServed bounds the requests in progress on the whole endpoint; one
	// above it is refused as busy.
	maxServed = 16384
	// idleWorkers is how many goroutines stay for the next requests.
	idleWorkers = 128
	// maxPaths bounds the pairs of target and protocol known at a time.
	maxPaths = 4096
	// datagramQueue is how many datagrams wait on one connection.
	datagramQueue = 128
	// growAt is how many requests are in flight on each connection of a path
	// before another is dialled.
	growAt = 2
	// growSharedAt is the same where requests share a stream.
	growSharedAt = 512
	// silentTrips is after how many round trips without a packet an
	// unanswered call casts doubt on its connection; minSilence is the least.
	silentTrips = 3
	minSilence  = 100 * time.Millisecond
	// deafTrips is after how many round trips without any packet a connection
	// with an unanswered call is dropped; deafAfter is the least, unless
	// configured. In 3 s QUIC has repeated the request several times: loss alone
	// does not explain it.
	deafTrips = 10
	deafAfter = 3 * time.Second
	// hastyTrips and hastyAfter are the same where another way leads there.
	hastyTrips = 8
	hastyAfter = 600 * time.Millisecond
	// firstBackoff and lastBackoff bound the pause after a failed dial.
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second
	// longestHandshake is up to what the time for a handshake doubles after failures, unless it is longer from the
	// beginning: what waits for a dial that fails, as the question who else reaches a datacenter, does not wait for more.
	longestHandshake = 5 * time.Second
	// refusedBackoff is the pause after a refusal: only a change of
	// configuration can help.
	refusedBackoff = 5 * time.Second
	// sweepEvery is how often idle connections are looked for.
	sweepEvery = 10 * time.Second
	// warnEvery is the mean time between lines about refused peers.
	warnEvery = 10 * time.Second
	// warnBurst is how many of those lines may come at once.
	warnBurst = 5
)

// Target says whom to reach and where.
type Target struct {
	Addr   string // host:port, UDP
	NodeID string // who must answer there; "" for any
	Name   string // node or node.datacenter that must answer there; "" for any
}

// Remote is the other end of a connection.
type Remote struct {
	Peer identity.Peer
	Addr net.Addr // as it was when the connection came about
	Link Link
}

// Link is a connection, for what belongs to it beside what goes over it.
type Link struct{ c *conn }

// Addr is where the peer is now: QUIC follows a peer whose address changes once that has
// answered there (RFC 9000 section 9). It never blocks.
func (l Link) Addr() *net.UDPAddr {
	addr, _ := l.c.qc.RemoteAddr().(*net.UDPAddr)
	return addr
}

// Local is the address of this host that the peer knows; the unspecified one, or nil, if it
// dialled none.
func (l Link) Local() net.IP {
	if addr, ok := l.c.qc.LocalAddr().(*net.UDPAddr); ok {
		return addr.IP
	}
	return nil
}

// Doubt has the connection given up unless the peer shows soon that it lives.
func (l Link) Doubt() { l.c.silence.Doubt() }

// End closes the connection; requests in flight are lost.
func (l Link) End(why string) { l.c.close(codeShutdown, why[:min(len(why), maxReason)]) }

// RTT is the smoothed round trip, 0 before the first.
func (l Link) RTT() time.Duration { return l.c.qc.ConnectionStats().SmoothedRTT }

// Sent is how many packets were sent, and how many of them were lost.
func (l Link) Sent() (packets, lost uint64) {
	s := l.c.qc.ConnectionStats()
	return s.PacketsSent, s.PacketsLost
}

// RoundTrip is Endpoint.RoundTrip over this connection and no other.
func (l Link) RoundTrip(ctx context.Context, body []byte) ([]byte, error) {
	if len(body) > MaxRequest {
		return nil, fmt.Errorf("call %s: request of %d bytes, %d allowed: %w", l.c.remote.Addr, len(body), MaxRequest, ErrTooLarge)
	}
	answer, err := l.c.call(ctx, nil, body)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", l.c.remote.Addr, err)
	}
	return answer, nil
}

// Done is closed when the connection has ended.
func (l Link) Done() <-chan struct{} { return l.c.qc.Context().Done() }

// Stream is one bidirectional stream. Close ends both directions: what was
// written is still delivered, what was not read is dropped. An error of Read
// or Write that is neither io.EOF nor the stream's deadline is of a kind as
// those of RoundTrip.
type Stream interface {
	net.Conn
	// CloseWrite ends this end's direction; the peer reads io.EOF.
	CloseWrite() error
	// Cancel ends both directions at once; what was not delivered is lost.
	// It may be called while others read and write.
	Cancel()
	// Remote is the other end.
	Remote() Remote
}

// Identity is what one end shows and how it judges the other end.
type Identity interface {
	// Certificate is what this end shows, nil while it is nobody; asked for each handshake.
	Certificate() *tls.Certificate
	// Verify says who the certificates belong to, or why they are refused: an
	// error that wraps one of package identity.
	Verify(rawCerts [][]byte, d identity.Direction) (identity.Peer, error)
}

var (
	_ Identity = (*identity.Derived)(nil)
	_ Identity = (*identity.SelfSigned)(nil)
	_ Identity = (*identity.Delegated)(nil)
)

// Protocol is how one ALPN is served and dialled.
type Protocol struct {
	// Serve handles one stream that a peer opened; it is called on a
	// goroutine of its own and the stream is closed when it returns. The
	// context ends when the peer gives up or the connection is lost. With
	// nil, streams are refused.
	Serve func(ctx context.Context, from Remote, s Stream)
	// Answer handles one request and returns its answer, in place of Serve; it
	// is called on a goroutine of its own. The context ends when who asked
	// gives up or the connection is lost.
	Answer func(ctx context.Context, from Remote, request []byte) []byte
	// Shared has the requests that this end sends share a stream of each
	// connection while they are small. That is several times cheaper than a
	// stream for each, and a lost packet delays all that come after it: for
	// networks that lose hardly any.
	Shared bool
	// Lossy is for networks that may lose packets: a request goes on the
	// connection with the most room in its congestion window, and a small one on
	// two at once while the path loses packets. The other end carries it out
	// once, whichever copy comes first. It takes Answer there.
	Lossy bool
	// Grow is how many requests are in flight on each connection before another
	// is dialled; 0 is 2, with Shared more.
	Grow int
	// Datagram handles one datagram and the time it was received. Calls come
	// one at a time for each connection and must not block.
	Datagram func(from Remote, b []byte, received time.Time)
	// Admit says who may use the protocol; nil admits all that the identity
	// verifies. Its error is sent to the peer: name no secrets.
	Admit func(identity.Peer) error
	// Gateways may use the protocol: all others refuse them, whichever end dialled.
	Gateways bool
	// From is how who connects is judged: as Incoming, or as Newcomer.
	From identity.Direction
	// PoolSize overrides Config.PoolSize; 0 keeps it.
	PoolSize int
	// IdleDrop overrides Config.IdleDrop, asked each time; nil keeps it.
	IdleDrop func() time.Duration
}

// Config makes an Endpoint. Zero values of durations and numbers mean the
// default.
type Config struct {
	// Name tells endpoints of one process apart: a label of the metrics.
	Name string
	// Conn is the socket; the endpoint owns it and closes it.
	Conn net.PacketConn
	// Identity is required.
	Identity Identity
	// Protocols by ALPN; more may be added with Handle.
	Protocols map[string]Protocol
	// PoolSize is the most connections to one target for one protocol, 4.
	PoolSize int
	// StatelessResetKey lets peers notice at once that this process was
	// restarted, if the caller keeps it across restarts; nil for none.
	StatelessResetKey *[32]byte
	// HandshakeTimeout bounds a dial, 5 s; a shorter one doubles after failures, up to that.
	HandshakeTimeout time.Duration
	// Gate bounds connections from outside, in place of the usual bounds; nil keeps
	// them. AcceptTimeout is how long their handshakes may take, asked for each; nil
	// is twice HandshakeTimeout.
	Gate          *admission.Gate
	AcceptTimeout func() time.Duration
	// DeafAfter is after how long without a packet since a request was sent a
	// peer counts as gone, at least 10 round trips; 3 s.
	DeafAfter time.Duration
	// IdleTimeout is after how long without a packet a peer counts as gone,
	// 12 s.
	IdleTimeout time.Duration
	// KeepAlive is how often a packet is sent on an idle connection, 4 s.
	KeepAlive time.Duration
	// IdleDrop is after how long without use a connection is closed, 2 min.
	IdleDrop time.Duration
	// SmallPackets keeps packets at 1,200 bytes. Otherwise they grow to what the path takes, and
	// connections with large ones stand still if it takes those no more.
	SmallPackets bool
	// Route calls dial with addresses of a target, at once if it likes; nil is the target's own.
	// The first connection counts. A nil Route dials the target's own.
	Route func(ctx context.Context, t Target, protocol string, dial func(context.Context, *net.UDPAddr) error) error
	// Hasty reports whether there is another way to a peer: then it counts as gone after 8
	// round trips without a packet since a request was sent, and 0.6 s at least. Silent is told of
	// each peer that counts as gone; neither may block. Nil is never, and nobody.
	Hasty  func(Remote) bool
	Silent func(Remote)

	Log        *slog.Logger
	Registerer prometheus.Registerer // nil for none
}

// longestHandshake is the most that a dial may take.
func (c Config) longestHandshake() time.Duration { return max(c.HandshakeTimeout, longestHandshake) }

func (c Config) withDefaults() Config {
	if c.PoolSize <= 0 {
		c.PoolSize = 4
	}
	if c.HandshakeTimeout <= 0 {
		c.HandshakeTimeout = 5 * time.Second
	}
	if c.DeafAfter <= 0 {
		c.DeafAfter = deafAfter
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = 12 * time.Second
	}
	if c.KeepAlive <= 0 {
		c.KeepAlive = 4 * time.Second
	}
	if c.IdleDrop <= 0 {
		c.IdleDrop = 2 * time.Minute
	}
	if c.AcceptTimeout == nil {
		dial := c.HandshakeTimeout
		c.AcceptTimeout = func() time.Duration { return 2 * dial }
	}
	if c.Route == nil {
		c.Route = func(ctx context.Context, _ Target, _ string, dial func(context.Context, *net.UDPAddr) error) error {
			return dial(ctx, nil)
		}
	}
	if c.Hasty == nil {
		c.Hasty = func(Remote) bool { return false }
	}
	if c.Silent == nil {
		c.Silent = func(Remote) {}
	}
	if c.Log == nil {
		c.Log = logging.Discard()
	}
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Conn == nil:
		return errors.New("open transport: no socket")
	case c.Identity == nil:
		return errors.New("open transport: no identity")
	}
	return nil
}

// Endpoint is one socket with everything that runs over it. Its methods are
// safe for concurrent use.
type Endpoint struct {
	cfg        Config
	log        *slog.Logger
	metrics    *metrics
	group      *lifecycle.Group
	transport  *quic.Transport
	listener   *quic.Listener
	quic       *quic.Config
	protocols  atomic.Pointer[map[string]Protocol]
	warn       *rate.Limiter
	served     atomic.Int64
	numbers    numbers
	duplicates duplicates
	workers    *lifecycle.Workers // serve streams and requests
	buffers    chunk.Buffers

	mu     sync.Mutex
	closed bool
	paths  map[pathKey]*path
	conns  map[*conn]struct{}
	byPeer map[peerKey][]*conn

	behind atomic.Pointer[map[string]struct{}]
}

// New opens the endpoint on cfg.Conn: it listens at once. When it fails the
// socket is the caller's again.
func New(cfg Config) (*Endpoint, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	e := &Endpoint{
		cfg:        cfg,
		log:        cfg.Log,
		group:      lifecycle.New("transport"),
		warn:       rate.NewLimiter(rate.Every(warnEvery), warnBurst),
		paths:      map[pathKey]*path{},
		conns:      map[*conn]struct{}{},
		byPeer:     map[peerKey][]*conn{},
		duplicates: duplicates{origins: map[originKey]*origin{}},
		quic: &quic.Config{
			HandshakeIdleTimeout:           cfg.longestHandshake(), // each dial has its own
			MaxIdleTimeout:                 cfg.IdleTimeout,
			KeepAlivePeriod:                cfg.KeepAlive,
			MaxIncomingStreams:             maxStreams,
			MaxIncomingUniStreams:          -1,
			EnableDatagrams:                true,
			InitialPacketSize:              1200, // it fits paths of 1,280 bytes, also with a label
			DisablePathMTUDiscovery:        cfg.SmallPackets,
			InitialConnectionReceiveWindow: 2 << 20,
		},
	}
	e.behind.Store(&map[string]struct{}{})
	e.numbers.init()
	e.workers = lifecycle.NewWorkers(e.group, "request", idleWorkers)
	protocols := maps.Clone(cfg.Protocols)
	if protocols == nil {
		protocols = map[string]Protocol{}
	}
	e.protocols.Store(&protocols)
	var err error
	if e.metrics, err = newMetrics(prometheus.WrapRegistererWith(prometheus.Labels{"endpoint": cfg.Name}, cfg.Registerer), e); err != nil {
		return nil, err
	}
	if err := e.listen(); err != nil {
		e.metrics.unregister()
		return nil, err
	}
	return e, nil
}

func (e *Endpoint) listen() error {
	door := entrance.New(entrance.Config{Gate: e.cfg.Gate, Handshake: e.cfg.AcceptTimeout, Failed: e.handshakeFailed})
	e.transport = &quic.Transport{Conn: e.cfg.Conn, ConnectionIDLength: 8}
	door.Guard(e.transport)
	if e.cfg.StatelessResetKey != nil {
		key := quic.StatelessResetKey(*e.cfg.StatelessResetKey)
		e.transport.StatelessResetKey = &key
	}
	var err error
	if e.listener, err = e.transport.Listen(entrance.TLS(e.cfg.Identity.Certificate, func() []string { return slices.Collect(maps.Keys(*e.protocols.Load())) }), door.For(e.quic)); err != nil {
		return fmt.Errorf("listen for QUIC on %s: %w", e.cfg.Conn.LocalAddr(), err)
	}
	return errors.Join(
		e.group.OnStop("socket", func(context.Context) error { return e.closeSocket() }),
		e.group.Go("accept", e.accept),
		e.group.Go("sweep", e.sweep),
	)
}

// Addr is the local address of the socket.
func (e *Endpoint) Addr() net.Addr { return e.cfg.Conn.LocalAddr() }

// Handle adds a protocol. It fails if the name is taken.
func (e *Endpoint) Handle(name string, p Protocol) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := *e.protocols.Load()
	if _, taken := old[name]; taken {
		return fmt.Errorf("add protocol %s: it is served already", name)
	}
	next := maps.Clone(old)
	next[name] = p
	e.protocols.Store(&next)
	return nil
}

// Remove ends a protocol: its connections are closed and no more are taken.
func (e *Endpoint) Remove(name string) {
	e.mu.Lock()
	next := maps.Clone(*e.protocols.Load())
	delete(next, name)
	e.protocols.Store(&next)
	var gone []*conn
	for c := range e.conns {
		if c.protocol == name {
			gone = append(gone, c)
		}
	}
	e.mu.Unlock()
	for _, c := range gone {
		c.close(codeNoProtocol, "protocol is no longer served")
	}
}

func (e *Endpoint) protocol(name string) (Protocol, bool) {
	p, ok := (*e.protocols.Load())[name]
	return p, ok
}

// Close tells the peers, closes every connection and the socket, and waits
// for what runs, no longer than ctx allows.
func (e *Endpoint) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	conns := slices.Collect(maps.Keys(e.conns))
	e.mu.Unlock()
	for _, c := range conns {
		c.close(codeEnded, "shutting down")
	}
	err := e.group.Stop(ctx)
	e.metrics.unregister()
	return err
}

func (e *Endpoint) closeSocket() error {
	return errors.Join(e.listener.Close(), e.transport.Close(), e.cfg.Conn.Close())
}

// clientTLS: names in the certificate are not host names, so the standard
// verification is off and admit does its work.
func (e *Endpoint) clientTLS(protocol string) (*tls.Config, error) {
	c := e.cfg.Identity.Certificate()
	if c == nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, entrance.ErrNobody)
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		InsecureSkipVerify:     true, // admit verifies before the connection is used
		Certificates:           []tls.Certificate{*c},
		NextProtos:             []string{protocol},
		ServerName:             "legate",
		SessionTicketsDisabled: true,
	}, nil
}

// admit verifies who is at the other end, which t is if this end dialled. On refusal it
// closes the connection with the reason and returns an error that is ErrRefused and that.
func (e *Endpoint) admit(qc *quic.Conn, protocol string, t *Target) (identity.Peer, error) {
	peer, err := e.judge(qc, protocol, t)
	if err == nil {
		return peer, nil
	}
	why := refusalOf(err)
	text := err.Error()
	// The connection is given up either way.
	_ = qc.CloseWithError(why.code, text[:min(len(text), maxReason)])
	e.metrics.handshakeFailed(why.label)
	return identity.Peer{}, fmt.Errorf("%w: %w", ErrRefused, err)
}

func (e *Endpoint) judge(qc *quic.Conn, protocol string, t *Target) (identity.Peer, error) {
	p, ok := e.protocol(protocol)
	peer, err := e.verify(qc, p, t != nil)
	if err != nil {
		return identity.Peer{}, err
	}
	if t != nil && !t.matches(peer) {
		return identity.Peer{}, fmt.Errorf("%w: expected %s, met %s", ErrWrongNode, t.who(), peer)
	}
	if !ok {
		return identity.Peer{}, fmt.Errorf("%w: %q", ErrNoProtocol, protocol)
	}
	if err := p.admits(peer); err != nil {
		return identity.Peer{}, fmt.Errorf("%w %s: %w", ErrNotAdmitted, protocol, err)
	}
	return peer, nil
}

func (p *Protocol) admits(peer identity.Peer) error {
	if peer.Gateway && !p.Gateways {
		return errors.New("a gateway only agrees on which packets it carries")
	}
	if p.Admit == nil {
		return nil
	}
	return p.Admit(peer)
}

// verify says whose the certificates of a connection are, which this end dialled or
// not.
func (e *Endpoint) verify(qc *quic.Conn, p Protocol, dialled bool) (identity.Peer, error) {
	var raw [][]byte
	for _, c := range qc.ConnectionState().TLS.PeerCertificates {
		raw = append(raw, c.Raw)
	}
	direction := p.From
	if dialled {
		direction = identity.Outgoing
	}
	return e.cfg.Identity.Verify(raw, direction)
}

func (t *Target) matches(p identity.Peer) bool {
	if t.NodeID != "" && t.NodeID != p.NodeID {
		return false
	}
	return t.Name == "" || t.Name == p.Name || t.Name == p.FullName()
}

func (t *Target) who() string {
	switch {
	case t.NodeID != "" && t.Name != "":
		return fmt.Sprintf("%q (id %q)", t.Name, t.NodeID)
	case t.NodeID != "":
		return fmt.Sprintf("id %q", t.NodeID)
	}
	return fmt.Sprintf("%q", t.Name)
}

// String is for errors and log lines.
func (t Target) String() string {
	if t.Name != "" {
		return t.Name + " at " + t.Addr
	}
	return t.Addr
}
