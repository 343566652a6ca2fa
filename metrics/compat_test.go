package metrics

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gometrics "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// exposition is what Prometheus reads: values by series.
func exposition(t *testing.T, r *Registry, names Names) map[string]float64 {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
	rec := httptest.NewRecorder()
	r.Handler(names).ServeHTTP(rec, req)
	out := map[string]float64{}
	types := map[string]bool{}
	for line := range strings.Lines(rec.Body.String()) {
		line = strings.TrimSpace(line)
		if kind, ok := strings.CutPrefix(line, "# TYPE "); ok {
			if name, _, _ := strings.Cut(kind, " "); types[name] && !strings.HasPrefix(name, "go_memstats_") { // as client_golang has them
				t.Errorf("%s is there twice", name)
			} else {
				types[name] = true
			}
		}
		if i := strings.LastIndexByte(line, ' '); i > 0 && !strings.HasPrefix(line, "#") {
			v, err := strconv.ParseFloat(line[i+1:], 64)
			if err != nil || math.IsNaN(v) {
				t.Errorf("%s: %v", line, err)
			}
			if _, twice := out[line[:i]]; twice {
				t.Errorf("%s is there twice", line[:i])
			}
			out[line[:i]] = v
		}
	}
	return out
}

func TestPrometheusReadsConsulsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry("n")
		defer r.Close()
		h := calls(r)
		names := Names{Prefix: "consul", Host: "h1", Datacenter: "dc1", Compat: true}
		if got := exposition(t, r, Names{Prefix: "consul"}); got[`consul_memberlist_msg_alive{network="lan"}`] != 0 || len(got) == 0 || hasPrefix(got, "consul_") {
			t.Error("Consul's names are there unasked")
		}
		got := exposition(t, r, names)
		for series, want := range map[string]float64{
			`consul_memberlist_msg_alive{network="lan"}`: 0, `consul_memberlist_gossip{network="wan",quantile="0.99"}`: 0,
			`consul_memberlist_gossip_count{network="wan"}`: 0, "consul_serf_lan_member_flap": 0,
		} {
			if v, ok := got[series]; !ok || v != want {
				t.Errorf("before the first event %s is %v, %v", series, v, ok)
			}
		}
		if got["consul_runtime_num_goroutines"] < 1 {
			t.Error("no goroutines")
		}
		go r.Run(t.Context(), Interval)
		<-time.After(Interval + time.Second) // an interval has begun
		gometrics.IncrCounterWithLabels([]string{"memberlist", "msg", "alive"}, 3, labels("n", "lan"))
		for range 90 {
			h.WithLabelValues("/v1/kv/", "GET").Observe(0.05)
		}
		for range 10 {
			h.WithLabelValues("/v1/kv/", "GET").Observe(5)
		}
		<-time.After(Interval)
		got = exposition(t, r, names)
		near := func(series string, want, within float64) {
			t.Helper()
			if v, ok := got[series]; !ok || math.Abs(v-want) > within {
				t.Errorf("%s is %v, want %v", series, v, want)
			}
		}
		near(`consul_memberlist_msg_alive{network="lan"}`, 3, 0)
		near(`consul_api_http{method="GET",path="v1_kv_",quantile="0.5"}`, 50, 50) // milliseconds
		near(`consul_api_http{method="GET",path="v1_kv_",quantile="0.99"}`, 9100, 100)
		near(`consul_api_http_count{method="GET",path="v1_kv_"}`, 100, 0)
		near(`consul_api_http_sum{method="GET",path="v1_kv_"}`, 90*50+10*5000, 1e-6)
		<-time.After(Interval) // in which nothing came
		got = exposition(t, r, names)
		near(`consul_api_http{method="GET",path="v1_kv_",quantile="0.99"}`, 0, 0)
		near(`consul_api_http_count{method="GET",path="v1_kv_"}`, 100, 0)
		near(`consul_memberlist_msg_alive{network="lan"}`, 3, 0)

		f, err := NewFilter(true, []string{"-consul.memberlist", "+consul.memberlist.msg"})
		if err != nil {
			t.Fatal(err)
		}
		r.SetFilter(f)
		if got = exposition(t, r, names); hasPrefix(got, "consul_memberlist_gossip") || !hasPrefix(got, "consul_memberlist_msg") || !hasPrefix(got, "consul_runtime") ||
			!hasPrefix(got, "legate_gossip_round_seconds") {
			t.Error("the filter does not decide what is shown")
		}
		if d := dumped(t, r, names); found(d.Samples, "consul.memberlist.gossip", map[string]string{"network": "lan"}) != nil ||
			math.IsNaN(gaugeOf(d, "consul.h1.runtime.num_goroutines")) {
			t.Error("nor in the dump")
		}
	})
}

func hasPrefix(series map[string]float64, prefix string) bool {
	for s := range series {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

func TestTheLongestPrefixDecides(t *testing.T) {
	for _, c := range []struct {
		keep   bool
		signed []string
		name   string
		passes bool
	}{
		{true, nil, "consul.x", true},
		{false, nil, "consul.x", false},
		{true, []string{"-consul.rpc"}, "consul.rpc.request", false},
		{true, []string{"-consul.rpc", "+consul.rpc.request"}, "consul.rpc.request", true},
		{false, []string{"+consul.rpc", "-consul.rpc.request"}, "consul.rpc.request_error", false},
		{false, []string{"+consul.rpc"}, "consul.raft.apply", false},
		{true, []string{"+a", "-a"}, "a.b", false},
	} {
		f, err := NewFilter(c.keep, c.signed)
		if err != nil || f.passes(c.name) != c.passes {
			t.Errorf("%v: %v, %v", c, !c.passes, err)
		}
	}
	for _, bad := range []string{"", "+", "consul."} {
		if _, err := NewFilter(true, []string{bad}); err == nil {
			t.Errorf("%q is a prefix with a sign", bad)
		}
	}
}

func TestRowsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range consulRows() {
		if name := underscored(r.name); seen[name] {
			t.Errorf("%s is there twice", name)
		} else {
			seen[name] = true
		}
	}
}

func BenchmarkScrape(b *testing.B) {
	r := NewRegistry("n")
	defer r.Close()
	for name, names := range map[string]Names{"own": {}, "compat": {Prefix: "consul", Compat: true}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Handler(names).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
			}
		})
	}
}

// A metric that is there twice makes Prometheus refuse or mix up the scrape.
func TestNoPrefixMakesAMetricTwice(t *testing.T) {
	r := NewRegistry("n")
	defer r.Close()
	version := prometheus.NewGauge(prometheus.GaugeOpts{Name: "legate_version", Help: "h"})
	version.Set(1)
	r.MustRegister(version)
	if got := exposition(t, r, Names{Prefix: "legate", Compat: true}); got["legate_version"] != 1 || got["legate_runtime_num_goroutines"] == 0 {
		t.Errorf("%v", got)
	}
}
