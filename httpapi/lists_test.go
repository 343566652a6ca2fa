package httpapi

import (
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
)

// lists are the reads of lists, each with a selector that its records have.
func lists() map[string]string {
	return map[string]string{
		"/v1/catalog/nodes": "Node", "/v1/catalog/services": "ServiceName", "/v1/catalog/service/web": "ServiceName",
		"/v1/catalog/node/n1": "Service", "/v1/catalog/node-services/n1": "Service",
		"/v1/health/node/n1": "CheckID", "/v1/health/checks/web": "CheckID", "/v1/health/state/any": "CheckID", "/v1/health/service/web": "Service.ID",
		"/v1/internal/ui/nodes": "Node", "/v1/internal/ui/services": "Name",
	}
}

// Every parameter is taken on every list.
func TestParametersOfLists(t *testing.T) {
	const bad = "Failed to create boolean expression evaluator: "
	callers := map[string]*resttest.Caller{"full": {Answers: resttest.Records()}, "empty": {}}
	servers := map[string]*world{}
	for what, caller := range callers {
		servers[what] = start(t, func(cfg *Config) { cfg.Caller = caller })
	}
	for path, selector := range lists() {
		for _, c := range []struct {
			query  string
			status int
			want   string // a part of the answer
			header op.Header
		}{
			{"", 200, "", op.Header{}},
			{"near=n2", 200, "", op.Header{Near: "n2"}},
			{"near=_agent", 200, "", op.Header{Near: "n1"}},
			{"near=_ip", 200, "", op.Header{Near: op.NearAddress + "192.0.2.1"}},
			{"node-meta=a:1&node-meta=b:2", 200, "", op.Header{}},
			{"node-meta=a", 400, "node-meta", op.Header{}},
			{"merge-central-config", 200, "", op.Header{}},
			{"stale", 200, "", op.Header{Consistency: op.Stale}},
			{"consistent", 200, "", op.Header{Consistency: op.Consistent}},
			{"cached", 200, "", op.Header{}},
			{"stale&consistent", 400, "conflicting semantics", op.Header{}},
			{"dc=dc2", 200, "", op.Header{Datacenter: "dc2"}},
			{"index=3&wait=2s", 200, "", op.Header{MinIndex: 3, MaxWait: 2 * time.Second}},
			{"wait=x&index=3", 400, "Invalid wait time", op.Header{}},
			{"index=x", 400, "Invalid index", op.Header{}},
			{"filter=" + selector + "==nobody", 200, "", op.Header{}},
			{"filter=" + selector + "==", 400, bad, op.Header{}},
			{"filter=Nothing==x", 400, bad, op.Header{}},
			{"filter=" + selector + "!=x+or+Nothing==x", 400, bad, op.Header{}},
			{"filter=" + selector + "==x+and+(" + selector + "!=y+and+not+Nothing==x)", 400, bad, op.Header{}},
			{"filter=" + selector + "[`x`]==1", 400, bad, op.Header{}},
			{"filter=" + selector + "+matches+`(`", 400, bad, op.Header{}},
			{"filter=\"x\"+in+" + selector, 200, "", op.Header{}},
			{"filter=" + selector + "+!=+`a%22b%5Cc`", 200, "", op.Header{}},
			{"filter=\"\"==x", 400, bad, op.Header{}},
			{"pretty", 200, "", op.Header{}},
		} {
			for what, caller := range callers {
				caller.Forget()
				rec := servers[what].do("GET", path+"?"+c.query, "")
				if rec.Code != c.status || !strings.Contains(rec.Body.String(), c.want) {
					t.Errorf("%s?%s, %s: %d %s, want %d %s", path, c.query, what, rec.Code, rec.Body, c.status, c.want)
				}
				if c.status == 200 && caller.Header() != c.header || c.status != 200 && len(caller.Asked()) > 0 {
					t.Errorf("%s?%s asked %v with %+v, want %+v", path, c.query, caller.Asked(), caller.Header(), c.header)
				}
			}
		}
	}
}

