package acl

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
)

const (
	accessor = "11111111-1111-1111-1111-111111111111"
	secret   = "22222222-2222-2222-2222-222222222222"
	id       = "33333333-3333-3333-3333-333333333333"
)

var made = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// known is what the datacenter has of each kind; nil for any other ID or name.
func known[Req, T any](names func(*Req) string, want string, v *T) any {
	return resttest.Answer(func(r *Req) (any, error) {
		if names(r) != want {
			return (*T)(nil), nil
		}
		return v, nil
	})
}

func whichever(r *acl.NamedRequest) string { return r.ID + r.Name }

// datacenter has one of each kind, and echoes what it is told.
func datacenter() *resttest.Caller {
	grants := acl.Grants{Policies: []acl.Link{{ID: id, Name: "p"}}}
	token := acl.Token{AccessorID: accessor, SecretID: secret, Description: "d", Grants: grants, Local: true, CreateTime: made, Hash: []byte{1}, CreateIndex: 3, ModifyIndex: 4}
	policy := acl.Policy{ID: id, Name: "p", Description: "d", Rules: `key "a" { policy = "read" }`, Datacenters: []string{"dc1"}, Hash: []byte{2}, CreateIndex: 3, ModifyIndex: 4}
	role := acl.Role{ID: id, Name: "r", Grants: grants, Hash: []byte{3}, CreateIndex: 3, ModifyIndex: 4}
	method := acl.Method{Name: "m", Type: "jwt", MaxTokenTTL: 90 * time.Minute, TokenLocality: "global", Config: []byte(`{"BoundIssuer":"x"}`), CreateIndex: 3, ModifyIndex: 4}
	binding := acl.Binding{ID: id, AuthMethod: "m", Selector: "value.a==1", BindType: "service", BindName: "s", CreateIndex: 3, ModifyIndex: 4}
	return &resttest.Caller{Answers: map[string]any{
		acl.GetToken.Name: known(func(r *acl.TokenRequest) string { return r.Accessor + r.Secret }, accessor,
			&acl.TokenResult{Token: token, Policies: acl.Policies{policy}}),
		acl.ListTokens.Name:   &acl.Tokens{token},
		acl.SetToken.Name:     resttest.Answer(func(r *acl.SetTokenRequest) (any, error) { return &r.Token, nil }),
		acl.GetPolicy.Name:    known(whichever, id, &policy),
		acl.ListPolicies.Name: &acl.Policies{policy},
		acl.SetPolicy.Name:    resttest.Answer(func(r *acl.SetPolicyRequest) (any, error) { return &r.Policy, nil }),
		acl.GetRole.Name:      known(whichever, id, &role),
		acl.ListRoles.Name:    &acl.Roles{role},
		acl.SetRole.Name:      resttest.Answer(func(r *acl.SetRoleRequest) (any, error) { return &r.Role, nil }),
		acl.GetMethod.Name:    known(whichever, "m", &method),
		acl.ListMethods.Name:  &acl.Methods{method},
		acl.SetMethod.Name:    resttest.Answer(func(r *acl.SetMethodRequest) (any, error) { return &r.Method, nil }),
		acl.GetBinding.Name:   known(whichever, id, &binding),
		acl.ListBindings.Name: &acl.Bindings{binding},
		acl.SetBinding.Name:   resttest.Answer(func(r *acl.SetBindingRequest) (any, error) { return &r.Binding, nil }),
		acl.Bootstrap.Name: resttest.Answer(func(r *acl.BootstrapRequest) (any, error) {
			if r.Token.SecretID == "" {
				return nil, op.Errorf(op.CodeDenied, "Permission denied: ACL bootstrap no longer allowed (reset index: 13)")
			}
			return &acl.Token{AccessorID: accessor, SecretID: r.Token.SecretID}, nil
		}),
		acl.Login.Name:             &token,
		acl.ReplicationStatus.Name: &acl.Replication{Enabled: true, Running: true, SourceDatacenter: "dc2", ReplicationType: acl.ReplicationTokens, ReplicatedIndex: 5, ReplicatedRoleIndex: 5, ReplicatedTokenIndex: 5, LastSuccess: made},
	}}
}

