package access

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// fixture is a resolver of dc1 with a state that commands are applied to.
type fixture struct {
	*Resolver
	t     testing.TB
	state *storage.State
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return fixtureOf(t, servertest.OpenState(t))
}

func fixtureOf(t testing.TB, s *storage.State) *fixture {
	t.Helper()
	r, err := New(Config{Enabled: true, Datacenter: "dc1", State: s, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Resolver: r, t: t, state: s}
}

func apply[Req, Res any](f *fixture, apply func(*storage.Txn, *Req) (*Res, error), req *Req) *Res {
	f.t.Helper()
	tx := f.state.Begin()
	defer tx.Discard()
	tx.Next()
	res, err := apply(tx, req)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return res
}

// policy makes or changes a policy that has its name as its ID.
func (f *fixture) policy(name, text string, datacenters ...string) {
	f.t.Helper()
	p := acl.Policy{ID: name, Name: name, Rules: text, Datacenters: datacenters}
	if err := acl.ParsePolicy(&p); err != nil {
		f.t.Fatal(err)
	}
	v := f.state.View()
	defer v.Close()
	old, err := acl.FindPolicy(v, name, "")
	if err != nil {
		f.t.Fatal(err)
	}
	apply(f, acl.ApplySetPolicy, &acl.SetPolicyRequest{Policy: p, Create: old == nil})
}

// token makes a token of policies that has its secret as its accessor.
func (f *fixture) token(t acl.Token, policies ...string) {
	f.t.Helper()
	t.AccessorID = t.SecretID
	for _, p := range policies {
		t.Policies = append(t.Policies, acl.Link{ID: p})
	}
	apply(f, acl.ApplySetToken, &acl.SetTokenRequest{Token: t, Create: true})
}

func reads(a rules.Authorizer, err error, key string) bool {
	return err == nil && a.Allow(rules.Key, rules.Read, key)
}

// Whatever a token refers to counts from the command on that changes it.
func TestAChangeCountsAtOnce(t *testing.T) {
	f := newFixture(t)
	f.policy("p", `key "a" { policy = "read" }`)
	apply(f, acl.ApplySetRole, &acl.SetRoleRequest{Create: true, Role: acl.Role{ID: "r", Name: "r", Grants: acl.Grants{Policies: []acl.Link{{ID: "p"}}}}})
	f.token(acl.Token{SecretID: "direct"}, "p")
	f.token(acl.Token{SecretID: "role", Roles: []acl.Link{{ID: "r"}}})
	for _, secret := range []string{"direct", "role"} {
		if a, err := f.Authorizer(secret); !reads(a, err, "a") || reads(a, err, "b") {
			t.Errorf("%s: %v", secret, err)
		}
	}
	f.policy("p", `key "b" { policy = "read" }`)
	for _, secret := range []string{"direct", "role"} {
		if a, err := f.Authorizer(secret); reads(a, err, "a") || !reads(a, err, "b") {
			t.Errorf("%s after the policy changed: %v", secret, err)
		}
	}
	apply(f, acl.ApplyDeleteRole, &acl.NamedRequest{ID: "r"})
	if a, err := f.Authorizer("role"); err != nil || reads(a, err, "b") {
		t.Errorf("without the role: %v", err)
	}
	apply(f, acl.ApplySetRole, &acl.SetRoleRequest{Create: true, Role: acl.Role{ID: "r", Name: "r", Grants: acl.Grants{Policies: []acl.Link{{ID: "p"}}}}})
	if a, err := f.Authorizer("role"); !reads(a, err, "b") {
		t.Errorf("with the role again: %v", err)
	}
	apply(f, acl.ApplyDeleteToken, &acl.AccessorRequest{Accessor: "direct"})
	if _, err := f.Authorizer("direct"); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("a token that is gone: %v", err)
	}
	if changed, err := f.Changed("role"); err != nil {
		t.Error(err)
	} else {
		apply(f, acl.ApplyDeletePolicy, &acl.NamedRequest{ID: "p"})
		select {
		case <-changed:
		default:
			t.Error("who follows is not told that the rights of the token have changed")
		}
	}
}

// However often what a token refers to changes, one watch is kept for it.
func TestWatchesDoNotPileUp(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem(), Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	f := fixtureOf(t, s)
	f.policy("p", "")
	f.token(acl.Token{SecretID: "a"}, "p")
	f.token(acl.Token{SecretID: "b"}, "p")
	var wg sync.WaitGroup
	for i := range 50 {
		f.policy("p", fmt.Sprintf(`key "%d" { policy = "read" }`, i))
		for range 4 {
			wg.Go(func() {
				for _, secret := range []string{"a", "b"} {
					if a, err := f.Authorizer(secret); !reads(a, err, fmt.Sprint(i)) {
						t.Errorf("%s after change %d: %v", secret, i, err)
					}
				}
			})
		}
		wg.Wait()
	}
	apply(f, acl.ApplyDeleteToken, &acl.AccessorRequest{Accessor: "b"})
	if _, err := f.Authorizer("b"); op.CodeOf(err) != op.CodeDenied {
		t.Error(err)
	}
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == "legate_storage_waiters" {
			if n := m.GetMetric()[0].GetGauge().GetValue(); n != 1 {
				t.Errorf("%v watches are kept for one token", n)
			}
			return
		}
	}
	t.Error("watches are not counted")
}

