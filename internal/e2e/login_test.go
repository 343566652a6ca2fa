//go:build linux

package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
	"github.com/legate-project/legate/server/login/logintest"
)

// Who has a token of an issuer logs in at a client agent, may do what a binding rule
// gives, and nothing more, and gives the token back.
func TestLogInByJWT(t *testing.T) {
	t.Parallel()
	server, client := lockedPair(t)
	asRoot := " -token=" + bootstrapped(t, server).SecretID
	var l net.Listener
	must(t, "listen", server.host.Inside(func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:0"); return err }))
	issuer := logintest.NewIssuerAt(t, l)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	config, err := json.Marshal(map[string]any{"OIDCDiscoveryURL": issuer.URL, "OIDCDiscoveryCACert": issuer.CA, "JWTSupportedAlgs": []string{"ES256"},
		"BoundAudiences": []string{"legate"}, "ClaimMappings": map[string]string{"repository": "repository", "/job/name": "job"}})
	must(t, "write the configuration", err)
	must(t, "write the configuration", os.WriteFile(file("config"), config, 0o600))
	contains(t, "a configuration that cannot work", server.run(t, 1, "acl auth-method create"+asRoot+" -name=ci -type=jwt", `-config={"JWTSupportedAlgs":["HS256"],"JWKSURL":"https://h"}`),
		`JWTSupportedAlgs has "HS256", allowed are RS256`)
	server.run(t, 0, "acl auth-method create"+asRoot+" -name=ci -type=jwt -max-token-ttl=1h -config=@"+file("config"))
	contains(t, "a rule that fits nobody", server.run(t, 1, "acl binding-rule create"+asRoot+" -method=ci -bind-type=service", "-bind-name=${value.what}"), `there is no variable "value.what"`)
	server.run(t, 0, "acl binding-rule create"+asRoot+" -method=ci -bind-type=service", "-bind-name=${value.job}", `-selector=value.repository == "acme/web"`)

	now := time.Now()
	log := func(repository string) string {
		bearer := issuer.Sign(map[string]any{"iss": issuer.URL, "aud": "legate", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "repository": repository, "job": map[string]any{"name": "web"}})
		must(t, "write the credential", os.WriteFile(file("jwt"), []byte(bearer+"\n"), 0o600))
		return bearer
	}
	login := "login -method=ci -meta=run=7 -bearer-token-file=" + file("jwt") + " -token-sink-file=" + file("token")
	log("acme/other")
	proctest.Until(t, patience, "the agent knows a server", func() error { _, err := client.leader(""); return err })
	contains(t, "one whom no rule is for", client.run(t, 1, login), "the agent answered 403: Permission denied")
	bearer := log("acme/web")
	client.run(t, 0, login)
	asApp := " -token-file=" + file("token")
	own := made[api.ACLToken](t, client, "acl token read -self"+asApp)
	if own.AuthMethod != "ci" || own.Description != `token created via login: {"run":"7"}` || !own.Local || own.ExpirationTime == nil || len(own.ServiceIdentities) != 1 || own.ServiceIdentities[0].ServiceName != "web" {
		t.Errorf("the token is %+v", own)
	}
	client.run(t, 0, "services register"+asApp+" -name=web")
	contains(t, "another service", client.run(t, 1, "services register"+asApp+" -name=api"), "lacks permission 'service:write' on \"api\"")
	client.run(t, 0, "logout"+asApp)
	contains(t, "after giving it back", server.run(t, 1, "acl token read -self"+asApp), "ACL not found")
	contains(t, "giving back another one", client.run(t, 1, "logout"+asRoot), "this token was not got by logging in")
	for _, n := range []*node{server, client} {
		if log := n.String(); strings.Contains(log, bearer) || strings.Contains(log, own.SecretID) {
			t.Errorf("the log of %s has a secret", n.name)
		}
	}
}
