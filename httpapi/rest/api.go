// Package rest is what the areas of the HTTP API are built on: the exchange of a
// request for its answer, the list of routes, parameters, headers, errors, and the
// selection of records by ?filter. It promises the same of every route: what a client
// sends is bounded, what it asks for twice is not told twice, and a handler that
// panics is answered with 500.
//
// It knows no area, listens nowhere and asks no datacenter anything.
package rest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi/rest/unchanged"
	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/state/acl/rules"
)

// MaxBody of a JSON body, in bytes.
const MaxBody = 1 << 20

// Bounds on what a client may send and what is kept for it.
const (
	bodyTimeout     = time.Minute // for the body; a value of 512 KiB needs 9 KB/s
	maxBodies       = 128 << 20   // bytes of bodies that are being read, beyond 64 KiB each
	maxBodiesOfOne  = 32 << 20    // of them, those that come from one address
	maxParams       = 64          // in a query string
	maxPooledBuffer = 1 << 20     // larger buffers go back to the garbage collector
	minCompressed   = 1 << 10     // shorter answers are not worth compressing
)

// Config is what all routes share.
type Config struct {
	// Datacenter and NodeName of the agent.
	Datacenter, NodeName string
	// TranslateWAN shows what is in other datacenters at its WAN addresses.
	TranslateWAN bool
	// DefaultQueryTime and MaxQueryTime bound blocking queries; they must be set.
	DefaultQueryTime, MaxQueryTime time.Duration
	// HTTP is the http_config block.
	HTTP config.HTTPConfig
	// DefaultToken is used for requests without a token; nil uses none.
	DefaultToken func() string
	// Authorizer says what who shows a secret may do with this agent; "" is who shows
	// none. Its error is the answer, denied if the secret stands for nothing. Nil allows
	// everything.
	Authorizer func(ctx context.Context, secret string) (rules.Authorizer, error)
	// DefaultPolicy is acl.default_policy: allow, which "" is too, or deny.
	DefaultPolicy string

	// Tracer begins the traces of requests; nil for none.
	Tracer     *tracing.Tracer
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// API answers requests by a list of routes. It is an http.Handler, safe for
// concurrent use.
type API struct {
	cfg     Config
	log     *slog.Logger
	routes  *router
	metrics *metrics
	extra   http.Header    // response_headers
	here    []string       // the own datacenter as the value of a header
	policy  []string       // the default policy as one
	writers []netip.Prefix // allow_write_http_from; empty for all
	answers *unchanged.Answers
	bodies  *admission.Budget
	active  atomic.Int64 // requests being answered

	exchanges, buffers, gzips sync.Pool
}

// Validate returns an error that names every fault of the http_config block.
func Validate(c config.HTTPConfig) error {
	_, err := networks(c)
	return err
}

// networks are those of allow_write_http_from.
func networks(c config.HTTPConfig) ([]netip.Prefix, error) {
	var list []netip.Prefix
	var errs []error
	for _, text := range c.AllowWriteHTTPFrom {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("http_config.allow_write_http_from: %w", err))
			continue
		}
		list = append(list, p.Masked())
	}
	return list, errors.Join(errs...)
}

// New returns an API of the routes, or the error of Validate.
func New(cfg Config, routes []Route) (*API, error) {
	writers, err := networks(cfg.HTTP)
	if err != nil {
		return nil, err
	}
	a := &API{cfg: cfg, log: cfg.Log, extra: http.Header{}, here: []string{cfg.Datacenter}, writers: writers, answers: unchanged.New(), bodies: admission.NewShared(maxBodies, maxBodiesOfOne)}
	for name, value := range cfg.HTTP.ResponseHeaders {
		a.extra.Set(name, value)
	}
	if cfg.TranslateWAN {
		a.extra["X-Consul-Translate-Addresses"] = yes
	}
	a.policy = []string{cmp.Or(cfg.DefaultPolicy, "allow")}
	a.metrics = newMetrics(cfg.Registerer)
	a.routes = newRouter(routes, a.metrics)
	a.exchanges.New = func() any { return &Exchange{} }
	a.buffers.New = func() any { return new(bytes.Buffer) }
	a.gzips.New = func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
		return z
	}
	return a, nil
}

// Active is how many requests are being answered.
func (a *API) Active() int64 { return a.active.Load() }

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := a.exchanges.Get().(*Exchange)
	*x = Exchange{api: a, W: w, R: r, Ctx: r.Context(), start: time.Now(), params: x.params[:0], end: a.routes.unknown}
	a.metrics.inFlight.Inc()
	a.active.Add(1)
	defer x.finish()
	x.serve()
}
