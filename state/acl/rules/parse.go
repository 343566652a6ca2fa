package rules

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of a policy's text, in bytes, and of how many rules it may have.
const (
	MaxText  = 512 << 10
	MaxRules = 10_000
)

// maxFaults bounds how many faults of a text an error tells of.
const maxFaults = 8

// Fault is one thing that is wrong with a text of rules.
type Fault struct {
	// Line where it is, from 1; 0 if it is in none.
	Line int `json:",omitempty"`
	Text string
}

// Error implements error.
func (f *Fault) Error() string {
	if f.Line == 0 {
		return f.Text
	}
	return fmt.Sprintf("line %d: %s", f.Line, f.Text)
}

// faultAt makes a fault in a line.
func faultAt(line int, format string, args ...any) *Fault {
	return &Fault{line, fmt.Sprintf(format, args...)}
}

// SyntaxError says what is wrong with a text of rules.
type SyntaxError struct {
	// Faults are the first faults.
	Faults []Fault
}

// Error implements error.
func (e *SyntaxError) Error() string {
	texts := make([]string, len(e.Faults))
	for i := range e.Faults {
		texts[i] = e.Faults[i].Error()
	}
	return "Failed to parse ACL rules: " + strings.Join(texts, "; ")
}

// Placed is a rule with the line of the text where its access stands, from 1.
type Placed struct {
	Line int
	Rule
}

// Parse reads rules, in HCL or, if it begins with a brace, in JSON. A text without
// rules is allowed. All errors are *SyntaxError.
func Parse(text string) (*Policy, error) {
	placed, faults := ParseLines(text)
	if len(faults) > 0 {
		return nil, &SyntaxError{Faults: faults}
	}
	rules := make([]Rule, len(placed))
	for i := range placed {
		rules[i] = placed[i].Rule
	}
	return Merge(&Policy{Rules: rules}), nil
}

// ParseLines is Parse that shows what it has understood, in the order of the text, beside what is
// wrong. A text with faults is no policy, not even in part.
func ParseLines(text string) ([]Placed, []Fault) {
	root, err := readText(text)
	if err != nil {
		f, ok := errors.AsType[*Fault](err)
		if !ok {
			f = &Fault{Text: err.Error()}
		}
		return nil, []Fault{*f}
	}
	b := &builder{lines: map[Rule]int{}}
	for i := range root.members {
		b.resource(&root.members[i])
	}
	if len(b.rules) > MaxRules {
		b.fault(0, "%d rules are more than a policy may have (%d)", len(b.rules), MaxRules)
	}
	return b.rules, b.faults
}

// readText reads a text in the language that it is in.
func readText(text string) (node, error) {
	if len(text) > MaxText {
		return node{}, fmt.Errorf("%d bytes are more than a policy may have (%d)", len(text), MaxText)
	}
	if i := strings.IndexByte(text, 0); i >= 0 { // to the scanners it is the end of the text
		return node{}, faultAt(1+strings.Count(text[:i], "\n"), "a zero byte")
	}
	text = strings.TrimPrefix(text, "\ufeff") // some editors put it before all else
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return readJSON(text)
	}
	return readHCL(text)
}

// builder makes rules of what was read.
type builder struct {
	rules  []Placed
	lines  map[Rule]int // where a rule about the same is; Access is left empty
	faults []Fault
}

// fault notes what is wrong in a line, 0 if it is in none.
func (b *builder) fault(line int, format string, args ...any) {
	if len(b.faults) == maxFaults {
		return
	}
	b.faults = append(b.faults, *faultAt(line, format, args...))
}

// resource reads what stands behind the name of a resource.
func (b *builder) resource(m *member) {
	base, prefix := strings.CutSuffix(m.key, "_prefix")
	r := Resource(base)
	switch {
	case r == "namespace" || r == "partition":
		b.fault(m.line, "%s rules need Consul Enterprise: there are no %ss here", m.key, base)
	case slot(r) < 0 || r == Intention || prefix && !named(r):
		b.fault(m.line, "%s is not a resource: use one of acl, agent, event, identity, key, keyring, mesh, node, "+
			"operator, peering, query, service, session, or NAME_prefix for those with names", shorten(m.key))
	case !named(r):
		if m.val.kind != isString {
			b.fault(m.line, "%s is %s: it is given as %s = \"read\"", m.key, m.val.kind, m.key)
			return
		}
		if access, ok := b.access(m.line, m.key, r, &m.val); ok {
			b.add(m.line, m.key, Rule{Resource: r, Access: access})
		}
	default:
		blocks, ok := m.val.blocks()
		if !ok {
			b.fault(m.line, "%s is %s: it is given with a name and a block, as in %s \"NAME\" { policy = \"read\" }", m.key, m.val.kind, m.key)
			return
		}
		for _, block := range blocks {
			for i := range block.members {
				b.named(Rule{Resource: r, Prefix: prefix}, m.key, &block.members[i])
			}
		}
	}
}

// named reads the rules of a resource for one name. key is the word before it.
func (b *builder) named(rule Rule, key string, m *member) {
	rule.Name = m.key
	about := key + " " + shorten(m.key)
	blocks, ok := m.val.blocks()
	if !ok {
		b.fault(m.line, "%s is %s: it is given as %s { policy = \"read\" }", about, m.val.kind, about)
		return
	}
	for _, block := range blocks {
		policy := false
		for i := range block.members {
			a := &block.members[i]
			switch {
			case a.key == "policy":
				policy = true
				b.attribute(a, about, rule)
			case a.key == "intentions" && rule.Resource == Service:
				b.attribute(a, about, Rule{Resource: Intention, Prefix: rule.Prefix, Name: rule.Name})
			case a.key == "sentinel" && rule.Resource == Key:
				b.fault(a.line, "%s: sentinel needs Consul Enterprise and is not supported: leave it out", about)
			case rule.Resource == Service:
				b.fault(a.line, "%s: %s is not known: a block has policy and may have intentions", about, shorten(a.key))
			default:
				b.fault(a.line, "%s: %s is not known: a block has policy", about, shorten(a.key))
			}
		}
		if !policy {
			b.fault(m.line, "%s has no policy: it is given as %s { policy = \"read\" }", about, about)
		}
	}
}

// attribute reads the level of a rule from a member of its block.
func (b *builder) attribute(a *member, about string, rule Rule) {
	about += ": " + a.key
	if access, ok := b.access(a.line, about, rule.Resource, &a.val); ok {
		rule.Access = access
		b.add(a.line, about, rule)
	}
}

// access reads a level.
func (b *builder) access(line int, about string, r Resource, val *node) (Access, bool) {
	levels := `"read", "write" and "deny"`
	if r == Key {
		levels = `"read", "list", "write" and "deny"`
	}
	if val.kind != isString {
		b.fault(line, "%s is %s: there are %s", about, val.kind, levels)
		return "", false
	}
	a := Access(val.text)
	switch {
	case a == Read || a == Write || a == Deny || a == List && r == Key:
		return a, true
	case a == List:
		b.fault(line, `%s = "list" is for keys only: here there are %s`, about, levels)
	default:
		b.fault(line, "%s = %s is not known: there are %s", about, shorten(val.text), levels)
	}
	return "", false
}

// add takes a rule, unless there is one about the same: then it could not be told
// which of them is meant.
func (b *builder) add(line int, about string, rule Rule) {
	same := rule
	same.Access = ""
	if first, ok := b.lines[same]; ok {
		b.fault(line, "%s is given twice, first in line %d: leave one out", about, first)
		return
	}
	b.lines[same] = line
	b.rules = append(b.rules, Placed{line, rule})
}
