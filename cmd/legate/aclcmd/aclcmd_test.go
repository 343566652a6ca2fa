package aclcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

const (
	tokenA  = "986193b5-e2b5-eb26-6264-b524ea60cc6d"
	tokenB  = "98ff93b5-e2b5-eb26-6264-b524ea60cc6d"
	secret  = "ec15675e-2999-d789-832e-8c4794daa8d7"
	policyA = "06acc965-df4b-5a99-58cb-3250930c6324"
	roleA   = "57147d87-6bf7-f794-1a6e-7d038c4e4ae9"
	ruleA   = "0ec1bd2f-1d3b-bafb-d9bf-90ef04ab1890"

	tokenBody = `"AccessorID":"` + tokenA + `","SecretID":"` + secret + `","Description":"d","Policies":[{"ID":"` + policyA + `","Name":"p"}],` +
		`"ServiceIdentities":[{"ServiceName":"web"}],"NodeIdentities":[{"NodeName":"n1","Datacenter":"dc1"}],` +
		`"TemplatedPolicies":[{"TemplateName":"builtin/service","TemplateVariables":{"Name":"api"},"Datacenters":["dc2"]}],` +
		`"CreateTime":"2026-01-02T03:04:05Z","Hash":"AQI=","CreateIndex":3,"ModifyIndex":4}`
	token    = `{` + tokenBody
	tokens   = `[` + token + `,{"AccessorID":"` + tokenB + `","Description":"other","CreateTime":"2026-01-02T03:04:05Z"}]`
	policy   = `{"ID":"` + policyA + `","Name":"p","Description":"d","Rules":"key \"a\" {\n  policy = \"read\"\n}\n","Datacenters":["dc1","dc2"],"Hash":"Ag==","CreateIndex":3,"ModifyIndex":4}`
	role     = `{"ID":"` + roleA + `","Name":"r","Description":"d","Policies":[{"ID":"` + policyA + `","Name":"p"}],"CreateIndex":3,"ModifyIndex":4}`
	method   = `{"Name":"m","Type":"jwt","Description":"d","MaxTokenTTL":"1h0m0s","TokenLocality":"global","Config":{"BoundIssuer":"x"},"CreateIndex":3,"ModifyIndex":4}`
	binding  = `{"ID":"` + ruleA + `","Description":"d","AuthMethod":"m","Selector":"value.a==1","BindType":"service","BindName":"${value.name}","CreateIndex":3,"ModifyIndex":4}`
	template = `{"TemplateName":"builtin/service","Schema":"{}","Template":"service \"{{.Name}}\" {\n  policy = \"write\"\n}\n","Description":"d"}`
)

// created is the creation time as it is shown here.
var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Local().String()

var (
	tokenPage = "AccessorID:       " + tokenA + "\nSecretID:         " + secret + "\nDescription:      d\nLocal:            false\nCreate Time:      " + created + "\n"
	grantPage = "Policies:\n   " + policyA + " - p\nService Identities:\n   web (Datacenters: all)\nNode Identities:\n   n1 (Datacenter: dc1)\n" +
		"Templated Policies:\n   builtin/service\n      Name: api\n      Datacenters: dc2\n"
	policyPage  = "ID:           " + policyA + "\nName:         p\nDescription:  d\nDatacenters:  dc1, dc2\nRules:\nkey \"a\" {\n  policy = \"read\"\n}\n"
	rolePage    = "ID:           " + roleA + "\nName:         r\nDescription:  d\nPolicies:\n   " + policyA + " - p\n"
	methodPage  = "Name:         m\nType:         jwt\nDescription:  d\nMaxTokenTTL:  1h0m0s\nTokenLocality: global\nConfig:\n{\n  \"BoundIssuer\": \"x\"\n}\n"
	bindingPage = "ID:           " + ruleA + "\nAuthMethod:   m\nDescription:  d\nBindType:     service\nBindName:     ${value.name}\nSelector:     value.a==1\n"
)

