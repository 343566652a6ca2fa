package local

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestManyRegistrationsAreOnTheirWayAtOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		after(time.Second)
		f.set(func() { f.latency = 20 * time.Millisecond }) // a far or busy leader
		for i := range 2000 {
			must(t, s.AddService(config.ServiceDefinition{Name: fmt.Sprint("s", i), Checks: []config.CheckDefinition{{TTL: time.Hour}}}))
		}
		after(2 * time.Second)
		if n, _ := f.count(); n != 2000 {
			t.Errorf("%d of 2000 services are in the catalog after 2 s", n)
		}
		if f.mostAtOnc > maxInFlight {
			t.Errorf("%d calls at once, the bound is %d", f.mostAtOnc, maxInFlight)
		}
		_, before := f.count()
		after(3 * time.Minute)
		if _, now := f.count(); now != before {
			t.Errorf("%d writes by comparisons that found nothing to change", now-before)
		}
	})
}

func TestLeaderLossIsOutlived(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		after(time.Second)
		f.set(func() { f.err = op.ErrNoLeader })
		must(t, s.AddService(web(80)))
		f.set(func() { f.events = nil })
		after(time.Minute)
		if n := len(f.events); n > 20 {
			t.Errorf("%d calls in a minute without a leader", n)
		}
		f.set(func() { f.err = nil })
		after(s.cfg.RetryPeriod + time.Second)
		if _, ok := f.service("web"); !ok {
			t.Error("the service is not in the catalog although there is a leader again")
		}
	})
}

func TestAServerThatAppearsEndsTheWait(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		f.set(func() { f.err = op.ErrNoLeader })
		must(t, s.AddService(web(80)))
		after(time.Minute) // the pause between tries is at its longest
		f.set(func() { f.err = nil })
		s.ServerAppeared()
		after(100 * time.Millisecond)
		if _, ok := f.service("web"); !ok {
			t.Error("the agent waits although a server appeared")
		}
	})
}

func TestALongPartitionHeals(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		must(t, s.AddService(web(80)))
		must(t, s.AddService(config.ServiceDefinition{Name: "gone"}))
		after(time.Second)
		f.set(func() { f.cut = true })
		after(time.Hour)
		must(t, s.RemoveService("gone"))
		must(t, s.AddService(web(81)))
		must(t, s.UpdateTTL("service:web", "passing", "fine"))
		must(t, s.AddService(config.ServiceDefinition{Name: "new"}))
		after(20 * time.Second)
		f.set(func() { // meanwhile the others removed the node, and somebody added to it
			f.cut, f.node = false, nil
			delete(f.services, "web")
			delete(f.checks, "service:web")
			f.services["stray"] = catalog.Service{ID: "stray", Service: "stray"}
			f.node = &catalog.Node{Node: "n1", ID: "11111111-1111-4111-8111-111111111111"}
		})
		after(syncTimeout + s.cfg.RetryPeriod + 2*time.Second)
		must(t, s.UpdateTTL("service:web", "passing", "fine"))
		after(100 * time.Millisecond)
		_, gone := f.service("gone")
		_, stray := f.service("stray")
		_, added := f.service("new")
		now, _ := f.service("web")
		check, _ := f.check("service:web")
		if gone || stray || !added || now.Port != 81 || check.Status != "passing" || f.node.Address != "10.0.0.1" {
			t.Errorf("after the partition: gone %t, stray %t, new %t, web on %d is %s, node %+v", gone, stray, added, now.Port, check.Status, f.node)
		}
	})
}

func TestNothingIsSentAfterLeaving(t *testing.T) {
	bubble(t, func(c *Config) { c.SyncPeriod = time.Second }, func(t *testing.T, s *State, f *fakeCatalog) {
		must(t, s.AddService(web(80)))
		after(time.Second)
		must(t, s.AddService(config.ServiceDefinition{Name: "late"}))
		must(t, s.Leave(t.Context()))
		f.set(func() { f.services, f.events = map[string]catalog.Service{}, nil })
		must(t, s.UpdateTTL("service:web", "passing", "still run"))
		s.ServerAppeared()
		after(time.Hour)
		if n, _ := f.count(); n != 0 || len(f.events) != 0 {
			t.Errorf("after leaving: %d services, %d calls", n, len(f.events))
		}
	})
}