func area(c op.Caller) *API {
	return &API{Caller: c, Config: config.ACL{Enabled: true, DefaultPolicy: "deny", DownPolicy: "extend-cache"}, NodeName: "n1", Datacenter: "dc1"}
}

func serve(t testing.TB, c op.Caller, change ...func(*rest.Config)) *resttest.Server {
	t.Helper()
	return resttest.Serve(t, area(c).Routes(), change...)
}

const (
	tokenJSON = `"AccessorID":"` + accessor + `","SecretID":"` + secret + `","Description":"d","Policies":[{"ID":"` + id + `","Name":"p"}],"Local":true,` +
		`"CreateTime":"2026-01-02T03:04:05Z","Hash":"AQ==","CreateIndex":3,"ModifyIndex":4}`
	policyJSON = `{"ID":"` + id + `","Name":"p","Description":"d","Rules":"key \"a\" { policy = \"read\" }","Datacenters":["dc1"],"Hash":"Ag==","CreateIndex":3,"ModifyIndex":4}`
	roleJSON   = `{"ID":"` + id + `","Name":"r","Description":"","Policies":[{"ID":"` + id + `","Name":"p"}],"Hash":"Aw==","CreateIndex":3,"ModifyIndex":4}`
	methodJSON = `{"Name":"m","Type":"jwt","TokenLocality":"global","CreateIndex":3,"ModifyIndex":4,"MaxTokenTTL":"1h30m0s"`
	boundJSON  = `{"ID":"` + id + `","Description":"","AuthMethod":"m","Selector":"value.a==1","BindType":"service","BindName":"s","CreateIndex":3,"ModifyIndex":4}`
)

func TestShapes(t *testing.T) {
	serve(t, datacenter()).CheckShapes(t,
		resttest.Shape{Target: "/v1/acl/token/" + accessor, Want: `{` + tokenJSON, Into: &api.ACLToken{}},
		resttest.Shape{Target: "/v1/acl/token/" + accessor + "?expanded", Into: &api.ACLTokenExpanded{},
			Want: `{"ExpandedPolicies":[` + policyJSON + `],"ExpandedRoles":[],"NamespaceDefaultPolicyIDs":null,"NamespaceDefaultRoleIDs":null,` +
				`"AgentACLDefaultPolicy":"deny","AgentACLDownPolicy":"extend-cache","ResolvedByAgent":"n1",` + tokenJSON},
		resttest.Shape{Target: "/v1/acl/tokens", Want: `[{` + tokenJSON + `]`, Into: &[]api.ACLTokenListEntry{}},
		resttest.Shape{Target: "/v1/acl/policy/" + id, Want: policyJSON, Into: &api.ACLPolicy{}},
		resttest.Shape{Target: "/v1/acl/policies", Into: &[]api.ACLPolicyListEntry{},
			Want: `[{"ID":"` + id + `","Name":"p","Description":"d","Datacenters":["dc1"],"Hash":"Ag==","CreateIndex":3,"ModifyIndex":4}]`},
		resttest.Shape{Target: "/v1/acl/role/" + id, Want: roleJSON, Into: &api.ACLRole{}},
		resttest.Shape{Target: "/v1/acl/roles", Want: `[` + roleJSON + `]`, Into: &[]api.ACLRole{}},
		resttest.Shape{Target: "/v1/acl/auth-method/m", Want: methodJSON + `,"Config":{"BoundIssuer":"x"}}`, Into: &api.ACLAuthMethod{}},
		resttest.Shape{Target: "/v1/acl/auth-methods", Want: `[` + methodJSON + `}]`, Into: &[]api.ACLAuthMethodListEntry{}},
		resttest.Shape{Target: "/v1/acl/binding-rule/" + id, Want: boundJSON, Into: &api.ACLBindingRule{}},
		resttest.Shape{Target: "/v1/acl/binding-rules", Want: `[` + boundJSON + `]`, Into: &[]api.ACLBindingRule{}},
		resttest.Shape{Target: "/v1/acl/replication", Into: &api.ACLReplicationStatus{},
			Want: `{"Enabled":true,"Running":true,"SourceDatacenter":"dc2","ReplicationType":"tokens","ReplicatedIndex":5,"ReplicatedRoleIndex":5,` +
				`"ReplicatedTokenIndex":5,"LastSuccess":"2026-01-02T03:04:05Z","LastError":"0001-01-01T00:00:00Z","LastErrorMessage":""}`},
	)
	empty := &resttest.Caller{}
	for _, target := range []string{"tokens", "policies", "roles", "auth-methods", "binding-rules"} {
		serve(t, empty).Check(t, resttest.Case{Method: "GET", Target: "/v1/acl/" + target, Status: 200, Want: "[]"})
	}
}