func TestTokens(t *testing.T) {
	rw := commandtest.Answers{"GET /v1/acl/tokens": tokens, "GET /v1/acl/token/" + tokenA: token, "PUT /v1/acl/token/" + tokenA: token, "PUT /v1/acl/token": token,
		"GET /v1/acl/policies": "[" + policy + "]", "GET /v1/acl/roles": "[" + role + "]", "DELETE /v1/acl/token/" + tokenA: "true",
		"DELETE /v1/acl/token/" + anonymousID: "true", "PUT /v1/acl/token/" + tokenA + "/clone": token, "GET /v1/acl/token/self": token}
	commandtest.Check(t, Commands(), []commandtest.Case{
		{Args: "acl token create -description=d -policy-name=p -policy-id=06acc -role-id=5714 -role-name=r -local -expires-ttl=1h", Answers: rw, Out: tokenPage + grantPage,
			Asked: `"Description":"d","Policies":[{"ID":"","Name":"p"},{"ID":"` + policyA + `","Name":""}],"Roles":[{"ID":"","Name":"r"},{"ID":"` + roleA + `","Name":""}],"Local":true,"ExpirationTTL":3600000000000`},
		{Args: "acl token create -service-identity=web:dc1,dc2 -node-identity=n1:dc1 -accessor=a -secret=b", Answers: rw, Out: tokenPage + grantPage,
			Asked: `"AccessorID":"a","SecretID":"b","Description":"","ServiceIdentities":[{"ServiceName":"web","Datacenters":["dc1","dc2"]}],"NodeIdentities":[{"NodeName":"n1","Datacenter":"dc1"}]`},
		{Args: "acl token create -templated-policy=builtin/service -var=name:api", Answers: rw, Out: tokenPage + grantPage,
			Asked: `"TemplatedPolicies":[{"TemplateName":"builtin/service","TemplateVariables":{"Name":"api"}}]`},
		{Args: "acl token create", Code: 1, Err: "without anything that it refers to"},
		{Args: "acl token create -service-identity=web:", Code: 1, Err: "want NAME or NAME:dc1,dc2"},
		{Args: "acl token create -node-identity=n1", Code: 1, Err: "want NAME:DATACENTER"},
		{Args: "acl token create -templated-policy=x -var=color:red", Code: 1, Err: "want name:VALUE"},
		{Args: "acl token create -policy-name=p -var=name:red", Code: 1, Err: "its name is missing"},
		{Args: "acl token create -policy-name=p -format=xml", Code: 1, Err: "it is pretty or json"},
		{Args: "acl token create -policy-id=ffff", Answers: rw, Code: 1, Err: `no policy has an ID that begins with "ffff"`},
		{Args: "acl token create -policy-name=p", Answers: commandtest.Answers{"PUT /v1/acl/token": "403!Permission denied: anonymous token lacks permission 'acl:write'"}, Code: 1, Err: "lacks permission 'acl:write'"},
		{Args: "acl token read -accessor-id=9861", Answers: rw, Out: tokenPage + grantPage},
		{Args: "acl token read -id=" + tokenA + " -meta", Answers: rw, Out: tokenPage + "Hash:             0102\nCreate Index:     3\nModify Index:     4\n" + grantPage},
		{Args: "acl token read -self", Answers: rw, Out: tokenPage + grantPage},
		{Args: "acl token read -self -id=x", Code: 1, Err: "either -self or"},
		{Args: "acl token read", Code: 1, Err: "missing -accessor-id"},
		{Args: "acl token read -id=98", Answers: rw, Code: 1, Err: `more than one token has an ID that begins with "98"`},
		{Args: "acl token list", Answers: rw, Out: tokenPage + grantPage + "\nAccessorID:       " + tokenB + "\nSecretID:\nDescription:      other\nLocal:            false\nCreate Time:      " + created + "\n"},
		{Args: "acl token update -id=9861 -description=new -append-policy-name=q -merge-roles -role-name=r", Answers: rw, Out: "Token updated successfully.\n" + tokenPage + grantPage,
			Asked: `"Description":"new","Policies":[{"ID":"` + policyA + `","Name":"p"},{"ID":"","Name":"q"}],"Roles":[{"ID":"","Name":"r"}],"ServiceIdentities":[{"ServiceName":"web"}]`},
		{Args: "acl token update -id=9861 -policy-name=q -merge-service-identities -service-identity=web:dc1", Answers: rw, Out: "Token updated successfully.\n" + tokenPage + grantPage,
			Asked: `"Description":"d","Policies":[{"ID":"","Name":"q"}],"ServiceIdentities":[{"ServiceName":"web","Datacenters":["dc1"]}]`},
		{Args: "acl token update -id=9861 -append-policy-name=q -policy-name=p", Code: 1, Err: "not both"},
		{Args: "acl token clone -id=9861 -description=c", Answers: rw, Asked: `/clone? {"Description":"c"}`, Out: "Token cloned successfully.\n" + tokenPage + grantPage},
		{Args: "acl token delete -id=9861", Answers: rw, Asked: "DELETE /v1/acl/token/" + tokenA, Out: "Token \"" + tokenA + "\" deleted successfully\n"},
		{Args: "acl token delete -id=anonymous", Answers: rw, Asked: "DELETE /v1/acl/token/" + anonymousID, Out: "Token \"" + anonymousID + "\" deleted successfully\n"},
	})
}

