package queries_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server"
	"github.com/legate-project/legate/server/queries"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/query"
)

// site is a datacenter that stands in, as others see it.
type site struct {
	index uint64
	nodes []string      // with an instance that fits
	after time.Duration // until it answers
	cut   bool          // it cannot be reached
	hangs bool          // it never answers
	age   time.Duration // of what is known of it
}

// sites is a federation: the sites in the order of their distance.
type sites struct {
	mu      sync.Mutex
	order   []string
	by      map[string]*site
	changed chan struct{}
	calls   []op.Header
}

func newSites(order ...string) *sites {
	f := &sites{order: order, by: map[string]*site{}, changed: make(chan struct{})}
	for _, dc := range order {
		f.by[dc] = &site{index: 1}
	}
	return f
}

// Datacenters is in an order that sways: who relies on it is turned around.
func (f *sites) Datacenters() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.Clone(f.order)
	if time.Now().Unix()/5%2 == 1 {
		slices.Reverse(out)
	}
	return out
}

func (f *sites) Nearest() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.order)
}

// set changes a site; who waits for it is told.
func (f *sites) set(dc string, change func(*site)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.by[dc])
	f.by[dc].index++
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *sites) has(dc string, nodes ...string) { f.set(dc, func(s *site) { s.nodes = nodes }) }

