package rules

import (
	"cmp"
	"slices"
)

//go:generate go tool msgp -tests=false -io=false -o policy_gen.go -file policy.go
//msgp:limit arrays:262144 maps:16

// Resource is a kind of thing that access is granted to.
type Resource string

// The resources of the interfaces that clients know. Rules of ACL, Keyring, Mesh,
// Operator and Peering have no name; there is one of each in a datacenter.
const (
	ACL       Resource = "acl"
	Agent     Resource = "agent"
	Event     Resource = "event"
	Intention Resource = "intention" // given inside of service rules
	Key       Resource = "key"
	Keyring   Resource = "keyring"
	Mesh      Resource = "mesh"
	Node      Resource = "node"
	Operator  Resource = "operator"
	Peering   Resource = "peering"
	Query     Resource = "query"
	Service   Resource = "service"
	Session   Resource = "session"
	Workload  Resource = "identity" // of a workload; nothing here asks for it
)

// Access is what is granted, or asked for.
type Access string

// The access levels. A rule has one of Deny, List (keys only), Read and Write.
// WriteAll never stands in a rule: it asks for the writing of everything whose
// name begins with a prefix, such as a recursive deletion. Nor does Recurse: it asks
// for what can be read below a prefix, which anybody may, and gets what they may read;
// with Settings.KeyList it takes List. ReadAll asks for the reading of everything whose
// name begins with a prefix.
const (
	Deny     Access = "deny"
	List     Access = "list"
	Read     Access = "read"
	Write    Access = "write"
	WriteAll Access = "write-all"
	Recurse  Access = "recurse"
	ReadAll  Access = "read-all"
)

// Rule grants one level of access to a resource's name, or to all names with a
// prefix.
type Rule struct {
	Resource Resource
	Prefix   bool   `json:",omitempty" msg:",omitempty"`
	Name     string `json:",omitempty" msg:",omitempty"`
	Access   Access
}

// Policy is a list of rules. What Parse and Merge return is in normal form: sorted,
// with one rule for each resource, name and kind of match. A policy is not changed
// once it was made.
type Policy struct {
	Rules []Rule
}

// Merge returns what several policies grant together. Where more than one has a rule
// for the same resource and name, Deny wins over Write, that over List, that over
// Read. Nil is a policy without rules.
func Merge(policies ...*Policy) *Policy {
	if len(policies) == 1 && policies[0] != nil && normal(policies[0].Rules) {
		return policies[0]
	}
	n := 0
	for _, p := range policies {
		if p != nil {
			n += len(p.Rules)
		}
	}
	all := make([]Rule, 0, n)
	for _, p := range policies {
		if p != nil {
			all = append(all, p.Rules...)
		}
	}
	slices.SortFunc(all, func(a, b Rule) int {
		return cmp.Or(place(&a, &b), precedence(b.Access)-precedence(a.Access), cmp.Compare(a.Access, b.Access))
	})
	return &Policy{Rules: slices.CompactFunc(all, func(a, b Rule) bool { return place(&a, &b) == 0 })}
}

// place orders rules by what they are about; 0 means both are about the same.
func place(a, b *Rule) int {
	if c := cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Name, b.Name)); c != 0 || a.Prefix == b.Prefix {
		return c
	}
	if b.Prefix {
		return -1
	}
	return 1
}

// precedence says which of two rules about the same wins: the one with more.
func precedence(a Access) int {
	switch a {
	case Read:
		return 1
	case List:
		return 2
	case Write:
		return 3
	}
	return 4
}

// normal reports whether the rules are as Merge leaves them.
func normal(rules []Rule) bool {
	for i := 1; i < len(rules); i++ {
		if place(&rules[i-1], &rules[i]) >= 0 {
			return false
		}
	}
	return true
}

// Manage returns the policy that grants everything: that of global-management.
func Manage() *Policy { return throughout(Write, Write) }

// ReadOnly returns the policy that grants to read everything that can be read, by
// lists of keys too: that of builtin/global-read-only.
func ReadOnly() *Policy { return throughout(Read, List) }

// Nothing denies everything: it stands for rules that are not understood, some of which
// may have denied something.
func Nothing() *Policy { return throughout(Deny, Deny) }

// throughout grants one access to everything, and another one to keys.
func throughout(access, keys Access) *Policy {
	p := &Policy{}
	for _, r := range []Resource{ACL, Agent, Event, Intention, Key, Keyring, Mesh, Node, Operator, Peering, Query, Service, Session, Workload} {
		rule := Rule{Resource: r, Prefix: named(r), Access: access}
		if r == Key {
			rule.Access = keys
		}
		p.Rules = append(p.Rules, rule)
	}
	return Merge(p)
}

// named reports whether there are several of a resource, told apart by names.
func named(r Resource) bool {
	switch r {
	case ACL, Keyring, Mesh, Operator, Peering:
		return false
	}
	return true
}
