package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// Dump is all metrics at one time in the shape of /v1/agent/metrics, twice:
// under our names, where counters and samples cover the agent's life, and under
// Consul's, where they cover the last whole Interval.
type Dump struct {
	Timestamp string
	Gauges    []Gauge
	Points    []struct{} // always empty; clients expect the field
	Counters  []Sample
	Samples   []Sample
}

// Gauge is a value that goes up and down.
type Gauge struct {
	Name   string
	Value  float64
	Labels map[string]string
}

// Sample is a counter, with its value as Count and Sum, or a histogram: Max is
// the upper bound of its highest bucket with an observation (its greatest
// finite bound above that). Min is the lower bound of the lowest under Consul's
// names and 0 under ours; Stddev is not known and 0.
type Sample struct {
	Name   string
	Count  uint64
	Rate   float64 // Sum for each second
	Sum    float64
	Min    float64
	Max    float64
	Mean   float64
	Stddev float64
	Labels map[string]string
}

// AgentHandler serves /v1/agent/metrics: the format of Prometheus if asked for
// by ?format=prometheus or the Accept header, else a Dump as JSON.
func (r *Registry) AgentHandler(names Names) http.Handler {
	prom := r.Handler(names)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if wantsPrometheus(req) {
			prom.ServeHTTP(w, req)
			return
		}
		b, err := r.dump(names)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b) // the client is gone
	})
}

// dump gathers all metrics as the JSON of a Dump.
func (r *Registry) dump(names Names) ([]byte, error) {
	families, err := r.reg.Gather()
	if err != nil {
		r.failed.Inc()
	}
	if unusable(families, err) {
		return nil, errors.New("metrics cannot be gathered")
	}
	d := dump(families, time.Now(), time.Since(r.intervals.born))
	d.inConsulsNames(names, families, r.lately(families), r.shows)
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("metrics cannot be encoded: %w", err)
	}
	return b, nil
}

func wantsPrometheus(req *http.Request) bool {
	if req.URL.Query().Get("format") == "prometheus" {
		return true
	}
	accept := strings.Join(req.Header.Values("Accept"), ",")
	for _, form := range []string{"application/openmetrics-text", "application/vnd.google.protobuf", "version=0.0.4"} {
		if strings.Contains(accept, form) {
			return true
		}
	}
	return false
}

func dump(families []*dto.MetricFamily, now time.Time, life time.Duration) *Dump {
	d := &Dump{Timestamp: now.UTC().Format("2006-01-02 15:04:05 -0700 MST"),
		Gauges: []Gauge{}, Points: []struct{}{}, Counters: []Sample{}, Samples: []Sample{}}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			switch f.GetType() {
			case dto.MetricType_GAUGE:
				d.Gauges = append(d.Gauges, Gauge{f.GetName(), finite(m.GetGauge().GetValue()), labels})
			case dto.MetricType_UNTYPED:
				d.Gauges = append(d.Gauges, Gauge{f.GetName(), finite(m.GetUntyped().GetValue()), labels})
			case dto.MetricType_COUNTER:
				v := finite(m.GetCounter().GetValue())
				s := Sample{Name: f.GetName(), Count: uint64(v), Sum: v, Labels: labels}
				d.Counters = append(d.Counters, s.averaged(life))
			case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
				h := m.GetHistogram()
				s := Sample{Name: f.GetName(), Count: h.GetSampleCount(), Sum: finite(h.GetSampleSum()), Max: highest(h), Labels: labels}
				d.Samples = append(d.Samples, s.averaged(life))
			case dto.MetricType_SUMMARY:
				h := m.GetSummary()
				s := Sample{Name: f.GetName(), Count: h.GetSampleCount(), Sum: finite(h.GetSampleSum()), Labels: labels}
				for _, q := range h.GetQuantile() {
					s.Max = max(s.Max, finite(q.GetValue()))
				}
				d.Samples = append(d.Samples, s.averaged(life))
			}
		}
	}
	return d
}

func (s Sample) averaged(life time.Duration) Sample {
	if s.Count > 0 {
		s.Mean = s.Sum / float64(s.Count)
	}
	if life > 0 {
		s.Rate = s.Sum / life.Seconds()
	}
	return s
}

// highest returns the bound below which all observations are, as far as
// finite bounds tell.
func highest(h *dto.Histogram) float64 {
	var bound float64
	var below uint64
	for _, b := range h.GetBucket() {
		if b.GetCumulativeCount() > below && !math.IsInf(b.GetUpperBound(), 0) {
			bound = b.GetUpperBound()
		}
		below = b.GetCumulativeCount()
	}
	if below < h.GetSampleCount() && len(h.GetBucket()) > 0 {
		bound = finite(h.GetBucket()[len(h.GetBucket())-1].GetUpperBound())
	}
	return bound
}

// finite keeps what JSON cannot say out of a dump.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
