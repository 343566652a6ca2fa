package exec

import "github.com/prometheus/client_golang/prometheus"

// metrics of remote execution.
type metrics struct {
	jobs *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_exec_jobs_total", Help: "Commands that others asked this agent to run, by what became of them.",
	}, []string{"outcome"})}
	r.MustRegister(m.jobs)
	for _, outcome := range []string{"done", "aborted", "refused"} {
		m.jobs.WithLabelValues(outcome)
	}
	return m
}