func TestWhatStandsForNothing(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Authorizer("x"); !errors.Is(err, acl.ErrNotBegun) || err.Error() != acl.ErrNotBegun.Text {
		t.Errorf("before there was any: %v", err)
	}
	if a, err := f.Authorizer(""); err != nil || reads(a, err, "a") || a.Who() != rules.Anonymous {
		t.Errorf("nobody: %v", err)
	}
	token := acl.Token{AccessorID: uuid.NewString(), SecretID: uuid.NewString()}
	apply(f, acl.ApplyBootstrap, &acl.BootstrapRequest{Token: token})
	if _, err := f.Authorizer("x"); err == nil || err.Error() != acl.ErrNotFound.Text {
		t.Errorf("unknown: %v", err)
	}
	now := time.Now()
	f.token(acl.Token{SecretID: "ended", ExpirationTime: now.Add(-time.Millisecond)})
	f.token(acl.Token{SecretID: "ends", ExpirationTime: now.Add(50 * time.Millisecond)})
	if _, err := f.Authorizer("ended"); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("a token that has ended: %v", err)
	}
	if _, err := f.Authorizer("ends"); err != nil {
		t.Errorf("one that will end: %v", err)
	}
	servertest.Eventually(t, "it ends, though nobody removes it", func() bool {
		_, err := f.Authorizer("ends")
		return op.CodeOf(err) == op.CodeDenied
	})
}

// What counts in some datacenters alone, and tokens that mean nothing in others.
func TestOtherDatacenters(t *testing.T) {
	f := newFixture(t)
	f.policy("all", `key "all" { policy = "read" }`)
	f.policy("one", `key "one" { policy = "read" }`, "dc1")
	f.policy("two", `key "two" { policy = "read" }`, "dc2")
	f.token(acl.Token{SecretID: "global"}, "all", "one", "two")
	f.token(acl.Token{SecretID: "plain"}, "all")
	f.token(acl.Token{SecretID: "local", Local: true}, "all")
	here, err := f.Authorizer("global")
	if !reads(here, err, "all") || !reads(here, err, "one") || reads(here, err, "two") {
		t.Error("here")
	}
	there, show, err := f.Elsewhere("global", "dc2")
	if !reads(there, err, "all") || reads(there, err, "one") || !reads(there, err, "two") || show != "global" {
		t.Error("there")
	}
	both, _, err := f.Everywhere("global", []string{"dc1", "dc2"})
	if !reads(both, err, "all") || reads(both, err, "one") || reads(both, err, "two") {
		t.Error("in both: only what each allows")
	}
	plain, err := f.Authorizer("plain")
	if err != nil {
		t.Fatal(err)
	}
	if all, _, err := f.Everywhere("plain", []string{"dc2", "dc3"}); err != nil || rules.Identity(all) != rules.Identity(plain) {
		t.Error("rights that are the same everywhere are one")
	}
	if a, show, err := f.Elsewhere("local", "dc2"); err != nil || show != "" || reads(a, err, "all") || a.Who() != rules.Anonymous {
		t.Errorf("a local token elsewhere: %q %v", show, err)
	}
	if a, err := f.Authorizer("local"); !reads(a, err, "all") {
		t.Error("a local token at home")
	}
}

// That rights are others is seen also where several datacenters have to agree.
func TestRightsOfSeveralDatacentersAreCompared(t *testing.T) {
	f := newFixture(t)
	f.policy("all", `key "all" { policy = "read" }`)
	f.policy("two", `key "two" { policy = "read" }`, "dc2")
	f.token(acl.Token{SecretID: "s"}, "all", "two")
	here, err := f.Authorizer("s")
	if err != nil {
		t.Fatal(err)
	}
	both := func() rules.Authorizer {
		t.Helper()
		a, _, err := f.Everywhere("s", []string{"dc1", "dc2"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	before := both()
	if !Same(before, both()) || !Same(here, here) || !Same(rules.AllowAll(), rules.AllowAll()) {
		t.Error("what has not changed is the same")
	}
	if Same(here, before) || Same(rules.AllowAll(), before) || Same(rules.AllowAll(), here) {
		t.Error("others are the same")
	}
	f.policy("two", "", "dc2")
	if Same(before, both()) {
		t.Error("what has changed in one datacenter is the same")
	}
}

// Tokens with equal rules share what is made for one of them.
func TestEqualRightsAreOne(t *testing.T) {
	f := newFixture(t)
	f.policy("p", `key "a" { policy = "read" }`)
	f.policy("q", `key "a" { policy = "read" }`)
	f.token(acl.Token{SecretID: "1"}, "p")
	f.token(acl.Token{SecretID: "2"}, "q")
	a, err := f.Authorizer("1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.Authorizer("2")
	if err != nil || rules.Identity(a) != rules.Identity(b) || a.Who() == b.Who() {
		t.Error("they have equal rules and differ only by name")
	}
}

// The state of a server with n tokens of ten policies.
func many(b *testing.B, n int) (*fixture, []string) {
	f := newFixture(b)
	var names []string
	for i := range 10 {
		text := ""
		for j := range 20 {
			text += fmt.Sprintf("key_prefix \"app-%d/%d/\" { policy = \"write\" }\n", i, j)
		}
		names = append(names, fmt.Sprint("p", i))
		f.policy(names[i], text)
	}
	var secrets []string
	tx := f.state.Begin()
	defer tx.Discard()
	for range n {
		tx.Next()
		t := acl.Token{AccessorID: uuid.NewString(), SecretID: uuid.NewString()}
		for _, p := range names {
			t.Policies = append(t.Policies, acl.Link{ID: p})
		}
		if _, err := acl.ApplySetToken(tx, &acl.SetTokenRequest{Token: t, Create: true}); err != nil {
			b.Fatal(err)
		}
		secrets = append(secrets, t.SecretID)
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
	return f, secrets
}

func BenchmarkKnownToken(b *testing.B) {
	f, secrets := many(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Authorizer(secrets[0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkColdToken(b *testing.B) {
	f, secrets := many(b, 2*maxKept)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := f.Authorizer(secrets[i%len(secrets)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
