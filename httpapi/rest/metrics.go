package rest

import "github.com/prometheus/client_golang/prometheus"

// metrics of the HTTP API.
type metrics struct {
	seconds  *prometheus.HistogramVec
	answers  *prometheus.CounterVec
	inFlight prometheus.Gauge
	panics   prometheus.Counter
}

// classes are the values of the label "class", by the first digit of the
// status; 0 stands for a client that went before it was answered.
var classes = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

func class(status int) int {
	if c := status / 100; c > 0 && c < len(classes) {
		return c
	}
	return 0
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "legate_http_request_seconds", Help: "Seconds of HTTP requests that do not wait for a change, by route and method. Worry: a 99th percentile above 1.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9), NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"route", "method"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "legate_http_responses_total", Help: "HTTP answers, by route, method and class of the status. Worry: 5xx; none is a client that went away.",
		}, []string{"route", "method", "class"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legate_http_requests_in_flight", Help: "HTTP requests being answered, those that wait for a change among them. Worry: rising without end.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "legate_http_panics_total", Help: "Handlers that panicked; each is a fault of the program. Worry: any.",
		}),
	}
	r.MustRegister(m.seconds, m.answers, m.inFlight, m.panics)
	return m
}

// endpointMetrics are the series of one route and method, found once: a look-up
// by labels costs more than the rest of a short request's accounting.
type endpointMetrics struct {
	seconds prometheus.Observer
	answers [len(classes)]prometheus.Counter
}

func (m *metrics) endpoint(route, method string) endpointMetrics {
	e := endpointMetrics{seconds: m.seconds.WithLabelValues(route, method)}
	for i, c := range classes {
		e.answers[i] = m.answers.WithLabelValues(route, method, c)
	}
	return e
}
