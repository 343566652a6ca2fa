package httpapi

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/web"
)

// The page is for everybody, whoever may do what; what it asks for is not.
func TestThePageIsServed(t *testing.T) {
	w := start(t, func(cfg *Config) {
		cfg.UI, cfg.Domain = config.UIConfig{Enabled: true, ContentPath: "/ui/"}, "example.org."
		cfg.Authorizer = func(context.Context, string) (rules.Authorizer, error) {
			return nil, op.Errorf(op.CodeDenied, "ACL not found")
		}
	})
	if r := w.do("GET", "/", ""); r.Code != 307 || r.Header().Get("Location") != "/ui/" {
		t.Errorf("/: %d to %q", r.Code, r.Header().Get("Location"))
	}
	if r := w.do("GET", "/ui", ""); r.Code != 301 || r.Header().Get("Location") != "/ui/" {
		t.Errorf("/ui: %d to %q", r.Code, r.Header().Get("Location"))
	}
	r := w.do("GET", "/ui/dc1/services/a%2Fb", "")
	if r.Code != 200 || !strings.Contains(r.Body.String(), "example.org&#34;") || r.Header().Get("Content-Security-Policy") != web.Policy {
		t.Errorf("a page: %d %v %s", r.Code, r.Header(), r.Body)
	}
	if r := w.do("PUT", "/ui/", ""); r.Code != 405 {
		t.Errorf("PUT: %d", r.Code)
	}
	if r := start(t).do("GET", "/ui/", ""); r.Code != 404 {
		t.Errorf("it is served where it is off: %d", r.Code)
	}
	blocked := start(t, func(cfg *Config) { cfg.UI = config.UIConfig{Enabled: true, ContentPath: "/ui/"} }, httpConfig(config.HTTPConfig{BlockEndpoints: []string{"/ui/"}}))
	if r := blocked.do("GET", "/ui/", ""); r.Code != 403 {
		t.Errorf("it is served where it is blocked: %d", r.Code)
	}
	_, err := New(Config{Caller: w.caller, Agent: thisAgent{}, Local: w.cfg.Local, Log: logging.Discard(), Registerer: prometheus.NewRegistry(),
		UI: config.UIConfig{Enabled: true, ContentPath: "/ui/", Dir: t.TempDir() + "/none"}})
	if err == nil || !strings.Contains(err.Error(), "ui_config.dir") {
		t.Errorf("a folder that is not there: %v", err)
	}
}
