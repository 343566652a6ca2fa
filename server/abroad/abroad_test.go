package abroad_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/abroad"
	"github.com/legate-project/legate/server/leader"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
)

// others are the other datacenters as views of them show them.
type others struct {
	mu      sync.Mutex
	nodes   map[string]*catalog.NodeInfo // by datacenter/node
	age     time.Duration
	err     error
	index   uint64
	changed chan struct{}
}

func (o *others) change(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
	o.index++
	close(o.changed)
	o.changed = make(chan struct{})
}

// set gives a node serfHealth with that status; "" takes the node away.
func (o *others) set(at, status string) {
	o.change(func() {
		_, name, _ := strings.Cut(at, "/")
		o.nodes[at] = &catalog.NodeInfo{Node: name, Checks: catalog.Checks{{CheckID: catalog.SerfHealth, Status: status}}}
		if status == "" {
			delete(o.nodes, at)
		}
	})
}

// silence has nobody be followed, for a reason; nil ends that.
func (o *others) silence(err error) { o.change(func() { o.err = err }) }

// old has what is said be that old.
func (o *others) old(age time.Duration) { o.change(func() { o.age = age }) }

// Subscribe implements op.Subscriber.
func (o *others) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	request, err := call.Request()
	if err != nil {
		return err
	}
	at := call.Header.Datacenter + "/" + request.(*catalog.NodeRequest).Node
	beat := time.NewTicker(op.Heartbeat)
	defer beat.Stop()
	last := uint64(0)
	for {
		o.mu.Lock()
		m := op.Meta{Index: o.index, Age: o.age, KnownLeader: true, Datacenter: call.Header.Datacenter, Consistency: op.Cached}
		var info any
		if n := o.nodes[at]; n != nil {
			info = n
		}
		err, changed := o.err, o.changed
		o.mu.Unlock()
		if err != nil {
			return err
		}
		if m.Index == last {
			m.Index, info = 0, nil
		} else {
			last = m.Index
		}
		if err := push(op.NewReply(m, info)); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-beat.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errCut = &op.Error{Code: op.CodeUnreachableDatacenter, Text: "No path to datacenter", Datacenter: "dc1"}

// site is a leader of dc2.
type site struct {
	t *testing.T
	*leader.Duties
	others *others
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, others: &others{nodes: map[string]*catalog.NodeInfo{}, index: 1, changed: make(chan struct{})}}
	st, machine := servertest.OpenState(t), state.New()
	nodes := abroad.New(abroad.Config{Datacenter: "dc2", State: st, Leader: func() abroad.Leader { return s.Duties }, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
	nodes.Connect(s.others)
	s.Duties = leader.New(leader.Config{Datacenter: "dc2", NodeName: "s1", NodeID: servertest.UID("1"), State: st, Machine: machine,
		CoordinatePeriod: 5 * time.Second, ReconcilePeriod: time.Minute, TombstoneTTL: 15 * time.Minute, TombstonePeriod: 30 * time.Second,
		Tasks:      map[string]func(context.Context){"nodes abroad": nodes.Run},
		Conditions: map[string]func(context.Context, any) error{session.Bind.Name: nodes.Admit},
		Transport:  servertest.Silence{}, Log: logging.Discard(), Registerer: prometheus.NewRegistry(),
		Authorizer: func(string) (rules.Authorizer, error) { return rules.AllowAll(), nil }})
	s.others.set("dc1/n1", catalog.Passing)
	if err := s.Start(servertest.NewGroup(st, machine), servertest.NewPool()); err != nil {
		t.Fatal(err)
	}
	s.LeadershipChanged(true)
	synctest.Wait()
	return s
}

func (s *site) stop() {
	if err := s.Stop(context.Background()); err != nil {
		s.t.Error(err)
	}
}

// inBubble runs a test with a leader in virtual time.
func inBubble(t *testing.T, test func(t *testing.T, s *site)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.stop()
		test(t, s)
	})
}

func (s *site) bind(made session.Session) (string, error) {
	if made.Node == "" {
		made.Node, made.NodeDatacenter = "n1", "dc1"
	}
	made.NodeChecks = []string{catalog.SerfHealth}
	res, _, err := session.Bind.Call(s.t.Context(), s.Self(), op.Header{}, &session.CreateRequest{Session: made})
	if err != nil {
		return "", err
	}
	return res.ID, nil
}

