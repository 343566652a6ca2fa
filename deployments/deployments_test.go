package deployments

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/legate-project/legate/deployments/dashboards"
)

// sections are the anchors of the runbook's headings.
func sections(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		marks, title, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.Trim(marks, "#") != "" {
			continue
		}
		found[strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, title)] = true
	}
	return found
}

// rule is an alert or a recording rule.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

// alerts are the rules that alert.
func alerts(t *testing.T) (out []rule) {
	t.Helper()
	for _, r := range rules(t) {
		if r.Alert != "" {
			out = append(out, r)
		}
	}
	if len(out) < 30 {
		t.Errorf("only %d alerts", len(out))
	}
	return out
}

func rules(t *testing.T) (out []rule) {
	t.Helper()
	files, err := filepath.Glob("prometheus/*.rules.yml")
	if err != nil || len(files) < 2 {
		t.Fatalf("rules: %v %v", files, err)
	}
	for _, f := range files {
		var file struct{ Groups []struct{ Rules []rule } }
		read(t, f, &file)
		for _, g := range file.Groups {
			out = append(out, g.Rules...)
		}
	}
	return out
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func TestEachAlertNamesASectionOfTheRunbook(t *testing.T) {
	known, b := sections(t), runbook(t)
	for _, r := range alerts(t) {
		page, section, _ := strings.Cut(r.Annotations["runbook_url"], "#")
		if page+"#" != dashboards.Runbook("") || !known[section] {
			t.Errorf("%s: the runbook has no section for %q", r.Alert, r.Annotations["runbook_url"])
		}
		if !strings.Contains(b, "`"+r.Alert+"`") {
			t.Errorf("the runbook does not name %s", r.Alert)
		}
		if r.Annotations["summary"] == "" || r.Labels["severity"] != "warning" && r.Labels["severity"] != "critical" {
			t.Errorf("%s: summary %q, severity %q", r.Alert, r.Annotations["summary"], r.Labels["severity"])
		}
	}
	if known["no-such-section"] || !known["it-comes-and-goes"] {
		t.Error("sections are not told apart")
	}
	for _, name := range regexp.MustCompile("`(Legate[A-Z]\\w+)`").FindAllStringSubmatch(b, -1) {
		if !strings.Contains(fmt.Sprint(alerts(t)), name[1]) {
			t.Errorf("the runbook names %s, which is no alert", name[1])
		}
	}
}

// Who is woken reads the name of a machine, not an address alone, and of which
// datacenter it is.
func TestEachAlertSaysWhoAndWhere(t *testing.T) {
	for _, r := range alerts(t) {
		switch says := r.Annotations["summary"]; {
		case r.Alert == "LegateScrapeWithoutDatacenter": // neither is known
		case r.Alert == "LegateRemovedDatacentersDiffer": // it is about all of them
		case !strings.Contains(says, "$labels.dc "):
			t.Errorf("%s does not say where: %s", r.Alert, says)
		case strings.Contains(says, "$labels.instance") && !strings.Contains(says, "$labels.node"):
			t.Errorf("%s does not say who: %s", r.Alert, says)
		}
	}
}

func runbook(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("takes the program promtool")
	}
	cmd := exec.Command("promtool", args...)
	cmd.Dir = "prometheus"
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Each alert fires when it should, and does not a little before.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("prometheus/*.test.yml")
	if err != nil || len(files) < 2 {
		t.Fatalf("tests: %v %v", files, err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	args := []string{"test", "rules"}
	for _, f := range files {
		args = append(args, filepath.Base(f))
		var file struct {
			Tests []struct {
				Cases []struct {
					Alert    string `yaml:"alertname"`
					Expected []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		read(t, f, &file)
		for _, test := range file.Tests {
			for _, c := range test.Cases {
				fires[c.Alert] = fires[c.Alert] || len(c.Expected) > 0
				quiet[c.Alert] = quiet[c.Alert] || len(c.Expected) == 0
			}
		}
	}
	for _, r := range alerts(t) {
		if !fires[r.Alert] || !quiet[r.Alert] {
			t.Errorf("%s: tested that it fires: %v, that it does not: %v", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
	}
	if out, err := promtool(t, args...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPrometheusTakesItsConfiguration(t *testing.T) {
	for _, file := range []string{"prometheus.yml", "../compose/prometheus.yml"} {
		if out, err := promtool(t, "check", "config", "--syntax-only", file); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// Compose and Grafana are not at hand where tests run: that their files are YAML
// and name files that are there is what can be said.
func TestComposeAndProvisioningNameFilesThatAreThere(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Hostname    string
			Image       string
			Volumes     []string
			Environment map[string]string
		}
	}
	read(t, "compose/compose.yml", &compose)
	exists := func(path string) {
		t.Helper()
		if _, err := os.Stat(filepath.Join("compose", path)); err != nil {
			t.Error(err)
		}
	}
	agents := 0
	for name, s := range compose.Services {
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			exists(from)
		}
		if s.Image == "legate" { // which make image builds
			if agents++; s.Hostname != name {
				t.Errorf("%s is called %s", name, s.Hostname)
			}
		}
	}
	var scrape struct {
		Configs []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	read(t, "compose/prometheus.yml", &scrape)
	for _, target := range scrape.Configs[0].Static {
		host, _, _ := strings.Cut(target.Targets[0], ":")
		if _, ok := compose.Services[host]; !ok {
			t.Errorf("%s is scraped and not there", host)
		}
	}
	if agents == 0 || agents != len(scrape.Configs[0].Static) {
		t.Errorf("of %d agents %d are scraped", agents, len(scrape.Configs[0].Static))
	}
	variables := regexp.MustCompile(`\$\{(\w+)\}`)
	err := fs.WalkDir(Files, "grafana/provisioning", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var any map[string]any
		read(t, path, &any)
		b, err := fs.ReadFile(Files, path)
		for _, v := range variables.FindAllStringSubmatch(string(b), -1) {
			if compose.Services["grafana"].Environment[v[1]] == "" {
				t.Errorf("%s needs %s, which compose.yml does not set", path, v[1])
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// The files of dashboards are what the package dashboards says, and Grafana can
// take them.
func TestDashboardsAreWrittenAndWhole(t *testing.T) {
	known, ids, written := sections(t), map[string]bool{}, map[string]bool{}
	for _, d := range dashboards.All() {
		want, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		written[d.File()] = true
		if got, err := os.ReadFile(filepath.Join("grafana", d.File())); err != nil || string(got) != string(want) {
			t.Errorf("grafana/%s is not current: run make generate (%v)", d.File(), err)
		}
		if ids[d.UID] || d.UID == "" || d.Title == "" || d.About == "" {
			t.Errorf("%q: the UID is taken, or something is missing", d.UID)
		}
		ids[d.UID] = true
		if len(d.Rows) == 0 || d.Rows[0].Panels[0].Kind != dashboards.Stat {
			t.Errorf("%s does not begin with whether all is well", d.UID)
		}
		for _, p := range d.Layout() {
			if p.Row != "" {
				continue
			}
			switch {
			case p.Panel.Title == "" || p.Panel.Look == "" || len(p.Panel.Queries) == 0 || p.Panel.Unit == "":
				t.Errorf("%s, %q: something is missing", d.UID, p.Panel.Title)
			case !known[p.Panel.Section]:
				t.Errorf("%s, %q: the runbook has no section %q", d.UID, p.Panel.Title, p.Panel.Section)
			}
			for _, q := range p.Panel.Queries {
				if !strings.Contains(q.Expr, "{@") || strings.Contains(d.Query(q.Expr), "@") || q.Legend == "" {
					t.Errorf("%s, %q: %q does not follow the choice of agents, or has no legend", d.UID, p.Panel.Title, q.Expr)
				}
			}
		}
		grid(t, d.UID, want)
	}
	files, err := filepath.Glob("grafana/*.json")
	for _, f := range files {
		if !written[filepath.Base(f)] {
			t.Errorf("%s is nobody's", f)
		}
	}
	if err != nil || !known["what-to-look-at-when-"] {
		t.Errorf("the runbook has no section that dashboards link to (%v)", err)
	}
}

// grid checks numbers and places of panels as Grafana reads them.
func grid(t *testing.T, uid string, text []byte) {
	t.Helper()
	var file struct {
		Panels []struct {
			ID    int
			Title string
			Place dashboards.Place `json:"gridPos"`
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	seen, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range file.Panels {
		if p.ID == 0 || seen[p.ID] {
			t.Errorf("%s, %q: number %d", uid, p.Title, p.ID)
		}
		seen[p.ID] = true
		if p.Place.W < 4 || p.Place.X+p.Place.W > 24 || p.Place.H < 1 {
			t.Errorf("%s, %q stands at %+v", uid, p.Title, p.Place)
		}
		for x := range p.Place.W {
			for y := range p.Place.H {
				at := [2]int{p.Place.X + x, p.Place.Y + y}
				if other := taken[at]; other != "" {
					t.Fatalf("%s: %q covers %q", uid, p.Title, other)
				}
				taken[at] = p.Title
			}
		}
	}
}

// Queries name metrics that agents expose, as docs/metrics.md has them.
func TestQueriesNameMetricsThatAreThere(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(^|[^:\w])(legate_\w+)`)
	there := func(where, expr string) (missing int) {
		t.Helper()
		for _, m := range names.FindAllStringSubmatch(expr, -1) {
			name := m[2]
			for _, of := range []string{"_bucket", "_sum", "_count"} {
				name = strings.TrimSuffix(name, of)
			}
			if !strings.Contains(string(page), "| `"+name+"` |") {
				missing++
				if where != "" {
					t.Errorf("%s: no agent exposes %s", where, m[2])
				}
			}
		}
		return missing
	}
	if there("", "rate(legate_no_such_thing_total[5m])") != 1 {
		t.Error("a metric that is not there is taken for one that is")
	}
	for _, d := range dashboards.All() {
		for _, p := range d.Layout() {
			for _, q := range p.Panel.Queries {
				there(d.UID+", "+p.Panel.Title, q.Expr)
			}
		}
	}
	for _, r := range rules(t) {
		there(r.Alert+r.Record, r.Expr)
	}
}
