//go:build linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// locked is the configuration of an agent that lets nobody in who shows no token.
func locked(more map[string]any) map[string]any {
	block := map[string]any{"enabled": true, "default_policy": "deny"}
	for k, v := range more {
		block[k] = v
	}
	return map[string]any{"acl": block}
}

// lockedPair is a server and a client agent without any token yet.
func lockedPair(t *testing.T) (server, client *node) {
	h := proctest.Loopback(t)
	server = start(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1, config: locked(nil)})
	client = start(t, spec{host: h, name: "c1", dc: "dc1", ip: h.Addr(1, 2), lan: []string{server.ip}, config: locked(map[string]any{"token_ttl": "1s"})})
	return server, client
}

// made makes a record by a command and returns it.
func made[T any](t *testing.T, n *node, args ...string) T {
	t.Helper()
	args[0] += " -format=json"
	var v T
	out := n.run(t, 0, args...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("legate %q: %v\n%s", args, err, out)
	}
	return v
}

// bootstrapped makes the first token as soon as there is a leader.
func bootstrapped(t *testing.T, n *node) api.ACLToken {
	t.Helper()
	proctest.Until(t, patience, "there is a leader", func() error { _, err := n.leader(""); return err })
	return made[api.ACLToken](t, n, "acl bootstrap")
}

// From nothing to a key that one token may write, and no other.
func TestFromNothingToAToken(t *testing.T) {
	t.Parallel()
	server, client := lockedPair(t)
	contains(t, "anonymous", server.run(t, 1, "kv put", "app/a", "1"), "Permission denied: anonymous token lacks permission 'key:write' on \"app/a\"")
	contains(t, "unknown before bootstrapping", server.run(t, 1, "kv put -token=11111111-1111-1111-1111-111111111111", "app/a", "1"), "ACL system must be bootstrapped")

	root := bootstrapped(t, server)
	contains(t, "bootstrapping twice", server.run(t, 1, "acl bootstrap"), "Permission denied: ACL bootstrap no longer allowed (reset index: ")
	asRoot := " -token=" + root.SecretID
	rules := filepath.Join(t.TempDir(), "rules.hcl")
	must(t, "write the rules", os.WriteFile(rules, []byte("key_prefix \"app/\" {\n  policy = \"write\"\n}\n"), 0o600))
	contains(t, "a policy", server.run(t, 0, "acl policy create"+asRoot+" -name=app -rules=@"+rules), "Name:         app\n", "key_prefix \"app/\" {\n")
	contains(t, "a fault in rules", server.run(t, 1, "acl policy create"+asRoot+" -name=bad", `-rules=key_prefx "a" { policy = "read" }`), "the agent answered 400", "key_prefx")
	app := made[api.ACLToken](t, server, "acl token create"+asRoot+" -policy-name=app -description=app")
	contains(t, "by the beginning of its ID", server.run(t, 0, "acl token read"+asRoot+" -id="+app.AccessorID[:13]), "SecretID:         "+app.SecretID)

	for _, n := range []*node{server, client} {
		asApp := " -token=" + app.SecretID
		proctest.Until(t, patience, "the agent knows a server", func() error {
			if r := n.cli("kv put"+asApp, "app/"+n.name, "1"); r.Code != 0 {
				return fmt.Errorf("%s", r.Stderr)
			}
			return nil
		})
		contains(t, "a key", n.run(t, 0, "kv get"+asApp, "app/"+n.name), "1\n")
		contains(t, "another key", n.run(t, 1, "kv put"+asApp, "other", "1"),
			"Permission denied: token with AccessorID '"+app.AccessorID+"' lacks permission 'key:write' on \"other\"")
		contains(t, "an unknown token", n.run(t, 1, "kv get -token=11111111-1111-1111-1111-111111111111", "app/a"), "the agent answered 403: ACL not found")
		contains(t, "its own token", n.run(t, 0, "acl token read -self"+asApp), app.AccessorID)
		contains(t, "access control", n.run(t, 1, "acl token list"+asApp), "lacks permission 'acl:read'")
	}
	testRevoked(t, server, client, app, asRoot)
	for _, n := range []*node{server, client} {
		if log := n.String(); strings.Contains(log, app.SecretID) || strings.Contains(log, root.SecretID) {
			t.Errorf("the log of %s has a secret", n.name)
		}
	}
}

// testRevoked takes rights away, and then the token.
func testRevoked(t *testing.T, server, client *node, app api.ACLToken, asRoot string) {
	asApp := " -token=" + app.SecretID
	server.run(t, 0, "acl policy update"+asRoot+" -name=app", `-rules=key_prefix "app/" { policy = "read" }`)
	for _, n := range []*node{server, client} {
		contains(t, "what was taken away", n.run(t, 1, "kv put"+asApp, "app/a", "2"), "lacks permission 'key:write' on \"app/a\"")
	}
	server.run(t, 0, "acl token delete"+asRoot+" -id="+app.AccessorID)
	for _, n := range []*node{server, client} {
		contains(t, "a token that is gone", n.run(t, 1, "kv get"+asApp, "app/a"), "ACL not found")
	}
}

