// Package dashboards says what Legate's Grafana dashboards show, as values:
// dashboards of rows of panels of queries. Grafana's files are written from them,
// and tests run every query against a Prometheus that scrapes real agents.
//
// A panel answers a question of somebody who was woken: the first row of each
// dashboard says whether all is well, the next ones what is wrong, the last ones
// why. Queries take the labels dc and node from who scrapes (see
// deployments/prometheus/prometheus.yml); the label datacenter of Legate's own
// is the other datacenter, as the agent that is asked sees it.
package dashboards

import "strings"

//go:generate go run ./write ../grafana

// Home is where links to pages of the documentation lead.
const Home = "https://github.com/legate-project/legate/blob/main/"

// Runbook is the address of a section of the runbook.
func Runbook(section string) string { return Home + "docs/runbook.md#" + section }

// Dashboard is one page of Grafana.
type Dashboard struct {
	UID   string // never changes: links and bookmarks name it
	Title string
	About string
	// One says that it shows one agent at a time.
	One  bool
	Rows []Row
}

// Row is a line of panels under a title; it goes on in a next line when it is
// full.
type Row struct {
	Title  string
	Panels []Panel
}

// Kind is how a panel draws.
type Kind string

// The kinds of panels, by Grafana's names.
const (
	Lines    Kind = "timeseries"
	Stat     Kind = "stat"
	Table    Kind = "table"
	Heatmap  Kind = "heatmap"
	Timeline Kind = "state-timeline"
)

// Unit is the unit of a panel's values, by Grafana's names.
type Unit string

// The units.
const (
	None        Unit = "short"
	Seconds     Unit = "s"
	Share       Unit = "percentunit"
	Bytes       Unit = "bytes"
	BytesPerSec Unit = "Bps"
	PerSec      Unit = "ops"
	Since       Unit = "dateTimeFromNow"
)

// Panel is one picture.
type Panel struct {
	Title string
	// Look says in a sentence or two what to look at.
	Look string
	// Section is that of the runbook to go on with.
	Section string
	Kind    Kind
	Unit    Unit
	Queries []Query
	// Thresholds colour the values, from the lowest on.
	Thresholds []Threshold
	// Words replace values of stats and timelines.
	Words map[string]Word
}

// Query is one query of a panel.
type Query struct {
	// Expr is PromQL. {@} stands for the dashboard's choice of datacenters and
	// agents; it goes first among the matchers.
	Expr string
	// Legend names a series by its labels, as {{node}}.
	Legend string
	// Fault names what must happen before the query gives anything; empty when it
	// always does.
	Fault string
}

// Threshold colours values from From on.
type Threshold struct {
	From  float64
	Color Color
}

// Color is the colour of a value.
type Color string

// The colours.
const (
	Green  Color = "green"
	Yellow Color = "yellow"
	Red    Color = "red"
	Blue   Color = "blue"
)

// Word is what a value means.
type Word struct {
	Text  string
	Color Color
}

// All are the dashboards, in the order in which they are looked at.
func All() []Dashboard {
	return []Dashboard{federation(), elections(), gossip(), names(), requests(), agent()}
}

// File is the name of the dashboard's file.
func (d Dashboard) File() string { return strings.TrimPrefix(d.UID, "legate-") + ".json" }

// warn and alarm are the thresholds of values that are well while they are low.
func limits(warn, alarm float64) []Threshold {
	return []Threshold{{0, Green}, {warn, Yellow}, {alarm, Red}}
}

// wanted are those of values that are well from a value on.
func wanted(least float64) []Threshold { return []Threshold{{0, Red}, {least, Green}} }

// q is a query that always gives data.
func q(expr, legend string) Query { return Query{Expr: expr, Legend: legend} }

// after is a query that gives data after a fault only.
func after(fault, expr, legend string) Query {
	return Query{Expr: expr, Legend: legend, Fault: fault}
}

// quantile is the query of a quantile of a classic histogram by labels.
func quantile(of, histogram, by string) string {
	group := "le"
	if by != "" {
		group = by + ", le"
	}
	return "histogram_quantile(" + of + ", sum by (" + group + ") (rate(" + strings.Replace(histogram, "{", "_bucket{", 1) + "[$__rate_interval])))"
}
