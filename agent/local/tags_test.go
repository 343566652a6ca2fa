package local

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/state/catalog"
)

// tagged is a service whose tags others may change.
func tagged(port int, tags ...string) config.ServiceDefinition {
	return config.ServiceDefinition{Name: "db", Port: port, Tags: tags, EnableTagOverride: true}
}

// retag changes the tags of a service in the catalog, as somebody else does.
func (f *fakeCatalog) retag(id string, tags ...string) {
	f.set(func() {
		svc := f.services[id]
		svc.Tags = tags
		f.services[id] = svc
	})
}

func TestAnAgentMayChangeTagsThatOthersMayChange(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		want := func(when string, port int, tags ...string) {
			t.Helper()
			there, _ := f.service("db")
			here := s.Services()["db"]
			if !slices.Equal(there.Tags, tags) || !slices.Equal(here.Tags, tags) || there.Port != port {
				t.Errorf("%s: the catalog has %v on %d, the agent %v, want %v on %d", when, there.Tags, there.Port, here.Tags, tags, port)
			}
		}
		register := func(def config.ServiceDefinition) {
			t.Helper()
			must(t, s.AddService(def))
			s.AwaitSync(t.Context(), "db", "")
		}
		register(tagged(1, "replica"))
		want("registered", 1, "replica")
		f.retag("db", "theirs")
		register(tagged(1, "master"))
		want("promoted, though somebody else changed the tags of before", 1, "master")
		after(10 * time.Minute)
		want("after comparisons", 1, "master")
		f.retag("db", "master", "canary")
		after(2 * time.Minute)
		want("changed by others since", 1, "master", "canary")
		register(tagged(1, "master"))
		want("registered as before", 1, "master", "canary")
		register(tagged(2, "master"))
		want("on another port", 2, "master", "canary")
		register(tagged(2, "replica"))
		want("demoted", 2, "replica")
		must(t, s.RemoveService("db"))
		f.set(func() { f.services["db"] = catalog.Service{ID: "db", Service: "db", Tags: []string{"left over"}} })
		register(tagged(3, "new"))
		want("registered anew", 3, "new")
		strict := tagged(3, "strict")
		strict.EnableTagOverride = false
		register(strict)
		f.retag("db", "theirs")
		after(2 * time.Minute)
		want("others may not change it", 3, "strict")
		register(tagged(3, "free"))
		want("others may change it again", 3, "free")
	})
}

// What a definition says that the catalog has not yet heard goes first after a
// restart, too; what it has heard does not.
func TestTagsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	f := newFakeCatalog()
	life := func(file config.ServiceDefinition, test func(s *State)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			s, err := New(Config{Caller: listing{f}, NodeName: "n1", Dir: dir, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
			must(t, err)
			must(t, s.Define([]config.ServiceDefinition{file}, nil))
			must(t, s.Start())
			after(time.Second)
			test(s)
			must(t, s.Stop(t.Context()))
		})
	}
	want := func(when, id string, tags ...string) {
		t.Helper()
		if there, _ := f.service(id); !slices.Equal(there.Tags, tags) {
			t.Errorf("%s: %s has the tags %v in the catalog, want %v", when, id, there.Tags, tags)
		}
	}
	filed := tagged(2, "one")
	filed.Name = "filed"
	life(filed, func(s *State) {
		must(t, s.AddService(tagged(1, "replica")))
		after(time.Second)
		want("registered", "db", "replica")
		want("registered", "filed", "one")
		f.set(func() { f.cut = true })
		must(t, s.AddService(tagged(1, "master")))
		after(time.Second)
	})
	f.cut = false
	filed.Tags = []string{"two"}
	life(filed, func(*State) {
		want("changed before the restart, and not sent", "db", "master")
		want("changed in the file while the agent was down", "filed", "two")
		f.retag("db", "theirs")
		f.retag("filed", "theirs")
	})
	life(filed, func(s *State) {
		want("changed by others", "db", "theirs")
		want("changed by others", "filed", "theirs")
		must(t, s.RemoveService("db"))
	})
	filed.EnableTagOverride = false
	life(filed, func(*State) { want("others may not change it any more", "filed", "two") })
	filed.EnableTagOverride, filed.Tags = true, []string{"three"}
	life(filed, func(s *State) {
		want("others may change it again, and the file says something else", "filed", "three")
		f.retag("filed", "theirs")
		after(2 * time.Minute)
		want("changed by others since", "filed", "theirs")
		f.set(func() { f.cut = true })
		must(t, s.Define(nil, nil))
		filed.Tags = []string{"four"}
		must(t, s.Define([]config.ServiceDefinition{filed}, nil))
		f.set(func() { f.cut = false })
		after(2 * time.Minute)
		want("gone from the file and there again, unheard", "filed", "four")
		must(t, s.Define(nil, nil))
	})
	left, err := os.ReadDir(filepath.Join(dir, tagFolder))
	if must(t, err); len(left) > 0 {
		t.Errorf("%d files are left of services that are gone or have no such tags", len(left))
	}
}

func TestTagsOfServicesThatAreGoneAreForgotten(t *testing.T) {
	dir, d := t.TempDir(), newDatacenter(t)
	keep := func(c *Config) { c.Dir = dir }
	s := start(t, d, keep)
	must(t, s.AddService(tagged(1, "a")))
	file := filepath.Join(dir, tagFolder)
	eventually(t, "tags on disk", func() bool { list, _ := os.ReadDir(file); return len(list) == 1 })
	must(t, s.Stop(t.Context()))
	must(t, os.RemoveAll(filepath.Join(dir, serviceFolder, filepath.Base(s.disk.Path(serviceFolder, "db")))))
	start(t, d, keep)
	if list, err := os.ReadDir(file); err != nil || len(list) > 0 {
		t.Errorf("%d files are left: %v", len(list), err)
	}
}
