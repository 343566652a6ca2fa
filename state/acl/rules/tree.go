package rules

// Settings are what a datacenter's configuration says of rules.
type Settings struct {
	// DefaultAllow grants what no rule speaks of, ACL excepted.
	DefaultAllow bool
	// KeyList makes recursive reads of keys need List; else Read is enough.
	KeyList bool
}

// Tree is the compiled form of a policy. It is immutable and safe for concurrent use.
type Tree struct {
	policy    *Policy
	keyList   bool
	unlimited bool
	tables    [resources]table
}

// resources is how many resources there are.
const resources = 14

// slot numbers the resources, -1 stands for one that is not known.
func slot(r Resource) int {
	switch r {
	case ACL:
		return 0
	case Agent:
		return 1
	case Event:
		return 2
	case Workload:
		return 3
	case Intention:
		return 4
	case Key:
		return 5
	case Keyring:
		return 6
	case Mesh:
		return 7
	case Node:
		return 8
	case Operator:
		return 9
	case Peering:
		return 10
	case Query:
		return 11
	case Service:
		return 12
	case Session:
		return 13
	}
	return -1
}

// Compile makes the tree of a policy. A level that is not known, such as one of a
// later version, denies; a resource that is not known is left out.
func Compile(s Settings, p *Policy) *Tree {
	p = Merge(p)
	t := &Tree{policy: p, keyList: s.KeyList}
	otherwise := denies
	if s.DefaultAllow {
		otherwise = writes
	}
	for i := range t.tables {
		t.tables[i].otherwise = otherwise
	}
	t.tables[slot(ACL)].otherwise = denies
	given := t.fill(p.Rules)
	for _, r := range []Resource{Mesh, Peering} {
		if !given[slot(r)] {
			t.tables[slot(r)].otherwise = t.tables[slot(Operator)].otherwise
		}
	}
	t.tables[slot(Intention)].entries = entriesOf(intentions(p.Rules))
	t.unlimited = true
	for i := range t.tables {
		// Nothing asks for workloads; policies from before there were such do not name them.
		t.unlimited = t.unlimited && (i == slot(Workload) || t.tables[i].writeAll(""))
	}
	return t
}

// fill makes the tables of rules in normal form, and says which resources have any.
func (t *Tree) fill(rules []Rule) (given [resources]bool) {
	for len(rules) > 0 {
		r, n := rules[0].Resource, 1
		for n < len(rules) && rules[n].Resource == r {
			n++
		}
		if i := slot(r); i >= 0 {
			given[i] = true
			if named(r) {
				t.tables[i].entries = entriesOf(rules[:n])
			} else {
				t.tables[i].otherwise = levelOf(rules[0].Access)
			}
		}
		rules = rules[n:]
	}
	return given
}

// intentions returns the rules of intentions: those that are given, and beside each
// rule of a service that has none, reading them for who may read the service.
func intentions(rules []Rule) []Rule {
	given := &Policy{}
	has := map[Rule]bool{}
	for _, r := range rules {
		if r.Resource == Intention {
			given.Rules = append(given.Rules, r)
			has[Rule{Prefix: r.Prefix, Name: r.Name}] = true
		}
	}
	implied := &Policy{}
	for _, r := range rules {
		if r.Resource == Service && !has[Rule{Prefix: r.Prefix, Name: r.Name}] {
			access := Deny
			if levelOf(r.Access) >= reads {
				access = Read
			}
			implied.Rules = append(implied.Rules, Rule{Resource: Intention, Prefix: r.Prefix, Name: r.Name, Access: access})
		}
	}
	return Merge(given, implied).Rules
}

// Policy returns the rules that the tree was made of, in normal form.
func (t *Tree) Policy() *Policy { return t.policy }

// For returns the Authorizer of one caller. who names it in errors: "token with
// AccessorID '…'" or "anonymous token".
func (t *Tree) For(who string) Authorizer { return &caller{tree: t, who: who} }

// Identity returns the tree that an Authorizer asks, nil if it asks none. Callers
// with the same tree see the same.
func Identity(a Authorizer) *Tree {
	if c, ok := a.(*caller); ok {
		return c.tree
	}
	return nil
}

// allow reports whether the rules grant the access.
func (t *Tree) allow(r Resource, access Access, name string) bool {
	i := slot(r)
	if i < 0 {
		return false
	}
	table := &t.tables[i]
	switch access {
	case Read:
		return table.match(name) >= reads
	case Write:
		return table.match(name) == writes
	case List:
		if r == Key && t.keyList {
			return table.match(name) >= lists
		}
		return table.match(name) >= reads
	case Recurse:
		return r != Key || !t.keyList || table.match(name) >= lists
	case WriteAll:
		return table.writeAll(name)
	case ReadAll:
		return table.readAll(name)
	}
	return false
}

// caller is one who asks a tree.
type caller struct {
	tree *Tree
	who  string
}

var _ Authorizer = (*caller)(nil)

// Allow implements Authorizer.
func (c *caller) Allow(r Resource, access Access, name string) bool {
	return c.tree.allow(r, access, name)
}

// Who implements Authorizer.
func (c *caller) Who() string { return c.who }
