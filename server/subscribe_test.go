package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/limit"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl/rules"
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

// reader may see the keys below a prefix.
type reader string

func (r reader) Allow(_ rules.Resource, access rules.Access, name string) bool {
	return access == rules.List || strings.HasPrefix(name, string(r))
}
func (r reader) Who() string { return "reader of " + string(r) }

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
	h := newHarness(t, func(c *Config) {
		c.Authorizer = func(token string) (rules.Authorizer, error) {
			switch token {
			case "":
				return rules.AllowAll(), nil
			case "bad":
				return nil, op.Errorf(op.CodeDenied, "ACL not found")
			}
			return reader(token), nil
		}
	})
	h.start(t, nil)
	servertest.Write(t, h.cfg.State, "a", "1")
	servertest.Write(t, h.cfg.State, "b", "1")
	some, _ := keys(t, h, op.Header{Token: "a"})
	all, ended := keys(t, h.WANSource(), op.Header{Token: "a"}) // the token counts where it leaves
	expect(t, some, "a=1 true")
	expect(t, all, "a=1 b=1 false")
	servertest.Write(t, h.cfg.State, "b", "2")
	expect(t, all, "a=1 b=2 false")
	servertest.Write(t, h.cfg.State, "a", "2")
	expect(t, all, "a=2 b=2 false")
	if _, ended := keys(t, h, op.Header{Token: "bad"}); op.CodeOf(<-ended) != op.CodeDenied {
		t.Error("a token that is unknown may follow")
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

// A token that is taken back while its holder follows shows nothing more.
func TestSubscriptionsEndWithTheToken(t *testing.T) {
	var gone atomic.Bool
	h := newHarness(t, func(c *Config) {
		c.Authorizer = func(token string) (rules.Authorizer, error) {
			if gone.Load() && token != "" {
				return nil, op.Errorf(op.CodeDenied, "ACL not found")
			}
			return reader(token), nil
		}
	})
	remote := &changing{change: make(chan struct{})}
	if err := h.Start(Dependencies{Raft: h.group, LAN: h.pool, Remote: remote, Views: remote}); err != nil {
		t.Fatal(err)
	}
	defer h.Stop(t.Context())
	servertest.Write(t, h.cfg.State, "a", "1")
	own, ownEnded := keys(t, h, op.Header{Token: "a"})
	other, otherEnded := keys(t, h, op.Header{Token: "a", Datacenter: "dc2"})
	expect(t, own, "a=1 false")
	expect(t, other, "a= false")
	gone.Store(true)
	servertest.Write(t, h.cfg.State, "a", "2")
	close(remote.change)
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
		}
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
		<-c.change
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
	h := newHarness(t, func(c *Config) {
		c.Authorizer = func(token string) (rules.Authorizer, error) { return reader(token), nil }
	})
	remote := holder{kv.Entries{{Key: "a"}, {Key: "b"}}}
	if err := h.Start(Dependencies{Raft: h.group, LAN: h.pool, Remote: remote, Views: remote}); err != nil {
		t.Fatal(err)
	}
	defer h.Stop(t.Context())
	for _, hd := range []op.Header{{Consistency: op.Cached}, {MinIndex: 4}} {
		hd.Datacenter, hd.Token = "dc2", "a"
		list, meta, err := kv.List.Call(t.Context(), h, hd, &kv.ListRequest{})
		if err != nil || len(*list) != 1 || !meta.Filtered {
			t.Errorf("%+v: %v %+v %v", hd, list, meta, err)
		}
	}
	pushed, _ := keys(t, h, op.Header{Datacenter: "dc2", Token: "b"})
	expect(t, pushed, "b= true")
	if len(remote.list) != 2 {
		t.Error("what is shared was changed")
	}
}
