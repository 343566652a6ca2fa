package dns

import (
	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// The values of the labels "type" and "rcode"; what is not in the table is
// counted as the last.
var (
	types  = [...]string{"A", "AAAA", "SRV", "ANY", "TXT", "NS", "SOA", "PTR", "other"}
	rcodes = [...]string{"NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "NOTIMP", "FORMERR", "other"}
)

// freshness says what the lookups of a query found.
type freshness int

const (
	none    freshness = iota // nothing was looked up
	current                  // what is known to be current
	aged                     // what is kept of a datacenter that cannot be reached
	failed                   // nothing: the answer is SERVFAIL
)

// metrics of the DNS interface, found once for all values of labels.
type metrics struct {
	seconds                              [len(types)]prometheus.Observer
	answers                              [len(rcodes)]prometheus.Counter
	truncated, malformed, panics, failed prometheus.Counter
	packed, dropped                      prometheus.Counter
	workers                              prometheus.Gauge
	lookups                              [failed + 1]prometheus.Counter
	age                                  prometheus.Histogram
	recursed                             [recursionRefused + 1]prometheus.Counter
	recursorAnswers                      [recursorSilent + 1]prometheus.Counter
	recursing                            prometheus.Gauge
}

// What became of a question to recursors.
const (
	recursionAnswered = iota
	recursionShared   // the answer is that to the same question of somebody else
	recursionFailed
	recursionRefused // too many wait
)

// What one recursor said.
const (
	recursorUsed    = iota
	recursorRefused // that it has no answer
	recursorSilent  // nothing that is one, or cannot be reached
)

func newMetrics(r prometheus.Registerer) *metrics {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "legate_dns_query_seconds", Help: "Seconds to answer a DNS query, by type of record asked. Worry: a 99th percentile above 0.1.",
		Buckets: prometheus.ExponentialBuckets(0.00005, 4, 9), NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
	}, []string{"type"})
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_dns_responses_total", Help: "DNS answers, by response code. Worry: SERVFAIL, and NXDOMAIN where there was none.",
	}, []string{"rcode"})
	count := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	m := &metrics{
		truncated: count("legate_dns_truncated_total", "DNS answers that were cut, with the TC bit set."),
		malformed: count("legate_dns_malformed_total", "Packets that are no DNS query. Worry: many: somebody scans or floods."),
		panics:    count("legate_dns_panics_total", "DNS queries whose handling panicked; each is a fault of the program. Worry: any."),
		failed:    count("legate_dns_write_errors_total", "DNS answers that could not be packed or sent. Worry: any."),
		packed:    count("legate_dns_packed_total", "DNS answers over UDP that were given from packed ones: nobody was asked for them, and legate_rpc_seconds does not count them."),
		dropped:   count("legate_dns_dropped_total", "DNS queries over UDP that were left unanswered because all who answer were waiting. Worry: any: something that is asked for does not answer."),
		workers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legate_dns_workers", Help: "Goroutines that read and answer DNS queries over UDP.",
		}),
	}
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_dns_lookups_total", Help: "DNS queries, by what their lookups found: current, aged (kept while a datacenter cannot be reached), failed, or none without a lookup. Worry: failed, or aged for minutes.",
	}, []string{"freshness"})
	for i, name := range [...]string{none: "none", current: "current", aged: "aged", failed: "failed"} {
		m.lookups[i] = lookups.WithLabelValues(name)
	}
	m.age = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "legate_dns_answer_age_seconds", Help: "Seconds since what DNS answers were made of was current, of those that were not. Worry: above what clients of the names can bear.",
		Buckets: prometheus.ExponentialBuckets(1, 4, 9),
	})
	m.recursing = prometheus.NewGauge(prometheus.GaugeOpts{Name: "legate_dns_recursions_waiting", Help: "Questions that wait for recursors. Worry: rising: they do not answer."})
	recursed := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_dns_recursions_total",
		Help: "Questions to recursors, by what became of them: answered, shared (with the same question of another client), failed, or refused as too many wait. Worry: failed or refused.",
	}, []string{"result"})
	for i, name := range [...]string{recursionAnswered: "answered", recursionShared: "shared", recursionFailed: "failed", recursionRefused: "refused"} {
		m.recursed[i] = recursed.WithLabelValues(name)
	}
	said := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_dns_recursor_answers_total",
		Help: "Questions to single recursors, by their answers: used, refused (SERVFAIL and the like), or silent (none that answers the question). Worry: silent.",
	}, []string{"answer"})
	for i, name := range [...]string{recursorUsed: "used", recursorRefused: "refused", recursorSilent: "silent"} {
		m.recursorAnswers[i] = said.WithLabelValues(name)
	}
	r.MustRegister(seconds, answers, m.workers, lookups, m.age, m.recursing, recursed, said)
	for i, t := range types {
		m.seconds[i] = seconds.WithLabelValues(t)
	}
	for i, c := range rcodes {
		m.answers[i] = answers.WithLabelValues(c)
	}
	return m
}

// typeClass is the index in types of what was asked.
func (x *exchange) typeClass() int {
	if len(x.req.Question) == 1 {
		switch x.req.Question[0].Qtype {
		case mdns.TypeA:
			return 0
		case mdns.TypeAAAA:
			return 1
		case mdns.TypeSRV:
			return 2
		case mdns.TypeANY:
			return 3
		case mdns.TypeTXT:
			return 4
		case mdns.TypeNS:
			return 5
		case mdns.TypeSOA:
			return 6
		case mdns.TypePTR:
			return 7
		}
	}
	return len(types) - 1
}

// rcodeClass is the index in rcodes of a response code.
func rcodeClass(rcode int) int {
	switch rcode {
	case mdns.RcodeSuccess:
		return 0
	case mdns.RcodeNameError:
		return 1
	case mdns.RcodeServerFailure:
		return 2
	case mdns.RcodeRefused:
		return 3
	case mdns.RcodeNotImplemented:
		return 4
	case mdns.RcodeFormatError:
		return 5
	}
	return len(rcodes) - 1
}
