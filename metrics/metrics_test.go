package metrics

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	gometrics "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func labels(node, pool string) []gometrics.Label {
	return []gometrics.Label{{Name: "pool", Value: pool}, {Name: "node", Value: node}}
}

func want(t *testing.T, r *Registry, name, text string) {
	t.Helper()
	if err := testutil.GatherAndCompare(r, strings.NewReader(text), name); err != nil {
		t.Error(err)
	}
}

func messages(lanSuspect, wanSuspect string) string {
	return `
# HELP legate_gossip_messages_total Messages about members that this one made or took in, by kind: alive, suspect or dead. Worry: suspect and dead ones that go on while nobody fails.
# TYPE legate_gossip_messages_total counter
legate_gossip_messages_total{kind="alive",pool="lan"} 0
legate_gossip_messages_total{kind="alive",pool="wan"} 0
legate_gossip_messages_total{kind="dead",pool="lan"} 0
legate_gossip_messages_total{kind="dead",pool="wan"} 0
legate_gossip_messages_total{kind="suspect",pool="lan"} ` + lanSuspect + `
legate_gossip_messages_total{kind="suspect",pool="wan"} ` + wanSuspect + "\n"
}

func TestSamplesGoToTheAgentTheyName(t *testing.T) {
	a, b := NewRegistry("a", "a.dc1"), NewRegistry("b", "b.dc1")
	defer a.Close()
	defer b.Close()
	suspect := []string{"memberlist", "msg", "suspect"}
	gometrics.IncrCounterWithLabels(suspect, 1, labels("a", "lan"))
	gometrics.IncrCounterWithLabels(suspect, 2, labels("a.dc1", "wan"))
	gometrics.IncrCounterWithLabels(suspect, 4, labels("b", "lan"))
	gometrics.IncrCounterWithLabels(suspect, 8, labels("c", "lan"))
	gometrics.IncrCounterWithLabels(suspect, 8, labels("a", "moon"))
	gometrics.IncrCounter(suspect, 8)
	gometrics.IncrCounterWithLabels([]string{"serf", "events", "deploy"}, 8, labels("a", "lan"))
	want(t, a, "legate_gossip_messages_total", messages("1", "2"))
	want(t, b, "legate_gossip_messages_total", messages("4", "0"))

	a.Close()
	gometrics.IncrCounterWithLabels(suspect, 1, labels("a", "lan"))
	want(t, a, "legate_gossip_messages_total", messages("1", "2"))
}

func TestTheLaterOwnerOfANameKeepsItWhenTheEarlierCloses(t *testing.T) {
	old, new := NewRegistry("n"), NewRegistry("n")
	old.Close()
	defer new.Close()
	gometrics.IncrCounterWithLabels([]string{"memberlist", "msg", "suspect"}, 1, labels("n", "lan"))
	want(t, old, "legate_gossip_messages_total", messages("0", "0"))
	want(t, new, "legate_gossip_messages_total", messages("1", "0"))
}

func TestMillisecondsBecomeSeconds(t *testing.T) {
	r := NewRegistry("n")
	defer r.Close()
	gometrics.AddSampleWithLabels([]string{"memberlist", "probeNode"}, 1500, labels("n", "wan"))
	gometrics.AddSampleWithLabels([]string{"memberlist", "queue", "broadcasts"}, 7, labels("n", "lan"))
	rec := httptest.NewRecorder()
	r.Handler(Names{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`legate_gossip_probe_seconds_bucket{pool="wan",le="1.6384"} 1`,
		`legate_gossip_probe_seconds_bucket{pool="wan",le="0.4096"} 0`,
		`legate_gossip_probe_seconds_sum{pool="wan"} 1.5`,
		`legate_gossip_probe_seconds_count{pool="lan"} 0`,
		`legate_gossip_broadcast_queue_depth{pool="lan"} 7`,
		"go_goroutines ", "process_start_time_seconds ",
	} {
		if !strings.Contains(rec.Body.String(), line) {
			t.Errorf("no line %s", line)
		}
	}
}

func TestNamesAndHelpAreSound(t *testing.T) {
	r := NewRegistry("n")
	defer r.Close()
	r.With("raft", "0").MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_x_total", Help: "X."}))
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("problems %v, %v", problems, err)
	}
	want(t, r, "legate_x_total", "# HELP legate_x_total X.\n# TYPE legate_x_total counter\nlegate_x_total{raft=\"0\"} 0\n")
}

