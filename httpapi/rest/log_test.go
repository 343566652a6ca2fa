package rest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
)

func logged(t *testing.T, level slog.Level) (*API, *bytes.Buffer) {
	t.Helper()
	out := new(bytes.Buffer)
	now := new(slog.LevelVar)
	now.Set(level)
	api, err := New(Config{Datacenter: "dc1", Log: logging.New(out, now, false), Registerer: prometheus.NewRegistry()}, []Route{
		{Path: "/v1/kv/", Put: func(x *Exchange) error { return x.Truth(true) }, Get: func(x *Exchange) error { return x.Text(200, "VALUE") }},
	})
	if err != nil {
		t.Fatal(err)
	}
	return api, out
}

func TestRequestsAreLoggedWithoutSecrets(t *testing.T) {
	const token = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"
	for _, c := range []struct{ method, target, want string }{
		{"GET", "/v1/kv/a/b?raw&dc=dc1", `method=GET url="/v1/kv/a/b?raw&dc=dc1" status=200`},
		{"PUT", "/v1/kv/a?token=" + token + "&flags=3", `method=PUT url="/v1/kv/a?token=hidden&flags=3" status=200`},
		{"PUT", "/v1/kv/a?acquire=" + token, `url="/v1/kv/a?acquire=hidden"`},
		{"GET", "/v1/acl/token/" + token, `url=/v1/acl/token/hidden status=404`},
		{"GET", "//v1/acl/token/" + token + "/clone", `url=//v1/acl/token/hidden status=404`},
		{"PUT", "/v1/acl/destroy/" + token + "?x=" + token, `url="/v1/acl/destroy/hidden?x=hidden"`},
		{"GET", "/v1/acl/token/self", `url=/v1/acl/token/self `},
		{"GET", "/v1/kv/a?to%6Ben=" + token, `url="/v1/kv/a?token=hidden"`},
		{"DELETE", "/v1/kv/" + strings.Repeat("k", 2000), "…"},
		{"GET", "/v1/nothing", "url=/v1/nothing status=404"},
	} {
		api, out := logged(t, slog.LevelDebug)
		req := httptest.NewRequestWithContext(t.Context(), c.method, c.target, strings.NewReader("VALUE "+token))
		req.Header.Set("X-Consul-Token", token)
		req.Header.Set("Authorization", "Bearer "+token)
		req.RemoteAddr = "192.0.2.7:5000"
		api.ServeHTTP(httptest.NewRecorder(), req)
		line := out.String()
		if !strings.Contains(line, c.want) || strings.Contains(line, token) || strings.Contains(line, "VALUE") || strings.Count(line, "\n") != 1 || len(line) > 1000 {
			t.Errorf("%s %s: %q, want %s", c.method, c.target, line, c.want)
		}
		if !strings.Contains(line, "level=DEBUG") || !strings.Contains(line, "took=") || !strings.Contains(line, "from=192.0.2.7:5000") {
			t.Errorf("%s %s: %q", c.method, c.target, line)
		}
	}
}

func TestLoggingCostsNothingWhileNobodyListens(t *testing.T) {
	api, out := logged(t, slog.LevelInfo)
	tee := logging.NewTee(api.log.Handler()) // as in an agent
	api.log = slog.New(tee)
	x := &Exchange{api: api, R: httptest.NewRequest(http.MethodGet, "/v1/kv/a?token=x", nil), Ctx: context.Background()}
	if n := testing.AllocsPerRun(100, x.log); n != 0 || out.Len() != 0 {
		t.Errorf("%v allocations, log %q", n, out)
	}
	l, err := tee.Listen(slog.LevelDebug, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if x.log(); len(l.Lines()) != 1 {
		t.Error("a listener at debug hears nothing")
	}
}

// BenchmarkLog is what a request costs that nobody listens to.
func BenchmarkLog(b *testing.B) {
	api, err := New(Config{Log: slog.New(logging.NewTee(logging.New(new(bytes.Buffer), new(slog.LevelVar), false).Handler())), Registerer: prometheus.NewRegistry()}, nil)
	if err != nil {
		b.Fatal(err)
	}
	x := &Exchange{api: api, R: httptest.NewRequest(http.MethodGet, "/v1/kv/a", nil), Ctx: context.Background()}
	b.ReportAllocs()
	for b.Loop() {
		x.log()
	}
}

func TestEveryAnswerBelowV1TellsTheDefaultPolicy(t *testing.T) {
	api, _ := logged(t, slog.LevelInfo)
	for _, c := range []struct{ method, target string }{
		{"GET", "/v1/kv/a"}, {"PUT", "/v1/kv/a"}, {"POST", "/v1/kv/a"}, {"OPTIONS", "/v1/kv/a"}, {"GET", "/v1/nothing"}, {"GET", "/v1/kv/a?ns=x"},
		{"GET", "/v1/kv"}, {"GET", "/v1/kv/a?%zz"}, {"GET", "/v1/kv/%00"},
	} {
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, httptest.NewRequest(c.method, c.target, nil))
		if got := rec.Header().Get("X-Consul-Default-ACL-Policy"); got != "allow" {
			t.Errorf("%s %s: %d says %q", c.method, c.target, rec.Code, got)
		}
	}
	rec := httptest.NewRecorder()
	if api.ServeHTTP(rec, httptest.NewRequest("GET", "/ui/", nil)); rec.Header().Get("X-Consul-Default-ACL-Policy") != "" {
		t.Error("what is not below /v1/ tells it as well")
	}
}
