package server

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
)

// A caller's rights are held against what the leader has stored, not only
// against what the request says of itself.
func TestWritesAreHeldAgainstWhatIsStored(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Access = Access{Enabled: true, Settings: rules.Settings{DefaultAllow: true}, InitialManagement: servertest.Management}
	})
	h.start(t, nil)
	h.LeadershipChanged(true)
	writer := func(service string) string {
		return servertest.Secret(t, h, `node_prefix "" { policy = "read" } service_prefix "" { policy = "read" } service "`+service+`" { policy = "write" }`)
	}
	mine, web := writer("mine"), writer("web")
	h.register(t, &catalog.RegisterRequest{Node: "n", Address: "10.0.0.9", Service: &catalog.Service{ID: "web", Service: "web"}})
	takeOver := &catalog.RegisterRequest{Node: "n", SkipNodeUpdate: true, Service: &catalog.Service{ID: "web", Service: "mine"}}
	newNode := &catalog.RegisterRequest{Node: "n2", Address: "10.0.0.2", SkipNodeUpdate: true, Service: &catalog.Service{Service: "mine"}}
	for name, r := range map[string]*catalog.RegisterRequest{"over another service": takeOver, "on a node that is new": newNode} {
		_, _, err := catalog.Register.Call(t.Context(), h, op.Header{Token: mine}, r)
		var denied *rules.DeniedError
		if !errors.As(err, &denied) && op.CodeOf(err) != op.CodeDenied {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	gone := &catalog.DeregisterRequest{Node: "n", ServiceID: "web"}
	if _, _, err := catalog.Deregister.Call(t.Context(), h, op.Header{Token: mine}, gone); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("another's service: %v, want a refusal", err)
	}
	if h.services(t, "n")["web"].Service != "web" || h.services(t, "n2") != nil {
		t.Error("a refused write changed something")
	}
	own := &catalog.RegisterRequest{Node: "n", Address: "10.0.0.9", Service: &catalog.Service{Service: "mine"}}
	if _, _, err := catalog.Register.Call(t.Context(), h, op.Header{Token: mine}, own); err != nil {
		t.Errorf("an own service on a node as it is: %v", err)
	}
	if _, _, err := catalog.Deregister.Call(t.Context(), h, op.Header{Token: web}, gone); err != nil {
		t.Errorf("an own service: %v", err)
	}
}

// Whose token was deleted while he waited is refused, and who lost rights sees nothing of
// what they were for.
func TestWhoWaitsIsAskedAgain(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Access = Access{Enabled: true, InitialManagement: servertest.Management} })
	h.start(t, nil)
	h.LeadershipChanged(true)
	manager := op.Header{Token: servertest.Management}
	for name, take := range map[string]func(*acl.Resolved){
		"deleted": func(r *acl.Resolved) {
			if _, _, err := acl.DeleteToken.Call(t.Context(), h, manager, &acl.AccessorRequest{Accessor: r.Accessor}); err != nil {
				t.Fatal(err)
			}
		},
		"without rights": func(r *acl.Resolved) {
			if _, _, err := acl.SetToken.Call(t.Context(), h, manager, &acl.SetTokenRequest{Token: acl.Token{AccessorID: r.Accessor}}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		servertest.Write(t, h.cfg.State, "k", "old")
		secret := servertest.Secret(t, h, `key "k" { policy = "read" }`)
		old, meta, err := kv.Get.Call(t.Context(), h, op.Header{Token: secret}, &kv.GetRequest{Key: "k"})
		if err != nil || old == nil {
			t.Fatalf("%v, %v", old, err)
		}
		who, _, err := acl.ResolveSecret.Call(t.Context(), h, op.Header{}, &acl.ResolveRequest{Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		var got *kv.Entry
		var waiting sync.WaitGroup
		waiting.Go(func() {
			got, _, err = kv.Get.Call(t.Context(), h, op.Header{Token: secret, MinIndex: meta.Index, MaxWait: time.Minute}, &kv.GetRequest{Key: "k"})
		})
		servertest.Eventually(t, "he waits", func() bool { return h.blocked.InUse() == 1 })
		take(who)
		servertest.Write(t, h.cfg.State, "k", "new")
		waiting.Wait()
		if op.CodeOf(err) != op.CodeDenied || got != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A datacenter says which rights who asks has in it: those of a token that it knows.
func TestRightsAreToldToWhoHasThem(t *testing.T) {
	h := newHarness(t, controlled)
	h.start(t, nil)
	h.LeadershipChanged(true)
	secret := servertest.Secret(t, h, `key "k" { policy = "read" }`)
	ask := func(token string) (string, error) {
		q := acl.Questions{Questions: []acl.Question{{Resource: "key", Access: "read", Segment: "k", Allow: true}, {Resource: "key", Access: "write", Segment: "k", Allow: true}}}
		said, _, err := acl.Authorize.Call(t.Context(), h, op.Header{Token: token}, &q)
		if err != nil {
			return "", err
		}
		return fmt.Sprint(said.Questions[0].Allow, said.Questions[1].Allow), nil
	}
	for token, want := range map[string]string{secret: "true false", "": "false false", servertest.Management: "true true"} {
		if got, err := ask(token); err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", token, got, err, want)
		}
	}
	if _, err := ask("unknown"); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("a token that is unknown: %v", err)
	}
}

// What another token may do is told as it is, whoever asks; of one that has ended that is nothing, also before
// it is removed.
func TestRightsOfAnotherTokenAreTold(t *testing.T) {
	h := newHarness(t, controlled)
	h.start(t, nil) // nobody leads: what has ended stays
	id := 0
	begin, err := acl.Beginning(op.Leader{Now: time.Now(), NewID: func() string { id++; return fmt.Sprintf("id-%d", id) }}, servertest.Management)
	if err != nil {
		t.Fatal(err)
	}
	h.group.Commit(t, &acl.Begin, begin)
	for accessor, ends := range map[string]time.Time{"lasting": {}, "ended": time.Now().Add(-time.Minute)} {
		h.group.Commit(t, &acl.SetToken, &acl.SetTokenRequest{Create: true, Token: acl.Token{AccessorID: accessor, SecretID: "secret of " + accessor,
			CreateTime: time.Now().Add(-time.Hour), ExpirationTime: ends, Grants: acl.Grants{Policies: []acl.Link{{ID: acl.ManagementID}}}}})
	}
	for accessor, want := range map[string]string{"lasting": "true", "LASTING": "true", "ended": "false", "unknown": "none", "secret of lasting": "none", acl.AnonymousAccessor: "false"} {
		said, err := h.authorizeToken(t.Context(), op.Header{}, &acl.TokenQuestions{AccessorID: accessor,
			Questions: []acl.Question{{Resource: "key", Access: "write", Segment: "k", Allow: true}}})
		got := "none"
		if said != nil {
			got = fmt.Sprint(said.Questions[0].Allow)
		}
		if err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", accessor, got, err, want)
		}
	}
}
