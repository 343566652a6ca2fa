package directory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/storage"
)

func openState(t testing.TB) *storage.State {
	t.Helper()
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// write commits one command.
func write(t testing.TB, s *storage.State, do func(*storage.Txn) error) {
	t.Helper()
	tx := s.Begin()
	defer tx.Discard()
	tx.Next()
	if err := do(tx); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func register(t testing.TB, s *storage.State, r *catalog.RegisterRequest) {
	t.Helper()
	write(t, s, func(tx *storage.Txn) error { _, _, err := catalog.ApplyRegister(tx, r); return err })
}

func deregister(t testing.TB, s *storage.State, r *catalog.DeregisterRequest) {
	t.Helper()
	write(t, s, func(tx *storage.Txn) error { _, _, err := catalog.ApplyDeregister(tx, r); return err })
}

// keep runs a digest until the test ends.
func keep(t *testing.T, s *storage.State) *Own {
	t.Helper()
	o := NewOwn(s, logging.Discard())
	g := lifecycle.New("test")
	if err := g.Go("digest", o.Run); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return o
}

// follower puts together what a digest tells.
type follower struct {
	version uint64
	digest  map[string]catalog.ServiceHealth
	told    int
}

func (f *follower) take(o *Own) <-chan struct{} {
	news, now, changed := o.Since(f.version)
	f.version = now
	for _, d := range news {
		if d.Whole {
			f.digest = map[string]catalog.ServiceHealth{}
		}
		for _, h := range d.Services {
			f.told++
			if f.digest[h.Name] = h; h.Total() == 0 {
				delete(f.digest, h.Name)
			}
		}
	}
	return changed
}

// matches waits until a follower knows what the state says.
func (f *follower) matches(t *testing.T, o *Own, s *storage.State) {
	t.Helper()
	v := s.View()
	defer v.Close()
	d, err := catalog.GetDigest.Query(v, &op.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]catalog.ServiceHealth{}
	for _, h := range d.Services {
		want[h.Name] = h
	}
	deadline := time.After(10 * time.Second)
	for {
		changed := f.take(o)
		if f.digest != nil && reflect.DeepEqual(f.digest, want) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the digest says %v, the state %v", f.digest, want)
		}
	}
}

// Whatever is registered, renamed, checked and removed: the digest comes to say
// what a look at the whole state says.
func TestDigestFollowsTheState(t *testing.T) {
	s := openState(t)
	register(t, s, &catalog.RegisterRequest{Node: "N0", Address: "10.0.0.1", Service: &catalog.Service{ID: "early", Service: "early"}})
	o := keep(t, s)
	f := &follower{}
	f.matches(t, o, s)
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(prefix string, n int) string { return fmt.Sprintf("%s%d", prefix, rng.IntN(n)) }
	states := []string{catalog.Passing, catalog.Warning, catalog.Critical}
	var services []string
	for range 20 {
		for range 25 {
			node, id := pick("N", 6), pick("id", 4)
			switch rng.IntN(8) {
			case 0:
				deregister(t, s, &catalog.DeregisterRequest{Node: node, ServiceID: id})
			case 1:
				deregister(t, s, &catalog.DeregisterRequest{Node: node, CheckID: pick("c", 3)})
			case 2:
				if rng.IntN(4) == 0 {
					deregister(t, s, &catalog.DeregisterRequest{Node: strings.ToLower(node)})
				}
			case 3:
				register(t, s, &catalog.RegisterRequest{Node: node, Address: "10.0.0.1", Checks: []catalog.Check{{CheckID: "node", Node: node, Status: states[rng.IntN(3)]}}})
			default:
				name := pick("Web", 5)
				services = append(services, name)
				address := fmt.Sprintf("10.0.%d.1", rng.IntN(3))
				register(t, s, &catalog.RegisterRequest{Node: node, Address: address, Service: &catalog.Service{ID: id, Service: name, Address: pick("10.9.9.", 3)},
					Checks: []catalog.Check{{CheckID: pick("c", 3), Node: node, ServiceID: id, Status: states[rng.IntN(3)]}}})
			}
		}
		f.matches(t, o, s)
	}
	slices.Sort(services)
	if len(slices.Compact(services)) != 5 {
		t.Fatal("the test registers too little")
	}
	whole := &follower{}
	whole.matches(t, o, s)
}

// promise is how soon after its commit a change of health is in the digest.
const promise = 300 * time.Millisecond

func TestChangeOfHealthIsTold(t *testing.T) {
	s := openState(t)
	for i := range 2000 {
		register(t, s, &catalog.RegisterRequest{Node: "n", Address: "10.0.0.1", Service: &catalog.Service{ID: fmt.Sprint("s", i), Service: fmt.Sprint("s", i)}})
	}
	o := keep(t, s)
	f := &follower{}
	f.matches(t, o, s)
	if f.told != 2001 {
		t.Fatalf("the whole has %d entries, want one of each service and one of the network", f.told)
	}
	for _, status := range []string{catalog.Critical, catalog.Warning, catalog.Passing} {
		f.told = 0
		begin := time.Now()
		register(t, s, &catalog.RegisterRequest{Node: "n", Address: "10.0.0.1", Checks: []catalog.Check{{CheckID: "c", Node: "n", ServiceID: "s7", Status: status}}})
		f.matches(t, o, s)
		if took := time.Since(begin); took > promise || f.told != 1 {
			t.Errorf("%s is told after %s, with %d services", status, took, f.told)
		}
	}
	// What changes nothing is not told.
	f.told = 0
	register(t, s, &catalog.RegisterRequest{Node: "n", Address: "10.0.0.1", Checks: []catalog.Check{{CheckID: "c", Node: "n", ServiceID: "s7", Status: catalog.Passing, Output: "new"}}})
	register(t, s, &catalog.RegisterRequest{Node: "n", Address: "10.0.0.1", Service: &catalog.Service{ID: "last", Service: "last"}})
	f.matches(t, o, s)
	if f.told != 1 || f.digest["last"].Passing != 1 {
		t.Errorf("told of %d services, last is %+v", f.told, f.digest["last"])
	}
}

func TestFollowerFarBehindGetsTheWhole(t *testing.T) {
	o := NewOwn(openState(t), logging.Discard())
	at := func(i int) map[catalog.InstanceAt]catalog.Shown {
		return map[catalog.InstanceAt]catalog.Shown{{Node: "n", ID: "s"}: {Name: "web", Status: []string{catalog.Passing, catalog.Critical}[i%2]}}
	}
	o.take(at(0), true)
	news, version, _ := o.Since(0)
	if len(news) != 1 || !news[0].Whole {
		t.Fatalf("the first news are %+v", news)
	}
	for i := range 2 * remember {
		o.take(at(i+1), false)
	}
	if len(o.history) > remember {
		t.Errorf("%d changes are remembered", len(o.history))
	}
	news, now, _ := o.Since(version)
	if len(news) != 1 || !news[0].Whole || news[0].Services[0].Passing != 1 {
		t.Errorf("one that is far behind is told %+v", news)
	}
	if news, _, _ := o.Since(now - 3); len(news) != 1 || news[0].Whole || len(news[0].Services) != 1 {
		t.Errorf("one that is a little behind is told %+v", news)
	}
}
