package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What the documentation of access control says, a row for each of its sentences.
func TestWhatIsDocumented(t *testing.T) {
	allow, keyList := Settings{DefaultAllow: true}, Settings{KeyList: true}
	for _, row := range []struct {
		says     string
		settings Settings
		policies []string
		yes, no  string // what is asked: RESOURCE:ACCESS or RESOURCE:ACCESS:NAME, several with blanks between
	}{
		{says: "default policy deny: what no rule grants is refused",
			no: "key:read:a key:list:a key:write:a key:write-all:a acl:read operator:read node:write:n mesh:read"},
		{says: "default policy allow: what no rule denies is granted, access control itself excepted", settings: allow,
			yes: "key:write:a key:list:a key:write-all: operator:write keyring:write agent:write:n mesh:write peering:write intention:write:a identity:write:a",
			no:  "acl:read acl:write acl:write-all"},
		{says: "default policy allow: access control can be granted by a rule", settings: allow, policies: []string{`acl = "read"`},
			yes: "acl:read key:write:a", no: "acl:write"},
		{says: "default policy allow: a rule for less takes away what is more", settings: allow,
			policies: []string{`key "a" { policy = "read" } service_prefix "x" { policy = "deny" } operator = "deny"`},
			yes:      "key:read:a key:write:b service:write:y", no: "key:write:a service:read:xy operator:read mesh:read peering:read key:write-all: service:write-all:"},
		{says: "write includes read; read is not write", policies: []string{`event "deploy" { policy = "write" } event_prefix "" { policy = "read" }`},
			yes: "event:write:deploy event:read:deploy event:read:x", no: "event:write:x event:write:deploy2"},
		{says: "an exact rule is for that name only", policies: []string{`session "n" { policy = "write" }`},
			yes: "session:write:n", no: "session:read:n1 session:read: session:read:N"},
		{says: "names are matched as they are written", policies: []string{`service "Web" { policy = "read" } node_prefix "DB-" { policy = "read" }`},
			yes: "service:read:Web node:read:DB-1", no: "service:read:web node:read:db-1"},
		{says: "the longest prefix decides, for more and for less",
			policies: []string{`key_prefix "" { policy = "read" } key_prefix "foo/" { policy = "write" } key_prefix "foo/private/" { policy = "deny" }`},
			yes:      "key:read:x key:write:foo/ key:write:foo/x key:write:foo/private", no: "key:write:foo key:write:x key:read:foo/private/ key:read:foo/private/x"},
		{says: "an exact rule wins over all prefixes, for more and for less",
			policies: []string{`key_prefix "foo" { policy = "write" } key "foo/bar/secret" { policy = "deny" } key_prefix "no" { policy = "deny" } key "no/yes" { policy = "read" }`},
			yes:      "key:write:foo/bar key:write:foo/bar/secret/x key:read:no/yes", no: "key:read:foo/bar/secret key:write:no/yes key:read:no/yes/x"},
		{says: "an empty prefix is for all names", policies: []string{`agent_prefix "" { policy = "read" }`}, yes: "agent:read:n agent:read:", no: "agent:write:n node:read:n"},
		{says: "an empty exact name is for no other", policies: []string{`key "" { policy = "write" }`}, yes: "key:write:", no: "key:read:a key:write-all:"},
		{says: "deny wins over write and read for the same name", policies: []string{`key "a" { policy = "write" }`, `key "a" { policy = "deny" }`, `key "a" { policy = "read" }`},
			no: "key:read:a"},
		{says: "write wins over read for the same name", policies: []string{`node "a" { policy = "read" }`, `node "a" { policy = "write" }`}, yes: "node:write:a"},
		{says: "an exact rule of one policy wins over a denied prefix of another one", policies: []string{`key_prefix "a" { policy = "deny" }`, `key "a" { policy = "read" }`},
			yes: "key:read:a", no: "key:read:ab"},
		{says: "nodes and services are apart", policies: []string{`node "a" { policy = "write" }`}, yes: "node:write:a", no: "service:write:a service:read:a agent:read:a session:write:a"},
		{says: "agents are asked by the name of their node", policies: []string{`agent "foo" { policy = "write" } agent_prefix "bar" { policy = "deny" } agent_prefix "" { policy = "read" }`},
			yes: "agent:write:foo agent:read:x", no: "agent:write:x agent:read:bar1"},
		{says: "sessions are asked by the name of their node", policies: []string{`session_prefix "" { policy = "read" } session "app" { policy = "write" } session "admin" { policy = "deny" }`},
			yes: "session:read:x session:write:app", no: "session:write:x session:read:admin"},
		{says: "queries are asked by name; a template for all names needs writing all of them", policies: []string{`query_prefix "" { policy = "write" } query "x" { policy = "read" }`},
			yes: "query:write:y query:write-all:y", no: "query:write:x query:write-all:"},
		{says: "the rules without a name", policies: []string{`operator = "read" keyring = "write"`},
			yes: "operator:read keyring:write keyring:write-all", no: "operator:write acl:read"},
		{says: "mesh and peering are as operator unless they have rules", policies: []string{`operator = "write" peering = "read"`},
			yes: "mesh:write peering:read", no: "peering:write"},
		{says: "an own rule of mesh wins over operator", policies: []string{`operator = "deny" mesh = "write"`}, yes: "mesh:write", no: "peering:read"},
		{says: "list of keys is asked for only when the datacenter says so: not here", policies: []string{`key_prefix "baz" { policy = "read" } key_prefix "bar" { policy = "list" }`},
			yes: "key:list:baz key:list:bar/x key:read:bar key:recurse:b", no: "key:write:bar key:list:b"},
		{says: "list of keys is asked for only when the datacenter says so: here", settings: keyList,
			policies: []string{`key_prefix "baz" { policy = "read" } key_prefix "bar" { policy = "list" } key_prefix "w" { policy = "write" }`},
			yes:      "key:read:baz key:read:bar/x key:list:bar key:list:w key:recurse:bar service:recurse:b", no: "key:list:baz key:write:bar key:recurse:baz key:recurse:b"},
		{says: "for other things than keys a list needs read", settings: keyList, policies: []string{`node_prefix "" { policy = "read" }`}, yes: "node:list:n"},
		{says: "all below a prefix: a rule below takes it back", policies: []string{`key_prefix "a/" { policy = "write" } key_prefix "a/b/" { policy = "read" } key "a/c" { policy = "list" }`},
			yes: "key:write-all:a/d key:write-all:a/bc key:write-all:a/cd", no: "key:write-all:a/ key:write-all:a key:write-all: key:write-all:a/b key:write-all:a/b/c key:write-all:a/c"},
		{says: "all below a prefix: an exact rule for the prefix itself counts", policies: []string{`key_prefix "a/" { policy = "write" } key "a/" { policy = "read" }`},
			yes: "key:write-all:a/b", no: "key:write-all:a/"},
		{says: "all below a prefix: an exact rule for the prefix grants nothing below", policies: []string{`key "a/" { policy = "write" }`}, yes: "key:write:a/", no: "key:write-all:a/"},
		{says: "who may read a service may read its intentions", policies: []string{`service "a" { policy = "read" } service "b" { policy = "write" } service "c" { policy = "deny" }`},
			yes: "intention:read:a intention:read:b", no: "intention:write:a intention:write:b intention:read:c"},
		{says: "intentions can be granted beside the service", policies: []string{`service "a" { policy = "read" intentions = "write" } service "b" { policy = "write" intentions = "deny" }`},
			yes: "intention:write:a service:read:a service:write:b", no: "service:write:a intention:read:b"},
		{says: "no level but those of rules is granted", policies: []string{`key "a" { policy = "write" }`}, no: "key:deny:a key::a key:admin:a"},
		{says: "what is no resource is not granted", settings: allow, no: "thing:read:a key_prefix:read:a"},
	} {
		var all []*Policy
		for _, text := range row.policies {
			p, err := Parse(text)
			if err != nil {
				t.Fatalf("%s: %v", row.says, err)
			}
			all = append(all, p)
		}
		a := Compile(row.settings, Merge(all...)).For("anonymous token")
		for _, asked := range []struct {
			list string
			want bool
		}{{row.yes, true}, {row.no, false}} {
			for _, one := range strings.Fields(asked.list) {
				part := append(strings.SplitN(one, ":", 3), "")
				if got := a.Allow(Resource(part[0]), Access(part[1]), part[2]); got != asked.want {
					t.Errorf("%s: %s is %v", row.says, one, got)
				}
			}
		}
	}
}