func TestExpandedToken(t *testing.T) {
	const made = `{"ID":"5eed","Name":"synthetic-policy-5eed","Description":"synthetic policy generated from service identity: web","Rules":"service \"web\" {","Datacenters":["dc1"]}`
	answer := `{"ExpandedPolicies":[` + policy + `,` + made + `],"ExpandedRoles":[` + role + `],"AgentACLDefaultPolicy":"deny","AgentACLDownPolicy":"extend-cache","ResolvedByAgent":"n1",` + tokenBody
	r := commandtest.Run(t, Commands(), commandtest.Answers{"GET /v1/acl/token/self": answer}, "", "acl", "token", "read", "-self", "-expanded")
	for _, want := range []string{"Policies:\n\tPolicy Name: p\n\t\tID: " + policyA, "\t\tRules:\n\t\t\tkey \"a\" {\n", "Role Name: r", "\t\tPolicies:\n\t\t\tPolicy Name: p\n",
		"Rules of identities and templated policies:\n\tPolicy Name: synthetic-policy-5eed\n", "\t\tDatacenters: dc1\n\t\tRules:\n\t\t\tservice \"web\" {\n\n=== End",
		"=== End of Authorizer Layer 0: Token ===", "Resolved By Agent: \"n1\"", "Default Policy: deny", "Down Policy: extend-cache"} {
		if r.Code != 0 || !strings.Contains(r.Out, want) {
			t.Errorf("%d %s\n%s\nlacks %q", r.Code, r.Err, r.Out, want)
		}
	}
}

