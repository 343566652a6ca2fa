package doctorcmd

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxSamples bounds what is kept of the metrics of one agent.
const maxSamples = 200_000

// sample is a line of what Prometheus reads.
type sample struct {
	labels string // as they stand there, with a comma at both ends: ,a="b",
	value  float64
}

// samples are metrics by name.
type samples map[string][]sample

// parseSamples reads the text form of metrics. Lines that it does not understand are
// left out.
func parseSamples(text string) samples {
	out, n := samples{}, 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		end := strings.LastIndexByte(line, ' ')
		if end < 0 || line[0] == '#' || n >= maxSamples {
			continue
		}
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			continue
		}
		name, labels, _ := strings.Cut(strings.TrimSuffix(line[:end], "}"), "{")
		out[name] = append(out[name], sample{"," + labels + ",", value})
		n++
	}
	return out
}

// has reports whether the labels have all of these, each as name="value".
func (s sample) has(labels []string) bool {
	return !slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(s.labels, ","+l+",") })
}

// label is the value of one.
func (s sample) label(name string) string {
	_, after, _ := strings.Cut(s.labels, ","+name+`="`)
	value, _, _ := strings.Cut(after, `"`)
	return value
}

// sum adds up the series of a metric that have the labels.
func (m samples) sum(name string, labels ...string) (total float64) {
	for _, s := range m[name] {
		if s.has(labels) {
			total += s.value
		}
	}
	return total
}

// quantile is that of a histogram without labels, with the number of what was measured.
// It is the upper bound of the bucket that it falls in.
func (m samples) quantile(q float64, name string) (value, count float64) {
	type bucket struct{ upTo, count float64 }
	var buckets []bucket
	for _, s := range m[name+"_bucket"] {
		upTo, err := strconv.ParseFloat(s.label("le"), 64)
		if err == nil {
			buckets = append(buckets, bucket{upTo, s.value})
		}
	}
	count = m.sum(name + "_count")
	slices.SortFunc(buckets, func(a, b bucket) int {
		if a.upTo < b.upTo {
			return -1
		}
		return 1
	})
	for i, b := range buckets {
		if b.count < q*count {
			continue
		}
		if math.IsInf(b.upTo, 1) && i > 0 {
			return buckets[i-1].upTo, count
		}
		return b.upTo, count
	}
	return 0, count
}
