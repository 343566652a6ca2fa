//go:build linux

package observe

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/deployments/dashboards"
)

// What environment variables ask for.
const (
	// longVar is "all", or a pattern of the names of the faults that are wanted.
	longVar     = "LEGATE_OBSERVE"
	picturesVar = "LEGATE_OBSERVE_PICTURES"
)

const (
	// settled is how long the load runs before and after the faults.
	settled = 8 * time.Second
	// raised is how long the alerts of a fault may take.
	raised = 90 * time.Second
	// window stands for Grafana's $__rate_interval.
	window = "6s"
)

func long() bool { return os.Getenv(longVar) != "" }

// whole says that all faults are wanted.
func whole() bool { return os.Getenv(longVar) == "all" }

func wanted(f fault) bool {
	if whole() || !long() {
		return whole() || f.short
	}
	return regexp.MustCompile(os.Getenv(longVar)).MatchString(f.name)
}

// Prometheus scrapes a federation under load and faults: every query of every
// dashboard and every recording rule gives data, every alert fires for real.
func TestEverythingThatIsWatchedIsSeen(t *testing.T) {
	if !long() {
		t.Parallel()
	}
	small := size{others: 1, clients: 1}
	if long() {
		small = size{others: 2, clients: 2, disks: true}
	}
	f := newFederation(t, small)
	var ips []string
	for dc := range small.others + 1 {
		ips = append(ips, subnet(dc)+"250")
	}
	s := &scene{federation: f, recursor: startRecursor(t, f.watch, ips...)}
	f.whole()
	s.prometheus = startPrometheus(t, f.watch, subnet(0)+"250", f.targets())
	startLoad(t, f)
	<-time.After(settled)
	calm := struct{ from, to time.Time }{s.prometheus.began, time.Now()}
	t.Logf("calm for %s", calm.to.Sub(calm.from).Round(time.Second))

	expected := map[string]bool{}
	for _, fault := range faults() {
		if !wanted(fault) {
			continue
		}
		s.provoke(t, fault)
		for _, a := range fault.raises {
			expected[a] = true
		}
	}
	<-time.After(settled)
	if whole() {
		everyAlert(t, s.prometheus, expected)
	}
	rulesGiveData(t, s.prometheus)
	panelsGiveData(t, s.prometheus)
	if dir := os.Getenv(picturesVar); dir != "" {
		for _, d := range dashboards.All() {
			picture(t, s.prometheus, d, filepath.Join(dir, strings.TrimSuffix(d.File(), ".json")+".png"))
		}
	}
}

// provoke strikes with a fault, waits for its alerts, and heals.
func (s *scene) provoke(t *testing.T, f fault) {
	t.Helper()
	begin := time.Now()
	end := f.strike(s)
	var missing []string
	for {
		if f.again != nil {
			f.again(s)
		}
		fired, err := s.prometheus.over(`max by (alertname) (ALERTS{alertstate="firing"})`, begin, scrapeEvery)
		if err != nil {
			t.Fatal(err)
		}
		missing = slices.Clone(f.raises)
		for _, a := range fired {
			missing = slices.DeleteFunc(missing, func(name string) bool { return name == a.labels["alertname"] })
		}
		if len(missing) == 0 || time.Since(begin) > raised {
			break
		}
		<-time.After(scrapeEvery)
	}
	if len(missing) > 0 {
		t.Errorf("%s: not raised within %s: %v", f.name, time.Since(begin).Round(time.Second), missing)
	}
	t.Logf("%s: raised %v within %s", f.name, f.raises, time.Since(begin).Round(100*time.Millisecond))
	end()
	s.recursor.mood.Store(answers)
	s.heal()
	s.whole()
}

// everyAlert holds the list of faults against the rules.
func everyAlert(t *testing.T, p *prometheus, expected map[string]bool) {
	t.Helper()
	rules, err := p.rules()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range rules {
		if r.Type != "alerting" {
			continue
		}
		seen++
		if _, never := unprovoked()[r.Name]; !expected[r.Name] && !never {
			t.Errorf("no fault raises %s", r.Name)
		}
	}
	if seen < 30 {
		t.Errorf("only %d alerts", seen)
	}
}

// rulesGiveData checks that rules are evaluated and that what they record has
// values.
func rulesGiveData(t *testing.T, p *prometheus) {
	t.Helper()
	rules, err := p.rules()
	if err != nil {
		t.Fatal(err)
	}
	recorded := 0
	for _, r := range rules {
		if r.Health != "ok" {
			t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
		}
		if r.Type != "recording" {
			continue
		}
		recorded++
		if found, err := p.over(r.Name, p.began, scrapeEvery); err != nil || len(found) == 0 {
			t.Errorf("%s records nothing (%v)", r.Name, err)
		}
	}
	if recorded < 10 {
		t.Errorf("only %d recording rules", recorded)
	}
}

// concrete fills in what Grafana would.
func concrete(d dashboards.Dashboard, expr string) string {
	return strings.NewReplacer("$__rate_interval", window, `"$dc"`, `".*"`, `"$node"`, `".*"`, `"$instance"`, `".*"`).Replace(d.Query(expr))
}

// panelsGiveData asks every query of every panel.
func panelsGiveData(t *testing.T, p *prometheus) {
	t.Helper()
	asked, still := 0, []string(nil)
	for _, d := range dashboards.All() {
		for _, v := range d.Variables() {
			values, err := p.values(concrete(d, v.Query))
			if err != nil || len(values) < 2 {
				t.Errorf("%s: variable %s has %v (%v)", d.UID, v.Name, values, err)
			}
		}
		for _, placed := range d.Layout() {
			for i, q := range placed.Panel.Queries {
				asked++
				found, err := p.over(concrete(d, q.Expr), p.began, scrapeEvery)
				where := fmt.Sprintf("%s, %q, query %c", d.UID, placed.Panel.Title, 'A'+i)
				if err != nil {
					t.Errorf("%s: %v", where, err)
				} else if len(found) == 0 && (whole() || q.Fault == "") {
					t.Errorf("%s gives nothing: %s", where, q.Expr)
				} else if level(found) {
					still = append(still, where)
				}
				legends(t, where, q.Legend, found)
			}
		}
	}
	t.Logf("%d queries give data; %d of them never changed:\n%s", asked, len(still), strings.Join(still, "\n"))
	marks, err := p.over(strings.Replace(dashboards.Elected, `"$dc"`, `".*"`, 1), p.began, scrapeEvery)
	if err != nil || len(marks) == 0 && (whole() || !long()) {
		t.Errorf("no election is marked (%v)", err)
	}
}

// level says that no series ever changed.
func level(found []series) bool {
	for _, s := range found {
		for _, p := range s.points {
			if p.value != s.points[0].value {
				return false
			}
		}
	}
	return true
}

// legends checks that the labels of a legend exist.
func legends(t *testing.T, where, legend string, found []series) {
	t.Helper()
	for _, part := range strings.Split(legend, "{{")[1:] {
		name, _, _ := strings.Cut(part, "}}")
		if len(found) > 0 && !slices.ContainsFunc(found, func(s series) bool { return s.labels[name] != "" }) {
			t.Errorf("%s: no series has the label %s of the legend %q", where, name, legend)
		}
	}
}
