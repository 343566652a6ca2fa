package copies

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	records     prometheus.Counter
	divergences prometheus.Counter
	followers   prometheus.Gauge
	age         prometheus.Collector
	disagree    prometheus.Collector
}

func newMetrics(reg prometheus.Registerer, c *Copies) *metrics {
	m := &metrics{
		records: prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_acl_replication_records_total",
			Help: "Policies, roles, auth methods, binding rules and global tokens that were copied from the home, or deleted because it did."}),
		divergences: prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_acl_replication_divergences_total",
			Help: "Times that a checksum showed copies that are not what the home has, and they were copied again. Worry: any that no restored snapshot explains."}),
		followers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "legate_acl_replication_followers",
			Help: "Other datacenters that copy from this server, which is one of the home."}),
	}
	gauge := func(name, help string, value func(*follower) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			c.follower.mu.Lock()
			defer c.follower.mu.Unlock()
			return value(&c.follower)
		})
	}
	m.age = gauge("legate_acl_replication_age_seconds", "Seconds since the copies were known to be what the home has, on the leader; before the first time, since it leads. 0 in the home. Worry: above 15 s the home is not followed.",
		func(f *follower) float64 { return f.age(time.Now()).Seconds() })
	m.disagree = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_acl_home_disagreements",
		Help: "Other datacenters that take another one for the home of access control than this server does, and are shown nothing together. Worry: above 0."},
		func() float64 { return float64(len(c.Disagreeing())) })
	if reg != nil {
		reg.MustRegister(m.records, m.divergences, m.followers, m.age, m.disagree,
			gauge("legate_acl_replication_index", "Index of the home up to which this datacenter has copied everything; 0 in the home and on servers that do not lead.",
				func(f *follower) float64 { return float64(f.upTo) }),
			gauge("legate_acl_replication_behind", "By how many of the home's indexes the copies are older than what the home has told, on the leader. Worry: when it stays above 0.",
				func(f *follower) float64 { return float64(max(f.told, f.upTo) - f.upTo) }))
	}
	return m
}
