package state

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/state/txn"
)

// abroad makes a session of the node n1 of dc1 with the same checks as those of the
// scene's own n1.
func (s *scene) abroad(made session.Session) string {
	s.t.Helper()
	made.Node, made.NodeDatacenter, made.LockDelay = "n1", "dc1", session.DefaultLockDelay
	made.NodeChecks, made.ServiceChecks = []string{catalog.SerfHealth}, []session.ServiceCheck{{ID: "c-w1"}}
	return s.must(&session.Bind, &session.CreateRequest{Session: made}).(*session.CreateResult).ID
}

// Whatever becomes of a node here says nothing of one of the same name in another
// datacenter: its sessions and locks stay.
func TestANodeOfTheSameNameElsewhereIsAnother(t *testing.T) {
	bad := func(id string) *catalog.RegisterRequest {
		return &catalog.RegisterRequest{Node: "n1", SkipNodeUpdate: true, Checks: []catalog.Check{{CheckID: id, Status: catalog.Critical}}}
	}
	for name, change := range map[string]func(*scene){
		"it fails":               func(s *scene) { s.must(&catalog.Register, bad(catalog.SerfHealth)) },
		"a check of its service": func(s *scene) { s.must(&catalog.Register, bad("c-w1")) },
		"the service goes":       func(s *scene) { s.must(&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", ServiceID: "w1"}) },
		"the check goes":         func(s *scene) { s.must(&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", CheckID: "c-w1"}) },
		"the node goes":          func(s *scene) { s.must(&catalog.Deregister, &catalog.DeregisterRequest{Node: "N1"}) },
		"it goes in a transaction": func(s *scene) {
			s.must(&txn.Apply, &txn.Request{Ops: []txn.Op{{Node: &txn.NodeOp{Verb: txn.Delete, Node: catalog.Node{Node: "n1"}}}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			own, far := s.session(""), s.abroad(session.Session{})
			if !s.kv(kv.Lock, "own", own) || !s.kv(kv.Lock, "far", far) {
				t.Fatal("the keys cannot be locked")
			}
			change(s)
			if s.lives(own) || s.entry("own").Session != "" {
				t.Error("the session of the node lives on")
			}
			if !s.lives(far) || s.entry("far").Session != far {
				t.Error("the session of the other datacenter's node has ended")
			}
		})
	}
}

// The reverse: what the leader ends of the other datacenter's node leaves the
// own one's alone, and is an end as any, with its lock-delay and its behavior.
func TestTheEndOfASessionOfAnotherDatacenter(t *testing.T) {
	for _, behavior := range []string{session.Release, session.Delete} {
		s := newScene(t)
		own, far := s.session(""), s.abroad(session.Session{Behavior: behavior})
		if !s.kv(kv.Lock, "own", own) || !s.kv(kv.Lock, "far", far) {
			t.Fatal("the keys cannot be locked")
		}
		list, _ := read(t, s.state, &session.Get, &session.IDRequest{ID: far})
		s.must(&session.Expire, &session.ExpireRequest{Clock: time.Second, Sessions: []session.Expiry{{ID: far, CreateIndex: (*list)[0].CreateIndex}}})
		if s.lives(far) || !s.lives(own) || s.entry("own").Session != own {
			t.Error("not exactly the one that was meant has ended")
		}
		if e := s.entry("far"); (e == nil) != (behavior == session.Delete) || e != nil && e.Session != "" {
			t.Errorf("%s: the key is %+v", behavior, e)
		}
		s.leader.Clock = time.Second + session.DefaultLockDelay - 1
		if s.kv(kv.Lock, "far", own) {
			t.Errorf("%s: it can be locked within the delay", behavior)
		}
		s.leader.Clock++
		if !s.kv(kv.Lock, "far", own) {
			t.Errorf("%s: it cannot be locked after the delay", behavior)
		}
	}
}

func TestSessionsOfOtherDatacentersAreFound(t *testing.T) {
	s := newScene(t)
	own, far := s.session(""), s.abroad(session.Session{})
	timed := s.abroad(session.Session{TTL: "10s"})
	all, _ := read(t, s.state, &session.List, &op.Empty{})
	ofNode, _ := read(t, s.state, &session.ListNode, &session.NodeRequest{Node: "n1"})
	if len(*all) != 3 || len(*ofNode) != 1 || (*ofNode)[0].ID != own {
		t.Errorf("listed are %v, of the node n1 %v", *all, *ofNode)
	}
	v := s.state.View()
	defer v.Close()
	abroad, err := session.Abroad(v)
	if err != nil {
		t.Fatal(err)
	}
	withTTL, err := session.WithTTL(v)
	if err != nil {
		t.Fatal(err)
	}
	for what, list := range map[string]session.Sessions{"those abroad": abroad, "those that end by themselves": withTTL} {
		if got := fmt.Sprint(list[0].ID, " ", list[1].ID); len(list) != 2 || got != far+" "+timed {
			t.Errorf("%s are %v", what, list)
		}
	}
}

func TestSessionBindRefusals(t *testing.T) {
	s := newScene(t)
	for _, c := range []struct {
		made session.Session
		want string
	}{
		{session.Session{Node: "n1"}, "Must provide NodeDatacenter"},
		{session.Session{NodeDatacenter: "dc1"}, "Must provide Node"},
		{session.Session{Node: "n1", NodeDatacenter: "all"}, "is not one datacenter"},
		{session.Session{Node: "n1", NodeDatacenter: "dc1,dc3"}, "is not one datacenter"},
		{session.Session{Node: "n1", NodeDatacenter: strings.Repeat("d", 129)}, "longer than 128 bytes"},
		{session.Session{Node: strings.Repeat("n", 4097), NodeDatacenter: "dc1"}, "longer than 4096 bytes"},
		{session.Session{Node: "n1", NodeDatacenter: "dc1", TTL: "1s"}, "Invalid Session TTL"},
		{session.Session{Node: "n1", NodeDatacenter: "dc1", Behavior: "x"}, "Invalid Behavior"},
		{session.Session{Node: "n1", NodeDatacenter: "dc1", NodeChecks: make([]string, 65)}, "at most 64"},
	} {
		if _, err := s.apply(&session.Bind, &session.CreateRequest{Session: c.made}); op.CodeOf(err) != op.CodeInvalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.made, err, c.want)
		}
	}
	// What session.create means must not depend on a field that older builds do not know.
	if _, err := s.apply(&session.Create, &session.CreateRequest{Session: session.Session{Node: "n1", NodeDatacenter: "dc1"}}); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("session.create takes a node of another datacenter: %v", err)
	}
}

func TestASessionStandsOnWhatItsDatacenterSays(t *testing.T) {
	s := session.Session{Node: "n1", NodeDatacenter: "dc1", NodeChecks: []string{catalog.SerfHealth}, ServiceChecks: []session.ServiceCheck{{ID: "c-w1"}}}
	check := func(id, status string) catalog.Check { return catalog.Check{CheckID: id, Status: status} }
	for _, c := range []struct {
		node *catalog.NodeInfo
		want string
	}{
		{nil, "Missing node registration"},
		{&catalog.NodeInfo{}, "Missing check"},
		{&catalog.NodeInfo{Checks: catalog.Checks{check(catalog.SerfHealth, catalog.Passing)}}, "Missing check 'c-w1'"},
		{&catalog.NodeInfo{Checks: catalog.Checks{check(catalog.SerfHealth, catalog.Critical), check("c-w1", catalog.Passing)}}, "Check 'serfHealth' is in critical"},
		{&catalog.NodeInfo{Checks: catalog.Checks{check(catalog.SerfHealth, catalog.Passing), check("c-w1", catalog.Warning), check("x", catalog.Critical)}}, ""},
	} {
		err := s.StandsOn(c.node)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("on %+v: %v, want %q", c.node, err, c.want)
		}
	}
}
