package rights

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
)

// servers answer what secrets stand for.
type servers struct {
	mu    sync.Mutex
	known map[string]*acl.Resolved
	err   error // of every question, while there is one
	wait  time.Duration
	late  bool // only the leader knows anything
	asked atomic.Int64
}

func (s *servers) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	s.asked.Add(1)
	r, err := call.Request()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	found, fails, wait := s.known[r.(*acl.ResolveRequest).Secret], s.err, s.wait
	if s.late && call.Header.Consistency == op.Stale {
		found = nil
	}
	s.mu.Unlock()
	if call.Operation.OpName() != acl.ResolveSecret.Name || call.Header.Consistency != op.Stale && call.Header.Consistency != op.Default {
		return nil, op.Errorf(op.CodeInternal, "another question was asked: %s, %+v", call.Operation.OpName(), call.Header)
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case fails != nil:
		return nil, fails
	case found == nil:
		return nil, acl.ErrNotFound
	}
	return op.NewReply(op.Meta{}, found), nil
}

// set says what the servers answer from now on.
func (s *servers) set(err error, known map[string]*acl.Resolved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.known = err, known
}

// reads is a token that may read the key a.
func reads() map[string]*acl.Resolved {
	return map[string]*acl.Resolved{"s": {Accessor: "acc", Policy: rules.Policy{Rules: []rules.Rule{{Resource: rules.Key, Name: "a", Access: rules.Read}}}}}
}

func open(t *testing.T, s *servers, down DownPolicy) *Kept {
	t.Helper()
	k, err := New(Config{Caller: s, Down: down, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return k
}

// may is what a secret allows: "read", "write" for everything, "nothing", or the error.
func may(t *testing.T, k *Kept, secret string) string {
	t.Helper()
	a, err := k.Authorizer(t.Context(), secret)
	switch {
	case err != nil:
		return err.Error()
	case a.Allow(rules.ACL, rules.Write, ""):
		return "everything"
	case a.Allow(rules.Key, rules.Read, "a"):
		return "read"
	}
	return "nothing"
}

func check(t *testing.T, when, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", when, got, want)
	}
}

func TestAnswersAreKeptForTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &servers{known: reads()}
		k := open(t, s, "")
		check(t, "first", may(t, k, "s"), "read")
		s.set(nil, map[string]*acl.Resolved{"s": {}})
		pass(29 * time.Second)
		check(t, "kept", may(t, k, "s"), "read")
		pass(2 * time.Second)
		check(t, "asked again", may(t, k, "s"), "nothing")
		if n := s.asked.Load(); n != 2 {
			t.Errorf("servers were asked %d times, want 2", n)
		}
	})
}

// A token that was made a moment ago is not refused because a server has not heard of it.
func TestTheLeaderIsAskedBeforeASecretIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &servers{known: reads(), late: true}
		k := open(t, s, "")
		check(t, "new", may(t, k, "s"), "read")
		check(t, "made up", may(t, k, "x"), acl.ErrNotFound.Text)
	})
}

func TestUnknownSecretsAreRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &servers{known: reads()}
		k := open(t, s, "")
		check(t, "made up", may(t, k, "x"), acl.ErrNotFound.Text)
		check(t, "known", may(t, k, "s"), "read")
		s.set(nil, nil)
		pass(31 * time.Second)
		check(t, "deleted", may(t, k, "s"), acl.ErrNotFound.Text)
		s.set(op.ErrNoServers, nil)
		check(t, "deleted, and servers are gone", may(t, k, "s"), "nothing")
		asked := s.asked.Load()
		check(t, "too long", may(t, k, strings.Repeat("x", maxSecret+1)), acl.ErrNotFound.Text)
		if s.asked.Load() != asked {
			t.Error("servers were asked about a secret that is too long to be one")
		}
	})
}

