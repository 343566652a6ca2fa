package metrics

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	// maxPacket is what a packet to a statsd server has at most: what fits an
	// Ethernet frame.
	maxPacket = 1400
	// pushTimeout bounds connecting to a server, and sending all to it.
	pushTimeout = 5 * time.Second
)

// Protocol is how a server that metrics are sent to wants them.
type Protocol string

// The protocols. All have lines of name:value|type; labels are appended to the
// name, or are tags in DogStatsD.
const (
	Statsd    Protocol = "statsd"    // in UDP packets
	Statsite  Protocol = "statsite"  // over TCP
	DogStatsD Protocol = "dogstatsd" // in UDP packets
)

// Sink is a server that metrics are sent to.
type Sink struct {
	Protocol Protocol
	Addr     string   // host:port
	Tags     []string // of all metrics; DogStatsD only
}

func (s Sink) network() string {
	if s.Protocol == Statsite {
		return "tcp"
	}
	return "udp"
}

// Check reports why the server cannot be reached; over UDP only a name that is
// not known can tell.
func (s Sink) Check(ctx context.Context) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

func (s Sink) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, s.network(), s.Addr)
	if err != nil {
		return nil, fmt.Errorf("reach the %s server: %w", s.Protocol, err)
	}
	return c, nil
}

// newPushErrors counts what could not be sent.
func newPushErrors(r prometheus.Registerer) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_metrics_push_errors_total",
		Help: "Times that a server which metrics are sent to got none or not all of an interval, by protocol. Worry: any that goes on.",
	}, []string{"protocol"})
	for _, p := range []Protocol{Statsd, Statsite, DogStatsD} {
		v.WithLabelValues(string(p))
	}
	r.MustRegister(v)
	return v
}

// Push sends the metrics under Consul's names to the server, each time for the
// time since the time before, until ctx ends. What a server did not get is lost.
func (r *Registry) Push(ctx context.Context, sink Sink, names Names, each time.Duration) {
	tick := time.NewTicker(each)
	defer tick.Stop()
	var before []*dto.MetricFamily
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := r.reg.Gather()
		if err != nil {
			r.failed.Inc()
		}
		if unusable(now, err) {
			continue
		}
		if err := sink.send(ctx, r.lines(sink, names, before, now)); err != nil {
			r.pushErrors.WithLabelValues(string(sink.Protocol)).Inc()
		}
		before = now
	}
}

// send connects anew each time: a server that has moved is found, and a packet
// that an earlier one was refused for is not. When ctx ends it does not wait for a
// server that reads nothing.
func (s Sink) send(ctx context.Context, lines []string) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if err := c.SetWriteDeadline(time.Now().Add(pushTimeout)); err != nil {
		return fmt.Errorf("send metrics: %w", err)
	}
	for _, p := range packets(lines) {
		if _, err := c.Write(p); err != nil {
			return fmt.Errorf("send metrics: %w", err)
		}
	}
	return nil
}

// packets puts lines together. A line that no packet holds is left out.
func packets(lines []string) (out [][]byte) {
	var p []byte
	for _, line := range lines {
		if len(line) > maxPacket {
			continue
		}
		if len(p)+len(line) > maxPacket {
			out, p = append(out, p), nil
		}
		p = append(p, line...)
	}
	if len(p) > 0 {
		out = append(out, p)
	}
	return out
}

// lines are the metrics in a protocol's form: gauges as they are, what counters
// grew by, and observations, those of one bucket as one line that says by its
// sample rate how many there were.
func (r *Registry) lines(sink Sink, names Names, from, to []*dto.MetricFamily) (out []string) {
	f := form{sink: sink}
	if sink.Protocol == DogStatsD {
		f.tags = slices.Clone(sink.Tags)
		if names.Host != "" {
			f.tags = append(f.tags, "host:"+clean(names.Host))
		}
		names.Host = ""
	}
	old, now := byName(from), byName(to)
	for _, row := range consulRows() {
		if row.times == 0 {
			row.times = 1
		}
		if now[row.family] == nil || !r.shows(names.plain(&row)) {
			continue
		}
		name := names.of(&row)
		if row.kind == gauge || row.kind == runs {
			for _, t := range row.sums(names, now[row.family]) {
				v := t.sum * row.times
				if row.kind == runs {
					v = float64(t.count)
				}
				out = append(out, f.line(name, t.labels, v, "g", 0))
			}
			continue
		}
		for _, t := range row.between(names, old[row.family], now[row.family]) {
			switch {
			case t.count == 0:
			case row.kind == count:
				out = append(out, f.line(name, t.labels, float64(t.count), "c", 0))
			default:
				for _, o := range t.observations() {
					out = append(out, f.line(name, t.labels, o.value*row.times, "ms", o.times))
				}
			}
		}
	}
	return out
}

// observed is a value and how often it was.
type observed struct {
	value float64
	times uint64
}

// observations are what was counted, in the middle of its bucket, or the mean
// where there are none.
func (t *total) observations() (out []observed) {
	if len(t.buckets) == 0 {
		return []observed{{t.sum / float64(t.count), t.count}}
	}
	low, left := 0.0, t.count
	for _, bound := range slices.Sorted(maps.Keys(t.buckets)) {
		high := finite(bound)
		if n := min(t.buckets[bound], left); n > 0 {
			out = append(out, observed{(low + high) / 2, n})
			left -= n
		}
		low = max(low, high)
	}
	if left > 0 { // above the last bound
		out = append(out, observed{low, left})
	}
	return out
}

// form is a protocol's.
type form struct {
	sink Sink
	tags []string
}

// line is one metric; times above 1 is how many observations it stands for.
func (f form) line(name string, labels map[string]string, value float64, kind string, times uint64) string {
	var b strings.Builder
	b.WriteString(clean(name))
	tags := f.tags
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		if f.sink.Protocol == DogStatsD {
			tags = append(tags[:len(tags):len(tags)], clean(label)+":"+clean(labels[label]))
			continue
		}
		if v := labels[label]; v != "" {
			b.WriteString("." + clean(v))
		}
	}
	b.WriteString(":" + strconv.FormatFloat(value, 'f', -1, 64) + "|" + kind)
	if times > 1 {
		b.WriteString("|@" + strconv.FormatFloat(1/float64(times), 'f', -1, 64))
	}
	if len(tags) > 0 {
		b.WriteString("|#" + strings.Join(tags, ","))
	}
	return b.String() + "\n"
}

// clean replaces what has a meaning in the protocols.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(":|@#, \n\t", r) {
			return '_'
		}
		return r
	}, text)
}
