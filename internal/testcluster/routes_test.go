package testcluster_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi"
	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
)

// manager is the secret of a token that manages everything, in the clusters of locked.
const manager = "11111111-aaaa-4aaa-8aaa-111111111111"

// locked has access control, and nobody may do anything without a token. The agents
// themselves have the manager's.
func locked(c *config.Config) {
	c.ACL.Enabled, c.ACL.DefaultPolicy = true, "deny"
	c.ACL.Tokens.Agent = manager
	c.ACL.TokenTTL = time.Second
	if c.Server {
		c.ACL.Tokens.InitialManagement = manager
	}
}

// asking is an agent that is asked with tokens.
type asking struct {
	t     *testing.T
	c     *testcluster.Cluster
	node  *testcluster.Node
	words *strings.Replacer // what rows have in place of names and IDs
}

// do returns the status, the body and the header of an answer. Of one that does not end
// it reads the beginning.
func (a *asking) do(secret, method, target, body string) (int, string, http.Header) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.node.HTTPAddr()+target, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if secret != "" {
		req.Header.Set("X-Consul-Token", secret)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer res.Body.Close()
	if res.StatusCode == 200 && (strings.HasSuffix(target, "/stream") || strings.Contains(target, "/monitor")) {
		return res.StatusCode, "", res.Header
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, target, err)
	}
	return res.StatusCode, string(b), res.Header
}

// must carries out what prepares a test, and returns the named member of the answer.
func (a *asking) must(method, target, body, member string) string {
	a.t.Helper()
	code, text, _ := a.do(manager, method, target, body)
	if code != 200 {
		a.t.Fatalf("%s %s: %d %s", method, target, code, text)
	}
	answer := map[string]any{}
	if member != "" {
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			a.t.Fatalf("%s %s: %v", method, target, err)
		}
	}
	id, _ := answer[member].(string)
	return id
}

// secret makes a token with rules.
func (a *asking) secret(text string) string {
	a.t.Helper()
	body, err := json.Marshal(map[string]any{"Name": "p-" + uuid.NewString(), "Rules": text})
	if err != nil {
		a.t.Fatal(err)
	}
	id := a.must("PUT", "/v1/acl/policy", string(body), "ID")
	return a.must("PUT", "/v1/acl/token", `{"Policies":[{"ID":"`+id+`"}]}`, "SecretID")
}

// prepare makes what the rows speak of.
func (a *asking) prepare() {
	a.t.Helper()
	node := a.node.Name
	a.must("PUT", "/v1/agent/service/register", `{"ID":"w1","Name":"web","Port":80,"Check":{"CheckID":"c1","TTL":"1h","Status":"passing"}}`, "")
	a.must("PUT", "/v1/agent/check/register", `{"CheckID":"nc","Name":"nc","TTL":"1h","Status":"passing"}`, "")
	a.must("PUT", "/v1/kv/k", "v", "")
	a.must("PUT", "/v1/event/fire/deploy", "", "")
	words := []string{"$NODE", node, "$SERVER", a.c.Nodes()[0].IP,
		"$SESSION", a.must("PUT", "/v1/session/create", `{"NodeChecks":[]}`, "ID"),
		"$QUERY", a.must("POST", "/v1/query", `{"Name":"q","Service":{"Service":"web"}}`, "ID"),
		"$POLICY", a.must("PUT", "/v1/acl/policy", `{"Name":"p-`+node+`"}`, "ID"),
		"$ROLE", a.must("PUT", "/v1/acl/role", `{"Name":"r-`+node+`"}`, "ID"),
		"$TOKEN", a.must("PUT", "/v1/acl/token", `{}`, "AccessorID")}
	a.must("PUT", "/v1/acl/auth-method", `{"Name":"m-`+node+`","Type":"jwt","Config":`+methodConfig+`}`, "")
	words = append(words, "$BINDING", a.must("PUT", "/v1/acl/binding-rule", `{"AuthMethod":"m-`+node+`","BindType":"role","BindName":"x"}`, "ID"))
	a.words = strings.NewReplacer(words...)
	a.must("PUT", a.words.Replace("/v1/kv/held-$NODE?acquire=$SESSION"), "v", "")
	for _, route := range []string{"/v1/coordinate/node/" + node, "/v1/event/list"} {
		eventually(a.t, "an answer of "+route, 20*time.Second, func(context.Context) error {
			if code, text, _ := a.do(manager, "GET", route, ""); code != 200 || text == "[]" {
				return fmt.Errorf("%d %s", code, text)
			}
			return nil
		})
	}
}

