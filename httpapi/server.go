// Package httpapi is the HTTP API of an agent: the routes, parameters,
// headers, JSON shapes and errors that users of Consul already have.
//
// Its areas parse, call an operation or the agent, and render; they know no
// storage, no other server and no catalog logic. Whether it is a client or a
// server that answers is the business of their Caller. Here are the listener and
// the list of routes; what all of them share is in package rest.
package httpapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi/agent"
	"github.com/legate-project/legate/httpapi/event"
	"github.com/legate-project/legate/httpapi/names"
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/httpapi/snapshot"
	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/failover"
)

// Bounds on how long a client may hold the server up.
const (
	readHeaderTimeout = 10 * time.Second // for the request line and headers
	idleTimeout       = 5 * time.Minute  // between requests; longer than clients keep connections
	drainTimeout      = 5 * time.Second  // for requests in flight while the server stops
)

// Bounds on what clients may make the server hold.
const (
	// maxHeader is how many bytes a request's line and headers may have, unless
	// http_config.max_header_bytes says otherwise: who sends a path, a filter and a token
	// needs a few thousand.
	maxHeader = 64 << 10
	// maxStreams and maxStreamsEach bound the requests over HTTP/2 that are under way, in
	// all and of one address, which could have 250 on each of its connections.
	maxStreams     = 65536
	maxStreamsEach = 4096
)

// Config says what the API speaks for.
type Config struct {
	Caller op.Caller
	Agent  agent.Agent
	Local  agent.Local
	// Events answers /v1/event/list; nil answers 404.
	Events event.Events
	// Snapshots answers /v1/snapshot; nil answers 404.
	Snapshots snapshot.Snapshots
	// Metrics answers /metrics, AgentMetrics /v1/agent/metrics and MetricsStream
	// its stream; nil answers 404.
	Metrics, AgentMetrics, MetricsStream http.Handler
	// Logs is what /v1/agent/monitor listens to; nil answers 404.
	Logs       *logging.Tee
	Datacenter string
	NodeName   string
	// Authority returns the certificate of the authority that signs those of agents;
	// nil answers that there is none.
	Authority func() *x509.Certificate
	// Failover knows which services fail over to other datacenters, DNSFailover what dns_config
	// says of that, and whether its names have passing instances alone. Nil is nothing.
	Failover    Failover
	DNSFailover func() (failover map[string][]string, onlyPassing bool)
	// Names returns what explains answers of DNS, nil where the agent has no DNS interface.
	Names func() names.Explainer
	// TranslateWAN shows what is in other datacenters at its WAN addresses.
	TranslateWAN bool
	// MaxValueSize of a key in bytes; default 512 KiB.
	MaxValueSize int
	// MaxTxnSize of a transaction's body in bytes; default 512 KiB.
	MaxTxnSize int
	// DefaultQueryTime and MaxQueryTime bound blocking queries; default 5 and 10
	// minutes.
	DefaultQueryTime, MaxQueryTime time.Duration
	// DiscoveryMaxStale is how stale reads of catalog and health may be that ask for no
	// consistency; nil or 0 leaves them to the leader.
	DiscoveryMaxStale func() time.Duration
	// Gate bounds connections, of one client address and in all; nil is no bound.
	Gate *admission.Gate
	// HTTP is the http_config block.
	HTTP config.HTTPConfig
	// Debug reports whether profiles may be asked for now; nil for never.
	Debug func() bool
	// DefaultToken is used for requests without a token; nil uses none.
	DefaultToken func() string
	// Authorizer says what who shows a secret may do with this agent: see rest.Config.
	Authorizer func(ctx context.Context, secret string) (rules.Authorizer, error)
	// ACL is the acl block.
	ACL config.ACL
	// UI is the ui_config block; Domain is that of DNS names, which the page shows.
	UI     config.UIConfig
	Domain string

	// Tracer begins the traces of requests; nil for none.
	Tracer     *tracing.Tracer
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Failover are the rules by which services fail over. Names are in lower case.
type Failover interface {
	// Rule returns the rule for a service, nil for none.
	Rule(service string) *failover.Rule
	// OwnFirst is which datacenters are asked, as op.Header.Datacenter says it, and what ends
	// when that may be others.
	OwnFirst(service string) (string, context.Context)
}

// Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	cfg     Config
	log     *slog.Logger
	api     *rest.API
	streams *admission.Gate // of requests over HTTP/2
}

