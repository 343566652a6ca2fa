package dns

import (
	"math"
	"time"
)

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