func (s *site) must(made session.Session) string {
	s.t.Helper()
	id, err := s.bind(made)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// renew is what a client does.
func (s *site) renew(id string) bool {
	s.t.Helper()
	for _, h := range s.Handlers() {
		if h.Operation.OpName() == session.Renew.Name {
			_, err := h.Answer(s.t.Context(), op.Header{}, &session.IDRequest{ID: id})
			return err == nil
		}
	}
	s.t.Fatal("nobody renews")
	return false
}

func (s *site) lock(key, id string) bool {
	s.t.Helper()
	res, _, err := kv.Apply.Call(s.t.Context(), s.Self(), op.Header{}, &kv.ApplyRequest{Verb: kv.Lock, Entry: kv.Entry{Key: key, Session: id}})
	if err != nil {
		s.t.Fatal(err)
	}
	return res.OK
}

// lives reports whether the session is there: who has it can lock a key of its own.
func (s *site) lives(id string) bool {
	s.t.Helper()
	_, _, err := kv.Apply.Call(s.t.Context(), s.Self(), op.Header{}, &kv.ApplyRequest{Verb: kv.Lock, Entry: kv.Entry{Key: "of " + id, Session: id}})
	return err == nil
}

// life is how long the session lives from now on; limit if it still does then.
func (s *site) life(id string, limit time.Duration) time.Duration {
	s.t.Helper()
	began := time.Now()
	for s.lives(id) && time.Since(began) < limit {
		<-time.After(250 * time.Millisecond)
	}
	return time.Since(began)
}

func (s *site) between(what string, got, least, most time.Duration) {
	s.t.Helper()
	if got < least || got > most {
		s.t.Errorf("%s after %v, want %v to %v", what, got, least, most)
	}
}

// What ends a session of a node of another datacenter, and when.
func TestTheLifeOfASession(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct {
		name        string
		ttl         string
		then        func(s *site)
		least, most time.Duration
	}{
		{"its datacenter vouches for the node", "", func(*site) {}, hour, hour + time.Second},
		{"the node fails", "", func(s *site) { s.others.set("dc1/n1", catalog.Critical) }, time.Second, 2 * time.Second},
		{"the node fails, with a TTL", "1h", func(s *site) { s.others.set("dc1/n1", catalog.Critical) }, time.Second, 2 * time.Second},
		{"the node goes", "", func(s *site) { s.others.set("dc1/n1", "") }, time.Second, 2 * time.Second},
		{"a warning", "", func(s *site) { s.others.set("dc1/n1", catalog.Warning) }, hour, hour + time.Second},
		{"a node of that name fails in a third datacenter", "", func(s *site) { s.others.set("dc3/n1", catalog.Critical) }, hour, hour + time.Second},
		{"a cut that lasts", "", func(s *site) { s.others.silence(errCut) }, session.Unvouched - op.Heartbeat, session.Unvouched + time.Second},
		{"its datacenter has no leader", "", func(s *site) { s.others.old(time.Second) }, session.Unvouched - op.Heartbeat, session.Unvouched + time.Second},
		{"it has none, and what it knew is a failing", "", func(s *site) {
			s.others.old(time.Second)
			s.others.set("dc1/n1", catalog.Critical)
		}, session.Unvouched - op.Heartbeat, session.Unvouched + time.Second},
		{"a shorter cut", "", func(s *site) {
			s.others.silence(errCut)
			<-time.After(session.Unvouched - 2*op.Heartbeat)
			s.others.silence(nil)
		}, hour, hour + time.Second},
		{"a shorter cut in which the node fails", "", func(s *site) {
			s.others.silence(errCut)
			<-time.After(20 * time.Second)
			s.others.set("dc1/n1", catalog.Critical)
			s.others.silence(nil)
		}, time.Second, 3 * time.Second},
		{"a new leader in a cut", "", func(s *site) {
			s.others.silence(errCut)
			<-time.After(30 * time.Second)
			s.LeadershipChanged(false)
			s.LeadershipChanged(true)
		}, session.Unvouched, session.Unvouched + 2*time.Second},
		{"a new leader", "", func(s *site) { s.LeadershipChanged(false); s.LeadershipChanged(true) }, hour, hour + time.Second},
		{"a new leader, then the node fails", "", func(s *site) {
			s.LeadershipChanged(false)
			s.LeadershipChanged(true)
			s.others.set("dc1/n1", catalog.Critical)
		}, time.Second, 4 * time.Second},
		{"a restored snapshot, then the node goes", "", func(s *site) { s.Renew(); s.others.set("dc1/n1", "") }, time.Second, 4 * time.Second},
		{"nobody renews, though the node is there", "10s", func(*site) {}, 10 * time.Second, 21 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *site) {
				id := s.must(session.Session{TTL: c.ttl})
				if c.ttl == "" {
					<-time.After(10 * time.Minute)
				}
				if !s.lives(id) {
					t.Fatal("it has ended already")
				}
				c.then(s)
				s.between("ends", s.life(id, hour), c.least, c.most)
			})
		})
	}
}

// A client that renews stands up for its session by itself, as long as the datacenter of
// its node says nothing.
func TestAClientRenewsInACut(t *testing.T) {
	for _, ttl := range []string{"", "10s"} {
		inBubble(t, func(t *testing.T, s *site) {
			id := s.must(session.Session{TTL: ttl})
			s.others.silence(errCut)
			for range 100 {
				<-time.After(15 * time.Second)
				if !s.renew(id) {
					t.Fatalf("TTL %q: a session that is renewed has ended", ttl)
				}
			}
			s.between("ends", s.life(id, time.Hour), 10*time.Second, session.Unvouched+time.Second)
		})
	}
}