func TestPoliciesAndRoles(t *testing.T) {
	rw := commandtest.Answers{"GET /v1/acl/policies": "[" + policy + "]", "GET /v1/acl/policy/" + policyA: policy, "GET /v1/acl/policy/name/p": policy, "PUT /v1/acl/policy": policy,
		"PUT /v1/acl/policy/" + policyA: policy, "DELETE /v1/acl/policy/" + policyA: "true",
		"GET /v1/acl/roles": "[" + role + "]", "GET /v1/acl/role/" + roleA: role, "GET /v1/acl/role/name/r": role, "PUT /v1/acl/role": role,
		"PUT /v1/acl/role/" + roleA: role, "DELETE /v1/acl/role/" + roleA: "true"}
	commandtest.Check(t, Commands(), []commandtest.Case{
		{Args: "acl policy create -name=p -description=d -rules=- -valid-datacenter=dc1 -valid-datacenter=dc2", Stdin: "acl=\"read\"", Answers: rw, Out: policyPage,
			Asked: `"Name":"p","Description":"d","Rules":"acl=\"read\"","Datacenters":["dc1","dc2"]`},
		{Args: "acl policy create", Code: 1, Err: "missing -name"},
		{Args: "acl policy create -name=p -rules=@/does/not/exist", Code: 1, Err: "no such file"},
		{Args: "acl policy read -id=06acc", Answers: rw, Out: policyPage},
		{Args: "acl policy read -name=p -meta", Answers: rw, Out: strings.Replace(policyPage, "Rules:", "Hash:         02\nCreate Index: 3\nModify Index: 4\nRules:", 1)},
		{Args: "acl policy read -name=none", Answers: rw, Code: 1, Err: "there is none"},
		{Args: "acl policy read -name=p -id=x", Code: 1, Err: "either -id or -name"},
		{Args: "acl policy list", Answers: rw, Out: "p:\n   ID:           " + policyA + "\n   Description:  d\n   Datacenters:  dc1, dc2\n"},
		{Args: "acl policy update -name=p -rules=acl=\"write\"", Answers: rw, Out: "Policy updated successfully\n" + policyPage, Asked: `"Description":"d","Rules":"acl=\"write\"","Datacenters":["dc1","dc2"]`},
		{Args: "acl policy update -id=06acc -name=q -no-merge", Answers: rw, Out: "Policy updated successfully\n" + policyPage, Asked: `"Name":"q","Description":"","Rules":"","Datacenters":null`},
		{Args: "acl policy update", Code: 1, Err: "give -id, -name or both"},
		{Args: "acl policy delete -name=p", Answers: rw, Out: "Policy \"" + policyA + "\" deleted successfully\n", Asked: "DELETE /v1/acl/policy/" + policyA},
		{Args: "acl role create -name=r -description=d -policy-id=06acc", Answers: rw, Out: rolePage, Asked: `"Name":"r","Description":"d","Policies":[{"ID":"` + policyA + `"`},
		{Args: "acl role create -name=r", Code: 1, Err: "without anything that it refers to"},
		{Args: "acl role read -id=57", Answers: rw, Out: rolePage},
		{Args: "acl role read -name=none", Answers: rw, Code: 1, Err: "there is none"},
		{Args: "acl role list", Answers: rw, Out: "r:\n   ID:           " + roleA + "\n   Description:  d\n   Policies:\n      " + policyA + " - p\n"},
		{Args: "acl role update -name=r -policy-name=q", Answers: rw, Out: "Role updated successfully\n" + rolePage, Asked: `"Policies":[{"ID":"` + policyA + `","Name":"p"},{"ID":"","Name":"q"}]`},
		{Args: "acl role update -name=r -no-merge -policy-name=q", Answers: rw, Out: "Role updated successfully\n" + rolePage, Asked: `"Description":"","Policies":[{"ID":"","Name":"q"}]`},
		{Args: "acl role delete -name=r", Answers: rw, Out: "Role \"" + roleA + "\" deleted successfully\n"},
	})
}

