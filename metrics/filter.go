package metrics

import (
	"fmt"
	"strings"
)

// Filter says which metrics are shown under Consul's names: the longest of the
// prefixes that a name begins with decides, else Default. Names are with the
// prefix of Names and without the host.
type Filter struct {
	Default    bool
	Allow, Bar []string
}

// NewFilter reads prefixes with a sign: + to keep, - to drop.
func NewFilter(keep bool, signed []string) (*Filter, error) {
	f := &Filter{Default: keep}
	for _, p := range signed {
		switch {
		case len(p) > 1 && p[0] == '+':
			f.Allow = append(f.Allow, p[1:])
		case len(p) > 1 && p[0] == '-':
			f.Bar = append(f.Bar, p[1:])
		default:
			return nil, fmt.Errorf("%q must be + or - and a prefix", p)
		}
	}
	return f, nil
}

// passes reports whether a metric is shown.
func (f *Filter) passes(name string) bool {
	longest := func(of []string) int {
		n := -1
		for _, p := range of {
			if strings.HasPrefix(name, p) {
				n = max(n, len(p))
			}
		}
		return n
	}
	allow, bar := longest(f.Allow), longest(f.Bar)
	if allow == bar {
		return f.Default && bar < 0 // of one prefix with both signs the last word is no
	}
	return allow > bar
}

// SetFilter says what is shown under Consul's names from now on; nil is all.
func (r *Registry) SetFilter(f *Filter) { r.filter.Store(f) }

// shows reports whether the filter passes a name.
func (r *Registry) shows(name string) bool {
	f := r.filter.Load()
	return f == nil || f.passes(name)
}