func TestManagementIsUnlimited(t *testing.T) {
	manage := Compile(Settings{}, Manage()).For("token with AccessorID 'x'")
	if !Unlimited(manage) || !Unlimited(AllowAll()) {
		t.Error("global-management is not unlimited")
	}
	for _, r := range everyResource {
		if !manage.Allow(r, WriteAll, "") {
			t.Errorf("global-management may not write all of %s", r)
		}
	}
	if !Unlimited(Compile(Settings{}, without(Manage(), Workload, Mesh, Peering)).For("x")) {
		t.Error("what earlier versions call global-management is not unlimited")
	}
	for text, p := range map[string]*Policy{
		"nothing":                 Merge(),
		"all but access control":  without(Manage(), ACL),
		"reading":                 ReadOnly(),
		"all but one denied name": Merge(Manage(), &Policy{Rules: []Rule{{Resource: Key, Name: "a", Access: Deny}}}),
	} {
		for _, s := range []Settings{{}, {DefaultAllow: true}} {
			if Unlimited(Compile(s, p).For("x")) {
				t.Errorf("%s is unlimited", text)
			}
		}
	}
}

// without returns the policy without the rules of some resources.
func without(p *Policy, resources ...Resource) *Policy {
	rest := &Policy{}
	for _, rule := range p.Rules {
		if !slices.Contains(resources, rule.Resource) {
			rest.Rules = append(rest.Rules, rule)
		}
	}
	return rest
}

