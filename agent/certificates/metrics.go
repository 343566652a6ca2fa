package certificates

import (
	"crypto/x509"

	"github.com/prometheus/client_golang/prometheus"
)

// expiry shows when certificates expire.
type expiry struct {
	c  *Certificates
	at *prometheus.Desc
}

var _ prometheus.Collector = (*expiry)(nil)

func newExpiry(c *Certificates) *expiry {
	return &expiry{c, prometheus.NewDesc("legate_tls_certificate_expiry_timestamp_seconds",
		"When the certificate of a listener expires, in Unix time: of internal_rpc the one from a file or, without, the one derived from the gossip key, which lasts for years from the start; of https, if there is one; of auto_encrypt in place of internal_rpc where servers gave it. Worry: less than 30 days away, or 20 hours with auto_encrypt.", []string{"listener"}, nil)}
}

// Describe implements prometheus.Collector.
func (e *expiry) Describe(ch chan<- *prometheus.Desc) { ch <- e.at }

// Collect implements prometheus.Collector.
func (e *expiry) Collect(ch chan<- prometheus.Metric) {
	list := *e.c.shown.Load()
	if len(list) == 0 || list[0].listener != internalRPC {
		listener := internalRPC
		if e.c.identity.Granted() {
			listener = "auto_encrypt"
		}
		if cert, err := x509.ParseCertificate(e.c.identity.Certificate().Certificate[0]); err == nil { // it was in use already
			ch <- prometheus.MustNewConstMetric(e.at, prometheus.GaugeValue, float64(cert.NotAfter.Unix()), listener)
		}
	}
	for _, s := range list {
		ch <- prometheus.MustNewConstMetric(e.at, prometheus.GaugeValue, float64(s.cert.NotAfter.Unix()), s.listener)
	}
}
