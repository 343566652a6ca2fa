package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// short writes rules as RESOURCE[*]:NAME=ACCESS; the star stands for a prefix.
func short(p *Policy) string {
	var all []string
	for _, r := range p.Rules {
		star := ""
		if r.Prefix {
			star = "*"
		}
		all = append(all, fmt.Sprintf("%s%s:%s=%s", r.Resource, star, r.Name, r.Access))
	}
	return strings.Join(all, " ")
}

// The forms that clients write: HCL with and without equals signs, JSON with objects
// and with lists of them.
func TestParse(t *testing.T) {
	two := "key:a=read key*:b=write"
	for text, want := range map[string]string{
		"":                      "",
		" \n# only a comment\n": "",
		"{}":                    "",
		`acl = "write"`:         "acl:=write",
		`key "a" { policy = "read" } key_prefix "b" { policy = "write" }`:                  two,
		"key_prefix \"b\" {\r\n  policy = \"write\"\r\n}\r\nkey a { policy = \"read\" }":   two,
		`key = { "a" = { policy = "read" } } key_prefix = { b = { policy = "write" } }`:    two,
		`key { "a" { policy = "read" } } key_prefix { "b" { policy = "write" } }`:          two,
		`{"key": {"a": {"policy": "read"}}, "key_prefix": {"b": {"policy": "write"}}}`:     two,
		`{"key": [{"a": {"policy": "read"}}], "key_prefix": {"b": [{"policy": "write"}]}}`: two,
		` {"key": {"a": {"policy": "read",},}, "key_prefix": {"b": {"policy": "write"}},}`: two, // as HCL reads JSON
		`{"key": {}}`:           "",
		"\ufeffacl = \"write\"": "acl:=write", "\ufeff{\"acl\": \"write\"}": "acl:=write",
		`{"key": {"": {"policy": "list"}, "a/\u00e4\/\"": {"policy": "deny"}}}`: `key:=list key:a/ä/"=deny`,
		`key "a\"b\\${x}" { policy = "read" }`:                                  `key:a"b\${x}=read`,
		`key_prefix "" { policy = "deny" } key "" { policy = "read" }`:          "key:=read key*:=deny",
		`service "a" { policy = "write" intentions = "read" }`:                  "intention:a=read service:a=write",
		`service_prefix "a" { policy = "write", intentions = "deny" }`:          "intention*:a=deny service*:a=write",
		`agent "a" { policy = "read" } agent_prefix "a" { policy = "read" } event "a" { policy = "read" } event_prefix "a" { policy = "read" }
		 identity "a" { policy = "read" } identity_prefix "a" { policy = "read" } node "a" { policy = "read" } node_prefix "a" { policy = "read" }
		 query "a" { policy = "read" } query_prefix "a" { policy = "read" } session "a" { policy = "read" } session_prefix "a" { policy = "read" }
		 keyring = "read" mesh = "read" operator = "read" peering = "deny"`: "agent:a=read agent*:a=read event:a=read event*:a=read identity:a=read identity*:a=read keyring:=read " +
			"mesh:=read node:a=read node*:a=read operator:=read peering:=deny query:a=read query*:a=read session:a=read session*:a=read",
	} {
		p, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := short(p); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, want)
		}
	}
}

