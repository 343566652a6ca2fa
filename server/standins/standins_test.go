package standins

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/failover"
)

// rules are those of a state, which changes when the test says so.
type rules struct {
	mu      sync.Mutex
	list    failover.Rules
	index   uint64
	changed chan struct{}
}

func (r *rules) set(list ...failover.Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list, r.index = list, r.index+1
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *rules) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	r.mu.Lock()
	changed := r.changed
	wait := call.Header.MinIndex == r.index
	r.mu.Unlock()
	if wait {
		select {
		case <-changed:
		case <-time.After(call.Header.MaxWait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Clone(r.list)
	return op.NewReply(op.Meta{Index: r.index}, &list), nil
}

// asked notes what is asked of others.
type asked struct {
	mu  sync.Mutex
	all []string
}

func (a *asked) Do(_ context.Context, call *op.Call) (*op.Reply, error) {
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	r := request.(*catalog.ServiceRequest)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, fmt.Sprintf("%s of %s passing %t", r.Service, call.Header.Datacenter, r.PassingOnly))
	if !r.HealthyOnly || call.Header.Consistency != op.Cached {
		a.all = append(a.all, "otherwise than names ask")
	}
	return op.NewReply(op.Meta{Index: 1}, &catalog.Instances{}), nil
}

func (a *asked) take() []string {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.all
	a.all = nil
	slices.Sort(out)
	return out
}

func with(t *testing.T, healthy []string, test func(r *rules, a *asked)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r, a := &rules{index: 1, changed: make(chan struct{})}, &asked{}
		k := New(Config{Local: r, Views: a, Log: logging.Discard(), Healthy: func(limit int, wanted func(string) bool) []string {
			var out []string
			for _, s := range healthy {
				if wanted(s) && len(out) < limit {
					out = append(out, s)
				}
			}
			return out
		}})
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { k.Run(ctx) })
		test(r, a)
		stop()
		run.Wait()
	})
}

func TestServicesOfRulesAreAskedAboutEachMinute(t *testing.T) {
	with(t, []string{"api-a", "web", "db"}, func(r *rules, a *asked) {
		if got := a.take(); len(got) != 0 {
			t.Fatalf("without rules %q", got)
		}
		r.set(failover.Rule{Service: "web", Datacenters: []string{"dc3", "nearest"}}, failover.Rule{Service: "api-*", Datacenters: []string{"dc2"}})
		want := []string{"api-a of dc2 passing false", "api-a of dc2 passing true", "web of dc3>nearest passing false", "web of dc3>nearest passing true"}
		if got := a.take(); !slices.Equal(got, want) {
			t.Errorf("with rules %q", got)
		}
		<-time.After(every - time.Second) // virtual
		if got := a.take(); len(got) != 0 {
			t.Errorf("too soon %q", got)
		}
		<-time.After(2 * time.Second) // virtual
		if got := a.take(); !slices.Equal(got, want) {
			t.Errorf("after a minute %q", got)
		}
		r.set()
		<-time.After(2 * every) // virtual
		if got := a.take(); len(got) != 0 {
			t.Errorf("without rules again %q", got)
		}
	})
}

func TestNotMoreThanSoManyServices(t *testing.T) {
	var many []string
	for i := range 2 * MaxServices {
		many = append(many, fmt.Sprint("s", i))
	}
	with(t, many, func(r *rules, a *asked) {
		list := []failover.Rule{{Service: "*", Datacenters: []string{"dc2"}}}
		for i := range 10 {
			list = append(list, failover.Rule{Service: fmt.Sprint("named", i), Datacenters: []string{"dc3"}})
		}
		r.set(list...)
		got := a.take()
		named := 0
		for _, one := range got {
			if strings.HasPrefix(one, "named") && strings.Contains(one, "of dc3") {
				named++
			}
		}
		if len(got) != 2*MaxServices || named != 20 {
			t.Errorf("%d questions, %d of them about what rules name", len(got), named)
		}
	})
}
