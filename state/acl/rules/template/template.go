// Package template makes policies from a name: those that templates which come with
// the program describe, and those of service and node identities.
//
// It makes rules alone. In which datacenters they count, and what IDs such policies
// have, is up to who stores what refers to them.
package template

import (
	"fmt"
	"strings"

	"github.com/legate-project/legate/state/acl/rules"
)

// maxName bounds the names that policies are made for, in bytes.
const maxName = 256

// Template is a policy with a place for a name. The fields are what the HTTP API
// shows.
type Template struct {
	TemplateName string
	// Schema is a JSON schema of the variables; empty if there are none.
	Schema string
	// Template is the text of the rules; {{.Name}} stands for the variable.
	Template    string
	Description string
}

// Variables are what a policy is made for.
type Variables struct {
	Name string
}

// Rendered is a policy that was made.
type Rendered struct {
	Policy rules.Policy // in normal form
	Text   string       // the rules as HCL
}

// UnknownError says that there is no template with a name.
type UnknownError struct {
	Name string
}

// Error implements error.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("no such ACL templated policy with Name %s", shorten(e.Name))
}

// NameError says that no policy can be made for a name.
type NameError struct {
	Of   string // what has the name, such as "service identity"
	Name string
	Need string // what a name has to be
}

// Error implements error.
func (e *NameError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s needs a name", e.Of)
	}
	return fmt.Sprintf("%s has an invalid name %s: %s", e.Of, shorten(e.Name), e.Need)
}

// shorten quotes what names a name.
func shorten(name string) string {
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "") + "…"
	}
	return fmt.Sprintf("%q", name)
}

// What names have to be. Those of identities are as Consul documents them; templates
// take what else services, nodes and jobs are called, but nothing that means
// something in a text of rules.
const (
	identityNeed = "it takes at most 256 lower-case letters and digits, with - and _ between them"
	templateNeed = "it takes at most 256 letters, digits and any of - _ . / ~ : @"
)

// checkIdentity checks the name of an identity.
func checkIdentity(of, name string) error {
	lower := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
	ok := name != "" && len(name) <= maxName && lower(name[0]) && lower(name[len(name)-1])
	for i := 0; ok && i < len(name); i++ {
		ok = lower(name[i]) || name[i] == '-' || name[i] == '_'
	}
	if !ok {
		return &NameError{Of: of, Name: name, Need: identityNeed}
	}
	return nil
}

// checkVariable checks the name that a template is filled with.
func checkVariable(of, name string) error {
	ok := name != "" && len(name) <= maxName
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_./~:@", c) >= 0
	}
	if !ok {
		return &NameError{Of: of, Name: name, Need: templateNeed}
	}
	return nil
}

// Find returns the template with a name.
func Find(name string) (Template, error) {
	for _, t := range List() {
		if t.TemplateName == name {
			return t, nil
		}
	}
	return Template{}, &UnknownError{Name: name}
}

// Render makes the policy of a template. Variables that it has no place for are of
// no account. Errors are *UnknownError and *NameError.
func Render(name string, v Variables) (*Rendered, error) {
	t, err := Find(name)
	if err != nil {
		return nil, err
	}
	if t.Schema != "" {
		if err := checkVariable("templated policy "+name, v.Name); err != nil {
			return nil, err
		}
	}
	return fill(t.Template, v.Name)
}

// ServiceIdentity makes the policy that lets a service and its sidecar register, and
// find others. An error is a *NameError.
func ServiceIdentity(service string) (*Rendered, error) {
	if err := checkIdentity("service identity", service); err != nil {
		return nil, err
	}
	return fill(serviceRules, service)
}

// NodeIdentity makes the policy that lets an agent register its node and compare what
// runs on it with the catalog. An error is a *NameError.
func NodeIdentity(node string) (*Rendered, error) {
	if err := checkIdentity("node identity", node); err != nil {
		return nil, err
	}
	return fill(nodeRules, node)
}

// fill puts a checked name into its places.
func fill(text, name string) (*Rendered, error) {
	text = strings.ReplaceAll(text, "{{.Name}}", name)
	p, err := rules.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("rules made for %s: %w", shorten(name), err)
	}
	return &Rendered{Policy: *p, Text: text}, nil
}
