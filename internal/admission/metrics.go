package admission

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count the connections that gates do not let in.
type Metrics struct{ refused *prometheus.CounterVec }

// NewMetrics makes the series of all ports of an agent.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "legate_connections_refused_total",
		Help: "Connections that were not let in because there were too many, by port and bound: of one address, of those that are being made, of all. " +
			"Worry: any of being_made or all.",
	}, []string{"port", "bound"})}
	if err := reg.Register(m.refused); err != nil {
		return nil, fmt.Errorf("register metrics of connections: %w", err)
	}
	return m, nil
}

// Refused counts for a port; it is what New takes.
func (m *Metrics) Refused(port string) func(error) {
	address, proving, all := m.refused.WithLabelValues(port, "address"), m.refused.WithLabelValues(port, "being_made"), m.refused.WithLabelValues(port, "all")
	return func(err error) {
		switch {
		case errors.Is(err, ErrAddress):
			address.Inc()
		case errors.Is(err, ErrProving):
			proving.Inc()
		default:
			all.Inc()
		}
	}
}
