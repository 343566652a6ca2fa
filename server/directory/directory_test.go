package directory

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// world is other datacenters whose digests the test tells.
type world struct {
	mu   sync.Mutex
	list []string
	feed map[string]chan any // *catalog.Digest, op.Meta for a heartbeat, or an error that ends the stream
}

func (w *world) datacenters() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list)
}

func (w *world) set(dcs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = dcs
	for _, dc := range dcs {
		if w.feed[dc] == nil {
			w.feed[dc] = make(chan any)
		}
	}
}

func (w *world) of(dc string) chan any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.feed[dc]
}

func (w *world) Subscribe(ctx context.Context, c *op.Call, push func(*op.Reply) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case said := <-w.of(c.Header.Datacenter):
			var r *op.Reply
			switch said := said.(type) {
			case error:
				return said
			case *catalog.Digest:
				r = op.NewReply(op.Meta{Index: 1}, said)
			case op.Meta:
				r = op.NewReply(said, nil)
			}
			if err := push(r); err != nil {
				return err
			}
		}
	}
}

func inWorld(t *testing.T, test func(t *testing.T, w *world, d *Directory, r *prometheus.Registry)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{feed: map[string]chan any{}}
		w.set("dc2", "dc3")
		r := prometheus.NewRegistry()
		d := New(Config{Source: w, Datacenters: w.datacenters, Log: logging.Discard(), Registerer: r})
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		test(t, w, d, r)
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func (w *world) tell(dc string, said any) {
	w.of(dc) <- said
	synctest.Wait()
}

func health(name string, passing, critical uint32) catalog.ServiceHealth {
	return catalog.ServiceHealth{Name: name, Passing: passing, Critical: critical}
}

func whole(s ...catalog.ServiceHealth) *catalog.Digest {
	return &catalog.Digest{Whole: true, Services: s}
}

func TestDirectoryKeepsWhatItIsTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world, d *Directory, _ *prometheus.Registry) {
		if e := d.Lookup("dc2", "web"); e.Known {
			t.Errorf("before anything was told: %+v", e)
		}
		w.tell("dc2", whole(health("web", 2, 1), health("db", 0, 1)))
		if e := d.Lookup("dc2", "WEB"); !e.Known || e.Total != 3 || e.Passing != 2 || e.Age != 0 {
			t.Errorf("web is %+v", e)
		}
		watch := d.Watch("Web")
		w.tell("dc2", &catalog.Digest{Services: []catalog.ServiceHealth{health("db", 1, 0)}})
		select {
		case <-watch.Changed():
			t.Error("a change of db wakes who watches web")
		default:
		}
		w.tell("dc2", &catalog.Digest{Services: []catalog.ServiceHealth{health("web", 0, 0)}})
		select {
		case <-watch.Changed():
		default:
			t.Error("the end of web wakes nobody")
		}
		if e := d.Lookup("dc2", "web"); !e.Known || e.Total != 0 {
			t.Errorf("web is %+v after its end", e)
		}
		if e := d.Lookup("dc2", "db"); e.Passing != 1 {
			t.Errorf("db is %+v", e)
		}
		w.tell("dc2", &catalog.Digest{Whole: true, More: true, Services: []catalog.ServiceHealth{health("a", 1, 0)}})
		if e := d.Lookup("dc2", "db"); e.Passing != 1 {
			t.Error("a whole counts before it is complete")
		}
		w.tell("dc2", &catalog.Digest{Services: []catalog.ServiceHealth{health("b", 1, 0)}})
		for name, want := range map[string]uint32{"a": 1, "b": 1, "db": 0} {
			if e := d.Lookup("dc2", name); e.Total != want {
				t.Errorf("%s is %+v", name, e)
			}
		}
		watch.Close()
		if len(d.watchers) != 0 {
			t.Error("a closed watch is kept")
		}
	})
}

func TestDirectoryAgesAndForgets(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world, d *Directory, r *prometheus.Registry) {
		w.tell("dc2", whole(health("web", 2, 0)))
		w.tell("dc3", whole(health("web", 1, 0)))
		w.tell("dc2", errors.New("cut"))
		if e := d.Lookup("dc2", "web"); e.Passing != 2 || e.Age == 0 {
			t.Errorf("after the cut: %+v", e)
		}
		<-time.After(12 * time.Second) // virtual
		if e := d.Lookup("dc2", "web"); e.Age < 12*time.Second || e.Age > 13*time.Second {
			t.Errorf("12 s later: %+v", e)
		}
		if e := d.Lookup("dc3", "web"); e.Age == 0 {
			t.Errorf("one that is silent counts as current: %+v", e)
		}
		w.tell("dc3", op.Meta{LastContact: time.Second})
		if e := d.Lookup("dc3", "web"); e.Age != 0 {
			t.Errorf("after a word: %+v", e)
		}
		w.tell("dc3", op.Meta{LastContact: time.Minute})
		if e := d.Lookup("dc3", "web"); e.Age < time.Minute {
			t.Errorf("a server without a leader counts as current: %+v", e)
		}
		w.tell("dc2", whole(health("web", 3, 0)))
		if e := d.Lookup("dc2", "web"); e.Passing != 3 || e.Age != 0 {
			t.Errorf("after the cut was healed: %+v", e)
		}
		if err := testutil.GatherAndCompare(r, strings.NewReader(`
# HELP legate_directory_services Services that are known of another datacenter.
# TYPE legate_directory_services gauge
legate_directory_services{datacenter="dc2"} 1
legate_directory_services{datacenter="dc3"} 1
`), "legate_directory_services"); err != nil {
			t.Error(err)
		}
		w.set("dc3")
		<-time.After(2 * reviewEvery) // virtual
		synctest.Wait()
		if e := d.Lookup("dc2", "web"); e.Known {
			t.Errorf("a datacenter that is gone is known: %+v", e)
		}
		if n, err := testutil.GatherAndCount(r, "legate_directory_services", "legate_directory_deltas_total", "legate_directory_age_seconds"); err != nil || n != 3 {
			t.Errorf("%d series are left, %v", n, err)
		}
	})
}