// One row is what counts of a secret that is known, of one that is not, and of one of
// which the servers would say something else by now, after its time is over.
func TestDownPolicies(t *testing.T) {
	for _, c := range []struct {
		down           DownPolicy
		known, unknown string
		changed        string // at the first question after its time
	}{
		{Allow, "everything", "everything", "nothing"},
		{Deny, "nothing", "nothing", "nothing"},
		{ExtendCache, "read", "nothing", "nothing"},
		{AsyncCache, "read", "nothing", "read"},
	} {
		t.Run(string(c.down), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &servers{known: reads()}
				k := open(t, s, c.down)
				check(t, "at first", may(t, k, "s"), "read")
				s.set(op.ErrNoServers, nil)
				check(t, "in its time", may(t, k, "s"), "read")
				pass(24 * time.Hour)
				for range 3 {
					check(t, "known", may(t, k, "s"), c.known)
					check(t, "unknown", may(t, k, "x"), c.unknown)
					synctest.Wait()
				}
				s.set(nil, map[string]*acl.Resolved{"s": {}})
				pass(time.Minute)
				check(t, "servers are back", may(t, k, "s"), c.changed)
				synctest.Wait()
				check(t, "and were asked", may(t, k, "s"), "nothing")
			})
		})
	}
}

// While servers are silent, who is known waits for one question, and then hardly.
func TestSilentServersHoldNobodyUpTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &servers{known: reads()}
		k := open(t, s, ExtendCache)
		check(t, "at first", may(t, k, "s"), "read")
		s.set(op.ErrNoServers, nil)
		s.mu.Lock()
		s.wait = time.Hour
		s.mu.Unlock()
		pass(time.Minute)
		began := time.Now()
		check(t, "first", may(t, k, "s"), "read")
		if took := time.Since(began); took != askTimeout {
			t.Errorf("the first waited %s, want %s", took, askTimeout)
		}
		began = time.Now()
		check(t, "second", may(t, k, "s"), "read")
		if took := time.Since(began); took != patience {
			t.Errorf("the second waited %s, want %s", took, patience)
		}
	})
}

func TestOneQuestionForASecretAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &servers{known: reads(), wait: time.Second}
		k := open(t, s, "")
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { check(t, "together", may(t, k, "s"), "read") })
		}
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := k.Authorizer(ctx, "s"); !errors.Is(err, context.Canceled) {
				t.Errorf("who went: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		if n := s.asked.Load(); n != 1 {
			t.Errorf("servers were asked %d times, want once", n)
		}
	})
}

func TestTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := reads()
		known["s"].Ends = time.Now().Add(10 * time.Second)
		s := &servers{known: known}
		k := open(t, s, ExtendCache)
		check(t, "at first", may(t, k, "s"), "read")
		s.set(op.ErrNoServers, nil)
		pass(10 * time.Second)
		check(t, "ended", may(t, k, "s"), acl.ErrNotFound.Text)
	})
}

func TestWithoutAccessControlOnServersNobodyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &servers{err: acl.ErrDisabled}
		check(t, "disabled", may(t, open(t, s, ""), "x"), "everything")
	})
}

func TestRecoveryToken(t *testing.T) {
	secret := ""
	from := WithRecovery("n1", func() string { return secret }, func(context.Context, string) (rules.Authorizer, error) { return nil, acl.ErrNotFound })
	for _, shown := range []string{"", "recover"} {
		if _, err := from(t.Context(), shown); err == nil {
			t.Errorf("%q is taken while there is no such token", shown)
		}
	}
	secret = "recover"
	if _, err := from(t.Context(), "recover2"); err == nil {
		t.Error("another secret is taken")
	}
	a, err := from(t.Context(), "recover")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		resource rules.Resource
		access   rules.Access
		name     string
		want     bool
	}{
		{rules.Agent, rules.Write, "n1", true}, {rules.Agent, rules.Read, "n2", false}, {rules.Node, rules.Read, "n2", true},
		{rules.Node, rules.Write, "n1", false}, {rules.Service, rules.Read, "web", false}, {rules.Operator, rules.Read, "", false},
	} {
		if a.Allow(c.resource, c.access, c.name) != c.want {
			t.Errorf("%s:%s of %q: %t", c.resource, c.access, c.name, !c.want)
		}
	}
}

// pass lets time pass on the clock of a bubble.
func pass(d time.Duration) { <-time.After(d) }