func (f *sites) asked() []op.Header {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *sites) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	f.mu.Lock()
	f.calls = append(f.calls, call.Header)
	f.mu.Unlock()
	if _, ok := call.Operation.(op.Queryable); !ok {
		return nil, fmt.Errorf("another datacenter is asked for %s", call.Operation.OpName())
	}
	for {
		f.mu.Lock()
		s, changed := *f.by[call.Header.Datacenter], f.changed
		f.mu.Unlock()
		switch {
		case s.cut:
			return nil, &op.Error{Code: op.CodeUnreachableDatacenter, Text: "No path to datacenter"}
		case s.hangs:
			<-ctx.Done()
			return nil, ctx.Err()
		case s.index > call.Header.MinIndex:
			select {
			case <-time.After(s.after):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			list := catalog.Instances{}
			for _, n := range s.nodes {
				list = append(list, instanceOn(n, call.Header.Datacenter))
			}
			return op.NewReply(op.Meta{Index: s.index, Datacenter: call.Header.Datacenter, Age: s.age}, &list), nil
		}
		select {
		case <-changed:
		case <-time.After(call.Header.MaxWait):
			call.Header.MinIndex = 0
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func instanceOn(node, dc string) catalog.Instance {
	return catalog.Instance{Node: &catalog.Node{Node: node, Datacenter: dc}, Service: &catalog.Service{ID: "web", Service: "web"}}
}

// prepared makes a query.
func (h *harness) prepared(t *testing.T, q query.Query) {
	t.Helper()
	q.Service.Service = "web"
	if _, _, err := query.Create.Call(t.Context(), h, op.Header{}, &query.SetRequest{Query: q}); err != nil {
		t.Fatal(err)
	}
}

// web registers web on nodes of this datacenter, critical or not.
func (h *harness) web(t *testing.T, status string, nodes ...string) {
	t.Helper()
	for _, n := range nodes {
		h.register(t, &catalog.RegisterRequest{Node: n, Address: "10.1.0." + strings.TrimPrefix(n, "n"), Service: &catalog.Service{ID: "web", Service: "web"},
			Check: &catalog.Check{CheckID: "c", ServiceID: "web", Status: status}})
	}
}

func (h *harness) executed(ctx context.Context, header op.Header, r query.ExecuteRequest) (*query.Answer, op.Meta, error) {
	if r.Name == "" {
		r.Name = "q"
	}
	return query.Execute.Call(ctx, h, header, &r)
}

// outcomeOf is an answer on one line: datacenter, nodes by name, failovers.
func outcomeOf(a *query.Answer, err error) string {
	if err != nil {
		return err.Error()
	}
	var nodes []string
	for _, in := range a.Nodes {
		nodes = append(nodes, in.Node.Node)
	}
	slices.Sort(nodes)
	return fmt.Sprintf("%s %v %d", a.Datacenter, nodes, a.Failovers)
}

// TestFailover: one row is a query and what each datacenter does, with the
// outcome and how long that takes.
func TestFailover(t *testing.T) {
	far := func(list ...string) query.Failover { return query.Failover{Datacenters: list} }
	const second = time.Second
	for name, c := range map[string]struct {
		failover query.Failover
		here     []string
		sites    map[string]site
		want     string
		takes    time.Duration
	}{
		"instances here":        {far("dc2"), []string{"n1", "n2"}, map[string]site{"dc2": {nodes: []string{"m"}}}, "dc1 [n1 n2] 0", 0},
		"none anywhere":         {far("dc2", "dc3"), nil, nil, "dc1 [] 2", 0},
		"none and no failover":  {far(), nil, nil, "dc1 [] 0", 0},
		"the first in order":    {far("dc3", "dc2"), nil, map[string]site{"dc2": {nodes: []string{"m"}}, "dc3": {nodes: []string{"o"}, after: second}}, "dc3 [o] 1", second},
		"the second":            {far("dc3", "dc2"), nil, map[string]site{"dc2": {nodes: []string{"m"}}}, "dc2 [m] 2", 0},
		"one that is not known": {far("dc9", "dc2"), nil, map[string]site{"dc2": {nodes: []string{"m"}}}, "dc2 [m] 1", 0},
		"itself in the list":    {far("dc1", "dc2"), nil, map[string]site{"dc2": {nodes: []string{"m"}}}, "dc2 [m] 1", 0},
		"one that is cut off":   {far("dc3", "dc2"), nil, map[string]site{"dc2": {nodes: []string{"m"}}, "dc3": {cut: true}}, "dc2 [m] 2", 0},
		"one that hangs":        {far("dc3", "dc2"), nil, map[string]site{"dc2": {nodes: []string{"m"}}, "dc3": {hangs: true}}, "dc2 [m] 2", queries.StandInDeadline},
		"all hang":              {far("dc3", "dc2"), nil, map[string]site{"dc2": {hangs: true}, "dc3": {hangs: true}}, "dc1 [] 2", queries.StandInDeadline},
		"one of old":            {far("dc2", "dc3"), nil, map[string]site{"dc2": {nodes: []string{"m"}, age: second}, "dc3": {nodes: []string{"o"}}}, "dc3 [o] 2", 0},
		"all of old":            {far("dc3", "dc2"), nil, map[string]site{"dc2": {nodes: []string{"m"}, age: second}, "dc3": {nodes: []string{"o"}, age: second}}, "dc3 [o] 2", 0},
		"one behind hangs":      {far("dc2", "dc3"), nil, map[string]site{"dc2": {nodes: []string{"m"}}, "dc3": {hangs: true}}, "dc2 [m] 1", 0},
		"asked all at once":     {far("dc2", "dc3", "dc4"), nil, map[string]site{"dc2": {after: second}, "dc3": {after: second}, "dc4": {nodes: []string{"p"}, after: second}}, "dc4 [p] 3", second},
		"the nearest":           {query.Failover{NearestN: 1, Datacenters: []string{"dc3"}}, nil, map[string]site{"dc2": {nodes: []string{"m"}}, "dc3": {nodes: []string{"o"}}}, "dc2 [m] 1", 0},
		"no repeats":            {query.Failover{NearestN: 2, Datacenters: []string{"dc2", "dc3", "dc4", "dc4"}}, nil, map[string]site{"dc4": {nodes: []string{"p"}}}, "dc4 [p] 3", 0},
		"more than there are":   {query.Failover{NearestN: 9}, nil, map[string]site{"dc4": {nodes: []string{"p"}}}, "dc4 [p] 3", 0},
		"all by distance":       {far("dc4", "nearest"), nil, map[string]site{"dc3": {nodes: []string{"o"}}}, "dc3 [o] 3", 0},
		"targets by distance":   {query.Failover{Targets: []query.Target{{Datacenter: "nearest"}}}, nil, map[string]site{"dc4": {nodes: []string{"p"}}}, "dc4 [p] 3", 0},
		"targets":               {query.Failover{Targets: []query.Target{{Datacenter: "dc4"}, {Datacenter: "dc2"}}}, nil, map[string]site{"dc2": {nodes: []string{"m"}}, "dc4": {nodes: []string{"p"}}}, "dc4 [p] 1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newSites("dc2", "dc3", "dc4")
				for dc, s := range c.sites {
					s.index = 1
					f.by[dc] = &s
				}
				h := newHarness(t, nil)
				h.start(t, f)

				h.LeadershipChanged(true)
				h.web(t, catalog.Passing, c.here...)
				h.prepared(t, query.Query{Name: "q", Service: query.Service{Failover: c.failover}})
				begin := time.Now()
				a, _, err := h.executed(t.Context(), op.Header{}, query.ExecuteRequest{})
				if got := outcomeOf(a, err); got != c.want || time.Since(begin) != c.takes {
					t.Errorf("%s after %s, want %s after %s", got, time.Since(begin), c.want, c.takes)
				}
				if len(c.here) > 0 && len(f.asked()) > 0 {
					t.Errorf("%d calls to others", len(f.asked()))
				}
			})
		})
	}
}

