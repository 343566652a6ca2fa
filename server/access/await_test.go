package access

import (
	"context"
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// answering is the home, as a resolver stands there.
type answering struct {
	at    *fixture
	name  string // "" once there are copies
	err   error
	asked int
}

func (a *answering) Awaited(storage.Reader) (string, error) { return a.name, nil }

func (a *answering) Ask(_ context.Context, home string, r *acl.ResolveRequest) (*acl.Resolved, error) {
	a.asked++
	if a.err != nil {
		return nil, a.err
	}
	if home != "dc1" {
		return nil, op.Errorf(op.CodeInternal, "%q was asked", home)
	}
	return a.at.ResolveFor(r.Secret, r.Datacenter)
}

// Without copies the home says what a secret stands for in the datacenter where it is
// shown; what is here of the copies counts only once they are whole.
func TestTheHomeIsAskedWhileThereAreNoCopies(t *testing.T) {
	at := newFixture(t)
	at.policy("all", `key "all" { policy = "read" }`)
	at.policy("one", `key "one" { policy = "read" }`, "dc1")
	at.policy("two", `key "two" { policy = "read" }`, "dc2")
	at.token(acl.Token{SecretID: "global"}, "all", "one", "two")
	at.token(acl.Token{SecretID: "local", Local: true}, "all")
	apply(at, acl.ApplyBootstrap, &acl.BootstrapRequest{Token: acl.Token{AccessorID: "first", SecretID: "first"}})
	h := &answering{at: at, name: "dc1"}
	f := newFixture(t)
	f.cfg.Home, f.cfg.Datacenter = h, "dc2"
	f.policy("all", `key "partial" { policy = "read" }`)
	f.token(acl.Token{SecretID: "global"}, "all")
	f.token(acl.Token{SecretID: "own", Local: true}, "all")

	a, err := f.Authorizer("global")
	if !reads(a, err, "all") || reads(a, err, "one") || !reads(a, err, "two") || reads(a, err, "partial") {
		t.Errorf("a global token: %v", err)
	}
	if a, err := f.Authorizer("own"); !reads(a, err, "partial") {
		t.Errorf("a local token of this datacenter: %v", err)
	}
	for _, secret := range []string{"local", "unknown"} {
		if _, err := f.Authorizer(secret); err == nil || err.Error() != acl.ErrNotFound.Text {
			t.Errorf("%s: %v, want what the home says", secret, err)
		}
	}
	h.name = ""
	apply(f, acl.ApplyDeleteToken, &acl.AccessorRequest{Accessor: "global"}) // something changes
	asked := h.asked
	if _, err := f.Authorizer("global"); op.CodeOf(err) != op.CodeDenied || h.asked != asked {
		t.Errorf("with copies their state counts: %v", err)
	}
}

// What the home said is kept for a moment, so that a revocation counts soon.
func TestTheHomeIsAskedAgain(t *testing.T) {
	at, f := newFixture(t), newFixture(t)
	at.policy("p", `key "k" { policy = "read" }`)
	at.token(acl.Token{SecretID: "s"}, "p")
	h := &answering{at: at, name: "dc1"}
	f.cfg.Home = h
	if a, err := f.Authorizer("s"); !reads(a, err, "k") {
		t.Fatal(err)
	}
	if _, err := f.entry(key{secret: "s"}); err != nil || h.asked != 1 {
		t.Errorf("asked %d times", h.asked)
	}
	h.err = op.ErrNoLeader
	servertest.Eventually(t, "the home is asked again", func() bool {
		_, err := f.Authorizer("s")
		return op.CodeOf(err) == op.CodeNoLeader && h.asked > 1
	})
}

// As long as nobody can be asked callers are told what is missing, and nobody has rights,
// whatever the default is.
func TestWithoutCopiesAndWithoutTheHome(t *testing.T) {
	f := newFixture(t)
	f.cfg.Settings.DefaultAllow = true
	f.cfg.Home = &answering{name: "dc1", err: &op.Error{Code: op.CodeUnreachableDatacenter, Text: "No path to datacenter"}}
	_, err := f.Authorizer("s")
	if op.CodeOf(err) != op.CodeUnreachableDatacenter || !strings.Contains(err.Error(), "dc1, the home of access control, cannot be asked") {
		t.Error(err)
	}
	a, err := f.Authorizer("")
	if err != nil || reads(a, err, "k") {
		t.Errorf("without a token: %v", err)
	}
	if err := rules.Require(a, rules.Key, rules.Read, "k"); err == nil || !strings.Contains(err.Error(), "dc1, the home") {
		t.Error(err)
	}
	if r, err := f.Resolve(""); err == nil {
		t.Errorf("a client agent is told that the anonymous token has no rules: %+v", r)
	}
}