// Every list carries the headers that clients go by.
func TestHeadersOfLists(t *testing.T) {
	for path := range lists() {
		w := start(t, func(cfg *Config) { cfg.Caller = &resttest.Caller{} })
		rec := w.do("GET", path+"?cached", "")
		for name, want := range map[string]string{"X-Consul-Index": "7", "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0",
			"X-Consul-Effective-Consistency": "leader", "X-Consul-Query-Backend": "blocking-query", "X-Consul-Default-ACL-Policy": "allow",
			"X-Consul-Translate-Addresses": "", "X-Consul-Results-Filtered-By-ACLs": "", "X-Cache": "MISS", "Age": "0", "Content-Type": "application/json"} {
			if got := rec.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if rec := w.do("GET", path, ""); rec.Header().Get("X-Cache") != "" || rec.Header().Get("Age") != "" {
			t.Errorf("%s speaks of a cache that was not asked for", path)
		}
	}
}

// One row is what a request says of how old an answer may be, with the mode in
// which it is asked.
func TestCachedReads(t *testing.T) {
	caller := &resttest.Caller{Answers: resttest.Records()}
	w := start(t, func(cfg *Config) { cfg.Caller, cfg.HTTP.UseCache = caller, true })
	for _, c := range []struct {
		query, control string
		want           op.Header
		status         int
	}{
		{"cached", "", op.Header{Consistency: op.Cached}, 200},
		{"cached&index=3&wait=2s", "", op.Header{Consistency: op.Cached, MinIndex: 3, MaxWait: 2 * time.Second}, 200},
		{"cached", "max-age=30", op.Header{Consistency: op.Cached, MaxAge: 30 * time.Second}, 200},
		{"cached", "max-age=30, stale-if-error=3600", op.Header{Consistency: op.Cached, MaxAge: time.Hour}, 200},
		{"cached", "must-revalidate", op.Header{}, 200},
		{"cached", "max-age=0", op.Header{}, 200},
		{"cached", "must-revalidate,stale-if-error=60", op.Header{Consistency: op.Cached, MaxAge: time.Minute}, 200},
		{"cached", "max-age=soon", op.Header{}, 400},
		{"", "max-age=30", op.Header{}, 200},
		// Clients that ask for both mean what is kept, else any server.
		{"cached&stale", "", op.Header{Consistency: op.Cached}, 200},
		{"cached&stale", "max-age=30", op.Header{Consistency: op.Cached, MaxAge: 30 * time.Second}, 200},
		{"cached&max_stale=20s", "", op.Header{Consistency: op.Cached, MaxAge: 20 * time.Second}, 200},
		{"cached&max_stale=20s", "max-age=10", op.Header{Consistency: op.Cached, MaxAge: 10 * time.Second}, 200},
		{"cached&stale", "must-revalidate", op.Header{Consistency: op.Stale}, 200},
		{"cached&max_stale=20s", "max-age=0", op.Header{Consistency: op.Stale, MaxStale: 20 * time.Second}, 200},
	} {
		for path := range lists() {
			caller.Forget()
			rec := w.do("GET", path+"?"+c.query, "", "Cache-Control", c.control)
			if rec.Code != c.status || caller.Header() != c.want {
				t.Errorf("%s?%s with %q: %d, asked with %+v, want %+v", path, c.query, c.control, rec.Code, caller.Header(), c.want)
			}
		}
	}
	for path := range lists() {
		caller.Meta = &op.Meta{Index: 7, Consistency: op.Cached, Age: 1500 * time.Millisecond, LastContact: 1500 * time.Millisecond, Hit: true}
		rec := w.do("GET", path+"?cached", "")
		for name, want := range map[string]string{"X-Cache": "HIT", "Age": "2", "X-Consul-Effective-Consistency": "stale", "X-Consul-KnownLeader": "false", "X-Consul-LastContact": "1500"} {
			if got := rec.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

// Routes that are said to block hand ?index on, and no other does.
func TestBlockingRoutesAreMarked(t *testing.T) {
	for _, r := range Routes(Config{}) {
		if r.Get == nil || strings.HasPrefix(r.Path, "/v1/agent/") {
			continue
		}
		caller := &resttest.Caller{Answers: resttest.Records()}
		w := start(t, func(cfg *Config) { cfg.Caller = caller })
		target := r.Path
		if strings.HasSuffix(target, "/") && target != "/" {
			target += "n1"
		}
		w.do("GET", target+"?index=3&wait=1ms", "")
		if got := caller.Header().MinIndex == 3; got != r.Blocks {
			t.Errorf("%s: blocks %t, marked %t", r.Path, got, r.Blocks)
		}
	}
}
