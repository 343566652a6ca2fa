package metrics

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// compat gathers a registry with, beside it, the metrics that Consul has names
// for under the names that its Prometheus sink gives them. Consul's samples are
// summaries there: their quantiles are of the last whole Interval, 0 when
// nothing was observed in it; their sums and counts are of the agent's life.
type compat struct {
	r     *Registry
	names Names
}

var _ prometheus.Gatherer = (*compat)(nil)

// Gather implements prometheus.Gatherer.
func (c *compat) Gather() ([]*dto.MetricFamily, error) {
	families, err := c.r.reg.Gather()
	if unusable(families, err) {
		return families, err
	}
	out := append(families, c.families(families, c.r.lately(families))...)
	return out, err
}

// quantiles are those that Consul's summaries have.
var quantiles = [...]float64{0.5, 0.9, 0.99}

// families are the rows of the table that something is known of. Hosts are not
// in the names: there they would make another metric of each server's.
func (c *compat) families(now []*dto.MetricFamily, in interval) []*dto.MetricFamily {
	names := c.names
	names.Host = ""
	at, from, to := byName(now), byName(in.from), byName(in.to)
	var out []*dto.MetricFamily
	for _, r := range consulRows() {
		source := at[r.family]
		name := names.of(&r)
		if source == nil || !c.r.shows(name) || at[underscored(name)] != nil { // a prefix can make one of ours of it
			continue
		}
		if r.times == 0 {
			r.times = 1
		}
		lately := map[string]*total{}
		for _, t := range r.between(names, from[r.family], to[r.family]) {
			lately[keyOf(t.labels)] = t
		}
		f := &dto.MetricFamily{Name: new(underscored(name)), Help: new("As in Consul; see " + r.family + "."), Type: r.kind.family().Enum()}
		for _, t := range r.sums(names, source) {
			if t.count == 0 && strings.Contains(r.shown, "method=") {
				continue // hundreds of routes and operations that nobody asked for
			}
			f.Metric = append(f.Metric, r.metric(t, lately[keyOf(t.labels)]))
		}
		if len(f.Metric) > 0 {
			out = append(out, f)
		}
	}
	return out
}

func (s shape) family() dto.MetricType {
	switch s {
	case count:
		return dto.MetricType_COUNTER
	case sample:
		return dto.MetricType_SUMMARY
	}
	return dto.MetricType_GAUGE
}

// metric is one series; lately is what of it came in the last interval.
func (r *row) metric(t, lately *total) *dto.Metric {
	m := &dto.Metric{}
	for _, name := range slices.Sorted(maps.Keys(t.labels)) {
		m.Label = append(m.Label, &dto.LabelPair{Name: new(underscored(name)), Value: new(t.labels[name])})
	}
	switch r.kind {
	case gauge:
		m.Gauge = &dto.Gauge{Value: new(t.sum * r.times)}
	case runs:
		m.Gauge = &dto.Gauge{Value: new(float64(t.count))}
	case count:
		m.Counter = &dto.Counter{Value: new(float64(t.count))}
	case sample:
		m.Summary = &dto.Summary{SampleCount: new(t.count), SampleSum: new(t.sum * r.times)}
		for _, q := range quantiles {
			v := 0.0
			if lately != nil {
				v = lately.quantile(q) * r.times
			}
			m.Summary.Quantile = append(m.Summary.Quantile, &dto.Quantile{Quantile: new(q), Value: new(v)})
		}
	}
	return m
}

// quantile is what the share q of the observations is at most, as far as the
// bounds of buckets tell: between two of them evenly spread. Without bounds it is
// the mean, and 0 without observations.
func (t *total) quantile(q float64) float64 {
	switch {
	case t.count == 0:
		return 0
	case len(t.buckets) == 0:
		return t.sum / float64(t.count)
	}
	rank, seen, low := q*float64(t.count), 0.0, 0.0
	for _, bound := range slices.Sorted(maps.Keys(t.buckets)) {
		high, n := finite(bound), float64(t.buckets[bound])
		if n > 0 && seen+n >= rank {
			return low + (high-low)*(rank-seen)/n
		}
		seen += n
		low = max(low, high)
	}
	return low
}

// underscored is a name as Prometheus takes it.
func underscored(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}
