package state

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/state/txn"
	"github.com/legate-project/legate/storage"
)

// scene is a datacenter with web as w1 on n1, whose check is c-w1, and the
// node's own check.
type scene struct {
	t      *testing.T
	state  *storage.State
	apply  applier
	leader *op.Leader
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s, apply, l := openLed(t)
	sc := &scene{t, s, apply, l}
	node := registerWeb("n1", "w1", catalog.Passing)
	node.Checks = append(node.Checks, catalog.Check{CheckID: catalog.SerfHealth, Status: catalog.Passing})
	sc.must(&catalog.Register, node)
	return sc
}

func (s *scene) must(o op.Operation, req interface {
	MarshalMsg([]byte) ([]byte, error)
}) any {
	s.t.Helper()
	res, err := s.apply(o, req)
	if err != nil {
		s.t.Fatal(err)
	}
	return res
}

// session makes one on n1 that depends on serfHealth and c-w1, with the
// default lock-delay.
func (s *scene) session(behavior string) string {
	s.t.Helper()
	res := s.must(&session.Create, &session.CreateRequest{Session: session.Session{Node: "N1", Behavior: behavior, LockDelay: session.DefaultLockDelay,
		NodeChecks: []string{catalog.SerfHealth}, ServiceChecks: []session.ServiceCheck{{ID: "c-w1"}}}})
	return res.(*session.CreateResult).ID
}

func (s *scene) kv(verb, key, id string) bool {
	s.t.Helper()
	res := s.must(&kv.Apply, &kv.ApplyRequest{Verb: verb, Entry: kv.Entry{Key: key, Value: []byte(verb), Session: id}})
	return res.(*kv.ApplyResult).OK
}

func (s *scene) entry(key string) *kv.Entry {
	s.t.Helper()
	e, _ := read(s.t, s.state, &kv.Get, &kv.GetRequest{Key: key})
	return e
}

func (s *scene) lives(id string) bool {
	s.t.Helper()
	list, _ := read(s.t, s.state, &session.Get, &session.IDRequest{ID: id})
	return len(*list) == 1
}

// A node is spelt as the catalog does, and an ID in any way.
func TestSpellingMakesNoOtherSession(t *testing.T) {
	s := newScene(t)
	id := s.session("")
	list, _ := read(t, s.state, &session.Get, &session.IDRequest{ID: strings.ToUpper(id)})
	if len(*list) != 1 || (*list)[0].Node != "n1" {
		t.Fatalf("the session is %+v", *list)
	}
	upper := strings.ToUpper(id)
	if upper == id {
		t.Fatal("the ID has no letters")
	}
	if !s.kv(kv.Lock, "a", upper) || s.entry("a").Session != id {
		t.Errorf("locked by %q", s.entry("a").Session)
	}
	res := s.must(&txn.Apply, &txn.Request{Ops: []txn.Op{{KV: &txn.KVOp{Verb: txn.CheckSession, Key: "a", Session: upper}}, {KV: &txn.KVOp{Verb: kv.Set, Key: "b"}}}})
	if errs := res.(*txn.Result).Errors; len(errs) > 0 {
		t.Errorf("the check of the holder fails: %v", errs)
	}
	if !s.kv(kv.Unlock, "a", upper) || s.entry("a").Session != "" {
		t.Error("who locked it cannot unlock it")
	}
}

func TestLockIsHeldByOneSession(t *testing.T) {
	s := newScene(t)
	a, b := s.session(""), s.session("")
	steps := []struct {
		verb, id string
		ok       bool
		holder   string
		times    uint64
	}{
		{kv.Unlock, a, false, "", 0},
		{kv.Lock, a, true, a, 1},
		{kv.Lock, a, true, a, 1}, // held already: not another acquisition
		{kv.Lock, b, false, a, 1},
		{kv.Unlock, b, false, a, 1},
		{kv.Set, "", true, a, 1}, // writing does not take the lock away
		{kv.Unlock, a, true, "", 1},
		{kv.Lock, b, true, b, 2}, // no delay: it was given back
		{kv.Delete, "", true, "", 0},
		{kv.Lock, a, true, a, 1},
	}
	for i, st := range steps {
		if got := s.kv(st.verb, "k", st.id); got != st.ok {
			t.Errorf("step %d %s: %v, want %v", i, st.verb, got, st.ok)
		}
		e := s.entry("k")
		if e == nil {
			e = &kv.Entry{}
		}
		if e.Session != st.holder || e.LockIndex != st.times {
			t.Errorf("step %d %s: held by %q, locked %d times, want %q and %d", i, st.verb, e.Session, e.LockIndex, st.holder, st.times)
		}
	}
}

