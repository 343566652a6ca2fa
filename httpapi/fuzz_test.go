package httpapi

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/legate-project/legate/state"
)

// Whatever a client asks: it is answered, and what fails on the client's side is said to
// be that.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][4]string{
		{"GET", "/v1/kv/a", "index=1&wait=1ms&filter=x", ""},
		{"GET", "/v1/health/service/web", "passing&near=_agent&tag=a&filter=Service.Port+==+80", ""},
		{"GET", "/v1/catalog/nodes", "node-meta=a:b&cached&dc=dc1", ""},
		{"PUT", "/v1/catalog/register", "", `{"Node":"n","Address":"10.0.0.1","Service":{"Service":"web","Port":80},"Check":{"Definition":{"Interval":"1s"}}}`},
		{"PUT", "/v1/catalog/deregister", "", `{"Node":"n"}`},
		{"PUT", "/v1/txn", "", `[{"KV":{"Verb":"set","Key":"k","Value":"dg=="}},{"Node":{"Verb":"set","Node":{"Node":"n"}}}]`},
		{"PUT", "/v1/session/create", "", `{"TTL":"10s","LockDelay":"15s","Behavior":"delete"}`},
		{"POST", "/v1/query", "", `{"Name":"q","Service":{"Service":"web","Failover":{"Datacenters":["dc2"]}},"DNS":{"TTL":"10s"}}`},
		{"PUT", "/v1/acl/token", "", `{"Policies":[{"Name":"p"}],"ServiceIdentities":[{"ServiceName":"web"}],"ExpirationTTL":"1h"}`},
		{"PUT", "/v1/acl/policy", "", `{"Name":"p","Rules":"key_prefix \"\" { policy = \"read\" }"}`},
		{"PUT", "/v1/acl/auth-method", "", `{"Name":"m","Type":"jwt","MaxTokenTTL":"1h","Config":{"BoundAudiences":["a"]}}`},
		{"POST", "/v1/acl/login", "", `{"AuthMethod":"m","BearerToken":"x","Meta":{"a":"b"}}`},
		{"PUT", "/v1/coordinate/update", "", `{"Node":"n","Coord":{"Vec":[1,2],"Error":1.5}}`},
		{"POST", "/v1/internal/acl/authorize", "", `[{"Resource":"key","Segment":"a","Access":"read"}]`},
		{"PUT", "/v1/operator/keyring", "relay-factor=9", `{"Key":"x"}`},
		{"GET", "/v1/status/leader", "pretty&stale&consistent", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	w := start(f)
	for _, o := range state.Operations() { // what the fake has no answer for is answered with nothing in it
		if _, known := w.caller.Answers[o.OpName()]; known {
			continue
		}
		if empty, err := o.DecodeResult([]byte{0x80}); err == nil {
			w.caller.Answers[o.OpName()] = empty
		}
	}
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		switch {
		case method != http.MethodGet && method != http.MethodPut && method != http.MethodPost && method != http.MethodDelete:
			return
		case strings.HasPrefix(path, "/v1/agent") || strings.HasPrefix(path, "/debug") || !strings.HasPrefix(path, "/"): // the fake has no agent; net/http lets no other path in
			return
		}
		req := httptest.NewRequest(method, "/", strings.NewReader(body))
		req.URL = &url.URL{Path: path, RawQuery: query + "&wait=1ms"}
		req.RequestURI = req.URL.RequestURI()
		rec := httptest.NewRecorder()
		w.Server.api.ServeHTTP(rec, req)
		if rec.Code == http.StatusInternalServerError && strings.Contains(rec.Body.String(), "could not be handled") || rec.Code < 200 || rec.Code > 599 {
			t.Errorf("%s %q?%q %q: %d %s", method, path, query, body, rec.Code, rec.Body)
		}
	})
}
