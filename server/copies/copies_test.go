package copies

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/status"
)

// site is a datacenter of one server that leads, with what it says to others.
type site struct {
	*Copies
	group   *servertest.Group
	records *removal.Records
	world   *world
	cut     atomic.Bool // nobody reaches it
	deaf    atomic.Bool // what it asks is carried out, and the answers are lost
	leads   func()      // ends its reign
}

type world struct {
	mu    sync.Mutex
	sites map[string]*site
}

func (w *world) at(dc string) (*site, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sites[dc]
	if s == nil || s.cut.Load() {
		return nil, &op.Error{Code: op.CodeUnreachableDatacenter, Text: "No path to datacenter", Datacenter: dc}
	}
	return s, nil
}

// found makes datacenters of which dc1 is the home.
func found(t *testing.T, names ...string) map[string]*site {
	return configured(t, func(string) string { return "dc1" }, names...)
}

// configured makes datacenters that are configured to take another one for the home.
func configured(t *testing.T, first func(dc string) string, names ...string) map[string]*site {
	w := &world{sites: map[string]*site{}}
	for _, dc := range names {
		st := servertest.OpenState(t)
		s := &site{world: w, group: servertest.NewGroup(st, state.New())}
		var err error
		if s.records, err = removal.Open(dc, nil, nil); err != nil {
			t.Fatal(err)
		}
		s.Copies = New(Config{Datacenter: dc, Server: "s1." + dc, Enabled: true, First: first(dc), State: st, Log: logging.Discard(), Registerer: prometheus.NewRegistry(),
			Self: func() op.Caller { return op.CallerFunc(s.commit) }, Leads: func() bool { return true }, LeaderSilence: func() time.Duration { return 0 }})
		s.Connect(Links{Federation: s, Calls: op.CallerFunc(s.ask), Follow: s})
		w.sites[dc] = s
	}
	for _, s := range w.sites {
		s.lead(t)
	}
	return w.sites
}

// lead begins a reign, in place of the one before.
func (s *site) lead(t *testing.T) {
	if s.leads != nil {
		s.leads()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Keep(ctx) })
	wg.Go(func() { s.Follow(ctx) })
	s.leads = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(s.leads)
}

func (s *site) commit(ctx context.Context, call *op.Call) (*op.Reply, error) {
	body, err := call.Body()
	if err != nil {
		return nil, err
	}
	command, err := s.group.Machine.Encode(call.Operation, body)
	if err != nil {
		return nil, err
	}
	res, err := s.group.Propose(ctx, command)
	return op.NewReply(op.Meta{Index: 1}, res), err
}

// ask asks another datacenter.
func (s *site) ask(ctx context.Context, call *op.Call) (*op.Reply, error) {
	to, err := s.world.at(call.Header.Datacenter)
	if err != nil {
		return nil, err
	}
	if s.cut.Load() {
		return nil, op.ErrNoServers
	}
	for _, h := range []op.Handler{acl.YieldHome.Handle(to.Yield), acl.SettleHome.Handle(to.Settle),
		acl.ReplicationStatus.Handle(func(context.Context, op.Header, *op.Empty) (*acl.Replication, error) {
			return to.Status(to.home()), nil
		}),
		status.Ping.Handle(func(context.Context, op.Header, *op.Empty) (*op.Empty, error) { return nil, nil })} {
		if h.Operation.OpName() != call.Operation.OpName() {
			continue
		}
		request, err := call.Request()
		if err != nil {
			return nil, err
		}
		result, err := h.Answer(ctx, call.Header, request)
		if s.deaf.Load() {
			return nil, op.Errorf(op.CodeLost, "the answer was lost")
		}
		if err != nil {
			return nil, err
		}
		return op.NewReply(op.Meta{}, result), nil
	}
	return nil, op.Errorf(op.CodeUnsupported, "%s", call.Operation.OpName())
}

