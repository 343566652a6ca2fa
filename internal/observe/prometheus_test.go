//go:build linux

package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// faster is what the rules' durations and ranges are divided by: an hour
// becomes a minute. Thresholds stay.
const faster = 60

// scrapeEvery is how often Prometheus asks agents and computes rules.
const scrapeEvery = time.Second

// rulesDir is where the shipped rules are.
const rulesDir = "../../deployments/prometheus"

var (
	rangeForm = regexp.MustCompile(`\[(\d+)([smh])\]`)
	forForm   = regexp.MustCompile(`(?m)^(\s+for: )(\d+)([smh])$`)
)

// scaled divides the durations of rules by faster.
func scaled(rules string) string {
	short := func(number, unit string) string {
		n, err := strconv.Atoi(number)
		if err != nil {
			panic(err) // the form admits digits only
		}
		d := time.Duration(n) * map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit] / faster
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	rules = rangeForm.ReplaceAllStringFunc(rules, func(s string) string {
		m := rangeForm.FindStringSubmatch(s)
		return "[" + short(m[1], m[2]) + "]"
	})
	return forForm.ReplaceAllStringFunc(rules, func(s string) string {
		m := forForm.FindStringSubmatch(s)
		return m[1] + short(m[2], m[3])
	})
}

func TestDurationsOfRulesAreScaled(t *testing.T) {
	got := scaled("expr: rate(a[5m]) > b[1h]\n  for: 30s\n  summary: \"for: 10m\"\n")
	if want := "expr: rate(a[5000ms]) > b[60000ms]\n  for: 500ms\n  summary: \"for: 10m\"\n"; got != want {
		t.Errorf("%q", got)
	}
}

// prometheus is a running one.
type prometheus struct {
	t       testing.TB
	base    string
	http    *http.Client
	targets string // file that names what is scraped
	began   time.Time
}

// target is an agent to scrape.
type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

func startPrometheus(t testing.TB, h *proctest.Host, ip string, targets []target) *prometheus {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("takes the program prometheus")
	}
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join(rulesDir, "*.rules.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("rules: %v %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, filepath.Base(f)), scaled(string(b)))
	}
	p := &prometheus{t: t, base: "http://" + ip + ":9090", targets: filepath.Join(dir, "targets.json"), began: time.Now()}
	p.scrape(targets)
	config := filepath.Join(dir, "prometheus.yml")
	write(t, config, fmt.Sprintf(`
global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}
rule_files: ["*.rules.yml"]
scrape_configs:
  - job_name: legate
    file_sd_configs: [{files: [targets.json], refresh_interval: 2s}]
`, scrapeEvery))
	proctest.StartTool(t, h, "prometheus", program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+ip+":9090", "--log.level=warn")
	transport := h.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	p.http = &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	proctest.Until(t, patience, "Prometheus answers", func() error {
		_, err := p.instant("vector(1)")
		return err
	})
	return p
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// scrape says what is scraped from now on.
func (p *prometheus) scrape(targets []target) {
	p.t.Helper()
	b, err := json.Marshal(targets)
	if err != nil {
		p.t.Fatal(err)
	}
	next := p.targets + ".next"
	write(p.t, next, string(b))
	if err := os.Rename(next, p.targets); err != nil {
		p.t.Fatal(err)
	}
}

// point is a value at a time.
type point struct {
	at    time.Time
	value float64
}

// series is one line of an answer.
type series struct {
	labels map[string]string
	points []point // NaN left out
}

// ask asks Prometheus' HTTP API.
func (p *prometheus) ask(path string, form url.Values, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.http.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path+"?"+form.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, res.Status, b)
	}
	return json.Unmarshal(b, into)
}

// answer is the form of answers to queries.
type answer struct {
	Data struct {
		Result json.RawMessage `json:"result"`
		Type   string          `json:"resultType"`
	} `json:"data"`
}

func (a answer) series() (out []series, err error) {
	if a.Data.Type == "scalar" {
		return nil, nil
	}
	var rows []struct {
		Metric map[string]string `json:"metric"`
		Value  json.RawMessage   `json:"value"`
		Values []json.RawMessage `json:"values"`
	}
	if err := json.Unmarshal(a.Data.Result, &rows); err != nil {
		return nil, err
	}
	for _, r := range rows {
		s := series{labels: r.Metric}
		if r.Value != nil {
			r.Values = append(r.Values, r.Value)
		}
		for _, raw := range r.Values {
			var at float64
			var text string
			if err := json.Unmarshal(raw, &[]any{&at, &text}); err != nil {
				return nil, err
			}
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, err
			}
			if !math.IsNaN(v) {
				s.points = append(s.points, point{time.UnixMilli(int64(at * 1000)), v})
			}
		}
		if len(s.points) > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}

// instant asks for values now.
func (p *prometheus) instant(expr string) ([]series, error) {
	var a answer
	if err := p.ask("/api/v1/query", url.Values{"query": {expr}}, &a); err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	return a.series()
}

// over asks for values from a time on until now.
func (p *prometheus) over(expr string, from time.Time, step time.Duration) ([]series, error) {
	var a answer
	form := url.Values{"query": {expr}, "start": {stamp(from)}, "end": {stamp(time.Now())}, "step": {fmt.Sprint(step.Seconds())}}
	if err := p.ask("/api/v1/query_range", form, &a); err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	return a.series()
}

func stamp(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// rule is a rule that Prometheus knows.
type rule struct{ Name, Type, Health, LastError string }

// rules are those that Prometheus evaluates.
func (p *prometheus) rules() (out []rule, err error) {
	var a struct {
		Data struct {
			Groups []struct{ Rules []rule }
		}
	}
	err = p.ask("/api/v1/rules", nil, &a)
	for _, g := range a.Data.Groups {
		out = append(out, g.Rules...)
	}
	return out, err
}

// values are those of a variable of a dashboard, label_values(series, label).
func (p *prometheus) values(query string) ([]string, error) {
	inner, ok := strings.CutPrefix(strings.TrimSuffix(query, ")"), "label_values(")
	at := strings.LastIndex(inner, ",")
	if !ok || at < 0 {
		return nil, fmt.Errorf("%q is no query of a variable", query)
	}
	var a struct{ Data []string }
	err := p.ask("/api/v1/label/"+strings.TrimSpace(inner[at+1:])+"/values", url.Values{"match[]": {inner[:at]}}, &a)
	return a.Data, err
}