func TestDirectoryIsBounded(t *testing.T) {
	g := &digest{}
	long := whole(health(strings.Repeat("x", maxName+1), 1, 0))
	if _, err := g.apply(long); err == nil {
		t.Error("a long name is kept")
	}
	if _, err := (&digest{}).apply(&catalog.Digest{}); err == nil {
		t.Error("a digest without a beginning is taken")
	}
	g = &digest{}
	var err error
	for i := 0; i <= maxServices && err == nil; i += partOf {
		d := &catalog.Digest{Whole: i == 0, More: true}
		for n := range partOf {
			d.Services = append(d.Services, health(fmt.Sprint(i+n), 1, 0))
		}
		_, err = g.apply(d)
	}
	if err == nil || g.next.services() > maxServices {
		t.Errorf("%d services are kept, %v", g.next.services(), err)
	}
	// As many as there may be go on changing.
	g.services, g.next = g.next, nil
	for _, s := range []catalog.ServiceHealth{health("7", 0, 1), health("8", 0, 0), health("new", 1, 0)} {
		if _, err := g.apply(&catalog.Digest{Services: []catalog.ServiceHealth{s}}); err != nil {
			t.Errorf("%d services, %+v: %v", g.services.services(), s, err)
		}
	}
}

// More networks than are kept do not keep the services from being known.
func TestNetworksAreBounded(t *testing.T) {
	g := &digest{}
	d := whole(health("web", 1, 0))
	for i := range maxNetworks + 10 {
		d.Services = append(d.Services, health(fmt.Sprintf("\x0010.%d.%d.0/24", i/256, i%256), 1, 0))
	}
	if _, err := g.apply(d); err != nil {
		t.Fatal(err)
	}
	if g.services.networks != maxNetworks || g.services.services() != 1 {
		t.Errorf("%d networks and %d services are kept", g.services.networks, g.services.services())
	}
	if _, err := g.apply(&catalog.Digest{Services: []catalog.ServiceHealth{health("\x0010.0.0.0/24", 0, 0), health("web", 0, 0)}}); err != nil {
		t.Fatal(err)
	}
	if g.services.networks != maxNetworks-1 || g.services.services() != 0 {
		t.Errorf("%d networks and %d services are left", g.services.networks, g.services.services())
	}
}

// 50 datacenters of 2,000 services each fit into 64 MiB of a server.
func TestMemoryOfManyDatacenters(t *testing.T) {
	d := New(Config{Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for dc := range 50 {
		name := fmt.Sprintf("datacenter-%d", dc)
		g := &digest{}
		d.digests[name] = g
		all := whole()
		for i := range 2000 {
			all.Services = append(all.Services, health(fmt.Sprintf("a-service-with-a-name-of-usual-length-%d-%d", dc, i), 3, 1))
		}
		b, err := all.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.take(name, g, op.NewReply(op.Meta{Index: 1}, all)); err != nil {
			t.Fatal(err)
		}
		if dc == 0 {
			t.Logf("a whole digest of 2,000 services has %d bytes", len(b))
		}
	}
	used := heap() - before
	t.Logf("50 datacenters of 2,000 services take %.1f MiB", float64(used)/(1<<20))
	if used > 64<<20 {
		t.Error("that is more than 64 MiB")
	}
	if e := d.Lookup("datacenter-49", "a-service-with-a-name-of-usual-length-49-1999"); e.Passing != 3 {
		t.Errorf("the last one is %+v", e)
	}
}

func TestServicesThatAreHealthySomewhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world, d *Directory, _ *prometheus.Registry) {
		w.tell("dc2", whole(health("web", 1, 0), health("db", 0, 1), health("\x00net", 1, 0)))
		w.tell("dc3", whole(health("web", 1, 0), health("api", 2, 1)))
		all := func(string) bool { return true }
		if got := d.Healthy(9, all); !slices.Equal(got, []string{"api", "web"}) {
			t.Errorf("healthy: %q", got)
		}
		if got := d.Healthy(1, func(s string) bool { return s != "api" }); !slices.Equal(got, []string{"web"}) {
			t.Errorf("healthy but api: %q", got)
		}
	})
}
