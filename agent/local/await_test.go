package local

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/op"
)

// waited is how long a wait for a service took.
func waited(ctx context.Context, s *State, service, check string) time.Duration {
	began := time.Now()
	s.AwaitSync(ctx, service, check)
	return time.Since(began)
}

func TestAChangeIsWaitedForUntilTheCatalogHasIt(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		f.set(func() { f.latency = 50 * time.Millisecond })
		expect := func(what string, ok func() bool) {
			t.Helper()
			if took := waited(t.Context(), s, "web", ""); !ok() || took > 500*time.Millisecond {
				t.Errorf("after %s of waiting for %s the catalog has it: %t", took, what, ok())
			}
		}
		must(t, s.AddService(web(80))) // right after the start, which compares first
		expect("a service and its check", func() bool {
			_, service := f.service("web")
			_, check := f.check("service:web")
			return service && check
		})
		must(t, s.UpdateTTL("service:web", "passing", ""))
		expect("a report", func() bool { c, _ := f.check("service:web"); return c.Status == "passing" })
		must(t, s.Maintain("web", true, ""))
		expect("maintenance", func() bool { _, ok := f.check("_service_maintenance:web"); return ok })
		must(t, s.Maintain("web", false, ""))
		expect("the end of maintenance", func() bool { _, ok := f.check("_service_maintenance:web"); return !ok })
		def := web(80)
		def.Checks = nil
		must(t, s.ReplaceService(def))
		expect("the end of a check", func() bool { _, ok := f.check("service:web"); return !ok })
		must(t, s.RemoveService("web"))
		expect("the end of the service", func() bool { _, ok := f.service("web"); return !ok })

		must(t, s.AddCheck(config.CheckDefinition{Name: "disk", TTL: time.Hour}))
		s.AwaitSync(t.Context(), "", "disk")
		if _, ok := f.check("disk"); !ok {
			t.Error("a check is not in the catalog")
		}
		must(t, s.RemoveCheck("disk"))
		s.AwaitSync(t.Context(), "", "disk")
		if _, ok := f.check("disk"); ok {
			t.Error("a check is still in the catalog")
		}
		must(t, s.Maintain("", true, ""))
		s.AwaitSync(t.Context(), "", "")
		if _, ok := f.check("_node_maintenance"); !ok {
			t.Error("maintenance of the node is not in the catalog")
		}
	})
}

// A check with a token of its own goes in the round after its service's.
func TestWhatIsPutOffIsWaitedForToo(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		def := web(80)
		def.Token, def.Checks[0].Token = "one", "other"
		must(t, s.AddService(def))
		s.AwaitSync(t.Context(), "web", "")
		if _, ok := f.check("service:web"); !ok {
			t.Error("the check is not in the catalog")
		}
	})
}

func TestALeaderIsWaitedFor(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		after(time.Second)
		f.set(func() { f.err = op.ErrNoLeader })
		must(t, s.AddService(config.ServiceDefinition{Name: "earlier"}))
		after(time.Minute) // by now the pause between tries is at its longest
		timer := time.AfterFunc(3*time.Second, func() { f.set(func() { f.err = nil }) })
		defer timer.Stop()
		must(t, s.AddService(web(80)))
		took := waited(t.Context(), s, "web", "")
		if _, ok := f.service("web"); !ok || took < 3*time.Second || took > 3*time.Second+firstRetry+100*time.Millisecond {
			t.Errorf("the leader is there after 3 s, the service after %s: %t", took, ok)
		}
	})
}

func TestAWaitEnds(t *testing.T) {
	bubble(t, func(c *Config) { c.UpdateInterval = 5 * time.Minute }, func(t *testing.T, s *State, f *fakeCatalog) {
		must(t, s.AddService(web(80)))
		must(t, s.UpdateTTL("service:web", "passing", "first"))
		s.AwaitSync(t.Context(), "web", "")
		f.set(func() { f.refuse = "bad" })
		must(t, s.AddService(config.ServiceDefinition{Name: "bad"}))
		if took := waited(t.Context(), s, "bad", ""); took > time.Second {
			t.Errorf("%s until the end of what is refused", took)
		}
		must(t, s.UpdateTTL("service:web", "passing", "other output"))
		if took := waited(t.Context(), s, "", "service:web"); took > 0 {
			t.Errorf("%s for output that is held back", took)
		}
		f.set(func() { f.cut = true })
		must(t, s.AddService(web(80)))
		if took := waited(t.Context(), s, "web", ""); took > 0 {
			t.Errorf("%s for a registration that changed nothing", took)
		}
		must(t, s.AddService(web(81)))
		if took := waited(t.Context(), s, "web", ""); took != s.cfg.HoldTimeout {
			t.Errorf("%s for servers that do not answer, want %s", took, s.cfg.HoldTimeout)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if took := waited(ctx, s, "web", ""); took != time.Second {
			t.Errorf("%s although the caller is gone after 1 s", took)
		}
		must(t, s.Leave(t.Context()))
		if took := waited(t.Context(), s, "web", ""); took > 0 {
			t.Errorf("%s after leaving", took)
		}
		if len(s.waiters) != 0 || s.awaiting != 0 {
			t.Errorf("left behind: %d that are waited for, %d who wait", len(s.waiters), s.awaiting)
		}
	})
}

// Waiting one by one, clients still have their registrations sent together.
func TestThoseWhoWaitAreSentTogether(t *testing.T) {
	const clients, each = 64, 16
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		s.AwaitSync(t.Context(), "", "")
		f.set(func() { f.latency = 20 * time.Millisecond })
		began := time.Now()
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				for i := range each {
					id := fmt.Sprint("s", c, "-", i)
					if err := s.AddService(config.ServiceDefinition{Name: id}); err != nil {
						t.Error(err)
					}
					s.AwaitSync(t.Context(), id, "")
					if _, ok := f.service(id); !ok {
						t.Errorf("%s is not in the catalog", id)
					}
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took > each*3*f.latency {
			t.Errorf("%d registrations took %s with %s for one", clients*each, took, f.latency)
		}
	})
}