// Subscribe implements op.Subscriber: following over a wire of bytes.
func (s *site) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	to, err := s.world.at(call.Header.Datacenter)
	if err != nil {
		return err
	}
	body, err := call.Body()
	if err != nil {
		return err
	}
	return to.Serve(ctx, op.Received(call.Operation, call.Header, body), func(r *op.Reply) error {
		b, err := op.AppendReply(nil, r)
		if err != nil {
			return err
		}
		if r, err = op.ReadReply(b); err != nil {
			return err
		}
		if to.cut.Load() || s.cut.Load() {
			return op.Errorf(op.CodeLost, "cut off")
		}
		return push(r)
	})
}

// Home implements Federation.
func (s *site) Home() (removal.Record, bool) { return s.records.Home() }

// Since implements Federation.
func (s *site) Since(dc string) int64 { return s.records.Since(dc) }

// Counts implements Federation.
func (s *site) Counts(rec removal.Record) bool { return s.records.Counts(rec) }

// SetHome implements Federation: who is cut off hears nothing.
func (s *site) SetHome(_ context.Context, rec removal.Record) (told int, missed []string, err error) {
	rec.Home = true
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	for dc, other := range s.world.sites {
		if other != s && (s.cut.Load() || other.cut.Load()) {
			missed = append(missed, dc)
			continue
		}
		if _, err := other.records.Merge([]removal.Record{rec}, time.Now()); err != nil {
			return 0, nil, err
		}
		other.HomeChanged()
		told++
	}
	return told, missed, nil
}

// token writes a global token in a datacenter itself.
func (s *site) token(ctx context.Context, accessor string) error {
	_, _, err := acl.SetToken.Call(ctx, s.cfg.Self(), op.Header{}, &acl.SetTokenRequest{Create: true, Token: acl.Token{AccessorID: accessor, SecretID: "secret of " + accessor}})
	return err
}

func (s *site) has(accessor string) bool {
	v := s.cfg.State.View()
	defer v.Close()
	tok, err := acl.FindToken(v, accessor)
	return err == nil && tok != nil
}

func (s *site) home() string {
	v := s.cfg.State.View()
	defer v.Close()
	home, err := s.Copies.Home(v)
	if err != nil {
		return err.Error()
	}
	return home
}

