// Package httpapi is the HTTP API of an agent: the routes, parameters,
// headers, JSON shapes and errors that users of Consul already have.
//
// Its areas parse, call an operation or the agent, and render; they know no
// storage, no other server and no catalog logic. Whether it is a client or a
// server that answers is the business of their Caller. Here are the listener and
// the list of routes; what all of them share is in package rest.
package httpapi

import (
	"context"
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
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/httpapi/snapshot"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/op"
)

// Bounds on how long a client may hold the server up.
const (
	readHeaderTimeout = 10 * time.Second // for the request line and headers
	idleTimeout       = 5 * time.Minute  // between requests; longer than clients keep connections
	drainTimeout      = 5 * time.Second  // for requests in flight while the server stops
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
	// MaxConnsPerClient bounds connections of one client address; 0 is no limit.
	MaxConnsPerClient int
	// HTTP is the http_config block.
	HTTP config.HTTPConfig
	// Debug reports whether profiles may be asked for now; nil for never.
	Debug func() bool
	// DefaultToken is used for requests without a token; nil uses none.
	DefaultToken func() string

	// Tracer begins the traces of requests; nil for none.
	Tracer     *tracing.Tracer
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	cfg   Config
	log   *slog.Logger
	api   *rest.API
	limit *connLimit
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
	faults := rest.Validate(cfg.HTTP)
	if cfg.Caller == nil || cfg.Agent == nil || cfg.Local == nil {
		faults = errors.Join(faults, errors.New("the HTTP API needs a Caller, an Agent and a Local"))
	}
	if faults != nil {
		return nil, faults
	}
	s := &Server{cfg: cfg, log: cfg.Log.With("component", "http"), limit: newConnLimit(cfg.MaxConnsPerClient)}
	api, err := rest.New(rest.Config{Datacenter: cfg.Datacenter, NodeName: cfg.NodeName, TranslateWAN: cfg.TranslateWAN,
		DefaultQueryTime: cfg.DefaultQueryTime, MaxQueryTime: cfg.MaxQueryTime, HTTP: cfg.HTTP, DefaultToken: cfg.DefaultToken,
		Tracer: cfg.Tracer, Log: s.log, Registerer: cfg.Registerer}, Routes(cfg))
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
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	hs := &http.Server{
		Handler: s.api, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: s.cfg.HTTP.MaxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return base },
		ConnState:   s.limit.state,
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
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
