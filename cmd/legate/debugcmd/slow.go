package debugcmd

import (
	"cmp"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	maxSeries    = 200_000 // of one exposition
	bucketSuffix = "_bucket"
	startTime    = "process_start_time_seconds"
)

// exposition is what metrics were at one moment: values by series as Prometheus
// writes them, and the buckets of histograms.
type exposition struct {
	values  map[string]float64
	buckets map[string]map[float64]float64 // series without le → upper bound → count
}

// readExposition reads Prometheus' text form.
func readExposition(from io.Reader) (exposition, error) {
	x := exposition{values: map[string]float64{}, buckets: map[string]map[float64]float64{}}
	count := 0
	err := eachLine(io.LimitReader(from, maxExposition), func(b []byte) {
		line := string(b)
		if line == "" || line[0] == '#' || count >= maxSeries {
			return
		}
		count++
		end := strings.LastIndexByte(line, ' ')
		if end < 0 {
			return
		}
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			return
		}
		series := line[:end]
		if name, bound, ok := bucket(series); ok {
			if x.buckets[name] == nil {
				x.buckets[name] = map[float64]float64{}
			}
			x.buckets[name][bound] = value
			return
		}
		x.values[series] = value
	})
	return x, err
}

// bucket takes the upper bound out of the series of a histogram's bucket.
func bucket(series string) (name string, bound float64, ok bool) {
	name, labels, ok := strings.Cut(series, bucketSuffix+"{")
	if !ok {
		return "", 0, false
	}
	before, rest, ok := strings.Cut(labels, `le="`)
	text, after, ok2 := strings.Cut(rest, `"`)
	bound, err := strconv.ParseFloat(text, 64)
	if !ok || !ok2 || err != nil {
		return "", 0, false
	}
	others := strings.Trim(strings.TrimSuffix(before, ",")+","+strings.Trim(after, ",}"), ",")
	if others != "" {
		name += "{" + others + "}"
	}
	return name, bound, true
}

// slowness is a histogram of seconds over the time of the capture.
type slowness struct {
	series   string
	count    float64
	p50, p99 float64
}

// slowest returns the histograms of seconds that something was added to, those
// with the greatest 99th percentile first. Reads that wait are no sign of anything
// slow, and are left out.
func slowest(first, last exposition) []slowness {
	var found []slowness
	for series, buckets := range last.buckets {
		name, _, _ := strings.Cut(series, "{")
		if !strings.HasSuffix(name, "_seconds") || strings.Contains(name, "blocked") {
			continue
		}
		var bounds []float64
		for b := range buckets {
			bounds = append(bounds, b)
		}
		slices.Sort(bounds)
		counts := make([]float64, len(bounds))
		for i, b := range bounds {
			counts[i] = buckets[b] - first.buckets[series][b]
		}
		if n := len(counts); n == 0 || counts[n-1] <= 0 {
			continue
		}
		s := slowness{series: series, count: counts[len(counts)-1], p50: quantile(.5, bounds, counts), p99: quantile(.99, bounds, counts)}
		found = append(found, s)
	}
	slices.SortFunc(found, func(a, b slowness) int {
		return cmp.Or(cmp.Compare(b.p99, a.p99), cmp.Compare(b.p50, a.p50), cmp.Compare(a.series, b.series))
	})
	return found
}

// quantile is linear within a bucket, as Prometheus has it; above the last
// bound it is that.
func quantile(q float64, bounds, counts []float64) float64 {
	rank := q * counts[len(counts)-1]
	for i, c := range counts {
		if c < rank {
			continue
		}
		if math.IsInf(bounds[i], 1) {
			if i == 0 {
				return 0
			}
			return bounds[i-1]
		}
		below, from := 0.0, 0.0
		if i > 0 {
			below, from = counts[i-1], bounds[i-1]
		}
		if c == below {
			return bounds[i]
		}
		return from + (bounds[i]-from)*(rank-below)/(c-below)
	}
	return bounds[len(bounds)-1]
}

// sum adds up the growth of a counter over all its series.
func sum(first, last exposition, name string) (grown float64) {
	for series, v := range last.values {
		if base, _, _ := strings.Cut(series, "{"); base == name {
			grown += v - first.values[series]
		}
	}
	return grown
}

// value is a gauge without labels.
func (x exposition) value(name string) float64 { return x.values[name] }