func TestAgentMetricsAreJSONUnlessPrometheusIsAskedFor(t *testing.T) {
	r := NewRegistry("n")
	defer r.Close()
	gometrics.IncrCounterWithLabels([]string{"memberlist", "msg", "alive"}, 3, labels("n", "lan"))
	gometrics.AddSampleWithLabels([]string{"memberlist", "gossip"}, 2, labels("n", "lan"))
	gometrics.AddSampleWithLabels([]string{"memberlist", "gossip"}, 1e6, labels("n", "lan"))
	for _, c := range []struct{ target, accept, kind string }{
		{"/v1/agent/metrics", "", "application/json"},
		{"/v1/agent/metrics", "application/json", "application/json"},
		{"/v1/agent/metrics?format=prometheus", "", "text/plain"},
		{"/v1/agent/metrics", "application/openmetrics-text; version=1.0.0", "application/openmetrics-text"},
		{"/v1/agent/metrics", "text/plain;version=0.0.4;q=0.5", "text/plain"},
	} {
		req := httptest.NewRequest(http.MethodGet, c.target, nil)
		if c.accept != "" {
			req.Header.Set("Accept", c.accept)
		}
		rec := httptest.NewRecorder()
		r.AgentHandler(Names{}).ServeHTTP(rec, req)
		if got := rec.Header().Get("Content-Type"); rec.Code != 200 || !strings.HasPrefix(got, c.kind) {
			t.Errorf("%s, accept %q: %d %s", c.target, c.accept, rec.Code, got)
		}
		if c.kind != "application/json" {
			continue
		}
		var d Dump
		if err := json.Unmarshal(rec.Body.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		checkDump(t, &d)
	}
}

func checkDump(t *testing.T, d *Dump) {
	t.Helper()
	var found int
	for _, s := range d.Counters {
		if s.Name == "legate_gossip_messages_total" && s.Labels["kind"] == "alive" && s.Labels["pool"] == "lan" {
			found++
			if s.Sum != 3 || s.Count != 3 || s.Mean != 1 {
				t.Errorf("counter %+v", s)
			}
		}
	}
	for _, s := range d.Samples {
		if s.Name == "legate_gossip_round_seconds" && s.Labels["pool"] == "lan" {
			found++
			if s.Count != 2 || s.Sum != 1000.002 || s.Max < 6.5 {
				t.Errorf("sample %+v", s)
			}
		}
	}
	for _, g := range d.Gauges {
		if g.Name == "go_goroutines" && g.Value >= 1 {
			found++
		}
	}
	if found != 3 || d.Timestamp == "" || d.Points == nil {
		t.Errorf("%d of 3 series found in %+v", found, d)
	}
}

func TestScrapingWhileWriting(t *testing.T) {
	r := NewRegistry("n")
	defer r.Close()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 200 {
				gometrics.AddSampleWithLabels([]string{"memberlist", "gossip"}, 2, labels("n", "lan"))
				other := NewRegistry("other")
				other.Close()
			}
		})
	}
	for range 20 {
		rec := httptest.NewRecorder()
		r.AgentHandler(Names{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/v1/agent/metrics?format=prometheus", nil))
		if rec.Code != 200 {
			t.Fatalf("scrape answers %d", rec.Code)
		}
	}
	wg.Wait()
	if n := testutil.CollectAndCount(r.failed); n != 1 || testutil.ToFloat64(r.failed) != 0 {
		t.Errorf("%v errors of gathering", testutil.ToFloat64(r.failed))
	}
}

func BenchmarkSample(b *testing.B) {
	r := NewRegistry("n")
	defer r.Close()
	key, l := []string{"memberlist", "msg", "alive"}, labels("n", "lan")
	b.ReportAllocs()
	for b.Loop() {
		gometrics.IncrCounterWithLabels(key, 1, l)
	}
}
