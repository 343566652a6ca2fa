package rules

import "strings"

// level is an access of a rule, ordered by what it grants.
type level uint8

const (
	unset level = iota
	denies
	reads
	lists
	writes
)

// levelOf returns the level of a rule's access; what is not known denies.
func levelOf(a Access) level {
	switch a {
	case Read:
		return reads
	case List:
		return lists
	case Write:
		return writes
	}
	return denies
}

// table has the rules of one resource.
type table struct {
	entries   []entry // sorted by name
	otherwise level   // where no rule matches
}

// entry is a name with the rules for it.
type entry struct {
	name          string
	exact, prefix level
	// above is the entry with the longest name that is a shorter prefix of this name
	// and has a rule for prefixes; -1 if there is none.
	above int32
	// weak is the first entry from this one on that has a rule for less than writing;
	// the number of entries if there is none.
	weak int32
}

// entriesOf returns the entries for the rules of one resource in normal form.
func entriesOf(rules []Rule) []entry {
	if len(rules) == 0 {
		return nil
	}
	entries := make([]entry, 0, len(rules))
	for _, r := range rules {
		if n := len(entries); n == 0 || entries[n-1].name != r.Name {
			entries = append(entries, entry{name: r.Name})
		}
		last := &entries[len(entries)-1]
		if r.Prefix {
			last.prefix = levelOf(r.Access)
		} else {
			last.exact = levelOf(r.Access)
		}
	}
	var open []int32 // the prefixes around an entry, the shortest first
	for i := range entries {
		e := &entries[i]
		for len(open) > 0 && !strings.HasPrefix(e.name, entries[open[len(open)-1]].name) {
			open = open[:len(open)-1]
		}
		e.above = -1
		if len(open) > 0 {
			e.above = open[len(open)-1]
		}
		if e.prefix != unset {
			open = append(open, int32(i))
		}
	}
	weak := int32(len(entries))
	for i := len(entries) - 1; i >= 0; i-- {
		e := &entries[i]
		if e.exact != unset && e.exact < writes || e.prefix != unset && e.prefix < writes {
			weak = int32(i)
		}
		e.weak = weak
	}
	return entries
}

// upTo returns how many entries have names that are not behind this one.
func (t *table) upTo(name string) int {
	low, high := 0, len(t.entries)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if t.entries[mid].name <= name {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// match returns what is granted to a name: the exact rule's level, or that of the
// longest prefix with a rule.
func (t *table) match(name string) level {
	at := t.upTo(name) - 1
	if at >= 0 && t.entries[at].exact != unset && t.entries[at].name == name {
		return t.entries[at].exact
	}
	return t.around(at, name)
}

// around returns the level of the longest prefix of a name with a rule. at is the
// last entry that is not behind the name. All prefixes of the name with a rule are
// this entry and those above it: what is sorted between a prefix and the name begins
// with the prefix too.
func (t *table) around(at int, name string) level {
	if at < 0 {
		return t.otherwise
	}
	e := &t.entries[at]
	shared := 0
	for shared < len(e.name) && shared < len(name) && e.name[shared] == name[shared] {
		shared++
	}
	if e.prefix != unset && shared == len(e.name) {
		return e.prefix
	}
	for up := e.above; up >= 0; up = t.entries[up].above {
		if len(t.entries[up].name) <= shared {
			return t.entries[up].prefix
		}
	}
	return t.otherwise
}

// writeAll reports whether everything may be written whose name begins with a
// prefix: the longest rule around it grants that, and no rule for a name or a
// prefix below takes it back.
func (t *table) writeAll(prefix string) bool {
	from := t.upTo(prefix)
	if t.around(from-1, prefix) != writes {
		return false
	}
	if from > 0 && t.entries[from-1].name == prefix {
		from--
	}
	if from == len(t.entries) {
		return true
	}
	weak := int(t.entries[from].weak)
	return weak == len(t.entries) || !strings.HasPrefix(t.entries[weak].name, prefix)
}

// readAll is writeAll for reading. It looks at each rule below the prefix.
func (t *table) readAll(prefix string) bool {
	from := t.upTo(prefix)
	if t.around(from-1, prefix) < reads {
		return false
	}
	if from > 0 && t.entries[from-1].name == prefix {
		from--
	}
	for _, e := range t.entries[from:] {
		if !strings.HasPrefix(e.name, prefix) {
			break
		}
		if e.exact != unset && e.exact < reads || e.prefix != unset && e.prefix < reads {
			return false
		}
	}
	return true
}
