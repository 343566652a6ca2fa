package fanout

import (
	"context"
	"fmt"
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
	"github.com/legate-project/legate/server/directory"
	"github.com/legate-project/legate/state/catalog"
)

// site is a datacenter that says what the test says.
type site struct {
	distance time.Duration
	nodes    int // instances; of a state without healthy ones none
	index    uint64
	age      time.Duration
	hangs    bool
	err      error
	changed  chan struct{}
}

// federation is datacenters in memory; dc1 is the own one.
type federation struct {
	mu      sync.Mutex
	sites   map[string]*site
	asked   []string // subscriptions, in order
	ongoing int
	leader  error  // of reads that the leader must answer
	behind  uint64 // how far what is followed here is behind the leader
}

func (f *federation) Datacenters() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for dc := range f.sites {
		if dc != "dc1" {
			out = append(out, dc)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return int(f.sites[a].distance - f.sites[b].distance) })
	return out
}

func (f *federation) Distance(dc string) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sites[dc]
	if s == nil || s.distance == 0 {
		return 0, false
	}
	return s.distance, true
}

// set changes a datacenter and tells who follows it.
func (f *federation) set(dc string, change func(*site)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sites[dc]
	if s == nil {
		s = &site{index: 10, changed: make(chan struct{})}
		f.sites[dc] = s
	}
	change(s)
	s.index++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (f *federation) reply(o op.Operation, dc string) (*op.Reply, error, bool, chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sites[dc]
	if s == nil {
		return nil, op.Errorf(op.CodeUnknownDatacenter, "No path to datacenter"), false, nil
	}
	if o == &catalog.ListNamesAt {
		return op.NewReply(op.Meta{Index: s.index, KnownLeader: true}, &catalog.NamesAt{{Node: "n"}}), s.err, s.hangs, s.changed
	}
	list := catalog.Instances{}
	for i := range s.nodes {
		list = append(list, catalog.Instance{Node: &catalog.Node{Node: fmt.Sprint(i), Datacenter: dc}, Service: &catalog.Service{Service: "web"}})
	}
	return op.NewReply(op.Meta{Index: s.index, Age: s.age, KnownLeader: true, Datacenter: dc}, &list), s.err, s.hangs, s.changed
}

func (f *federation) Subscribe(ctx context.Context, c *op.Call, push func(*op.Reply) error) error {
	dc := c.Header.Datacenter
	if dc == "" {
		dc = "dc1"
	}
	f.mu.Lock()
	f.asked = append(f.asked, dc)
	f.ongoing++
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.ongoing--; f.mu.Unlock() }()
	for {
		r, err, hangs, changed := f.reply(c.Operation, dc)
		switch {
		case hangs:
		case err != nil:
			return err
		default:
			if dc == "dc1" {
				f.mu.Lock()
				r.Meta.Index -= f.behind
				f.mu.Unlock()
			}
			if err := push(r); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// here is the own datacenter, asked at once.
type here struct{ *federation }

func (h here) Do(ctx context.Context, c *op.Call) (*op.Reply, error) {
	if h.leader != nil && c.Header.Consistency != op.Cached {
		return nil, h.leader
	}
	r, err, hangs, _ := h.reply(c.Operation, "dc1")
	if hangs && c.Header.Consistency != op.Cached {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return r, err
}

// nobody tells no digest.
type nobody struct{}

func (nobody) Subscribe(ctx context.Context, _ *op.Call, _ func(*op.Reply) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// with runs a test in virtual time on datacenters at 10 ms times their number, of
// which each has as many instances as is said.
func with(t *testing.T, instances []int, test func(t *testing.T, f *federation, fan *Caller)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &federation{sites: map[string]*site{}}
		for i, n := range instances {
			f.set(fmt.Sprintf("dc%d", i+1), func(s *site) { s.nodes, s.distance = n, time.Duration(i+1)*10*time.Millisecond })
		}
		d := directory.New(directory.Config{Source: nobody{}, Datacenters: f.Datacenters, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
		fan := New(Config{Datacenter: "dc1", Local: here{f}, Near: f, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
		fan.Start(f, d)
		test(t, f, fan)
		if err := fan.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if f.ongoing > 0 || fan.parts.Load() != 0 {
			t.Errorf("%d subscriptions and %d parts are left", f.ongoing, fan.parts.Load())
		}
	})
}

// ask shows an answer on one line: from where, how old, what became of each, after
// how long.
func ask(t *testing.T, fan *Caller, dc string) string {
	t.Helper()
	begin := time.Now()
	list, meta, err := catalog.ListInstances.Call(t.Context(), fan, op.Header{Datacenter: dc}, &catalog.ServiceRequest{Service: "web", HealthyOnly: true})
	took := time.Since(begin)
	if err != nil {
		return fmt.Sprintf("%s after %s", op.CodeOf(err), took)
	}
	var out []string
	for _, in := range *list {
		out = append(out, in.Node.Datacenter)
	}
	for _, o := range meta.Outcomes {
		out = append(out, o.Datacenter+":"+o.State.String())
	}
	if meta.Age > 0 {
		out = append(out, "age "+meta.Age.String())
	}
	return strings.Join(append(out, "after "+took.String()), " ")
}

func TestReverseNamesAskFewOthers(t *testing.T) {
	instances := make([]int, 30)
	for i := range instances {
		instances[i] = 1
	}
	with(t, instances, func(t *testing.T, f *federation, fan *Caller) {
		_, meta, err := catalog.ListNamesAt.Call(t.Context(), fan, op.Header{Datacenter: op.All}, &catalog.AddressRequest{Address: "10.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		slices.SortFunc(f.asked, func(a, b string) int { return int(f.sites[a].distance - f.sites[b].distance) })
		if got := strings.Join(f.asked, " "); got != "dc2 dc3 dc4 dc5 dc6 dc7 dc8 dc9" {
			t.Errorf("asked: %s; want the nearest 8", got)
		}
		if len(meta.Outcomes) != 9 || meta.AnyUnreachable() {
			t.Errorf("outcomes %+v", meta.Outcomes)
		}
	})
}

// digests tell of each datacenter that it has other services.
type digests struct{}

func (digests) Subscribe(ctx context.Context, _ *op.Call, push func(*op.Reply) error) error {
	news := &catalog.Digest{Whole: true, Services: []catalog.ServiceHealth{{Name: "web-sidecar-proxy", Passing: 1}}}
	if err := push(op.NewReply(op.Meta{Index: 1}, news)); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// Proxies have names of their own, so the directory does not know where they are.
func TestWhoIsReachedThroughAMeshIsAskedItself(t *testing.T) {
	with(t, []int{0, 0, 1}, func(t *testing.T, f *federation, fan *Caller) {
		d := directory.New(directory.Config{Source: digests{}, Datacenters: f.Datacenters, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Stop(t.Context()) }()
		synctest.Wait()
		fan.Start(f, d)
		for _, to := range []string{op.Nearest, "dc1>dc3", op.All} {
			for _, connect := range []bool{true, false} {
				list, _, err := catalog.ListInstances.Call(t.Context(), fan, op.Header{Datacenter: to}, &catalog.ServiceRequest{Service: "web", PassingOnly: true, Connect: connect})
				if err != nil {
					t.Fatal(err)
				}
				if found := len(*list) == 1 && (*list)[0].Node.Datacenter == "dc3"; found != connect {
					t.Errorf("asked of %s with connect %t: %d found", to, connect, len(*list))
				}
			}
		}
	})
}

var errCut = op.Errorf(op.CodeUnreachableDatacenter, "No path to datacenter")

// TestWhoAnswers: one row is a federation, a question and its answer.
func TestWhoAnswers(t *testing.T) {
	cut := func(s *site) { s.err = errCut }
	hang := func(s *site) { s.hangs = true }
	old := func(s *site) { s.age = time.Minute }
	for _, c := range []struct {
		instances []int
		changes   map[string]func(*site)
		dc, want  string
	}{
		{[]int{1, 1, 1}, nil, "nearest", "dc1 dc1:ok after 0s"},
		{[]int{0, 1, 1}, nil, "nearest", "dc2 dc1:ok dc2:ok after 0s"},
		{[]int{0, 0, 2}, nil, "nearest", "dc3 dc3 dc1:ok dc2:ok dc3:ok after 0s"},
		{[]int{0, 0, 0}, nil, "nearest", "dc1:ok dc2:ok dc3:ok after 0s"},
		{[]int{0, 1, 1}, map[string]func(*site){"dc2": cut}, "nearest", "dc3 dc1:ok dc2:unreachable dc3:ok after 0s"},
		{[]int{0, 0, 0}, map[string]func(*site){"dc2": cut}, "nearest", "dc1:ok dc2:unreachable dc3:ok after 0s"},
		{[]int{0, 1, 1}, map[string]func(*site){"dc2": old}, "nearest", "dc3 dc1:ok dc3:ok after 0s"},
		{[]int{0, 1, 0}, map[string]func(*site){"dc2": old}, "nearest", "dc2 dc1:ok dc3:ok dc2:stale age 1m0s after 0s"},
		{[]int{1, 1, 0}, map[string]func(*site){"dc1": old}, "nearest", "dc1 dc1:stale age 1m0s after 0s"},
		{[]int{0, 1, 1}, map[string]func(*site){"dc2": hang}, "nearest", "dc3 dc1:ok dc2:unreachable dc3:ok after 400ms"},
		{[]int{0, 1, 0}, map[string]func(*site){"dc2": hang}, "nearest", "dc1:ok dc2:unreachable dc3:ok after 1s"},
		{[]int{1, 0, 2}, nil, "all", "dc1 dc3 dc3 dc1:ok dc2:ok dc3:ok after 0s"},
		{[]int{1, 1, 1}, map[string]func(*site){"dc2": cut, "dc3": old}, "all", "dc1 dc3 dc1:ok dc2:unreachable dc3:stale age 1m0s after 0s"},
		{[]int{1, 1, 1}, map[string]func(*site){"dc2": hang}, "all", "dc1 dc3 dc1:ok dc2:unreachable dc3:ok after 1s"},
		{[]int{1, 1, 1}, nil, "dc3, dc2", "dc3 dc2 dc3:ok dc2:ok after 0s"},
		{[]int{1, 1, 1}, map[string]func(*site){"dc2": cut, "dc3": cut}, "dc3,dc2", "unreachable-datacenter after 0s"},
		{[]int{1, 1, 1}, map[string]func(*site){"dc2": hang}, "dc2,dc9", "unreachable-datacenter after 3s"},
		{[]int{1, 1, 1}, nil, "dc8,dc9", "unknown-datacenter after 0s"},
		{[]int{1, 0, 1}, nil, "dc2>dc3>dc1", "dc3 dc2:ok dc3:ok after 0s"},
		{[]int{1, 0, 0}, nil, "dc3>nearest", "dc1 dc3:ok dc1:ok after 0s"},
		{[]int{1, 0, 0}, nil, "dc2>dc3", "dc2:ok dc3:ok after 0s"},
		{[]int{0, 1, 1}, nil, "dc1>!dc2>nearest", "dc3 dc1:ok dc3:ok after 0s"},
		{[]int{1, 0, 0}, nil, "dc2,", "invalid after 0s"},
		{[]int{1, 0, 0}, nil, "dc2,all", "invalid after 0s"},
	} {
		with(t, c.instances, func(t *testing.T, f *federation, fan *Caller) {
			for dc, change := range c.changes {
				f.set(dc, change)
			}
			if got := ask(t, fan, c.dc); got != c.want {
				t.Errorf("%v with changes of %d, %s:\n got %s\nwant %s", c.instances, len(c.changes), c.dc, got, c.want)
			}
		})
	}
}

func TestLocalPartDoesNotNeedALeader(t *testing.T) {
	with(t, []int{1, 1}, func(t *testing.T, f *federation, fan *Caller) {
		f.leader = op.ErrNoLeader
		if got := ask(t, fan, op.All); got != "dc1 dc2 dc1:ok dc2:ok after 0s" {
			t.Errorf("without a leader: %s", got)
		}
		f.leader = nil
		f.set("dc1", func(s *site) { s.hangs = true })
		if got := ask(t, fan, op.All); got != "dc1 dc2 dc1:ok dc2:ok after 500ms" {
			t.Errorf("with a leader that hangs: %s", got)
		}
		if got := ask(t, fan, op.Nearest); got != "dc1 dc1:ok after 500ms" {
			t.Errorf("the nearest, with a leader that hangs: %s", got)
		}
		if got := ask(t, fan, "dc1>dc2"); got != "dc1 dc1:ok after 500ms" {
			t.Errorf("the first in order, with a leader that hangs: %s", got)
		}
	})
}

// What there is no room for is asked as soon as there is.
func TestPartsThatFoundNoRoomAreAskedLater(t *testing.T) {
	with(t, []int{1, 1, 1}, func(t *testing.T, f *federation, fan *Caller) {
		fan.parts.Store(maxParts - 2)
		all := follow(t, fan, op.All)
		<-time.After(2 * time.Second)
		if got := all(); len(got) == 0 || got[len(got)-1].from != "dc1dc2" {
			t.Fatalf("with room for two: %v", got)
		}
		fan.parts.Add(2 - maxParts)
		<-time.After(2 * reviewEvery)
		if got := all(); len(got) == 0 || got[len(got)-1].from != "dc1dc2dc3" {
			t.Errorf("with room again: %v", got)
		}
	})
}

// told is what a follower is told.
type told struct {
	from  string
	index uint64
}

// follow notes what a subscription tells.
func follow(t *testing.T, fan *Caller, dc string) (news func() []told) {
	t.Helper()
	var mu sync.Mutex
	var got []told
	ctx := t.Context()
	call := op.NewCall(&catalog.ListInstances, op.Header{Datacenter: dc, Consistency: op.Cached}, &catalog.ServiceRequest{Service: "web", HealthyOnly: true})
	go func() {
		_ = fan.Subscribe(ctx, call, func(r *op.Reply) error {
			result, err := r.Result(&catalog.ListInstances)
			if err != nil {
				return err
			}
			list, _ := result.(*catalog.Instances)
			one := told{index: r.Meta.Index}
			if list != nil {
				for _, in := range *list {
					one.from += in.Node.Datacenter
				}
			}
			mu.Lock()
			defer mu.Unlock()
			got = append(got, one)
			return nil
		})
	}()
	return func() []told {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		out := got
		got = nil
		return out
	}
}

func TestFollowersAreToldOfOtherAnswers(t *testing.T) {
	with(t, []int{1, 1, 1}, func(t *testing.T, f *federation, fan *Caller) {
		nearest, all := follow(t, fan, op.Nearest), follow(t, fan, op.All)
		first := nearest()
		if len(first) != 1 || first[0].from != "dc1" {
			t.Fatalf("at first: %v", first)
		}
		if got := all(); len(got) == 0 || got[len(got)-1].from != "dc1dc2dc3" {
			t.Fatalf("at first: %v", got)
		}
		// What does not concern the answer is not told.
		f.set("dc3", func(s *site) { s.nodes = 0 })
		if got := nearest(); len(got) != 0 {
			t.Errorf("a change of dc3 is told to who is answered by dc1: %v", got)
		}
		if got := all(); len(got) != 1 || got[0].from != "dc1dc2" {
			t.Errorf("a change of dc3 is told as %v", got)
		}
		for _, c := range []struct {
			dc    string
			nodes int
			want  string
		}{{"dc1", 0, "dc2"}, {"dc2", 0, ""}, {"dc3", 1, "dc3"}, {"dc2", 2, "dc2dc2"}, {"dc1", 1, "dc1"}} {
			f.set(c.dc, func(s *site) { s.nodes = c.nodes })
			got := nearest()
			if len(got) != 1 || got[0].from != c.want {
				t.Errorf("%d instances in %s are told as %v", c.nodes, c.dc, got)
			}
		}
		all()
		// Nothing happens: only heartbeats, which have no index.
		<-time.After(op.Heartbeat + time.Second) // virtual
		for name, news := range map[string]func() []told{"nearest": nearest, "all": all} {
			if got := news(); len(got) != 1 || got[0].index != 0 {
				t.Errorf("%s is told %v while nothing happens", name, got)
			}
		}
	})
}

// Answers are counted, not looks at what is being followed; nor is anything
// merged for those.
func TestAnswersAreCounted(t *testing.T) {
	with(t, []int{1, 1}, func(t *testing.T, f *federation, fan *Caller) {
		nearest, all := follow(t, fan, op.Nearest), follow(t, fan, op.All)
		nearest()
		all()
		counted := func() [2]float64 {
			return [2]float64{testutil.ToFloat64(fan.metrics.decisions.WithLabelValues(reachFirst, resultLocal)),
				testutil.ToFloat64(fan.metrics.decisions.WithLabelValues(reachAll, resultSeveral))}
		}
		before := counted()
		<-time.After(time.Minute) // virtual
		if got := counted(); got != before || got[0] != 1 {
			t.Errorf("after a minute in which nothing happened %v answers, before %v", got, before)
		}
		ask(t, fan, op.Nearest)
		f.set("dc2", func(s *site) { s.nodes = 2 })
		all()
		if got := counted(); got != [2]float64{before[0] + 1, before[1] + 1} {
			t.Errorf("a question and a change make %v of %v", got, before)
		}
	})
}

// The index is the same for the same answer, and waiting for another one ends
// with that.
func TestIndexTellsAnswersApart(t *testing.T) {
	with(t, []int{1, 1}, func(t *testing.T, f *federation, fan *Caller) {
		index := func(min uint64) (uint64, time.Duration) {
			begin := time.Now()
			_, meta, err := catalog.ListInstances.Call(t.Context(), fan, op.Header{Datacenter: op.Nearest, MinIndex: min, MaxWait: 10 * time.Second}, &catalog.ServiceRequest{Service: "web", HealthyOnly: true})
			if err != nil || !meta.Opaque {
				t.Fatalf("%+v %v", meta, err)
			}
			return meta.Index, time.Since(begin)
		}
		a, _ := index(0)
		if again, took := index(a + 1); again != a || took != 0 {
			t.Errorf("an index that is another one is not answered at once: %d after %d, %s", again, a, took)
		}
		if again, took := index(a); again != a || took < 10*time.Second || took > 11*time.Second {
			t.Errorf("nothing changes: index %d after %d, %s", again, a, took)
		}
		go func() {
			<-time.After(3 * time.Second) // virtual
			f.set("dc1", func(s *site) { s.nodes = 0 })
		}()
		if b, took := index(a); b == a || took != 3*time.Second {
			t.Errorf("a change after 3 s: index %d after %d, %s", b, a, took)
		}
	})
}

// Who waits is not answered with less than was known already, and is answered in
// the mode that was asked: a server may be behind its leader.
func TestWaitingIsAnsweredAsAsked(t *testing.T) {
	with(t, []int{1, 1}, func(t *testing.T, f *federation, fan *Caller) {
		f.behind = 1
		ask := func(min uint64) (op.Meta, time.Duration) {
			begin := time.Now()
			_, meta, err := catalog.ListInstances.Call(t.Context(), fan, op.Header{Datacenter: op.Nearest, Consistency: op.Consistent, MinIndex: min, MaxWait: 10 * time.Second},
				&catalog.ServiceRequest{Service: "web", HealthyOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			return meta, time.Since(begin)
		}
		first, _ := ask(0)
		if again, took := ask(first.Index); again.Index != first.Index || took < 10*time.Second {
			t.Errorf("nothing changes: index %d after %d, %s", again.Index, first.Index, took)
		}
		time.AfterFunc(time.Second, func() { f.set("dc1", func(s *site) { s.nodes, f.behind = 2, 0 }) })
		changed, took := ask(first.Index)
		if now, _ := ask(0); changed.Index != now.Index || took != time.Second {
			t.Errorf("a change: index %d after %s, it is %d now", changed.Index, took, now.Index)
		}
	})
}

func TestOrderDoesNotSway(t *testing.T) {
	with(t, []int{1, 1, 1, 1}, func(t *testing.T, f *federation, fan *Caller) {
		orderAt := func(dc2, dc3, dc4 time.Duration) string {
			for dc, d := range map[string]time.Duration{"dc2": dc2, "dc3": dc3, "dc4": dc4} {
				f.set(dc, func(s *site) { s.distance = d * time.Millisecond })
			}
			<-time.After(reviewEvery) // virtual
			return strings.Join(fan.order(&op.Reach{Others: true}), " ")
		}
		for _, c := range []struct {
			dc2, dc3, dc4 time.Duration
			want          string
		}{
			{40, 50, 60, "dc1 dc2 dc3 dc4"},
			{51, 50, 60, "dc1 dc2 dc3 dc4"}, // hardly
			{60, 50, 61, "dc1 dc3 dc2 dc4"},
			{60, 50, 10, "dc1 dc4 dc3 dc2"},
			{0, 50, 10, "dc1 dc4 dc3 dc2"}, // unknown is last
			{70, 0, 10, "dc1 dc4 dc2 dc3"},
		} {
			if got := orderAt(c.dc2, c.dc3, c.dc4); got != c.want {
				t.Errorf("at %d, %d and %d ms: %s, want %s", c.dc2, c.dc3, c.dc4, got, c.want)
			}
		}
		f.mu.Lock()
		delete(f.sites, "dc3")
		f.mu.Unlock()
		<-time.After(reviewEvery) // virtual
		if got := strings.Join(fan.Nearest(), " "); got != "dc4 dc2" {
			t.Errorf("without dc3: %s", got)
		}
	})
}
