package rest

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/internal/tracing/tracingtest"
)

const (
	traceOfClient = "0af7651916cd43dd8448eb211c80319c"
	parent        = "00-" + traceOfClient + "-b7ad6b7169203331-01"
)

// traced answers requests and returns their spans.
func traced(t *testing.T, ratio float64, requests ...*http.Request) []tracingtest.Span {
	t.Helper()
	c := tracingtest.Start(t)
	tr, err := tracing.New(tracing.Config{Endpoint: c.URL, Ratio: ratio, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	below := func(x *Exchange) error {
		_, s := tracing.Start(x.Ctx, "below", tracing.Internal)
		s.End()
		x.Waits = x.Has("index")
		return x.Text(200, "VALUE")
	}
	api, err := New(Config{Datacenter: "dc1", Tracer: tr, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}, []Route{
		{Path: "/v1/kv/", Get: below, Put: func(*Exchange) error { return Refuse(http.StatusInternalServerError, "KEY is broken") }},
		{Path: "/v1/acl/token/", Get: below}, {Path: "/v1/acl/token/*/clone", Put: below},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		api.ServeHTTP(httptest.NewRecorder(), r)
	}
	if err := tr.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	return c.Spans("")
}

func TestSpansOfRequestsShowNoSecrets(t *testing.T) {
	const token = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"
	for _, c := range []struct{ method, target, name, attributes string }{
		{"GET", "/v1/kv/KEY?raw&dc=dc1", "GET /v1/kv/*", "client.address:192.0.2.7 http.request.method:GET http.response.status_code:200 http.route:/v1/kv/*"},
		{"GET", "/v1/kv/KEY?index=7", "GET /v1/kv/*", "client.address:192.0.2.7 http.request.method:GET http.response.status_code:200 http.route:/v1/kv/* legate.blocking:true"},
		{"PUT", "/v1/kv/KEY?token=" + token, "PUT /v1/kv/*", "client.address:192.0.2.7 error.type:500 http.request.method:PUT http.response.status_code:500 http.route:/v1/kv/*"},
		{"GET", "/v1/acl/token/" + token, "GET /v1/acl/token/*", ""},
		{"PUT", "/v1/acl/token/" + token + "/clone", "PUT /v1/acl/token/*/clone", ""},
		{"GET", "/v1/nothing/" + token, "HTTP", "client.address:192.0.2.7 http.request.method:GET http.response.status_code:404"},
		{strings.ToUpper(token[:4]), "/v1/kv/KEY", "HTTP", "client.address:192.0.2.7 http.request.method:_OTHER http.response.status_code:405"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.target, strings.NewReader("VALUE"))
		r.Header.Set("X-Consul-Token", token)
		r.Header.Set("Authorization", "Bearer "+token)
		r.RemoteAddr = "192.0.2.7:5000"
		found := false
		for _, s := range traced(t, 1, r) {
			bare := s
			bare.Trace, bare.ID, bare.Parent = "", "", "" // random, so that they have whatever looks like "dc1" at times
			shown := fmt.Sprintf("%+v", bare)
			for _, secret := range []string{token, token[:8], "KEY", "VALUE", "dc1"} {
				if strings.Contains(shown, secret) {
					t.Errorf("%s %s shows %q: %s", c.method, c.target, secret, shown)
				}
			}
			if s.Name != c.name {
				continue
			}
			found = true
			if got := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(s.Attributes), "map["), "]"); c.attributes != "" && got != c.attributes {
				t.Errorf("%s %s has the attributes\n%s, want\n%s", c.method, c.target, got, c.attributes)
			}
		}
		if !found {
			t.Errorf("%s %s has no span %q", c.method, c.target, c.name)
		}
	}
}

// A client's traceparent is gone on with; two are none.
func TestTraceOfTheClientGoesOn(t *testing.T) {
	ask := func(headers ...string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/kv/a", nil)
		for _, h := range headers {
			r.Header.Add("traceparent", h)
		}
		return r
	}
	spans := traced(t, 0, ask(parent), ask(parent, parent), ask(), ask(parent[:len(parent)-1]+"0"))
	if len(spans) != 2 {
		t.Fatalf("%d spans of 2: %+v", len(spans), spans)
	}
	for _, s := range spans {
		if s.Trace != traceOfClient {
			t.Errorf("%+v is of another trace", s)
		}
	}
}
