package rights

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ answered, unknown, unanswered prometheus.Counter }

func newMetrics(reg prometheus.Registerer) *metrics {
	asked := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_acl_asked_total",
		Help: "Questions of a client agent to servers what a token stands for, by outcome: answered, unknown, unanswered. Worry: unanswered ones, for acl.down_policy decides meanwhile."},
		[]string{"outcome"})
	if reg != nil {
		reg.MustRegister(asked)
	}
	return &metrics{asked.WithLabelValues("answered"), asked.WithLabelValues("unknown"), asked.WithLabelValues("unanswered")}
}
