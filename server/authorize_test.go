package server

import (
	"errors"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
)

// A caller's rights are held against what the leader has stored, not only
// against what the request says of itself.
func TestWritesAreHeldAgainstWhatIsStored(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Authorizer = func(token string) (rules.Authorizer, error) {
			if token == "" {
				return rules.AllowAll(), nil
			}
			return servertest.Writer(token), nil
		}
	})
	h.start(t, nil)
	h.register(t, &catalog.RegisterRequest{Node: "n", Address: "10.0.0.9", Service: &catalog.Service{ID: "web", Service: "web"}})
	takeOver := &catalog.RegisterRequest{Node: "n", SkipNodeUpdate: true, Service: &catalog.Service{ID: "web", Service: "mine"}}
	newNode := &catalog.RegisterRequest{Node: "n2", Address: "10.0.0.2", SkipNodeUpdate: true, Service: &catalog.Service{Service: "mine"}}
	for name, r := range map[string]*catalog.RegisterRequest{"over another service": takeOver, "on a node that is new": newNode} {
		_, _, err := catalog.Register.Call(t.Context(), h, op.Header{Token: "mine"}, r)
		var denied *rules.DeniedError
		if !errors.As(err, &denied) && op.CodeOf(err) != op.CodeDenied {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	gone := &catalog.DeregisterRequest{Node: "n", ServiceID: "web"}
	if _, _, err := catalog.Deregister.Call(t.Context(), h, op.Header{Token: "mine"}, gone); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("another's service: %v, want a refusal", err)
	}
	if h.services(t, "n")["web"].Service != "web" || h.services(t, "n2") != nil {
		t.Error("a refused write changed something")
	}
	own := &catalog.RegisterRequest{Node: "n", Address: "10.0.0.9", Service: &catalog.Service{Service: "mine"}}
	if _, _, err := catalog.Register.Call(t.Context(), h, op.Header{Token: "mine"}, own); err != nil {
		t.Errorf("an own service on a node as it is: %v", err)
	}
	if _, _, err := catalog.Deregister.Call(t.Context(), h, op.Header{Token: "web"}, gone); err != nil {
		t.Errorf("an own service: %v", err)
	}
}