// Who has lost all tokens, and has the leader's data_dir, makes a new one.
func TestBootstrappingIsDoneOnceMoreAfterAReset(t *testing.T) {
	t.Parallel()
	server, _ := lockedPair(t)
	first := bootstrapped(t, server)
	index := regexp.MustCompile(`reset index: (\d+)`).FindStringSubmatch(server.run(t, 1, "acl bootstrap"))
	if index == nil {
		t.Fatal("no reset index")
	}
	file := filepath.Join(server.dir, "acl-bootstrap-reset")
	must(t, "write another index", os.WriteFile(file, []byte("1"), 0o600))
	contains(t, "another index", server.run(t, 1, "acl bootstrap"), "no longer allowed (reset index: "+index[1]+")")
	must(t, "write the index", os.WriteFile(file, []byte(index[1]+"\n"), 0o600))
	second := made[api.ACLToken](t, server, "acl bootstrap")
	if second.SecretID == first.SecretID || second.SecretID == "" {
		t.Errorf("the token after a reset is %+v", second)
	}
	for _, secret := range []string{first.SecretID, second.SecretID} { // the old one goes on until somebody deletes it
		contains(t, "both tokens", server.run(t, 0, "acl token list -token="+secret), "Bootstrap Token (Global Management)")
	}
	contains(t, "the index counts once", server.run(t, 1, "acl bootstrap"), "no longer allowed (reset index: ")
}

// Each kind of record is made, changed, shown and deleted by command, against a real
// server, and by the official client where a command has no flag for it.
func TestRecordsOfAccessControlByCommand(t *testing.T) {
	t.Parallel()
	server, _ := lockedPair(t)
	root := bootstrapped(t, server)
	asRoot := " -token=" + root.SecretID
	do := func(code int, args ...string) string {
		t.Helper()
		words := strings.SplitN(args[0], " ", 4)
		args[0] = strings.Join(words[:3], " ") + asRoot + " " + strings.Join(words[3:], "")
		return server.run(t, code, args...)
	}
	do(0, "acl policy create -name=reader", `-rules=key_prefix "" { policy = "read" }`)
	do(0, "acl policy create -name=lister", `-rules=node_prefix "" { policy = "read" }`)
	role := made[api.ACLRole](t, server, "acl role create"+asRoot+" -name=readers -policy-name=reader -service-identity=web:dc1,dc2 -node-identity=n1:dc1 -templated-policy=builtin/service -var=name:api")
	contains(t, "a role", do(0, "acl role update -name=readers -policy-name=lister -description=all"), "Role updated successfully", "Description:  all", " - reader\n", " - lister\n",
		"web (Datacenters: dc1, dc2)", "n1 (Datacenter: dc1)", "builtin/service\n      Name: api")
	contains(t, "roles", do(0, "acl role list -meta"), "readers:\n   ID:           "+role.ID, "Create Index: ")
	token := made[api.ACLToken](t, server, "acl token create"+asRoot+" -role-id="+role.ID[:10]+" -expires-ttl=1h -local")
	contains(t, "a token", do(0, "acl token read -id="+token.AccessorID), "Local:            true", "Expiration Time:  ", "Roles:\n   "+role.ID+" - readers")
	contains(t, "what is behind it", do(0, "acl token read -expanded -id="+token.AccessorID), "Role Name: readers", "Policy Name: lister", "Resolved By Agent: \"s1\"", "Default Policy: deny")
	contains(t, "a clone", do(0, "acl token clone -id="+token.AccessorID), "Token cloned successfully.", "Local:            true", " - readers")
	contains(t, "what cannot be changed", do(1, "acl token create -role-name=none"), "the agent answered 400", "No such ACL role")
	contains(t, "too short a life", do(1, "acl token create -role-name=readers -expires-ttl=1s"), "ExpirationTime cannot be less than 1m0s")

	do(0, "acl auth-method create -name=ci -type=jwt -max-token-ttl=10m", "-config="+jwtConfig(t))
	contains(t, "a method", do(0, "acl auth-method update -name=ci -description=pipelines"), "Auth method updated successfully", "MaxTokenTTL:  10m0s", "JWTValidationPubKeys")
	contains(t, "a method that is not there", do(1, "acl auth-method read -name=none"), "there is none")
	binding := made[api.ACLBindingRule](t, server, "acl binding-rule create"+asRoot+" -method=ci -bind-type=role -bind-name=readers")
	contains(t, "a binding rule", do(0, "acl binding-rule update -id="+binding.ID[:10], "-selector=value.branch==main"), "Binding rule updated successfully", "Selector:     value.branch==main")
	contains(t, "binding rules", do(0, "acl binding-rule list -method=ci"), binding.ID+":\n")
	contains(t, "deletion", do(0, "acl auth-method delete -name=ci"), "deleted successfully")
	contains(t, "what went with it", do(1, "acl binding-rule read -id="+binding.ID), "there is none")

	contains(t, "templates", do(0, "acl templated-policy list"), "builtin/service\n")
	contains(t, "a template with its name", do(0, "acl templated-policy preview -name=builtin/service -var=name:api"), "service \"api\" {")
	contains(t, "a policy with a slash", do(0, "acl policy read -name=builtin/global-read-only"), "ID:           00000000-0000-0000-0000-000000000002")
	do(0, "acl role delete -name=readers")
	if out := do(0, "acl token read -id="+token.AccessorID); strings.Contains(out, "readers") {
		t.Errorf("a token refers to a role that is gone:\n%s", out)
	}
	client := clientOf(t, server.host, server.ip, root.SecretID).ACL()
	byService, _, err := client.TokenListFiltered(api.ACLTokenFilterOptions{ServiceName: "web"}, nil)
	if must(t, "list tokens", err); len(byService) != 0 {
		t.Errorf("%d tokens of their own for web", len(byService))
	}
}

// jwtConfig is the configuration of a method whose tokens nobody signs.
func jwtConfig(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, "make a key", err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	must(t, "encode the key", err)
	b, err := json.Marshal(map[string]any{"JWTValidationPubKeys": []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))},
		"JWTSupportedAlgs": []string{"ES256"}, "BoundIssuer": "ci", "ClaimMappings": map[string]string{"branch": "branch"}})
	must(t, "encode the configuration", err)
	return string(b)
}
