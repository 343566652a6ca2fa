package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
)

// registerMetrics shows what the agent itself counts; the rest is its parts'.
func registerMetrics(r prometheus.Registerer, logs *logging.Tee) {
	r.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "legate_agent_monitor_dropped_lines_total",
			Help: "Log lines that clients of /v1/agent/monitor were too slow for."}, func() float64 { return float64(logs.Lost()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_agent_monitors",
			Help: "Clients of /v1/agent/monitor."}, func() float64 { return float64(logs.Listeners()) }),
	)
}