func TestARefusedServiceDoesNotSlowTheOthersDown(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		f.set(func() { f.refuse = "bad" })
		must(t, s.AddService(config.ServiceDefinition{Name: "bad"}))
		after(time.Second)
		for i := range 5 {
			must(t, s.AddService(config.ServiceDefinition{Name: fmt.Sprint("good", i)}))
			after(100 * time.Millisecond)
			if n, _ := f.count(); n != i+1 {
				t.Errorf("%d services in the catalog, want %d", n, i+1)
			}
		}
		f.set(func() { f.refuse = "" })
		after(s.cfg.RetryPeriod + time.Second)
		if _, ok := f.service("bad"); !ok {
			t.Error("what was refused is not tried again")
		}
	})
}

func TestTagsOfTheCatalogWinWhereTheyMay(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		free := web(80)
		free.EnableTagOverride = true
		strict := web(81)
		strict.Name, strict.ID = "strict", "strict"
		must(t, s.AddService(free))
		must(t, s.AddService(strict))
		after(time.Second)
		f.set(func() {
			for _, id := range []string{"web", "strict"} {
				svc := f.services[id]
				svc.Tags = []string{"theirs"}
				f.services[id] = svc
			}
		})
		_, changed, _ := s.Service("web")
		after(2 * time.Minute)
		select {
		case <-changed:
		default:
			t.Error("who watches the service was not told of its new tags")
		}
		want := func(when string) {
			t.Helper()
			for id, tag := range map[string]string{"web": "theirs", "strict": "a"} {
				there, _ := f.service(id)
				check, _ := f.check("service:" + id)
				here, own := s.Services()[id], s.Checks()["service:"+id]
				for what, tags := range map[string][]string{"catalog": there.Tags, "catalog's check": check.ServiceTags, "agent": here.Tags, "agent's check": own.ServiceTags} {
					if fmt.Sprint(tags) != "["+tag+"]" {
						t.Errorf("%s: %s: tags in the %s are %v, want %s", when, id, what, tags, tag)
					}
				}
			}
		}
		want("after a comparison")
		free.Port = 90 // a change of the agent must not bring its old tags back
		must(t, s.AddService(free))
		after(time.Second)
		want("after the service was registered again")
		if there, _ := f.service("web"); there.Port != 90 {
			t.Errorf("port %d, want 90", there.Port)
		}
		f.set(func() { // changed behind the back of an agent that has something to send
			svc := f.services["web"]
			svc.Tags = []string{"theirs", "newer"}
			f.services["web"] = svc
		})
		free.Port = 91
		must(t, s.AddService(free))
		after(time.Second)
		if there, _ := f.service("web"); fmt.Sprint(there.Tags) != "[theirs newer]" || there.Port != 91 {
			t.Errorf("%v on %d", there.Tags, there.Port)
		}
	})
}

// A service that changes while a round is under way, after that has looked at the
// catalog or decided not to, is looked at in the next.
func TestTagsOfTheCatalogWinOverAChangeDuringARound(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		free, gone := web(80), web(81)
		free.EnableTagOverride = true
		gone.Name, gone.ID = "gone", "gone"
		must(t, s.AddService(free))
		must(t, s.AddService(gone))
		after(time.Second)
		must(t, s.RemoveService("gone"))
		after(f.latency / 2) // its deregistration is on its way
		f.set(func() {
			svc := f.services["web"]
			svc.Tags = []string{"theirs"}
			f.services["web"] = svc
		})
		free.Port = 90
		must(t, s.AddService(free))
		after(time.Second)
		if there, _ := f.service("web"); fmt.Sprint(there.Tags) != "[theirs]" || there.Port != 90 {
			t.Errorf("%v on %d", there.Tags, there.Port)
		}
	})
}

