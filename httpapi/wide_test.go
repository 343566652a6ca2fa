package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
)

// One row is one question to several datacenters with what
// is asked of the server; the answer says what became of each.
func TestSeveralDatacenters(t *testing.T) {
	meta := op.Meta{Index: 1<<52 - 1, Opaque: true, KnownLeader: true, Datacenter: "dc2", Age: 11500 * time.Millisecond, Outcomes: []op.Outcome{
		{Datacenter: "dc1"}, {Datacenter: "dc2", State: op.Aged, Age: 11500 * time.Millisecond}, {Datacenter: "dc3", State: op.Unreachable}}}
	for _, c := range []struct{ target, dc string }{
		{"/v1/health/service/web?dc=nearest&passing", "nearest"},
		{"/v1/health/service/web?dc=dc2,dc3", "dc2,dc3"},
		{"/v1/health/service/web?dc=dc2%2Cdc3&index=7&wait=1s", "dc2,dc3"},
		{"/v1/health/state/critical?dc=all", "all"},
		{"/v1/health/checks/web?dc=dc2%3Ednc3", "dc2>dnc3"},
		{"/v1/catalog/service/web?dc=nearest", "nearest"},
		{"/v1/catalog/nodes?dc=all&stale", "all"},
		{"/v1/catalog/services?dc=all&cached", "all"},
	} {
		caller := &resttest.Caller{Answers: resttest.Records(), Meta: &meta}
		w := start(t, func(cfg *Config) { cfg.Caller = caller })
		r := w.do("GET", c.target, "")
		if r.Code != http.StatusOK || caller.Header().Datacenter != c.dc {
			t.Errorf("%s: %d %s, asked of %q", c.target, r.Code, r.Body, caller.Header().Datacenter)
		}
		for name, want := range map[string]string{"X-Legate-Datacenters": "dc1;ok, dc2;stale;age=12, dc3;unreachable", "X-Legate-Datacenter": "dc2", "Age": "12", "X-Consul-Index": "4503599627370495"} {
			if got := r.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", c.target, name, got, want)
			}
		}
	}
}
