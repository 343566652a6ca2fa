package local

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

// A check that a client has defined tells of what its token may not read only that it may
// not; one of the operator's files tells all.
func TestAliasTellsWhatItsTokenMayRead(t *testing.T) {
	var away atomic.Bool
	may := func(text string) rules.Authorizer {
		p, err := rules.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return rules.Compile(rules.Settings{}, p).For("a test")
	}
	granted := map[string]rules.Authorizer{"reader": may(`service "secret" { policy = "read" } node "n1" { policy = "read" }`), "writer": may(`service "own" { policy = "write" }`)}
	s := start(t, newDatacenter(t), func(c *Config) {
		c.Rights = func(_ context.Context, secret string) (rules.Authorizer, error) {
			a := granted[secret]
			switch {
			case away.Load():
				return nil, op.ErrNoServers
			case a == nil:
				return nil, op.Errorf(op.CodeDenied, "ACL not found")
			}
			return a, nil
		}
	})
	const output = "the database is down"
	if err := s.AddService(config.ServiceDefinition{ID: "s1", Name: "secret", Checks: []config.CheckDefinition{{ID: "behind", TTL: time.Hour}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateTTL("behind", "warning", output); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"own", "other"} {
		if err := s.AddService(config.ServiceDefinition{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	for id, d := range map[string]config.CheckDefinition{
		"reads":        {AliasService: "s1", Token: "reader", ServiceID: "own"},
		"may not":      {AliasService: "s1", Token: "writer", ServiceID: "own"},
		"is not known": {AliasService: "s1", Token: "made up", ServiceID: "own"},
		"through":      {AliasService: "own", Token: "writer", ServiceID: "other"},
		"no node":      {AliasNode: "n1", Token: "writer", ServiceID: "own"},
	} {
		d.ID, d.Name = id, id
		if err := s.AddCheck(d); err != nil {
			t.Fatal(id, err)
		}
	}
	shows := func(id, status, text string) {
		t.Helper()
		eventually(t, id+" is "+status, func() bool {
			c := s.Checks()[id]
			return c.Status == status && strings.Contains(c.Output, text)
		})
	}
	shows("reads", "warning", output)
	shows("may not", "critical", "service:read")
	shows("is not known", "critical", "not known")
	shows("no node", "critical", "node:read")
	shows("through", "critical", "not known") // as the first of those that follow the service is
	for _, id := range []string{"may not", "is not known"} {
		if c := s.Checks()[id]; strings.Contains(c.Output, output) {
			t.Errorf("%s shows %q", id, c.Output)
		}
	}
	for _, id := range []string{"may not", "is not known", "no node"} { // which nobody looks through
		if err := s.RemoveCheck(id); err != nil {
			t.Fatal(err)
		}
	}
	shows("through", "warning", "of another service") // through an alias whose token may read more
	away.Store(true)                                  // nobody says what a token may do
	if err := s.UpdateTTL("behind", "passing", ""); err != nil {
		t.Fatal(err)
	}
	shows("reads", "passing", "")
}

// What the operator has defined follows whatever it names.
func TestAliasOfAFileNeedsNoToken(t *testing.T) {
	s := start(t, newDatacenter(t), func(c *Config) {
		c.Rights = func(context.Context, string) (rules.Authorizer, error) {
			return nil, op.Errorf(op.CodeDenied, "ACL not found")
		}
	})
	if err := s.Define([]config.ServiceDefinition{{Name: "web", Checks: []config.CheckDefinition{{ID: "behind", TTL: time.Hour, Status: "warning"}}}},
		[]config.CheckDefinition{{ID: "of-a-file", Name: "x", AliasService: "web"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it follows", func() bool { return s.Checks()["of-a-file"].Status == "warning" })
}