// New returns a server, or an error that names every fault of the
// configuration.
func New(cfg Config) (*Server, error) {
	if cfg.MaxValueSize == 0 {
		cfg.MaxValueSize = 512 << 10
	}
	if cfg.MaxTxnSize == 0 {
		cfg.MaxTxnSize = 512 << 10
	}
	if cfg.DefaultQueryTime == 0 {
		cfg.DefaultQueryTime = 5 * time.Minute
	}
	if cfg.MaxQueryTime == 0 {
		cfg.MaxQueryTime = 10 * time.Minute
	}
	if cfg.Gate == nil {
		cfg.Gate = admission.New(admission.Bounds{}, nil)
	}
	faults := rest.Validate(cfg.HTTP)
	if cfg.Caller == nil || cfg.Agent == nil || cfg.Local == nil {
		faults = errors.Join(faults, errors.New("the HTTP API needs a Caller, an Agent and a Local"))
	}
	if faults != nil {
		return nil, faults
	}
	s := &Server{cfg: cfg, log: cfg.Log.With("component", "http"),
		streams: admission.New(admission.Bounds{Total: maxStreams, Each: maxStreamsEach}, nil)}
	page, err := newPage(&cfg)
	if err != nil {
		return nil, err
	}
	api, err := rest.New(rest.Config{Datacenter: cfg.Datacenter, NodeName: cfg.NodeName, TranslateWAN: cfg.TranslateWAN,
		DefaultQueryTime: cfg.DefaultQueryTime, MaxQueryTime: cfg.MaxQueryTime, HTTP: cfg.HTTP, DefaultToken: cfg.DefaultToken,
		Authorizer: cfg.Authorizer, DefaultPolicy: cfg.ACL.DefaultPolicy, Tracer: cfg.Tracer, Log: s.log, Registerer: cfg.Registerer}, append(Routes(cfg), page...))
	if err != nil {
		return nil, err
	}
	s.api = api
	return s, nil
}

// Serve answers requests on the listener until ctx ends; then it takes no
// more, ends those that wait for a change, and lets the others finish. It
// closes the listener. Several listeners may be served at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, admission.Listen(l, s.cfg.Gate, tellTooMany), readHeaderTimeout)
}

// ServeTLS is Serve over TLS, with HTTP/2 if the configuration offers it. A handshake,
// and then the headers of a request, may take as long as is given.
func (s *Server) ServeTLS(ctx context.Context, l net.Listener, conf *tls.Config, handshake time.Duration) error {
	return s.serve(ctx, tls.NewListener(admission.Listen(l, s.cfg.Gate, nil), conf), handshake)
}

func (s *Server) serve(ctx context.Context, l net.Listener, headers time.Duration) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	hs := &http.Server{
		Handler: s.bounded(s.api), ReadHeaderTimeout: headers, IdleTimeout: idleTimeout, MaxHeaderBytes: cmp.Or(s.cfg.HTTP.MaxHeaderBytes, maxHeader),
		BaseContext: func(net.Listener) context.Context { return base },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return op.WithSource(ctx, sourceOf(c))
		},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	drained := make(chan error, 1)
	undo := context.AfterFunc(ctx, func() {
		cancel()
		drained <- s.drain(hs, l.Addr())
	})
	err := hs.Serve(l)
	if undo() { // ctx has not ended: the listener failed
		return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
	}
	return <-drained
}

// sourceOf names who is at the other end of a connection, by its address.
func sourceOf(c net.Conn) string {
	if addr := rest.AddrOf(c.RemoteAddr().String()); addr.IsValid() {
		return addr.String()
	}
	return "unix" // all who use the socket
}

// drain lets requests that are being answered finish. Connections that never
// sent any, which net/http would give five seconds, are closed.
func (s *Server) drain(hs *http.Server, addr net.Addr) error {
	const look = 50 * time.Millisecond
	for end := time.Now().Add(drainTimeout); ; {
		soon, done := context.WithTimeout(context.Background(), look)
		err := hs.Shutdown(soon)
		done()
		switch {
		case err == nil:
			return nil
		case s.api.Active() == 0:
			return hs.Close()
		case time.Now().After(end):
			return errors.Join(fmt.Errorf("stop HTTP server on %s: requests still run: %w", addr, err), hs.Close())
		}
	}
}