func TestMethodsAndBindingRules(t *testing.T) {
	rw := commandtest.Answers{"GET /v1/acl/auth-methods": "[" + method + "]", "GET /v1/acl/auth-method/m": method, "PUT /v1/acl/auth-method": method, "PUT /v1/acl/auth-method/m": method,
		"DELETE /v1/acl/auth-method/m": "true", "GET /v1/acl/binding-rules": "[" + binding + "]", "GET /v1/acl/binding-rule/" + ruleA: binding, "PUT /v1/acl/binding-rule": binding,
		"PUT /v1/acl/binding-rule/" + ruleA: binding, "DELETE /v1/acl/binding-rule/" + ruleA: "true"}
	commandtest.Check(t, Commands(), []commandtest.Case{
		{Args: "acl auth-method create -name=m -type=jwt -max-token-ttl=1h -config=-", Stdin: `{"BoundIssuer":"x"}`, Answers: rw, Out: methodPage,
			Asked: `{"MaxTokenTTL":"1h0m0s","Name":"m","Type":"jwt","Config":{"BoundIssuer":"x"}`},
		{Args: "acl auth-method create -name=m -type=kubernetes -kubernetes-host=h -kubernetes-ca-cert=c -kubernetes-service-account-jwt=-", Stdin: "j", Answers: rw, Out: methodPage,
			Asked: `"Config":{"CACert":"c","Host":"h","ServiceAccountJWT":"j"}`},
		{Args: "acl auth-method create -name=m -type=jwt -config=[]", Code: 1, Err: "no JSON object"},
		{Args: "acl auth-method create -name=m -type=kubernetes -config={} -kubernetes-host=h", Code: 1, Err: "exclude each other"},
		{Args: "acl auth-method create -name=m", Code: 1, Err: "missing -name or -type"},
		{Args: "acl auth-method read -name=m", Answers: rw, Out: methodPage},
		{Args: "acl auth-method read -name=none", Answers: rw, Code: 1, Err: "there is none"},
		{Args: "acl auth-method list -meta", Answers: rw, Out: "m:\n   Type:         jwt\n   Description:  d\n   Create Index: 3\n   Modify Index: 4\n"},
		{Args: "acl auth-method update -name=m -description=new", Answers: rw, Out: "Auth method updated successfully\n" + methodPage, Asked: `{"MaxTokenTTL":"1h0m0s","Name":"m","Type":"jwt","Description":"new","TokenLocality":"global","Config":{"BoundIssuer":"x"}`},
		{Args: "acl auth-method update -name=m -no-merge", Answers: rw, Out: "Auth method updated successfully\n" + methodPage, Asked: `{"Name":"m","Type":"jwt","Config":null`},
		{Args: "acl auth-method update -name=m -type=kubernetes", Answers: rw, Code: 1, Err: "cannot be changed"},
		{Args: "acl auth-method delete -name=m", Answers: rw, Out: "Auth-method \"m\" deleted successfully\n"},
		{Args: "acl binding-rule create -method=m -bind-name=s", Answers: rw, Out: bindingPage, Asked: `"AuthMethod":"m","Selector":"","BindType":"service","BindName":"s"`},
		{Args: "acl binding-rule create -method=m -bind-type=templated-policy -bind-name=builtin/service -bind-vars=name=${value.name}", Answers: rw, Out: bindingPage,
			Asked: `"BindType":"templated-policy","BindName":"builtin/service","BindVars":{"Name":"${value.name}"}`},
		{Args: "acl binding-rule create -method=m", Code: 1, Err: "missing -method or -bind-name"},
		{Args: "acl binding-rule read -id=0ec", Answers: rw, Out: bindingPage},
		{Args: "acl binding-rule list -method=m", Answers: rw, Asked: "authmethod=m", Out: ruleA + ":\n   AuthMethod:   m\n   Description:  d\n   BindType:     service\n   BindName:     ${value.name}\n   Selector:     value.a==1\n"},
		{Args: "acl binding-rule update -id=0ec -selector=a==b", Answers: rw, Out: "Binding rule updated successfully\n" + bindingPage, Asked: `"Description":"d","AuthMethod":"m","Selector":"a==b"`},
		{Args: "acl binding-rule update -id=0ec -no-merge -bind-type=role -bind-name=r", Answers: rw, Out: "Binding rule updated successfully\n" + bindingPage,
			Asked: `"Description":"","AuthMethod":"m","Selector":"","BindType":"role","BindName":"r"`},
		{Args: "acl binding-rule delete -id=0ec", Answers: rw, Out: "Binding rule \"" + ruleA + "\" deleted successfully\n"},
	})
}

func TestTemplatedPolicies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "templates.hcl")
	if err := os.WriteFile(file, []byte("TemplatedPolicy \"builtin/service\" {\n  Name = \"web\"\n}\nTemplatedPolicy \"builtin/dns\" {\n  Datacenters = [\"dc1\"]\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rw := commandtest.Answers{"GET /v1/acl/templated-policies": `{"builtin/service":` + template + `,"builtin/dns":{"TemplateName":"builtin/dns"}}`,
		"GET /v1/acl/templated-policy/name/builtin/service": template, "POST /v1/acl/templated-policy/preview/builtin/service": policy,
		"POST /v1/acl/templated-policy/preview/builtin/dns": policy, "PUT /v1/acl/token": token}
	commandtest.Check(t, Commands(), []commandtest.Case{
		{Args: "acl templated-policy list", Answers: rw, Out: "builtin/dns\nbuiltin/service\n"},
		{Args: "acl templated-policy read -name=builtin/service", Answers: rw, Out: "Name:            builtin/service\nDescription:     d\nInput variables:\n\tName: String - Required\n" +
			"Example usage:\n\tlegate acl token create -templated-policy=builtin/service -var=name:NAME\nRules:\nservice \"{{.Name}}\" {\n  policy = \"write\"\n}\n"},
		{Args: "acl templated-policy read -name=none", Answers: rw, Code: 1, Err: "there is none"},
		{Args: "acl templated-policy preview -name=builtin/service -var=name:web", Answers: rw, Asked: `preview/builtin/service? {"Name":"web"}`, Out: strings.Replace(policyPage, "Datacenters:  dc1, dc2", "Datacenters:", 1)},
		{Args: "acl templated-policy preview", Code: 1, Err: "missing -name or -file"},
		{Args: "acl token create -templated-policy-file=" + file, Answers: rw, Out: tokenPage + grantPage,
			Asked: `"TemplatedPolicies":[{"TemplateName":"builtin/dns","Datacenters":["dc1"]},{"TemplateName":"builtin/service","TemplateVariables":{"Name":"web"}}]`},
	})
	r := commandtest.Run(t, Commands(), rw, "", "acl", "templated-policy", "preview", "-file="+file)
	if r.Code != 0 || strings.Count(r.Out, "Rules:") != 2 || !strings.Contains(r.Out, "Datacenters:  dc1\n") {
		t.Errorf("%d %s%s", r.Code, r.Out, r.Err)
	}
}