func TestLockNeedsASessionThatIsThere(t *testing.T) {
	s := newScene(t)
	_, err := s.apply(&kv.Apply, &kv.ApplyRequest{Verb: kv.Lock, Entry: kv.Entry{Key: "k", Session: "none"}})
	if err == nil || !strings.Contains(err.Error(), "invalid session") {
		t.Errorf("error %v", err)
	}
	_, err = s.apply(&kv.Apply, &kv.ApplyRequest{Verb: kv.Lock, Entry: kv.Entry{Key: "k"}})
	if op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("without a session: %v", err)
	}
	if s.entry("k") != nil {
		t.Error("a lock that was refused left a key")
	}
}

func TestSessionCreateRefusals(t *testing.T) {
	s := newScene(t)
	s.must(&catalog.Register, &catalog.RegisterRequest{Node: "n1", SkipNodeUpdate: true, Checks: []catalog.Check{{CheckID: "bad", Status: catalog.Critical}}})
	for _, c := range []struct {
		make session.Session
		text string
	}{
		{session.Session{}, "Must provide Node"},
		{session.Session{Node: "n7"}, "Missing node registration"},
		{session.Session{Node: "n1", NodeChecks: []string{"x"}}, "Missing check 'x' registration"},
		{session.Session{Node: "n1", ServiceChecks: []session.ServiceCheck{{ID: "x"}}}, "Missing check 'x' registration"},
		{session.Session{Node: "n1", NodeChecks: []string{"bad"}}, "Check 'bad' is in critical state"},
		{session.Session{Node: "n1", Behavior: "keep"}, "Invalid Behavior setting 'keep'"},
		{session.Session{Node: "n1", TTL: "9s"}, "Invalid Session TTL '9s', must be between [10s=24h0m0s]"},
		{session.Session{Node: "n1", TTL: "25h"}, "Invalid Session TTL '25h', must be between [10s=24h0m0s]"},
		{session.Session{Node: "n1", TTL: "soon"}, "Session TTL 'soon' invalid: invalid duration"},
		{session.Session{Node: "n1", TTL: strings.Repeat("0", 1000) + "20s"}, "longer than 128 bytes"},
		{session.Session{Node: "n1", Name: strings.Repeat("x", 5000)}, "longer than 4096 bytes"},
		{session.Session{Node: "n1", ServiceChecks: []session.ServiceCheck{{ID: "c-w1", Namespace: strings.Repeat("x", 200)}}}, "longer than 128 bytes"},
		{session.Session{Node: "n1", LockDelay: -1}, "Invalid LockDelay"},
		{session.Session{Node: "n1", NodeChecks: make([]string, 65)}, "at most 64"},
	} {
		_, err := s.apply(&session.Create, &session.CreateRequest{Session: c.make})
		if err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: error %v, want %q", c.make, err, c.text)
		}
	}
	if list, _ := read(t, s.state, &session.List, &op.Empty{}); len(*list) != 0 {
		t.Errorf("sessions were made: %+v", *list)
	}
}

