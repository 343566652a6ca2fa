package leader

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
)

// newSession makes a session on the node n, without checks.
func (h *harness) newSession(t *testing.T, s session.Session) string {
	t.Helper()
	s.Node = "n"
	h.register(t, &catalog.RegisterRequest{Node: "n", Address: "10.0.0.9"})
	res, _, err := session.Create.Call(t.Context(), h, op.Header{}, &session.CreateRequest{Session: s})
	if err != nil {
		t.Fatal(err)
	}
	return res.ID
}

func (h *harness) lives(t *testing.T, id string) bool {
	t.Helper()
	list, _, err := session.Get.Call(t.Context(), h, op.Header{}, &session.IDRequest{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return len(*list) == 1
}

func (h *harness) lock(t *testing.T, key, id string) bool {
	t.Helper()
	res, _, err := kv.Apply.Call(t.Context(), h, op.Header{}, &kv.ApplyRequest{Verb: kv.Lock, Entry: kv.Entry{Key: key, Session: id}})
	if err != nil {
		t.Fatal(err)
	}
	return res.OK
}

// A session lives at least as long as its TTL says since it was renewed last,
// and not much longer than twice that.
func TestTimersCountTTLs(t *testing.T) {
	now := time.Now()
	s := session.Session{ID: "a", TTL: "10s", CreateIndex: 4}
	for _, c := range []struct {
		name string
		do   func(*sessionTimers)
		dies time.Duration
	}{
		{"left alone", func(*sessionTimers) {}, 20 * time.Second},
		{"renewed", func(x *sessionTimers) { x.renew(&s, now.Add(15*time.Second)) }, 35 * time.Second},
		{"seen again", func(x *sessionTimers) { x.keep(session.Sessions{s}, now.Add(15*time.Second)) }, 20 * time.Second},
		{"the leader stood still", func(x *sessionTimers) { x.restart(now.Add(19 * time.Second)) }, 39 * time.Second},
		{"its end was not committed", func(x *sessionTimers) {
			at := now.Add(20 * time.Second)
			x.again(x.due(at, 1), at)
		}, 40 * time.Second},
	} {
		x := newSessionTimers()
		x.keep(session.Sessions{s}, now)
		c.do(x)
		if early := x.due(now.Add(c.dies-1), 10); len(early) > 0 {
			t.Errorf("%s: ends before %v", c.name, c.dies)
		}
		if got := x.due(now.Add(c.dies), 10); len(got) != 1 || got[0] != (session.Expiry{ID: "a", CreateIndex: 4}) {
			t.Errorf("%s: %v ends at %v", c.name, got, c.dies)
		}
		if x.renew(&s, now) != ending {
			t.Errorf("%s: a session that is being ended is renewed", c.name)
		}
	}
	x := newSessionTimers()
	x.keep(session.Sessions{s}, now)
	x.keep(nil, now)
	if x.len() != 0 || len(x.due(now.Add(time.Hour), 10)) != 0 {
		t.Error("a session that is gone is counted")
	}
}

func TestTimersEndManyInOrder(t *testing.T) {
	x := newSessionTimers()
	now := time.Now()
	var list session.Sessions
	for i := range 1000 {
		list = append(list, session.Session{ID: fmt.Sprint(i), TTL: fmt.Sprintf("%ds", 10+(i*7)%500)})
	}
	x.keep(list, now)
	last, seen := time.Duration(0), 0
	for at := time.Duration(0); at < 20*time.Minute; at += time.Second {
		for _, e := range x.due(now.Add(at), 1000) {
			var i int
			fmt.Sscan(e.ID, &i)
			life := graceTTLs * list[i].Lifetime()
			if life < last || life != at {
				t.Fatalf("session %s of %v ends at %v after one of %v", e.ID, life, at, last)
			}
			last = life
			seen++
		}
	}
	if seen != len(list) {
		t.Errorf("%d of %d ended", seen, len(list))
	}
}

func TestSessionThatIsNotRenewedEndsWithItsLocks(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.SessionTTLMin = 100 * time.Millisecond })
	h.start(t)
	h.LeadershipChanged(true)
	kept := h.newSession(t, session.Session{TTL: "500ms"})
	lost := h.newSession(t, session.Session{TTL: "500ms", LockDelay: time.Millisecond})
	if !h.lock(t, "k", lost) {
		t.Fatal("the key cannot be locked")
	}
	servertest.Eventually(t, "the session ends", func() bool {
		if _, _, err := session.Renew.Call(t.Context(), h, op.Header{}, &session.IDRequest{ID: kept}); err != nil {
			t.Fatalf("renew: %v", err)
		}
		return !h.lives(t, lost)
	})
	if _, _, err := session.Renew.Call(t.Context(), h, op.Header{}, &session.IDRequest{ID: lost}); op.CodeOf(err) != op.CodeNotFound || !strings.Contains(err.Error(), "Session id '"+lost+"' not found") {
		t.Errorf("renew of what has ended: %v", err)
	}
	servertest.Eventually(t, "its lock is free", func() bool { return h.lock(t, "k", kept) })
}

