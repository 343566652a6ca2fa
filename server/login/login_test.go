package login

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/login/logintest"
	"github.com/legate-project/legate/state/acl"
)

// good are claims that everybody accepts who trusts the issuer.
func (h *harness) good(s *logintest.Issuer, more object) object {
	now := h.clock()
	claims := object{"iss": s.URL, "aud": "legate", "sub": "repo:a/b", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "name": "web"}
	for k, v := range more {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	return claims
}

// config is a configuration that trusts the issuer.
func config(s *logintest.Issuer, more object) object {
	c := object{"JWKSURL": s.URL + "/keys", "JWKSCACert": s.CA, "JWTSupportedAlgs": []string{"ES256"}, "BoundIssuer": s.URL, "BoundAudiences": []string{"legate"},
		"ClaimMappings": object{"name": "name", "/deep/er": "deep", "extra": "extra"}, "ListClaimMappings": object{"groups": "groups"}}
	for k, v := range more {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func publicPEM(t *testing.T, s *logintest.Issuer) string {
	t.Helper()
	key := s.Key()
	der, err := x509.MarshalPKIXPublicKey(key.Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Wherever the keys come from, who has a token of the issuer gets one of ours.
func TestLogInByJWT(t *testing.T) {
	h, s := newHarness(t), logintest.NewIssuer(t)
	role, policy := h.role("deployers"), h.policy("web-rules")
	for name, from := range map[string]object{
		"keys": {"JWTValidationPubKeys": []string{publicPEM(t, s)}}, "jwks": {"JWKSURL": s.URL + "/keys", "JWKSCACert": s.CA},
		"discovery": {"OIDCDiscoveryURL": s.URL, "OIDCDiscoveryCACert": s.CA, "BoundIssuer": nil},
	} {
		c := config(s, object{"JWKSURL": nil, "JWKSCACert": nil})
		for k, v := range from {
			c[k] = v
		}
		h.must(h.method(acl.Method{Name: name, Type: "jwt", MaxTokenTTL: time.Hour, TokenNameFormat: "${auth_method_name}-${value.name}"}, c))
		for _, b := range []acl.Binding{
			{BindType: acl.BindRole, BindName: "deployers", Selector: `value.name == "web" and "ops" in list.groups`},
			{BindType: acl.BindRole, BindName: "not-${value.name}"}, // there is none
			{BindType: acl.BindPolicy, BindName: "${value.name}-rules"},
			{BindType: acl.BindService, BindName: "${value.name}"}, {BindType: acl.BindNode, BindName: "n-${value.name}"},
			{BindType: acl.BindTemplate, BindName: "builtin/service", BindVars: &acl.Variables{Name: "${value.deep}"}},
			{BindType: acl.BindService, BindName: "never", Selector: `value.name != "web"`},
			{BindType: acl.BindService, BindName: "${value.extra}"}, // not in the token
		} {
			b.AuthMethod = name
			h.must(h.bind(b))
		}
		bearer := s.Sign(h.good(s, object{"groups": []string{"dev", "ops"}, "deep": object{"er": "api"}}))
		got, err := h.answer(t.Context(), op.Header{}, &acl.LoginRequest{Method: name, Bearer: bearer, Meta: map[string]string{"pod": "p1"}})
		if err != nil {
			t.Fatalf("%s: %v; %s", name, err, h.log)
		}
		want := fmt.Sprintf("token created via login: {\"pod\":\"p1\"} %s true 1h0m0s [{%s deployers}] [{%s web-rules}] [{web []}] [{n-web dc1}] builtin/service api %s-web-%s",
			name, role, policy, name, got.AccessorID[:8])
		if said := fmt.Sprint(got.Description, " ", got.AuthMethod, " ", got.Local, " ", got.ExpirationTime.Sub(got.CreateTime).Round(time.Second), " ", got.Roles, " ", got.Policies, " ", got.ServiceIdentities, " ",
			got.NodeIdentities, " ", got.TemplatedPolicies[0].TemplateName, " ", got.TemplatedPolicies[0].TemplateVariables.Name, " ", got.Name); said != want {
			t.Errorf("%s:\n%s, want\n%s", name, said, want)
		}
		v := h.state.View()
		kept, err := acl.FindSecret(v, got.SecretID)
		if err != nil || kept == nil || kept.AccessorID != got.AccessorID {
			t.Errorf("the token is not kept: %v", err)
		}
		v.Close()
		if strings.Contains(h.log.String(), bearer[len(bearer)-20:]) {
			t.Error("the log shows the bearer")
		}
	}
}

func TestRequestsThatSayTooLittleOrTooMuch(t *testing.T) {
	h := newHarness(t)
	for what, c := range map[string]struct {
		r    acl.LoginRequest
		code op.Code
	}{
		"no method":       {acl.LoginRequest{Bearer: "x"}, op.CodeInvalid},
		"no bearer":       {acl.LoginRequest{Method: "m"}, op.CodeInvalid},
		"a long bearer":   {acl.LoginRequest{Method: "m", Bearer: strings.Repeat("x", acl.MaxBearer+1)}, op.CodeTooLarge},
		"much meta":       {acl.LoginRequest{Method: "m", Bearer: "x", Meta: map[string]string{"k": strings.Repeat("x", acl.MaxLoginMeta)}}, op.CodeTooLarge},
		"another's":       {acl.LoginRequest{Method: "m", Bearer: "x"}, op.CodeDenied},
		"the empty token": {acl.LoginRequest{Method: "m", Bearer: ".."}, op.CodeDenied},
	} {
		if _, err := h.answer(t.Context(), op.Header{}, &c.r); op.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
	}
}

// A rule that cannot give anything to anybody is refused when it is written.
func TestRulesThatFitNobody(t *testing.T) {
	h, s := newHarness(t), logintest.NewIssuer(t)
	h.must(h.method(acl.Method{Name: "m", Type: "jwt"}, config(s, nil)))
	for _, c := range []struct {
		rule acl.Binding
		want string
	}{
		{acl.Binding{BindType: acl.BindRole, BindName: "r"}, ""},
		{acl.Binding{BindType: acl.BindRole, BindName: "$${x"}, "is no name of a role"},
		{acl.Binding{BindType: acl.BindRole, BindName: "${value.colour}"}, `there is no variable "value.colour"`},
		{acl.Binding{BindType: acl.BindRole, BindName: "${list.groups}"}, `there is no variable "list.groups"`},
		{acl.Binding{BindType: acl.BindRole, BindName: "${value.name"}, "no closing }"},
		{acl.Binding{BindType: acl.BindService, BindName: "Web ${value.name}"}, "lower-case"},
		{acl.Binding{BindType: acl.BindTemplate, BindName: "builtin/what"}, "no such ACL templated policy"},
		{acl.Binding{BindType: acl.BindTemplate, BindName: "builtin/service", BindVars: &acl.Variables{Name: "${x}"}}, "there is no variable"},
		{acl.Binding{BindType: acl.BindRole, BindName: "r", Selector: `value.colour == "red"`}, "Selector is invalid"},
		{acl.Binding{BindType: acl.BindRole, BindName: "r", Selector: `value["colour"] != "red"`}, "does not tell value.colour"},
		{acl.Binding{BindType: acl.BindRole, BindName: "r", Selector: `"a" in list.groups and not "red" in list.colours`}, "does not tell list.colours"},
		{acl.Binding{BindType: acl.BindRole, BindName: "r", Selector: `any list.colours as c { c == "red" }`}, "does not tell list.colours"},
		{acl.Binding{BindType: acl.BindRole, BindName: "r", Selector: `any list.groups as value { value == "red" }`}, ""},
		{acl.Binding{BindType: acl.BindRole, BindName: "r", Selector: `colour == "red"`}, "Selector is invalid"},
		{acl.Binding{BindType: acl.BindRole, BindName: "r", Selector: `value.name == `}, "Selector is invalid"},
		{acl.Binding{BindType: acl.BindRole, BindName: "r", Selector: `value.name matches "` + strings.Repeat("a{1000}", 100) + `"`}, "patterns are too long"},
		{acl.Binding{BindType: acl.BindRole, BindName: "r", Selector: `value.name == "` + strings.Repeat("x", 5000) + `"`}, "longer than"},
	} {
		c.rule.AuthMethod = "m"
		switch err := h.bind(c.rule); {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.rule, err)
		case c.want != "" && (op.CodeOf(err) != op.CodeInvalid || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s %.60s: %v, want %q", c.rule.BindName, c.rule.Selector, err, c.want)
		}
	}
	if err := h.method(acl.Method{Name: "m2", Type: "jwt", TokenNameFormat: "${value.what}"}, config(s, nil)); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("a format of names with a variable that is not there: %v", err)
	}
	if err := h.method(acl.Method{Name: "m"}, object{"Host": "x"}); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("a method changed to what its type does not know: %v", err)
	}
}

// What a claim holds is a name or a reason to refuse, and nothing else.
func TestHostileClaims(t *testing.T) {
	h, s := newHarness(t), logintest.NewIssuer(t)
	h.must(h.method(acl.Method{Name: "m", Type: "jwt"}, config(s, nil)))
	h.must(h.bind(acl.Binding{AuthMethod: "m", BindType: acl.BindService, BindName: "${value.name}"}))
	for _, name := range []any{"${value.extra}", "a\" { policy = \"write\" } key_prefix \"", "Web", "a b", "a/b", "a\nb", "ä", strings.Repeat("x", 300), "-a", object{}, []string{"web"}} {
		h.refuses(fmt.Sprintf("%.40v", name), "m", s.Sign(h.good(s, object{"name": name, "extra": "admin"})), op.CodeDenied)
	}
	h.refuses("nothing is granted", "m", s.Sign(h.good(s, object{"name": nil})), op.CodeDenied)
	h.refuses("nothing is granted to the empty name", "m", s.Sign(h.good(s, object{"name": ""})), op.CodeDenied)
	h.refuses("a list that is none", "m", s.Sign(h.good(s, object{"groups": object{"a": 1}})), op.CodeDenied)
	if got, err := h.try("m", s.Sign(h.good(s, object{"name": 7, "groups": "one"}))); err != nil || got.ServiceIdentities[0].ServiceName != "7" {
		t.Errorf("a number: %v", err)
	}
}

// A change of a method counts for all who log in after it; the keys of before do not.
func TestChangesOfAMethodCount(t *testing.T) {
	h, s, other := newHarness(t), logintest.NewIssuer(t), logintest.NewIssuer(t)
	h.must(h.method(acl.Method{Name: "m", Type: "jwt"}, config(s, nil)))
	h.must(h.bind(acl.Binding{AuthMethod: "m", BindType: acl.BindService, BindName: "${value.name}"}))
	old, new_ := s.Sign(h.good(s, nil)), other.Sign(h.good(other, nil))
	h.accepts("before", "m", old)
	h.refuses("of another issuer", "m", new_, op.CodeDenied)
	h.must(h.method(acl.Method{Name: "m"}, config(other, nil)))
	h.refuses("of the issuer of before", "m", old, op.CodeDenied)
	h.accepts("after", "m", new_)
	h.must(h.method(acl.Method{Name: "m"}, config(other, object{"ClaimMappings": object{"sub": "sub"}})))
	h.refuses("a rule that names nothing any more", "m", new_, op.CodeDenied)
	h.must(h.method(acl.Method{Name: "m"}, config(other, nil)))
	h.must(h.bind(acl.Binding{AuthMethod: "m", BindType: acl.BindService, BindName: "x", Selector: `value.extra != "no"`}))
	h.accepts("a rule with a condition", "m", new_)
	h.must(h.method(acl.Method{Name: "m"}, config(other, object{"ClaimMappings": object{"name": "name"}})))
	if got, err := h.try("m", new_); err != nil || len(got.ServiceIdentities) != 1 {
		t.Errorf("a condition on what is not told any more is true: %v %v", got, err)
	}
	if _, _, err := acl.DeleteMethod.Call(t.Context(), h.self, op.Header{}, &acl.NamedRequest{Name: "m"}); err != nil {
		t.Fatal(err)
	}
	h.refuses("gone", "m", new_, op.CodeDenied)
}

// Who vouches for credentials and hangs costs those who log in by that method time, and
// nobody else.
func TestAnIssuerThatHangs(t *testing.T) {
	h, s, other := newHarness(t), logintest.NewIssuer(t), logintest.NewIssuer(t)
	for name, issuer := range map[string]*logintest.Issuer{"slow": s, "fast": other} {
		h.must(h.method(acl.Method{Name: name, Type: "jwt"}, config(issuer, nil)))
		h.must(h.bind(acl.Binding{AuthMethod: name, BindType: acl.BindService, BindName: "x"}))
	}
	asked := make(chan struct{}, 8)
	over := make(chan struct{})
	s.Instead(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-over:
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	login := func(ctx context.Context, err chan<- error) {
		_, e := h.answer(ctx, op.Header{}, &acl.LoginRequest{Method: "slow", Bearer: s.Sign(h.good(s, nil))})
		err <- e
	}
	go login(t.Context(), first)
	<-asked
	go login(ctx, second)
	h.accepts("another method meanwhile", "fast", other.Sign(h.good(other, nil)))
	cancel()
	if err := <-second; err == nil {
		t.Error("who went away was waited for")
	}
	close(over) // it ends the answer without any
	if err := <-first; op.CodeOf(err) != op.CodeInternal || strings.Contains(err.Error(), s.URL) {
		t.Errorf("who waited for it: %v", err)
	}
	if n := len(asked); n > 0 {
		t.Errorf("it was asked %d times more", n)
	}
	s.Instead(nil)
	h.refusesFor("asked again at once", "slow", s, op.CodeInternal)
	h.wait(againAfter)
	h.accepts("asked again later", "slow", s.Sign(h.good(s, nil)))
	if p := h.progress.InUse(); p != 0 {
		t.Errorf("%d still log in", p)
	}
}

func (h *harness) refusesFor(what, method string, s *logintest.Issuer, code op.Code) {
	h.t.Helper()
	h.refuses(what, method, s.Sign(h.good(s, nil)), code)
}