func TestWhatDiffersIsNoticedAndMended(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	for _, name := range []string{"a", "b"} {
		if err := dc1.token(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	servertest.Eventually(t, "copies", func() bool { return dc2.has("a") && dc2.has("b") })
	// Somebody loses one copy and makes up another.
	_, _, err := acl.Copy.Call(t.Context(), dc2.cfg.Self(), op.Header{}, &acl.CopyRequest{Deletes: []acl.Name{{Kind: acl.KindToken, Key: "a"}},
		Records: acl.Records{Tokens: acl.Tokens{{AccessorID: "c", SecretID: "s", Hash: []byte("h")}}}})
	if err != nil || dc2.has("a") || !dc2.has("c") {
		t.Fatal("the copies do not differ", err)
	}
	servertest.Eventually(t, "the copies are mended", func() bool { return dc2.has("a") && !dc2.has("c") && dc2.has("b") })
	if n := testutil.ToFloat64(dc2.metrics.divergences); n != 1 {
		t.Errorf("it is noticed %v times", n)
	}
}

// A copy is never taken back to what a server has that is behind.
func TestAServerThatIsBehindIsNoSource(t *testing.T) {
	dc1 := found(t, "dc1")["dc1"]
	inv, err := dc1.inventory()
	if err != nil {
		t.Fatal(err)
	}
	follow := func(r acl.FollowRequest) op.Code {
		r.Sums = inv.Sums()
		done := errors.New("one is enough")
		err := dc1.Serve(t.Context(), op.NewCall(&acl.Follow, op.Header{}, &r), func(*op.Reply) error { return done })
		if errors.Is(err, done) {
			return 0
		}
		return op.CodeOf(err)
	}
	if c := follow(acl.FollowRequest{Index: dc1.cfg.State.Index()}); c != 0 {
		t.Errorf("who has as much is refused with %s", c)
	}
	if c := follow(acl.FollowRequest{Index: dc1.cfg.State.Index() + 1}); c != op.CodeNoLeader {
		t.Errorf("who has more is answered %s", c)
	}
	if c := follow(acl.FollowRequest{Version: 5}); c != op.CodeNoLeader {
		t.Errorf("who has heard of a later home is answered %s", c)
	}
	if _, err := dc1.records.Merge([]removal.Record{{Datacenter: "dc2", Home: true, Version: 7}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if c := follow(acl.FollowRequest{}); c != op.CodeMoved {
		t.Errorf("who follows what is not the home is answered %s", c)
	}
}

// Its leader knows of a change first: others are followed for as long as there is none.
func TestTheLeaderIsFollowedIfThereIsOne(t *testing.T) {
	t.Parallel()
	dc1 := found(t, "dc1")["dc1"]
	dc1.cfg.Leads = func() bool { return false }
	inv, err := dc1.inventory()
	if err != nil {
		t.Fatal(err)
	}
	follow := func(best bool) (pushed int, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err = dc1.Serve(ctx, op.NewCall(&acl.Follow, op.Header{MustCurrent: best}, &acl.FollowRequest{Sums: inv.Sums()}), func(*op.Reply) error { pushed++; return nil })
		return pushed, err
	}
	if n, err := follow(true); n != 0 || op.CodeOf(err) != op.CodeNoLeader {
		t.Errorf("who looks for the leader is told %d messages by another, then %v", n, err)
	}
	if n, err := follow(false); n != 1 || op.CodeOf(err) != op.CodeNoLeader {
		t.Errorf("who found none is told %d messages, then %v", n, err)
	}
}

func TestAMoveThatIsBrokenOffIsTakenBack(t *testing.T) {
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	ctx := t.Context()
	if err := dc1.token(ctx, "before"); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "dc2 follows", func() bool { return dc2.has("before") })
	for _, broken := range []struct {
		name  string
		begin func()
	}{
		{"the answer of the old home is lost", func() {
			dc2.deaf.Store(true)
			defer dc2.deaf.Store(false)
			if _, err := dc2.Move(ctx, op.Header{}, &acl.MoveRequest{}); op.CodeOf(err) != op.CodeConflict {
				t.Errorf("the move ends with %v", err)
			}
		}},
		{"the leader of the new home is gone", func() {
			dc1.leads()
			version := time.Now().UnixMilli() + 10
			if _, err := dc2.step(ctx, &acl.StepRequest{Step: acl.StepWant, Version: version, Ticket: "t"}); err != nil {
				t.Fatal(err)
			}
			if _, err := dc1.Yield(ctx, op.Header{}, &acl.YieldRequest{Version: version, To: "dc2", Ticket: "t"}); err != nil {
				t.Fatal(err)
			}
			if _, err := dc2.Settle(ctx, op.Header{}, &acl.SettleRequest{Version: version, Ticket: "guessed"}); op.CodeOf(err) != op.CodeDenied {
				t.Errorf("without its ticket it is answered %v", err)
			}
			if err := dc1.token(ctx, "meanwhile"); op.CodeOf(err) != op.CodeMoved {
				t.Errorf("a home that gave its role away writes: %v", err)
			}
			dc1.lead(t) // its new leader is who asks
			servertest.Eventually(t, "it is settled", func() bool { return dc1.home() == "dc1" })
			if _, err := dc2.step(ctx, &acl.StepRequest{Step: acl.StepAssume, Version: version, Datacenter: "dc2"}); op.CodeOf(err) != op.CodeConflict {
				t.Errorf("what was given up is assumed later: %v", err)
			}
		}},
	} {
		broken.begin()
		servertest.Eventually(t, broken.name+": dc1 takes the role back", func() bool { return dc1.home() == "dc1" && dc2.home() == "dc1" })
		if err := dc1.token(ctx, broken.name); err != nil {
			t.Errorf("%s: it does not write: %v", broken.name, err)
		}
		servertest.Eventually(t, broken.name+": dc2 follows on", func() bool { return dc2.has(broken.name) })
	}
	if _, err := dc2.Move(ctx, op.Header{}, &acl.MoveRequest{}); err != nil || dc1.home() != "dc2" || dc2.home() != "dc2" {
		t.Errorf("a move afterwards: %v; %s, %s", err, dc1.home(), dc2.home())
	}
}

// The new home took the role over and its leader was lost before it told anybody.
func TestAnAssumedRoleIsToldByTheNextLeader(t *testing.T) {
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	ctx := t.Context()
	servertest.Eventually(t, "dc2 follows", func() bool { return dc2.follower.reached(ctx, dc2.noted(), 0) == nil })
	dc1.leads() // it would ask, and have it given up
	dc2.leads()
	version := time.Now().UnixMilli()
	for _, step := range []func() error{
		func() error {
			_, err := dc2.step(ctx, &acl.StepRequest{Step: acl.StepWant, Version: version, Ticket: "t"})
			return err
		},
		func() error {
			_, err := dc1.Yield(ctx, op.Header{}, &acl.YieldRequest{Version: version, To: "dc2", Ticket: "t"})
			return err
		},
		func() error {
			_, err := dc2.step(ctx, &acl.StepRequest{Step: acl.StepAssume, Version: version, Datacenter: "dc2"})
			return err
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	dc2.lead(t)
	servertest.Eventually(t, "dc2 tells", func() bool { return dc1.home() == "dc2" })
	dc1.lead(t)
	servertest.Eventually(t, "all know", func() bool { return dc1.home() == "dc2" && dc2.home() == "dc2" })
	if err := dc2.token(ctx, "new"); err != nil {
		t.Error(err)
	}
	servertest.Eventually(t, "dc1 copies", func() bool { return dc1.has("new") })
}

func TestOfTwoMovesAtOnceOneIsMade(t *testing.T) {
	sites := found(t, "dc1", "dc2", "dc3")
	var homes []string
	var wg sync.WaitGroup
	errs := map[string]error{}
	var mu sync.Mutex
	for _, dc := range []string{"dc2", "dc3"} {
		wg.Go(func() {
			_, err := sites[dc].Move(t.Context(), op.Header{}, &acl.MoveRequest{})
			mu.Lock()
			defer mu.Unlock()
			errs[dc] = err
		})
	}
	wg.Wait()
	servertest.Eventually(t, "all agree", func() bool {
		homes = nil
		for _, s := range sites {
			homes = append(homes, s.home())
		}
		return homes[0] == homes[1] && homes[1] == homes[2] && (homes[0] == "dc2" || homes[0] == "dc3")
	})
	writers := 0
	for _, s := range sites {
		if s.token(t.Context(), "of one alone") == nil {
			writers++
		}
	}
	if writers != 1 {
		t.Errorf("%d datacenters write; the moves ended with %v", writers, errs)
	}
}

// Where the home has moved to nobody makes another first management token, and log-ins
// that the home knows of end with their method.
func TestWhatTheHomeKnowsGoesWithIt(t *testing.T) {
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	ctx := t.Context()
	bootstrap := func(s *site, accessor string) error {
		_, _, err := acl.Bootstrap.Call(ctx, s.cfg.Self(), op.Header{}, &acl.BootstrapRequest{Token: acl.Token{AccessorID: accessor, SecretID: accessor}})
		return err
	}
	if _, _, err := acl.SetMethod.Call(ctx, dc1.cfg.Self(), op.Header{}, &acl.SetMethodRequest{Create: true, Method: acl.Method{Name: "m", Type: "jwt"}}); err != nil {
		t.Fatal(err)
	}
	if err := bootstrap(dc1, "first"); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "copies", func() bool { return dc2.has("first") })
	if _, _, err := acl.Mint.Call(ctx, dc2.cfg.Self(), op.Header{}, &acl.SetTokenRequest{Create: true, Token: acl.Token{AccessorID: "local", SecretID: "l", AuthMethod: "m", Local: true}}); err != nil {
		t.Fatal("a local log-in:", err)
	}
	if err := bootstrap(dc2, "second"); op.CodeOf(err) != op.CodeMoved {
		t.Errorf("bootstrapping away from home: %v", err)
	}
	if _, _, err := acl.DeleteMethod.Call(ctx, dc1.cfg.Self(), op.Header{}, &acl.NamedRequest{Name: "m"}); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the local token goes with its method", func() bool { return !dc2.has("local") })
	if _, err := dc2.Move(ctx, op.Header{}, &acl.MoveRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := bootstrap(dc2, "second"); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("bootstrapping where the home has moved to: %v", err)
	}
}

// A leader that has never reached the home says for how long, so that an alert does not
// end because another leads.
func TestANewLeaderSaysThatTheHomeIsNotFollowed(t *testing.T) {
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	age := func() float64 { return testutil.ToFloat64(dc2.metrics.age) }
	servertest.Eventually(t, "the home is followed", func() bool { r := dc2.Status("dc1"); return r.Running && !r.LastSuccess.IsZero() })
	dc1.cut.Store(true)
	dc2.lead(t)
	servertest.Eventually(t, "the new leader says so", func() bool { return dc2.Status("dc1").LastSuccess.IsZero() && age() > 0.2 })
	dc1.cut.Store(false)
	servertest.Eventually(t, "the home is followed again", func() bool { return !dc2.Status("dc1").LastSuccess.IsZero() && age() < 0.2 })
	dc2.leads()
	if a := age(); a != 0 {
		t.Errorf("who does not lead says %v", a)
	}
}

// A clock that was far ahead at one move does not stop the moves after it.
func TestMovesAfterOneWithABrokenClock(t *testing.T) {
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	servertest.Eventually(t, "dc2 follows", func() bool { return dc2.Status("dc1").Running })
	ahead := removal.Record{Datacenter: "dc1", Home: true, Version: time.Now().Add(20 * time.Hour).UnixMilli(), By: "s1.dc1"}
	for _, s := range sites {
		if _, err := s.records.Merge([]removal.Record{ahead}, time.Now()); err != nil {
			t.Fatal(err)
		}
		s.HomeChanged()
	}
	for _, to := range []*site{dc2, dc1, dc2} {
		if _, err := to.Move(t.Context(), op.Header{}, &acl.MoveRequest{}); err != nil || dc1.home() != to.cfg.Datacenter {
			t.Fatalf("move to %s: %v", to.cfg.Datacenter, err)
		}
	}
	if _, err := dc2.Yield(t.Context(), op.Header{}, &acl.YieldRequest{Version: ahead.Version + time.Hour.Milliseconds(), To: "dc1", Ticket: "t"}); op.CodeOf(err) != op.CodeConflict {
		t.Errorf("a version that is further ahead is answered %v", err)
	}
}

// A datacenter that has nothing of what the home had does not take the role over by force:
// nobody would have a token any more.
func TestNobodyTakesTheRoleOverWithoutCopies(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	dc2.leads() // it copies nothing meanwhile
	if err := dc1.token(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if awaited, err := dc2.read(dc2.Awaited); err != nil || awaited != "dc1" {
		t.Fatalf("dc2 waits for %q: %v", awaited, err)
	}
	dc1.cut.Store(true)
	if _, err := dc2.Move(t.Context(), op.Header{}, &acl.MoveRequest{Force: true}); op.CodeOf(err) != op.CodeConflict || dc2.home() != "dc1" {
		t.Errorf("by force without copies: %v, and %s is the home", err, dc2.home())
	}
	dc1.cut.Store(false)
	dc2.lead(t)
	servertest.Eventually(t, "copies", func() bool { awaited, err := dc2.read(dc2.Awaited); return err == nil && awaited == "" && dc2.has("a") })
	dc1.cut.Store(true)
	if _, err := dc2.Move(t.Context(), op.Header{}, &acl.MoveRequest{Force: true}); err != nil || dc2.home() != "dc2" {
		t.Errorf("by force with copies: %v, and %s is the home", err, dc2.home())
	}
}
