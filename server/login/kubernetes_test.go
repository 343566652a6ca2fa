package login

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/login/logintest"
	"github.com/legate-project/legate/state/acl"
)

// Who shows the token of a service account is that service account, or what it says of
// itself.
func TestLogInByKubernetes(t *testing.T) {
	h, k := newHarness(t), logintest.NewCluster(t)
	h.must(h.method(acl.Method{Name: "k", Type: "kubernetes"}, object{"Host": k.URL, "CACert": k.CA, "ServiceAccountJWT": k.Reviewer}))
	h.must(h.bind(acl.Binding{AuthMethod: "k", BindType: acl.BindService, BindName: "${serviceaccount.name}", Selector: `serviceaccount.namespace == "apps" and serviceaccount.uid matches "^u-"`}))
	k.Tokens = map[string]string{
		"web.of.apps": "system:serviceaccount:apps:web", "api.of.apps": "system:serviceaccount:apps:api", "gone.of.apps": "system:serviceaccount:apps:gone",
		"web.of.test": "system:serviceaccount:test:web", "a.human.being": "alice", "too.many.parts": "system:serviceaccount:apps:web:x", "no.name.there": "system:serviceaccount:apps:",
		"another.kind.ofuser": "system:node:apps:web", "evil.annotation.here": "system:serviceaccount:apps:evil", "path.climbs.up": "system:serviceaccount:apps:../../test/serviceaccounts/web",
	}
	k.Annotations = map[string]map[string]string{"apps/web": nil, "apps/api": {"consul.hashicorp.com/service-name": "backend"}, "test/web": nil,
		"apps/evil": {"consul.hashicorp.com/service-name": "${serviceaccount.namespace}"}}
	for bearer, want := range map[string]string{"web.of.apps": "web", "api.of.apps": "backend"} {
		got, err := h.try("k", bearer)
		if err != nil || len(got.ServiceIdentities) != 1 || got.ServiceIdentities[0].ServiceName != want || got.Description != "token created via login" {
			t.Errorf("%s: %+v %v", bearer, got, err)
		}
	}
	for what, bearer := range map[string]string{"nobody's": "x.y.z", "no token": "x", "an account that is gone": "gone.of.apps", "one whom no rule is for": "web.of.test",
		"no service account": "a.human.being", "no such name": "too.many.parts", "an empty name": "no.name.there", "another kind": "another.kind.ofuser",
		"an annotation that is no name": "evil.annotation.here", "a name that is a path": "path.climbs.up"} {
		h.refuses(what, "k", bearer, op.CodeDenied)
	}
	if log := h.log.String(); strings.Contains(log, k.Reviewer) || strings.Contains(log, "web.of.test") {
		t.Errorf("the log shows tokens: %s", log)
	}
}

func TestClustersThatDoNotAnswer(t *testing.T) {
	h, k := newHarness(t), logintest.NewCluster(t)
	k.Tokens["web.of.apps"] = "system:serviceaccount:apps:web"
	var stolen string
	other := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen = r.Header.Get("Authorization") + r.Host }))
	defer other.Close()
	away := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer away.Close()
	for what, config := range map[string]object{
		"a reviewer that may not": {"Host": k.URL, "CACert": k.CA, "ServiceAccountJWT": "not.the.reviewer"},
		"nobody vouches for it":   {"Host": k.URL, "ServiceAccountJWT": k.Reviewer},
		"nobody there":            {"Host": "127.0.0.1:1", "ServiceAccountJWT": k.Reviewer},
		"one that sends away":     {"Host": away.URL, "CACert": logintest.Authority(away), "ServiceAccountJWT": k.Reviewer},
	} {
		name := strings.ReplaceAll(what, " ", "-")
		h.must(h.method(acl.Method{Name: name, Type: "kubernetes"}, config))
		h.must(h.bind(acl.Binding{AuthMethod: name, BindType: acl.BindService, BindName: "x"}))
		h.refuses(what, name, "web.of.apps", op.CodeInternal)
	}
	if stolen != "" {
		t.Errorf("the tokens went elsewhere: %s", stolen)
	}
	if log := h.log.String(); strings.Contains(log, k.Reviewer) || strings.Contains(log, "web.of.apps") || strings.Contains(log, "not.the.reviewer") {
		t.Errorf("the log shows tokens: %s", log)
	}
}
