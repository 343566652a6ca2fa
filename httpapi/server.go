// Package httpapi is the HTTP API of an agent: the routes, parameters,
// headers, JSON shapes and errors that users of Consul already have.
//
// It parses, calls an operation or the agent, and renders; it knows no
// storage, no other server and no catalog logic. Whether it is a client or a
// server that answers is the business of its Caller.
package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi/conns"
	"github.com/legate-project/legate/httpapi/known"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// Bounds on what a client may send and for how long it may hold the server up.
const (
	readHeaderTimeout = 10 * time.Second // for the request line and headers
	bodyTimeout       = time.Minute      // for the body; a value of 512 KiB needs 9 KB/s
	idleTimeout       = 5 * time.Minute  // between requests; longer than clients keep connections
	drainTimeout      = 5 * time.Second  // for requests in flight while the server stops
	maxBody           = 1 << 20          // of a JSON body, in bytes
	maxParams         = 64               // in a query string
	maxPooledBuffer   = 1 << 20          // larger buffers go back to the garbage collector
	minCompressed     = 1 << 10          // shorter answers are not worth compressing
)

// Config says what the API speaks for.
type Config struct {
	Caller op.Caller
	Agent  Agent
	Local  Local
	// Events answers /v1/event/list; nil answers 404.
	Events Events
	// Snapshots answers /v1/snapshot; nil answers 404.
	Snapshots Snapshots
	// Metrics answers /metrics, AgentMetrics /v1/agent/metrics and MetricsStream
	// its stream; nil answers 404.
	Metrics, AgentMetrics, MetricsStream http.Handler
	// Logs is what /v1/agent/monitor listens to; nil answers 404.
	Logs       *logging.Tee
	Datacenter string
	NodeName   string
	// TranslateWAN shows what is in other datacenters at its WAN addresses.
	TranslateWAN bool
	// MaxValueSize of a key in bytes; default 512 KiB.
	MaxValueSize int
	// MaxTxnSize of a transaction's body in bytes; default 512 KiB.
	MaxTxnSize int
	// DefaultQueryTime and MaxQueryTime bound blocking queries; default 5 and 10
	// minutes.
	DefaultQueryTime, MaxQueryTime time.Duration
	// MaxConnsPerClient bounds connections of one client address; 0 is no limit.
	MaxConnsPerClient int
	// HTTP is the http_config block.
	HTTP config.HTTPConfig
	// Debug reports whether profiles may be asked for now; nil for never.
	Debug func() bool
	// DefaultToken is used for requests without a token; nil uses none.
	DefaultToken func() string

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Agent is what the API needs of the agent that it runs in.
type Agent interface {
	Self() SelfView
	Members(wan bool) ([]Member, error)
	// Join contacts the addresses and returns how many answered.
	Join(ctx context.Context, addrs []string, wan bool) (int, error)
	Leave(ctx context.Context) error
	ForceLeave(ctx context.Context, node string, prune, wan bool) error
	Reload() error
	// SetToken takes one of the tokens that the agent uses itself.
	SetToken(target, secret string) error
	// Host describes the machine: memory, processors, system and disk.
	Host() any
}

// Local is the agent's own services and checks; *local.State is one, and its
// errors are those of package agent/local.
type Local interface {
	Services() map[string]catalog.Service
	// Service returns one service and a channel that is closed when it changes
	// or goes.
	Service(id string) (s catalog.Service, changed <-chan struct{}, ok bool)
	Checks() map[string]catalog.Check
	// AddService leaves checks alone that the service has and that are not in
	// the definition; ReplaceService removes them.
	AddService(config.ServiceDefinition) error
	ReplaceService(config.ServiceDefinition) error
	RemoveService(id string) error
	AddCheck(config.CheckDefinition) error
	RemoveCheck(id string) error
	UpdateTTL(id, status, output string) error
	// Maintain takes the node, or the service with the ID, into maintenance or out.
	Maintain(serviceID string, on bool, reason string) error
}

// Server answers HTTP requests. It is an http.Handler, safe for concurrent
// use.
type Server struct {
	cfg      Config
	log      *slog.Logger
	routes   *router
	metrics  *metrics
	extra    http.Header    // response_headers
	here     []string       // the own datacenter as the value of a header
	writers  []netip.Prefix // allow_write_http_from; empty for all
	limit    *conns.Limit
	monitors *conns.Places // of the log, by client address
	known    *known.Answers
	active   atomic.Int64 // requests being answered

	exchanges, buffers, gzips sync.Pool
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
	s := &Server{cfg: cfg, log: cfg.Log.With("component", "http"), extra: http.Header{}, here: []string{cfg.Datacenter}, limit: conns.NewLimit(cfg.MaxConnsPerClient),
		monitors: conns.NewPlaces(maxMonitors), known: known.New()}
	var errs []error
	for name, value := range cfg.HTTP.ResponseHeaders {
		s.extra.Set(name, value)
	}
	if cfg.TranslateWAN {
		s.extra["X-Consul-Translate-Addresses"] = yes
	}
	for _, text := range cfg.HTTP.AllowWriteHTTPFrom {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("http_config.allow_write_http_from: %w", err))
			continue
		}
		s.writers = append(s.writers, p.Masked())
	}
	if cfg.Caller == nil || cfg.Agent == nil || cfg.Local == nil {
		errs = append(errs, errors.New("the HTTP API needs a Caller, an Agent and a Local"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(cfg.Registerer)
	s.routes = newRouter(table, s.metrics)
	s.exchanges.New = func() any { return &exchange{} }
	s.buffers.New = func() any { return new(bytes.Buffer) }
	s.gzips.New = func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
		return z
	}
	return s, nil
}

// Handler returns the handler of all routes.
func (s *Server) Handler() http.Handler { return s }

// Serve answers requests on the listener until ctx ends; then it takes no
// more, ends those that wait for a change, and lets the others finish. It
// closes the listener. Several listeners may be served at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	hs := &http.Server{
		Handler: s, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: s.cfg.HTTP.MaxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return base },
		ConnState:   s.limit.State,
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
		case s.active.Load() == 0:
			return hs.Close()
		case time.Now().After(end):
			return errors.Join(fmt.Errorf("stop HTTP server on %s: requests still run: %w", addr, err), hs.Close())
		}
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := s.exchanges.Get().(*exchange)
	*x = exchange{s: s, w: w, r: r, ctx: r.Context(), start: time.Now(), params: x.params[:0], end: s.routes.unknown}
	s.metrics.inFlight.Inc()
	s.active.Add(1)
	defer x.finish()
	x.serve()
}