// Whatever a session depends on takes it and its locks away in one command,
// and what it does not depend on does not.
func TestWhatEndsASession(t *testing.T) {
	check := func(id, status string) *catalog.RegisterRequest {
		return &catalog.RegisterRequest{Node: "n1", SkipNodeUpdate: true, Checks: []catalog.Check{{CheckID: id, Status: status}}}
	}
	for name, c := range map[string]struct {
		operation op.Operation
		request   interface {
			MarshalMsg([]byte) ([]byte, error)
		}
		ends bool
	}{
		"destroy":                  {&session.Destroy, &session.DestroyRequest{ID: "id-1"}, true},
		"destroy another":          {&session.Destroy, &session.DestroyRequest{ID: "id-9"}, false},
		"TTL":                      {&session.Expire, &session.ExpireRequest{Sessions: []session.Expiry{{ID: "id-1", CreateIndex: 2}}}, true},
		"TTL of its namesake":      {&session.Expire, &session.ExpireRequest{Sessions: []session.Expiry{{ID: "id-1", CreateIndex: 1}}}, false},
		"node deregistered":        {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1"}, true},
		"another node":             {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n2"}, false},
		"node check critical":      {&catalog.Register, check(catalog.SerfHealth, catalog.Critical), true},
		"node check warning":       {&catalog.Register, check(catalog.SerfHealth, catalog.Warning), false},
		"another check critical":   {&catalog.Register, check("other", catalog.Critical), false},
		"node check deregistered":  {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", CheckID: catalog.SerfHealth}, true},
		"service check gone":       {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", CheckID: "c-w1"}, true},
		"service deregistered":     {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", ServiceID: "w1"}, true},
		"another service":          {&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1", ServiceID: "w2"}, false},
		"the node's ID moves away": {&catalog.Register, &catalog.RegisterRequest{Node: "n5", ID: "ab000000-0000-4000-8000-000000000001", Address: "10.0.0.5"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			id := s.session(session.Release)
			if name == "the node's ID moves away" {
				// As it is for a member that came under another name: the node is dead.
				s.must(&catalog.Register, &catalog.RegisterRequest{Node: "n1", ID: "ab000000-0000-4000-8000-000000000001", Address: "10.0.0.1"})
				id = s.orphan("n1")
			}
			if !s.kv(kv.Lock, "k", id) {
				t.Fatal("the key cannot be locked")
			}
			s.must(c.operation, c.request)
			if s.lives(id) == c.ends {
				t.Errorf("the session lives: %v", s.lives(id))
			}
			e := s.entry("k")
			if e == nil || (e.Session == "") != c.ends {
				t.Fatalf("the key is %+v", e)
			}
			if c.ends && e.ModifyIndex != s.state.Index() {
				t.Errorf("the key was released at %d, not in the command at %d", e.ModifyIndex, s.state.Index())
			}
		})
	}
}

// orphan makes a session without checks on a node, whose serfHealth is gone then.
func (s *scene) orphan(node string) string {
	s.t.Helper()
	res := s.must(&session.Create, &session.CreateRequest{Session: session.Session{Node: node}})
	s.must(&catalog.Deregister, &catalog.DeregisterRequest{Node: node, CheckID: catalog.SerfHealth})
	return res.(*session.CreateResult).ID
}

func TestBehaviorDeleteDeletesWhatIsHeld(t *testing.T) {
	s := newScene(t)
	id := s.session(session.Delete)
	s.kv(kv.Lock, "held", id)
	s.kv(kv.Set, "free", "")
	_, before := read(t, s.state, &kv.List, &kv.ListRequest{})
	s.must(&session.Destroy, &session.DestroyRequest{ID: id})
	if s.entry("held") != nil || s.entry("free") == nil {
		t.Error("not exactly the held key is gone")
	}
	if _, after := read(t, s.state, &kv.List, &kv.ListRequest{}); after <= before {
		t.Errorf("the index of the prefix went from %d to %d", before, after)
	}
}

func TestLockDelayRunsOnTheAxisOfTime(t *testing.T) {
	for _, delay := range []time.Duration{session.DefaultLockDelay, 5 * time.Minute, math.MaxInt64} {
		s := newScene(t)
		s.leader.Clock = 100 * time.Second
		b := s.session(session.Release)
		a := s.must(&session.Create, &session.CreateRequest{Session: session.Session{Node: "n1", LockDelay: delay}}).(*session.CreateResult).ID
		s.kv(kv.Lock, "k", a)
		s.must(&session.Destroy, &session.DestroyRequest{ID: a})
		end := 100*time.Second + delay
		if delay == math.MaxInt64 { // for as long as the axis goes
			end = math.MaxInt64
		}
		for _, c := range []struct {
			clock time.Duration
			ok    bool
		}{
			{100 * time.Second, false},
			{0, false}, // a leader that knows nothing of time
			{end - 1, false},
			{50 * time.Second, false}, // time does not go back
			{end, true},
		} {
			s.leader.Clock = c.clock
			if got := s.kv(kv.Lock, "k", b); got != c.ok {
				t.Errorf("a delay of %v at %v: %v, want %v", delay, c.clock, got, c.ok)
			}
		}
	}
}

func TestLockDelayIsForKeysOfInvalidatedSessionsOnly(t *testing.T) {
	s := newScene(t)
	a, b := s.session(session.Delete), s.session("")
	s.kv(kv.Lock, "held", a)
	s.kv(kv.Lock, "given-back", a)
	s.kv(kv.Unlock, "given-back", a)
	s.must(&session.Destroy, &session.DestroyRequest{ID: a})
	if s.kv(kv.Lock, "held", b) {
		t.Error("a key that was deleted with its session can be locked at once")
	}
	if !s.kv(kv.Lock, "given-back", b) {
		t.Error("a key that was given back cannot be locked")
	}
	if !s.kv(kv.Set, "held", "") {
		t.Error("a delay keeps a key from being written")
	}
}

func TestPassedDelaysAreForgotten(t *testing.T) {
	s := newScene(t)
	const keys = 3
	a := s.session("")
	for i := range keys {
		s.kv(kv.Lock, fmt.Sprint("k", i), a)
	}
	s.must(&session.Destroy, &session.DestroyRequest{ID: a})
	delayed := func() bool {
		v := s.state.View()
		defer v.Close()
		next, err := kv.NextDelay(v)
		if err != nil {
			t.Fatal(err)
		}
		if next != nil && next.Until != session.DefaultLockDelay {
			t.Errorf("the next delay is %+v", next)
		}
		return next != nil
	}
	s.must(&kv.Pass, &kv.PassRequest{Clock: session.DefaultLockDelay - 1})
	if !delayed() {
		t.Error("delays were forgotten that are not over")
	}
	s.must(&kv.Pass, &kv.PassRequest{Clock: session.DefaultLockDelay})
	if delayed() {
		t.Error("delays that are over are remembered")
	}
}

// Whoever waits for a key or for sessions is woken by what concerns it and by
// nothing else.
func TestSessionsAndLocksWakeExactly(t *testing.T) {
	s := newScene(t)
	a := s.session("")
	watch := func(query func(*storage.View) error) *storage.Watch {
		w, err := s.state.Watch(query)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Close)
		return w
	}
	key := func(k string) *storage.Watch {
		return watch(func(v *storage.View) error { _, err := kv.Get.Query(v, &kv.GetRequest{Key: k}); return err })
	}
	sessions := func() *storage.Watch {
		return watch(func(v *storage.View) error { _, err := session.List.Query(v, &op.Empty{}); return err })
	}
	on := func(node string) *storage.Watch {
		return watch(func(v *storage.View) error {
			_, err := session.ListNode.Query(v, &session.NodeRequest{Node: node})
			return err
		})
	}
	for _, step := range []struct {
		name              string
		do                func()
		k, list, n1, none bool
	}{
		{"lock", func() { s.kv(kv.Lock, "k", a) }, true, false, false, false},
		{"unlock", func() { s.kv(kv.Unlock, "k", a) }, true, false, false, false},
		{"create", func() { s.session("") }, false, true, true, false},
		{"lock refused", func() { s.kv(kv.Lock, "k", a); s.kv(kv.Lock, "k", "id-2") }, true, false, false, false},
		{"destroy", func() { s.must(&session.Destroy, &session.DestroyRequest{ID: a}) }, true, true, true, false},
		{"time passes", func() { s.must(&kv.Pass, &kv.PassRequest{Clock: time.Hour}) }, false, false, false, false},
	} {
		k, other, list, n1, n2 := key("k"), key("other"), sessions(), on("n1"), on("n2")
		step.do()
		for what, w := range map[string]struct {
			watch *storage.Watch
			want  bool
		}{"k": {k, step.k}, "other key": {other, false}, "list": {list, step.list}, "n1": {n1, step.n1}, "n2": {n2, step.none}} {
			if w.watch.Stale() != w.want {
				t.Errorf("%s wakes who waits for %s: %v", step.name, what, w.watch.Stale())
			}
		}
	}
}
