package local

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/agent/local/disk"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog"
)

// While the disk fails, what is refused has changed nothing: not what the agent
// has, not what the catalog has of it, not what is there after a restart.
func TestAChangeThatCannotBeKeptIsNotMade(t *testing.T) {
	dir, d := t.TempDir(), newDatacenter(t)
	keep := func(c *Config) { c.Dir = dir }
	s := start(t, d, keep)
	must(t, s.AddService(web(80)))
	must(t, s.AddCheck(config.CheckDefinition{ID: "disk", TTL: time.Hour}))
	eventually(t, "service in the catalog", func() bool { return len(d.instances(t, "web")) == 1 })
	for _, folder := range []string{serviceFolder, checkFolder} {
		must(t, os.Rename(filepath.Join(dir, folder), filepath.Join(dir, folder+".away")))
		must(t, os.WriteFile(filepath.Join(dir, folder), nil, 0o600))
	}
	more := web(80)
	more.Checks = []config.CheckDefinition{{ID: "other", TTL: time.Hour}}
	for what, do := range map[string]func() error{
		"change a service":     func() error { return s.AddService(web(81)) },
		"replace its checks":   func() error { return s.ReplaceService(more) },
		"loosen its check":     func() error { return s.AddService(more) },
		"register a service":   func() error { return s.AddService(config.ServiceDefinition{Name: "new"}) },
		"deregister a service": func() error { return s.RemoveService("web") },
		"register a check":     func() error { return s.AddCheck(config.CheckDefinition{ID: "new", TTL: time.Hour}) },
		"deregister a check":   func() error { return s.RemoveCheck("disk") },
		"a service's check":    func() error { return s.RemoveCheck("service:web") },
		"maintenance":          func() error { return s.Maintain("", true, "") },
	} {
		if err := do(); !errors.Is(err, errNotKept) {
			t.Errorf("%s: %v", what, err)
		}
		if got := s.Services(); len(got) != 1 || got["web"].Port != 80 || ids(s) != "disk service:web" {
			t.Errorf("%s: services %v, checks %s", what, got, ids(s))
		}
	}
	must(t, s.UpdateTTL("service:web", "passing", "fine"))
	eventually(t, "the report counts", func() bool {
		return slices.ContainsFunc(d.instances(t, "web")[0].Checks, func(c catalog.Check) bool { return c.Status == "passing" })
	})
	if got := d.instances(t, "web")[0].Service.Port; got != 80 {
		t.Errorf("the catalog has port %d", got)
	}
	for _, folder := range []string{serviceFolder, checkFolder} {
		must(t, os.Remove(filepath.Join(dir, folder)))
		must(t, os.Rename(filepath.Join(dir, folder+".away"), filepath.Join(dir, folder)))
	}
	must(t, s.Stop(t.Context()))
	s = start(t, d, keep)
	if got := s.Services(); len(got) != 1 || got["web"].Port != 80 || ids(s) != "disk service:web" {
		t.Errorf("after a restart: services %v, checks %s", got, ids(s))
	}
}

// What was taken when less was refused is not lost for it.
func TestOldDefinitionsAreTakenUp(t *testing.T) {
	dir, d := t.TempDir(), newDatacenter(t)
	keep := func(c *Config) { c.Dir = dir }
	must(t, start(t, d, keep).AddService(web(80)))
	must(t, os.WriteFile(filepath.Join(dir, serviceFolder, "old.json"), []byte(`{"Service":{"Name":"old","Checks":[{"ID":"both","TTL":60000000000,"Interval":1000000000,"OutputMaxSize":-1}]}}`), 0o600))
	must(t, os.MkdirAll(filepath.Join(dir, checkFolder), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, checkFolder, "old.json"), []byte(`{"Check":{"ID":"too","TTL":60000000000,"Interval":1000000000}}`), 0o600))
	if got := ids(start(t, d, keep)); got != "both service:web too" {
		t.Errorf("checks %s", got)
	}
}

// A file whose folder is lost with the power is lost, too.
func TestFoldersAreDurableBeforeWhatIsInThem(t *testing.T) {
	dir := t.TempDir()
	s := start(t, newDatacenter(t), func(c *Config) { c.Dir = dir })
	var synced []string
	s.disk.SyncDir = func(name string) error {
		rel, err := filepath.Rel(dir, name)
		synced = append(synced, rel)
		return errors.Join(err, disk.SyncDir(name))
	}
	must(t, s.AddService(web(80)))
	must(t, s.UpdateTTL("service:web", "passing", ""))
	if got := strings.Join(synced, " "); got != ". services . checks" {
		t.Errorf("flushed: %s", got)
	}
}