func TestOutputAloneIsHeldBack(t *testing.T) {
	bubble(t, func(c *Config) { c.UpdateInterval = 5 * time.Minute }, func(t *testing.T, s *State, f *fakeCatalog) {
		must(t, s.AddService(web(80)))
		must(t, s.UpdateTTL("service:web", "passing", "first"))
		after(time.Second)
		_, before := f.count()
		for i := range 40 {
			must(t, s.UpdateTTL("service:web", "passing", fmt.Sprint("output ", i)))
			after(time.Second)
		}
		if _, now := f.count(); now != before {
			t.Errorf("%d writes for changes of output alone", now-before)
		}
		must(t, s.UpdateTTL("service:web", "warning", "a new state"))
		after(time.Second)
		if c, _ := f.check("service:web"); c.Status != "warning" || c.Output != "a new state" {
			t.Errorf("a new state waits: %s %q", c.Status, c.Output)
		}
		must(t, s.UpdateTTL("service:web", "warning", "last"))
		for range 6 { // it would expire
			after(time.Minute - time.Second)
			must(t, s.UpdateTTL("service:web", "warning", "last"))
		}
		if c, _ := f.check("service:web"); c.Output != "last" {
			t.Errorf("output is %q in the catalog after the time it is held back", c.Output)
		}
	})
}

func TestOutputIsDiscardedWhereNobodyWantsIt(t *testing.T) {
	bubble(t, func(c *Config) { c.DiscardOutput = true }, func(t *testing.T, s *State, f *fakeCatalog) {
		want := func(when, status, output string) {
			t.Helper()
			after(time.Second)
			here := s.Checks()["service:web"]
			if there, _ := f.check("service:web"); there.Status != status || there.Output != output || here.Output != output {
				t.Errorf("%s: the catalog has %s %q, the agent %q, want %s %q", when, there.Status, there.Output, here.Output, status, output)
			}
		}
		must(t, s.AddService(web(80)))
		must(t, s.UpdateTTL("service:web", "passing", "unwanted"))
		want("reported", "passing", "")
		_, before := f.count()
		for i := range 10 {
			must(t, s.UpdateTTL("service:web", "passing", fmt.Sprint(i)))
		}
		after(time.Second)
		if _, now := f.count(); now != before {
			t.Errorf("%d writes for output that nobody wants", now-before)
		}
		s.SetDiscardOutput(false)
		must(t, s.UpdateTTL("service:web", "passing", "wanted"))
		want("wanted again", "passing", "wanted")
		s.SetDiscardOutput(true)
		want("unwanted again", "passing", "")
		after(2 * time.Minute)
		want("expired", "critical", "")
	})
}

func TestServicesThatStayCriticalAreDeregistered(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		def := web(80)
		def.Checks[0].DeregisterCriticalServiceAfter = time.Second // works as a minute
		must(t, s.AddService(def))
		must(t, s.UpdateTTL("service:web", "passing", ""))
		after(time.Minute + time.Second) // the TTL is over: critical from here
		if c, _ := f.check("service:web"); c.Status != "critical" {
			t.Fatalf("the check is %s", c.Status)
		}
		after(55 * time.Second)
		if _, ok := f.service("web"); !ok {
			t.Error("deregistered before a minute was over")
		}
		after(40 * time.Second)
		if _, ok := f.service("web"); ok {
			t.Error("still registered")
		}
	})
}

func TestEachWriteHasItsToken(t *testing.T) {
	token := func(file bool) string { return map[bool]string{true: "files", false: "requests"}[file] }
	bubble(t, func(c *Config) { c.Token, c.RegistrationToken = func() string { return "agent" }, token }, func(t *testing.T, s *State, f *fakeCatalog) {
		must(t, s.Define([]config.ServiceDefinition{{Name: "filed"}}, nil))
		must(t, s.AddService(config.ServiceDefinition{Name: "plain"}))
		must(t, s.AddService(config.ServiceDefinition{Name: "own", Token: "mine", Checks: []config.CheckDefinition{{ID: "part", TTL: time.Hour}, {ID: "else", TTL: time.Hour, Token: "other"}}}))
		must(t, s.AddCheck(config.CheckDefinition{Name: "disk", TTL: time.Hour, Token: "disks"}))
		after(time.Second)
		must(t, s.RemoveService("own"))
		after(time.Second)
		for id, want := range map[string]string{"filed": "files", "plain": "requests", "own": "mine", "node": "agent", "part": "mine", "else": "other", "disk": "disks", "-own": "mine"} {
			if got := f.tokens[id]; got != want {
				t.Errorf("%s was written with token %q, want %q", id, got, want)
			}
		}
	})
}

