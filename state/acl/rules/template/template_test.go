package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	texttemplate "text/template"

	"github.com/legate-project/legate/state/acl/rules"
)

// What each policy grants, and what it does not though it is near.
func TestWhatIsGranted(t *testing.T) {
	service := [2]string{"service:write:web service:write:web-sidecar-proxy service:read:x node:read:x intention:read:web",
		"service:write:web2 service:write:x node:write:web key:read:x query:read:x agent:read:x intention:write:web"}
	node := [2]string{"node:write:web service:read:x", "node:write:web2 node:read:x service:write:web agent:read:web"}
	type grants = [2]string
	for name, want := range map[string]grants{
		"builtin/service":           service,
		"builtin/node":              node,
		"builtin/dns":               {"node:read:x service:read:x query:read:x", "node:write:x service:write:x query:write:x key:read:x"},
		"builtin/api-gateway":       {"mesh:read: node:read:x service:read:x service:write:web", "mesh:write: service:write:x service:write:web-sidecar-proxy operator:read:"},
		"builtin/nomad-server":      {"acl:write: agent:read:x node:read:x service:write:x", "agent:write:x node:write:x key:read:x operator:read:"},
		"builtin/nomad-client":      {"agent:read:x node:read:x service:write:x key:read:x", "acl:read: key:write:x node:write:x"},
		"builtin/workload-identity": {"identity:write:web", "identity:read:x service:read:web"},
		"service identity":          service,
		"node identity":             node,
	} {
		var r *Rendered
		var err error
		switch name {
		case "service identity":
			r, err = ServiceIdentity("web")
		case "node identity":
			r, err = NodeIdentity("web")
		default:
			r, err = Render(name, Variables{Name: "web"})
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a := rules.Compile(rules.Settings{}, &r.Policy).For("x")
		for i, list := range want {
			for _, asked := range strings.Fields(list) {
				p := strings.Split(asked, ":")
				if got := a.Allow(rules.Resource(p[0]), rules.Access(p[1]), p[2]); got != (i == 0) {
					t.Errorf("%s: %s is %v", name, asked, got)
				}
			}
		}
		if parsed, err := rules.Parse(r.Text); err != nil || !slices.Equal(parsed.Rules, r.Policy.Rules) {
			t.Errorf("%s: the text says something else: %v, %v", name, parsed, err)
		}
	}
}

// The texts are what clients take them for: Go templates, and JSON schemas that say
// which variables there are.
func TestListed(t *testing.T) {
	last := ""
	for _, tmpl := range List() {
		if tmpl.TemplateName <= last || tmpl.Description == "" {
			t.Errorf("%s after %s, %q", tmpl.TemplateName, last, tmpl.Description)
		}
		last = tmpl.TemplateName
		parsed, err := texttemplate.New("").Parse(tmpl.Template)
		if err != nil {
			t.Fatal(err)
		}
		var filled bytes.Buffer
		if err := parsed.Execute(&filled, Variables{Name: "web"}); err != nil {
			t.Fatal(err)
		}
		r, err := Render(tmpl.TemplateName, Variables{Name: "web"})
		if err != nil || r.Text != filled.String() {
			t.Errorf("%s: rendered %v, %v; as a template it is\n%s", tmpl.TemplateName, r, err, &filled)
		}
		if takes := strings.Contains(tmpl.Template, "{{.Name}}"); takes != (tmpl.Schema != "") {
			t.Errorf("%s: has a place for a name %v, schema %q", tmpl.TemplateName, takes, tmpl.Schema)
		}
		if tmpl.Schema == "" {
			if _, err := Render(tmpl.TemplateName, Variables{}); err != nil {
				t.Error(err)
			}
			continue
		}
		var schema struct {
			Properties map[string]struct {
				MinLength, MaxLength int
				Pattern              string
			}
			Required []string
		}
		if err := json.Unmarshal([]byte(tmpl.Schema), &schema); err != nil || !slices.Equal(schema.Required, []string{"name"}) {
			t.Fatalf("%s: %v, %+v", tmpl.TemplateName, err, schema)
		}
		// The schema lets pass what Render does.
		pattern := regexp.MustCompile(schema.Properties["name"].Pattern)
		for _, name := range []string{"", "web", "Web.x", "a/b", "a:b", "a b", "a\"b", "ä", "a\n", "a{b", "a$b", strings.Repeat("a", 256), strings.Repeat("a", 257)} {
			_, err := Render(tmpl.TemplateName, Variables{Name: name})
			p := schema.Properties["name"]
			if want := len(name) >= p.MinLength && len(name) <= p.MaxLength && pattern.MatchString(name); want != (err == nil) {
				t.Errorf("%s for %q: %v, by the schema %v", tmpl.TemplateName, name, err, want)
			}
		}
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	for _, name := range []string{"", "Web", "-web", "web-", "_web", "web_", "w.b", "w b", "w\"", "ä", "a\n", strings.Repeat("a", 257),
		`a" { policy = "read" } acl = "write" key "`, "{{.Name}}"} {
		for _, identity := range []func(string) (*Rendered, error){ServiceIdentity, NodeIdentity} {
			_, err := identity(name)
			if as := (*NameError)(nil); !errors.As(err, &as) || as.Name != name || len(err.Error()) > 500 {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	for _, name := range []string{"a", "0", "a-b_c", "a--b", strings.Repeat("a", 256)} {
		if _, err := ServiceIdentity(name); err != nil {
			t.Error(err)
		}
	}
	for want, f := range map[string]func() (*Rendered, error){
		`no such ACL templated policy with Name "builtin/x"`:     func() (*Rendered, error) { return Render("builtin/x", Variables{}) },
		`templated policy builtin/service needs a name`:          func() (*Rendered, error) { return Render("builtin/service", Variables{}) },
		`node identity has an invalid name "A": ` + identityNeed: func() (*Rendered, error) { return NodeIdentity("A") },
		`templated policy builtin/node has an invalid name "a b": ` + templateNeed: func() (*Rendered, error) {
			return Render("builtin/node", Variables{Name: "a b"})
		},
	} {
		if _, err := f(); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := Find(strings.Repeat("x", 10_000)); err == nil || len(err.Error()) > 500 {
		t.Errorf("%v", err)
	}
}
