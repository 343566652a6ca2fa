package dns

import (
	"math"
	"sort"
	"strings"
	"time"
)

// ttls are the times that answers about services may be kept.
type ttls struct {
	exact    map[string]uint32
	prefixes []prefixTTL // longest first
}

type prefixTTL struct {
	prefix string
	ttl    uint32
}

func newTTLs(byName map[string]time.Duration) *ttls {
	t := &ttls{exact: map[string]uint32{}}
	for name, d := range byName {
		name = strings.ToLower(name)
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			t.prefixes = append(t.prefixes, prefixTTL{prefix, wholeSeconds(d)})
			continue
		}
		t.exact[name] = wholeSeconds(d)
	}
	sort.Slice(t.prefixes, func(i, j int) bool { return len(t.prefixes[i].prefix) > len(t.prefixes[j].prefix) })
	return t
}

// of returns the TTL of a service: that of its name, else of the longest
// prefix, else 0.
func (t *ttls) of(service string) uint32 {
	if ttl, ok := t.exact[service]; ok {
		return ttl
	}
	for _, p := range t.prefixes {
		if strings.HasPrefix(service, p.prefix) {
			return p.ttl
		}
	}
	return 0
}

// wholeSeconds is a duration as DNS counts it (RFC 2181, section 8: 31 bits).
func wholeSeconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), math.MaxInt32))
}
