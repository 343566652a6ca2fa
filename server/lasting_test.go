package server

import (
	"context"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/catalog"
)

// web asks for the instances of a service, and whether the answer lasts.
func web(t *testing.T, h *harness, hd op.Header) (n int, filtered bool, l op.Lasting) {
	t.Helper()
	list, reply, err := catalog.ListInstances.Ask(t.Context(), h, hd, &catalog.ServiceRequest{Service: "web"})
	if err != nil {
		t.Fatal(err)
	}
	return len(*list), reply.Meta.Filtered, reply.Lasting()
}

// An answer lasts until what it was made of changes, or what who asked may see.
func TestAnswersLastUntilAChange(t *testing.T) {
	h := newHarness(t, controlled)
	h.start(t, nil)
	h.LeadershipChanged(true)
	manager := op.Header{Token: servertest.Management}
	secret := servertest.Secret(t, h, `node "n1" { policy = "read" } service "web" { policy = "read" }`)
	register := func(node string) {
		t.Helper()
		req := &catalog.RegisterRequest{Node: node, Address: "10.0.0.1", Service: &catalog.Service{ID: "web", Service: "web", Port: 1}}
		if _, _, err := catalog.Register.Call(t.Context(), h, manager, req); err != nil {
			t.Fatal(err)
		}
	}
	register("n1")
	register("n2")
	asked := op.Header{Token: secret, Consistency: op.Cached}
	n, filtered, l := web(t, h, asked)
	if n != 1 || !filtered || l == nil || !l.Lasts(time.Now()) {
		t.Fatalf("%d instances, filtered is %v, it lasts: %v", n, filtered, l)
	}
	for _, hd := range []op.Header{{Token: secret}, {Token: secret, Consistency: op.Stale}, {Token: secret, Consistency: op.Consistent}} {
		if _, _, l := web(t, h, hd); l != nil {
			t.Errorf("an answer in the mode %s lasts", hd.Consistency)
		}
	}
	register("n3")
	if l.Lasts(time.Now()) {
		t.Error("it lasts after another instance was registered")
	}
	_, _, l = web(t, h, asked)
	if !l.Lasts(time.Now()) {
		t.Fatal("the next answer does not last")
	}
	who, _, err := acl.ResolveSecret.Call(t.Context(), h, op.Header{}, &acl.ResolveRequest{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := acl.SetToken.Call(t.Context(), h, manager, &acl.SetTokenRequest{Token: acl.Token{AccessorID: who.Accessor}}); err != nil {
		t.Fatal(err)
	}
	if l.Lasts(time.Now()) {
		t.Error("it lasts after the token has lost its rights")
	}
}

// What a server holds that does not hear its leader is not current.
func TestNothingLastsWithoutALeader(t *testing.T) {
	h := newHarness(t, nil)
	b := h.startBehind(t)
	h.group.Commit(t, &catalog.Register, &catalog.RegisterRequest{Node: "n1", Address: "10.0.0.1", Service: &catalog.Service{ID: "web", Service: "web"}})
	n, _, l := web(t, h, op.Header{Consistency: op.Cached})
	if n != 1 || l == nil || !l.Lasts(time.Now()) {
		t.Fatalf("%d instances, it lasts: %v", n, l)
	}
	b.lag.Store(int64(op.LeaderSilence + time.Second))
	if l.Lasts(time.Now().Add(hearsFor)) {
		t.Error("it lasts though the leader is silent")
	}
	if _, _, l := web(t, h, op.Header{Consistency: op.Cached}); l != nil {
		t.Error("an answer that is not current lasts")
	}
	b.lag.Store(0)
	if !l.Lasts(time.Now().Add(hearsFor)) {
		t.Error("it does not last though nothing has changed")
	}
}

// lastingRemote is a federation that answers with what lasts.
type lastingRemote struct{ holderOfWeb }

type holderOfWeb struct{ list catalog.Instances }

func (holderOfWeb) Datacenters() []string { return []string{"dc2"} }
func (holderOfWeb) Nearest() []string     { return []string{"dc2"} }
func (r lastingRemote) Do(context.Context, *op.Call) (*op.Reply, error) {
	return op.Share(op.Meta{Index: 5}, &r.list, new(op.Rendered)).While(always{}), nil
}

type always struct{}

func (always) Lasts(time.Time) bool { return true }

// What is kept of another datacenter lasts for who may see it as long as that is so.
func TestAnswersOfOthersLastAsLongAsRights(t *testing.T) {
	h := newHarness(t, controlled)
	remote := lastingRemote{holderOfWeb{catalog.Instances{{Node: &catalog.Node{Node: "n1"}, Service: &catalog.Service{Service: "web"}}}}}
	h.start(t, remote)
	h.LeadershipChanged(true)
	manager := op.Header{Token: servertest.Management}
	secret := servertest.Secret(t, h, `node "n1" { policy = "read" } service "web" { policy = "read" }`)
	asked := op.Header{Datacenter: "dc2", Token: secret, Consistency: op.Cached}
	n, _, l := web(t, h, asked)
	if n != 1 || l == nil || !l.Lasts(time.Now()) {
		t.Fatalf("%d instances, it lasts: %v", n, l)
	}
	asked.Datacenter = op.All
	if _, _, l := web(t, h, asked); l != nil {
		t.Error("what several datacenters let be seen lasts")
	}
	who, _, err := acl.ResolveSecret.Call(t.Context(), h, op.Header{}, &acl.ResolveRequest{Secret: secret})
	if err == nil {
		_, _, err = acl.DeleteToken.Call(t.Context(), h, manager, &acl.AccessorRequest{Accessor: who.Accessor})
	}
	if err != nil {
		t.Fatal(err)
	}
	if l.Lasts(time.Now()) {
		t.Error("it lasts after the token was deleted")
	}
}
