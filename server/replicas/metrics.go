package replicas

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/state/replication"
)

type metrics struct {
	written, deleted, bytes, comparisons, mended, conflicts prometheus.Counter
	followers                                               prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, r *Replicas) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "legate_kv_replication_" + name, Help: help})
	}
	m := &metrics{
		written:     counter("written_total", "Keys that were written because another datacenter has them, by this server as leader."),
		deleted:     counter("deleted_total", "Keys that were deleted because another datacenter has them no more, by this server as leader."),
		bytes:       counter("bytes_total", "Bytes of keys and values that came from other datacenters for rules of replication, to this server as leader."),
		comparisons: counter("comparisons_total", "Times that checksums of all keys of a rule were compared, by this server as leader."),
		mended:      counter("mended_total", "Keys that comparisons have written or deleted, by this server as leader. Worry: any that no new rule, restored snapshot or cut of many minutes explains."),
		conflicts:   counter("conflicts_total", "Writes and deletions that came for rules of mode newest and were older than what is here, by this server as leader."),
		followers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "legate_kv_replication_followers",
			Help: "Rules of other datacenters that copy keys from this server."}),
	}
	gauge := func(name, help string, value func([]replication.Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_kv_replication_" + name, Help: help}, func() float64 {
			var all []replication.Status
			now := time.Now()
			for _, f := range r.followers() {
				all = append(all, f.show(now))
			}
			return value(all)
		})
	}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.written, m.deleted, m.bytes, m.comparisons, m.mended, m.conflicts, m.followers,
		gauge("lag_seconds", "Seconds for which it is not known of the rule that is most behind that everything is here, on the leader; 0 while it is known of all. Worry: above 30 s.",
			func(all []replication.Status) (most float64) {
				for i := range all {
					most = max(most, all[i].LagSeconds)
				}
				return most
			}),
		gauge("lag_entries", "Keys that other datacenters have told of and that are not written here yet, on the leader.",
			func(all []replication.Status) (n float64) {
				for i := range all {
					n += float64(all[i].LagEntries)
				}
				return n
			}))
	for _, state := range []string{replication.StateComparing, replication.StateCopying, replication.StateFollowing, replication.StateFailing} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_kv_replication_rules", ConstLabels: prometheus.Labels{"state": state},
			Help: "Rules of replication that are not paused, by their state, on the leader. Worry: any that goes on failing."}, func() float64 {
			n := 0
			for _, f := range r.followers() {
				if f.show(time.Time{}).State == state {
					n++
				}
			}
			return float64(n)
		}))
	}
	return m
}
