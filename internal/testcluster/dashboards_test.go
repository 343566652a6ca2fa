package testcluster_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
)

// exposed is what an agent exposes: the values of each label, by metric.
type exposed map[string]map[string][]string

// What is read of expositions, queries and texts.
var (
	seriesForm = regexp.MustCompile(`^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+`)
	labelForm  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"`)
	metricForm = regexp.MustCompile(`\b(legate_\w+)(?:\{([^}]*)\})?`)
	byForm     = regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`)
	legendForm = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)
	valuesForm = regexp.MustCompile(`^label_values\((legate_\w+), *(\w+)\)$`)
)

func expose(t *testing.T, n *testcluster.Node) exposed {
	t.Helper()
	resp, err := http.Get("http://" + n.HTTPAddr() + "/v1/agent/metrics?format=prometheus")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := exposed{}
	for line := range strings.Lines(string(text)) {
		s := seriesForm.FindStringSubmatch(line)
		if s == nil {
			continue
		}
		if out[s[1]] == nil {
			out[s[1]] = map[string][]string{}
		}
		for _, l := range labelForm.FindAllStringSubmatch(s[2], -1) {
			out[s[1]][l[1]] = append(out[s[1]][l[1]], l[3])
		}
	}
	return out
}

// panel is one expression with the texts that name labels of its result.
type panel struct {
	where, expr string
	texts       []string
}

// has tells whether a metric has a label once it is scraped.
func (e exposed) has(metric, label string) bool {
	_, ok := e[metric][label]
	return ok || label == "instance" || label == "job" // of who scrapes
}

// faults says what of an expression does not exist.
func (e exposed) faults(s panel) (out []string) {
	say := func(format string, args ...any) { out = append(out, s.where+": "+fmt.Sprintf(format, args...)) }
	metrics := metricForm.FindAllStringSubmatch(s.expr, -1)
	if len(metrics) == 0 {
		say("%s names no metric of Legate", s.expr)
	}
	var kept []string // by aggregations
	for _, k := range byForm.FindAllStringSubmatch(s.expr, -1) {
		for name := range strings.SplitSeq(k[1], ",") {
			kept = append(kept, strings.TrimSpace(name))
		}
	}
	for _, m := range metrics {
		if e[m[1]] == nil {
			say("no agent exposes %s", m[1])
			continue
		}
		for _, l := range labelForm.FindAllStringSubmatch(m[2], -1) {
			if !e.has(m[1], l[1]) {
				say("%s has no label %s", m[1], l[1])
			} else if l[2] == "=" && !slices.Contains(e[m[1]][l[1]], l[3]) {
				say("no series of %s has %s=%q", m[1], l[1], l[3])
			}
		}
		for _, name := range kept {
			if !e.has(m[1], name) {
				say("%s has no label %s to group by", m[1], name)
			}
		}
		for _, l := range legendForm.FindAllStringSubmatch(strings.Join(s.texts, " "), -1) {
			if !e.has(m[1], l[1]) || len(kept) > 0 && !slices.Contains(kept, l[1]) {
				say("the result of %s has no label %s", s.expr, l[1])
			}
		}
	}
	return out
}

// panels reads the queries of a dashboard.
func panels(t *testing.T, file string, e exposed) (out []panel) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var whole any
	if err := json.Unmarshal(b, &whole); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, each := range v {
				walk(each)
			}
		case map[string]any:
			if expr, ok := v["expr"].(string); ok {
				legend, _ := v["legendFormat"].(string)
				out = append(out, panel{file, expr, []string{legend}})
			}
			if query, ok := v["query"].(string); ok {
				if m := valuesForm.FindStringSubmatch(query); m != nil && (e[m[1]] == nil || !e.has(m[1], m[2])) {
					t.Errorf("%s: %s asks for what is not exposed", file, query)
				}
			}
			for _, each := range v {
				walk(each)
			}
		}
	}
	walk(whole)
	return out
}

// alerts reads the rules of a file: each has its expression on one line.
func alerts(t *testing.T, file string) (out []panel) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case key == "expr":
			out = append(out, panel{file, value, nil})
		case strings.Contains(value, "$labels") && len(out) > 0:
			last := &out[len(out)-1]
			last.texts = append(last.texts, value)
		}
	}
	return out
}

// Dashboards and alerts ask for metrics and labels that servers of a federation
// expose.
func TestDashboardsAndAlertsAskForWhatIsExposed(t *testing.T) {
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, RTT: 5 * time.Millisecond})
	n := c.Node("dc1-server1")
	if err := set(t.Context(), n.Agent().Caller(), op.Header{Datacenter: "dc2"}, "k", "v"); err != nil {
		t.Fatal(err)
	}
	e := expose(t, n)
	if e["legate_federation_state"] == nil {
		t.Fatalf("nothing of the federation among %d metrics", len(e))
	}
	const root = "../../deployments"
	var all []panel
	files := map[string]func(string) []panel{
		filepath.Join(root, "grafana", "*.json"):         func(f string) []panel { return panels(t, f, e) },
		filepath.Join(root, "prometheus", "*.rules.yml"): func(f string) []panel { return alerts(t, f) },
	}
	for pattern, read := range files {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v %v", pattern, found, err)
		}
		for _, f := range found {
			queries := read(f)
			if len(queries) < 2 {
				t.Errorf("%s has %d expressions", f, len(queries))
			}
			all = append(all, queries...)
		}
	}
	for _, s := range all {
		for _, fault := range e.faults(s) {
			t.Error(fault)
		}
	}
	// What does not exist is found.
	for _, s := range []panel{
		{expr: `up == 1`},
		{expr: `legate_no_such_thing`},
		{expr: `legate_federation_state{state="fine"}`},
		{expr: `legate_federation_state{stat="up"}`},
		{expr: `sum by (colour) (legate_federation_state)`},
		{expr: `sum by (datacenter) (legate_federation_state)`, texts: []string{"{{state}}"}},
		{expr: `legate_federation_state`, texts: []string{"{{ $labels.colour }}"}},
	} {
		if len(e.faults(s)) != 1 {
			t.Errorf("of %+v it was said: %v", s, e.faults(s))
		}
	}
}
