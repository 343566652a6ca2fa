package local

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog/mesh"
)

func ids(s *State) string { return strings.Join(slices.Sorted(maps.Keys(s.Checks())), " ") }

func named(ids ...string) (list []config.CheckDefinition) {
	for _, id := range ids {
		list = append(list, config.CheckDefinition{ID: id, TTL: time.Hour})
	}
	return list
}

func TestChecksThatARegistrationDoesNotName(t *testing.T) {
	dir := t.TempDir()
	d := newDatacenter(t)
	keep := func(c *Config) { c.Dir = dir }
	s := start(t, d, keep)
	def := config.ServiceDefinition{Name: "web", Checks: named("a", "b")}
	must(t, s.AddService(def))
	must(t, s.AddCheck(config.CheckDefinition{ID: "c", ServiceID: "web", TTL: time.Hour}))
	must(t, s.AddCheck(config.CheckDefinition{ID: "node", TTL: time.Hour}))
	must(t, s.UpdateTTL("b", "passing", "fine"))
	must(t, s.Maintain("web", true, "work"))

	def.Checks = named("a", "d")
	must(t, s.AddService(def))
	const stay = "_service_maintenance:web a b c d node"
	if got := ids(s); got != stay || s.Checks()["b"].Status != "passing" {
		t.Errorf("after AddService: %s, b is %s", got, s.Checks()["b"].Status)
	}
	must(t, s.Stop(t.Context()))
	s = start(t, d, keep)
	if got := ids(s); got != stay {
		t.Errorf("after a restart: %s, want %s", got, stay)
	}

	def.Checks = named("d")
	must(t, s.ReplaceService(def))
	const left = "_service_maintenance:web d node"
	if got := ids(s); got != left {
		t.Errorf("after ReplaceService: %s, want %s", got, left)
	}
	must(t, s.Stop(t.Context()))
	s = start(t, d, keep)
	if got := ids(s); got != left {
		t.Errorf("after a restart: %s, want %s", got, left)
	}
	must(t, s.RemoveService("web"))
	must(t, s.Stop(t.Context()))
	if got := ids(start(t, d, keep)); got != "node" {
		t.Errorf("after the service went and a restart: %s", got)
	}
}

func TestACheckThatWasRemovedStaysAway(t *testing.T) {
	dir, d := t.TempDir(), newDatacenter(t)
	s := start(t, d, func(c *Config) { c.Dir = dir })
	must(t, s.AddService(config.ServiceDefinition{Name: "web", Checks: []config.CheckDefinition{{TTL: time.Hour}, {TTL: time.Hour}}}))
	must(t, s.RemoveCheck("service:web:1"))
	must(t, s.Stop(t.Context()))
	if got := ids(start(t, d, func(c *Config) { c.Dir = dir })); got != "service:web:2" {
		t.Errorf("checks after a restart: %s, want service:web:2", got)
	}
}

func TestChecksFromTheAPIOfServicesFromFilesOutliveARestart(t *testing.T) {
	dir, d := t.TempDir(), newDatacenter(t)
	keep := func(c *Config) { c.Dir = dir }
	files := []config.ServiceDefinition{{Name: "web"}}
	s := start(t, d, keep)
	must(t, s.Define(files, nil))
	must(t, s.AddCheck(config.CheckDefinition{Name: "late", ServiceID: "web", TTL: time.Hour}))
	must(t, s.Stop(t.Context()))

	for range 2 {
		s = start(t, d, keep)
		must(t, s.Define(files, nil))
		if got := ids(s); got != "late" {
			t.Fatalf("checks after a restart: %q, want late", got)
		}
		must(t, s.Stop(t.Context()))
	}
	s = start(t, d, keep)
	must(t, s.Define(nil, nil)) // its file was taken away meanwhile: the check goes for good
	must(t, s.Define(files, nil))
	if got := ids(s); got != "" {
		t.Errorf("checks of a service that was away: %q", got)
	}
}