// What is wrong is said with its line, the rule that it is in, and what would be right.
func TestParseRefuses(t *testing.T) {
	levels := `there are "read", "write" and "deny"`
	keyLevels := `there are "read", "list", "write" and "deny"`
	resources := "use one of acl, agent, event, identity, key, keyring, mesh, node, operator, peering, query, service, session, or NAME_prefix for those with names"
	for text, want := range map[string]string{
		`key "a" { policy = "raed" }`:                      `line 1: key "a": policy = "raed" is not known: ` + keyLevels,
		`key "a" { policy = "write-all" }`:                 `line 1: key "a": policy = "write-all" is not known: ` + keyLevels,
		"\n\nservice_prefix \"a\" {\n policy = \"list\" }": `line 4: service_prefix "a": policy = "list" is for keys only: here ` + levels,
		`acl = "list"`:                                              `line 1: acl = "list" is for keys only: here ` + levels,
		`acl = "Read"`:                                              `line 1: acl = "Read" is not known: ` + levels,
		`operator = 1`:                                              `line 1: operator is a number: it is given as operator = "read"`,
		`operator { policy = "read" }`:                              `line 1: operator is a block: it is given as operator = "read"`,
		`{"operator": null}`:                                        `line 1: operator is null: it is given as operator = "read"`,
		`{"key": {"a": {"policy": ["read"]}}}`:                      `line 1: key "a": policy is a list: ` + keyLevels,
		`node "a" { policy = true }`:                                `line 1: node "a": policy is a truth value: ` + levels,
		"node \"a\" { policy = <<E\nread\nE\n}":                     `line 1: node "a": policy is a text of several lines: ` + levels,
		`node = "read"`:                                             `line 1: node is a string: it is given with a name and a block, as in node "NAME" { policy = "read" }`,
		`node { policy = "read" }`:                                  `line 1: node "policy" is a string: it is given as node "policy" { policy = "read" }`,
		`node "a" {}`:                                               `line 1: node "a" has no policy: it is given as node "a" { policy = "read" }`,
		`service "a" { intentions = "read" }`:                       `line 1: service "a" has no policy: it is given as service "a" { policy = "read" }`,
		`service "a" { policy = "read" intentions = "list" }`:       `line 1: service "a": intentions = "list" is for keys only: here ` + levels,
		`node "a" { policy = "read" intentions = "read" }`:          `line 1: node "a": "intentions" is not known: a block has policy`,
		`service "a" { policy = "read" tag = "b" }`:                 `line 1: service "a": "tag" is not known: a block has policy and may have intentions`,
		`key "a" "b" { policy = "read" }`:                           `line 1: key "a": "b" is not known: a block has policy; line 1: key "a" has no policy: it is given as key "a" { policy = "read" }`,
		`key "a" { policy = "write" sentinel { code = "main" } }`:   `line 1: key "a": sentinel needs Consul Enterprise and is not supported: leave it out`,
		`namespace "a" { policy = "write" }`:                        `line 1: namespace rules need Consul Enterprise: there are no namespaces here`,
		`partition_prefix "a" { acl = "write" }`:                    `line 1: partition_prefix rules need Consul Enterprise: there are no partitions here`,
		`keys "a" { policy = "read" }`:                              `line 1: "keys" is not a resource: ` + resources,
		`intention "a" { policy = "read" }`:                         `line 1: "intention" is not a resource: ` + resources,
		`acl_prefix "a" { policy = "read" }`:                        `line 1: "acl_prefix" is not a resource: ` + resources,
		"acl = \"read\"\nacl = \"write\"":                           `line 2: acl is given twice, first in line 1: leave one out`,
		"key a { policy = \"read\" }\n\nkey a { policy = \"read\"}": `line 3: key "a": policy is given twice, first in line 1: leave one out`,
		"{\"key\": {\"a\": {\"policy\": \"read\"},\n\"a\": {\"policy\": \"read\"}}}": `line 2: key "a": policy is given twice, first in line 1: leave one out`,
		`key "a" { policy = "read" policy = "deny" }`:                                `line 1: key "a": policy is given twice, first in line 1: leave one out`,
		"key \"a\" {\n policy = }":                                                   `line 2: Unknown token: 2:11 RBRACE }`,
		`key "a" { policy = "read"`:                                                  `line 1: object expected closing RBRACE got: EOF`,
		`{"acl": "read"`:                                                             `line 1: the end of the text instead of a comma or }`,
		`{"acl": "read"} key`:                                                        `line 1: "key" instead of the end of the text`,
		`{"acl": "read"} {}`:                                                         `line 1: "{" instead of the end of the text`,
		`{"acl": "read" "operator": "x"}`:                                            `line 1: "\"operator\"" instead of a comma or }`,
		`{"key": [[{"a": {}}]]}`:                                                     `line 1: key is a list: it is given with a name and a block, as in key "NAME" { policy = "read" }`,
		`{"acl": ["read" "write"]}`:                                                  `line 1: "\"write\"" instead of a comma or ]`,
		`{"acl" "read"}`:                                                             `line 1: "\"read\"" instead of a colon`,
		`{acl: "read"}`:                                                              `line 1: "acl" instead of a name in quotes or }`,
		"{\"a\n":                                                                     `line 1: "\"a\n" is no string: invalid character '\n' in string literal`,
		"{\n\"acl\": 0x1}":                                                           `line 2: "0x1" instead of a value`,
		"acl = \"read\"\n\x00key":                                                    `line 2: a zero byte`,
		strings.Repeat("a = <<A\nA\n", 65):                                           `line 129: more than 64 texts of several lines`,
		strings.Repeat("key {", 17):                                                  `line 1: nested deeper than 16`,
		strings.Repeat(`{"key":`, 18):                                                `line 1: nested deeper than 16`,
		strings.Repeat(" ", MaxText+1):                                               `524289 bytes are more than a policy may have (524288)`,
	} {
		_, err := Parse(text)
		if err == nil {
			t.Errorf("%.100s: no error", text)
		} else if got := strings.TrimPrefix(err.Error(), "Failed to parse ACL rules: "); got != want {
			t.Errorf("%.100s\ngot  %s\nwant %s", text, got, want)
		}
	}
}

