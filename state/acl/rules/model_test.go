package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// model is the documented meaning of rules, without a thought for speed.
type model struct {
	Settings
	policies []*Policy
}

// rule returns the access of the rule for exactly this resource, name and kind of
// match in all policies together; empty if none has one.
func (m *model) rule(r Resource, prefix bool, name string) Access {
	var given []Access
	for _, p := range m.policies {
		for _, rule := range p.Rules {
			if rule.Resource == r && rule.Prefix == prefix && rule.Name == name {
				given = append(given, rule.Access)
			}
		}
	}
	for _, strongest := range []Access{Deny, Write, List, Read} {
		if slices.Contains(given, strongest) {
			return strongest
		}
	}
	return ""
}

// ruleFor is rule, with what a service's rule implies for its intentions.
func (m *model) ruleFor(r Resource, prefix bool, name string) Access {
	found := m.rule(r, prefix, name)
	if r == Intention && found == "" {
		switch m.rule(Service, prefix, name) {
		case Read, Write, List:
			return Read
		case Deny:
			return Deny
		}
	}
	return found
}

// granted returns the access that a name has.
func (m *model) granted(r Resource, name string) Access {
	if a := m.ruleFor(r, false, name); a != "" {
		return a
	}
	for n := len(name); n >= 0; n-- {
		if a := m.ruleFor(r, true, name[:n]); a != "" {
			return a
		}
	}
	switch {
	case r == Mesh || r == Peering:
		return m.granted(Operator, "")
	case r != ACL && m.DefaultAllow:
		return Write
	}
	return Deny
}

// allow is Authorizer.Allow. Writing, or reading, everything below a prefix is that of each of the
// names that begin with it; names lists them all, as far as they can differ.
func (m *model) allow(r Resource, a Access, name string, names []string) bool {
	if !named(r) {
		name = ""
	}
	switch got := m.granted(r, name); a {
	case Read:
		return got != Deny
	case List:
		return got == Write || got == List || got == Read && !(r == Key && m.KeyList)
	case Write:
		return got == Write
	case Recurse: // what may not be read is left out
		return r != Key || !m.KeyList || got == Write || got == List
	case WriteAll, ReadAll:
		enough := func(got Access) bool { return got == Write || a == ReadAll && got != Deny }
		if !named(r) {
			return enough(got)
		}
		for _, n := range names {
			if strings.HasPrefix(n, name) && !enough(m.granted(r, n)) {
				return false
			}
		}
		return true
	}
	return false
}

// words returns all words of up to n of the letters.
func words(letters string, n int) []string {
	all := []string{""}
	for last := all; n > 0; n-- {
		var longer []string
		for _, w := range last {
			for _, l := range letters {
				longer = append(longer, w+string(l))
			}
		}
		all, last = append(all, longer...), longer
	}
	return all
}

var everyResource = []Resource{ACL, Agent, Event, Intention, Key, Keyring, Mesh, Node, Operator, Peering, Query, Service, Session, Workload}

// policies draws a few policies with rules about few names, such that they meet.
func policies(t *rapid.T, resources []Resource, letters string, longest int) []*Policy {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *Policy {
		rules := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Rule {
			r := Rule{Resource: rapid.SampledFrom(resources).Draw(t, "resource")}
			levels := []Access{Read, Write, Write, Deny}
			if r.Resource == Key {
				levels = append(levels, List)
			}
			r.Access = rapid.SampledFrom(levels).Draw(t, "access")
			if named(r.Resource) {
				r.Prefix = rapid.Bool().Draw(t, "prefix")
				r.Name = rapid.StringOfN(rapid.SampledFrom([]rune(letters)), 0, longest, -1).Draw(t, "name")
			}
			return r
		}), 0, 12).Draw(t, "rules")
		return Merge(&Policy{Rules: rules})
	}), 0, 4).Draw(t, "policies")
}

// A tree grants what the documented rules grant, to every caller, whatever the order
// of the policies is.
func TestTreeIsTheModel(t *testing.T) {
	names := words("abz", 4) // z stands for all letters that no rule has
	rapid.Check(t, func(t *rapid.T) {
		resources := []Resource{rapid.SampledFrom(everyResource).Draw(t, "about"), Key}
		if r := resources[0]; r == Intention {
			resources[1] = Service
		} else if !named(r) {
			resources = []Resource{Operator, Mesh, Peering, ACL}
		}
		m := &model{policies: policies(t, resources, "ab", 3)}
		m.DefaultAllow = rapid.Bool().Draw(t, "default allow")
		m.KeyList = rapid.Bool().Draw(t, "key list")
		tree := Compile(m.Settings, Merge(rapid.Permutation(m.policies).Draw(t, "order")...))
		a := tree.For("anonymous token")
		for _, r := range resources {
			for _, name := range names {
				for _, access := range []Access{Read, List, Recurse, Write, WriteAll, ReadAll} {
					if (access == WriteAll || access == ReadAll) && len(name) == 4 {
						continue // what lies below would need longer names
					}
					if got, want := a.Allow(r, access, name), m.allow(r, access, name, names); got != want {
						t.Fatalf("%s:%s on %q is %v, by the documentation %v\nrules: %+v", r, access, name, got, want, tree.Policy().Rules)
					}
				}
			}
		}
	})
}

// What is merged at once is what is merged step by step, and merging it again changes
// nothing.
func TestMergeIsAssociative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := policies(t, everyResource, "ab", 2)
		once := Merge(all...)
		var steps *Policy
		for _, p := range rapid.Permutation(all).Draw(t, "order") {
			steps = Merge(p, steps, p)
		}
		steps = Merge(steps)
		if fmt.Sprint(once.Rules) != fmt.Sprint(steps.Rules) {
			t.Fatalf("at once %+v\nstep by step %+v", once.Rules, steps.Rules)
		}
		if !normal(once.Rules) {
			t.Fatalf("not in normal form: %+v", once.Rules)
		}
		m := &model{policies: all}
		for _, r := range once.Rules {
			if want := m.rule(r.Resource, r.Prefix, r.Name); want != r.Access {
				t.Fatalf("%+v, by the documentation %s", r, want)
			}
		}
	})
}

// Who is said to be unlimited is granted everything that can be asked; and who is
// granted everything is unlimited.
func TestUnlimitedIsEverything(t *testing.T) {
	names := words("abz", 3)
	rapid.Check(t, func(t *rapid.T) {
		m := &model{policies: policies(t, everyResource, "ab", 2)}
		if rapid.Bool().Draw(t, "management") {
			m.policies = append(m.policies, Manage())
		}
		m.DefaultAllow = rapid.Bool().Draw(t, "default allow")
		want := true
		for _, r := range everyResource {
			want = want && (r == Workload || m.allow(r, WriteAll, "", names))
		}
		if got := Unlimited(Compile(m.Settings, Merge(m.policies...)).For("x")); got != want {
			t.Fatalf("unlimited: %v, by the documentation %v", got, want)
		}
	})
}
