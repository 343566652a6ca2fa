package rest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

// reader may read keys below "a".
type reader struct{}

func (reader) Allow(r rules.Resource, access rules.Access, name string) bool {
	return r == rules.Key && access == rules.Read && name == "a"
}

func (reader) Who() string { return "token with AccessorID 'x'" }

// guarded answers a request for which the agent itself asks for rights.
func guarded(t *testing.T, change func(*Config), r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	cfg := Config{Datacenter: "dc1", Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
	change(&cfg)
	api, err := New(cfg, []Route{{Path: "/v1/agent/", Get: func(x *Exchange) error {
		if err := x.Require(rules.Key, rules.Read, x.Rest); err != nil {
			return err
		}
		return x.Text(http.StatusOK, "shown")
	}}})
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	api.ServeHTTP(rec, r)
	return rec
}

// Wherever a secret may stand, it is that of which rights are asked; the agent's own
// token stands in for none.
func TestRightsAreThoseOfTheRequestsToken(t *testing.T) {
	const denied = "Permission denied: token with AccessorID 'x' lacks permission 'key:read' on \"b\""
	authorize := func(c *Config) {
		c.DefaultToken = func() string { return "default" }
		c.Authorizer = func(_ context.Context, secret string) (rules.Authorizer, error) {
			switch secret {
			case "known", "default":
				return reader{}, nil
			}
			return nil, op.Errorf(op.CodeDenied, "ACL not found")
		}
	}
	for _, c := range []struct {
		target, header, value string
		status                int
		want                  string
	}{
		{"/v1/agent/a", "", "", 200, "shown"},
		{"/v1/agent/b", "", "", 403, denied},
		{"/v1/agent/a?token=known", "", "", 200, "shown"},
		{"/v1/agent/a", "X-Consul-Token", "known", 200, "shown"},
		{"/v1/agent/a", "Authorization", "Bearer known", 200, "shown"},
		{"/v1/agent/b", "Authorization", "bearer known", 403, denied},
		{"/v1/agent/a", "X-Consul-Token", "other", 403, "ACL not found"},
		{"/v1/agent/a?token=other", "X-Consul-Token", "known", 403, "ACL not found"},
	} {
		r := httptest.NewRequest(http.MethodGet, c.target, nil)
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		rec := guarded(t, authorize, r)
		if rec.Code != c.status || rec.Body.String() != c.want {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.target, c.header, c.value, rec.Code, rec.Body, c.status, c.want)
		}
		if reason := rec.Header().Get(headerReason); (reason == "denied") != (c.status == http.StatusForbidden) {
			t.Errorf("%s %s %s: reason %q", c.target, c.header, c.value, reason)
		}
	}
}

func TestWithoutAccessControlEverythingIsAllowed(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/v1/agent/b?token=whatever", nil)
	if rec := guarded(t, func(*Config) {}, r); rec.Code != http.StatusOK {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestDefaultPolicyIsTheConfigured(t *testing.T) {
	for policy, want := range map[string]string{"": "allow", "allow": "allow", "deny": "deny"} {
		rec := guarded(t, func(c *Config) { c.DefaultPolicy = policy }, httptest.NewRequest(http.MethodGet, "/v1/agent/a", nil))
		if got := rec.Header().Get("X-Consul-Default-ACL-Policy"); got != want {
			t.Errorf("%q shows as %q", policy, got)
		}
	}
}

// An answer without an end has one when its token does not grant it any more.
func TestLastingAnswersEndWithTheirRights(t *testing.T) {
	for name, c := range map[string]struct {
		after rules.Authorizer
		err   error
		want  time.Duration // that it lasts
	}{
		"the token goes":               {nil, op.Errorf(op.CodeDenied, "ACL not found"), askedAgain},
		"its rights go":                {rules.Compile(rules.Settings{}, nil).For("x"), nil, askedAgain},
		"nothing changes":              {rules.AllowAll(), nil, time.Hour},
		"nobody can be asked about it": {nil, op.ErrNoServers, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				cfg := Config{NodeName: "n1", Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
					Authorizer: func(context.Context, string) (rules.Authorizer, error) {
						if asked++; asked > 1 {
							return c.after, c.err
						}
						return rules.AllowAll(), nil
					}}
				api, err := New(cfg, []Route{{Path: "/v1/agent/monitor", Get: Lasting(rules.Agent, rules.Read, func(x *Exchange) error {
					<-x.Ctx.Done()
					return x.Text(http.StatusOK, "")
				})}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began := time.Now()
				api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/v1/agent/monitor", nil))
				if lasted := time.Since(began); lasted != c.want {
					t.Errorf("it lasted %s, want %s", lasted, c.want)
				}
			})
		})
	}
}
