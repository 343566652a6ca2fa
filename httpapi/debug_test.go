package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestProfilesAreServedWhereAllowed(t *testing.T) {
	var on atomic.Bool
	s := start(t, func(c *Config) { c.Debug = on.Load })
	ask := func(path string) *httptest.ResponseRecorder { return s.do(http.MethodGet, path, "") }
	if w := ask("/debug/pprof/goroutine?debug=1"); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "enable_debug") {
		t.Errorf("not allowed: %d %s", w.Code, w.Body)
	}
	on.Store(true)
	for path, want := range map[string]int{
		"/debug/pprof/": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/heap": 200, "/debug/pprof/symbol": 200,
		"/debug/pprof/cmdline": 403, "/debug/pprof/nothing": 404, "/debug/pprof/profile?seconds=x": 400,
		"/debug/pprof/heap?seconds=100000": 400, "/debug/pprof/goroutine?seconds=-1": 400, "/debug/pprof/trace?seconds=NaN": 400,
		"/debug/pprof/profile?seconds=100000": 400, "/debug/pprof/trace?seconds=0.01": 200,
	} {
		if w := ask(path); w.Code != want {
			t.Errorf("%s: %d %.100s", path, w.Code, w.Body)
		}
	}
}
