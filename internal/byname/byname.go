// Package byname keeps settings of services: by name, or by prefix where the name ends in
// an asterisk. The longest match counts; upper and lower case are the same.
package byname

import (
	"cmp"
	"slices"
	"strings"
)

// Table is immutable.
type Table[T any] struct {
	exact    map[string]T
	prefixes []forPrefix[T] // longest first
}

type forPrefix[T any] struct {
	prefix string
	value  T
}

// New makes a table of settings by name.
func New[T any](settings map[string]T) *Table[T] {
	b := &Table[T]{exact: map[string]T{}}
	for name, v := range settings {
		name = strings.ToLower(name)
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			b.prefixes = append(b.prefixes, forPrefix[T]{prefix, v})
			continue
		}
		b.exact[name] = v
	}
	slices.SortFunc(b.prefixes, func(x, y forPrefix[T]) int { return cmp.Compare(len(y.prefix), len(x.prefix)) })
	return b
}

// Of returns the setting of a service, whose name is in lower case: that of its name, else of
// the longest prefix, else the zero value.
func (b *Table[T]) Of(service string) T {
	if v, ok := b.exact[service]; ok {
		return v
	}
	for _, p := range b.prefixes {
		if strings.HasPrefix(service, p.prefix) {
			return p.value
		}
	}
	var none T
	return none
}
