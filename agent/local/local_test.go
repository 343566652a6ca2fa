package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/agent/local/disk"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/storage"
)

// datacenter is a catalog in memory.
type datacenter struct {
	state  *storage.State
	writes atomic.Int64
	down   atomic.Bool
	denied string // a service that may not be deregistered
}

func newDatacenter(t *testing.T) *datacenter {
	t.Helper()
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &datacenter{state: s}
}

// Do implements op.Caller.
func (d *datacenter) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if d.down.Load() {
		return nil, op.ErrNoLeader
	}
	req, err := call.Request()
	if err != nil {
		return nil, err
	}
	if q, ok := call.Operation.(op.Queryable); ok {
		var res any
		var index uint64
		min := call.Header.MinIndex
		if min == 0 { // answer at once
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			cancel()
		}
		err := d.state.Block(ctx, min, func(v *storage.View) (err error) {
			res, err = q.Run(v, req)
			index = v.Index()
			return err
		})
		return op.NewReply(op.Meta{Index: max(index, 1)}, res), err
	}
	d.writes.Add(1)
	if r, ok := req.(*catalog.DeregisterRequest); ok && d.denied != "" && r.ServiceID == d.denied {
		return nil, op.Errorf(op.CodeDenied, "Permission denied")
	}
	if err := call.Operation.(op.Preparable).Ready(op.Leader{}, req); err != nil {
		return nil, err
	}
	call.Changed()
	body, err := call.Body()
	if err != nil {
		return nil, err
	}
	m := state.New()
	b, err := m.Encode(call.Operation, body)
	if err != nil {
		return nil, err
	}
	tx := d.state.Begin()
	defer tx.Discard()
	tx.Next()
	res, err := m.Apply(tx, b)
	if err != nil {
		tx.Rollback()
	}
	return op.NewReply(op.Meta{}, res), errors.Join(err, tx.Commit())
}

func (d *datacenter) instances(t *testing.T, service string) catalog.Instances {
	t.Helper()
	res, _, err := catalog.ListInstances.Call(t.Context(), d, op.Header{}, &catalog.ServiceRequest{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return *res
}

func start(t *testing.T, d *datacenter, change func(*Config)) *State {
	t.Helper()
	cfg := Config{Caller: d, Datacenter: "dc1", NodeName: "n1", NodeID: "11111111-1111-4111-8111-111111111111", Address: "10.0.0.1", SyncPeriod: 200 * time.Millisecond, HoldTimeout: 7 * time.Second,
		RetryPeriod: 50 * time.Millisecond, Log: logging.Discard(), Registerer: prometheus.NewRegistry()}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// eventually waits for a condition of the real world.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: did not happen", what)
		case <-tick.C:
		}
	}
}

func web(port int) config.ServiceDefinition {
	return config.ServiceDefinition{Name: "web", Port: port, Tags: []string{"a"},
		Checks: []config.CheckDefinition{{TTL: time.Minute}}}
}

func TestRegistrationReachesTheCatalog(t *testing.T) {
	d := newDatacenter(t)
	s := start(t, d, nil)
	if err := s.AddService(web(80)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "service in the catalog", func() bool {
		is := d.instances(t, "web")
		return len(is) == 1 && is[0].Service.Port == 80 && len(is[0].Checks) == 1 && is[0].Checks[0].Status == "critical"
	})
	if err := s.UpdateTTL("service:web", "passing", "fine"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "check passes", func() bool { return d.instances(t, "web")[0].Checks[0].Status == "passing" })
	if err := s.AddService(web(81)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "change arrives", func() bool { is := d.instances(t, "web"); return is[0].Service.Port == 81 })
	if got := d.instances(t, "web")[0].Checks[0].Status; got != "passing" {
		t.Errorf("registering again made the check %s", got)
	}
	if err := s.RemoveService("web"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "service goes", func() bool { return len(d.instances(t, "web")) == 0 })
}

func TestRemovingACheckLeavesItsService(t *testing.T) {
	d := newDatacenter(t)
	s := start(t, d, nil)
	must(t, s.AddService(web(80)))
	must(t, s.AddCheck(config.CheckDefinition{ID: "more", ServiceID: "web", TTL: time.Minute}))
	checks := func(want int) func() bool {
		return func() bool { is := d.instances(t, "web"); return len(is) == 1 && len(is[0].Checks) == want }
	}
	eventually(t, "both checks", checks(2))
	begin := d.instances(t, "web")[0].Service.CreateIndex
	must(t, s.RemoveCheck("more"))
	eventually(t, "one check", checks(1))
	if is := d.instances(t, "web"); is[0].Service.CreateIndex != begin {
		t.Errorf("the service was made anew: at %d, before at %d", is[0].Service.CreateIndex, begin)
	}
}