func TestParseBoundsWhatItSays(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "x%d \"%s\" {}\n", i, strings.Repeat("n", 300))
	}
	_, err := Parse(text.String())
	if err == nil || len(err.Error()) > 4096 || !strings.Contains(err.Error(), "line 8:") {
		t.Errorf("%v", err)
	}
	n := strings.Repeat("n", 100_000)
	for _, text := range []string{fmt.Sprintf("key %q {}", n), n, "key " + n, fmt.Sprintf("{%q: {%q: {}", n, n), "\"" + n, "{\"" + n, strings.Repeat("n ", 100_000)} {
		if _, err = Parse(text); err == nil || len(err.Error()) > 1024 {
			t.Errorf("%.20s: %v", text, err)
		}
	}
}

func TestParseBoundsRules(t *testing.T) {
	text := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "key \"%d\" { policy = \"read\" }\n", i)
		}
		return b.String()
	}
	if p, err := Parse(text(MaxRules)); err != nil || len(p.Rules) != MaxRules {
		t.Errorf("%v", err)
	}
	_, err := Parse(text(MaxRules + 1))
	if err == nil || err.Error() != "Failed to parse ACL rules: 10001 rules are more than a policy may have (10000)" {
		t.Errorf("%v", err)
	}
}

func TestText(t *testing.T) {
	p, err := Parse(`{"service": {"a": {"policy": "write", "intentions": "deny"}, "b": {"policy": "read"}}, "acl": "read",
		"key_prefix": {"": {"policy": "list"}, "a${\"b\"}\\\n": {"policy": "deny"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	want := `acl = "read"
key_prefix "" {
  policy = "list"
}
key_prefix "a\u0024{\"b\"}\\\n" {
  policy = "deny"
}
service "a" {
  policy = "write"
  intentions = "deny"
}
service "b" {
  policy = "read"
}
`
	if p.Text() != want {
		t.Errorf("got\n%s\nwant\n%s", p.Text(), want)
	}
	for _, p := range []*Policy{p, Manage(), ReadOnly(), {}} {
		if again, err := Parse(p.Text()); err != nil || short(again) != short(p) {
			t.Errorf("written as\n%s\nread as %v, %v", p.Text(), again, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`key "a" { policy = "read" } key_prefix "b" { policy = "list" }`,
		`{"key": {"a": {"policy": "read"}}, "service_prefix": [{"b": [{"policy": "write", "intentions": "deny"}]}], "acl": "write",}`,
		`service "a" { policy = "write" intentions = "read" } operator = "deny" # end`,
		"key \"a\" { policy = <<X\nread\nX\n sentinel { code = \"\" } }", `key "a${"b"}c\u00e4" { policy = "read" }`,
		`{"key": [[{"a": null}]], "x": 1.5e3}`, `acl = ["read", {}] /* x */ // y`, "\"\\x\" {", `key "a" "b" {}`, `<<`, "<<-A\n  b\n A\n", `{"\ud800": "\/"}`, `{"\0`, `"\0`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "Failed to parse ACL rules: ") || len(err.Error()) > 1<<14 {
				t.Fatalf("%q", err)
			}
			return
		}
		if !normal(p.Rules) || len(p.Rules) > MaxRules {
			t.Fatalf("not in normal form: %v", p)
		}
		a := Compile(Settings{}, p).For("x")
		for _, r := range p.Rules {
			if slot(r.Resource) < 0 || !slices.Contains([]Access{Read, Write, Deny, List}, r.Access) {
				t.Fatalf("%+v", r)
			}
			if !r.Prefix && a.Allow(r.Resource, Write, r.Name) != (r.Access == Write) {
				t.Fatalf("%+v is not what is granted", r)
			}
		}
		if written := p.Text(); len(written) <= MaxText {
			again, err := Parse(written)
			if err != nil || short(again) != short(p) {
				t.Fatalf("written as\n%s\nread as %v, %v", written, again, err)
			}
		}
	})
}