// Who asks for what is already so is told that it is, however many ask at once.
func TestMaintenanceIsOneStep(t *testing.T) {
	dir := t.TempDir()
	s := start(t, newDatacenter(t), func(c *Config) { c.Dir = dir })
	must(t, s.AddService(web(80)))
	for round := range 20 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := s.Maintain("web", round%2 == 0, "x"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if got := ids(s); got != "service:web" {
		t.Errorf("checks %s", got)
	}
}

// Disabling scripts for a while costs no definition.
func TestKeptScriptsSleepWhileTheyAreDisabled(t *testing.T) {
	dir, d := t.TempDir(), newDatacenter(t)
	var log bytes.Buffer
	run := func(scripts bool, test func(*State)) {
		t.Helper()
		log.Reset()
		s := start(t, d, func(c *Config) {
			c.Dir, c.ScriptsFromAPI, c.Log = dir, scripts, slog.New(slog.NewTextHandler(&log, nil))
		})
		test(s)
		must(t, s.Stop(t.Context()))
	}
	script := func(id string) config.CheckDefinition {
		return config.CheckDefinition{ID: id, Args: []string{"true"}, Interval: time.Hour}
	}
	late := script("late")
	late.ServiceID = "web"
	def := web(80)
	def.Checks = []config.CheckDefinition{script("part"), {ID: "told", TTL: time.Hour}, {ID: "more", TTL: time.Hour}}
	run(true, func(s *State) {
		must(t, s.AddService(def))
		must(t, s.AddCheck(script("node")))
		must(t, s.AddCheck(late))
	})
	run(false, func(s *State) {
		if got := ids(s); got != "more told" || len(s.Services()) != 1 {
			t.Errorf("with scripts disabled: checks %s, services %v", got, s.Services())
		}
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || strings.Contains(text, "level=ERROR") || !strings.Contains(text, "enable_script_checks") || !strings.Contains(text, "count=3") {
			t.Errorf("it said: %s", text)
		}
		must(t, s.RemoveCheck("more")) // writes the service's file
		again := web(81)
		again.Checks = def.Checks[1:2]
		must(t, s.AddService(again))
	})
	run(true, func(s *State) {
		if got := ids(s); got != "late node part told" || s.Services()["web"].Port != 81 {
			t.Errorf("with scripts enabled again: checks %s, services %v", got, s.Services())
		}
	})
	run(false, func(s *State) { // what goes while it sleeps is gone
		must(t, s.RemoveCheck("node"))
		must(t, s.ReplaceService(web(80)))
	})
	run(true, func(s *State) {
		if got := ids(s); got != "service:web" {
			t.Errorf("after they went: checks %s", got)
		}
		must(t, s.AddCheck(late))
	})
	run(false, func(s *State) {
		must(t, s.RemoveService("web"))
		must(t, s.AddService(web(80)))
	})
	run(true, func(s *State) {
		if got := ids(s); got != "service:web" {
			t.Errorf("after their service went: checks %s", got)
		}
	})
	if bad, err := filepath.Glob(filepath.Join(dir, "*", "*.bad")); err != nil || len(bad) > 0 {
		t.Errorf("put aside: %v, %v", bad, err)
	}
}

// A restart neither prolongs nor renews the state that a check was registered
// with.
func TestATTLThatWasNeverReportedDoesNotBeginAnewAtARestart(t *testing.T) {
	dir := t.TempDir()
	def := config.CheckDefinition{TTL: time.Minute, Status: "passing"}
	begin := func(t *testing.T, s *State) {
		def.ID = "told"
		must(t, s.AddCheck(def))
		def.ID = "part"
		must(t, s.AddService(config.ServiceDefinition{Name: "web", Checks: []config.CheckDefinition{def}}))
		must(t, s.AddCheck(config.CheckDefinition{ID: "unsaid", TTL: time.Minute}))
		after(40 * time.Second)
		must(t, s.Stop(t.Context()))
	}
	keep := func(c *Config) { c.Dir = dir }
	again := func(t *testing.T, s *State) *State {
		cfg := s.cfg
		cfg.Registerer = prometheus.NewRegistry()
		next, err := New(cfg)
		must(t, err)
		must(t, next.Start())
		return next
	}
	states := func(s *State) string {
		c := s.Checks()
		return c["told"].Status + " " + c["part"].Status + " " + c["unsaid"].Status
	}
	bubble(t, keep, func(t *testing.T, s *State, f *fakeCatalog) {
		begin(t, s)
		s = again(t, s)
		if got := states(s); got != "passing passing critical" {
			t.Errorf("within the TTL: %s", got)
		}
		after(25 * time.Second)
		expired := s.Checks()["told"]
		if got := states(s); got != "critical critical critical" {
			t.Errorf("when it is over: %s", got)
		}
		must(t, s.Stop(t.Context()))
		s = again(t, s)
		if got := s.Checks()["told"]; states(s) != "critical critical critical" || got.Output != expired.Output {
			t.Errorf("after a later restart: %s %q, before %q", states(s), got.Output, expired.Output)
		}
		must(t, s.Stop(t.Context()))
	})
}

// The token that a service was registered with is its token after a restart, and only
// the agent's user reads it.
func TestTokensAreKeptWithWhatTheyRegister(t *testing.T) {
	dir, d := t.TempDir(), newDatacenter(t)
	keep := func(c *Config) { c.Dir = dir }
	s := start(t, d, keep)
	def := web(80)
	def.Token = "mine"
	must(t, s.AddService(def))
	must(t, s.AddCheck(config.CheckDefinition{ID: "disk", TTL: time.Hour, Token: "disks"}))
	must(t, s.Stop(t.Context()))
	s = start(t, d, keep)
	if got := s.services["web"].def.Token + " " + s.checks["disk"].def.Token; got != "mine disks" {
		t.Errorf("after a restart the tokens are %q", got)
	}
	for _, folder := range []string{serviceFolder, checkFolder} {
		files, err := os.ReadDir(filepath.Join(dir, folder))
		must(t, err)
		for _, f := range files {
			if info, err := f.Info(); err != nil || !f.IsDir() && info.Mode().Perm() != 0o600 {
				t.Errorf("%s/%s: %v, %v", folder, f.Name(), info.Mode(), err)
			}
		}
	}
}