// A check that is critical for a moment, as a server shows it that has not caught
// up, ends nothing.
func TestAMomentEndsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		id := s.must(session.Session{})
		for range 100 {
			s.others.set("dc1/n1", "")
			<-time.After(700 * time.Millisecond)
			s.others.set("dc1/n1", catalog.Passing)
			<-time.After(time.Second)
		}
		if !s.lives(id) {
			t.Error("the session has ended")
		}
	})
}

// Who comes after gets the lock when the lock-delay is over, and not before.
func TestTheNextHolderWaitsForTheDelay(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		s.others.set("dc1/n2", catalog.Passing)
		first := s.must(session.Session{LockDelay: 15 * time.Second})
		next := s.must(session.Session{Node: "n2", NodeDatacenter: "dc1"})
		if !s.lock("k", first) || s.lock("k", next) {
			t.Fatal("not exactly the first one holds")
		}
		s.others.set("dc1/n1", catalog.Critical)
		for s.lives(first) {
			<-time.After(50 * time.Millisecond)
		}
		ended := time.Now()
		for !s.lock("k", next) {
			<-time.After(50 * time.Millisecond)
		}
		s.between("the lock is free", time.Since(ended), 15*time.Second-100*time.Millisecond, 16*time.Second)
	})
}

// More sessions than one command ends.
func TestAllSessionsOfANodeEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		var all []string
		for range 3*session.MaxExpiries + 1 {
			all = append(all, s.must(session.Session{}))
		}
		s.others.set("dc1/n2", catalog.Passing)
		other := s.must(session.Session{Node: "n2", NodeDatacenter: "dc1"})
		<-time.After(5 * time.Second)
		s.others.set("dc1/n1", catalog.Critical)
		<-time.After(3 * time.Second)
		left := 0
		for _, id := range all {
			if s.lives(id) {
				left++
			}
		}
		if left > 0 || !s.lives(other) {
			t.Errorf("%d of %d live on, that of another node: %v", left, len(all), s.lives(other))
		}
	})
}

func TestWhoIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(s *site)
		made   session.Session
		code   op.Code
		want   string
	}{
		{"the node is unknown", func(*site) {}, session.Session{Node: "n7", NodeDatacenter: "dc1"}, op.CodeConflict, "Missing node registration"},
		{"the node has failed", func(s *site) { s.others.set("dc1/n1", catalog.Critical) }, session.Session{}, op.CodeConflict, "critical"},
		{"it is spelt apart", func(s *site) {
			s.others.change(func() { s.others.nodes["dc1/N1"] = s.others.nodes["dc1/n1"] })
		}, session.Session{Node: "N1", NodeDatacenter: "dc1"}, op.CodeInvalid, `spelt "n1"`},
		{"its own datacenter", func(*site) {}, session.Session{Node: "n1", NodeDatacenter: "dc2"}, op.CodeInvalid, "leave NodeDatacenter out"},
		{"it cannot be reached", func(s *site) { s.others.silence(errCut) }, session.Session{}, op.CodeUnreachableDatacenter, "dc1 cannot be asked"},
		{"the way there was lost", func(s *site) { s.others.silence(op.Errorf(op.CodeLost, "stream broke")) }, session.Session{}, op.CodeUnreachableDatacenter, "stream broke"},
		{"it has no leader", func(s *site) { s.others.old(time.Second) }, session.Session{}, op.CodeUnreachableDatacenter, "nothing that is current"},
		{"nobody leads here", func(s *site) { s.LeadershipChanged(false) }, session.Session{}, op.CodeNotLeader, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *site) {
				c.before(s)
				began := time.Now()
				_, err := s.bind(c.made)
				if op.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.want) {
					t.Errorf("error %v (%v), want %v %q", err, op.CodeOf(err), c.code, c.want)
				}
				s.between("it is said", time.Since(began), 0, 5*time.Second)
			})
		})
	}
}

// A server that has not caught up yet may not know a node that has just come.
func TestWhoHasJustComeIsAdmitted(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		time.AfterFunc(500*time.Millisecond, func() { s.others.set("dc1/new", catalog.Passing) })
		if _, err := s.bind(session.Session{Node: "new", NodeDatacenter: "dc1"}); err != nil {
			t.Error(err)
		}
	})
}

// Names that are made up are forgotten soon, and so many are followed at most.
func TestNodesAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		kept := s.must(session.Session{})
		<-time.After(2 * time.Second)
		var wg sync.WaitGroup
		var mu sync.Mutex
		busy := 0
		for i := range 1100 {
			wg.Go(func() {
				if _, err := s.bind(session.Session{Node: fmt.Sprint("x", i), NodeDatacenter: "dc1"}); op.CodeOf(err) == op.CodeBusy {
					mu.Lock()
					busy++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if busy != 1100-1023 {
			t.Errorf("%d are refused", busy)
		}
		<-time.After(15 * time.Second)
		s.others.set("dc1/n2", catalog.Passing)
		if _, err := s.bind(session.Session{Node: "n2", NodeDatacenter: "dc1"}); err != nil {
			t.Errorf("after a while there is no room: %v", err)
		}
		if !s.lives(kept) {
			t.Error("a session has ended meanwhile")
		}
	})
}