func TestReadingTheSameDefinitionsAgainDisturbsNothing(t *testing.T) {
	bubble(t, func(c *Config) { c.ScriptsFromFiles = true }, func(t *testing.T, s *State, f *fakeCatalog) {
		def := config.ServiceDefinition{Name: "web", Checks: []config.CheckDefinition{
			{ID: "told", TTL: time.Minute, Status: "critical"},
			{ID: "run", HTTP: "http://127.0.0.1:1/", Interval: 100000 * time.Hour, Status: "passing"}}}
		nodeChecks := []config.CheckDefinition{{ID: "alone", TTL: time.Minute, Status: "critical"}}
		must(t, s.Define([]config.ServiceDefinition{def}, nodeChecks))
		must(t, s.UpdateTTL("told", "passing", "fine"))
		must(t, s.UpdateTTL("alone", "warning", "hm"))
		after(30 * time.Second)
		_, before := f.count()
		must(t, s.Define([]config.ServiceDefinition{def}, nodeChecks))
		after(20 * time.Second)
		if _, now := f.count(); now != before {
			t.Errorf("%d writes", now-before)
		}
		c := s.Checks()
		if c["told"].Status != "passing" || c["alone"].Status != "warning" || c["run"].Status != "passing" {
			t.Errorf("states: %v", c)
		}
		after(11 * time.Second) // the TTL goes on, too
		if got := s.Checks()["told"].Status; got != "critical" {
			t.Errorf("the TTL began anew: %s", got)
		}
		def.Port, def.Checks = 81, def.Checks[:1]
		must(t, s.Define([]config.ServiceDefinition{def, {Name: "new"}}, nil))
		after(time.Second)
		if got := ids(s); got != "told" || s.Services()["web"].Port != 81 || len(s.Services()) != 2 {
			t.Errorf("after a change: checks %s, services %v", got, s.Services())
		}
	})
}

func TestDefinitionsWithAFaultChangeNothing(t *testing.T) {
	s := start(t, newDatacenter(t), nil)
	must(t, s.Define([]config.ServiceDefinition{web(80)}, named("disk")))
	for what, c := range map[string]struct {
		services []config.ServiceDefinition
		checks   []config.CheckDefinition
	}{
		"bad service":         {[]config.ServiceDefinition{web(81), {Name: "bad", Address: "0.0.0.0"}}, nil},
		"bad check":           {[]config.ServiceDefinition{web(81)}, []config.CheckDefinition{{Name: "bad"}}},
		"check of no service": {[]config.ServiceDefinition{web(81)}, []config.CheckDefinition{{Name: "bad", TTL: time.Second, ServiceID: "none"}}},
		"check of a service that goes": {[]config.ServiceDefinition{{Name: "other"}},
			[]config.CheckDefinition{{Name: "bad", TTL: time.Second, ServiceID: "web"}}},
	} {
		err := s.Define(c.services, c.checks)
		if err == nil || !strings.Contains(err.Error(), `"bad"`) {
			t.Errorf("%s: %v", what, err)
		}
		if got := s.Services(); len(got) != 1 || got["web"].Port != 80 || ids(s) != "disk service:web" {
			t.Errorf("%s: services %v, checks %s", what, got, ids(s))
		}
	}
}

