package tracing

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope names these spans among those of other libraries.
const scope = "github.com/legate-project/legate"

// Bounds on what is kept for a collector, and on what is waited for one.
const (
	maxQueued     = 4096 // spans; further ones are dropped
	maxBatch      = 512  // spans in one request
	batchEvery    = 2 * time.Second
	sendTimeout   = 5 * time.Second
	stopTimeout   = time.Second // for the last spans, when the agent stops
	maxAttributes = 32
	maxEvents     = 32
	maxValue      = 256 // characters of an attribute
	logEvery      = 5 * time.Minute
	maxError      = 512 // bytes of an error in the log
)

// Config says where spans go, and whose they are.
type Config struct {
	// Endpoint is the URL of the collector: http or https, with a path in front of
	// /v1/traces if there is one. "" records nothing.
	Endpoint string
	// Headers go with every request to it.
	Headers map[string]string
	// Ratio of requests without a trace of their own that begin one, 0 to 1.
	Ratio float64

	Datacenter, Node, NodeID, Version string
	// Server is set on a server.
	Server bool

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Validate returns an error that names every fault.
func (c *Config) Validate() error {
	_, err := c.target()
	if !(c.Ratio >= 0 && c.Ratio <= 1) {
		err = errors.Join(err, fmt.Errorf("the ratio of traces %v is not between 0 and 1", c.Ratio))
	}
	return err
}

// target is the URL that spans are sent to.
func (c *Config) target() (string, error) {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil:
		return "", errors.New("the endpoint of traces is no URL") // the error would show it, with what may be a password
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("the endpoint of traces is no URL of the form http://host:port or https://host:port, with or without a path")
	}
	const signal = "/v1/traces"
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), signal) + signal
	return u.String(), nil
}

// Tracer begins traces. It is safe for concurrent use; nil begins none.
type Tracer struct {
	provider *sdk.TracerProvider
	spans    trace.Tracer
	carried  carried // what contexts carry below a span
}

// New returns a Tracer, nil if there is no endpoint. It connects to nothing: a
// collector may come later, or never.
func New(cfg Config) (*Tracer, error) {
	m := newMetrics(cfg.Registerer)
	if cfg.Endpoint == "" {
		return nil, nil
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	target, _ := cfg.target()
	// All that could be said by variables of the environment is said here.
	client, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(target), otlptracehttp.WithHeaders(cfg.Headers),
		otlptracehttp.WithTimeout(sendTimeout), otlptracehttp.WithCompression(otlptracehttp.NoCompression),
		otlptracehttp.WithHTTPClient(httpClient()), otlptracehttp.WithTLSClientConfig(nil),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	if err != nil {
		return nil, fmt.Errorf("set up the exporter of traces: %w", err)
	}
	return newTracer(cfg, client, m), nil
}

// httpClient reaches the collector. It follows no redirects, with what the headers may
// know the agent by, and goes through the proxy that the environment names.
func httpClient() *http.Client {
	return &http.Client{Timeout: sendTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: sendTimeout, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func newTracer(cfg Config, to sdk.SpanExporter, m *metrics) *Tracer {
	e := &exporter{SpanExporter: to, log: cfg.Log.With("component", "tracing"), metrics: m}
	batches := sdk.NewBatchSpanProcessor(e, sdk.WithMaxQueueSize(maxQueued), sdk.WithMaxExportBatchSize(maxBatch),
		sdk.WithBatchTimeout(batchEvery), sdk.WithExportTimeout(sendTimeout))
	provider := sdk.NewTracerProvider(
		sdk.WithSpanProcessor(&bounded{SpanProcessor: batches, exporter: e, from: cfg.resource()}),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(cfg.Ratio))),
		sdk.WithResource(resource.Empty()), // what is added to it from the environment, owned leaves out
		sdk.WithRawSpanLimits(sdk.SpanLimits{AttributeValueLengthLimit: maxValue, AttributeCountLimit: maxAttributes, EventCountLimit: maxEvents,
			AttributePerEventCountLimit: maxAttributes, LinkCountLimit: maxEvents, AttributePerLinkCountLimit: maxAttributes}))
	t := &Tracer{provider: provider, spans: provider.Tracer(scope)}
	t.carried.tracer = t
	return t
}

// resource says whose spans they are, in the words of OpenTelemetry's conventions
// where there are some.
func (c *Config) resource() *resource.Resource {
	role := "client"
	if c.Server {
		role = "server"
	}
	return resource.NewSchemaless(
		attribute.String("service.name", "legate"), attribute.String("service.version", c.Version), attribute.String("service.instance.id", c.NodeID),
		attribute.String("legate.node", c.Node), attribute.String("legate.datacenter", c.Datacenter), attribute.String("legate.role", role))
}

// Stop sends what is left, for a second at most, and ends the sending.
func (t *Tracer) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && ctx.Err() == nil { // a collector that does not answer is no fault of this agent
		return fmt.Errorf("stop the exporter of traces: %w", err)
	}
	return nil
}

// bounded lets no more spans wait than fit, and counts the others.
type bounded struct {
	sdk.SpanProcessor
	exporter *exporter
	from     *resource.Resource
}

// owned is a span of this agent as the configuration has it: the SDK adds what
// OTEL_RESOURCE_ATTRIBUTES says to every resource.
type owned struct {
	sdk.ReadOnlySpan
	from *resource.Resource
}

// Resource implements trace.ReadOnlySpan.
func (o *owned) Resource() *resource.Resource { return o.from }

// OnEnd implements trace.SpanProcessor.
func (b *bounded) OnEnd(s sdk.ReadOnlySpan) {
	e := b.exporter
	if e.waiting.Add(1) > maxQueued {
		e.waiting.Add(-1)
		e.metrics.dropped.Inc()
		return
	}
	b.SpanProcessor.OnEnd(&owned{s, b.from})
}

// exporter counts what another one sends and fails to send.
type exporter struct {
	sdk.SpanExporter
	log     *slog.Logger
	metrics *metrics
	waiting atomic.Int64
	logged  time.Time // the last failure that was; batches come one at a time
}

// ExportSpans implements trace.SpanExporter. It does not fail: who is told of it would
// write it to where no log goes.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	defer e.waiting.Add(-int64(len(spans)))
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		e.metrics.sent.Add(float64(len(spans)))
		return nil
	}
	e.metrics.failed.Add(float64(len(spans)))
	if now := time.Now(); e.logged.IsZero() || now.Sub(e.logged) >= logEvery {
		e.logged = now
		e.log.Warn("traces cannot be sent to the collector; those that are lost are counted", "error", cut(err.Error()))
	}
	return nil
}

// cut bounds what a collector can have in our log.
func cut(s string) string {
	if len(s) <= maxError {
		return s
	}
	return strings.ToValidUTF8(s[:maxError], "") + "…"
}
