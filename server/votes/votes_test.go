package votes

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	stores "github.com/legate-project/legate/state"
	state "github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/transport"
)

// answers is a transport over which servers say how they are; who is not in it is silent.
type answers struct {
	asked atomic.Int64 // how often
	mu    sync.Mutex
	by    map[string]func() ([]byte, error) // by node ID
}

func (a *answers) set(id string, answer func() ([]byte, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.by[id] = answer
}

func (a *answers) has(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.by[id] != nil
}

// RoundTrip implements rpc.RoundTripper.
func (a *answers) RoundTrip(_ context.Context, to transport.Target, _ string, _, _ []byte) ([]byte, error) {
	a.asked.Add(1)
	a.mu.Lock()
	answer := a.by[to.NodeID]
	a.mu.Unlock()
	if answer == nil {
		return nil, transport.ErrUnreachable
	}
	return answer()
}

// Open implements rpc.RoundTripper.
func (*answers) Open(context.Context, transport.Target, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

// says is the answer of a server whose log ends at an index.
func says(index uint64) func() ([]byte, error) {
	return func() ([]byte, error) {
		return op.AppendReply(nil, op.NewReply(op.Meta{}, &state.Stats{LastContact: time.Millisecond, LastTerm: servertest.LastTerm, LastIndex: index}))
	}
}

// watched is a server that leads a group and looks after it.
type watched struct {
	*Votes
	group   *servertest.Group
	pool    *servertest.Pool
	answers *answers
	left    chan string // whom gossip was told of
	end     func()
	refuses atomic.Int64 // so many commands
}

func begin(t *testing.T, change func(*Config)) *watched {
	t.Helper()
	s := servertest.OpenState(t)
	w := &watched{group: servertest.NewGroup(s, stores.New()), pool: servertest.NewPool(), answers: &answers{by: map[string]func() ([]byte, error){}}, left: make(chan string, 16)}
	first := state.Default()
	first.ServerStabilizationTime = 0
	cfg := Config{NodeID: servertest.UID("1"), First: first, Period: 10 * time.Millisecond, Group: func() Group { return w.group }, Servers: w.pool.Servers,
		Self: func() op.Caller { return op.CallerFunc(w.write) }, ForceLeave: w.forceLeave,
		State: s, Transport: w.answers, Log: logging.Discard(), Registerer: prometheus.NewRegistry()}
	if change != nil {
		change(&cfg)
	}
	w.Votes = New(cfg)
	return w
}

func (w *watched) forceLeave(name string) error {
	w.left <- name
	return w.pool.ForceLeave(name, false)
}

// write carries out a command.
func (w *watched) write(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if w.refuses.Add(-1) >= 0 {
		return nil, op.Errorf(op.CodeConflict, "a server is too old")
	}
	body, err := call.Body()
	if err != nil {
		return nil, err
	}
	command, err := w.group.Machine.Encode(call.Operation, body)
	if err != nil {
		return nil, err
	}
	res, err := w.group.Propose(ctx, command)
	return op.NewReply(op.Meta{}, res), err
}

// lead has it lead until the test ends, or end is called.
func (w *watched) lead(t *testing.T) {
	t.Helper()
	group := lifecycle.New("reign")
	if err := group.Go("autopilot", w.Run); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	w.end = func() {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := group.Stop(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(w.end)
}

// join adds a server to the group and to the pool.
func (w *watched) join(t *testing.T, n int, voter bool, tags ...string) {
	t.Helper()
	m := member(n, gossip.Alive)
	for _, tag := range tags {
		m.Tags[tag] = "1"
	}
	add := w.group.AddNonvoter
	if voter {
		add = w.group.AddVoter
	}
	if err := add(t.Context(), m.Tags["id"], fmt.Sprintf("%s:8300", m.Addr)); err != nil {
		t.Fatal(err)
	}
	if !w.answers.has(m.Tags["id"]) {
		w.answers.set(m.Tags["id"], says(servertest.LastIndex))
	}
	w.pool.Set(append(w.pool.Members(), m)...)
}

func member(n int, status gossip.Status) lan.Member {
	return servertest.ServerMember(fmt.Sprint("s", n), servertest.UID(fmt.Sprint(n)), fmt.Sprint("10.0.0.", n), status)
}

// turn gives a member another status.
func (w *watched) turn(n int, status gossip.Status) {
	list := w.pool.Members()
	for i := range list {
		if list[i].Name == fmt.Sprint("s", n) {
			list[i].Status = status
		}
	}
	w.pool.Set(list...)
}

// votes reports whether a server does; in is false if it is not in the group.
func (w *watched) votes(n int) (voter, in bool) {
	servers, _, _ := w.group.Configuration()
	for _, s := range servers {
		if s.ID == servertest.UID(fmt.Sprint(n)) {
			return s.Voter, true
		}
	}
	return false, false
}

func (w *watched) state(t *testing.T) *state.State {
	t.Helper()
	s, err := w.show(t.Context(), op.Header{}, nil)
	if err != nil {
		return &state.State{}
	}
	return s
}

func (w *watched) configuration(t *testing.T) *state.Config {
	t.Helper()
	v := w.cfg.State.View()
	defer v.Close()
	c, err := state.Find(v)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestANewServerVotesWhenItHasBeenHealthyForAWhile(t *testing.T) {
	const stable = 300 * time.Millisecond
	w := begin(t, func(c *Config) { c.First.ServerStabilizationTime, c.First.MaxTrailingLogs = stable, 50 })
	w.join(t, 2, true)
	w.join(t, 3, true)
	w.lead(t)
	servertest.Eventually(t, "all are healthy", func() bool { s := w.state(t); return s.Healthy && s.FailureTolerance == 1 })
	began := time.Now()
	w.join(t, 4, false)
	w.join(t, 5, false, "read_replica")
	w.answers.set(servertest.UID("6"), says(1)) // far behind
	w.join(t, 6, false)
	servertest.Eventually(t, "the new one votes", func() bool { voter, _ := w.votes(4); return voter })
	if took := time.Since(began); took < stable {
		t.Errorf("it votes after %v, before it was stable for %v", took, stable)
	}
	servertest.Eventually(t, "the state says so", func() bool { return len(w.state(t).Voters) == 4 })
	for _, srv := range w.state(t).Servers {
		switch srv.Name {
		case "s5":
			if srv.State != state.NonVoter || srv.Type != state.TypeReadReplica || !srv.Healthy {
				t.Errorf("the replica: %+v", srv)
			}
		case "s6":
			if srv.State != state.NonVoter || srv.Type != state.TypeVoter || srv.Healthy || srv.Stats.LastIndex != 1 {
				t.Errorf("the one that is behind: %+v", srv)
			}
		}
	}
	if replica, _ := w.votes(5); replica {
		t.Error("a replica votes")
	}
}

// The one that is dead stays until another one took its place.
func TestADeadServerIsReplaced(t *testing.T) {
	w := begin(t, nil)
	w.join(t, 2, true)
	w.join(t, 3, true)
	w.lead(t)
	servertest.Eventually(t, "all are healthy", func() bool { return w.state(t).Healthy })
	w.turn(3, gossip.Failed)
	w.answers.set(servertest.UID("3"), nil)
	w.group.Silent.Store(int64(time.Hour))
	servertest.Eventually(t, "it is seen dead", func() bool { s := w.state(t); return !s.Healthy && s.FailureTolerance == 0 && len(s.Servers) == 3 })
	const shown = "# HELP legate_autopilot_healthy %s\n# TYPE legate_autopilot_healthy gauge\nlegate_autopilot_healthy 0\n"
	servertest.Eventually(t, "the metric says so", func() bool {
		return testutil.CollectAndCompare(w.metrics, strings.NewReader(fmt.Sprintf(shown, healthyHelp)), "legate_autopilot_healthy") == nil
	})
	w.join(t, 4, false)
	select {
	case name := <-w.left:
		if name != "s3" {
			t.Errorf("%s was removed", name)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the dead one was not removed")
	}
	if voter, _ := w.votes(4); !voter {
		t.Error("the dead one was removed before another took its place")
	}
}

// One that was healthy for long is ill for a moment: what counts is how long it has been
// as it is.
func TestATimeOfHealthBeginsAnewWhenItChanges(t *testing.T) {
	const stable = 500 * time.Millisecond
	w := begin(t, func(c *Config) { c.First.ServerStabilizationTime = stable })
	for n := 2; n <= 4; n++ {
		w.join(t, n, true)
	}
	w.lead(t)
	servertest.Eventually(t, "all are healthy", func() bool { return w.state(t).Healthy })
	<-time.After(stable) // it has been healthy for longer than it takes to be removed
	began := time.Now()
	w.turn(4, gossip.Failed)
	servertest.Eventually(t, "it is seen failed", func() bool { return !w.state(t).Healthy })
	for _, srv := range w.state(t).Servers {
		if srv.Name == "s4" && srv.StableSince.Before(began) {
			t.Errorf("it is ill since %v, and fell ill at %v", srv.StableSince, began)
		}
	}
	select {
	case <-w.left:
		if took := time.Since(began); took < stable {
			t.Errorf("it was removed %v after it failed: want at least %v", took, stable)
		}
	case <-time.After(10 * time.Second):
		t.Error("it was not removed")
	}
}

func TestNobodyIsRemovedWhereThatIsSwitchedOff(t *testing.T) {
	w := begin(t, func(c *Config) { c.First.CleanupDeadServers = false })
	for n := 2; n <= 4; n++ {
		w.join(t, n, true)
	}
	w.turn(4, gossip.Failed)
	w.answers.set(servertest.UID("4"), nil)
	w.lead(t)
	servertest.Eventually(t, "the configuration is there", func() bool { return w.configuration(t) != nil })
	asked := w.answers.asked.Load()
	servertest.Eventually(t, "they were looked at some times", func() bool { return w.answers.asked.Load() > asked+10 })
	if len(w.left) > 0 {
		t.Errorf("%s was removed", <-w.left)
	}
	c := *w.configuration(t)
	c.CleanupDeadServers = true
	if _, _, err := state.Set.Call(t.Context(), op.CallerFunc(w.write), op.Header{}, &state.SetRequest{Config: c}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.left:
	case <-time.After(10 * time.Second):
		t.Error("a change of the configuration does not count")
	}
}

// It is refused while a server of the group does not know the command.
func TestTheFirstConfigurationIsTriedUntilItIsTaken(t *testing.T) {
	w := begin(t, func(c *Config) { c.First.MinQuorum = 3 })
	w.join(t, 2, true)
	w.refuses.Store(2)
	w.lead(t)
	servertest.Eventually(t, "it is written", func() bool { c := w.configuration(t); return c != nil && c.MinQuorum == 3 && c.CreateIndex > 0 })
	w.end()
	if _, err := w.show(t.Context(), op.Header{}, nil); op.CodeOf(err) != op.CodeNotLeader {
		t.Errorf("who leads no more tells how servers are: %v", err)
	}
	if n := testutil.CollectAndCount(w.metrics); n != 0 {
		t.Errorf("who leads no more shows %d metrics", n)
	}
	changed := *w.configuration(t)
	changed.MinQuorum = 5
	if _, _, err := state.Set.Call(t.Context(), op.CallerFunc(w.write), op.Header{}, &state.SetRequest{Config: changed}); err != nil {
		t.Fatal(err)
	}
	w.lead(t) // once more
	servertest.Eventually(t, "it looks again", func() bool { return len(w.state(t).Servers) == 2 })
	if c := w.configuration(t); c.MinQuorum != 5 {
		t.Errorf("the next leader wrote over what somebody configured: %+v", c)
	}
}

// A snapshot of an earlier version has no configuration.
func TestAConfigurationIsThereAfterARestore(t *testing.T) {
	w := begin(t, nil)
	w.lead(t)
	servertest.Eventually(t, "the configuration is written", func() bool { return w.configuration(t) != nil })
	before := w.configuration(t).CreateIndex
	w.group.Commit(t, &stores.RestoreBegin, &stores.RestoreBeginRequest{ID: "r"})
	w.group.Commit(t, &stores.RestoreFinish, &stores.RestoreFinishRequest{ID: "r"})
	servertest.Eventually(t, "it is written again", func() bool { c := w.configuration(t); return c != nil && c.CreateIndex > before })
}

func TestZonesAreReadFromTheMetadataOfNodes(t *testing.T) {
	w := begin(t, func(c *Config) { c.First.RedundancyZoneTag = "zone" })
	for n := 1; n <= 6; n++ {
		w.group.Commit(t, &catalog.Register, &catalog.RegisterRequest{Node: fmt.Sprint("s", n), Address: fmt.Sprint("10.0.0.", n), NodeMeta: map[string]string{"zone": fmt.Sprint("z", n%3)}})
		if n > 1 {
			w.join(t, n, false)
		}
	}
	w.lead(t)
	servertest.Eventually(t, "each zone has a voter", func() bool { return len(w.state(t).Voters) == 3 && len(w.state(t).Zones) == 3 })
	s := w.state(t)
	for name, z := range s.Zones {
		if len(z.Servers) != 2 || len(z.Voters) != 1 || z.FailureTolerance != 1 {
			t.Errorf("zone %s: %+v", name, z)
		}
	}
	if s.FailureTolerance != 1 || s.Optimistic != 4 {
		t.Errorf("%+v", s)
	}
}

func TestAServerSaysHowItIs(t *testing.T) {
	w := begin(t, nil)
	got, err := w.stats(t.Context(), op.Header{}, nil)
	if err != nil || *got != (state.Stats{LastTerm: servertest.LastTerm, LastIndex: servertest.LastIndex}) {
		t.Errorf("%+v %v", got, err)
	}
}
