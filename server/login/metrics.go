package login

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
)

type metrics struct{ logins *prometheus.CounterVec }

// What became of logging in.
const (
	done    = "done"
	refused = "refused"
	failed  = "failed"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{logins: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "legate_acl_logins_total",
		Help: "Attempts to log in that this server answered as leader, by outcome: done, refused (the credential or the rules), failed (it could not be verified, or the request was wrong). Worry: failed rises: an issuer or a cluster does not answer, and the log of the leader has which."}, []string{"outcome"})}
	for _, outcome := range []string{done, refused, failed} {
		m.logins.WithLabelValues(outcome)
	}
	if reg != nil {
		reg.MustRegister(m.logins)
	}
	return m
}

func (m *metrics) count(err error) {
	outcome := done
	switch {
	case op.CodeOf(err) == op.CodeDenied:
		outcome = refused
	case err != nil:
		outcome = failed
	}
	m.logins.WithLabelValues(outcome).Inc()
}