// An answer from elsewhere says how old it is, and of each datacenter that was
// looked at what became of asking it: nothing found is not the same as nobody
// there.
func TestAnswersOfAFailoverSayHowOldTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSites("dc2", "dc3", "dc4")
		h := newHarness(t, nil)
		h.start(t, f)
		h.LeadershipChanged(true)
		h.prepared(t, query.Query{Name: "q", Service: query.Service{Failover: query.Failover{NearestN: 3}}})
		look := func() (string, time.Duration) {
			a, meta, err := h.executed(t.Context(), op.Header{Consistency: op.Cached}, query.ExecuteRequest{})
			out := outcomeOf(a, err)
			for _, o := range meta.Outcomes {
				out += " " + o.Datacenter + ":" + o.State.String()
			}
			return out, meta.Age
		}
		f.set("dc2", func(s *site) { s.cut = true })
		if got, _ := look(); got != "dc1 [] 3 dc1:ok dc2:unreachable dc3:ok dc4:ok" {
			t.Errorf("nobody has one, and one is cut off: %s", got)
		}
		f.set("dc3", func(s *site) { s.nodes, s.age = []string{"m"}, time.Minute })
		if got, age := look(); got != "dc3 [m] 3 dc1:ok dc2:unreachable dc3:stale dc4:ok" || age != time.Minute {
			t.Errorf("what was known a minute ago: %s, age %s", got, age)
		}
		f.has("dc4", "o")
		if got, age := look(); got != "dc4 [o] 3 dc1:ok dc2:unreachable dc3:stale dc4:ok" || age != 0 {
			t.Errorf("one that is current: %s, age %s", got, age)
		}
		h.web(t, catalog.Passing, "n1")
		if got, age := look(); got != "dc1 [n1] 0" || age != 0 {
			t.Errorf("instances here: %s, age %s", got, age)
		}
	})
}

// Who has little time gets the answer of those that are in time.
func TestFailoverLeavesTimeToAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSites("dc2", "dc3")
		f.by["dc2"].hangs = true
		f.has("dc3", "o")
		h := newHarness(t, nil)
		h.start(t, f)
		h.LeadershipChanged(true)
		h.prepared(t, query.Query{Name: "q", Service: query.Service{Failover: query.Failover{NearestN: 2}}})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		a, _, err := h.executed(ctx, op.Header{}, query.ExecuteRequest{})
		if got := outcomeOf(a, err); got != "dc3 [o] 2" {
			t.Errorf("%s (deadline: %v)", got, ctx.Err())
		}
	})
}

// Datacenters that are about as near as each other do not take turns.
func TestQueryIsNotTurnedAroundByRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSites("dc2", "dc3")
		f.has("dc2", "m")
		f.has("dc3", "o")
		h := newHarness(t, nil)
		h.start(t, f)
		h.LeadershipChanged(true)
		h.prepared(t, query.Query{Name: "q", Service: query.Service{Failover: query.Failover{NearestN: 1}}})
		_, first, err := h.executed(t.Context(), op.Header{}, query.ExecuteRequest{})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		a, meta, err := h.executed(t.Context(), op.Header{MinIndex: first.Index, MaxWait: time.Minute}, query.ExecuteRequest{})
		if got := outcomeOf(a, err); got != "dc2 [m] 1" || meta.Index != first.Index || time.Since(begin) < time.Minute {
			t.Errorf("%s after %s, index %d, before %d", got, time.Since(begin), meta.Index, first.Index)
		}
	})
}

func TestAbandonedQueryLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSites("dc2")
		h := newHarness(t, nil)
		h.start(t, f)
		h.LeadershipChanged(true)
		h.prepared(t, query.Query{Name: "q", Service: query.Service{Failover: query.Failover{NearestN: 1}}})
		_, first, err := h.executed(t.Context(), op.Header{}, query.ExecuteRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, _, err := h.executed(ctx, op.Header{MinIndex: first.Index, MaxWait: time.Minute}, query.ExecuteRequest{})
			done <- err
		}()
		synctest.Wait()
		if n := h.waiting(t); n != 1 {
			t.Errorf("%v wait", n)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		asked := len(f.asked())
		<-time.After(time.Minute)
		if now := len(f.asked()); now != asked || h.waiting(t) != 0 {
			t.Errorf("%d calls to others after it was abandoned", now-asked)
		}
	})
}

func TestUnknownQueries(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	h.prepared(t, query.Query{Name: "q"})
	for name, code := range map[string]op.Code{"none": op.CodeNotFound, strings.Repeat("x", 600): op.CodeNotFound, "\x00": op.CodeNotFound} {
		if _, _, err := h.executed(t.Context(), op.Header{}, query.ExecuteRequest{Name: name}); op.CodeOf(err) != code || err.Error() != "Query not found" {
			t.Errorf("%.10q: %v", name, err)
		}
	}
}

// TestQueryNear: one row is what is near, and what the nodes come to be sorted as.
func TestQueryNear(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	at := map[string]coordinate.Coord{}
	for i := range 12 {
		at[fmt.Sprintf("n%d", i+1)] = point(float64(i + 1))
	}
	h.place(t, at)
	for i := range 12 {
		h.web(t, catalog.Passing, fmt.Sprintf("n%d", i+1))
	}
	h.register(t, &catalog.RegisterRequest{Node: "n0", Address: "10.1.0.0", Service: &catalog.Service{ID: "web", Service: "web"}})
	const all = "n1 n2 n3 n4 n5 n6 n7 n8 n9 n10 n11 n12 n0"
	for _, c := range []struct {
		name, stored string
		header       string
		request      query.ExecuteRequest
		want         string
	}{
		{"a node", "n1", "", query.ExecuteRequest{}, all},
		{"the agent", query.NearAgent, "", query.ExecuteRequest{Agent: "n1", AgentDatacenter: "dc1"}, all},
		{"an address", query.NearAddress, "", query.ExecuteRequest{Address: "10.1.0.1"}, all},
		{"the header wins", "n12", "n1", query.ExecuteRequest{}, all},
		{"three", "n1", "", query.ExecuteRequest{Limit: 3}, "n1 n2 n3"},
		{"more than there are", "n1", "", query.ExecuteRequest{Limit: 1 << 40}, all},
		{"an agent elsewhere", query.NearAgent, "", query.ExecuteRequest{Agent: "n1", AgentDatacenter: "dc2"}, ""},
		{"a node without a coordinate", "n0", "", query.ExecuteRequest{}, ""},
		{"an unknown address", query.NearAddress, "", query.ExecuteRequest{Address: "10.9.9.9"}, ""},
		{"no address", query.NearAddress, "", query.ExecuteRequest{}, ""},
		{"nothing", "", "", query.ExecuteRequest{}, ""},
	} {
		c.request.Name = "q-" + strings.ReplaceAll(c.name, " ", "-")
		h.prepared(t, query.Query{Name: c.request.Name, Service: query.Service{Near: c.stored}})
		seen := map[string]bool{}
		for range 40 {
			a, _, err := h.executed(t.Context(), op.Header{Near: c.header}, c.request)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, in := range a.Nodes {
				got = append(got, in.Node.Node)
			}
			seen[strings.Join(got, " ")] = true
		}
		if c.want != "" && (len(seen) != 1 || !seen[c.want]) {
			t.Errorf("%s: %v, want %s", c.name, seen, c.want)
		}
		if c.want == "" && len(seen) < 20 {
			t.Errorf("%s: %d orders in 40 answers, want as many as can be", c.name, len(seen))
		}
	}
}

