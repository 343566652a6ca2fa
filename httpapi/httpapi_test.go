package httpapi

import (
	"compress/gzip"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
)

// One row is one request with its answer.
func TestWhatAllRoutesShareIsAnswered(t *testing.T) {
	resttest.CheckEach(t, func(t testing.TB) *resttest.Server { return start(t).tested }, []resttest.Case{
		{"PUT", "/v1/catalog/register", strings.Repeat(" ", rest.MaxBody+1), 413, "Request body(1048577 bytes) too large, max size: 1048576 bytes."},
		{"GET", "/v1/nothing", "", 404, "Invalid URL path: not a recognized HTTP API endpoint"},
		{"GET", "/elsewhere", "", 404, "Invalid URL path: not a recognized HTTP API endpoint"},
		{"POST", "/v1/kv/a", "", 405, "method POST not allowed"},
		{"HEAD", "/v1/kv/a", "", 405, "method HEAD not allowed"},
		{"OPTIONS", "/v1/kv/a", "", 200, ""},
		{"GET", "/v1/kv/a%00b", "", 400, "~cannot be printed"},
		{"GET", "/v1/kv/%C3%A4", "", 404, ""},
		{"GET", "/v1/kv/a?stale&consistent", "", 400, "Cannot specify ?stale with ?consistent, conflicting semantics."},
		{"GET", "/v1/kv/a?cached&consistent", "", 400, "Cannot specify ?cached with ?consistent, conflicting semantics."},
		{"GET", "/v1/kv/a?max_stale=x", "", 400, "~max_stale"},
		{"GET", "/v1/kv/a?index=x", "", 400, "Invalid index"},
		{"GET", "/v1/kv/a?index=-1", "", 400, "Invalid index"},
		{"GET", "/v1/kv/a?wait=x", "", 400, "Invalid wait time"},
		{"GET", "/v1/kv/a?x=%zz", "", 400, "~Invalid query string"},
		{"GET", "/v1/kv/a?" + strings.Repeat("x&", 65), "", 400, "~too many parameters"},
		{"GET", "/v1/kv/a?ns=x", "", 400, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`},
		{"GET", "/v1/kv/a?partition=x", "", 400, `~"partition"`},
		{"GET", "/v1/health/service/web?peer=x", "", 400, `~"peer"`},
		{"GET", "/v1/kv/a?dc=dc9", "", 500, "No path to datacenter"},
		{"GET", "/v1/kv/a?dc=dc2", "", 500, "Remote DC has no server currently reachable"},
		{"GET", "/v1/kv/lost", "", 500, "No cluster leader"},
		{"GET", "/v1/kv/busy", "", 429, "too much"},
		{"GET", "/v1/kv/denied", "", 403, "Permission denied: x"},
		{"GET", "/v1/kv/panic", "", 500, "~Internal error"},
		{"GET", "/v1/txn", "", 405, "method GET not allowed"},
		{"GET", "/v1/acl/token/self", "", 401, "ACL support disabled"},
		{"GET", "/v1/connect/ca/roots", "", 501, `{"Error":"This agent has no service mesh"}`},
		{"GET", "/", "", 200, "~Legate agent n1"},
		{"GET", "/robots.txt", "", 200, "~Disallow: /"},
	})
}

// One row is one request with headers of its answer; an empty
// value is a header that is absent.
func TestAnswersCarryTheirHeaders(t *testing.T) {
	for _, c := range []struct {
		method, target string
		want           map[string]string
	}{
		{"GET", "/v1/kv/a", map[string]string{"X-Consul-Index": "7", "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0",
			"X-Consul-Effective-Consistency": "leader", "X-Consul-Query-Backend": "blocking-query", "X-Consul-Default-ACL-Policy": "allow",
			"X-Legate-Datacenter": "dc1", "Content-Type": "application/json", "Vary": "", "X-Consul-Results-Filtered-By-ACLs": ""}},
		{"GET", "/v1/kv/none", map[string]string{"X-Consul-Index": "7", "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0", "X-Consul-Effective-Consistency": "", "X-Consul-Default-ACL-Policy": "allow"}},
		{"GET", "/v1/kv/none?recurse", map[string]string{"X-Consul-Index": "7", "X-Consul-Effective-Consistency": ""}},
		{"GET", "/v1/kv/none?keys", map[string]string{"X-Consul-Index": "7", "X-Consul-Effective-Consistency": ""}},
		{"GET", "/v1/kv/a?stale", map[string]string{"X-Consul-Effective-Consistency": "stale"}},
		{"GET", "/v1/kv/a?consistent", map[string]string{"X-Consul-Effective-Consistency": "consistent"}},
		{"GET", "/v1/kv/a?raw", map[string]string{"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}},
		{"GET", "/v1/health/service/missing", map[string]string{"X-Consul-Index": "7", "X-Consul-Effective-Consistency": "leader"}},
		{"GET", "/v1/kv/a?dc=dc9", map[string]string{"X-Legate-Reason": "unknown-datacenter", "X-Consul-Index": ""}},
		{"GET", "/v1/kv/a?dc=dc2", map[string]string{"X-Legate-Reason": "unreachable-datacenter", "X-Legate-Datacenter": "dc2"}},
		{"GET", "/v1/kv/lost", map[string]string{"X-Legate-Reason": "no-leader", "X-Consul-Default-ACL-Policy": "allow", "X-Consul-Index": "", "X-Consul-Effective-Consistency": ""}},
		{"POST", "/v1/kv/a", map[string]string{"Allow": "OPTIONS,GET,PUT,DELETE"}},
		{"OPTIONS", "/v1/agent/self", map[string]string{"Allow": "OPTIONS,GET"}},
		{"GET", "/v1/kv?recurse", map[string]string{"Location": "/v1/kv/?recurse"}},
	} {
		rec := start(t).do(c.method, c.target, "")
		for name, want := range c.want {
			if got := rec.Header().Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", c.method, c.target, name, got, want)
			}
		}
	}
}

// One row is a request with the header that its operation gets.
func TestParametersReachTheOperation(t *testing.T) {
	for _, c := range []struct {
		target, name, value string
		want                op.Header
	}{
		{"/v1/kv/a", "", "", op.Header{}},
		{"/v1/kv/a?dc=dc1&stale", "", "", op.Header{Datacenter: "dc1", Consistency: op.Stale}},
		{"/v1/kv/a?datacenter=dc1&consistent", "", "", op.Header{Datacenter: "dc1", Consistency: op.Consistent}},
		{"/v1/kv/a?max_stale=5s", "", "", op.Header{Consistency: op.Stale, MaxStale: 5 * time.Second}},
		{"/v1/kv/a?index=5", "", "", op.Header{MinIndex: 5, MaxWait: 5 * time.Minute}},
		{"/v1/kv/a?index=5&wait=2s", "", "", op.Header{MinIndex: 5, MaxWait: 2 * time.Second}},
		{"/v1/kv/a?index=5&wait=20h", "", "", op.Header{MinIndex: 5, MaxWait: 10 * time.Minute}},
		{"/v1/kv/a?wait=2s", "", "", op.Header{}},
		{"/v1/kv/a?token=t1", "X-Consul-Token", "t2", op.Header{Token: "t1"}},
		{"/v1/kv/a", "X-Consul-Token", "t2", op.Header{Token: "t2"}},
		{"/v1/kv/a", "Authorization", "Bearer t3", op.Header{Token: "t3"}},
		{"/v1/kv/a", "Authorization", "Basic t3", op.Header{}},
		{"/v1/health/service/web?near=n5", "", "", op.Header{Near: "n5"}},
		{"/v1/health/service/web?near=_agent", "", "", op.Header{Near: "n1"}},
		{"/v1/status/leader?index=5", "", "", op.Header{}},
	} {
		w := start(t)
		if rec := w.do("GET", c.target, "", c.name, c.value); rec.Code != 200 {
			t.Errorf("%s: %d %s", c.target, rec.Code, rec.Body)
		}
		if w.caller.Header() != c.want {
			t.Errorf("%s: header %+v, want %+v", c.target, w.caller.Header(), c.want)
		}
	}
	for _, c := range []struct {
		target string
		want   op.Header
	}{
		{"/v1/catalog/nodes", op.Header{Consistency: op.Stale, MaxStale: time.Minute}},
		{"/v1/health/service/web?dc=dc1", op.Header{Datacenter: "dc1", Consistency: op.Stale, MaxStale: time.Minute}},
		{"/v1/health/service/web?max_stale=5s", op.Header{Consistency: op.Stale, MaxStale: 5 * time.Second}},
		{"/v1/catalog/nodes?consistent", op.Header{Consistency: op.Consistent}},
		{"/v1/catalog/nodes?leader", op.Header{}},
		{"/v1/kv/a", op.Header{}},
	} {
		w := start(t, func(c *Config) { c.DiscoveryMaxStale = func() time.Duration { return time.Minute } })
		if w.do("GET", c.target, ""); w.caller.Header() != c.want {
			t.Errorf("with discovery_max_stale, %s: header %+v, want %+v", c.target, w.caller.Header(), c.want)
		}
	}
	w := start(t, func(c *Config) { c.DefaultToken = func() string { return "own" } })
	if w.do("GET", "/v1/kv/a", ""); w.caller.Header().Token != "own" {
		t.Error("the agent's own token was not used")
	}
}

func TestLongAnswersAreCompressedForWhoAccepts(t *testing.T) {
	w := start(t)
	for _, c := range []struct {
		target, accept, want string
	}{
		{"/v1/kv/long", "gzip", "gzip"},
		{"/v1/kv/long", "br, gzip;q=0.5", "gzip"},
		{"/v1/kv/long", "", ""},
		{"/v1/kv/long", "gzip;q=0", ""},
		{"/v1/kv/a", "gzip", ""},
	} {
		rec := w.do("GET", c.target, "", "Accept-Encoding", c.accept)
		if got := rec.Header().Get("Content-Encoding"); got != c.want {
			t.Errorf("%s, accepted %q: encoding %q, want %q", c.target, c.accept, got, c.want)
		}
		if got := rec.Header().Get("Vary"); (got == "Accept-Encoding") != strings.Contains(c.target, "long") {
			t.Errorf("%s: Vary is %q", c.target, got)
		}
		if c.want == "" {
			continue
		}
		z, err := gzip.NewReader(rec.Body)
		if err != nil {
			t.Fatal(err)
		}
		var list []struct{ Value []byte }
		if err := json.NewDecoder(z).Decode(&list); err != nil || len(list[0].Value) != 4000 {
			t.Errorf("decoded %v, %v", list, err)
		}
	}
}

func TestHTTPConfig(t *testing.T) {
	w := start(t, httpConfig(config.HTTPConfig{BlockEndpoints: []string{"/v1/agent"}, AllowWriteHTTPFrom: []string{"10.0.0.0/8"},
		ResponseHeaders: map[string]string{"x-frame-options": "DENY"}}))
	for _, c := range []struct {
		method, target, from string
		status               int
		want                 string
	}{
		{"GET", "/v1/agent/self", "10.1.2.3:1", 403, "Endpoint is blocked by agent configuration"},
		{"PUT", "/v1/kv/a", "10.1.2.3:1", 200, "true"},
		{"PUT", "/v1/kv/a", "[::ffff:10.1.2.3]:1", 200, "true"},
		{"PUT", "/v1/kv/a", "11.1.2.3:1", 403, "Access is restricted"},
		{"GET", "/v1/kv/a?raw", "11.1.2.3:1", 200, "one"},
		{"PUT", "/v1/kv/a", "@", 200, "true"},
	} {
		req := httptest.NewRequest(c.method, c.target, strings.NewReader("v"))
		req.RemoteAddr = c.from
		rec := httptest.NewRecorder()
		w.api.ServeHTTP(rec, req)
		if rec.Code != c.status || rec.Body.String() != c.want || rec.Header().Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s %s from %s: %d %s, %v", c.method, c.target, c.from, rec.Code, rec.Body, rec.Header())
		}
	}
	if _, err := New(Config{Log: w.log, HTTP: config.HTTPConfig{AllowWriteHTTPFrom: []string{"x"}}}); err == nil {
		t.Error("a wrong network was taken")
	}
}