func TestBootstrapAndAgentTokens(t *testing.T) {
	rw := commandtest.Answers{"PUT /v1/acl/bootstrap": token, "PUT /v1/agent/token/agent_recovery": "", "PUT /v1/agent/token/dns": ""}
	commandtest.Check(t, Commands(), []commandtest.Case{
		{Args: "acl bootstrap", Answers: rw, Out: tokenPage + grantPage},
		{Args: "acl bootstrap -", Stdin: secret + "\n", Answers: rw, Asked: `{"BootstrapSecret":"` + secret + `"}`, Out: tokenPage + grantPage},
		{Args: "acl bootstrap -", Code: 1, Err: "is empty"},
		{Args: "acl bootstrap", Answers: commandtest.Answers{"PUT /v1/acl/bootstrap": "403!ACL bootstrap no longer allowed (reset index: 13)"}, Code: 1, Err: "reset index: 13"},
		{Args: "acl set-agent-token recovery " + secret, Answers: rw, Asked: `PUT /v1/agent/token/agent_recovery? {"Token":"` + secret + `"}`, Out: "ACL token \"recovery\" set successfully\n"},
		{Args: "acl set-agent-token dns " + secret, Answers: rw, Out: "ACL token \"dns\" set successfully\n"},
		{Args: "acl set-agent-token cheese x", Code: 1, Err: `unknown token type "cheese"`},
	})
	r := commandtest.Run(t, Commands(), rw, "", "acl", "bootstrap", "-format=json")
	if r.Code != 0 || !strings.Contains(r.Out, `"SecretID": "`+secret+`"`) {
		t.Errorf("%d %s%s", r.Code, r.Out, r.Err)
	}
}

func TestLogin(t *testing.T) {
	sink := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(sink, []byte("of before, and longer than what comes"), 0o644); err != nil {
		t.Fatal(err)
	}
	rw := commandtest.Answers{"POST /v1/acl/login": token, "POST /v1/acl/logout": "true"}
	commandtest.Check(t, Commands(), []commandtest.Case{
		{Args: "login -method=m -bearer-token-file=- -token-sink-file=" + sink + " -meta=a=b", Stdin: "jwt\n", Answers: rw, Asked: `{"AuthMethod":"m","BearerToken":"jwt","Meta":{"a":"b"}}`},
		{Args: "login -bearer-token-file=- -token-sink-file=x", Code: 1, Err: "missing -method"},
		{Args: "login -method=m -token-sink-file=x", Code: 1, Err: "missing -bearer-token-file"},
		{Args: "login -method=m -bearer-token-file=-", Code: 1, Err: "missing -token-sink-file"},
		{Args: "login -method=m -type=oidc -bearer-token-file=- -token-sink-file=x", Code: 1, Err: "not supported"},
		{Args: "logout", Answers: rw, Asked: "POST /v1/acl/logout"},
		{Args: "logout", Answers: commandtest.Answers{"POST /v1/acl/logout": "403!ACL not found"}, Code: 1, Err: "ACL not found"},
	})
	b, err := os.ReadFile(sink)
	info, statErr := os.Stat(sink)
	if err != nil || statErr != nil || string(b) != secret || info.Mode().Perm() != 0o600 {
		t.Errorf("%q %v %v %v", b, info, err, statErr)
	}
}
