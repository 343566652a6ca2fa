package server

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/copies"
	"github.com/legate-project/legate/server/limit"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
)

// behind is a consensus group whose leader was heard a while ago.
type behind struct {
	*servertest.Group
	lag atomic.Int64
}

func (b *behind) LastContact() time.Duration { return time.Duration(b.lag.Load()) }

// startBehind starts the harness with a server that follows.
func (h *harness) startBehind(t *testing.T) *behind {
	t.Helper()
	b := &behind{Group: h.group}
	h.group.Leads.Store(false)
	if err := h.Start(Dependencies{Raft: b, LAN: h.pool}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

// controlled switches access control on.
func controlled(c *Config) {
	c.Access = Access{Enabled: true, InitialManagement: servertest.Management}
}

// keysBelow is a token that may see the keys below a prefix.
func keysBelow(t testing.TB, h *harness, prefix string) string {
	t.Helper()
	return servertest.Secret(t, h, `key_prefix "`+prefix+`" { policy = "read" }`)
}

// keys follows the keys of the state in the background.
func keys(t *testing.T, s op.Subscriber, h op.Header) (pushed chan string, ended chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	pushed, ended = make(chan string), make(chan error, 1)
	go func() {
		ended <- s.Subscribe(ctx, op.NewCall(&kv.List, h, &kv.ListRequest{}), func(r *op.Reply) error {
			if r.Meta.Index == 0 {
				return nil
			}
			v, err := r.Result(&kv.List)
			if err != nil {
				return err
			}
			text := ""
			if list, _ := v.(*kv.Entries); list != nil {
				for _, e := range *list {
					text += e.Key + "=" + string(e.Value) + " "
				}
			}
			select {
			case pushed <- fmt.Sprintf("%s%v", text, r.Meta.Filtered):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(cancel)
	return pushed, ended
}

func expect(t *testing.T, pushed <-chan string, want string) {
	t.Helper()
	select {
	case got := <-pushed:
		if got != want {
			t.Errorf("pushed %q, want %q", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("%q is not pushed", want)
	}
}

func TestSubscriptionsPushWhatTheTokenMaySee(t *testing.T) {
	h := newHarness(t, controlled)
	h.start(t, nil)
	h.LeadershipChanged(true)
	token := keysBelow(t, h, "a")
	servertest.Write(t, h.cfg.State, "a", "1")
	servertest.Write(t, h.cfg.State, "b", "1")
	some, _ := keys(t, h, op.Header{Token: token})
	all, ended := keys(t, h.WANSource(), op.Header{Token: token, Filters: true}) // the token counts where it leaves
	expect(t, some, "a=1 true")
	expect(t, all, "a=1 b=1 false")
	servertest.Write(t, h.cfg.State, "b", "2")
	expect(t, all, "a=1 b=2 false")
	servertest.Write(t, h.cfg.State, "a", "2")
	expect(t, all, "a=2 b=2 false")
	if _, ended := keys(t, h, op.Header{Token: "bad"}); op.CodeOf(<-ended) != op.CodeDenied {
		t.Error("a token that is unknown may follow")
	}
	if _, ended := keys(t, h.WANSource(), op.Header{}); op.CodeOf(<-ended) != op.CodeUnsupported {
		t.Error("a datacenter that shows everybody everything is shown everything")
	}
	if _, ended := keys(t, h.WANSource(), op.Header{Datacenter: "dc2"}); op.CodeOf(<-ended) != op.CodeUnknownDatacenter {
		t.Error("a server follows a third datacenter for another")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := h.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; op.CodeOf(err) != op.CodeStopping {
		t.Errorf("ended with %v when the server stopped", err)
	}
}

// moved is a federation whose home moves.
type moved struct {
	Federation
	to atomic.Pointer[removal.Record]
}

func (m *moved) Home() (removal.Record, bool) {
	rec := m.to.Load()
	if rec == nil {
		return removal.Record{}, false
	}
	return *rec, true
}

// What is shown unfiltered is shown to who filters by the records of the same home.
func TestSubscriptionsOfWhoFiltersByAnotherHome(t *testing.T) {
	h := newHarness(t, controlled)
	federation := &moved{}
	h.copies.Connect(copies.Links{Federation: federation})
	h.start(t, nil)
	servertest.Write(t, h.cfg.State, "a", "1")
	ctx := op.WithFollower(t.Context(), "dc9")
	for _, o := range []op.Operation{&kv.List, &catalog.GetDigest} {
		err := h.WANSource().Subscribe(ctx, op.NewCall(o, op.Header{Filters: true, FiltersBy: "dc9"}, &kv.ListRequest{}), func(*op.Reply) error { return nil })
		if op.CodeOf(err) != op.CodeUnsupported {
			t.Errorf("%s is shown to who filters by another home: %v", o.OpName(), err)
		}
	}
	old, ended := keys(t, as{h.WANSource(), "dc1"}, op.Header{Filters: true, FiltersBy: "dc1"})
	third, _ := keys(t, as{h.WANSource(), "dc3"}, op.Header{Filters: true, FiltersBy: "dc1"})
	expect(t, old, "a=1 false")
	expect(t, third, "a=1 false")
	federation.to.Store(&removal.Record{Datacenter: "dc2", Home: true, Version: 1})
	h.HomeChanged()
	if err := <-ended; op.CodeOf(err) != op.CodeLost {
		t.Errorf("what a home that was followed ends with %v", err)
	}
	servertest.Write(t, h.cfg.State, "a", "2")
	expect(t, third, "a=2 false")
}

// as is the subscriber that a server of a datacenter talks to.
type as struct {
	op.Subscriber
	datacenter string
}

func (a as) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	return a.Subscriber.Subscribe(op.WithFollower(ctx, a.datacenter), call, push)
}

// A token that is taken back while its holder follows shows nothing more.
func TestSubscriptionsEndWithTheToken(t *testing.T) {
	h := newHarness(t, controlled)
	remote := &changing{change: make(chan struct{})}
	if err := h.Start(Dependencies{Raft: h.group, LAN: h.pool, Remote: remote, Views: remote}); err != nil {
		t.Fatal(err)
	}
	defer h.Stop(t.Context())
	h.LeadershipChanged(true)
	servertest.Write(t, h.cfg.State, "a", "1")
	token := keysBelow(t, h, "a")
	own, ownEnded := keys(t, h, op.Header{Token: token})
	other, otherEnded := keys(t, h, op.Header{Token: token, Datacenter: "dc2"})
	expect(t, own, "a=1 false")
	expect(t, other, "a= false")
	management := op.Header{Token: servertest.Management}
	found, _, err := acl.GetToken.Call(t.Context(), h, management, &acl.TokenRequest{Secret: token})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := acl.DeleteToken.Call(t.Context(), h, management, &acl.AccessorRequest{Accessor: found.Token.AccessorID}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		pushed chan string
		ended  chan error
	}{{own, ownEnded}, {other, otherEnded}} {
		select {
		case text := <-f.pushed:
			t.Errorf("%q is pushed to a token that is gone", text)
		case err := <-f.ended:
			if op.CodeOf(err) != op.CodeDenied {
				t.Errorf("it ends with %v", err)
			}
		case <-time.After(op.Heartbeat / 2):
			t.Error("it goes on although nothing changes but the rights")
		}
	}
}

// Rights that datacenters have to agree on end what is followed of several of them, too.
func TestSubscriptionsToSeveralDatacentersEndWithTheRights(t *testing.T) {
	h := newHarness(t, controlled)
	remote := &changing{change: make(chan struct{})}
	if err := h.Start(Dependencies{Raft: h.group, LAN: h.pool, Remote: remote, Views: remote}); err != nil {
		t.Fatal(err)
	}
	defer h.Stop(t.Context())
	h.LeadershipChanged(true)
	keysBelow(t, h, "none") // access control has begun
	management := op.Header{Token: servertest.Management}
	policy := acl.Policy{Name: "p", Rules: `key_prefix "a" { policy = "read" }`}
	made, _, err := acl.SetPolicy.Call(t.Context(), h, management, &acl.SetPolicyRequest{Policy: policy, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	grants := acl.Grants{Policies: []acl.Link{{Name: "p"}}, NodeIdentities: []acl.NodeIdentity{{NodeName: "n", Datacenter: h.cfg.Datacenter}}}
	token, _, err := acl.SetToken.Call(t.Context(), h, management, &acl.SetTokenRequest{Token: acl.Token{Grants: grants}, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	pushed, ended := keys(t, h, op.Header{Token: token.SecretID, Datacenter: op.All})
	expect(t, pushed, "a= false")
	policy.ID, policy.Rules = made.ID, ""
	if _, _, err := acl.SetPolicy.Call(t.Context(), h, management, &acl.SetPolicyRequest{Policy: policy}); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-pushed:
		t.Errorf("%q is pushed to who has lost the right", text)
	case err := <-ended:
		if op.CodeOf(err) != op.CodeDenied {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(op.Heartbeat / 2):
		t.Error("it goes on with what was pushed")
	}
}

// changing is a federation whose only result changes when told to.
type changing struct {
	holder
	change chan struct{}
}

func (c *changing) Subscribe(ctx context.Context, _ *op.Call, push func(*op.Reply) error) error {
	for _, list := range []kv.Entries{{{Key: "a"}}, {{Key: "a"}, {Key: "aa"}}} {
		if err := push(op.Share(op.Meta{Index: uint64(len(list))}, &list, new(op.Rendered))); err != nil {
			return err
		}
		select {
		case <-c.change:
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// Who takes his time gets the newest, not all.
func TestWhatChangesWhilePushingIsPushedOnce(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	servertest.Write(t, h.cfg.State, "a", "0")
	pushed, _ := keys(t, h, op.Header{})
	for i := range 100 {
		servertest.Write(t, h.cfg.State, "a", fmt.Sprint(i+1))
	}
	got := 0
	for text := ""; text != "a=100 false"; got++ {
		select {
		case text = <-pushed:
		case <-time.After(5 * time.Second):
			t.Fatal("the newest is not pushed")
		}
	}
	if got > 3 {
		t.Errorf("%d results were pushed", got)
	}
}

func TestSubscriptionsOfAServerThatLostItsLeader(t *testing.T) {
	h := newHarness(t, nil)
	b := h.startBehind(t)
	servertest.Write(t, h.cfg.State, "a", "1")
	pushed, ended := keys(t, h, op.Header{MustCurrent: true})
	expect(t, pushed, "a=1 false")
	b.lag.Store(int64(leaderLost + time.Second))
	servertest.Write(t, h.cfg.State, "a", "2")
	if err := <-ended; op.CodeOf(err) != op.CodeNoLeader {
		t.Errorf("who insists on what is current is told %v", err)
	}
	pushed, _ = keys(t, h, op.Header{})
	expect(t, pushed, "a=2 false")
}

func TestSubscriptionsAreBounded(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	h.followed = limit.New(1)
	pushed, _ := keys(t, h, op.Header{})
	expect(t, pushed, "false")
	if _, ended := keys(t, h, op.Header{}); op.CodeOf(<-ended) != op.CodeBusy {
		t.Error("there is no bound")
	}
}

// Cached reads of the own datacenter come from here, with their age, unless they
// are to be younger than that.
func TestCachedReadsAtHome(t *testing.T) {
	h := newHarness(t, nil)
	b := h.startBehind(t)
	servertest.Write(t, h.cfg.State, "k", "v")
	ask := func(hd op.Header) (op.Meta, error) {
		hd.Consistency = op.Cached
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, meta, err := kv.Get.Call(ctx, h, hd, &kv.GetRequest{Key: "k"})
		return meta, err
	}
	if m, err := ask(op.Header{MustCurrent: true}); err != nil || !m.Hit || m.Age != 0 {
		t.Errorf("%+v %v", m, err)
	}
	b.lag.Store(int64(time.Minute))
	if m, err := ask(op.Header{}); err != nil || !m.Hit || m.Age != time.Minute || m.Consistency != op.Cached {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := ask(op.Header{MaxAge: 2 * time.Minute}); err != nil {
		t.Error(err)
	}
	b.lag.Store(1<<63 - 1) // it has not heard its leader since it began
	if m, err := ask(op.Header{}); err != nil || m.Age != op.Longest || m.LastContact != op.Longest {
		t.Errorf("%+v %v", m, err)
	}
	for _, hd := range []op.Header{{MaxAge: time.Second}, {MaxAge: 10 * 365 * 24 * time.Hour}, {MustCurrent: true}} {
		if _, err := ask(hd); op.CodeOf(err) != op.CodeNoLeader {
			t.Errorf("%+v: %v, want the leader's answer, of which there is none", hd, err)
		}
	}
}

// holder is a federation that answers with all there is.
type holder struct{ list kv.Entries }

func (a holder) Datacenters() []string { return []string{"dc2"} }
func (a holder) Nearest() []string     { return a.Datacenters() }

func (a holder) Do(context.Context, *op.Call) (*op.Reply, error) {
	return op.Share(op.Meta{Index: 5}, &a.list, new(op.Rendered)), nil
}

func (a holder) Subscribe(_ context.Context, _ *op.Call, push func(*op.Reply) error) error {
	if err := push(op.Share(op.Meta{Index: 5}, &a.list, new(op.Rendered))); err != nil {
		return err
	}
	return errors.New("over")
}

// What is kept of another datacenter is unfiltered: the token decides here.
func TestWhatIsKeptOfOthersIsFilteredHere(t *testing.T) {
	h := newHarness(t, controlled)
	remote := holder{kv.Entries{{Key: "a"}, {Key: "b"}}}
	if err := h.Start(Dependencies{Raft: h.group, LAN: h.pool, Remote: remote, Views: remote}); err != nil {
		t.Fatal(err)
	}
	defer h.Stop(t.Context())
	h.LeadershipChanged(true)
	a, b := keysBelow(t, h, "a"), keysBelow(t, h, "b")
	for _, hd := range []op.Header{{Consistency: op.Cached}, {MinIndex: 4}} {
		hd.Datacenter, hd.Token = "dc2", a
		list, meta, err := kv.List.Call(t.Context(), h, hd, &kv.ListRequest{})
		if err != nil || len(*list) != 1 || !meta.Filtered {
			t.Errorf("%+v: %v %+v %v", hd, list, meta, err)
		}
	}
	whole, _ := keys(t, h.Relayed(), op.Header{Datacenter: "dc2"}) // for another server, which filters
	expect(t, whole, "a= b= false")
	for _, dc := range []string{"", "dc1", op.All} {
		if _, ended := keys(t, h.Relayed(), op.Header{Datacenter: dc}); op.CodeOf(<-ended) != op.CodeInvalid {
			t.Errorf("what belongs to %q is passed on unfiltered", dc)
		}
	}
	pushed, _ := keys(t, h, op.Header{Datacenter: "dc2", Token: b})
	expect(t, pushed, "b= true")
	if len(remote.list) != 2 {
		t.Error("what is shared was changed")
	}
}