// Clients match on the statuses and texts of what is not there.
func TestWhatIsNotThere(t *testing.T) {
	s := serve(t, datacenter())
	for target, want := range map[string]resttest.Case{
		"token/" + id:          {Status: 403, Want: "token does not exist: ACL not found"},
		"policy/" + accessor:   {Status: 403, Want: "policy does not exist: ACL not found"},
		"policy/name/none":     {Status: 403, Want: "policy does not exist: ACL not found"},
		"role/" + accessor:     {Status: 404, Want: "role does not exist: ACL not found"},
		"role/name/none":       {Status: 404, Want: "role does not exist: ACL not found"},
		"auth-method/none":     {Status: 404, Want: "auth method does not exist: ACL not found"},
		"binding-rule/" + "99": {Status: 404, Want: "binding rule does not exist: ACL not found"},
	} {
		want.Method, want.Target = "GET", "/v1/acl/"+target
		s.Check(t, want)
	}
	s.Check(t,
		resttest.Case{Method: "GET", Target: "/v1/acl/templated-policy/name/none", Status: 404, Want: "~no such ACL templated policy"},
		resttest.Case{Method: "GET", Target: "/v1/acl/token/", Status: 400, Want: "Missing token AccessorID"},
		resttest.Case{Method: "PUT", Target: "/v1/acl/bootstrap", Status: 403, Want: "Permission denied: ACL bootstrap no longer allowed (reset index: 13)"},
		resttest.Case{Method: "PUT", Target: "/v1/acl/token/" + id, Body: `{"AccessorID":"x"}`, Status: 400, Want: "token AccessorID in URL and payload do not match"},
		resttest.Case{Method: "PUT", Target: "/v1/acl/policy/" + id, Body: `{"ID":"x"}`, Status: 400, Want: "Policy ID in URL and payload do not match"},
		resttest.Case{Method: "PUT", Target: "/v1/acl/role/" + id, Body: `{"ID":"x"}`, Status: 400, Want: "Role ID in URL and payload do not match"},
		resttest.Case{Method: "PUT", Target: "/v1/acl/auth-method/m", Body: `{"Name":"x"}`, Status: 400, Want: "Auth Method name in URL and payload do not match"},
		resttest.Case{Method: "PUT", Target: "/v1/acl/binding-rule/" + id, Body: `{"ID":"x"}`, Status: 400, Want: "Binding rule ID in URL and payload do not match"},
		resttest.Case{Method: "PUT", Target: "/v1/acl/auth-method", Body: `{"Name":"x","Config":[]}`, Status: 400, Want: "~Config: want an object"},
		resttest.Case{Method: "PUT", Target: "/v1/acl/token", Body: `{"Local":7}`, Status: 400, Want: "~Local: want bool"},
		resttest.Case{Method: "PUT", Target: "/v1/acl/token", Body: `{"ExpirationTTL":"soon"}`, Status: 400, Want: "~invalid duration"},
		resttest.Case{Method: "GET", Target: "/v1/acl/tokens?servicename=s&authmethod=a", Status: 400, Want: "~can only filter by one of"},
		resttest.Case{Method: "POST", Target: "/v1/acl/logout", Status: 401, Want: "~token required"},
	)
	for _, target := range []string{"token/" + id, "policy/" + id, "role/" + id, "auth-method/m", "binding-rule/" + id} {
		s.Check(t, resttest.Case{Method: "DELETE", Target: "/v1/acl/" + target, Status: 200, Want: "true"})
	}
}

