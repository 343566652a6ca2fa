package acl

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

// What a token is shown with is all that it stands for: policies, and those that
// identities and templates make, of its own and of its roles, each once.
func TestAnExpandedTokenHasAllRulesBehindIt(t *testing.T) {
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	tx := s.Begin()
	defer tx.Discard()
	tx.Next()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := Policy{ID: "p", Name: "p", Rules: `key "a" { policy = "read" }`}
	must(nil, ParsePolicy(&p))
	must(ApplySetPolicy(tx, &SetPolicyRequest{Create: true, Policy: p}))
	web, api := ServiceIdentity{ServiceName: "web", Datacenters: []string{"dc2"}}, ServiceIdentity{ServiceName: "api"}
	must(ApplySetRole(tx, &SetRoleRequest{Create: true, Role: Role{ID: "r", Name: "r", Grants: Grants{Policies: []Link{{ID: "p"}}, ServiceIdentities: []ServiceIdentity{web, api}}}}))
	own := Grants{Policies: []Link{{ID: "p"}}, ServiceIdentities: []ServiceIdentity{web}, NodeIdentities: []NodeIdentity{{NodeName: "n", Datacenter: "dc1"}},
		TemplatedPolicies: []TemplatedPolicy{{TemplateName: "builtin/dns"}}}
	must(ApplySetToken(tx, &SetTokenRequest{Create: true, Token: Token{AccessorID: "t", SecretID: "s", Grants: own, Roles: []Link{{ID: "r"}}}}))
	many := Token{AccessorID: "u", SecretID: "v"}
	for i := range maxExpanded/maxLinks + 1 {
		role := Role{ID: fmt.Sprint("m", i), Name: fmt.Sprint("m", i)}
		for j := range maxLinks {
			role.ServiceIdentities = append(role.ServiceIdentities, ServiceIdentity{ServiceName: fmt.Sprint("s", i, "-", j)})
		}
		must(ApplySetRole(tx, &SetRoleRequest{Create: true, Role: role}))
		many.Roles = append(many.Roles, Link{ID: role.ID})
	}
	must(ApplySetToken(tx, &SetTokenRequest{Create: true, Token: many}))
	must(nil, tx.Commit())
	v := s.View()
	defer v.Close()
	res, err := getToken(v, &TokenRequest{Accessor: "t", Expanded: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range res.Policies {
		if p.Rules == "" || p.ID == "" {
			t.Errorf("%+v says nothing", p)
		}
		got = append(got, p.Description+fmt.Sprint(p.Datacenters))
	}
	const of = "synthetic policy generated from "
	want := []string{"[]", of + "service identity: web[dc2]", of + "node identity: n[dc1]", of + "templated policy: builtin/dns[]", of + "service identity: api[]"}
	if !slices.Equal(got, want) || len(res.Roles) != 1 {
		t.Errorf("behind it are %q, want %q, and %d roles", got, want, len(res.Roles))
	}
	if _, err := getToken(v, &TokenRequest{Accessor: "u", Expanded: true}); op.CodeOf(err) != op.CodeTooLarge {
		t.Errorf("too many: %v", err)
	}
	if _, err := getToken(v, &TokenRequest{Accessor: "u"}); err != nil {
		t.Error(err)
	}
}