// refused checks the answer to who has less than a row's rules.
func (a *asking) refused(row *routeRow, who, secret string) {
	a.t.Helper()
	method, target := a.target(row)
	code, text, header := a.do(secret, method, target, a.words.Replace(row.body))
	if strings.Contains(text, secret) && secret != "" {
		a.t.Errorf("%s %s: the answer shows a secret: %s", method, target, text)
	}
	hides := a.words.Replace(row.hides)
	switch {
	case code == 403 && strings.Contains(text, "lacks permission '"):
		if secret == "" && !strings.Contains(text, "anonymous token lacks") || secret != "" && !strings.Contains(text, "token with AccessorID '") {
			a.t.Errorf("%s %s with %s: the refusal does not say whose rights these are: %s", method, target, who, text)
		}
	case hides == "" || code != 200 && code != 404 || strings.Contains(text, hides):
		a.t.Errorf("%s %s with %s: %d %.300s", method, target, who, code, text)
	case header.Get("X-Consul-Results-Filtered-By-ACLs") != "true" && !strings.Contains(text, `"ResultsFilteredByACLs":true`):
		a.t.Errorf("%s %s with %s: it does not say that something was left out: %d %.300s", method, target, who, code, text)
	}
}

func (a *asking) target(row *routeRow) (method, target string) {
	method, path, _ := strings.Cut(row.route, " ")
	if row.target != "" {
		path = a.words.Replace(row.target)
	}
	return method, path
}

// check asks for a row with all kinds of tokens.
func (a *asking) check(row *routeRow, gone, nothing string) {
	method, target := a.target(row)
	body, want := a.words.Replace(row.body), row.want
	if row.everybody != "" {
		code, text, _ := a.do("", method, target, body)
		if want != 0 && code != want || want == 0 && code == 403 || strings.Contains(text, "lacks permission") {
			a.t.Errorf("%s %s is for everybody: %d %s", method, target, code, text)
		}
		return
	}
	if want == 0 {
		want = 200
	}
	for _, secret := range []string{"made-up", gone} {
		if code, text, _ := a.do(secret, method, target, body); code != 403 || text != "ACL not found" {
			a.t.Errorf("%s %s with secret %s: %d %s", method, target, secret, code, text)
		}
	}
	a.refused(row, "no token", "")
	a.refused(row, "no rights", nothing)
	enough := a.words.Replace(row.enough)
	for _, less := range fewer(a.t, enough) {
		a.refused(row, fmt.Sprintf("rules %q", less), a.secret(less))
	}
	if row.last {
		return
	}
	code, text, _ := a.do(a.secret(enough), method, target, body)
	if code != want || !strings.Contains(text, a.words.Replace(row.hides)) || strings.Contains(text, "lacks permission") {
		a.t.Errorf("%s %s with %s: %d %.300s", method, target, enough, code, text)
	}
}

// fewer are the rules with one left out, or lowered.
func fewer(t *testing.T, text string) []string {
	t.Helper()
	p, err := rules.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var out []string
	for i, r := range p.Rules {
		less := rules.Policy{Rules: slices.Delete(slices.Clone(p.Rules), i, i+1)}
		if len(p.Rules) > 1 {
			out = append(out, less.Text())
		}
		if r.Access == rules.Write || r.Access == rules.List {
			less = rules.Policy{Rules: slices.Clone(p.Rules)}
			less.Rules[i].Access = rules.Read
			out = append(out, less.Text())
		}
	}
	return out
}

// Each route of an agent is asked by callers of all kinds, of a client agent and of a
// server. The rules of the table are enough, and each of them is needed.
func TestEachRouteAsksForItsRights(t *testing.T) {
	t.Parallel()
	rows := askedRoutes()
	known := map[string]bool{}
	for _, r := range rows {
		known[r.route] = true
	}
	for _, r := range httpapi.Routes(httpapi.Config{Authority: func() *x509.Certificate { return nil }}) {
		for method, h := range map[string]bool{"GET": r.Get != nil, "PUT": r.Put != nil, "POST": r.Post != nil, "DELETE": r.Delete != nil} {
			route := method + " " + r.Path
			if h && !known[route] {
				t.Errorf("%s is not in the table of routes", route)
			}
			known[route] = known[route] && !h
		}
	}
	for route, unasked := range known {
		if unasked {
			t.Errorf("%s is in the table, and no route", route)
		}
	}
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 1, Clients: 1, Key: bytes.Repeat([]byte{7}, 32), Configure: locked})
	for _, node := range []*testcluster.Node{c.Nodes()[1], c.Nodes()[0]} {
		a := &asking{t: t, c: c, node: node}
		a.prepare()
		gone, nothing := a.revoked(), a.secret("")
		for i := range rows {
			if node.Server || !rows[i].server {
				a.check(&rows[i], gone, nothing)
			}
		}
	}
}

// revoked makes a token that may do everything, and takes it away. One that has ended
// lives for a minute at least: the test of all operations has such.
func (a *asking) revoked() string {
	a.t.Helper()
	body := `{"AccessorID":"` + uuid.NewString() + `","SecretID":"` + uuid.NewString() + `","Policies":[{"ID":"` + acl.ManagementID + `"}]}`
	secret := a.must("PUT", "/v1/acl/token", body, "SecretID")
	a.must("DELETE", "/v1/acl/token/"+strings.Split(body, `"`)[3], "", "")
	return secret
}
