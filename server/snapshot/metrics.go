package snapshot

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ saved, restored prometheus.Histogram }

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{seconds("save", "made and read"), seconds("restore", "received, verified and restored")}
	r.MustRegister(m.saved, m.restored)
	return m
}

func seconds(what, done string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "legate_snapshot_" + what + "_seconds", Help: "Seconds in which a snapshot for an operator was " + done + ".",
		Buckets: prometheus.ExponentialBuckets(0.01, 4, 10),
	})
}
