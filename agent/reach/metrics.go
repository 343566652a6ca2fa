package reach

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// maxShown bounds the values of the label datacenter.
const maxShown = 256

// paths shows how other datacenters are reached, when it is scraped.
type paths struct {
	w                 *Ways
	transits, changes *prometheus.Desc
}

func newPaths(w *Ways) *paths {
	by := []string{"datacenter"}
	return &paths{w,
		prometheus.NewDesc("legate_federation_path_transits", "Datacenters whose servers carry what this server says to those of another datacenter: 0 if it is reached directly. "+
			"Worry: above 0 where there is a direct link.", by, nil),
		prometheus.NewDesc("legate_federation_path_changes_total", "How often another path was taken to a datacenter: through others, or directly again. Worry: more than ten in an hour.", by, nil)}
}

// Describe implements prometheus.Collector.
func (p *paths) Describe(ch chan<- *prometheus.Desc) {
	ch <- p.transits
	ch <- p.changes
}

// Collect implements prometheus.Collector.
func (p *paths) Collect(ch chan<- prometheus.Metric) {
	names := slices.Sorted(maps.Keys(p.w.known.Load().datacenters()))
	for _, dc := range names[:min(len(names), maxShown)] {
		ch <- prometheus.MustNewConstMetric(p.transits, prometheus.GaugeValue, float64(len(p.w.table.Of(dc).Through)), dc)
		ch <- prometheus.MustNewConstMetric(p.changes, prometheus.CounterValue, float64(p.w.table.Changes(dc)), dc)
	}
}
