package dns

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// byService are settings of services: by name, or by prefix where the name ends
// in an asterisk.
type byService[T any] struct {
	exact    map[string]T
	prefixes []forPrefix[T] // longest first
}

type forPrefix[T any] struct {
	prefix string
	value  T
}

func newByService[T any](settings map[string]T) *byService[T] {
	b := &byService[T]{exact: map[string]T{}}
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

// of returns the setting of a service: that of its name, else of the longest
// prefix, else the zero value.
func (b *byService[T]) of(service string) T {
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

// secondsOf are times as DNS counts them.
func secondsOf(byName map[string]time.Duration) map[string]uint32 {
	out := make(map[string]uint32, len(byName))
	for name, d := range byName {
		out[name] = wholeSeconds(d)
	}
	return out
}

// wholeSeconds is a duration as DNS counts it (RFC 2181, section 8: 31 bits).
func wholeSeconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), math.MaxInt32))
}