// The agent's token writes the node, and those of services only them. What the agent's
// may not do stops no service.
func TestTokensOfServicesDoNotNeedMore(t *testing.T) {
	token := func(c *Config) { c.Token = func() string { return "agent" } }
	bubble(t, token, func(t *testing.T, s *State, f *fakeCatalog) {
		f.set(func() { f.node, f.nodes = nil, "agent" })
		must(t, s.AddService(config.ServiceDefinition{Name: "web", Token: "mine"}))
		must(t, s.AddService(config.ServiceDefinition{Name: "db", Token: "its"}))
		after(time.Second)
		if n, _ := f.count(); n != 2 {
			t.Errorf("%d services were registered within a second of the node, want 2", n)
		}
	})
	bubble(t, token, func(t *testing.T, s *State, f *fakeCatalog) {
		f.set(func() { f.blind = map[string]bool{"agent": true} })
		must(t, s.AddService(config.ServiceDefinition{Name: "web", Token: "mine"}))
		must(t, s.AddService(config.ServiceDefinition{Name: "db", Token: "its"}))
		f.set(func() { f.refuse = "db" })
		after(time.Minute)
		if _, ok := f.service("web"); !ok {
			t.Error("not registered: the agent may not compare")
		}
		f.set(func() { f.refuse = ""; clear(f.services) })
		after(2 * time.Minute)
		if n, _ := f.count(); n != 2 {
			t.Errorf("the catalog has lost services and has %d again, want 2", n)
		}
	})
}

func TestNodeMetaIsSentWhenItChanges(t *testing.T) {
	bubble(t, func(c *Config) { c.Meta = map[string]string{"rack": "r1"} }, func(t *testing.T, s *State, f *fakeCatalog) {
		after(time.Second)
		s.SetNodeMeta(map[string]string{"rack": "r2"})
		after(100 * time.Millisecond)
		if f.node.Meta["rack"] != "r2" {
			t.Errorf("meta in the catalog: %v", f.node.Meta)
		}
		_, before := f.count()
		s.SetNodeMeta(map[string]string{"rack": "r2"})
		after(time.Second)
		if _, now := f.count(); now != before {
			t.Error("the same meta was written again")
		}
	})
}

func TestOnlyItsOwnChangeWakesWhoWatchesAService(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		must(t, s.AddService(web(80)))
		_, changed, ok := s.Service("web")
		if !ok {
			t.Fatal("no such service")
		}
		open := func() bool {
			synctest.Wait()
			select {
			case <-changed:
				return false
			default:
				return true
			}
		}
		must(t, s.AddService(config.ServiceDefinition{Name: "other"}))
		must(t, s.UpdateTTL("service:web", "passing", ""))
		must(t, s.AddService(web(80)))
		after(2 * time.Minute)
		if !open() {
			t.Error("woken although the service is the same")
		}
		must(t, s.AddService(web(81)))
		if open() {
			t.Error("not woken by a change")
		}
		_, changed, _ = s.Service("web")
		must(t, s.RemoveService("web"))
		if open() {
			t.Error("not woken by the end of the service")
		}
	})
}

// Without a leader, deregistrations pile up to a bound only; none is lost.
func TestDeregistrationsThatWaitAreBounded(t *testing.T) {
	d := newDatacenter(t)
	s := start(t, d, func(c *Config) { c.SyncPeriod = time.Hour })
	must(t, s.AddService(web(80)))
	must(t, s.AddService(config.ServiceDefinition{Name: "old"}))
	eventually(t, "services in the catalog", func() bool { return len(d.instances(t, "web")) == 1 && len(d.instances(t, "old")) == 1 })
	d.down.Store(true)
	must(t, s.RemoveService("old"))
	for i := range 2 * maxGone {
		id := fmt.Sprint("s", i)
		must(t, s.AddService(config.ServiceDefinition{Name: id}))
		must(t, s.RemoveService(id))
	}
	s.mu.Lock()
	waiting := len(s.gone)
	s.mu.Unlock()
	if waiting > maxGone {
		t.Errorf("%d deregistrations wait", waiting)
	}
	d.down.Store(false)
	eventually(t, "what went before is deregistered", func() bool { return len(d.instances(t, "old")) == 0 })
	if len(d.instances(t, "web")) != 1 {
		t.Error("the service that stayed is gone")
	}
}