// What is written reaches the datacenter as the client said it, durations as a text or
// as nanoseconds.
func TestWhatIsWritten(t *testing.T) {
	c := datacenter()
	s := serve(t, c)
	for _, ttl := range []string{`"1h"`, `3600000000000`} {
		s.Do("PUT", "/v1/acl/token", `{"Description":"d","ExpirationTTL":`+ttl+`,"Policies":[{"Name":"p"}],"Unknown":1}`)
		if r := resttest.Requested[acl.SetTokenRequest](t, c); !r.Create || r.TTL != time.Hour || r.Token.Description != "d" || r.Token.Policies[0].Name != "p" {
			t.Errorf("%+v", r)
		}
		s.Do("PUT", "/v1/acl/auth-method", `{"Name":"m","Type":"jwt","MaxTokenTTL":`+ttl+`,"Config":{"BoundIssuer":"x"}}`)
		if r := resttest.Requested[acl.SetMethodRequest](t, c); !r.Create || r.Method.MaxTokenTTL != time.Hour || string(r.Method.Config) != `{"BoundIssuer":"x"}` {
			t.Errorf("%+v", r)
		}
	}
	s.Do("PUT", "/v1/acl/token/"+accessor, `{"Local":true}`)
	if r := resttest.Requested[acl.SetTokenRequest](t, c); r.Create || r.Token.AccessorID != accessor || !r.Token.Local {
		t.Errorf("%+v", r)
	}
	s.Do("PUT", "/v1/acl/token/"+accessor+"/clone", `{"Description":"c"}`)
	if r := resttest.Requested[acl.SetTokenRequest](t, c); !r.Create || r.From != accessor || r.Token.Description != "c" {
		t.Errorf("%+v", r)
	}
	s.Do("PUT", "/v1/acl/bootstrap", `{"BootstrapSecret":"`+secret+`"}`, "X-Consul-Token", "of before")
	if r := resttest.Requested[acl.BootstrapRequest](t, c); r.Token.SecretID != secret || c.Header().Token != "" {
		t.Errorf("%+v with the token %q", r, c.Header().Token)
	}
	s.Do("POST", "/v1/acl/login", `{"AuthMethod":"m","BearerToken":"b","Meta":{"a":"c"}}`, "X-Consul-Token", "of before")
	if r := resttest.Requested[acl.LoginRequest](t, c); r.Method != "m" || r.Bearer != "b" || r.Meta["a"] != "c" || c.Header().Token != "" {
		t.Errorf("%+v with the token %q", r, c.Header().Token)
	}
	s.Do("POST", "/v1/acl/logout", "", "X-Consul-Token", secret)
	if r := resttest.Requested[acl.SecretRequest](t, c); r.Secret != secret || c.Header().Token != secret {
		t.Errorf("%+v", r)
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	resttest.CheckAsked(t, func(t testing.TB, c op.Caller) *resttest.Server { return serve(t, c) }, map[string]any{
		"/v1/acl/tokens?policy=p":          &acl.TokensRequest{Policy: "p"},
		"/v1/acl/tokens?role=r":            &acl.TokensRequest{Role: "r"},
		"/v1/acl/tokens?servicename=s":     &acl.TokensRequest{ServiceName: "s"},
		"/v1/acl/tokens?authmethod=m":      &acl.TokensRequest{AuthMethod: "m"},
		"/v1/acl/roles?policy=p":           &acl.RolesRequest{Policy: "p"},
		"/v1/acl/binding-rules?authmethod": &acl.BindingsRequest{},
	})
	c := datacenter()
	s := serve(t, c)
	for target, want := range map[string]acl.TokenRequest{
		"self?token=" + secret: {Secret: secret}, "self": {Secret: acl.AnonymousSecret}, accessor + "?expanded": {Accessor: accessor, Expanded: true},
	} {
		s.Do("GET", "/v1/acl/token/"+target, "")
		if r := resttest.Requested[acl.TokenRequest](t, c); r != want {
			t.Errorf("%s: %+v", target, r)
		}
	}
}

// Names with a slash come twice escaped from the official client.
func TestNamesAreUnescaped(t *testing.T) {
	c := datacenter()
	client := resttest.Client(t, serve(t, c).Listen(t)).ACL()
	for name, ask := range map[string]func(string){
		"builtin/global-read-only": func(n string) { _, _, _ = client.PolicyReadByName(n, nil) },
		"a role/%":                 func(n string) { _, _, _ = client.RoleReadByName(n, nil) },
		"a method":                 func(n string) { _, _, _ = client.AuthMethodRead(n, nil) },
	} {
		ask(name)
		if r := resttest.Requested[acl.NamedRequest](t, c); r.Name != name {
			t.Errorf("%q arrives as %q", name, r.Name)
		}
	}
}

// The header is for what is left out; a hidden secret leaves nothing out.
func TestHiddenSecretsFilterNothing(t *testing.T) {
	c := datacenter()
	c.Meta = &op.Meta{Index: 7, Filtered: true}
	for _, target := range []string{"tokens", "auth-methods", "token/" + accessor} {
		rec := serve(t, c).Do("GET", "/v1/acl/"+target, "")
		if got := rec.Header().Get("X-Consul-Results-Filtered-By-ACLs"); rec.Code != 200 || got != "" {
			t.Errorf("%s: %d, filtered %q", target, rec.Code, got)
		}
	}
}

// What the agent shows for who brings no token is used, and its secret told to nobody.
func TestTheAgentsTokenIsNotGivenAway(t *testing.T) {
	c := datacenter()
	c.Answers[acl.GetToken.Name] = resttest.Answer(func(r *acl.TokenRequest) (any, error) {
		return &acl.TokenResult{Token: acl.Token{AccessorID: accessor, SecretID: r.Secret}, Own: r.Accessor == ""}, nil
	})
	s := serve(t, c, func(cfg *rest.Config) { cfg.DefaultToken = func() string { return secret } })
	for _, target := range []string{"/v1/acl/token/self", "/v1/acl/token/self?expanded"} {
		if rec := s.Do("GET", target, ""); rec.Code != 200 || strings.Contains(rec.Body.String(), secret) || !strings.Contains(rec.Body.String(), accessor) {
			t.Errorf("%s without a token: %d %s", target, rec.Code, rec.Body)
		}
		if rec := s.Do("GET", target, "", "X-Consul-Token", secret); !strings.Contains(rec.Body.String(), secret) {
			t.Errorf("%s with it: %d %s", target, rec.Code, rec.Body)
		}
	}
	if rec := serve(t, c).Do("GET", "/v1/acl/token/self", ""); !strings.Contains(rec.Body.String(), `"SecretID":"anonymous"`) {
		t.Errorf("the anonymous token is no secret: %s", rec.Body)
	}
}

// Who brings no token gives none back, whatever the agent uses in its place.
func TestTheAgentsTokenIsNotLoggedOut(t *testing.T) {
	c := datacenter()
	s := serve(t, c, func(cfg *rest.Config) { cfg.DefaultToken = func() string { return secret } })
	s.Check(t, resttest.Case{Method: "POST", Target: "/v1/acl/logout", Status: 401, Want: "~token required"})
	if asked := c.Asked(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
}

func TestWithoutAccessControlEveryRouteRefuses(t *testing.T) {
	c := datacenter()
	off := area(c)
	off.Config.Enabled = false
	s := resttest.Serve(t, off.Routes())
	asked := 0
	for _, row := range area(c).Routes() {
		for method, there := range map[string]bool{"GET": row.Get != nil, "PUT": row.Put != nil, "POST": row.Post != nil, "DELETE": row.Delete != nil} {
			if !there {
				continue
			}
			asked++
			s.Check(t, resttest.Case{Method: method, Target: strings.Replace(row.Path, "*", "x", 1), Status: http.StatusUnauthorized, Want: "ACL support disabled"})
		}
	}
	if asked < 37 || len(c.Asked()) > 0 {
		t.Errorf("%d methods, the datacenter was asked %q", asked, c.Asked())
	}
}

// Routes that are said to block hand ?index on, and no other does.
func TestBlockingRoutesAreMarked(t *testing.T) {
	for _, r := range area(nil).Routes() {
		if r.Get == nil {
			continue
		}
		c := datacenter()
		target := r.Path
		if strings.HasSuffix(target, "/") {
			target += "x"
		}
		serve(t, c).Do("GET", target+"?index=3&wait=1ms", "")
		if waits := c.Header().MinIndex == 3; waits != r.Blocks {
			t.Errorf("%s: waits %t, marked %t", r.Path, waits, r.Blocks)
		}
	}
}

// reader may read access control and the key a, and nothing else.
type reader struct{}

func (reader) Allow(r rules.Resource, access rules.Access, name string) bool {
	return access == rules.Read && (r == rules.ACL || r == rules.Key && name == "a")
}

func (reader) Who() string { return rules.Anonymous }

type nobody struct{ reader }

func (nobody) Allow(rules.Resource, rules.Access, string) bool { return false }

func as(a rules.Authorizer) func(*rest.Config) {
	return func(c *rest.Config) {
		c.Authorizer = func(context.Context, string) (rules.Authorizer, error) { return a, nil }
	}
}

func TestTemplatedPolicies(t *testing.T) {
	s := serve(t, datacenter(), as(reader{}))
	var all map[string]api.ACLTemplatedPolicyResponse
	client := resttest.Client(t, s.Listen(t)).ACL()
	all, _, err := client.TemplatedPolicyList(nil)
	if err != nil || all["builtin/service"].TemplateName != "builtin/service" || len(all) < 6 {
		t.Errorf("%v %v", all, err)
	}
	one, _, err := client.TemplatedPolicyReadByName("builtin/node", nil)
	if err != nil || one == nil || !strings.Contains(one.Template, "{{.Name}}") {
		t.Errorf("%v %v", one, err)
	}
	if none, _, err := client.TemplatedPolicyReadByName("builtin/none", nil); none != nil || err != nil {
		t.Errorf("%v %v", none, err)
	}
	p, _, err := client.TemplatedPolicyPreview(&api.ACLTemplatedPolicy{TemplateName: "builtin/service", TemplateVariables: &api.ACLTemplatedPolicyVariables{Name: "web"}}, nil)
	if err != nil || !strings.Contains(p.Rules, `service "web" {`) || !strings.HasPrefix(p.Name, "synthetic-policy-") {
		t.Errorf("%+v %v", p, err)
	}
	if _, _, err := client.TemplatedPolicyPreview(&api.ACLTemplatedPolicy{TemplateName: "builtin/service"}, nil); err == nil {
		t.Error("a templated policy for a name was made without one")
	}
	denied := serve(t, datacenter(), as(nobody{}))
	for target, method := range map[string]string{"templated-policies": "GET", "templated-policy/name/builtin/dns": "GET", "templated-policy/preview/builtin/dns": "POST"} {
		denied.Check(t, resttest.Case{Method: method, Target: "/v1/acl/" + target, Status: 403, Want: "~lacks permission 'acl:read'"})
	}
}

// An editor shows each rule and each fault where it stands, and nothing of it is stored.
func TestRulesAreReadWithoutStoringThem(t *testing.T) {
	const target = "/v1/internal/acl/rules"
	c := datacenter()
	serve(t, c, as(reader{})).Check(t,
		resttest.Case{Method: "POST", Target: target, Status: 200, Body: "key_prefix \"a/\" {\n  policy = \"write\"\n}\nacl = \"read\"\n",
			Want: `{"Rules":[{"Line":2,"Resource":"key","Prefix":true,"Name":"a/","Access":"write"},{"Line":4,"Resource":"acl","Access":"read"}],"Faults":[]}`},
		resttest.Case{Method: "POST", Target: target, Status: 200, Body: "acl = \"read\"\nnode \"n\" { policy = \"list\" }\ncheese = \"write\"",
			Want: `~"Rules":[{"Line":1,"Resource":"acl","Access":"read"}],"Faults":[{"Line":2,"Text":"node \"n\": policy = \"list\" is for keys only`},
		resttest.Case{Method: "POST", Target: target, Status: 200, Body: "acl = \"read\"\n{", Want: `~"Faults":[{"Line":2,`},
		resttest.Case{Method: "POST", Target: target, Status: 200, Want: `{"Rules":[],"Faults":[]}`},
		resttest.Case{Method: "POST", Target: target, Status: 413, Body: strings.Repeat("#", rest.MaxBody+1), Want: "~"},
	)
	if calls := c.Asked(); len(calls) > 0 {
		t.Errorf("the datacenter was asked for %v", calls)
	}
	serve(t, datacenter(), as(nobody{})).Check(t, resttest.Case{Method: "POST", Target: target, Status: 403, Want: "~lacks permission 'acl:read'"})
}

func TestAuthorize(t *testing.T) {
	const target = "/v1/internal/acl/authorize"
	s := serve(t, datacenter(), as(reader{}))
	s.Check(t,
		resttest.Case{Method: "POST", Target: target + "?dc=dc1", Status: 200,
			Body: `[{"Resource":"key","Access":"read","Segment":"a"},{"Resource":"key","Access":"read","Segment":"b"},{"Resource":"acl","Access":"write"}]`,
			Want: `[{"Resource":"key","Access":"read","Segment":"a","Allow":true},{"Resource":"key","Access":"read","Segment":"b","Allow":false},{"Resource":"acl","Access":"write","Segment":"","Allow":false}]`},
		resttest.Case{Method: "POST", Target: target, Body: `[]`, Status: 200, Want: `[]`},
		resttest.Case{Method: "POST", Target: target, Body: `[{"Resource":"cheese","Access":"read"}]`, Status: 400, Want: `Invalid resource "cheese"`},
		resttest.Case{Method: "POST", Target: target, Body: `[{"Resource":"node","Access":"list"}]`, Status: 400, Want: `Invalid access "list" for the resource node`},
		resttest.Case{Method: "POST", Target: target, Body: `[{"Resource":"key","Access":"write-all"}]`, Status: 400, Want: `~Invalid access`},
		resttest.Case{Method: "POST", Target: target + "?dc=dc2", Body: `[{"Resource":"cheese","Access":"read"}]`, Status: 400, Want: `Invalid resource "cheese"`},
		resttest.Case{Method: "POST", Target: target, Body: `[` + strings.Repeat(`{},`, 64) + `{}]`, Status: 400, Want: `~more than 64`},
	)
	c := datacenter() // the other datacenter answers for itself
	c.Answers[acl.Authorize.Name] = resttest.Answer(func(r *acl.Questions) (any, error) {
		said := acl.Questions{Questions: slices.Clone(r.Questions)}
		said.Answer(rules.AllowAll())
		return &said, nil
	})
	serve(t, c, as(reader{})).Check(t, resttest.Case{Method: "POST", Target: target + "?dc=dc2", Status: 200,
		Body: `[{"Resource":"acl","Access":"write"}]`, Want: `[{"Resource":"acl","Access":"write","Segment":"","Allow":true}]`})
	if h := c.Header(); h.Datacenter != "dc2" {
		t.Errorf("asked of %q", h.Datacenter)
	}
}

// What another token may do is asked of the datacenter, for that token alone.
func TestRightsOfAnotherTokenAreAsked(t *testing.T) {
	c := datacenter()
	c.Answers[acl.AuthorizeToken.Name] = resttest.Answer(func(r *acl.TokenQuestions) (any, error) {
		if r.AccessorID != "known" {
			return nil, nil
		}
		return &acl.Questions{Questions: []acl.Question{{Resource: "key", Access: "read", Segment: "a", Allow: true}}}, nil
	})
	const target, asked = "/v1/internal/acl/authorize?accessor=", `[{"Resource":"key","Access":"read","Segment":"a"}]`
	serve(t, c, as(reader{})).Check(t,
		resttest.Case{Method: "POST", Target: target + "known", Status: 200, Body: asked, Want: `[{"Resource":"key","Access":"read","Segment":"a","Allow":true}]`},
		resttest.Case{Method: "POST", Target: target + "unknown", Status: 403, Body: asked, Want: "token does not exist: ACL not found"},
		resttest.Case{Method: "POST", Target: target + "known", Status: 400, Body: `[{"Resource":"cheese","Access":"read"}]`, Want: `~Invalid resource`},
	)
}