// A query's token, not the client's, decides what it finds here and elsewhere.
func TestQueryRunsWithItsToken(t *testing.T) {
	f := newSites("dc2")
	f.has("dc2", "m")
	h := newHarness(t, func(c *server.Config) {
		c.Access = server.Access{Enabled: true, InitialManagement: servertest.Management}
	})
	h.start(t, f)

	h.LeadershipChanged(true)
	good, bad := servertest.Secret(t, h, `query_prefix "" { policy = "write" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`), servertest.Secret(t, h, "")
	write := func(q query.Query) {
		q.Service = query.Service{Service: "web", Failover: query.Failover{NearestN: 1}}
		if _, _, err := query.Create.Call(t.Context(), h, op.Header{Token: good}, &query.SetRequest{Query: q}); err != nil {
			t.Fatal(err)
		}
	}
	write(query.Query{Name: "own", Token: good})
	write(query.Query{Name: "none"})
	a, _, err := h.executed(t.Context(), op.Header{Token: bad}, query.ExecuteRequest{Name: "own"})
	if got := outcomeOf(a, err); got != "dc2 [m] 1" || f.asked()[0].Token != good {
		t.Errorf("with a token of its own: %s, %+v", got, f.asked())
	}
	if _, _, err := h.executed(t.Context(), op.Header{Token: bad}, query.ExecuteRequest{Name: "none"}); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("without: %v", err)
	}
	if a, _, err := h.executed(t.Context(), op.Header{Token: good}, query.ExecuteRequest{Name: "none"}); err != nil || len(a.Nodes) != 1 {
		t.Errorf("with the client's: %v", err)
	}
}

// Without its leader a server answers who takes what it has, and sends others on.
func TestQueryGoesWhereReadsGo(t *testing.T) {
	h := newHarness(t, func(c *server.Config) { c.HoldTimeout = 50 * time.Millisecond })
	h.start(t, nil)
	h.web(t, catalog.Passing, "n1")
	h.prepared(t, query.Query{Name: "q"})
	h.group.Leads.Store(false)
	a, meta, err := h.executed(t.Context(), op.Header{Consistency: op.Stale}, query.ExecuteRequest{})
	if got := outcomeOf(a, err); got != "dc1 [n1] 0" || meta.Consistency != op.Stale {
		t.Errorf("%s, %+v", got, meta)
	}
	if _, _, err := h.executed(t.Context(), op.Header{}, query.ExecuteRequest{}); op.CodeOf(err) != op.CodeNoLeader {
		t.Errorf("for who takes only the leader's word: %v", err)
	}
}

// One that was on its way to a leader that died is asked of the next one.
func TestQueryOutlivesALostLeader(t *testing.T) {
	via := &servertest.Losing{Lost: 1}
	h := newHarness(t, func(c *server.Config) { c.Transport, c.HoldTimeout = via, 5*time.Second })
	h.group.Leads.Store(false)
	h.group.Other = servertest.UID("2")
	h.pool.Set(servertest.ServerMember("s2", servertest.UID("2"), "10.0.0.2", gossip.Alive))
	h.start(t, nil)
	if _, _, err := h.executed(t.Context(), op.Header{}, query.ExecuteRequest{}); err != nil || via.Tries.Load() != 2 {
		t.Errorf("%v after %d tries, want an answer to the second", err, via.Tries.Load())
	}
}

// pollWait is how long one read waits: a datacenter that hangs is noticed then.
const pollWait = 5 * time.Second

// polled stands for views: it follows results by reads that wait.
type polled struct{ next op.Caller }

var _ op.Subscriber = polled{}

// Subscribe implements op.Subscriber.
func (p polled) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	for index := uint64(0); ; {
		c := *call
		c.Header.MinIndex, c.Header.MaxWait = index, pollWait
		reply, err := p.next.Do(ctx, &c)
		if err != nil {
			return err
		}
		if reply.Meta.Index != index {
			if err := push(reply); err != nil {
				return err
			}
		}
		index = reply.Meta.Index
	}
}