func TestAgentIsTheAuthority(t *testing.T) {
	d := newDatacenter(t)
	s := start(t, d, nil)
	if err := s.AddService(web(80)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "service in the catalog", func() bool { return len(d.instances(t, "web")) == 1 })
	for _, r := range []*catalog.RegisterRequest{
		{Node: "n1", Address: "10.0.0.1", SkipNodeUpdate: true, Service: &catalog.Service{ID: "stray", Service: "stray"}},
		{Node: "n1", Address: "10.0.0.1", SkipNodeUpdate: true, Service: &catalog.Service{ID: "web", Service: "web", Port: 9}},
		{Node: "n1", Address: "10.0.0.1", SkipNodeUpdate: true, Service: &catalog.Service{ID: "consul", Service: "consul"},
			Checks: []catalog.Check{{CheckID: catalog.SerfHealth, Status: "passing"}, {CheckID: "stray", Status: "passing"}}},
	} {
		if _, _, err := catalog.Register.Call(t.Context(), d, op.Header{}, r); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "stray service and check go, change is undone", func() bool {
		cs, _, err := catalog.ListNodeChecks.Call(t.Context(), d, op.Header{}, &catalog.NodeRequest{Node: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		is := d.instances(t, "web")
		return len(d.instances(t, "stray")) == 0 && len(*cs) == 2 && is[0].Service.Port == 80
	})
	if len(d.instances(t, "consul")) != 1 {
		t.Error("the leader's own service was removed")
	}
}

func TestUnchangedSyncWritesNothing(t *testing.T) {
	d := newDatacenter(t)
	s := start(t, d, nil)
	for i := range 50 {
		if err := s.AddService(config.ServiceDefinition{Name: fmt.Sprintf("s%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all services in the catalog", func() bool { return len(d.instances(t, "s49")) == 1 && len(d.instances(t, "s0")) == 1 })
	before := s.metricsDone(t)
	eventually(t, "a full sync", func() bool { return s.metricsDone(t) > before+1 })
	n, rounds := d.writes.Load(), s.metricsDone(t)
	eventually(t, "more full syncs", func() bool { return s.metricsDone(t) > rounds+2 })
	if got := d.writes.Load(); got != n {
		t.Errorf("%d writes by syncs that had nothing to change", got-n)
	}
}

func (s *State) metricsDone(t *testing.T) int {
	t.Helper()
	families, err := s.cfg.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "legate_local_syncs_total" && l.GetValue() == "ok" {
					return int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return 0
}

func TestRestartKeepsServicesAndResults(t *testing.T) {
	d, dir := newDatacenter(t), t.TempDir()
	keep := func(c *Config) { c.Dir = dir }
	first := start(t, d, keep)
	if err := first.AddService(web(80)); err != nil {
		t.Fatal(err)
	}
	if err := first.AddCheck(config.CheckDefinition{Name: "disk", TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"service:web", "disk"} {
		if err := first.UpdateTTL(id, "passing", "fine"); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, serviceFolder, "torn.json"), []byte(`{"Service":{"Na`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, serviceFolder, disk.Unfinished+"1"), []byte(`{"Ser`), 0o600); err != nil {
		t.Fatal(err)
	}
	second := start(t, d, keep)
	if _, err := os.Stat(filepath.Join(dir, serviceFolder, disk.Unfinished+"1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was being written when the agent was killed is still there: %v", err)
	}
	for id, c := range second.Checks() {
		if c.Status != "passing" || c.Output != "fine" {
			t.Errorf("check %s after a restart: %s %q", id, c.Status, c.Output)
		}
	}
	if n := len(second.Checks()); n != 2 || len(second.Services()) != 1 {
		t.Errorf("%d checks and %d services after a restart", n, len(second.Services()))
	}
	if _, err := os.Stat(filepath.Join(dir, serviceFolder, "torn.json.bad")); err != nil {
		t.Errorf("damaged file was not put aside: %v", err)
	}
}

func TestAnExpiredTTLThatIsRegisteredAgainBeginsAsRegistered(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(c *Config) { c.Dir = dir }, func(t *testing.T, s *State, f *fakeCatalog) {
		def := config.CheckDefinition{ID: "told", TTL: time.Minute, Status: "passing"}
		must(t, s.AddCheck(def))
		must(t, s.UpdateTTL("told", "passing", "fine"))
		after(2 * time.Minute)
		if c := s.Checks()["told"]; c.Status != "critical" {
			t.Fatalf("without a report it is %s", c.Status)
		}
		must(t, s.AddCheck(def))
		if c := s.Checks()["told"]; c.Status != "passing" {
			t.Errorf("registered again as passing it is %s", c.Status)
		}
		after(2 * time.Minute)
		if c := s.Checks()["told"]; c.Status != "critical" {
			t.Errorf("still without a report it is %s", c.Status)
		}
	})
}

func TestNoLeaderIsOutlived(t *testing.T) {
	d := newDatacenter(t)
	d.down.Store(true)
	s := start(t, d, nil)
	if err := s.AddService(web(80)); err != nil {
		t.Fatal(err)
	}
	d.down.Store(false)
	eventually(t, "service in the catalog", func() bool { return len(d.instances(t, "web")) == 1 })
}

func TestRefusals(t *testing.T) {
	d := newDatacenter(t)
	s := start(t, d, nil)
	for name, c := range map[string]struct {
		do   func() error
		want error
	}{
		"service without a name":   {func() error { return s.AddService(config.ServiceDefinition{}) }, ErrInvalid},
		"check without a name":     {func() error { return s.AddCheck(config.CheckDefinition{TTL: time.Second}) }, ErrInvalid},
		"check of no service":      {func() error { return s.AddCheck(config.CheckDefinition{Name: "c", TTL: time.Second, ServiceID: "x"}) }, ErrUnknownService},
		"check without a kind":     {func() error { return s.AddCheck(config.CheckDefinition{Name: "c"}) }, ErrInvalid},
		"report of an unknown":     {func() error { return s.UpdateTTL("x", "passing", "") }, ErrUnknownCheck},
		"remove an unknown":        {func() error { return s.RemoveService("x") }, ErrUnknownService},
		"remove an unknown check":  {func() error { return s.RemoveCheck("x") }, ErrUnknownCheck},
		"report of a wrong status": {func() error { return s.UpdateTTL("x", "great", "") }, ErrInvalid},
		"maintenance of the node": {func() error {
			return s.AddCheck(config.CheckDefinition{ID: "_node_maintenance", Name: "c", TTL: time.Second})
		}, ErrInvalid},
		"maintenance by a name": {func() error { return s.AddCheck(config.CheckDefinition{Name: "_service_maintenance:x"}) }, ErrInvalid},
		"health of the node":    {func() error { return s.AddCheck(config.CheckDefinition{Name: "serfHealth", TTL: time.Second}) }, ErrInvalid},
		"maintenance from a service": {func() error {
			return s.AddService(config.ServiceDefinition{Name: "own", Checks: []config.CheckDefinition{{ID: "_node_maintenance", TTL: time.Second}}})
		}, ErrInvalid},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := s.AddService(config.ServiceDefinition{Name: "half", Checks: []config.CheckDefinition{{TTL: time.Second}, {}}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("service with a bad check: %v", err)
	}
	if len(s.Services()) != 0 || len(s.Checks()) != 0 {
		t.Error("a refused registration left something behind")
	}
}

func TestDefineReplacesWhatFilesDefined(t *testing.T) {
	d := newDatacenter(t)
	s := start(t, d, nil)
	if err := s.AddService(config.ServiceDefinition{Name: "api"}); err != nil {
		t.Fatal(err)
	}
	disk := config.CheckDefinition{Name: "disk", TTL: time.Minute}
	if err := s.Define([]config.ServiceDefinition{web(80), {Name: "db"}}, []config.CheckDefinition{disk}); err != nil {
		t.Fatal(err)
	}
	if err := s.Define([]config.ServiceDefinition{web(81)}, nil); err != nil {
		t.Fatal(err)
	}
	got := s.Services()
	if len(got) != 2 || got["web"].Port != 81 || got["api"].Service != "api" || len(s.Checks()) != 1 {
		t.Errorf("services %v, checks %v", got, s.Checks())
	}
}

func TestAliasFollows(t *testing.T) {
	d := newDatacenter(t)
	s := start(t, d, nil)
	if err := s.AddService(web(80)); err != nil {
		t.Fatal(err)
	}
	if err := s.AddService(config.ServiceDefinition{Name: "proxy", Checks: []config.CheckDefinition{{ID: "own", AliasService: "web"}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddCheck(config.CheckDefinition{Name: "far", AliasNode: "n2", AliasService: "db"}); err != nil {
		t.Fatal(err)
	}
	status := func(id string) string { return s.Checks()[id].Status }
	eventually(t, "alias of a critical service", func() bool { return status("own") == "critical" })
	for _, want := range []string{"passing", "warning", "critical"} {
		if err := s.UpdateTTL("service:web", want, ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "alias is "+want, func() bool { return status("own") == want })
	}
	for _, want := range []string{"passing", "critical"} {
		r := &catalog.RegisterRequest{Node: "n2", Address: "10.0.0.2", Service: &catalog.Service{ID: "db", Service: "db"},
			Checks: []catalog.Check{{CheckID: "c", Name: "c", ServiceID: "db", Status: want}, {CheckID: "other", Name: "other", ServiceID: "", Status: "passing"}}}
		if _, _, err := catalog.Register.Call(t.Context(), d, op.Header{}, r); err != nil {
			t.Fatal(err)
		}
		eventually(t, "alias of another node is "+want, func() bool { return status("far") == want })
	}
}

func TestAliasesThatFollowEachOtherRecover(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *State, f *fakeCatalog) {
		must(t, s.AddService(config.ServiceDefinition{Name: "a", Checks: []config.CheckDefinition{{ID: "a", AliasService: "b"}, {ID: "of-a", Name: "of-a", TTL: time.Hour}}}))
		must(t, s.AddService(config.ServiceDefinition{Name: "b", Checks: []config.CheckDefinition{{ID: "b", AliasService: "a"}}}))
		must(t, s.AddCheck(config.CheckDefinition{ID: "node1", AliasNode: "n1"}))
		must(t, s.AddCheck(config.CheckDefinition{ID: "node2", AliasNode: "n1"}))
		must(t, s.AddCheck(config.CheckDefinition{ID: "of-node", Name: "of-node", TTL: time.Hour}))
		aliases := map[string]string{"a": "of-a", "b": "of-a", "node1": "of-node", "node2": "of-node"}
		for _, want := range []string{"critical", "passing", "critical", "passing"} {
			must(t, s.UpdateTTL("of-a", want, ""))
			must(t, s.UpdateTTL("of-node", want, ""))
			after(time.Second)
			for id, behind := range aliases {
				c := s.Checks()[id]
				if c.Status != want || want == "critical" && !strings.Contains(c.Output, behind) && !strings.Contains(c.Output, "of-node") {
					t.Errorf("alias %s is %s (%.80s), want %s because of %s", id, c.Status, c.Output, want, behind)
				}
			}
		}
		must(t, s.UpdateTTL("of-node", "critical", strings.Repeat("x", 4096)))
		after(time.Second)
		if n := len(s.Checks()["node1"].Output); n > 4096 {
			t.Errorf("%d bytes of output", n)
		}
	})
}

func TestScriptsNeedPermission(t *testing.T) {
	d := newDatacenter(t)
	for _, c := range []struct {
		api, files     bool
		apiOK, filesOK bool
		container      string
	}{{false, false, false, false, ""}, {false, true, false, true, ""}, {true, true, true, true, ""}, {false, false, false, false, "c"}, {false, true, false, true, "c"}} {
		script := config.CheckDefinition{Name: "s", Args: []string{"true"}, Interval: time.Second, DockerContainerID: c.container}
		s := start(t, d, func(cfg *Config) { cfg.ScriptsFromAPI, cfg.ScriptsFromFiles = c.api, c.files })
		if err := s.AddCheck(script); (err == nil) != c.apiOK {
			t.Errorf("%+v: from the API: %v", c, err)
		}
		if err := s.AddService(config.ServiceDefinition{Name: "x", Checks: []config.CheckDefinition{script}}); (err == nil) != c.apiOK {
			t.Errorf("%+v: with a service from the API: %v", c, err)
		}
		if err := s.Define(nil, []config.CheckDefinition{script}); (err == nil) != c.filesOK {
			t.Errorf("%+v: from a file: %v", c, err)
		}
	}
}

// A check that a service brings with it stays, whatever it is called, until the
// service no longer defines it.
func TestNamedChecksOfServicesFromFilesStay(t *testing.T) {
	s := start(t, newDatacenter(t), nil)
	service := web(80)
	service.Checks[0].ID = "alive"
	for range 2 { // at the start and when the files are read again
		if err := s.Define([]config.ServiceDefinition{service}, nil); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Checks()["alive"]; !ok {
			t.Fatal("the service lost its check")
		}
	}
	service.Checks = nil
	if err := s.Define([]config.ServiceDefinition{service}, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Checks()); n != 0 {
		t.Errorf("%d checks of a service that defines none any more", n)
	}
}

func TestFrequentChangesDoNotPutTheComparisonOff(t *testing.T) {
	d := newDatacenter(t)
	s := start(t, d, nil)
	if err := s.AddService(web(80)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "service in the catalog", func() bool { return len(d.instances(t, "web")) == 1 })
	stray := &catalog.RegisterRequest{Node: "n1", Address: "10.0.0.1", SkipNodeUpdate: true, Service: &catalog.Service{ID: "stray", Service: "stray"}}
	if _, _, err := catalog.Register.Call(t.Context(), d, op.Header{}, stray); err != nil {
		t.Fatal(err)
	}
	n := 0
	eventually(t, "the stray service goes while outputs change all the time", func() bool {
		n++
		if err := s.UpdateTTL("service:web", "passing", fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
		return len(d.instances(t, "stray")) == 0
	})
}

func TestServiceThatWasNeverHealthyIsOverdueToo(t *testing.T) {
	s := start(t, newDatacenter(t), nil)
	service := web(80)
	service.Checks[0].DeregisterCriticalServiceAfter = 2 * time.Minute
	if err := s.AddService(service); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateTTL("service:web", "critical", "down"); err != nil {
		t.Fatal(err)
	}
	if got := s.overdue(time.Now().Add(time.Minute)); len(got) != 0 {
		t.Errorf("overdue after one minute: %v", got)
	}
	if got := s.overdue(time.Now().Add(3 * time.Minute)); len(got) != 1 {
		t.Errorf("overdue after three minutes: %v, want web", got)
	}
	if err := s.UpdateTTL("service:web", "passing", ""); err != nil {
		t.Fatal(err)
	}
	if got := s.overdue(time.Now().Add(3 * time.Minute)); len(got) != 0 {
		t.Errorf("overdue while it passes: %v", got)
	}
}

func TestRefusedDeregistrationDoesNotKeepTheRestBack(t *testing.T) {
	d := newDatacenter(t)
	d.denied = "stray"
	stray := &catalog.RegisterRequest{Node: "n1", Address: "10.0.0.1", Service: &catalog.Service{ID: "stray", Service: "stray"}}
	if _, _, err := catalog.Register.Call(t.Context(), d, op.Header{}, stray); err != nil {
		t.Fatal(err)
	}
	s := start(t, d, nil)
	if err := s.AddService(web(80)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "service in the catalog", func() bool { return len(d.instances(t, "web")) == 1 })
}

func TestMaintenance(t *testing.T) {
	d, dir := newDatacenter(t), t.TempDir()
	s := start(t, d, func(c *Config) { c.Dir = dir })
	if err := s.AddService(web(80)); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateTTL("service:web", "passing", ""); err != nil {
		t.Fatal(err)
	}
	status := func() string {
		if is := d.instances(t, "web"); len(is) == 1 {
			return is[0].Checks.Status()
		}
		return ""
	}
	eventually(t, "service passes", func() bool { return status() == "passing" })
	for _, id := range []string{"web", ""} {
		if err := s.Maintain(id, true, "new disk"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "maintenance shows", func() bool { return status() == "critical" })
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		s = start(t, d, func(c *Config) { c.Dir = dir })
		if status() != "critical" || s.Checks()[serviceMaintenance+"web"].Notes+s.Checks()[nodeMaintenance].Notes != "new disk" {
			t.Errorf("maintenance of %q does not outlive a restart: %s %v", id, status(), s.Checks())
		}
		if err := s.Maintain(id, false, ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "maintenance ends", func() bool { return status() == "passing" })
	}
	if err := s.Maintain("nobody", true, ""); !errors.Is(err, ErrUnknownService) {
		t.Errorf("maintenance of an unknown service: %v", err)
	}
}