func TestShortestTTLIsConfigured(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.SessionTTLMin = time.Minute })
	h.start(t)
	h.register(t, &catalog.RegisterRequest{Node: "n", Address: "10.0.0.9"})
	_, _, err := session.Create.Call(t.Context(), h, op.Header{}, &session.CreateRequest{Session: session.Session{Node: "n", TTL: "59s"}})
	if err == nil || !strings.Contains(err.Error(), "must be between [1m0s=24h0m0s]") {
		t.Errorf("error %v", err)
	}
}

func TestRenewalAsksForTheNodeOfTheSession(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Authorizer = func(token string) (rules.Authorizer, error) {
			if token == "" {
				return rules.AllowAll(), nil
			}
			return rules.Compile(rules.Settings{}, &rules.Policy{}).For("test"), nil
		}
	})
	h.start(t)
	h.LeadershipChanged(true)
	id := h.newSession(t, session.Session{TTL: "10s"})
	_, _, err := session.Renew.Call(t.Context(), h, op.Header{Token: "mine"}, &session.IDRequest{ID: id})
	var denied *rules.DeniedError
	if !errors.As(err, &denied) {
		t.Errorf("error %v, want a refusal", err)
	}
}

// The clock of a reign goes on where the state's axis stands, by monotonic time
// alone: neither an election nor a jump of the wall clock ends a delay early.
// (Inside the bubble all time is made up, and the reigns are of one process;
// that the axis travels in the state is what the state's tests show.)
func TestElectionsNeverShortenALockDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 15 * time.Second
		h := newHarness(t, nil)
		h.raft, h.lan, h.started = h.group, h.pool, time.Now()
		elect := func() {
			h.LeadershipChanged(false)
			h.LeadershipChanged(true)
			synctest.Wait()
		}
		elect()
		defer h.LeadershipChanged(false)
		<-time.After(time.Hour) // a long reign
		holder := h.newSession(t, session.Session{LockDelay: delay})
		other := h.newSession(t, session.Session{})
		if !h.lock(t, "k", holder) {
			t.Fatal("the key cannot be locked")
		}
		if _, _, err := session.Destroy.Call(t.Context(), h, op.Header{}, &session.DestroyRequest{ID: holder}); err != nil {
			t.Fatal(err)
		}
		ended := time.Now()
		for !h.lock(t, "k", other) {
			<-time.After(time.Second)
			if passed := time.Since(ended); passed > 4*delay {
				t.Fatalf("the key cannot be locked after %v", passed)
			} else if int(passed.Seconds())%4 == 0 {
				elect()
			}
		}
		if passed := time.Since(ended); passed < delay {
			t.Errorf("the key could be locked %v after its session had ended", passed)
		} else {
			t.Logf("free %v after its session had ended, with an election each 4 s", passed)
		}
	})
}

// More delays than one command forgets go in one round, and the leader writes
// nothing where there are none.
func TestDelaysThatAreOverAreForgotten(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	id := h.newSession(t, session.Session{LockDelay: time.Millisecond})
	const keys = 2500
	for i := range keys {
		if !h.lock(t, fmt.Sprint("k", i), id) {
			t.Fatal("the key cannot be locked")
		}
	}
	h.reigning.Store(&reign{ctx: t.Context(), began: time.Now().Add(-time.Minute)})
	defer h.reigning.Store(nil)
	if _, _, err := session.Destroy.Call(t.Context(), h, op.Header{}, &session.DestroyRequest{ID: id}); err != nil {
		t.Fatal(err)
	}
	next := func() *kv.Delay {
		v := h.cfg.State.View()
		defer v.Close()
		d, err := kv.NextDelay(v)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if next() == nil {
		t.Fatal("no delays to forget")
	}
	servertest.Eventually(t, "all delays are forgotten", func() bool {
		h.passDelays(t.Context())
		return next() == nil
	})
	before := h.cfg.State.Index()
	h.passDelays(t.Context())
	if h.cfg.State.Index() != before {
		t.Error("the leader notes the time though nothing depends on it")
	}
}

// What a session of many keys has let go at once is written by the leader, some keys with
// each command.
func TestTheLeaderWritesTheKeysThatWereLetGo(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	tx := h.cfg.State.Begin()
	tx.Reach(version.Level)
	tx.Next()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	id := h.newSession(t, session.Session{LockDelay: time.Hour})
	for i := range 500 {
		if !h.lock(t, fmt.Sprint("k", i), id) {
			t.Fatal("the key cannot be locked")
		}
	}
	if _, _, err := session.Destroy.Call(t.Context(), h, op.Header{}, &session.DestroyRequest{ID: id}); err != nil {
		t.Fatal(err)
	}
	unsettled := func() bool {
		v := h.cfg.State.View()
		defer v.Close()
		left, err := kv.Unsettled(v)
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
	if !unsettled() {
		t.Fatal("the keys were written at once")
	}
	before := h.cfg.State.Index()
	h.settleLocks(t.Context())
	if commands := h.cfg.State.Index() - before; unsettled() || commands < 2 {
		t.Errorf("%d commands wrote the keys, and something is left: %v", commands, unsettled())
	}
	before = h.cfg.State.Index()
	h.settleLocks(t.Context())
	if h.cfg.State.Index() != before {
		t.Error("the leader writes though nothing is left")
	}
}