func TestWhatTheCatalogWouldRefuseIsRefusedAtOnce(t *testing.T) {
	s := start(t, newDatacenter(t), nil)
	long := strings.Repeat("x", maxTag+1)
	many := make([]string, maxTags+1)
	meta := map[string]string{}
	for i := range maxMeta + 1 {
		meta[fmt.Sprint("k", i)] = "v"
	}
	for what, def := range map[string]config.ServiceDefinition{
		"long name":         {Name: long[:maxName+1]},
		"long ID":           {Name: "web", ID: long[:maxName+1]},
		"a line break":      {Name: "web", ID: "a\nb"},
		"an unseen sign":    {Name: "we\u202eb"},
		"of a check":        {Name: "web", Checks: []config.CheckDefinition{{ID: "a\x00b", TTL: time.Second}}},
		"long tag":          {Name: "web", Tags: []string{long}},
		"many tags":         {Name: "web", Tags: many},
		"many metas":        {Name: "web", Meta: meta},
		"long meta key":     {Name: "web", Meta: map[string]string{long[:maxMetaKey+1]: ""}},
		"long meta value":   {Name: "web", Meta: map[string]string{"k": long[:maxMetaValue+1]}},
		"any address":       {Name: "web", Address: "::"},
		"bad port":          {Name: "web", Port: 65536},
		"bad weights":       {Name: "web", Weights: &config.ServiceWeights{Passing: 0, Warning: 1}},
		"bad tagged port":   {Name: "web", TaggedAddresses: map[string]config.ServiceAddress{"lan": {Address: "a", Port: -1}}},
		"socket and port":   {Name: "web", SocketPath: "/s", Port: 1},
		"unknown kind":      {Name: "web", Kind: "strange"},
		"no default port":   {Name: "web", Ports: mesh.Ports{{Name: "a", Port: 1}}},
		"two defaults":      {Name: "web", Ports: mesh.Ports{{Name: "a", Port: 1, Default: true}, {Name: "b", Port: 2, Default: true}}},
		"port named twice":  {Name: "web", Ports: mesh.Ports{{Name: "a", Port: 1, Default: true}, {Name: "a", Port: 2}}},
		"port and ports":    {Name: "web", Port: 2, Ports: mesh.Ports{{Name: "a", Port: 1, Default: true}}},
		"socket and ports":  {Name: "web", SocketPath: "/s", Ports: mesh.Ports{{Name: "a", Port: 1, Default: true}}},
		"namespace":         {Name: "web", Namespace: "team"},
		"check given twice": {Name: "web", Checks: named("a", "a")},
		"long check ID":     {Name: "web", Checks: named(long[:maxName+1])},
		"long notes":        {Name: "web", Checks: []config.CheckDefinition{{ID: "a", TTL: time.Second, Notes: long}}},
	} {
		var invalid *InvalidError
		if err := s.AddService(def); !errors.As(err, &invalid) || len(invalid.Text) > 300 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(s.Services()) != 0 || len(s.Checks()) != 0 {
		t.Error("a refused registration left something behind")
	}
	must(t, s.AddService(config.ServiceDefinition{Name: long[:maxName], Tags: many[:maxTags], Kind: "connect-proxy", Namespace: "default",
		Connect: mesh.Connect{Native: true}, Proxy: mesh.Proxy{DestinationServiceName: "x"}}))
}

func TestRegistrationsAreOnDiskWhenTheyAreAnswered(t *testing.T) {
	dir := t.TempDir()
	s := start(t, newDatacenter(t), func(c *Config) { c.Dir = dir })
	files := func() int {
		list, err := filepath.Glob(filepath.Join(dir, serviceFolder, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 20 {
				def := config.ServiceDefinition{Name: fmt.Sprint("s", i), Port: j + 1}
				if err := s.AddService(def); err != nil {
					t.Error(err)
				}
				b, err := os.ReadFile(s.disk.Path(serviceFolder, def.Name))
				if err != nil || !strings.Contains(string(b), fmt.Sprintf(`"Port":%d,`, def.Port)) {
					t.Errorf("registered, but the file holds %s, %v", b, err)
				}
			}
		})
		wg.Go(func() { // many write one file: the last one's is what stays
			for j := range 20 {
				if err := s.AddService(config.ServiceDefinition{Name: "shared", Port: 1 + i*20 + j}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := files(); n != 17 {
		t.Errorf("%d files, want 17", n)
	}
	b, err := os.ReadFile(s.disk.Path(serviceFolder, "shared"))
	if want := fmt.Sprintf(`"Port":%d,`, s.Services()["shared"].Port); err != nil || !strings.Contains(string(b), want) {
		t.Errorf("the file holds %s, %v, the agent %s", b, err, want)
	}
	for i := range 16 {
		must(t, s.RemoveService(fmt.Sprint("s", i)))
	}
	if n := files(); n != 1 {
		t.Errorf("%d files after their services went, want 1", n)
	}
	rest, err := filepath.Glob(filepath.Join(dir, serviceFolder, ".new-*"))
	if err != nil || len(rest) != 0 {
		t.Errorf("left behind: %v, %v", rest, err)
	}
}
