package acl

import (
	"bytes"
	"testing"

	"github.com/legate-project/legate/state/acl/rules"
)

// One row is a configuration that holds the text "secret". Who may only read access
// control does not see it, in whatever case of letters its key is: they all count.
func TestSecretsOfMethodsAreForWhoMayWriteThem(t *testing.T) {
	may := func(access rules.Access) rules.Authorizer {
		return rules.Compile(rules.Settings{}, &rules.Policy{Rules: []rules.Rule{{Resource: rules.ACL, Access: access}}}).For("x")
	}
	for _, config := range []string{
		`{"Host":"h","ServiceAccountJWT":"secret"}`,
		`{"Host":"h","serviceaccountjwt":"secret"}`,
		`{"Host":"h","ServiceAccountJWT":"","SERVICEACCOUNTJWT":"secret"}`,
		`{"Host":"h","OIDCclientSecret":"secret"}`,
		`{"Host":"h","ServiceAccountJWT":["secret"]}`,
		`{"Host":"h","ServiceAccountJWT":"secret"`,
	} {
		list := Methods{{Name: "m", Type: "kubernetes", Config: []byte(config)}}
		shown := list
		if !filterMethods(may(rules.Read), &shown) || bytes.Contains(shown[0].Config, []byte("secret")) {
			t.Errorf("%s: a reader sees %s in the list", config, shown[0].Config)
		}
		one := list[0]
		if !GetMethod.Filter(may(rules.Read), &one) || bytes.Contains(one.Config, []byte("secret")) {
			t.Errorf("%s: a reader sees %s", config, one.Config)
		}
		shown, one = list, list[0]
		if filterMethods(may(rules.Write), &shown) || GetMethod.Filter(may(rules.Write), &one) || string(one.Config) != config {
			t.Errorf("%s: a writer sees %s", config, one.Config)
		}
		if string(list[0].Config) != config {
			t.Errorf("%s: what is kept has changed", config)
		}
	}
	plain := Method{Config: []byte(`{"Host":"h","ServiceAccountJWT":""}`)}
	if hideConfig(may(rules.Read), &plain) || string(plain.Config) != `{"Host":"h","ServiceAccountJWT":""}` {
		t.Errorf("nothing is to be hidden: %s", plain.Config)
	}
	if empty := (Method{}); hideConfig(may(rules.Read), &empty) {
		t.Error("a method without a configuration hides nothing")
	}
}
