package server

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/copies"
	"github.com/legate-project/legate/server/login/logintest"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
)

// home is a federation whose one other datacenter is the home, which answers log-ins.
type home struct{ asked chan *op.Call }

func (h home) Datacenters() []string { return []string{"dc2"} }
func (h home) Nearest() []string     { return h.Datacenters() }

func (h home) Do(_ context.Context, call *op.Call) (*op.Reply, error) {
	h.asked <- call
	return op.NewReply(op.Meta{}, &acl.Token{SecretID: "made at home"}), nil
}

// knowsHome is a federation that knows who is home, and nothing else.
type knowsHome struct{ Federation }

func (knowsHome) Home() (removal.Record, bool) {
	return removal.Record{Datacenter: "dc2", Home: true}, true
}

// Global tokens are made where the home is, and the credential is verified there; local
// ones are made without any other datacenter. Neither asks who calls.
func TestWhereTokensAreMade(t *testing.T) {
	remote := home{make(chan *op.Call, 1)}
	h := newHarness(t, func(c *Config) {
		c.Access = Access{Enabled: true, Home: "dc2"}
	})
	h.copies.Connect(copies.Links{Federation: knowsHome{}, Calls: remote})
	h.start(t, remote)
	issuer := logintest.NewIssuer(t)
	config, err := json.Marshal(map[string]any{"JWKSURL": issuer.URL + "/keys", "JWKSCACert": issuer.CA, "JWTSupportedAlgs": []string{"ES256"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, locality := range []string{acl.LocalityLocal, acl.LocalityGlobal} { // as copies of the home's
		h.group.Commit(t, &acl.SetMethod, &acl.SetMethodRequest{Create: true, Method: acl.Method{Name: locality, Type: "jwt", TokenLocality: locality, Config: config}})
		h.group.Commit(t, &acl.SetBinding, &acl.SetBindingRequest{Create: true, Binding: acl.Binding{ID: locality, AuthMethod: locality, BindType: acl.BindService, BindName: "web"}})
	}
	h.group.Commit(t, &acl.TakeStep, &acl.StepRequest{Step: acl.StepNote, Datacenter: "dc2"})
	h.group.Commit(t, &acl.Copy, &acl.CopyRequest{Index: 7, Begun: true})
	good := issuer.Sign(map[string]any{"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()})
	made, _, err := acl.Login.Call(t.Context(), h, op.Header{}, &acl.LoginRequest{Method: acl.LocalityLocal, Bearer: good})
	if err != nil || !made.Local || len(remote.asked) != 0 {
		t.Fatalf("a local token: %+v %v", made, err)
	}
	if a, err := h.Authorizer(made.SecretID); err != nil || !a.Allow(rules.Service, rules.Write, "web") {
		t.Errorf("what it may do: %v", err)
	}
	made, _, err = acl.Login.Call(t.Context(), h, op.Header{}, &acl.LoginRequest{Method: acl.LocalityGlobal, Bearer: "whatever", Meta: map[string]string{"a": "b"}})
	if err != nil || made.SecretID != "made at home" {
		t.Fatalf("a global token: %+v %v", made, err)
	}
	call := <-remote.asked
	request, err := call.Request()
	if err != nil {
		t.Fatal(err)
	}
	if r := request.(*acl.LoginRequest); call.Header.Datacenter != "dc2" || call.Header.Forwarded || r.Bearer != "whatever" || r.Meta["a"] != "b" {
		t.Errorf("the home was asked %+v %+v", call.Header, r)
	}
	h.group.Leads.Store(false)
	if _, _, err := acl.Login.Call(t.Context(), h, op.Header{}, &acl.LoginRequest{Method: acl.LocalityLocal, Bearer: good}); op.CodeOf(err) != op.CodeNoLeader {
		t.Errorf("without a leader: %v", err)
	}
}