func TestReadOnlyReadsEverythingAndWritesNothing(t *testing.T) {
	a := Compile(Settings{KeyList: true, DefaultAllow: true}, ReadOnly()).For("x")
	for _, r := range everyResource {
		if !a.Allow(r, Read, "x") || !a.Allow(r, List, "x") {
			t.Errorf("may not read %s", r)
		}
		if a.Allow(r, Write, "x") || a.Allow(r, WriteAll, "x") {
			t.Errorf("may write %s", r)
		}
	}
}

// Policies come over the wire too, from agents of other versions.
func TestCompileOfAnyRules(t *testing.T) {
	p := &Policy{Rules: []Rule{
		{Resource: Key, Prefix: true, Name: "b", Access: "sudo"},
		{Resource: "moon", Name: "x", Access: Write},
		{Resource: Key, Prefix: true, Name: "", Access: Write},
		{Resource: Key, Name: "a", Access: WriteAll},
	}}
	a := Compile(Settings{}, p).For("x")
	if !a.Allow(Key, Write, "c") || a.Allow(Key, Read, "a") || a.Allow(Key, Read, "bc") || a.Allow("moon", Read, "x") {
		t.Errorf("unsorted or unknown rules are not as they should be: %+v", p)
	}
}

func TestRulesGoOverTheWire(t *testing.T) {
	sent, err := Parse(`key_prefix "a" { policy = "list" } acl = "write" service "x" { policy = "read" intentions = "deny" }`)
	if err != nil {
		t.Fatal(err)
	}
	data, err := sent.MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got Policy
	if rest, err := got.UnmarshalMsg(data); err != nil || len(rest) > 0 {
		t.Fatal(err, len(rest))
	}
	if fmt.Sprint(got) != fmt.Sprint(*sent) {
		t.Errorf("got %v of %v", got, *sent)
	}
}

func TestWhoIsDenied(t *testing.T) {
	a := Compile(Settings{}, nil).For("token with AccessorID '1'")
	for want, err := range map[string]error{
		"Permission denied: token with AccessorID '1' lacks permission 'service:write' on \"x\"":                                                                    Require(a, Service, Write, "x"),
		"Permission denied: token with AccessorID '1' lacks permission 'operator:read'":                                                                             Require(a, Operator, Read, ""),
		"Permission denied: token with AccessorID '1' lacks permission 'key:write' on \"a/\" and everything below it":                                               Require(a, Key, WriteAll, "a/"),
		"Permission denied: anonymous token lacks permission 'key:list' on \"a/\". The anonymous token is used implicitly when a request does not specify a token.": Require(Compile(Settings{}, nil).For("anonymous token"), Key, List, "a/"),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// Every entry of every answer is asked for, so asking is to cost next to nothing.
func TestAllowAllocatesNothing(t *testing.T) {
	a := Compile(Settings{KeyList: true}, Merge(many(200)...)).For("x")
	if n := testing.AllocsPerRun(100, func() {
		a.Allow(Key, List, "teams/1/apps/2")
		a.Allow(Service, Read, "teams/7")
		a.Allow(Key, WriteAll, "teams/")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
