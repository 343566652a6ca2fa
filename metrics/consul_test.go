package metrics

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var named = Names{Prefix: "consul", Host: "h1", Datacenter: "dc1"}

func dumped(t *testing.T, r *Registry, names Names) *Dump {
	t.Helper()
	rec := httptest.NewRecorder()
	r.AgentHandler(names).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/v1/agent/metrics", nil))
	d := &Dump{}
	if err := json.Unmarshal(rec.Body.Bytes(), d); err != nil {
		t.Fatal(err)
	}
	return d
}

func found(list []Sample, name string, labels map[string]string) *Sample {
	for i, s := range list {
		if s.Name == name && len(s.Labels) == len(labels) {
			same := true
			for k, v := range labels {
				same = same && s.Labels[k] == v
			}
			if same {
				return &list[i]
			}
		}
	}
	return nil
}

func gaugeOf(d *Dump, name string) float64 {
	for _, g := range d.Gauges {
		if g.Name == name {
			return g.Value
		}
	}
	return math.NaN()
}

func TestConsulsNamesHaveTheHostInGaugesOnly(t *testing.T) {
	r := NewRegistry("n")
	defer r.Close()
	for _, c := range []struct {
		names        Names
		gauge, count string
	}{
		{named, "consul.h1.runtime.alloc_bytes", "consul.memberlist.msg.alive"},
		{Names{Prefix: "consul"}, "consul.runtime.alloc_bytes", "consul.memberlist.msg.alive"},
		{Names{}, "runtime.alloc_bytes", "memberlist.msg.alive"},
	} {
		r.gossip.series[seriesKey{"memberlist.msg.alive", "lan"}].add.Inc()
		d := dumped(t, r, c.names)
		if v := gaugeOf(d, c.gauge); math.IsNaN(v) || v <= 0 {
			t.Errorf("%s is %v", c.gauge, v)
		}
		if found(d.Counters, c.count, map[string]string{"network": "lan"}) == nil {
			t.Errorf("no counter %s", c.count)
		}
	}
}

// calls are series as the HTTP interface has them.
func calls(r *Registry) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "legate_http_request_seconds", Help: "x.", Buckets: []float64{0.1, 1, 10}}, []string{"route", "method"})
	r.MustRegister(h)
	return h
}

func TestIntervalsAreWhatCameSinceTheOneBefore(t *testing.T) {
	r := NewRegistry("n")
	defer r.Close()
	h := calls(r)
	get := h.WithLabelValues("/v1/kv/", "GET")
	labels := map[string]string{"method": "GET", "path": "v1_kv_"}
	begin := time.Now()
	r.turn(begin) // nobody asked: no interval begins
	get.Observe(0.05)
	get.Observe(5)
	s := found(dumped(t, r, named).Samples, "consul.api.http", labels)
	if s == nil || s.Count != 2 || s.Sum != 5050 || s.Mean != 2525 || s.Max != 10000 || s.Min != 0 {
		t.Fatalf("since the beginning: %+v", s)
	}
	r.turn(begin.Add(10 * time.Second))
	get.Observe(0.5)
	get.Observe(0.7)
	r.turn(begin.Add(20 * time.Second))
	get.Observe(7) // in the interval that runs
	s = found(dumped(t, r, named).Samples, "consul.api.http", labels)
	if s == nil || s.Count != 2 || math.Abs(s.Sum-1200) > 0.001 || s.Max != 1000 || s.Min != 100 || math.Abs(s.Rate-120) > 0.001 {
		t.Errorf("the last interval: %+v", s)
	}
	r.turn(begin.Add(30 * time.Second))
	r.turn(begin.Add(40 * time.Second))
	if s = found(dumped(t, r, named).Samples, "consul.api.http", labels); s != nil {
		t.Errorf("nothing came, yet %+v", s)
	}
}

func TestIntervalsAreNotGatheredForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry("n")
		defer r.Close()
		var gathered atomic.Int64
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_x", Help: "x."}, func() float64 { return float64(gathered.Add(1)) }))
		go r.Run(t.Context(), Interval)
		<-time.After(time.Hour)
		if n := gathered.Load(); n != 0 {
			t.Errorf("gathered %d times for nobody", n)
		}
		dumped(t, r, named)
		<-time.After(time.Hour)
		if n, most := gathered.Load(), int64(forgotten/Interval)+2; n < 2 || n > most {
			t.Errorf("gathered %d times for one who asked once, at most %d are due", n, most)
		}
	})
}

func TestSeriesAreAddedUpOverLabelsThatAreNotShown(t *testing.T) {
	r := NewRegistry("n")
	defer r.Close()
	rpc := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "legate_rpc_seconds", Help: "x."}, []string{"operation", "datacenter"})
	rows := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "legate_state_rows", Help: "x."}, []string{"table"})
	r.MustRegister(rpc, rows)
	rpc.WithLabelValues("session.create", "local").Observe(1)
	rpc.WithLabelValues("session.destroy", "dc2").Observe(2)
	rpc.WithLabelValues("session.renew", "local").Observe(4)
	rows.WithLabelValues("kv").Set(7)
	d := dumped(t, r, named)
	if s := found(d.Samples, "consul.session.apply", nil); s == nil || s.Count != 2 || s.Sum != 3000 {
		t.Errorf("session.apply: %+v", s)
	}
	if s := found(d.Counters, "consul.rpc.request", nil); s == nil || s.Count != 3 {
		t.Errorf("rpc.request: %+v", s)
	}
	for _, g := range d.Gauges {
		if g.Name == "consul.h1.state.kv_entries" && (g.Value != 7 || g.Labels["datacenter"] != "dc1") {
			t.Errorf("%+v", g)
		}
	}
	if v := gaugeOf(d, "consul.h1.state.kv_entries"); v != 7 {
		t.Errorf("state.kv_entries: %v", v)
	}
}

func TestRowsAreSound(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range consulRows() {
		if seen[r.name] || r.name == "" || r.family == "" || r.kind == 0 {
			t.Errorf("%+v", r)
		}
		seen[r.name] = true
	}
}

// Consul's leader measures how long ago it heard of each of the others; what a
// follower has of its leader is something else.
func TestLastContactIsTheLeadersOfTheOthers(t *testing.T) {
	r := NewRegistry("n")
	defer r.Close()
	own := prometheus.NewGauge(prometheus.GaugeOpts{Name: "legate_raft_last_contact_seconds", Help: "h"})
	own.Set(9)
	of := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "legate_raft_peer_last_contact_seconds", Help: "h"}, []string{"peer"})
	r.MustRegister(own, of)
	names := Names{Prefix: "consul", Compat: true}
	if got := exposition(t, r, names); hasPrefix(got, "consul_raft_leader_lastContact") {
		t.Error("a follower has it")
	}
	of.WithLabelValues("a").Set(0.125)
	of.WithLabelValues("b").Set(0.375)
	got := exposition(t, r, names)
	if q, n := got[`consul_raft_leader_lastContact{quantile="0.9"}`], got["consul_raft_leader_lastContact_count"]; q != 250 || n != 2 {
		t.Errorf("%v ms of %v", q, n)
	}
	now, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if lines := r.lines(Sink{Protocol: Statsd}, names, now, now); !slices.Contains(lines, "consul.raft.leader.lastContact:250|ms|@0.5\n") {
		t.Errorf("%q", lines)
	}
}
