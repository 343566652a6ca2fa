package tracing_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/internal/tracing/tracingtest"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
	sampled = "00-" + traceID + "-" + spanID + "-01"
	skipped = "00-" + traceID + "-" + spanID + "-00"
)

func config(url string, ratio float64) tracing.Config {
	return tracing.Config{Endpoint: url, Ratio: ratio, Headers: map[string]string{"x-key": "k"}, Datacenter: "dc1", Node: "n1", NodeID: "id", Version: "v",
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
}

func tracer(t testing.TB, url string, ratio float64) *tracing.Tracer {
	t.Helper()
	tr, err := tracing.New(config(url, ratio))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func stop(t *testing.T, list ...*tracing.Tracer) {
	t.Helper()
	for _, tr := range list {
		if err := tr.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A trace that a client began goes through three processes, of which the one in the
// middle records nothing.
func TestOneTraceThroughSeveralProcesses(t *testing.T) {
	c := tracingtest.Start(t)
	first, last := tracer(t, c.URL+"/", 0), tracer(t, c.URL, 0)
	var between *tracing.Tracer
	ctx, root := first.Root(t.Context(), "GET /v1/kv/*", tracing.Origin{Kind: tracing.Server, TraceParent: sampled, TraceState: "a=b"})
	_, call, wire := tracing.Call(ctx, "kv.get")
	there := between.Continue(context.Background(), wire)
	if _, s := tracing.Start(there, "kv.get", tracing.Server); s.Recording() {
		t.Error("a process without tracing records")
	}
	_, _, wire = tracing.Call(there, "kv.get")
	there = last.Continue(context.Background(), wire)
	there, answer := tracing.Start(there, "kv.get", tracing.Server)
	_, inner := tracing.Start(there, "kv.get", tracing.Server)
	tracing.Of(there).Event("seen")
	tracing.Of(there).Text("long", strings.Repeat("x", 1000))
	inner.Fail("no-leader")
	now := time.Now()
	tracing.Record(there, "apply", now.Add(-time.Second), now)
	for _, s := range []tracing.Span{inner, answer, call, root} {
		s.End()
	}
	stop(t, first, last)

	got := map[string]tracingtest.Span{}
	for _, s := range c.Spans(traceID) {
		got[s.Name+" "+strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")] = s
	}
	if len(got) != 5 || len(c.Spans("")) != 5 {
		t.Fatalf("%d spans of 5: %v", len(got), c.Spans(""))
	}
	for child, parent := range map[string]string{"kv.get CLIENT": "GET /v1/kv/* SERVER", "kv.get SERVER": "kv.get CLIENT", "kv.get INTERNAL": "kv.get SERVER", "apply INTERNAL": "kv.get SERVER"} {
		if got[child].Parent == "" || got[child].Parent != got[parent].ID {
			t.Errorf("%s is not below %s: %+v", child, parent, got)
		}
	}
	s, apply := got["kv.get SERVER"], got["apply INTERNAL"]
	if got["GET /v1/kv/* SERVER"].Parent != spanID {
		t.Error("the root is not below the caller's span")
	}
	if len(s.Events) != 1 || s.Events[0] != "seen" || len(s.Attributes["long"]) != 256 || s.Resource["legate.datacenter"] != "dc1" || s.Resource["service.name"] != "legate" {
		t.Errorf("%+v", s)
	}
	if got["kv.get INTERNAL"].Failed != "no-leader" || s.Failed != "" {
		t.Errorf("the wrong span failed: %+v", got)
	}
	if apply.End-apply.Start != uint64(time.Second) {
		t.Errorf("%+v has not its own times", apply)
	}
	for _, h := range c.Requests() {
		if h.Get("X-Key") != "k" {
			t.Error("the headers of the configuration were not sent")
		}
	}
}

// The environment neither sends traces elsewhere nor adds to what is sent.
func TestOnlyTheConfigurationCounts(t *testing.T) {
	c, other := tracingtest.Start(t), tracingtest.Start(t)
	secure := httptest.NewTLSServer(nil)
	defer secure.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"ENDPOINT": other.URL, "TRACES_ENDPOINT": other.URL, "HEADERS": "x-env=1", "COMPRESSION": "gzip", "CERTIFICATE": authority} {
		t.Setenv("OTEL_EXPORTER_OTLP_"+key, value)
	}
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "env=1")
	if tr, err := tracing.New(tracing.Config{Ratio: 1, Registerer: prometheus.NewRegistry()}); tr != nil || err != nil {
		t.Errorf("without an endpoint: %v, %v", tr, err)
	}
	tr := tracer(t, c.URL, 1)
	_, s := tr.Root(t.Context(), "x", tracing.Origin{})
	s.End()
	stop(t, tr)
	if len(c.Spans("")) != 1 || len(other.Requests()) != 0 {
		t.Fatalf("%d spans here, %d requests elsewhere", len(c.Spans("")), len(other.Requests()))
	}
	if r := c.Spans("")[0].Resource; r["env"] != "" || r["legate.node"] != "n1" {
		t.Errorf("%v", r)
	}
	if h := c.Requests()[0]; h.Get("X-Env") != "" || h.Get("Content-Encoding") != "" {
		t.Errorf("%v", h)
	}
}

func TestWhichTracesAreRecorded(t *testing.T) {
	for _, c := range []struct {
		parent string
		ratio  float64
		want   bool
	}{{"", 1, true}, {"", 0, false}, {sampled, 0, true}, {skipped, 1, false}, {"nonsense", 1, true}, {"nonsense", 0, false}} {
		t.Run(fmt.Sprintf("%s at %v", c.parent, c.ratio), func(t *testing.T) {
			to := tracingtest.Start(t)
			tr := tracer(t, to.URL, c.ratio)
			ctx, root := tr.Root(t.Context(), "root", tracing.Origin{TraceParent: c.parent})
			_, child, out := tracing.Call(ctx, "child")
			child.End()
			root.End()
			stop(t, tr)
			if n := len(to.Spans("")); root.Recording() != c.want || child.Recording() != c.want || (out != "") != c.want || (n == 2) != c.want {
				t.Errorf("root %v, child %v, wire %q, %d spans", root.Recording(), child.Recording(), out, n)
			}
		})
	}
}

// What clients say goes with each span, so it is bounded.
func TestALongTraceStateIsLeftOut(t *testing.T) {
	c := tracingtest.Start(t)
	tr := tracer(t, c.URL, 0)
	long := strings.Repeat("a", 200)
	for name, state := range map[string]string{"short": "a=b", "long": "a=" + long + ",b=" + long + ",c=" + long} {
		ctx, root := tr.Root(t.Context(), name, tracing.Origin{TraceParent: sampled, TraceState: state})
		_, child := tracing.Start(ctx, name, tracing.Internal)
		child.End()
		root.End()
	}
	stop(t, tr)
	spans := c.Spans("")
	for _, s := range spans {
		if (s.State == "a=b") != (s.Name == "short") || s.Name == "long" && s.State != "" || s.Trace != traceID {
			t.Errorf("%+v", s)
		}
	}
	if len(spans) != 4 {
		t.Errorf("%d spans", len(spans))
	}
}

// Where nothing is traced, nothing is allocated.
func TestOffCostsNoAllocation(t *testing.T) {
	tr, err := tracing.New(tracing.Config{Ratio: 1, Registerer: prometheus.NewRegistry()})
	if tr != nil || err != nil {
		t.Fatalf("%v, %v", tr, err)
	}
	type key struct{}
	base := context.WithValue(t.Context(), key{}, 1)
	now := time.Now()
	n := testing.AllocsPerRun(100, func() {
		ctx, root := tr.Root(base, "root", tracing.Origin{Began: now})
		ctx, call, wire := tracing.Call(ctx, "call")
		ctx = tr.Continue(ctx, wire)
		ctx, s := tracing.Start(ctx, "child", tracing.Server)
		tracing.Record(ctx, "x", now, now)
		ctx = tracing.Carry(ctx, base)
		tracing.Of(ctx).Event("x")
		s.Text("a", "b")
		s.Number("n", 1)
		s.Mark("m")
		s.Fail("f")
		s.End()
		call.End()
		root.End()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	stop(t, tr)
}

// What a peer sends that is no trace is no trace.
func TestBrokenTraceOfAPeer(t *testing.T) {
	tr := tracer(t, "http://127.0.0.1:1", 1)
	for _, wire := range []string{"x", strings.Repeat("x", 24), strings.Repeat("x", 26), strings.Repeat("\x00", 25), strings.Repeat("x", 24) + "\x00"} {
		ctx := tr.Continue(t.Context(), wire)
		if _, s := tracing.Start(ctx, "x", tracing.Server); s.Recording() {
			t.Errorf("%q is recorded", wire)
		}
	}
	stop(t, tr)
}

// A collector that cannot be reached, or hears and says nothing, costs counted spans
// and one line in the log, and does not hold up the end.
func TestCollectorThatDoesNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer silent.Close()
	defer close(release)
	for name, c := range map[string]struct {
		url  string
		want string
	}{"closed": {"http://" + closed, "failed"}, "silent": {silent.URL, "dropped"}} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			reg := prometheus.NewRegistry()
			tr, err := tracing.New(tracing.Config{Endpoint: c.url, Ratio: 1, Log: slog.New(slog.NewTextHandler(&log, nil)), Registerer: reg})
			if err != nil {
				t.Fatal(err)
			}
			const spans = 10_000
			began := time.Now()
			for range spans {
				_, s := tr.Root(t.Context(), "x", tracing.Origin{})
				s.End()
			}
			stop(t, tr)
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("took %s", took)
			}
			lost := 0.0
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range families[0].Metric {
				if m.Label[0].GetValue() == c.want {
					lost = m.Counter.GetValue()
				}
			}
			if lost < spans/4 || testutil.CollectAndCount(reg) != 3 {
				t.Errorf("%v spans %s", lost, c.want)
			}
			if n := strings.Count(log.String(), "\n"); n > 1 || name == "closed" && n != 1 {
				t.Errorf("%d lines in the log:\n%s", n, log.String())
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, endpoint := range []string{"127.0.0.1:4318", "grpc://x:1", "http://", "http://u:secret@x", "http://x?a=secret", "http://x:y z%", "://"} {
		c := tracing.Config{Endpoint: endpoint}
		if err := c.Validate(); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	for _, ratio := range []float64{-0.1, 1.1} {
		c := tracing.Config{Endpoint: "https://x", Ratio: ratio}
		if err := c.Validate(); err == nil {
			t.Errorf("%v is a ratio", ratio)
		}
	}
	c := tracing.Config{Endpoint: "https://x/prefix/v1/traces", Ratio: 0.5}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