func TestASlowRegistrationKeepsNoOtherWaiting(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		s.AwaitSync(t.Context(), "", "")
		f.set(func() { f.slow = "slow" })
		must(t, s.AddService(config.ServiceDefinition{Name: "slow"}))
		after(100 * time.Millisecond)
		for i := range 5 {
			id := fmt.Sprint("quick", i)
			must(t, s.AddService(config.ServiceDefinition{Name: id}))
			must(t, s.AddService(config.ServiceDefinition{Name: "slow", Port: i})) // goes when the one on its way has ended
			if took := waited(t.Context(), s, id, ""); took > 100*time.Millisecond {
				t.Errorf("%s waits %s", id, took)
			}
		}
		if took := waited(t.Context(), s, "slow", ""); took < time.Second || took > 2*time.Second {
			t.Errorf("the last change of the slow one took %s", took)
		}
		if there, _ := f.service("slow"); there.Port != 4 {
			t.Errorf("port %d in the catalog", there.Port)
		}
		if f.twice {
			t.Error("one service was on its way twice at once")
		}
	})
}

// Who waits does so for his change, not for the calm after everybody's.
func TestNobodyWaitsForLaterChanges(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		s.AwaitSync(t.Context(), "", "")
		f.set(func() { f.latency = 20 * time.Millisecond })
		must(t, s.AddService(config.ServiceDefinition{Name: "web"}))
		var wg sync.WaitGroup
		defer wg.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		wg.Go(func() { // another one does not let the service be
			for port := 1; ctx.Err() == nil; port++ {
				if err := s.AddService(config.ServiceDefinition{Name: "web", Port: port}); err != nil {
					t.Error(err)
				}
				<-time.After(time.Millisecond)
			}
		})
		after(50 * time.Millisecond)
		if took := waited(t.Context(), s, "web", ""); took > 100*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}

// A change is in the catalog when who awaits it is answered, whatever it is; who ends
// the wait is answered earlier.
func TestEachChangeCanBeAwaited(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		s.AwaitSync(t.Context(), "", "")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		await := func(err error, service, checkID string) {
			t.Helper()
			must(t, err)
			s.AwaitSync(ctx, service, checkID)
		}
		has := func(what string, is bool) {
			t.Helper()
			if !is {
				t.Errorf("the catalog does not have %s when it is answered", what)
			}
		}
		service := func(id string) bool { _, ok := f.service(id); return ok }
		check := func(id string) bool { _, ok := f.check(id); return ok }
		await(s.AddService(web(80)), "web", "")
		has("a service", service("web") && check("service:web"))
		await(s.UpdateTTL("service:web", "passing", ""), "", "service:web")
		c, _ := f.check("service:web")
		has("a report", c.Status == "passing")
		await(s.Maintain("web", true, ""), "web", "")
		has("maintenance", check("_service_maintenance:web"))
		await(s.AddCheck(config.CheckDefinition{Name: "disk", TTL: time.Hour}), "", "disk")
		has("a check", check("disk"))
		await(s.RemoveCheck("disk"), "", "disk")
		has("the end of a check", !check("disk"))
		def := web(80)
		def.Checks = nil
		await(s.ReplaceService(def), "web", "")
		has("the end of a service's check", !check("service:web"))
		await(s.RemoveService("web"), "web", "")
		has("the end of a service", !service("web"))

		f.set(func() { f.cut = true })
		defer time.AfterFunc(time.Second, cancel).Stop()
		began := time.Now()
		await(s.AddService(web(80)), "web", "")
		if took := time.Since(began); took != time.Second {
			t.Errorf("a change is answered %s later, although the wait was ended after 1 s", took)
		}
	})
}
